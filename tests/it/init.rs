//! `pouch init`: finding the server, without a terminal.
//!
//! Name servers, web servers and POP3 servers are on loopback. `https_proxy` leads the names of web
//! servers there.

#[cfg(feature = "system-tests")]
mod dialogue;
mod name_server;
mod web;

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::{
    server::{Certificate, Server},
    support::{
        Home,
        run::{Output, Run},
    },
};
use name_server::{NameServer, Reply};
use web::{Page, Web, document};

const DOCUMENT: &str = "autoconfig.example.org/mail/config-v1.1.xml";
const WELL_KNOWN: &str = "example.org/.well-known/autoconfig/mail/config-v1.1.xml";

/// A config with which no server can be reached: usual names below a domain are not looked up.
const NO_SERVERS: &str = "[defaults]\nconnect-command = [\"false\"]\n[account.x]\n\
                          host = \"x.example\"\nuser = \"x\"\nmaildir = \"~/Mail/x\"\n";

/// A home with a POP3 server for `localhost`, and the network around it.
struct Net {
    home: Home,
    server: Server,
    names: NameServer,
    web: Web,
}

impl Net {
    /// Starts a POP3 server with TLS. `reply` and `pages` get its port.
    fn new(reply: impl Fn(&str, u16) -> Reply + Clone + Send + 'static, pages: Pages) -> Self {
        Self::with(Server::implicit_tls().start(), reply, pages)
    }

    fn with(
        server: Server,
        reply: impl Fn(&str, u16) -> Reply + Clone + Send + 'static,
        pages: Pages,
    ) -> Self {
        let port = server.port();
        let names = NameServer::start(move |question| reply(question, port));
        let web = Web::start(&pages(port), &[]);
        let home = Home::new();
        home.write(
            "ca.pem",
            format!("{}{}", server.ca_pem(), web.ca_pem()),
            0o644,
        );
        Self {
            home,
            server,
            names,
            web,
        }
    }

    fn pouch(&self, args: &[&str]) -> Run {
        self.home
            .pouch(args)
            .env("POUCH_RESOLVER", self.names.address())
            .env("https_proxy", self.web.proxy())
            .env("SSL_CERT_FILE", self.home.join("ca.pem"))
    }

    /// Creates an account for `ann@example.org`, with these options.
    fn init(&self, args: &[&str]) -> Output {
        self.pouch(&[&["init", "ann@example.org"], args].concat())
            .run()
    }

    /// Returns the output for a snapshot, without the port of the server.
    fn text(&self, output: &Output) -> String {
        let text = output.transcript();
        text.replace(&self.server.port().to_string(), "PORT")
    }
}

