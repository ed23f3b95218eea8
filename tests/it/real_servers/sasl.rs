//! SASL mechanisms and APOP on real servers.

use std::{fs, path::Path, thread};

use super::{Line, Mailbox, commands, messages, password};
use crate::{
    real::{ALICE, BOB, RealServer},
    support::run::Output,
};

/// A Dovecot with a message for Alice, whose password it has stored by this scheme.
fn dovecot(scheme: &str) -> RealServer {
    let server = RealServer::start("dovecot", &[&format!("scheme={scheme}")]);
    server.inject(ALICE, &messages([1]));
    server
}

/// Returns the number of logins that Dovecot refused.
fn refusals(server: &RealServer) -> usize {
    let log = Path::new(server.value("log")).join("dovecot.log");
    let log = fs::read_to_string(log).unwrap();
    let reasons = ["Password mismatch", "scheme, but we have only"];
    let refused = |line: &&str| reasons.iter().any(|reason| line.contains(reason));
    log.lines().filter(refused).count()
}

/// Changes the account so that the password may not be sent without TLS.
fn forbid_plaintext(mailbox: &Mailbox<'_>) {
    let config = mailbox.home.read(".config/pouch/config.toml");
    let config = String::from_utf8(config).unwrap();
    let config = config.replace("allow-plaintext-password = true\n", "");
    mailbox.home.config(&config);
}

/// Returns the mechanisms that were used, in order.
fn used(traced: &Output) -> String {
    let auth = traced.stderr.lines().filter_map(|line| {
        let (_, command) = line.split_once(" C: ")?;
        let mut words = command.split(' ');
        match words.next()? {
            "AUTH" => words.next(),
            word @ ("USER" | "APOP") => Some(word),
            _ => None,
        }
    });
    auth.collect::<Vec<_>>().join(" ")
}

/// Asserts that a fetch over this connection logs in by these mechanisms, the last of which
/// succeeds.
#[track_caller]
fn assert_used(mailbox: &Mailbox<'_>, mechanisms: &str) {
    let output = mailbox.trace();
    output.assert_code(0);
    assert_eq!(used(&output), mechanisms);
    assert!(!output.stderr.contains(password(mailbox.user)), "{output}");
}

cases! { every_stored_form_of_a_password_logs_in:
    plain("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256"),
    crypt("SHA512-CRYPT", "SCRAM-SHA-256 PLAIN", "PLAIN"),
    scram_sha_256("SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-256"),
    scram_sha_1("SCRAM-SHA-1", "SCRAM-SHA-256 PLAIN", "PLAIN"),
}

fn every_stored_form_of_a_password_logs_in(scheme: &str, first: &str, second: &str) {
    let server = dovecot(scheme);
    let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "");
    assert_used(&mailbox, first);
    mailbox.assert_arrived([1]);
    let refused = refusals(&server);
    assert_eq!(refused, first.split(' ').count() - 1);
    assert_used(&mailbox, second);
    mailbox.at(0, &["check"]).run().assert_code(0);
    mailbox.at(0, &["plan"]).run().assert_code(0);
    assert_eq!(refusals(&server), refused);
}

#[test]
fn wrong_password_is_one_refused_login() {
    for scheme in ["PLAIN", "SCRAM-SHA-256"] {
        let server = dovecot(scheme);
        let mailbox = Mailbox::new(&server, ALICE, Line::Tls, "");
        mailbox.home.write("password", "wrong\n", 0o600);
        mailbox.fetch(77);
        assert_eq!(refusals(&server), 1);
        mailbox.fetch(77);
        assert_eq!(refusals(&server), 1);
    }
}

#[test]
fn dovecot_has_every_mechanism() {
    let server = dovecot("PLAIN");
    for auth in [
        "scram-sha-256",
        "scram-sha-1",
        "plain",
        "login",
        "user",
        "cram-md5",
        "apop",
    ] {
        for line in [Line::Tls, Line::StartTls, Line::Clear] {
            let mailbox = Mailbox::new(&server, ALICE, line, &format!("auth = \"{auth}\""));
            assert_used(&mailbox, &auth.to_uppercase());
            mailbox.assert_arrived([1]);
        }
    }
    assert_eq!(refusals(&server), 0);
}

