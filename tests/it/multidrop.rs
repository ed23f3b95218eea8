//! One mailbox for several people: each recipient gets one copy.

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Server, Setup, on},
};

/// Returns a message with these recipients, as the server records them.
fn mail(n: usize, recipients: &[&str]) -> Vec<u8> {
    let noted = recipients.concat();
    format!(
        "{noted}From: x@example.net\nTo: everybody@example.org\n\
         Message-ID: <{n}@multidrop>\n\nbody {n}\n"
    )
    .into_bytes()
}

const RECIPIENTS: &str = "recipients = { \"ann@example.org\" = \"maildir:~/ann\", \
                          \"*@lists.example.org\" = \"maildir:.Lists\" }";

fn desk(keys: &str, setup: Setup) -> Desk {
    Desk::new(
        setup,
        &format!("keep = \"none\"\n[account.work.multidrop]\n{keys}\n{RECIPIENTS}"),
    )
}

#[test]
fn each_recipient_gets_the_message() {
    let ann = mail(1, &["Delivered-To: Ann@example.org\n"]);
    let list = mail(2, &["X-Original-To: rust@lists.example.org\n"]);
    let unknown = mail(3, &["Delivered-To: ben@example.org\n"]);
    let nobody = mail(4, &[]);
    let messages = [&ann, &list, &unknown, &nobody];
    let setup = (1..)
        .zip(messages)
        .fold(Server::plain(), |setup, (n, mail)| {
            setup.message(n.to_string(), mail)
        });
    let desk = desk("", setup);
    desk.fetch(0);
    desk.home
        .maildir("ann")
        .assert_exactly(&[&ann])
        .assert_tidy();
    desk.home
        .maildir("Mail/work/.Lists")
        .assert_exactly(&[&list]);
    desk.mail()
        .assert_exactly(&[&unknown, &nobody])
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
    assert_eq!(desk.server.log().count("TOP"), 0);
}

#[test]
fn several_recipients_each_get_one_copy() {
    let all = mail(
        1,
        &[
            "Envelope-To: ann@example.org, a@lists.example.org, b@lists.example.org, who@example.org\n",
        ],
    );
    let broken = on("RETR").nth(1).octets(80).cut();
    let desk = desk(
        "",
        Server::plain()
            .message("1", &all)
            .message("2", mail(2, &[]))
            .fault(broken),
    );
    desk.fetch(0);
    for place in ["ann", "Mail/work/.Lists"] {
        desk.home
            .maildir(place)
            .assert_exactly(&[&all])
            .assert_tidy();
    }
    desk.mail()
        .assert_exactly(&[all, mail(2, &[])])
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[test]
fn configured_occurrence_of_the_field_counts() {
    let message = mail(
        1,
        &[
            "Delivered-To: box@isp.example\n",
            "Delivered-To: ann@example.org\n",
        ],
    );
    for (keys, place) in [
        ("", "Mail/work"),
        ("occurrence = 2", "ann"),
        ("occurrence = -1", "ann"),
        (
            "header = [\"X-None\", \"Delivered-To\"]\noccurrence = -2",
            "Mail/work",
        ),
        ("header = \"To\"", "Mail/work"),
    ] {
        let desk = desk(keys, Server::plain().message("1", &message));
        desk.fetch(0);
        println!("{keys}");
        desk.home.maildir(place).assert_exactly(&[&message]);
    }
}

#[test]
fn rule_with_a_destination_precedes_multidrop() {
    let message = mail(1, &["Delivered-To: ann@example.org\n"]);
    let rules = |action: &str| {
        format!(
            "[[account.work.rule]]\nfrom = \"x@*\"\n{action}\n[account.work.multidrop]\n{RECIPIENTS}"
        )
    };
    let desk = Desk::new(
        Server::plain().message("1", &message),
        &rules("action = \"maildir:.X\""),
    );
    desk.fetch(0);
    desk.home
        .maildir("Mail/work/.X")
        .assert_exactly(&[&message]);
    assert_eq!(desk.home.maildir("ann").len(), 0);
    let desk = Desk::new(
        Server::plain().message("1", &message),
        &rules("action = \"fetch\"\nalso = [\"maildir:.X\"]"),
    );
    desk.fetch(0);
    desk.home
        .maildir("Mail/work/.X")
        .assert_exactly(&[&message]);
    desk.home.maildir("ann").assert_exactly(&[&message]);
    assert_eq!(desk.mail().len(), 0);
}

#[test]
fn config_show_prints_multidrop() {
    let desk = desk("", Server::plain());
    let shown = desk.pouch(&["config", "show"]).run();
    let text = shown.assert_code(0).stdout_text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("multidrop "))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"multidrop                = { header = ["Delivered-To", "X-Original-To", "Envelope-To"], occurrence = 1, recipients = { "ann@example.org" = "maildir:~/ann", "*@lists.example.org" = "maildir:.Lists" } }   # ~/.config/pouch/config.toml:11"#);
}
