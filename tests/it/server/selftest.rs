//! Tests of the scripted server.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use native_tls::{Certificate as Root, TlsConnector};

use super::{Certificate, Server, corpus, on, on_connect, on_response};

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A minimal client that sends commands and checks responses.
struct Client(Box<dyn Stream>);

impl Client {
    fn connect(server: &Server) -> Self {
        let mut client = Self::silent(server);
        client.expect("+OK POP3 ready\r\n");
        client
    }

    fn silent(server: &Server) -> Self {
        Self(Box::new(socket(server)))
    }

    fn logged_in(server: &Server) -> Self {
        let mut client = Self::connect(server);
        client.ask("USER ann", "+OK send PASS\r\n");
        client.ask("PASS secret", "+OK maildrop open\r\n");
        client
    }

    fn ask(&mut self, command: &str, answer: &str) {
        self.say(&format!("{command}\r\n"));
        self.expect(answer);
    }

    fn say(&mut self, octets: &str) {
        self.0.write_all(octets.as_bytes()).expect("a write");
    }

    fn expect(&mut self, octets: &str) {
        let mut got = vec![0; octets.len()];
        let outcome = self.0.read_exact(&mut got);
        assert_eq!(String::from_utf8_lossy(&got), octets, "{outcome:?}");
    }

    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("an end in good order");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn socket(server: &Server) -> TcpStream {
    TcpStream::connect(("127.0.0.1", server.port())).expect("a connection")
}

fn handshake(server: &Server, host: &str, socket: TcpStream) -> io::Result<Client> {
    let root = Root::from_pem(server.ca_pem().as_bytes()).map_err(io::Error::other)?;
    let connector = TlsConnector::builder()
        .disable_built_in_roots(true)
        .add_root_certificate(root)
        .build()
        .map_err(io::Error::other)?;
    let stream = connector.connect(host, socket).map_err(io::Error::other)?;
    Ok(Client(Box::new(stream)))
}

#[test]
fn only_quit_removes_messages() {
    let server = Server::plain()
        .messages(corpus::messages(3))
        .exclusive()
        .start();
    let mut client = Client::logged_in(&server);
    client.ask("DELE 1", "+OK marked\r\n");
    client.ask("DELE 1", "-ERR no such message\r\n");
    client.ask(
        "UIDL",
        "+OK unique-ids follow\r\n2 uid-2\r\n3 uid-3\r\n.\r\n",
    );
    let mut second = Client::connect(&server);
    second.say("USER ann\r\nPASS secret\r\n");
    second.expect("+OK send PASS\r\n-ERR [IN-USE] another session has the maildrop\r\n");
    drop((client, second));
    server.wait_for(|log| log.open() == 0);
    assert_eq!(server.uids(), ["uid-1", "uid-2", "uid-3"]);

    let mut client = Client::logged_in(&server);
    server.add("uid-4", corpus::message(4));
    client.ask("DELE 3", "+OK marked\r\n");
    client.ask("RSET", "+OK all marks gone\r\n");
    client.ask("DELE 2", "+OK marked\r\n");
    client.ask("UIDL 4", "-ERR no such message\r\n");
    client.ask("QUIT", "+OK bye\r\n");
    client.expect_end();
    assert_eq!(server.uids(), ["uid-1", "uid-3", "uid-4"]);
    let log = server.log();
    assert_eq!(
        (log.connections(), log.count("PASS"), log.count("DELE 2")),
        (3, 3, 1)
    );
}

#[test]
fn content_is_sent_as_in_rfc_1939() {
    let server = Server::plain()
        .message("odd", "A: b\n\n.dot\nbare\r.cr\n..\nno end")
        .message("empty", "")
        .start();
    let mut client = Client::logged_in(&server);
    client.ask("STAT", "+OK 2 36\r\n");
    client.ask("LIST", "+OK 2 messages (36 octets)\r\n1 36\r\n2 0\r\n.\r\n");
    client.ask(
        "RETR 1",
        "+OK 36 octets\r\nA: b\r\n\r\n..dot\r\nbare\r.cr\r\n...\r\nno end\r\n.\r\n",
    );
    client.ask(
        "TOP 1 1",
        "+OK top of message follows\r\nA: b\r\n\r\n..dot\r\n.\r\n",
    );
    client.ask("RETR 2", "+OK 0 octets\r\n.\r\n");
    server.list_as("odd", 7);
    Client::logged_in(&server).ask("LIST 1", "+OK 1 7\r\n");
    server.renew_uids();
    assert_eq!(server.uids(), ["renewed-odd", "renewed-empty"]);
}

#[test]
fn sizes_are_exact() {
    for octets in 400..600 {
        let sized = corpus::sized(1, octets);
        let lines = sized.split_inclusive(|&octet| octet == b'\n').count();
        assert_eq!(sized.len() + lines, octets);
    }
    assert_eq!(
        corpus::on_disk(b"a\r\nb\rc\n.\r\r\nd"),
        b"a\nb\rc\n.\r\nd\n"
    );
}

#[test]
fn login_and_capabilities() {
    let server = Server::plain()
        .another_user("bob", "hush")
        .message("for-bob", "hello\n")
        .capabilities(&["USER", "UIDL"], &["UIDL", "PIPELINING"])
        .without("UIDL")
        .fault(on("AUTH PLAIN").refuse("-ERR [SYS/TEMP] later").nth(3))
        .fault(on_response().refuse("-ERR [AUTH] no").times(1))
        .start();
    let mut client = Client::connect(&server);
    client.ask("CAPA", "+OK capabilities follow\r\nUSER\r\n.\r\n");
    client.ask("AUTH PLAIN", "+ \r\n");
    client.ask("AGJvYgBodXNo", "-ERR [AUTH] no\r\n");
    client.ask("AUTH PLAIN", "+ \r\n");
    client.ask("AGJvYgBuYXk=", "-ERR [AUTH] invalid user or password\r\n");
    client.ask("AUTH PLAIN AGJvYgBodXNo", "-ERR [SYS/TEMP] later\r\n");
    client.ask("auth plain AGJvYgBodXNo", "+OK maildrop open\r\n");
    client.ask("CAPA", "+OK capabilities follow\r\nPIPELINING\r\n.\r\n");
    client.ask("STAT", "+OK 1 7\r\n");
    client.ask("UIDL", "-ERR unknown command\r\n");
}

#[test]
fn message_fails_in_every_way_and_heals() {
    let server = Server::plain()
        .message("good", "good\n")
        .message("bad", "bad\n")
        .fault(on("RETR").uid("bad").refuse("-ERR damaged").times(1))
        .fault(on("RETR").uid("bad").empty().times(1))
        .fault(on("RETR").uid("bad").short(2).times(1))
        .fault(on("RETR").uid("bad").octets(2).cut())
        .fault(on("TOP 2").answer("what?\n"))
        .start();
    let mut client = Client::logged_in(&server);
    client.say("RETR 2\r\nRETR 2\r\nRETR 1\r\nRETR 2\r\nTOP 2 0\r\nRETR 2\r\nRETR 1\r\n");
    client.expect("-ERR damaged\r\n+OK 5 octets\r\n.\r\n+OK 6 octets\r\ngood\r\n.\r\n");
    client.expect("+OK 5 octets\r\nba\r\n.\r\nwhat?\n+OK 5 octets\r\nba");
    client.expect_end();
    server.heal("bad");
    Client::logged_in(&server).ask("RETR 2", "+OK 5 octets\r\nbad\r\n.\r\n");
}

#[test]
fn silence_and_endless_data_end_with_client_or_server() {
    let server = Server::plain()
        .message("one", corpus::sized(1, 400))
        .fault(on_connect().silence().times(1))
        .fault(on("LIST").forever("1 1\r\n"))
        .fault(on("RETR").head().silence())
        .start();
    let silent = Client::silent(&server);
    server.wait_for(|log| log.connections() == 1);
    let mut flooded = Client::logged_in(&server);
    flooded.ask("LIST", "+OK 1 messages (400 octets)\r\n");
    for _ in 0..50_000 {
        flooded.expect("1 1\r\n");
    }
    let mut stuck = Client::logged_in(&server);
    stuck.ask("RETR 1", "+OK 400 octets\r\n");
    server.wait_for(|log| log.count("RETR") == 1 && log.open() == 3);
    drop(silent);
    server.wait_for(|log| log.open() == 2);
    drop(server);
    stuck.expect_end();
}

#[test]
fn quit_fails_in_every_way() {
    let server = Server::plain()
        .messages(corpus::messages(4))
        .fault(on("PASS").more("-ERR [SYS/TEMP] oh\r\n").cut().times(1))
        .fault(on("QUIT").cut().times(1))
        .fault(on("QUIT").done().cut().times(1))
        .start();
    let mut client = Client::connect(&server);
    client.say("USER ann\r\nPASS secret\r\n");
    client.expect("+OK send PASS\r\n+OK maildrop open\r\n-ERR [SYS/TEMP] oh\r\n");
    client.expect_end();
    for left in [4, 3] {
        let mut client = Client::logged_in(&server);
        client.ask("DELE 1", "+OK marked\r\n");
        client.say("QUIT\r\n");
        client.expect_end();
        assert_eq!(server.remaining(), left);
    }
    server.stick("uid-2");
    let mut client = Client::logged_in(&server);
    client.say("DELE 1\r\nDELE 2\r\nQUIT\r\n");
    client.expect("+OK marked\r\n+OK marked\r\n-ERR 1 deleted messages not removed\r\n");
    assert_eq!(server.uids(), ["uid-2", "uid-4"]);
}

#[test]
fn round_trips_lost_deletions_and_renumbering() {
    let server = Server::plain()
        .messages(corpus::messages(3))
        .renumbers()
        .octet_by_octet()
        .fault(on("USER").forget().times(1))
        .start();
    let mut client = Client::connect(&server);
    client.say("USER ann\r\nPASS secret\r\nSTAT\r\n");
    client.expect("+OK send PASS\r\n");
    client.ask("PASS secret", "+OK maildrop open\r\n");
    client.say("UIDL 1\r\nUIDL 2\r\nUIDL 3\r\nQUIT\r\n");
    client.expect("+OK 1 uid-1\r\n+OK 2 uid-2\r\n+OK 3 uid-3\r\n+OK bye\r\n");
    let log = server.log();
    assert_eq!(
        (log.turns(), log.count("STAT"), log.count("PASS")),
        (3, 0, 1)
    );
    Client::logged_in(&server).ask("UIDL 1", "+OK 1 uid-2\r\n");
}

#[test]
fn starttls_and_implicit_tls() {
    let server = Server::starttls()
        .fault(on("STLS").refuse("-ERR no").times(1))
        .fault(on("STLS").more("+OK injected\r\n").times(1))
        .start();
    let mut client = Client::connect(&server);
    client.ask("STLS", "-ERR no\r\n");
    client.ask("STLS", "+OK begin TLS\r\n+OK injected\r\n");

    let mut clear = socket(&server);
    let mut answer = [0; b"+OK POP3 ready\r\n+OK begin TLS\r\n".len()];
    clear.write_all(b"STLS\r\nNOOP\r\n").expect("a write");
    clear.read_exact(&mut answer).expect("an answer");
    let mut client = handshake(&server, "localhost", clear).expect("a handshake");
    client.ask("STLS", "-ERR unknown command, or not now\r\n");
    let log = server.log();
    assert!(log.sessions[1].tls && !log.sessions[0].tls);
    assert_eq!(
        (log.sessions[1].in_clear, log.sessions[1].commands.len()),
        (1, 2)
    );

    let server = Server::implicit_tls().start();
    let mut client = handshake(&server, "127.0.0.1", socket(&server)).expect("a handshake");
    client.expect("+OK POP3 ready\r\n");
    client.ask("QUIT", "+OK bye\r\n");
    client.expect_end();
    assert_eq!(server.sha256().len(), 64);
}

#[test]
fn bad_certificates_are_rejected() {
    for kind in [
        Certificate::Expired,
        Certificate::WrongHost,
        Certificate::OtherAuthority,
        Certificate::SelfSigned,
    ] {
        let server = Server::implicit_tls().certificate(kind).start();
        let refused = handshake(&server, "localhost", socket(&server));
        assert!(refused.is_err(), "{kind:?}");
    }
}
