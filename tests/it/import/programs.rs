//! fetchmail, getmail, mpop and fdm fetch 20 messages from a real server and keep them there. After
//! the import, pouch fetches exactly the other ten.

use std::time::Duration;

use crate::{
    real::{BOB, BOB_PASSWORD, RealServer},
    server::corpus,
    support::{Home, run::Run},
};

/// The config file of a program, and the command that fetches with it. `PORT` is the server's.
struct Old {
    name: &'static str,
    config: (&'static str, &'static str),
    command: &'static [&'static str],
}

const FETCHMAIL: Old = Old {
    name: "fetchmail",
    config: (
        ".fetchmailrc",
        "poll localhost proto pop3 port PORT uidl\n  user \"bob\" pass \"hunter2\" \
         sslproto '' keep\n  mda \"cat >> old.mbox\"\n",
    ),
    command: &["fetchmail", "--pidfile", "pid"],
};

const GETMAIL: Old = Old {
    name: "getmail",
    config: (
        ".getmail/getmailrc",
        "[retriever]\ntype = SimplePOP3Retriever\nserver = localhost\nport = PORT\n\
         username = bob\npassword = hunter2\n\n[destination]\ntype = MDA_external\npath = /bin/sh\n\
         arguments = (\"-c\", \"cat >> old.mbox\")\nallow_root_commands = true\n\n\
         [options]\nread_all = false\ndelete = false\n",
    ),
    command: &["getmail"],
};

const MPOP: Old = Old {
    name: "mpop",
    config: (
        ".mpoprc",
        "account default\nhost localhost\nport PORT\nuser bob\npassword hunter2\nauth user\n\
         keep on\ndelivery maildir ~/old\n",
    ),
    command: &["mpop"],
};

const FDM: Old = Old {
    name: "fdm",
    config: (
        ".fdm.conf",
        "set default-user \"root\"\nset lock-file \"${home}/fdm.lock\"\n\
         account \"a\" pop3 server \"localhost\" port PORT user \"bob\" pass \"hunter2\" \
         new-only cache \"${home}/fdm/cache\" no-apop keep\n\
         action \"old\" mbox \"${home}/old.mbox\"\nmatch all action \"old\"\n",
    ),
    command: &["fdm", "-f", ".fdm.conf", "fetch"],
};

fn messages(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(corpus::message).collect()
}

/// Runs the program, imports what it left, and fetches.
fn exactly_the_new_messages_arrive(old: &Old, server: &str) {
    let server = RealServer::start(server, &[]);
    server.inject(BOB, &messages(1..=20));
    let home = Home::new();
    let (path, text) = old.config;
    let text = text
        .replace("PORT", &server.port("pop3").to_string())
        .replace("${home}", &home.path().display().to_string());
    home.write(path, text, 0o600);
    for dir in ["old/cur", "old/new", "old/tmp"] {
        home.make_dir(dir, 0o700);
    }
    // root's fdm fetches as a user of its own
    home.make_dir("", 0o755);
    home.make_dir("fdm", 0o777);
    let user = |run: Run| run.env("LOGNAME", "root").env("USER", "root");
    let fetched = user(home.system_command(old.command[0], &old.command[1..]));
    // getmail starts a process for each message
    fetched.within(Duration::from_mins(2)).run().assert_code(0);
    server.inject(BOB, &messages(21..=30));
    let pouch = |args: &[&str]| {
        let output = user(home.pouch(args)).run();
        assert!(!format!("{output}").contains(BOB_PASSWORD), "{output}");
        output
    };
    pouch(&["import", old.name, "--write", "--passwords"])
        .assert_code(0)
        .assert_stdout("20 of 30 messages on the server are known; 20 messages recorded");
    // what the program delivered to stays as it is
    let config = String::from_utf8(home.read(".config/pouch/config.toml")).unwrap();
    let config: Vec<_> = config
        .lines()
        .filter(|line| {
            !["maildir", "mbox", "pipe"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .collect();
    home.config(&format!(
        "{}\nmaildir = \"~/Mail/new\"\n",
        config.join("\n")
    ));
    pouch(&["plan"])
        .assert_code(0)
        .assert_stdout("30 messages on the server, 20 known");
    pouch(&["fetch"]).assert_code(0);
    assert_eq!(home.maildir("Mail/new").len(), 10);
    assert_eq!(server.count(BOB), 30);
    pouch(&["import", old.name, "--write"]).assert_stdout("nothing new to record");
    pouch(&["fetch"]).assert_code(0);
    assert_eq!(home.maildir("Mail/new").len(), 10);
    let found = home
        .command("sh", &["-c", "grep -rl hunter2 .config .local | sort"])
        .run();
    assert_eq!(found.stdout.lines().count(), 1, "{found}");
}

cases! { exactly_the_new_messages_arrive:
    fetchmail_from_dovecot(&FETCHMAIL, "dovecot"),
    getmail_from_dovecot(&GETMAIL, "dovecot"),
    mpop_from_dovecot(&MPOP, "dovecot"),
    fdm_from_dovecot(&FDM, "dovecot"),
    fetchmail_from_cyrus(&FETCHMAIL, "cyrus"),
    getmail_from_cyrus(&GETMAIL, "cyrus"),
    mpop_from_cyrus(&MPOP, "cyrus"),
    fdm_from_cyrus(&FDM, "cyrus"),
}
