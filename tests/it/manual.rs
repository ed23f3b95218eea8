//! The manual pages, the systemd unit and the completions agree with the program.

use std::{env, fs, path::PathBuf};

use clap::{Command, CommandFactory};
use pouch::{
    cli::args::Cli,
    config::schema::{Group, Scope},
    error::Kind,
};

use crate::mdoc::{key_list, mdoc};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the options of a command in mdoc(7).
fn options(command: &Command) -> String {
    let mut text = String::from(".Bl -tag -width Ds -compact\n");
    for option in command
        .get_arguments()
        .filter(|option| !option.is_positional() && !option.is_hide_set())
    {
        let short = option
            .get_short()
            .map(|short| format!("Fl {short} , "))
            .unwrap_or_default();
        let value = match option.get_value_names() {
            Some(names) if option.is_require_equals_set() => {
                format!(" Ns Op Li = Ns Ar {}", names[0])
            }
            Some(names) if option.get_action().takes_values() => format!(" Ar {}", names[0]),
            _ => String::new(),
        };
        let long = option.get_long().unwrap().replace('-', "\\-");
        let help = option.get_help().unwrap().to_string();
        // clap refers to the longer help there
        let help = help.split(" (see").next().unwrap();
        let help = mdoc(&format!("{help}."));
        text.push_str(&format!(".It {short}Fl \\-{long}{value}\n{help}"));
    }
    text + ".El\n"
}

/// Returns the text between the two marks of pouch(1).
fn generated() -> String {
    let mut cli = Cli::command();
    cli.build();
    let own = |command: &Command| {
        let globals: Vec<_> = cli
            .get_arguments()
            .map(|option| option.get_id().clone())
            .collect();
        command.clone().mut_args(|option| {
            let global = globals.contains(option.get_id()) || option.get_id() == "help";
            option.hide(global)
        })
    };
    let fetch = cli.find_subcommand("fetch").unwrap();
    let status = cli.find_subcommand("status").unwrap();
    let report = cli.find_subcommand("report").unwrap();
    let init = cli.find_subcommand("init").unwrap();
    let login = cli.find_subcommand("login").unwrap();
    let import = cli.find_subcommand("import").unwrap();
    let ledger = cli.find_subcommand("ledger").unwrap();
    let ledger = |name: &str| own(ledger.find_subcommand(name).unwrap());
    format!(
        "Of all commands:\n{}.Pp\nOf\n.Cm fetch :\n{}.Pp\nOf\n.Cm status :\n{}\
         .Pp\nOf\n.Cm report :\n{}.Pp\nOf\n.Cm init :\n{}.Pp\nOf\n.Cm login :\n{}.Pp\nOf\n.Cm import :\n{}.Pp\nOf\n\
         .Cm ledger list :\n{}.Pp\nOf\n.Cm ledger show , retry , forget\nand\n.Cm delete :\n{}\
         .Pp\nOf\n.Cm ledger catchup :\n{}.Pp\nOf\n.Cm ledger adopt :\n{}\
         .Pp\nOf\n.Cm ledger backup :\n{}.Pp\nOf\n.Cm ledger restore :\n{}\
         .Pp\nOf\n.Cm ledger export :\n{}.Pp\nOf\n.Cm ledger drop :\n{}",
        options(&cli),
        options(&own(fetch)),
        options(&own(status)),
        options(&own(report)),
        options(&own(init)),
        options(&own(login)),
        options(&own(import)),
        options(&ledger("list")),
        options(&ledger("show")),
        options(&ledger("catchup")),
        options(&ledger("adopt")),
        options(&ledger("backup")),
        options(&ledger("restore")),
        options(&ledger("export")),
        options(&ledger("drop"))
    )
}

/// Checks the text of a manual page between two marks; with `POUCH_BLESS` set, writes it instead.
fn check_generated(page: &str, (begin, end): (&str, &str), wanted: &str) {
    let manual = read(page);
    let (head, rest) = manual.split_once(begin).unwrap();
    let (found, tail) = rest.split_once(end).unwrap();
    if env::var_os("POUCH_BLESS").is_some() {
        fs::write(root().join(page), [head, begin, wanted, end, tail].concat()).unwrap();
    } else {
        assert_eq!(found, wanted, "{page}: POUCH_BLESS=1 writes it anew");
    }
}

#[test]
fn manual_has_all_options() {
    let marks = (".\\\" options: generated\n", ".\\\" options: end\n");
    check_generated("man/pouch.1", marks, &generated());
}