/// Returns the pages of web servers.
type Pages = fn(u16) -> Vec<(&'static str, Page)>;

fn no_name(_: &str, _: u16) -> Reply {
    Reply::NoName
}

fn no_pages(_: u16) -> Vec<(&'static str, Page)> {
    Vec::new()
}

/// Returns the runs of `pouch init` for these addresses, which need no network.
fn offline(addresses: &[&str]) -> String {
    let home = Home::new();
    let runs = addresses.iter().map(|address| {
        let output = home.pouch(&["init", address, "--offline"]).run();
        if output.code == 0 {
            home.config(&output.stdout);
            home.pouch(&["config", "show"]).run().assert_code(0);
            std::fs::remove_file(home.join(".config/pouch/config.toml")).unwrap();
        }
        output.transcript()
    });
    runs.collect::<Vec<_>>().join("\n")
}

#[test]
fn frequent_domains_need_no_network() {
    assert_snapshot!(offline(&[
        "ann@gmail.com",
        "ann@hotmail.co.uk",
        "ann@web.de",
        "ann@alice.it",
        "ann@qq.com",
        "ann@fastmail.com",
    ]), @r#"
    $ pouch init ann@gmail.com --offline
    [account.gmail]
    host = "pop.gmail.com"
    user = "ann@gmail.com"
    # password-file = "~/.config/pouch/secrets/gmail"
    maildir = "~/Mail/gmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings, and create an app password in Gmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@hotmail.co.uk --offline
    [account.hotmail]
    host = "outlook.office365.com"
    user = "ann@hotmail.co.uk"
    oauth = "microsoft"
    maildir = "~/Mail/hotmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Microsoft's web settings
    sign in with `pouch login hotmail`

    $ pouch init ann@web.de --offline
    [account.web]
    host = "pop3.web.de"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/web"
    maildir = "~/Mail/web"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in web.de's web settings, and create an app password in web.de's account settings if 2-step verification is on
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@alice.it --offline
    [account.alice]
    host = "in.alice.it"
    tls = "starttls"
    user = "ann@alice.it"
    # password-file = "~/.config/pouch/secrets/alice"
    maildir = "~/Mail/alice"
    keep = "forever"
    ------- stderr -------
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@qq.com --offline
    [account.qq]
    host = "pop.qq.com"
    user = "ann@qq.com"
    # password-file = "~/.config/pouch/secrets/qq"
    maildir = "~/Mail/qq"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in QQ's web settings, and create an authorization code in QQ's web settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@fastmail.com --offline
    [account.fastmail]
    host = "pop.fastmail.com"
    user = "ann@fastmail.com"
    # password-file = "~/.config/pouch/secrets/fastmail"
    maildir = "~/Mail/fastmail"
    keep = "forever"
    ------- stderr -------
    before the first login: create an app password in Fastmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
}

/// No program of the network is involved: not even a socket is opened.
#[cfg(feature = "system-tests")]
#[test]
fn offline_sends_nothing() {
    let home = Home::new();
    for address in [
        "ann@gmail.com",
        "ann@icloud.com",
        "ann@example.org",
        "ann@web.de",
    ] {
        let pouch = env!("CARGO_BIN_EXE_pouch");
        let words = [
            "-f",
            "-e",
            "trace=%network",
            "-o",
            "calls",
            pouch,
            "init",
            address,
            "--offline",
        ];
        home.system_command("strace", &words).run();
        let calls = String::from_utf8(home.read("calls")).unwrap();
        assert!(!calls.contains("AF_INET"), "{calls}");
    }
}

#[test]
fn server_for_tokens_alone_is_reported() {
    let net = Net::new(no_name, |port| {
        let Page::Document(text) = document(&[("localhost", port, "SSL")]) else {
            unreachable!();
        };
        vec![(
            DOCUMENT,
            Page::Document(text.replace("password-cleartext", "OAuth2")),
        )]
    });
    let output = net.init(&[]);
    output.assert_code(0);
    output.assert_stderr("localhost accepts no passwords: set `token-command` or `oauth`");
}

#[test]
fn provider_without_pop3_is_named() {
    assert_snapshot!(offline(&["ann@icloud.com", "ann@pm.me", "ann@tuta.com", "ann@hey.com"]), @"
    $ pouch init ann@icloud.com --offline
    ------- stderr -------
    pouch: iCloud has IMAP, but no POP3
    hint: use a program that fetches by IMAP, such as mbsync
    [exit code: 69]

    $ pouch init ann@pm.me --offline
    ------- stderr -------
    pouch: Proton Mail has no POP3
    hint: use its Bridge with a program that fetches by IMAP, such as mbsync
    [exit code: 69]

    $ pouch init ann@tuta.com --offline
    ------- stderr -------
    pouch: Tuta has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]

    $ pouch init ann@hey.com --offline
    ------- stderr -------
    pouch: HEY has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]
    ");
}

#[test]
fn unknown_domain_needs_a_host_without_the_network() {
    assert_snapshot!(offline(&["ann@example.org"]), @"
    $ pouch init ann@example.org --offline
    ------- stderr -------
    pouch: the POP3 server of example.org is not built in, and `--offline` prevents a lookup
    hint: name the server: `pouch init ann@example.org --host HOST`
    [exit code: 64]
    ");
}

#[test]
fn options_answer_all_questions() {
    let home = Home::new();
    let run = |args: &[&str]| home.pouch(args).run().transcript();
    let all = [
        "init",
        "Ann <ann@example.org>",
        "--host",
        "pop.example.org:1110",
        "--tls",
        "starttls",
        "--user",
        "ann",
        "--name",
        "work",
        "--password-command",
        "pass show 'mail/my work'",
        "--maildir",
        "mail/work",
        "--keep",
        "30d",
    ];
    assert_snapshot!(run(&all), @r#"
    $ pouch init Ann <ann@example.org> --host pop.example.org:1110 --tls starttls --user ann --name work --password-command pass show 'mail/my work' --maildir mail/work --keep 30d
    [account.work]
    host = "pop.example.org"
    port = 1110
    tls = "starttls"
    user = "ann"
    password-command = ["pass", "show", "mail/my work"]
    maildir = "~/mail/work"
    keep = "30d"
    "#);
    let clear = [
        "init",
        "ann@example.org",
        "--host",
        "localhost:110",
        "--tls",
        "off",
    ];
    assert_snapshot!(run(&clear), @r#"
    $ pouch init ann@example.org --host localhost:110 --tls off
    [account.example]
    host = "localhost"
    tls = "off"
    allow-plaintext-password = true
    user = "ann@example.org"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    ------- stderr -------
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
    let token = [
        "init",
        "ann@gmail.com",
        "--oauth",
        "google",
        "--client-id",
        "x.y",
    ];
    assert_snapshot!(run(&token), @r#"
    $ pouch init ann@gmail.com --oauth google --client-id x.y
    [account.gmail]
    host = "pop.gmail.com"
    user = "ann@gmail.com"
    oauth = { provider = "google", client-id = "x.y" }
    maildir = "~/Mail/gmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings
    sign in with `pouch login gmail`
    "#);
    let file = [
        "init",
        "ann@münchen.example",
        "--host",
        "::1",
        "--password-file",
        "~/secret",
    ];
    assert_snapshot!(run(&file), @r#"
    $ pouch init ann@münchen.example --host ::1 --password-file ~/secret
    [account."münchen"]
    host = "::1"
    user = "ann@xn--mnchen-3ya.example"
    password-file = "~/secret"
    maildir = "~/Mail/münchen"
    keep = "forever"
    "#);
}

#[test]
fn wrong_options_are_explained() {
    let home = Home::new();
    let cases: [&[&str]; 8] = [
        &["init"],
        &["init", "ann"],
        &["init", "pops://ann@pop.example.org"],
        &["init", "ann@gmail.com", "--name", "a/b"],
        &["init", "ann@gmail.com", "--keep", "30"],
        &["init", "ann@gmail.com", "--password-command", "pass 'x"],
        &["init", "ann@example.org", "--host", "pop:x"],
        &["init", "ann@example.org", "--host", "x", "--tls", "ssl3"],
    ];
    let runs = cases.map(|args| home.pouch(args).run().transcript());
    assert_snapshot!(runs.join("\n"), @"
    $ pouch init
    ------- stderr -------
    pouch: no mail address was given
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init ann
    ------- stderr -------
    pouch: `ann` is not a mail address: it has no `@`
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init pops://ann@pop.example.org
    ------- stderr -------
    pouch: `pops://ann@pop.example.org` is not a mail address: it is a URL
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init ann@gmail.com --name a/b
    ------- stderr -------
    pouch: an account name must not contain `/` or `@`, which mark URLs
    [exit code: 64]

    $ pouch init ann@gmail.com --keep 30
    ------- stderr -------
    pouch: `--keep 30` is not forever, none or a time in days
    hint: write it as 30d, 8w, 6mo or 1y
    [exit code: 64]

    $ pouch init ann@gmail.com --password-command pass 'x
    ------- stderr -------
    pouch: --password-command: unclosed quote in the command `pass …`
    hint: enclose the whole command in the other kind of quotes
    [exit code: 64]

    $ pouch init ann@example.org --host pop:x
    ------- stderr -------
    pouch: `--host pop:x` is not a host, or a host and a port
    hint: write it as pop.example.org:995
    [exit code: 64]

    $ pouch init ann@example.org --host x --tls ssl3
    ------- stderr -------
    error: invalid value 'ssl3' for '--tls <MODE>'
      [possible values: implicit, starttls, off]

    For more information, try '--help'.
    [exit code: 64]
    ");
}

#[test]
fn account_that_exists_is_refused() {
    let home = Home::new();
    home.config(
        "# mine\n[account.work]\nhost = \"pop.example.org\"\nuser = \"Ann@example.org\"\n\
         maildir = \"~/mail/work\"\n\n[account.gmail]\nhost = \"pop.gmail.com\"\n\
         user = \"recent:bob@gmail.com\"\nmaildir = \"~/Mail/x\"\n[account.free]\n\
         host = \"pop.free.fr\"\nuser = \"ann\"\nmaildir = \"~/Mail/y\"\n",
    );
    let cases: [&[&str]; 5] = [
        &["init", "ann@example.org"],
        &["init", "bob@gmail.com"],
        &["init", "ann@free.fr"],
        &["init", "eve@gmx.net", "--name", "work"],
        &["init", "eve@gmail.com"],
    ];
    let runs = cases.map(|args| home.pouch(args).run().transcript());
    assert_snapshot!(runs.join("\n"), @r#"
    $ pouch init ann@example.org
    ------- stderr -------
    pouch: ann@example.org is already account `work` in ~/.config/pouch/config.toml
    hint: run `pouch check work` to test it, or change it in the config
    [exit code: 64]

    $ pouch init bob@gmail.com
    ------- stderr -------
    pouch: bob@gmail.com is already account `gmail` in ~/.config/pouch/config.toml
    hint: run `pouch check gmail` to test it, or change it in the config
    [exit code: 64]

    $ pouch init ann@free.fr
    ------- stderr -------
    pouch: ann@free.fr is already account `free` in ~/.config/pouch/config.toml
    hint: run `pouch check free` to test it, or change it in the config
    [exit code: 64]

    $ pouch init eve@gmx.net --name work
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml already has an account `work`
    hint: choose another `--name`
    [exit code: 64]

    $ pouch init eve@gmail.com
    [account.gmail-eve]
    host = "pop.gmail.com"
    user = "eve@gmail.com"
    # password-file = "~/.config/pouch/secrets/gmail-eve"
    maildir = "~/mail/gmail-eve"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings, and create an app password in Gmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
}

#[test]
fn dangling_link_at_the_config_is_named() {
    let home = Home::new();
    std::fs::create_dir_all(home.join(".config/pouch")).unwrap();
    let link = home.join(".config/pouch/config.toml");
    std::os::unix::fs::symlink("/nonexistent/pouch.toml", link).unwrap();
    let run = home.pouch(&["init", "ann@gmail.com"]).run();
    assert_snapshot!(run.transcript(), @"
    $ pouch init ann@gmail.com
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml is a symbolic link to /nonexistent/pouch.toml, which does not exist
    hint: create the file that it points to, or remove the link
    [exit code: 78]
    ");
}

#[test]
fn config_that_cannot_take_another_table_is_named() {
    let home = Home::new();
    home.config(
        "account = { a = { host = \"pop.example.org\", user = \"a\", maildir = \"~/a\" } }\n",
    );
    let run = home.pouch(&["init", "ann@gmail.com"]).run();
    assert_snapshot!(run.transcript(), @"
    $ pouch init ann@gmail.com
    ------- stderr -------
    pouch: no account can be added to ~/.config/pouch/config.toml: its accounts are not tables
    hint: write each account as a table: `[account.NAME]`
    [exit code: 78]
    ");
}

#[test]
fn json_has_the_account_and_what_is_left_to_do() {
    let home = Home::new();
    let output = home.pouch(&["init", "ann@outlook.com", "--json"]).run();
    assert_snapshot!(output.transcript(), @r#"
    $ pouch init ann@outlook.com --json
    {
      "account": "outlook",
      "address": "ann@outlook.com",
      "host": "outlook.office365.com",
      "port": 995,
      "source": "known to pouch",
      "tls": "implicit",
      "todo": [
        "before the first login: enable POP3 in Microsoft's web settings",
        "sign in with `pouch login outlook`"
      ],
      "toml": "[account.outlook]\nhost = \"outlook.office365.com\"\nuser = \"ann@outlook.com\"\noauth = \"microsoft\"\nmaildir = \"~/Mail/outlook\"\nkeep = \"forever\"\n",
      "user": "ann@outlook.com"
    }
    "#);
}

#[test]
fn document_of_the_domain_names_the_server() {
    let net = Net::new(no_name, |port| {
        vec![(DOCUMENT, document(&[("localhost", port, "SSL")]))]
    });
    assert_snapshot!(net.text(&net.init(&[])), @r#"
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
    let net = Net::new(no_name, |port| {
        vec![
            (WELL_KNOWN, Page::Redirect("/a".into())),
            (
                "example.org/a",
                Page::Redirect("https://example.org/b".into()),
            ),
            ("example.org/b", document(&[("localhost", port, "SSL")])),
        ]
    });
    let output = net.init(&["-q"]);
    output.assert_code(0).assert_stdout("host = \"localhost\"");
    assert_eq!(output.stderr, "");
}

/// Returns the output of `pouch init` if the document is this one, and nothing else is found.
fn with_document(page: Page) -> String {
    let server = Server::implicit_tls().start();
    let names = NameServer::start(|_| Reply::NoName);
    let web = Web::start(&[(DOCUMENT, page)], &[]);
    let net = Net {
        home: Home::new(),
        server,
        names,
        web,
    };
    net.home.write("ca.pem", net.web.ca_pem(), 0o644);
    net.home.config(NO_SERVERS);
    let began = Instant::now();
    let output = net.init(&[]);
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
    let net = Net::new(no_name, |port| {
        vec![(DOCUMENT, document(&[("localhost", port, "SSL")]))]
    });
    net.home.write("ca.pem", net.server.ca_pem(), 0o644);
    net.home.config(NO_SERVERS);
    assert_snapshot!(net.text(&net.init(&[])), @"
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
    let server = Server::plain().start();
    let page = document(&[("pop.example.net", 110, "plain")]);
    let web = Web::start(
        &[(DOCUMENT, page)],
        &[("pop.example.net:110", server.port())],
    );
    let home = Home::new();
    home.write("ca.pem", web.ca_pem(), 0o644);
    home.config(&through(&web));
    let names = NameServer::start(|_| Reply::NoName);
    let net = Net {
        home,
        server,
        names,
        web,
    };
    assert_snapshot!(net.text(&net.init(&[])), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org at example.org, through the proxy of the config
    pouch: pop.example.net:110 has no encryption
    hint: to send the password unencrypted, run `pouch init ann@example.org --host pop.example.net:110 --tls off --user ann`
    [exit code: 69]
    ");
}

/// Returns a config in which servers are reached through the proxy.
fn through(web: &Web) -> String {
    format!(
        "[defaults]\nproxy = \"{}\"\n[account.x]\nhost = \"x.example\"\nuser = \"x\"\n\
         maildir = \"~/Mail/x\"\n",
        web.proxy()
    )
}

#[test]
fn starttls_comes_before_no_encryption() {
    let net = Net::with(Server::starttls().start(), no_name, |port| {
        let servers = [
            ("localhost", port, "plain"),
            ("localhost", port, "STARTTLS"),
        ];
        vec![(DOCUMENT, document(&servers))]
    });
    assert_snapshot!(net.text(&net.init(&[])), @r#"
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
    fn reply(question: &str, port: u16) -> Reply {
        match question {
            "SRV _pop3s._tcp.localhost" => Reply::Srv(vec![(1, port, "localhost")]),
            "SRV _pop3s._tcp.example.org" => {
                Reply::Srv(vec![(2, 1, "pop2.example.org"), (1, port, "localhost")])
            }
            _ => Reply::NoName,
        }
    }
    let net = Net::new(reply, no_pages);
    let own = net.pouch(&["init", "ann@localhost"]).run();
    assert_snapshot!(net.text(&own), @r#"
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
    let foreign = net.init(&[]);
    assert_snapshot!(net.text(&foreign), @"
    $ pouch init ann@example.org
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org
    pouch: localhost may not be the POP3 server of example.org
      the SRV record of example.org leads to it, but DNS is not authenticated
    hint: if it is the right server, run `pouch init ann@example.org --host localhost:PORT`
    [exit code: 64]
    ");
    let host = format!("localhost:{}", net.server.port());
    net.init(&["--host", &host]).assert_code(0);
}

/// Returns the result for `ann@localhost` if the name server answers the first question so.
fn with_reply(
    config: &str,
    reply: impl Fn(u16) -> Reply + Clone + Send + 'static,
) -> (String, Vec<String>) {
    let net = Net::new(
        move |question, port| match question {
            "SRV _pop3s._tcp.localhost" => reply(port),
            _ => Reply::NoName,
        },
        no_pages,
    );
    net.home.config(config);
    let output = net.pouch(&["init", "ann@localhost"]).run();
    let text = net.text(&output);
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
fn dead_target_leads_to_the_next_one() {
    let net = Net::new(
        |question, port| match question {
            "SRV _pop3s._tcp.localhost" => {
                Reply::Srv(vec![(1, 1, "localhost"), (2, port, "localhost")])
            }
            _ => Reply::NoName,
        },
        no_pages,
    );
    let output = net.pouch(&["init", "ann@localhost"]).run();
    output
        .assert_code(0)
        .assert_stdout(&format!("port = {}", net.server.port()));
}

#[test]
fn exchanger_leads_to_a_provider_or_nowhere() {
    fn reply(question: &str, _: u16) -> Reply {
        match question {
            "MX tuta.example" => Reply::Mx(vec!["mail.tutanota.de"]),
            "MX filtered.example" => Reply::Mx(vec!["mx1.pphosted.com"]),
            _ => Reply::NoName,
        }
    }
    let net = Net::new(reply, no_pages);
    net.home.config(NO_SERVERS);
    let run = |address: &str| net.text(&net.pouch(&["init", address]).run());
    assert_snapshot!(run("ann@tuta.example"), @"
    $ pouch init ann@tuta.example
    ------- stderr -------
    looking up the POP3 server of tuta.example in DNS and at tuta.example
    pouch: Tuta has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]
    ");
    assert_snapshot!(run("ann@gmial.com"), @"
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
    assert_snapshot!(run("ann@filtered.example"), @"
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
fn database_is_asked_only_on_request() {
    fn reply(question: &str, _: u16) -> Reply {
        match question {
            "MX example.org" => Reply::Mx(vec!["mx.hoster.example"]),
            _ => Reply::NoName,
        }
    }
    const DATABASE: &str = "autoconfig.thunderbird.net/v1.1/";
    let net = Net::new(reply, |port| {
        vec![(
            "autoconfig.thunderbird.net/v1.1/hoster.example",
            document(&[("localhost", port, "SSL")]),
        )]
    });
    net.home.config(NO_SERVERS);
    net.init(&[]).assert_code(68);
    assert!(!net.web.log().concat().contains("thunderbird"));
    net.home.config("");
    assert_snapshot!(net.text(&net.init(&["--database"])), @"
    $ pouch init ann@example.org --database
    ------- stderr -------
    looking up the POP3 server of example.org in DNS and at example.org, and at autoconfig.thunderbird.net
    pouch: localhost may not be the POP3 server of example.org
      the MX record of example.org leads to it, but DNS is not authenticated
    hint: if it is the right server, run `pouch init ann@example.org --host localhost:PORT --user ann`
    [exit code: 64]
    ");
    assert!(net.web.log().contains(&format!("{DATABASE}example.org")));
}

/// With a proxy, the names are resolved there, and no name server is asked.
#[test]
fn usual_name_needs_a_trusted_certificate() {
    let server = Server::implicit_tls()
        .certificate(Certificate::For("pop3.example.org"))
        .start();
    let names = NameServer::start(|_| Reply::NoName);
    let web = Web::start(
        &[],
        &[
            ("pop.example.org:995", server.port()),
            ("pop3.example.org:995", server.port()),
        ],
    );
    let home = Home::new();
    home.write("ca.pem", server.ca_pem(), 0o644);
    home.config(&through(&web));
    let net = Net {
        home,
        server,
        names,
        web,
    };
    assert_snapshot!(net.text(&net.init(&[])), @r#"
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
    assert_snapshot!(net.text(&net.init(&[])), @"
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

#[test]
fn without_a_config_the_first_step_is_named() {
    let home = Home::new();
    let own = home.pouch(&[]).run();
    home.write(".fetchmailrc", "poll pop.example.org user ann\n", 0o600);
    let other = home.pouch(&["--config", "c.toml", "check"]).run();
    assert_snapshot!([own.transcript(), other.transcript()].join("\n"), @"
    $ pouch
    ------- stderr -------
    pouch: there is no config file ~/.config/pouch/config.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch init ADDRESS`, with your mail address
    [exit code: 78]

    $ pouch --config c.toml check
    ------- stderr -------
    pouch: there is no config file c.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch --config c.toml import fetchmail` to see which accounts of fetchmail can be taken over, or `pouch --config c.toml init ADDRESS`, with your mail address
    [exit code: 78]
    ");
}