#[test]
fn password_is_not_sent_without_tls() {
    let server = dovecot("PLAIN");
    let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "");
    forbid_plaintext(&mailbox);
    assert_used(&mailbox, "SCRAM-SHA-256");
    let server = dovecot("SHA512-CRYPT");
    let mailbox = Mailbox::new(&server, ALICE, Line::Clear, "");
    forbid_plaintext(&mailbox);
    let output = mailbox.trace();
    output.assert_code(77);
    assert_eq!(used(&output), "SCRAM-SHA-256 SCRAM-SHA-1");
    assert_eq!(commands(&output, "PASS"), 0);
}

#[test]
fn client_certificate_is_the_proof() {
    let server = RealServer::start("dovecot", &["clientcert=yes"]);
    server.inject(ALICE, &messages([1]));
    let mut mailbox = Mailbox::new(&server, ALICE, Line::Tls, "");
    let key = mailbox.home.join("key.pem");
    let (own, pkcs8) = (server.value("client_key"), key.to_str().unwrap());
    let convert = ["pkcs8", "-topk8", "-nocrypt", "-in", own, "-out", pkcs8];
    let openssl = mailbox.home.system_command("openssl", &convert);
    openssl.run().assert_code(0);
    let lines = format!(
        "auth = \"external\"\ntls-client-cert = \"{}\"\ntls-client-key = \"{pkcs8}\"",
        server.value("client_cert")
    );
    for line in [Line::Tls, Line::StartTls] {
        mailbox.move_to(&server, line, &lines);
        assert_used(&mailbox, "EXTERNAL");
        mailbox.at(0, &["check"]).run().assert_code(0);
    }
    mailbox.assert_arrived([1]);
    // the certificate of another user
    let other = Mailbox::new(&server, BOB, Line::Tls, &lines);
    other.fetch(77).assert_stderr("rejected the certificate");
    // a server without EXTERNAL
    let other = RealServer::start("dovecot", &[]);
    let lines = lines.replace("auth", "retries = 0\nauth");
    mailbox.move_to(&other, Line::Tls, &lines);
    let output = mailbox.fetch(69);
    output.assert_stderr("localhost does not offer EXTERNAL");
}

#[test]
fn cyrus_and_courier_accept_their_mechanisms() {
    let accepted = |name: &str, mechanisms: &[&str], line| {
        let server = RealServer::start(name, &[]);
        server.inject(BOB, &messages([1]));
        for auth in mechanisms {
            let lines = format!("auth = \"{auth}\"\ntimeout = \"20s\"");
            let mailbox = Mailbox::new(&server, BOB, line, &lines);
            if line == Line::Clear {
                forbid_plaintext(&mailbox);
            }
            let output = mailbox.trace();
            output.assert_code(0);
            mailbox.assert_arrived([1]);
            if *auth != "auto" {
                assert_eq!(used(&output), auth.to_uppercase());
            }
        }
    };
    let proofs = ["auto", "scram-sha-256", "scram-sha-1", "cram-md5", "apop"];
    thread::scope(|scope| {
        scope.spawn(|| accepted("cyrus", &proofs, Line::Clear));
        scope.spawn(|| accepted("cyrus", &["auto", "scram-sha-256", "login"], Line::Tls));
        scope.spawn(|| accepted("courier", &["auto", "login", "cram-md5"], Line::StartTls));
        scope.spawn(|| accepted("courier", &["cram-md5"], Line::Clear));
    });
}

#[test]
fn missing_mechanism_is_not_a_wrong_password() {
    let missing = |name: &str, auth: &str| {
        let server = RealServer::start(name, &[]);
        let lines = format!("auth = \"{auth}\"\ntimeout = \"20s\"");
        let mailbox = Mailbox::new(&server, BOB, Line::Tls, &lines);
        let expected = format!("localhost does not offer {}", auth.to_uppercase());
        mailbox.fetch(69).assert_stderr(&expected);
    };
    thread::scope(|scope| {
        scope.spawn(|| missing("courier", "scram-sha-256"));
        scope.spawn(|| missing("courier", "apop"));
    });
    let server = RealServer::start("dovecot", &["mechs=plain"]);
    for auth in ["scram-sha-256", "login", "cram-md5"] {
        let mailbox = Mailbox::new(&server, BOB, Line::Tls, &format!("auth = \"{auth}\""));
        let expected = format!("localhost does not offer {}", auth.to_uppercase());
        mailbox.fetch(69).assert_stderr(&expected);
    }
}