#[test]
fn manual_has_all_keys() {
    for (group, name) in [
        (Group::Top, "top level"),
        (Group::Server, "server"),
        (Group::Login, "login"),
        (Group::Destination, "destination"),
        (Group::Retention, "retention"),
        (Group::Fetching, "fetching"),
        (Group::Rule, "rule"),
        (Group::Multidrop, "multidrop"),
    ] {
        let keys = Scope::ALL.into_iter().flat_map(Scope::keys);
        let list = key_list(keys.filter(|key| key.group == group));
        let begin = format!(".\\\" keys, {name}: generated\n");
        let end = format!(".\\\" keys, {name}: end\n");
        check_generated("man/pouch-config.5", (&begin, &end), &list);
    }
}

#[test]
fn manual_has_the_date_of_the_change_log() {
    let changes = read("CHANGELOG.md");
    let head = changes
        .lines()
        .find(|line| line.starts_with("## "))
        .unwrap();
    let (_, date) = head.rsplit_once(" - ").unwrap();
    let date: jiff::civil::Date = date.parse().unwrap();
    let line = date.strftime(".Dd %B %-d, %Y").to_string();
    for page in ["man/pouch.1", "man/pouch-config.5"] {
        let text = read(page);
        let found = text.lines().find(|line| line.starts_with(".Dd "));
        assert_eq!(found, Some(line.as_str()), "{page}");
    }
}

#[test]
fn manual_has_all_commands() {
    let manual = read("man/pouch.1");
    for command in Cli::command().get_subcommands() {
        for name in std::iter::once(command.get_name().to_owned())
            .chain(
                command
                    .get_subcommands()
                    .map(|inner| format!("{} {}", command.get_name(), inner.get_name())),
            )
            .filter(|name| !matches!(name.as_str(), "config" | "ledger"))
        {
            assert!(
                manual.contains(&format!(".It Cm {name}")),
                "{name} is not in pouch(1)"
            );
        }
    }
}

#[test]
fn manual_has_all_exit_codes() {
    let manual = read("man/pouch.1");
    let kinds = [
        Kind::Usage,
        Kind::State,
        Kind::NoHost,
        Kind::Unavailable,
        Kind::Bug,
        Kind::CannotCreate,
        Kind::Io,
        Kind::ConnectionLost,
        Kind::NotPop3,
        Kind::Denied,
        Kind::Config,
    ];
    for kind in kinds {
        assert!(
            manual.contains(&format!("\n.It {}\n", kind.exit().0)),
            "{kind:?}"
        );
    }
}

#[test]
fn systemd_accepts_the_unit() {
    // These need to drop capabilities, which the systemd instance of a user cannot do: the unit
    // would fail with 218/CAPABILITIES.
    const PRIVILEGED: [&str; 6] = [
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "PrivateDevices",
        "ProtectClock",
        "ProtectKernelLogs",
        "ProtectKernelModules",
    ];
    let unit = read("systemd/pouch.service");
    let keys: Vec<_> = unit
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    assert!(keys.contains(&"ExecStart") && keys.contains(&"NoNewPrivileges"));
    assert!(keys.iter().all(|key| !PRIVILEGED.contains(key)), "{keys:?}");
}

/// The system unit has every restriction that a user's unit cannot have, and the syscalls of the
/// sandbox.
#[test]
fn system_unit_runs_as_the_user_of_its_instance() {
    let unit = read("systemd/pouch@.service");
    for line in [
        "User=%i",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "PrivateDevices=yes",
        "ProtectKernelModules=yes",
    ] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
    assert!(unit.contains("landlock_restrict_self"));
    assert!(read("systemd/pouch@.timer").contains("OnCalendar="));
}

#[test]
fn completions_call_the_program() {
    for (file, shell) in [
        ("pouch.bash", "bash"),
        ("_pouch", "zsh"),
        ("pouch.fish", "fish"),
    ] {
        let line = crate::support::Home::new()
            .pouch(&["completions", shell])
            .run();
        line.assert_code(0);
        assert!(
            read(&format!("completions/{file}")).contains(line.stdout.trim()),
            "{file}"
        );
        let home = crate::support::Home::new();
        home.config("[account.workshop]\nhost = \"h\"\nuser = \"u\"\nmaildir = \"m\"\n");
        let script = home.pouch(&[]).env("COMPLETE", shell).run();
        script.assert_code(0).assert_stdout("COMPLETE");
        if shell == "zsh" {
            // the first Tab runs the file itself
            let called = read("completions/_pouch")
                .lines()
                .last()
                .unwrap()
                .replace(" \"$@\"", "()");
            script.assert_stdout(&format!("function {called}"));
        }
        let asked = home
            .pouch(&["--", "pouch", "fetch", "wor"])
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env("_CLAP_IFS", "\n");
        asked.env("COMPLETE", shell).run().assert_stdout("workshop");
    }
}
