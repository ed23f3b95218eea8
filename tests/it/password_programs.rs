//! The password programs in the examples of the manual print the password.

use crate::{fixture::Desk, support::Home};

/// Returns the value of `password-command` in the manual that begins with this program.
fn command_in_the_manual(program: &str) -> String {
    let page = include_str!("../../man/pouch-config.5");
    let page = page.replace("\\-", "-");
    let start = format!("\"{program}\", ");
    let words = page
        .split("password-command = [")
        .skip(1)
        .map(|rest| rest.split_once(']').unwrap().0.trim())
        .find(|words| words.starts_with(&start))
        .unwrap_or_else(|| panic!("the manual has no {program}"));
    format!("[{words}]")
}

/// Runs `script` with the program of the manual in the config. `$0` is pouch.
fn run(program: &str, script: &str) {
    let desk = Desk::with(1, "", |server| server);
    let home = desk.home.path().display().to_string();
    let command = command_in_the_manual(program).replace("/home/ann", &home);
    let text = String::from_utf8(desk.home.read(".config/pouch/config.toml")).unwrap();
    desk.home.config(&text.replace(
        "password-file = \"~/password\"",
        &format!("password-command = {command}"),
    ));
    let script = format!("set -e\nmkdir -m 700 .gnupg .secrets\n{script}");
    let pouch = env!("CARGO_BIN_EXE_pouch");
    let output = desk
        .home
        .system_command("sh", &["-c", &script, pouch])
        .run();
    end_agent(&desk.home);
    output.assert_code(0);
    desk.assert_arrived([1]);
}

/// Ends the agent that gpg started.
fn end_agent(home: &Home) {
    home.system_command("gpgconf", &["--kill", "gpg-agent"])
        .run();
}

/// Creates a key without a passphrase.
const KEY: &str = "gpg --quiet --batch --passphrase '' --quick-generate-key ann@example.org default default never";

#[test]
fn gpg_decrypts_a_file() {
    let encrypt = "gpg --quiet --batch --encrypt --recipient ann@example.org";
    let script =
        format!("{KEY}\necho secret | {encrypt} --output .secrets/three.gpg\n\"$0\" fetch");
    run("gpg", &script);
}

cases! { password_store_shows_the_first_line:
    pass("pass"),
    gopass("gopass"),
}

fn password_store_shows_the_first_line(program: &str) {
    let insert = "printf 'secret\\nuser: ann\\n' | pass insert --multiline mail/work";
    let script = format!("{KEY}\npass init ann@example.org\n{insert}\n\"$0\" fetch");
    run(program, &script);
}

#[test]
fn secret_tool_looks_a_password_up_in_the_keyring() {
    let script = "cat >session <<'END'\n\
         set -e\n\
         printf x | gnome-keyring-daemon --unlock --components=secrets\n\
         printf secret | secret-tool store --label=Mail host pop.example.net user ann\n\
         exec \"$0\" fetch\n\
         END\n\
         dbus-run-session -- sh -c \"$(cat session)\" \"$0\"";
    run("secret-tool", script);
}
