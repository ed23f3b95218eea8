//! Connections through a proxy, and certificates for another name than the host.

use std::{
    io::Read,
    net::TcpListener,
    time::{Duration, Instant},
};

use insta::assert_snapshot;

#[cfg(feature = "system-tests")]
use crate::support::trace;
use crate::{
    fixture::Desk,
    proxy_server::{Protocol, ProxyServer},
    server::{Certificate, Server, corpus},
    support::Home,
};

/// A name that no resolver knows (RFC 6761 §6.4).
const HOST: &str = "pop.invalid";

/// An account on [`HOST`], which only the proxy knows.
struct Far {
    desk: Desk,
    proxy: ProxyServer,
}

impl Far {
    fn new(protocol: Protocol, login: Option<&'static str>) -> Self {
        let desk = Desk {
            home: Home::new(),
            server: Server::implicit_tls()
                .certificate(Certificate::WrongHost)
                .messages(corpus::messages(3))
                .start(),
        };
        let proxy = ProxyServer::start(protocol, desk.server.port(), login);
        Self { desk, proxy }
    }

    /// Configures an account with these lines, and the name in the server's certificate.
    fn configure(&self, lines: &str) {
        configure(
            &self.desk,
            &format!("tls-server-name = \"elsewhere.example\"\n{lines}"),
        );
    }
}

/// Configures an account on [`HOST`] that trusts the authority of the server.
fn configure(desk: &Desk, lines: &str) {
    let ca = desk.server.ca_file(desk.home.path());
    desk.home.write("password", "secret\n", 0o600);
    desk.home.config(&format!(
        "[account.work]\nhost = \"{HOST}\"\nuser = \"ann\"\npassword-file = \"~/password\"\n\
         maildir = \"~/Mail/work\"\ntls-ca-file = \"{}\"\ntimeout = \"2s\"\nretries = 0\n{lines}\n",
        ca.display()
    ));
}

fn url(protocol: Protocol, user: &str, port: u16) -> String {
    let scheme = match protocol {
        Protocol::Socks5 => "socks5",
        Protocol::Http => "http",
    };
    format!("proxy = \"{scheme}://{user}127.0.0.1:{port}\"")
}

cases! { mail_arrives_through_a_proxy_that_gets_the_name:
    socks(Protocol::Socks5),
    http(Protocol::Http),
}

fn mail_arrives_through_a_proxy_that_gets_the_name(protocol: Protocol) {
    let far = Far::new(protocol, None);
    far.configure(&url(protocol, "", far.proxy.port()));
    far.desk.fetch(0).assert_silent();
    far.desk.assert_arrived(1..=3);
    assert_eq!(far.proxy.log(), ["pop.invalid:995"]);
    let mut ledger = far.desk.home.pouch(&["status", "--json"]).run();
    ledger.assert_code(0);
    ledger = far.desk.pouch(&["plan"]).run();
    ledger
        .assert_code(0)
        .assert_stdout("3 messages on the server, 3 known");
    far.desk
        .pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout(&format!(
            "connect  ok    pop.invalid:995 through the proxy 127.0.0.1:{}, ",
            far.proxy.port()
        ))
        .assert_stdout("trusted certificate for elsewhere.example");
    // the mailbox is that of the host
    far.desk
        .home
        .pouch(&["ledger", "list", "pops://ann@pop.invalid", "--all"])
        .run()
        .assert_code(0)
        .assert_stdout("delivered");
}

cases! { login_at_the_proxy:
    socks(Protocol::Socks5),
    http(Protocol::Http),
}

fn login_at_the_proxy(protocol: Protocol) {
    let far = Far::new(protocol, Some("ann b:pro xy"));
    let proxy = url(protocol, "ann%20b@", far.proxy.port());
    far.configure(&format!(
        "{proxy}\nproxy-password-command = [\"sh\", \"-c\", \"echo . >> ~/asked; echo 'pro xy'\"]"
    ));
    far.desk.fetch(0).assert_silent();
    far.desk.assert_arrived(1..=3);
    assert_eq!(far.desk.home.read("asked"), b".\n");
    far.configure(&format!(
        "{proxy}\nproxy-password-command = [\"sh\", \"-c\", \"echo hunter2\"]"
    ));
    let wrong = far.desk.pouch(&["fetch", "-vv"]).run();
    wrong
        .assert_code(77)
        .assert_stderr("refused the user name and password");
    assert!(!wrong.stderr.contains("hunter2"), "{wrong}");
    far.configure(&url(protocol, "", far.proxy.port()));
    far.desk
        .fetch(77)
        .assert_stderr("requires a user name and a password");
    far.configure(&format!("{proxy}\nproxy-password-command = [\"false\"]"));
    far.desk
        .fetch(78)
        .assert_stderr("set by `proxy-password-command`");
}

