//! The command that runs before connecting.

use insta::assert_snapshot;

use crate::fixture::Desk;

/// Returns an account with this shell script as its `before` command.
fn desk(script: &str, lines: &str) -> Desk {
    Desk::with(
        2,
        &format!("before = [\"sh\", \"-c\", '''{script}''']\n{lines}"),
        |server| server,
    )
}

#[test]
fn before_runs_before_the_password_command_and_the_connection() {
    let desk = desk("echo $POUCH_ACCOUNT >> ~/log", "retries = 0");
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let command = "password-command = [\"sh\", \"-c\", \"echo password >> ~/log; echo secret\"]";
    desk.home
        .config(&config.replace("password-file = \"~/password\"", command));
    desk.fetch(0).assert_silent();
    desk.assert_arrived([1, 2]);
    assert_eq!(desk.home.read("log"), b"work\npassword\n");
    for (args, code) in [
        (&["plan"][..], 0),
        (&["ledger", "catchup", "work"], 0),
        (&["ledger", "adopt", "work"], 0),
        (&["status"], 0),
        (&["ledger", "list", "--all"], 0),
    ] {
        desk.pouch(args).run().assert_code(code);
    }
    desk.pouch(&["check"])
        .run()
        .assert_code(0)
        .assert_stdout("before   ok    `sh`, 0.");
    assert_eq!(desk.home.read("log"), b"work\npassword\n".repeat(5));
}

#[test]
fn account_is_left_out_if_before_fails() {
    let desk = desk("echo no network >&2; exit 3", "");
    let output = desk.pouch(&["fetch", "-v"]).run();
    output.assert_code(75);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the `before` command `sh` failed: exit status: 3
      `sh` said: no network
      the server was not contacted
    work   nothing fetched
    ");
    for (args, code) in [(["plan"], 75), (["check"], 75)] {
        desk.pouch(&args)
            .run()
            .assert_code(code)
            .assert_stderr("`sh` said: no network");
    }
    assert_eq!(desk.server.log().connections(), 0);
}

/// A network that is down is transient, and a command that is missing is not.
#[test]
fn before_whose_shell_finds_no_command_is_a_mistake_in_the_config() {
    let desk = desk("no-such-program up", "");
    desk.fetch(78)
        .assert_stderr("the `before` command `sh` failed: exit status: 127")
        .assert_stderr("no-such-program: not found");
}

#[test]
fn before_whose_ssh_rejects_the_host_key_is_reported_at_once() {
    let desk = desk("echo Host key verification failed. >&2; exit 255", "");
    assert_snapshot!(desk.fetch(77).stderr_text(), @"
    pouch: work: the `before` command `sh` failed: exit status: 255
      `sh` said: Host key verification failed.
      the server was not contacted
    hint: verify the host key of the SSH server, then add it to ~/.ssh/known_hosts of the user who runs pouch
    ");
}

#[test]
fn failing_before_does_not_stop_other_accounts() {
    let desk = desk("exit 1", "");
    let config = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    let (account, before) = config.split_once("before = ").unwrap();
    let (_, rest) = before.split_once('\n').unwrap();
    let other = account
        .replace("account.work", "account.other")
        .replace("127.0.0.1", "localhost");
    desk.home.config(&format!("{config}\n{other}{rest}"));
    desk.fetch(75);
    desk.assert_arrived([1, 2]);
}

#[test]
fn before_that_hangs_is_ended() {
    let desk = desk("exec sleep 1000", "pipe-timeout = \"1s\"");
    desk.pouch(&["fetch", "-v"])
        .run()
        .assert_code(75)
        .assert_stderr("timed out after 1s");
    let desk = Desk::with(1, "before = [\"no-such-program\"]", |server| server);
    assert_snapshot!(desk.fetch(78).stderr_text(), @"
    pouch: work: cannot run the `before` command `no-such-program`
      No such file or directory
    hint: `no-such-program` is not installed, or not in PATH, which is short in cron and systemd: install it, or write its whole path
    ");
}
