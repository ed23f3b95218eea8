//! The proxy for requests to the issuer.

use insta::assert_snapshot;

use super::{Bench, endpoint::Endpoint};
use crate::{
    proxy_server::{Protocol, ProxyServer},
    support::run::Run,
};

/// Returns the URL of a proxy.
fn url(protocol: Protocol, user: &str, port: u16) -> String {
    let scheme = match protocol {
        Protocol::Socks5 => "socks5",
        Protocol::Http => "http",
    };
    format!("{scheme}://{user}127.0.0.1:{port}")
}

impl Bench {
    /// Configures an account whose issuer is trusted, with these lines.
    fn configure_trusted(&self, lines: &str) {
        let ca = self.issuer.value("ca_file");
        let keys = format!("client-id = \"pop-client\", ca-file = \"{ca}\"");
        let account = self.account_at_issuer("work", &keys);
        self.home.config(&format!("{account}{lines}\n"));
    }

    /// Returns the name and the port of the issuer. The name is not that of an address.
    fn issuer_address(&self) -> String {
        let issuer = self.issuer.value("issuer");
        let address = issuer.strip_prefix("https://").unwrap().to_owned();
        assert!(address.starts_with("localhost:"), "{address}");
        address
    }
}

cases! { issuer_is_reached_through_the_proxy_that_gets_its_name:
    socks(Protocol::Socks5),
    http(Protocol::Http),
}

fn issuer_is_reached_through_the_proxy_that_gets_its_name(protocol: Protocol) {
    let bench = Bench::new(&["https=yes", "rotate=yes"]);
    let proxy = ProxyServer::to_any_port(protocol, Some("ann:secret"));
    let address = url(protocol, "ann@", proxy.port());
    bench.configure_trusted(&format!(
        "proxy = \"{address}\"\nproxy-password-command = [\"echo\", \"secret\"]"
    ));
    let issuer = bench.issuer_address();
    let count = || proxy.log().iter().filter(|it| **it == issuer).count();
    bench.sign_in();
    // the metadata and the code
    assert_eq!(count(), 2, "{:?}", proxy.log());
    bench.expire();
    bench.pouch(&["fetch"]).run().assert_code(0);
    assert_eq!(count(), 3);
    bench
        .pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("through the proxy 127.0.0.1:");
    let forgotten = bench.pouch(&["login", "--forget"]).run();
    forgotten.assert_code(0).assert_stdout("signed out");
    assert_eq!(forgotten.stderr, "");
    assert_eq!(count(), 4);
    let log = format!("{}/oauth.log", bench.issuer.value("log"));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("POST revocation 200"), "{log}");
    let others = proxy.log().into_iter().filter(|it| *it != issuer);
    // those are logins at the proxy, and connections to Dovecot
    let port = format!(":{}", bench.dovecot.port("pop3s"));
    for entry in others {
        assert!(entry == "ann:secret" || entry.ends_with(&port), "{entry}");
    }
}

/// Programs without a key for it use the proxy of the environment, and so does pouch, for the
/// issuer only.
#[test]
fn proxy_of_the_environment_is_used_for_the_issuer_only() {
    let bench = Bench::new(&["https=yes"]);
    bench.configure_trusted("");
    bench.sign_in();
    let proxy = ProxyServer::to_any_port(Protocol::Http, None);
    let with_proxy = |run: Run| run.env("https_proxy", url(Protocol::Http, "", proxy.port()));
    bench.expire();
    with_proxy(bench.pouch(&["fetch"])).run().assert_code(0);
    assert_eq!(proxy.log(), [bench.issuer_address()]);
    bench.configure_trusted("proxy = \"none\"");
    bench.expire();
    with_proxy(bench.pouch(&["fetch"])).run().assert_code(0);
    assert_eq!(proxy.log().len(), 1);
}

/// No request reaches the issuer in another way.
#[test]
fn failures_of_proxies_are_reported_as_theirs() {
    let bench = Bench::new(&["https=yes"]);
    bench.configure_trusted("");
    bench.sign_in();
    let requests = bench.requests().len();
    let locked = |protocol| ProxyServer::to_any_port(protocol, Some("ann:secret"));
    let strange = || ProxyServer::sending(b"SSH-2.0-x\r\n\r\n");
    let mut shown = String::new();
    for (protocol, user, proxy) in [
        (Protocol::Http, "", locked(Protocol::Http)),
        (Protocol::Http, "ann@", locked(Protocol::Http)),
        (Protocol::Socks5, "", locked(Protocol::Socks5)),
        (Protocol::Socks5, "ann@", locked(Protocol::Socks5)),
        (Protocol::Http, "", strange()),
        (Protocol::Socks5, "", strange()),
    ] {
        let address = url(protocol, user, proxy.port());
        let password = match user {
            "" => "",
            _ => "proxy-password-command = [\"echo\", \"wrong\"]",
        };
        bench.configure_trusted(&format!("proxy = \"{address}\"\n{password}"));
        bench.expire();
        let output = bench.pouch(&["fetch", "-v"]).run();
        let port = proxy.port().to_string();
        let report = output.stderr.replace(&port, "PORT");
        shown.push_str(&format!("=== {}\n{report}", output.code));
    }
    assert_eq!(bench.requests().len(), requests);
    assert_snapshot!(shown, @"
    === 77
    pouch: work: the proxy 127.0.0.1:PORT refused the login
      CONNECT proxy failed: proxy server responded 407/407
    hint: check the user in `proxy`, and set `proxy-password-command`
    work   nothing fetched
    === 77
    pouch: work: the proxy 127.0.0.1:PORT refused the login
      CONNECT proxy failed: proxy server responded 407/407
    hint: check the user in `proxy`, and set `proxy-password-command`
    work   nothing fetched
    === 77
    pouch: work: the proxy 127.0.0.1:PORT refused the login
      no acceptable auth methods
    hint: check the user in `proxy`, and set `proxy-password-command`
    work   nothing fetched
    === 77
    pouch: work: the proxy 127.0.0.1:PORT refused the login
      password authentication failed
    hint: check the user in `proxy`, and set `proxy-password-command`
    work   nothing fetched
    === 75
    pouch: work: cannot reach localhost through the proxy 127.0.0.1:PORT
      protocol: http parse fail: invalid HTTP version
    work   nothing fetched
    === 75
    pouch: work: cannot reach localhost through the proxy 127.0.0.1:PORT
      invalid response version
    work   nothing fetched
    ");
}

/// The name of an issuer that only the proxy can resolve.
#[test]
fn issuer_with_a_name_that_only_the_proxy_knows_is_asked_through_it() {
    let bench = Bench::new(&[]);
    let issuer = Endpoint::always(400, "");
    let port = url::Url::parse(&issuer.url).unwrap().port().unwrap();
    for protocol in [Protocol::Socks5, Protocol::Http] {
        let proxy = ProxyServer::start(protocol, port, None);
        let keys = "token-endpoint = \"https://id.invalid/token\", client-id = \"x\", \
                    device-endpoint = \"https://id.invalid/device\", scope = [\"mail\"]";
        let account = bench.account("work", keys);
        let proxy_url = url(protocol, "", proxy.port());
        bench
            .home
            .config(&format!("{account}proxy = \"{proxy_url}\"\n"));
        // the endpoint does not speak TLS
        bench
            .pouch(&["login", "--device"])
            .run()
            .assert_code(75)
            .assert_stderr("cannot reach id.invalid");
        assert_eq!(proxy.log(), ["id.invalid:443"]);
    }
}