#[test]
fn certificate_must_be_for_the_host() {
    let far = Far::new(Protocol::Socks5, None);
    configure(&far.desk, &url(Protocol::Socks5, "", far.proxy.port()));
    assert_snapshot!(far.desk.fetch(77).stderr_text(), @"
    pouch: work: the certificate is not for pop.invalid
      OpenSSL: hostname mismatch
      connected through the proxy 127.0.0.1:PORT
    hint: set `host` to a name the certificate is issued for; through a tunnel, set `tls-server-name` to it
    ");
}

#[test]
fn name_in_the_certificate_may_differ_from_the_host() {
    let far = Far::new(Protocol::Socks5, None);
    let direct = |name: &str| {
        let text = String::from_utf8(far.desk.home.read(".config/pouch/config.toml")).unwrap();
        let port = far.desk.server.port();
        let host = format!("host = \"127.0.0.1\"\nport = {port}\n{name}");
        far.desk
            .home
            .config(&text.replace("host = \"pop.invalid\"", &host));
    };
    configure(&far.desk, "");
    direct("tls-server-name = \"ELSEWHERE.example.\"");
    far.desk.fetch(0).assert_silent();
    far.desk.assert_arrived(1..=3);
    configure(&far.desk, "");
    direct("tls-server-name = \"somewhere.example\"");
    far.desk
        .fetch(77)
        .assert_stderr("the certificate is not for somewhere.example")
        .assert_stderr("hint: set `tls-server-name` to");
    far.desk
        .pouch(&["check"])
        .run()
        .assert_code(77)
        .assert_stderr("its certificate is sha256:");
}

/// Fetches, and returns the message even if the failure is transient.
#[track_caller]
fn explained(desk: &Desk, code: i32) -> String {
    let output = desk.pouch(&["fetch", "-v"]).run();
    output.assert_code(code).stderr_text()
}

/// Fetches through a proxy that does not connect. Returns the message.
#[track_caller]
fn failure(protocol: Protocol, proxy: &ProxyServer, code: i32) -> String {
    let far = Far::new(protocol, None);
    let proxy = url(protocol, "", proxy.port());
    far.configure(&format!("{proxy}\nconnect-timeout = \"1s\""));
    explained(&far.desk, code)
}

#[test]
fn proxy_failures_are_those_of_the_proxy() {
    use Protocol::{Http, Socks5};
    let sending = ProxyServer::sending;
    assert_snapshot!(failure(Socks5, &sending(b"\x05\x00\x05\x04\x00\x01"), 75), @"
    pouch: work: cannot reach pop.invalid through the proxy 127.0.0.1:PORT: the host is unreachable
    hint: check `host`: the proxy resolves its name
    work   nothing fetched
    ");
    assert_snapshot!(failure(Socks5, &sending(b"\x05\x00\x05\x02\x00\x01"), 77), @"
    pouch: work: the proxy 127.0.0.1:PORT does not allow connections to pop.invalid:995
    work   nothing fetched
    ");
    assert_snapshot!(failure(Socks5, &ProxyServer::start(Socks5, 1, None), 69), @"
    pouch: work: cannot reach pop.invalid through the proxy 127.0.0.1:PORT: connection refused
    hint: check `host`, `port` and `tls`
    work   nothing fetched
    ");
    assert_snapshot!(failure(Http, &ProxyServer::start(Http, 1, None), 75), @"
    pouch: work: cannot reach pop.invalid through the proxy 127.0.0.1:PORT: the proxy reports an error
      the proxy said: HTTP/1.1 503 Service Unavailable
    work   nothing fetched
    ");
}

#[test]
fn hostile_proxies_are_reported() {
    use Protocol::{Http, Socks5};
    let (sending, repeating) = (ProxyServer::sending, ProxyServer::repeating);
    assert_snapshot!(failure(Socks5, &sending(b""), 75), @"
    pouch: work: the proxy 127.0.0.1:PORT did not respond in time
      `connect-timeout` sets how long to wait
    work   nothing fetched
    ");
    assert_snapshot!(failure(Socks5, &sending(b"\x05\x00"), 75), @"
    pouch: work: the proxy 127.0.0.1:PORT did not respond in time
      `connect-timeout` sets how long to wait
    work   nothing fetched
    ");
    assert_snapshot!(failure(Socks5, &repeating(b"garbage\x1b[7m"), 76), @"
    pouch: work: the proxy 127.0.0.1:PORT does not speak SOCKS 5
      it sent: ga
    hint: write http:// in `proxy` if it is an HTTP proxy
    work   nothing fetched
    ");
    assert_snapshot!(failure(Http, &sending(b"HTTP/1.1 200 OK\r\nX: "), 75), @"
    pouch: work: the proxy 127.0.0.1:PORT did not respond in time
      `connect-timeout` sets how long to wait
    work   nothing fetched
    ");
    assert_snapshot!(failure(Http, &repeating(b"HTTP/1.1 200 OK\r\n"), 76), @"
    pouch: work: the proxy 127.0.0.1:PORT sent an endless header
      it is longer than 16384 bytes
    work   nothing fetched
    ");
    // the tunnel itself is garbage
    let garbage = sending(b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00 garbage");
    assert_snapshot!(failure(Socks5, &garbage, 76), @r#"
    pouch: work: pop.invalid does not speak TLS on this port
      OpenSSL: wrong version number
      connected through the proxy 127.0.0.1:PORT
    hint: check `port` and `tls`: port 995 needs tls = "implicit", port 110 "starttls"
    work   nothing fetched
    "#);
}

#[test]
fn unreachable_proxy_is_reported_as_such() {
    let far = Far::new(Protocol::Http, None);
    far.configure("proxy = \"http://127.0.0.1:1\"");
    assert_snapshot!(explained(&far.desk, 69), @"
    pouch: work: cannot connect to the proxy 127.0.0.1:1
      127.0.0.1 refused the connection on port 1
      127.0.0.1:1: Connection refused
    hint: check `proxy` in the config, and whether the proxy is running
    work   nothing fetched
    ");
    far.configure("proxy = \"socks5://proxy.invalid:1\"");
    let output = far.desk.fetch(68);
    output
        .assert_stderr("cannot connect to the proxy proxy.invalid:1\n")
        .assert_stderr("host proxy.invalid not found")
        .assert_stderr("hint: check `proxy`");
}

#[test]
fn signal_ends_the_wait_for_a_proxy() {
    let far = Far::new(Protocol::Socks5, None);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    far.configure(&url(Protocol::Socks5, "", port));
    let mut run = far.desk.pouch(&["fetch"]).spawn();
    let mut client = silent.accept().unwrap().0;
    client.read_exact(&mut [0; 3]).unwrap();
    let sent = Instant::now();
    run.signal(15);
    run.wait().assert_code(143);
    assert!(sent.elapsed() < Duration::from_millis(1500));
}

#[cfg(feature = "system-tests")]
#[test]
fn pouch_makes_no_dns_query_for_a_host_behind_a_proxy() {
    let far = Far::new(Protocol::Socks5, None);
    far.configure(&url(Protocol::Socks5, "", far.proxy.port()));
    trace::traced(&far.desk.home, "network,%file", None, &["fetch"])
        .run()
        .assert_code(0);
    far.desk.assert_arrived(1..=3);
    let calls = trace::calls(&far.desk.home);
    let connected: Vec<_> = calls.iter().filter(|call| call.name == "connect").collect();
    assert_eq!(connected.len(), 1, "{connected:?}");
    let resolves = |call: &&trace::Call| {
        let arguments = &call.arguments;
        arguments.contains("htons(53)")
            || call
                .files()
                .iter()
                .any(|file| file.ends_with("/hosts") || file.ends_with("/resolv.conf"))
    };
    let resolving: Vec<_> = calls.iter().filter(resolves).collect();
    assert!(resolving.is_empty(), "{resolving:?}");
}

#[cfg(feature = "system-tests")]
#[test]
fn sandbox_allows_the_port_of_the_proxy() {
    let far = Far::new(Protocol::Http, None);
    far.configure(&url(Protocol::Http, "", far.proxy.port()));
    far.desk
        .pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("sandbox  ok    limited to the files and ports");
    far.desk.fetch(0).assert_silent();
    far.desk.assert_arrived(1..=3);
}
