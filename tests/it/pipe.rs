//! Delivery to programs: each gets complete messages, and its exit code decides.

use std::{fs, time::Duration};

use insta::assert_snapshot;

use crate::{
    fixture::Desk,
    server::{Server, Setup, corpus, on},
    support::run::Output,
};

/// Creates an account with the messages 1 to `count` that pipes to the shell script `script`.
fn desk(count: usize, script: &str, lines: &str, more: impl FnOnce(Setup) -> Setup) -> Desk {
    let config = format!(
        "pipe = [\"sh\", \"script\"]\npipe-timeout = \"1s\"\ntimeout = \"1s\"\nnotice = false\n{lines}"
    );
    let desk = Desk::with(count, &config, more);
    desk.home.write("script", script, 0o600);
    desk
}

/// Returns a script that runs `before` and writes each message to its own file.
fn taking(before: &str) -> String {
    format!("cat > in\n{before}\ncat in > \"$(mktemp ~/got.XXXXXX)\"\n")
}

/// Returns the messages that such a script wrote.
#[track_caller]
fn assert_taken(desk: &Desk, numbers: impl IntoIterator<Item = usize>) {
    let mut expected: Vec<_> = numbers
        .into_iter()
        .map(|n| corpus::on_disk(&corpus::message(n)))
        .collect();
    let files = fs::read_dir(desk.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("got.")
    });
    let mut taken: Vec<_> = files.map(|path| fs::read(path).unwrap()).collect();
    expected.sort();
    taken.sort();
    let shown = |mail: &[Vec<u8>]| {
        mail.iter()
            .map(|one| one.escape_ascii().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&taken), shown(&expected));
}

fn watched(desk: &Desk) -> Output {
    desk.pouch(&["fetch", "-v"]).run()
}

#[test]
fn program_is_run_without_a_shell() {
    let words = ["a b", "$HOME", "`id`", "*", "'", ";", "|"];
    let list: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let lines = format!("pipe = [\"sh\", \"script\", {}]", list.join(", "));
    let desk = Desk::with(1, &lines, |server| server);
    desk.home
        .write("script", "printf '%s\\n' \"$@\" > ~/words", 0o600);
    desk.fetch(0);
    assert_eq!(
        String::from_utf8(desk.home.read("words"))
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        words
    );
}

#[test]
fn deferred_notice_is_delivered_in_the_next_run() {
    let script = "cat > in; if grep -q '^From: \"pouch\"' in; then test -e go || exit 75; cat in >> notices; fi";
    let desk = desk(2, script, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-1").refuse("-ERR damaged"))
    });
    desk.configure("pipe = [\"sh\", \"script\"]\nattempts = 1");
    desk.fetch(65);
    desk.fetch(75).assert_silent();
    desk.home.write("go", "", 0o600);
    desk.fetch(0);
    desk.fetch(0);
    let notices = String::from_utf8(desk.home.read("notices")).unwrap();
    assert_eq!(
        notices
            .matches("Subject: pouch: a message could not be fetched")
            .count(),
        1,
        "{notices}"
    );
}

#[test]
fn program_gets_each_message_complete_with_its_metadata() {
    let desk = desk(
        2,
        "{ echo \"$POUCH_ACCOUNT,$POUCH_UID,$POUCH_SENDER,$POUCH_SIZE\"; cat; } > ~/$POUCH_UID",
        "",
        |s| s,
    );
    desk.fetch(0).assert_silent();
    for n in 1..=2 {
        let content = corpus::on_disk(&corpus::message(n));
        let line = format!("work,uid-{n},ben@example.org,{}\n", content.len());
        assert_eq!(
            desk.home.read(corpus::uid(n)),
            [line.as_bytes(), &content].concat()
        );
    }
}

#[test]
fn environment_has_no_control_characters() {
    let desk = Desk::new(
        Server::plain()
            .message(
                b"u\x1b[2J \xff/..$(id)".to_vec(),
                "From: \x1b]0;x\x07 <b;id@x>\n\nhi\n",
            )
            .message("bare", "no header at all\n")
            .message("list", "From: one@x, two@y\n\n"),
        "pipe = [\"sh\", \"-c\", \"printf '%s\\\\0%s\\\\0' \\\"$POUCH_UID\\\" \\\"$POUCH_SENDER\\\" >> ~/env\"]",
    );
    desk.fetch(0);
    let env = String::from_utf8(desk.home.read("env")).unwrap();
    let fields: Vec<_> = env.split_terminator('\0').collect();
    assert_eq!(fields.len(), 6, "{fields:?}");
    assert_eq!(
        (fields[0], fields[2], fields[3]),
        ("u\u{fffd}[2J \u{fffd}/..$(id)", "bare", "")
    );
    assert!(
        !env.chars().any(|c| c.is_control() && c != '\0'),
        "{fields:?}"
    );
}

