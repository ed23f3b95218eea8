//! Logging in by access tokens that a program prints.

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Setup, on, on_response},
};

/// An account whose token is printed by a script. Each run of it appends a line to `~/runs`.
fn desk(script: &str, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Desk {
    let desk = Desk::with(1, lines, |server| {
        let known = [
            "TOP",
            "UIDL",
            "SASL PLAIN XOAUTH2 OAUTHBEARER",
            "AUTH-RESP-CODE",
        ];
        more(
            server
                .user("ann", "good-token")
                .capabilities(&known, &known),
        )
    });
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        "token-command = [\"sh\", \"token.sh\"]",
    ));
    desk.home
        .write("token.sh", format!("echo >>runs; {script}"), 0o600);
    desk
}

/// Returns how often the program was run.
fn runs(desk: &Desk) -> usize {
    desk.home.read("runs").len()
}

/// Returns how many tokens the server received.
fn logins(desk: &Desk) -> usize {
    desk.server.log().count("AUTH")
}

#[test]
fn token_is_sent_after_the_challenge() {
    for auth in ["auto", "xoauth2", "oauthbearer"] {
        let desk = desk("echo good-token", &format!("auth = \"{auth}\""), |server| {
            server
        });
        desk.fetch(0).assert_silent();
        desk.assert_arrived([1]);
        assert_eq!((runs(&desk), logins(&desk)), (1, 1));
        let name = if auth == "oauthbearer" {
            "OAUTHBEARER"
        } else {
            "XOAUTH2"
        };
        let check = desk.pouch(&["check"]).run();
        check
            .assert_code(0)
            .assert_stdout(&format!("login    ok    {name}"));
    }
}

#[test]
fn refused_token_is_renewed_once() {
    let desk = desk(
        "if [ $(wc -l <runs) = 1 ]; then echo old-token; else echo good-token; fi",
        "",
        |server| server,
    );
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
    assert_eq!((runs(&desk), logins(&desk)), (2, 2));
    assert_eq!(desk.server.log().connections(), 2);
}

