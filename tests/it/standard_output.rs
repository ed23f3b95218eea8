//! Delivery to standard output.

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Server, corpus},
    support::mail::Mail,
};

fn ordinary(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect()
}

#[test]
fn standard_output_contains_only_mail() {
    let desk = Desk::new(Server::plain().messages(corpus::nasty()), "keep = \"none\"");
    let out = desk
        .pouch(&["fetch", "-v", "--progress", "always", "--to", "-"])
        .run();
    // The progress depends on the elapsed time.
    out.assert_code(0)
        .assert_stderr(&format!("{} new", corpus::nasty().len()));
    let expected: Vec<_> = corpus::nasty()
        .iter()
        .map(|(_, content)| corpus::on_disk(content))
        .collect();
    Mail::in_mbox(&out.stdout_bytes).assert_exactly(&expected);
    assert_eq!(desk.server.remaining(), 0);
    desk.pouch(&["fetch", "--to", "-"])
        .run()
        .assert_code(0)
        .assert_silent();
}

#[test]
fn closed_reader_loses_nothing() {
    let messages = (1..=3).map(|n| (corpus::uid(n), corpus::sized(n, 300_000)));
    let desk = Desk::new(Server::plain().messages(messages), "keep = \"none\"");
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let script = format!(
        "{{ {pouch} fetch --to -; echo $? > code; }} | head -c 400000 > part; exit $(cat code)"
    );
    let gone = desk.home.command("sh", &["-c", &script]).run();
    assert_snapshot!(gone.assert_code(74).stderr_text(), @"
    pouch: work: the reader closed standard output
      the message stays on the server; the next run writes it again
    ");
    // The first message was written completely, the second was not.
    let left = desk.server.remaining();
    assert!((2..=3).contains(&left), "{left}");
    let out = desk.pouch(&["fetch", "--to", "-"]).run();
    out.assert_code(0);
    let expected: Vec<_> = (2..=3)
        .map(|n| corpus::on_disk(&corpus::sized(n, 300_000)))
        .collect();
    Mail::in_mbox(&out.stdout_bytes).assert_exactly(&expected);
}

#[cfg(feature = "system-tests")]
#[test]
fn formail_passes_each_message_to_procmail() {
    let desk = Desk::with(5, "", |server| {
        server.message("from-lines", &corpus::nasty()[11].1)
    });
    desk.home.write(
        "rc",
        format!("DEFAULT={}/\n", desk.home.join("Sorted").display()),
        0o600,
    );
    desk.home.make_dir("Sorted", 0o700);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let script = format!("{pouch} fetch --to - | formail -s procmail -m rc");
    desk.home
        .command("sh", &["-c", &script])
        .run()
        .assert_code(0)
        .assert_silent();
    let sorted = desk.home.maildir("Sorted");
    let texts: Vec<_> = sorted
        .delivered()
        .iter()
        .map(|mail| String::from_utf8_lossy(&mail.bytes).into_owned())
        .collect();
    assert_eq!(texts.len(), 6);
    for n in 1..=5 {
        assert_eq!(
            texts
                .iter()
                .filter(|text| text.contains(&format!("Message-ID: <{n}@")))
                .count(),
            1,
            "{n}"
        );
    }
    assert!(
        texts
            .iter()
            .any(|text| text.contains(">From here on\n>>From there\nFrom\n"))
    );
}

#[test]
fn messages_of_several_accounts_do_not_mix() {
    // The messages are larger than any buffer between the programs.
    let sized = |n: usize| corpus::sized(n, 400_000);
    let desk = Desk::new(
        Server::plain().messages((1..=10).map(|n| (corpus::uid(n), sized(n)))),
        "",
    );
    let other = Server::plain()
        .messages((11..=20).map(|n| (corpus::uid(n), sized(n))))
        .start();
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let second = config
        .replace("account.work", "account.other")
        .replace("127.0.0.1", "localhost");
    let second = second.replace(
        &format!("port = {}", desk.server.port()),
        &format!("port = {}", other.port()),
    );
    desk.home.config(&format!("{config}{second}"));
    let out = desk.pouch(&["fetch", "--to", "-"]).run();
    let expected: Vec<_> = (1..=20).map(|n| corpus::on_disk(&sized(n))).collect();
    Mail::in_mbox(&out.assert_code(0).stdout_bytes).assert_exactly(&expected);
}

#[test]
fn redirected_output_is_a_mailbox() {
    let desk = Desk::with(3, "keep = \"none\"", |server| server);
    let pouch = env!("CARGO_BIN_EXE_pouch");
    desk.home
        .command("sh", &["-c", &format!("{pouch} fetch --to - > box")])
        .run()
        .assert_code(0)
        .assert_silent();
    Mail::in_mbox(&desk.home.read("box")).assert_exactly(&ordinary(1..=3));
    desk.server.add("uid-4", corpus::message(4));
    let output = desk
        .home
        .command("sh", &["-c", &format!("{pouch} fetch --to - > /dev/full")])
        .run();
    output.assert_code(74);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: cannot write to standard output
      No space left on device
      the message stays on the server; the next run writes it again
    ");
    assert_eq!(desk.server.remaining(), 1);
}

#[cfg(feature = "system-tests")]
#[test]
fn json_and_terminals_are_refused() {
    let desk = Desk::with(1, "", |server| server);
    let output = desk.pouch(&["--json", "fetch", "--to", "-"]).run();
    output.assert_code(64);
    assert_snapshot!(output.stderr_text(), @"
    pouch: `--to -` and `--json` both use standard output
    hint: use another destination, or remove `--json`
    ");
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let typed = desk
        .home
        .system_command(
            "script",
            &["-qec", &format!("{pouch} fetch --to -"), "/dev/null"],
        )
        .run();
    typed
        .assert_code(64)
        .assert_stdout("standard output is a terminal");
    assert_eq!(desk.retrieved(), 0);
}