#[test]
fn truncated_message_never_reaches_the_program() {
    for fault in [
        on("RETR").uid("uid-2").octets(300).cut(),
        on("RETR").uid("uid-2").octets(300).silence(),
        on("RETR").uid("uid-2").head().cut(),
        on("RETR").uid("uid-2").refuse("-ERR damaged"),
        on("RETR").uid("uid-2").empty(),
    ] {
        println!("{fault:?}");
        let desk = desk(3, &taking("echo >> runs"), "keep = \"none\"", |server| {
            server.fault(fault)
        });
        desk.fetch(75);
        assert_taken(&desk, [1, 3]);
        assert_eq!(
            (desk.home.read("runs").len(), desk.server.uids()),
            (2, vec!["uid-2".to_owned()])
        );
        desk.server.heal("uid-2");
        desk.fetch(0);
        assert_taken(&desk, 1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn transient_failure_is_retried_forever_and_stops_no_other() {
    for end in [
        "exit 75",
        "exit 69",
        "exit 70",
        "exit 71",
        "exit 72",
        "exit 73",
        "exit 74",
        "kill -9 $$",
        "kill $$",
    ] {
        let script = taking(&format!(
            "if grep -q '<2@' in && ! test -e well; then {end}; fi"
        ));
        let desk = desk(3, &script, "keep = \"none\"", |server| server);
        for _ in 0..4 {
            desk.fetch(75);
            assert_taken(&desk, [1, 3]);
            assert_eq!(desk.server.uids(), ["uid-2"], "{end}");
        }
        desk.home.write("well", "", 0o600);
        desk.fetch(0);
        assert_taken(&desk, 1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn message_rejected_three_times_is_quarantined() {
    for code in [1, 64, 65, 67, 77, 100, 127] {
        let script = taking(&format!(
            "if grep -q '<2@' in && ! test -e well; then exit {code}; fi"
        ));
        let desk = desk(3, &script, "keep = \"none\"", |server| server);
        for exit in [75, 75, 65, 0] {
            desk.fetch(exit);
            assert_eq!(desk.server.uids(), ["uid-2"], "{code}");
        }
        assert_taken(&desk, [1, 3]);
        desk.home.write("well", "", 0o600);
        desk.fetch_at(1, 0);
        assert_taken(&desk, 1..=3);
        assert_eq!(desk.server.remaining(), 0);
    }
}

#[test]
fn program_that_breaks_during_a_run_quarantines_nothing() {
    let script =
        taking("if test -e broken; then exit 67; fi; if grep -q '<3@' in; then touch broken; fi");
    let desk = desk(6, &script, "", |server| server);
    for _ in 0..4 {
        desk.fetch(75).assert_silent();
    }
    assert_taken(&desk, 1..=3);
    fs::remove_file(desk.home.join("broken")).unwrap();
    desk.fetch(0).assert_silent();
    assert_taken(&desk, 1..=6);
}

#[test]
fn broken_program_of_a_rule_quarantines_nothing_while_another_destination_accepts_mail() {
    let lines = "maildir = \"~/Mail/work\"\n[[account.work.rule]]\nsubject = \"/[246]$/\"\n\
                 action = \"pipe:sh -c 'cat > /dev/null; exit 67'\"\n";
    let desk = Desk::with(6, lines, |server| server);
    for _ in 0..4 {
        desk.fetch(75).assert_silent();
    }
    desk.assert_arrived([1, 3, 5]);
}

#[test]
fn slow_program_is_killed_with_its_children() {
    let script = taking("if grep -q '<2@' in; then sleep 1000 & echo $! > child; wait; fi");
    let desk = desk(3, &script, "keep = \"none\"", |server| server);
    assert_snapshot!(watched(&desk).assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 3 listed, 3 to fetch
    pouch: work: `sh` timed out after 1 s
      from Ben, subject: Message 2
      message 2 left on the server; will retry in the next run
      2 other messages delivered
    work   2 new (802 B) to `sh`; 2 deleted
    ");
    assert_taken(&desk, [1, 3]);
    assert_eq!(desk.server.uids(), ["uid-2"]);
    let child = String::from_utf8(desk.home.read("child")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(
        state.is_empty() || state.contains(") Z "),
        "it still runs: {state}"
    );
}

#[test]
fn output_of_a_failing_program_is_shown_escaped() {
    let desk = desk(
        1,
        "printf 'quota \\033[2Jfull\\r\\n'; echo \"$POUCH_UID\" >&2; exit 75",
        "",
        |server| server,
    );
    let output = watched(&desk);
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    pouch: work: `sh` deferred the message (exit 75)
      from Ben, subject: Message 1
      `sh` said: quota �[2Jfull
      `sh` said: uid-1
      message 1 left on the server; will retry in the next run
    work   nothing fetched
    ");
    assert!(!output.stderr.contains(['\x1b', '\r']), "{output}");
    desk.fetch(75).assert_silent();
}

#[test]
fn endless_output_of_a_program_uses_little_memory() {
    let desk = desk(1, "yes no", "", |server| server);
    let output = watched(&desk);
    assert_snapshot!(output.assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 1 listed, 1 to fetch
    pouch: work: `sh` timed out after 1 s
      from Ben, subject: Message 1
      `sh` said: no
      `sh` said: no
      `sh` said: no
      `sh` said: no
      `sh` said: no
      message 1 left on the server; will retry in the next run
    work   nothing fetched
    ");
    assert!(output.stderr.len() < 4_000);
}

#[test]
fn three_transient_failures_in_a_row_stop_the_account() {
    let desk = desk(20, "echo >> runs; exit 75", "keep = \"none\"", |server| {
        server
    });
    assert_snapshot!(watched(&desk).assert_code(75).stderr_text(), @"
    work: logged in at 127.0.0.1:PORT
    work: 20 listed, 20 to fetch
    pouch: work: `sh` deferred the message (exit 75)
      from Ben, subject: Message 1
      message 1 left on the server; will retry in the next run
    pouch: work: `sh` deferred the message (exit 75)
      from Ben, subject: Message 2
      message 2 left on the server; will retry in the next run
    pouch: work: `sh` deferred the message (exit 75), 3 times in a row
    work   nothing fetched
    ");
    assert_eq!(
        (desk.home.read("runs").len(), desk.server.remaining()),
        (3, 20)
    );
}

#[test]
fn two_transient_failures_in_a_row_do_not_stop_the_account() {
    let script = taking(
        "n=$(wc -c < runs 2>/dev/null || echo 0); echo >> runs; test $((n % 3)) = 2 || exit 75",
    );
    let desk = desk(9, &script, "", |server| server);
    desk.fetch(75);
    assert_taken(&desk, [3, 6, 9]);
}

#[test]
fn three_deferred_messages_do_not_delay_the_others_forever() {
    let script = taking("if grep -q '<[123]@' in; then exit 75; fi");
    let desk = desk(8, &script, "keep = \"none\"", |server| server);
    for _ in 0..3 {
        desk.fetch(75);
    }
    assert_taken(&desk, 4..=8);
    assert_eq!(desk.server.uids(), ["uid-1", "uid-2", "uid-3"]);
}

#[test]
fn missing_program_is_a_config_error() {
    let mut shown = String::new();
    for program in [
        "/nonexistent/procmail",
        "no-such-program",
        "/etc/passwd",
        "/",
    ] {
        let desk = Desk::with(
            3,
            &format!("pipe = [\"{program}\"]\nkeep = \"none\""),
            |server| server,
        );
        shown.push_str(&desk.fetch(78).case(program));
        assert_eq!(
            (desk.server.remaining(), desk.server.log().count("DELE")),
            (3, 0)
        );
        desk.configure("pipe = [\"sh\", \"script\"]\nkeep = \"none\"");
        desk.home.write("script", taking(""), 0o600);
        desk.fetch(0);
        assert_taken(&desk, 1..=3);
    }
    assert_snapshot!(shown, @r#"
    === /nonexistent/procmail
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot run the program `/nonexistent/procmail`
      No such file or directory
    hint: write `pipe` as a list of the program and its arguments: ["procmail", "-t"]
    [exit code: 78]
    === no-such-program
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot run the program `no-such-program`
      No such file or directory
    hint: write `pipe` as a list of the program and its arguments: ["procmail", "-t"]
    [exit code: 78]
    === /etc/passwd
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot run the program `/etc/passwd`
      Permission denied
    hint: write `pipe` as a list of the program and its arguments: ["procmail", "-t"]
    [exit code: 78]
    === /
    $ pouch fetch
    ------- stderr -------
    pouch: work: cannot run the program `/`
      Permission denied
    hint: write `pipe` as a list of the program and its arguments: ["procmail", "-t"]
    [exit code: 78]
    "#);
}

#[test]
fn exit_code_counts_without_reading_the_message() {
    let big = |server: Setup| server.message("big", corpus::sized(9, 1_000_000));
    let yes = desk(2, "exec <&-; exit 0", "keep = \"none\"", big);
    yes.fetch(0).assert_silent();
    assert_eq!(yes.server.remaining(), 0);
    let no = desk(1, "exec <&-; exit 1", "keep = \"none\"", big);
    no.fetch(75);
    assert_eq!(no.server.remaining(), 2);
}

#[test]
fn background_child_of_a_program_is_not_waited_for() {
    let desk = desk(
        5,
        &taking("sleep 20 & echo $! >> children"),
        "keep = \"none\"",
        |server| server,
    );
    let run = desk
        .pouch(&["fetch"])
        .within(Duration::from_secs(15))
        .spawn();
    let output = run.wait();
    for child in String::from_utf8(desk.home.read("children"))
        .unwrap()
        .lines()
    {
        desk.home
            .command("sh", &["-c", &format!("kill {child}")])
            .run();
    }
    output.assert_code(0);
    assert_taken(&desk, 1..=5);
    assert_eq!(desk.server.remaining(), 0);
}

/// Delivers unusual mail by a real program to a Maildir, and asserts that it is unchanged.
#[cfg(feature = "system-tests")]
#[track_caller]
fn delivers(pipe: &str, rules: impl Fn(&str) -> String, keeps: impl Fn(&str) -> bool) {
    let mail = || corpus::nasty().into_iter().filter(|(name, _)| keeps(name));
    let setup = Server::plain()
        .messages(corpus::messages(5))
        .messages(mail());
    let desk = Desk::new(setup, &format!("pipe = {pipe}\nkeep = \"none\""));
    for part in ["tmp", "new", "cur"] {
        desk.home.make_dir(format!("Sorted/{part}"), 0o700);
    }
    desk.home.write(
        "rc",
        rules(desk.home.join("Sorted").to_str().unwrap()),
        0o600,
    );
    desk.fetch(0).assert_silent();
    let ordinary = (1..=5).map(corpus::message);
    let expected: Vec<_> = ordinary
        .chain(mail().map(|(_, content)| content))
        .map(|mail| corpus::on_disk(&mail))
        .collect();
    desk.home
        .maildir("Sorted")
        .assert_exactly(&expected)
        .assert_tidy();
    assert_eq!(desk.server.remaining(), 0);
}

#[cfg(feature = "system-tests")]
#[test]
fn procmail_delivers_mail_unchanged() {
    // procmail treats a `From ` in the first line as its own.
    let keeps = |name: &str| name != "from-line-first";
    delivers(
        "[\"procmail\", \"-m\", \"rc\"]",
        |dir| format!("DEFAULT={dir}/\n"),
        keeps,
    );
}

#[cfg(feature = "system-tests")]
#[test]
fn maildrop_delivers_mail_unchanged() {
    delivers(
        "[\"maildrop\", \"rc\"]",
        |dir| format!("to \"{dir}\"\n"),
        |_| true,
    );
}

#[cfg(feature = "system-tests")]
#[test]
fn procmail_that_cannot_deliver_loses_nothing() {
    let desk = Desk::with(
        3,
        "pipe = [\"procmail\", \"-m\", \"rc\"]\npipe-timeout = \"1s\"\nkeep = \"none\"",
        |server| server,
    );
    desk.home.write(
        "rc",
        "DEFAULT=/proc/nowhere/\nORGMAIL=/proc/nowhere/\n",
        0o600,
    );
    desk.at(0, &["fetch"]).run();
    assert_eq!(
        (desk.server.remaining(), desk.server.log().count("DELE")),
        (3, 0)
    );
}