#[test]
fn same_token_is_not_sent_again() {
    let desk = desk("echo bad-token", "", |server| server);
    let output = desk.fetch(77);
    assert_snapshot!(output.stderr_text(), @r#"
    pouch: work: 127.0.0.1 rejected the token
      127.0.0.1 said: -ERR [AUTH] invalid user or password
      127.0.0.1 said: {"status":"401","scope":"mail"}
    hint: check that `sh` signs in as ann, that this is the primary address, and that POP3 is enabled for this mailbox, then run `pouch check work`
    "#);
    assert_eq!((runs(&desk), logins(&desk)), (2, 1));
    desk.fetch(77).assert_silent();
    assert_eq!((runs(&desk), logins(&desk)), (3, 1));
}

#[test]
fn renewed_token_is_not_renewed_again() {
    let desk = desk("echo bad-$(wc -l <runs)", "retries = 5", |server| server);
    desk.fetch(77);
    assert_eq!((runs(&desk), logins(&desk)), (2, 2));
}

#[test]
fn failed_renewal_is_reported() {
    let script =
        "if [ $(wc -l <runs) = 1 ]; then echo old-token; else echo expired >&2; exit 3; fi";
    let desk = desk(script, "", |server| server);
    assert_snapshot!(desk.fetch(78).stderr_text(), @"
    pouch: work: the token command `sh` failed: exit status: 3
      `sh` said: expired
    hint: run it by hand to see what it prints
    ");
    assert_eq!((runs(&desk), logins(&desk)), (2, 1));
}

#[test]
fn check_renews_a_refused_token() {
    let script = "if [ $(wc -l <runs) = 1 ]; then echo old-token; else echo good-token; fi";
    let desk = desk(script, "", |server| server);
    desk.pouch(&["check"]).run().assert_code(0);
    assert_eq!((runs(&desk), logins(&desk)), (2, 2));
}

#[test]
fn output_that_is_not_a_token_is_not_shown() {
    let mut shown = String::new();
    for script in [
        "echo 'Error: not a t0ken'",
        "true",
        "echo t0ken-x >&2; exit 1",
    ] {
        let desk = desk(script, "", |server| server);
        shown.push_str(&desk.fetch(78).stderr_text());
        assert_eq!(desk.server.log().connections(), 0);
    }
    assert_snapshot!(shown, @"
    pouch: work: the first line that the token command `sh` prints is not a token
      a token has no spaces, and only ASCII characters
    hint: run it by hand to see what it prints
    pouch: work: the token command `sh` returned an empty token
      its first line is empty
    pouch: work: the token command `sh` failed: exit status: 1
      `sh` said: t0ken-x
    hint: run it by hand to see what it prints
    ");
}

#[test]
fn long_token_is_sent_whole() {
    let desk = desk("printf %06000d 0", "", |server| {
        server.user("ann", format!("{:06000}", 0))
    });
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1]);
}

#[test]
fn server_that_disconnects_at_a_long_token_did_not_refuse_it() {
    let desk = desk("printf %09000d 0", "", |server| {
        server.fault(on_response().close())
    });
    desk.fetch(75).assert_silent();
    let output = desk.pouch(&["fetch", "-v"]).run();
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: 127.0.0.1 closed the connection during login
      the line with the secret has 12034 bytes, which is more than some servers accept
    work   nothing fetched
    ");
    assert_eq!(runs(&desk), 2);
}

#[test]
fn server_without_a_mechanism_for_tokens_is_reported() {
    let mut shown = String::new();
    for auth in ["auto", "xoauth2"] {
        let known = ["TOP", "UIDL", "USER", "SASL PLAIN LOGIN"];
        let lines = format!("auth = \"{auth}\"");
        let desk = desk("echo good-token", &lines, |server| {
            server.capabilities(&known, &known)
        });
        shown.push_str(&desk.fetch(69).stderr_text());
        assert_eq!(runs(&desk), 1);
    }
    assert_snapshot!(shown, @r#"
    pouch: work: 127.0.0.1 does not accept tokens: it offers only PLAIN, LOGIN
    hint: use `password-command` or `password-file` instead, or set auth = "xoauth2" to try XOAUTH2 although it is not announced
    pouch: work: 127.0.0.1 does not offer XOAUTH2
      it offers PLAIN, LOGIN
      127.0.0.1 said: -ERR [AUTH] Unsupported authentication mechanism.
    "#);
}

#[test]
fn token_is_tried_if_nothing_is_announced() {
    let desk = desk("echo good-token", "", |server| {
        server.capabilities(&["UIDL"], &["UIDL"])
    });
    desk.fetch(69)
        .assert_stderr("127.0.0.1 does not offer XOAUTH2");
}

#[test]
fn token_is_in_no_output() {
    for good in ["s3cret-token", "other"] {
        let desk = desk("echo s3cret-token", "", |server| {
            server
                .user("ann", good)
                .fault(on("LIST").answer("-ERR s3cret-token\r\n").times(1))
        });
        for args in [
            &["fetch", "-vv"][..],
            &["fetch", "--json"],
            &["check"],
            &["check", "--json"],
            &["plan", "-vv"],
            &["status", "-v"],
            &["config", "show"],
        ] {
            let output = desk.pouch(args).run();
            for text in [&output.stdout, &output.stderr] {
                // in base64, the beginning of the token has one of three forms
                for part in ["s3cret", "czNjcmV0", "MzY3Jld", "zM2NyZX"] {
                    assert!(!text.contains(part), "{output}");
                }
            }
        }
        for file in std::fs::read_dir(desk.home.state().join("mailboxes")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, b"s3cret").is_none());
        }
    }
}

#[test]
fn reason_of_a_refusal_is_traced_decoded() {
    let desk = desk("echo bad-token", "", |server| server);
    let output = desk.pouch(&["fetch", "-vv"]).run();
    output.assert_stderr(r#"work: S: (decoded) {"status":"401","scope":"mail"}"#);
}
