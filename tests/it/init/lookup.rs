//! `pouch init`: looking up the server of a domain, without a terminal.
//!
//! Name servers, web servers and POP3 servers are on loopback. Through `https_proxy`, web servers
//! are reached by their names.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use super::{
    name_server::{NameServer, Reply},
    web::{Page, Web, document},
};
use crate::{
    server::{Certificate, Server, Setup},
    support::{
        Home,
        run::{Output, Run},
    },
};

const DOCUMENT: &str = "autoconfig.example.org/mail/config-v1.1.xml";
const WELL_KNOWN: &str = "example.org/.well-known/autoconfig/mail/config-v1.1.xml";

/// A config with which no server can be reached, so that the usual names below a domain are not
/// found.
const NO_SERVERS: &str = "[defaults]\nconnect-command = [\"false\"]\n[account.x]\n\
                          host = \"x.example\"\nuser = \"x\"\nmaildir = \"~/Mail/x\"\n";

/// The network of a test before it starts: a POP3 server for `localhost`, a name server without
/// records, and a web proxy that reaches no host. Each test adds what it needs.
struct Network {
    server: Server,
    records: Vec<(&'static str, Reply)>,
    pages: Vec<(&'static str, Page)>,
    hosts: Vec<&'static str>,
    config: Option<&'static str>,
}

impl Network {
    /// With a POP3 server that has TLS.
    fn new() -> Self {
        Self::with(Server::implicit_tls())
    }

    fn with(server: Setup) -> Self {
        Self {
            server: server.start(),
            records: Vec::new(),
            pages: Vec::new(),
            hosts: Vec::new(),
            config: None,
        }
    }

    /// Adds the reply to a query such as `MX example.org`. `reply` is called with the port of the
    /// POP3 server.
    fn record(mut self, question: &'static str, reply: impl FnOnce(u16) -> Reply) -> Self {
        self.records.push((question, reply(self.server.port())));
        self
    }

    /// Adds a page of a web server.
    fn page(mut self, url: &'static str, page: Page) -> Self {
        self.pages.push((url, page));
        self
    }

    /// Adds an autoconfig document with the POP3 server and this socket type.
    fn document(self, url: &'static str, socket: &str) -> Self {
        let port = self.server.port();
        self.page(url, document(&[("localhost", port, socket)]))
    }

    /// Makes the POP3 server reachable through the proxy under this name and port, and sets the
    /// proxy in the config.
    fn host(mut self, place: &'static str) -> Self {
        self.hosts.push(place);
        self
    }

    fn config(mut self, text: &'static str) -> Self {
        self.config = Some(text);
        self
    }

    fn start(self) -> Net {
        let records = self.records;
        let names = NameServer::start(move |question| {
            let found = records.iter().find(|(known, _)| *known == question);
            found.map_or(Reply::NoName, |(_, reply)| reply.clone())
        });
        let port = self.server.port();
        let hosts: Vec<_> = self.hosts.iter().map(|place| (*place, port)).collect();
        let web = Web::start(&self.pages, &hosts);
        let home = Home::new();
        let authorities = format!("{}{}", self.server.ca_pem(), web.ca_pem());
        home.write("ca.pem", authorities, 0o644);
        if let Some(config) = self.config {
            home.config(config);
        } else if !hosts.is_empty() {
            home.config(&format!(
                "[defaults]\nproxy = \"{}\"\n[account.x]\nhost = \"x.example\"\n\
                 user = \"x\"\nmaildir = \"~/Mail/x\"\n",
                web.proxy()
            ));
        }
        Net {
            home,
            server: self.server,
            names,
            web,
        }
    }
}

/// A home, and the network around it.
struct Net {
    home: Home,
    server: Server,
    names: NameServer,
    web: Web,
}

impl Net {
    fn pouch(&self, args: &[&str]) -> Run {
        self.home
            .pouch(args)
            .env("POUCH_RESOLVER", self.names.address())
            .env("https_proxy", self.web.proxy())
            .env("SSL_CERT_FILE", self.home.join("ca.pem"))
    }

    /// Runs `pouch init` with these words.
    fn init(&self, words: &str) -> Output {
        let args: Vec<_> = words.split(' ').collect();
        self.pouch(&[&["init"], args.as_slice()].concat()).run()
    }

    /// Runs `pouch init` with these words. Returns the transcript, without the port of the server.
    fn shown(&self, words: &str) -> String {
        self.text(&self.init(words))
    }

    /// Returns the output for a snapshot, without the port of the server.
    fn text(&self, output: &Output) -> String {
        let text = output.transcript();
        text.replace(&self.server.port().to_string(), "PORT")
    }
}

#[test]
fn server_for_tokens_alone_is_reported() {
    let network = Network::new();
    let Page::Document(text) = document(&[("localhost", network.server.port(), "SSL")]) else {
        unreachable!();
    };
    let text = text.replace("password-cleartext", "OAuth2");
    let net = network.page(DOCUMENT, Page::Document(text)).start();
    let output = net.init("ann@example.org");
    output.assert_code(0);
    output.assert_stderr("localhost accepts no passwords: set `token-command` or `oauth`");
}

#[test]
fn document_of_the_domain_names_the_server() {
    let net = Network::new().document(DOCUMENT, "SSL").start();
    assert_snapshot!(net.shown("ann@example.org"), @r#"
    $ pouch init ann@example.org
    [account.example]
    host = "localhost"
    port = PORT 
    user = "ann"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org
    found localhost:PORT (autoconfig of example.org)
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
    // the address is never sent
    assert!(
        !net.web.log().concat().contains("ann"),
        "{:?}",
        net.web.log()
    );
    assert_eq!(net.names.questions(), [""; 0]);
}

#[test]
fn well_known_document_is_used_and_redirects_are_followed() {
    let second = Page::Redirect("https://example.org/b".into());
    let net = Network::new()
        .page(WELL_KNOWN, Page::Redirect("/a".into()))
        .page("example.org/a", second)
        .document("example.org/b", "SSL")
        .start();
    let output = net.init("ann@example.org -q");
    output.assert_code(0).assert_stdout("host = \"localhost\"");
    assert_eq!(output.stderr, "");
}

/// Returns the output of `pouch init` if only this document is found.
fn with_document(page: Page) -> String {
    let network = Network::new().page(DOCUMENT, page).config(NO_SERVERS);
    let net = network.start();
    let began = Instant::now();
    let output = net.init("ann@example.org");
    output.assert_code(68);
    assert!(began.elapsed() < Duration::from_secs(20));
    let text = net.text(&output);
    let line = text.lines().find(|line| line.contains("autoconfig: "));
    line.unwrap_or(&text).trim().to_owned()
}

#[test]
fn bad_documents_are_skipped() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><clientConfig>&b;\
                </clientConfig>";
    let lines = [
        with_document(Page::Status(500)),
        with_document(Page::Huge(10_000_000)),
        with_document(Page::Document(bomb.into())),
        with_document(Page::Document("<html>Welcome</html>".into())),
        with_document(document(&[])),
        with_document(document(&[("localhost", 993, "SSL")])),
        with_document(Page::Redirect(format!("https://{DOCUMENT}"))),
        with_document(Page::Redirect("http://autoconfig.example.org/".into())),
        with_document(Page::Redirect("https:///".into())),
        with_document(Page::Stalled),
        with_document(Page::Silence),
    ];
    assert_snapshot!(lines.join("\n"), @"
    autoconfig: HTTP status 500; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: the document is larger than 256 KiB; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: its document has a DTD; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it is not an autoconfig document; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it names no POP3 server; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it names no POP3 server; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it redirects more than 3 times; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it redirects to an address without HTTPS; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: it redirects to an address without HTTPS; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: no answer within 5 s; CONNECT proxy failed: proxy server responded 502/502
    autoconfig: no answer within 5 s; CONNECT proxy failed: proxy server responded 502/502
    ");
}

#[test]
fn untrusted_web_server_is_skipped() {
    let network = Network::new().document(DOCUMENT, "SSL");
    let net = network.config(NO_SERVERS).start();
    net.home.write("ca.pem", net.server.ca_pem(), 0o644);
    assert_snapshot!(net.shown("ann@example.org"), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org
    pouch: no POP3 server was found for example.org
      autoconfig: its certificate is not trusted: unable to get local issuer certificate; CONNECT proxy failed: proxy server responded 502/502
      SRV record: no SRV record for POP3
      MX record: no MX record
      usual names: no POP3 server with TLS at pop.example.org, pop3.example.org or mail.example.org
    hint: name the server: `pouch init ann@example.org --host HOST`
    [exit code: 68]
    ");
}

#[test]
fn server_without_encryption_needs_a_decision() {
    let net = Network::with(Server::plain())
        .page(DOCUMENT, document(&[("pop.example.net", 110, "plain")]))
        .host("pop.example.net:110")
        .start();
    assert_snapshot!(net.shown("ann@example.org"), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org at example.org, through the proxy of the config
    pouch: pop.example.net:110 has no encryption
    hint: to send the password unencrypted, run `pouch init ann@example.org --host pop.example.net:110 --tls off --user ann`
    [exit code: 69]
    ");
}

#[test]
fn starttls_comes_before_no_encryption() {
    let network = Network::with(Server::starttls());
    let port = network.server.port();
    let servers = ["plain", "STARTTLS"].map(|socket| ("localhost", port, socket));
    let net = network.page(DOCUMENT, document(&servers)).start();
    assert_snapshot!(net.shown("ann@example.org"), @r#"
    $ pouch init ann@example.org
    [account.example]
    host = "localhost"
    port = PORT 
    tls = "starttls"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org
    found localhost:PORT (autoconfig of example.org)
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
}

#[test]
fn server_of_a_record_is_used_below_the_domain_only() {
    let net = Network::new()
        .record("SRV _pop3s._tcp.localhost", |port| {
            Reply::Srv(vec![(1, port, "localhost")])
        })
        .record("SRV _pop3s._tcp.example.org", |port| {
            Reply::Srv(vec![(2, 1, "pop2.example.org"), (1, port, "localhost")])
        })
        .start();
    assert_snapshot!(net.shown("ann@localhost"), @r#"
    $ pouch init ann@localhost
    [account.localhost]
    host = "localhost"
    port = PORT 
    user = "ann@localhost"
    # password-file = "~/.config/pouch/secrets/localhost"
    maildir = "~/Mail/localhost"
    keep = "forever"
    ------- stderr -------
    looking up the POP3 server of localhost in DNS and at localhost
    found localhost:PORT (SRV record of localhost)
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
    assert_snapshot!(net.shown("ann@example.org"), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org
    pouch: localhost may not be the POP3 server of example.org
      the SRV record of example.org leads to it, but DNS is not authenticated
    hint: if it is the right server, run `pouch init ann@example.org --host localhost:PORT`
    [exit code: 64]
    ");
    let port = net.server.port();
    net.init(&format!("ann@example.org --host localhost:{port}"))
        .assert_code(0);
}

/// Returns the result for `ann@localhost` if the name server sends this reply to the first query.
fn with_reply(config: &'static str, reply: impl FnOnce(u16) -> Reply) -> (String, Vec<String>) {
    let net = Network::new()
        .record("SRV _pop3s._tcp.localhost", reply)
        .config(config)
        .start();
    let text = net.shown("ann@localhost");
    let line = text
        .lines()
        .find(|line| line.contains("SRV") || line.contains("host = "));
    (
        line.unwrap_or(&text).trim().to_owned(),
        net.names.questions(),
    )
}

#[test]
fn odd_answers_of_name_servers() {
    let lines = [
        with_reply("", |port| {
            Reply::Long(Reply::Srv(vec![(1, port, "localhost")]).into())
        }),
        with_reply("", |port| {
            let forged = Reply::Srv(vec![(1, port, "evil.example")]);
            Reply::Forged(
                forged.into(),
                Reply::Srv(vec![(1, port, "localhost")]).into(),
            )
        }),
        with_reply(NO_SERVERS, |_| Reply::Failure),
        with_reply(NO_SERVERS, |_| Reply::Silence),
        with_reply(NO_SERVERS, |_| {
            Reply::Bytes(b"\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\xc0\0".to_vec())
        }),
        with_reply(NO_SERVERS, |_| Reply::Srv(Vec::new())),
        with_reply(NO_SERVERS, |_| Reply::Srv(vec![(1, 995, "")])),
        with_reply(NO_SERVERS, |_| {
            Reply::Srv(vec![(1, 0, "localhost"), (1, 995, "a b")])
        }),
    ];
    let lines: Vec<_> = lines
        .iter()
        .map(|(line, questions)| format!("{line} | {}", questions.len()))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    host = "localhost" | 3
    host = "localhost" | 2
    SRV record: the name server 127.0.0.1 failed | 1
    SRV record: no answer from the name server 127.0.0.1 within 3 s | 3
    SRV record: no answer from the name server 127.0.0.1 within 3 s | 3
    SRV record: no SRV record for POP3 | 3
    according to its SRV record | 2
    SRV record: no SRV record for POP3 | 3
    "#);
}

#[test]
fn unreachable_target_is_skipped() {
    let net = Network::new()
        .record("SRV _pop3s._tcp.localhost", |port| {
            Reply::Srv(vec![(1, 1, "localhost"), (2, port, "localhost")])
        })
        .start();
    net.init("ann@localhost")
        .assert_code(0)
        .assert_stdout(&format!("port = {}", net.server.port()));
}

#[test]
fn exchanger_leads_to_a_provider_or_nowhere() {
    let net = Network::new()
        .record("MX tuta.example", |_| Reply::Mx(vec!["mail.tutanota.de"]))
        .record("MX filtered.example", |_| {
            Reply::Mx(vec!["mx1.pphosted.com"])
        })
        .config(NO_SERVERS)
        .start();
    assert_snapshot!(net.shown("ann@tuta.example"), @"
    $ pouch init ann@tuta.example
    ------- stderr -------
    looking up the POP3 server of tuta.example in DNS and at tuta.example
    pouch: Tuta has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]
    ");
    assert_snapshot!(net.shown("ann@gmial.com"), @"
    $ pouch init ann@gmial.com
    ------- stderr -------
    looking up the POP3 server of gmial.com in DNS and at gmial.com
    pouch: no POP3 server was found for gmial.com
      autoconfig: CONNECT proxy failed: proxy server responded 502/502
      SRV record: no SRV record for POP3
      MX record: no MX record
      usual names: no POP3 server with TLS at pop.gmial.com, pop3.gmial.com or mail.gmial.com
    hint: did you mean ann@gmail.com?
    [exit code: 68]
    ");
    assert_snapshot!(net.shown("ann@filtered.example"), @"
    $ pouch init ann@filtered.example
    ------- stderr -------
    looking up the POP3 server of filtered.example in DNS and at filtered.example
    pouch: no POP3 server was found for filtered.example
      autoconfig: CONNECT proxy failed: proxy server responded 502/502
      SRV record: no SRV record for POP3
      MX record: mx1.pphosted.com does not belong to a known provider
      usual names: no POP3 server with TLS at pop.filtered.example, pop3.filtered.example or mail.filtered.example
    hint: name the server: `pouch init ann@filtered.example --host HOST`
    [exit code: 68]
    ");
}

#[test]
fn database_is_queried_only_on_request() {
    let net = Network::new()
        .record("MX example.org", |_| Reply::Mx(vec!["mx.hoster.example"]))
        .document("autoconfig.thunderbird.net/v1.1/hoster.example", "SSL")
        .config(NO_SERVERS)
        .start();
    net.init("ann@example.org").assert_code(68);
    assert!(!net.web.log().concat().contains("thunderbird"));
    net.home.config("");
    assert_snapshot!(net.shown("ann@example.org --database"), @"
    $ pouch init ann@example.org --database
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org, and at autoconfig.thunderbird.net
    pouch: localhost may not be the POP3 server of example.org
      the MX record of example.org leads to it, but DNS is not authenticated
    hint: if it is the right server, run `pouch init ann@example.org --host localhost:PORT --user ann`
    [exit code: 64]
    ");
    let asked = "autoconfig.thunderbird.net/v1.1/example.org".to_owned();
    assert!(net.web.log().contains(&asked));
}

/// A proxy resolves the names, so no name server is queried.
#[test]
fn usual_name_needs_a_trusted_certificate() {
    let server = Server::implicit_tls().certificate(Certificate::For("pop3.example.org"));
    let net = Network::with(server)
        .host("pop.example.org:995")
        .host("pop3.example.org:995")
        .start();
    assert_snapshot!(net.shown("ann@example.org"), @r#"
    $ pouch init ann@example.org
    [account.example]
    host = "pop3.example.org"
    user = "ann@example.org"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    ------- stderr -------
    looking up the POP3 server of example.org at example.org, through the proxy of the config
    found pop3.example.org:995 (usual names below example.org)
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
    assert_eq!(net.names.questions(), [""; 0]);
    net.home.write("ca.pem", net.web.ca_pem(), 0o644);
    assert_snapshot!(net.shown("ann@example.org"), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org at example.org, through the proxy of the config
    pouch: no POP3 server was found for example.org
      autoconfig: CONNECT proxy failed: proxy server responded 502/502
      usual names: no POP3 server with TLS at pop.example.org, pop3.example.org or mail.example.org
    hint: name the server: `pouch init ann@example.org --host HOST`
    [exit code: 68]
    ");
}
