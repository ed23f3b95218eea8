//! `pouch init` without a terminal, and without the network.

#[cfg(feature = "system-tests")]
mod dialogue;
mod lookup;
mod name_server;
mod web;

use insta::assert_snapshot;

use crate::support::Home;

/// Returns the transcripts of `pouch init` with each of these lines of options, split as by a
/// shell.
fn runs(home: &Home, lines: &[&str]) -> String {
    let run = |line: &&str| {
        let words = shlex::split(&format!("init {line}")).unwrap();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        home.pouch(&words).run().transcript()
    };
    lines.iter().map(run).collect::<Vec<_>>().join("\n")
}

/// Returns the runs of `pouch init` for these addresses, which need no network.
fn offline(addresses: &[&str]) -> String {
    let home = Home::new();
    let runs = addresses.iter().map(|address| {
        let output = home.pouch(&["init", address, "--offline"]).run();
        if output.code == 0 {
            home.config(&output.stdout);
            home.pouch(&["config", "show"]).run().assert_code(0);
            std::fs::remove_file(home.join(".config/pouch/config.toml")).unwrap();
        }
        output.transcript()
    });
    runs.collect::<Vec<_>>().join("\n")
}

#[test]
fn frequent_domains_need_no_network() {
    assert_snapshot!(offline(&[
        "ann@gmail.com",
        "ann@hotmail.co.uk",
        "ann@web.de",
        "ann@alice.it",
        "ann@qq.com",
        "ann@fastmail.com",
    ]), @r#"
    $ pouch init ann@gmail.com --offline
    [account.gmail]
    host = "pop.gmail.com"
    user = "ann@gmail.com"
    # password-file = "~/.config/pouch/secrets/gmail"
    maildir = "~/Mail/gmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings, and create an app password in Gmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@hotmail.co.uk --offline
    [account.hotmail]
    host = "outlook.office365.com"
    user = "ann@hotmail.co.uk"
    oauth = "microsoft"
    maildir = "~/Mail/hotmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Microsoft's web settings
    sign in with `pouch login hotmail`

    $ pouch init ann@web.de --offline
    [account.web]
    host = "pop3.web.de"
    user = "ann"
    # password-file = "~/.config/pouch/secrets/web"
    maildir = "~/Mail/web"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in web.de's web settings, and create an app password in web.de's account settings if 2-step verification is on
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@alice.it --offline
    [account.alice]
    host = "in.alice.it"
    tls = "starttls"
    user = "ann@alice.it"
    # password-file = "~/.config/pouch/secrets/alice"
    maildir = "~/Mail/alice"
    keep = "forever"
    ------- stderr -------
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@qq.com --offline
    [account.qq]
    host = "pop.qq.com"
    user = "ann@qq.com"
    # password-file = "~/.config/pouch/secrets/qq"
    maildir = "~/Mail/qq"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in QQ's web settings, and create an authorization code in QQ's web settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@fastmail.com --offline
    [account.fastmail]
    host = "pop.fastmail.com"
    user = "ann@fastmail.com"
    # password-file = "~/.config/pouch/secrets/fastmail"
    maildir = "~/Mail/fastmail"
    keep = "forever"
    ------- stderr -------
    before the first login: create an app password in Fastmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
}

/// No program of the network is involved: not even a socket is opened.
#[cfg(feature = "system-tests")]
#[test]
fn offline_sends_nothing() {
    let home = Home::new();
    for address in [
        "ann@gmail.com",
        "ann@icloud.com",
        "ann@example.org",
        "ann@web.de",
    ] {
        let pouch = env!("CARGO_BIN_EXE_pouch");
        let words = [
            "-f",
            "-e",
            "trace=%network",
            "-o",
            "calls",
            pouch,
            "init",
            address,
            "--offline",
        ];
        home.system_command("strace", &words).run();
        let calls = String::from_utf8(home.read("calls")).unwrap();
        assert!(!calls.contains("AF_INET"), "{calls}");
    }
}

#[test]
fn provider_without_pop3_is_named() {
    assert_snapshot!(offline(&["ann@icloud.com", "ann@pm.me", "ann@tuta.com", "ann@hey.com"]), @"
    $ pouch init ann@icloud.com --offline
    ------- stderr -------
    pouch: iCloud has IMAP, but no POP3
    hint: use a program that fetches by IMAP, such as mbsync
    [exit code: 69]

    $ pouch init ann@pm.me --offline
    ------- stderr -------
    pouch: Proton Mail has no POP3
    hint: use its Bridge with a program that fetches by IMAP, such as mbsync
    [exit code: 69]

    $ pouch init ann@tuta.com --offline
    ------- stderr -------
    pouch: Tuta has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]

    $ pouch init ann@hey.com --offline
    ------- stderr -------
    pouch: HEY has neither POP3 nor IMAP
    hint: use its own apps
    [exit code: 69]
    ");
}

#[test]
fn unknown_domain_needs_a_host_without_the_network() {
    assert_snapshot!(offline(&["ann@example.org", "ann@gmal.com", "ann@outlok.com"]), @"
    $ pouch init ann@example.org --offline
    ------- stderr -------
    pouch: the POP3 server of example.org is not built in, and `--offline` prevents a lookup
    hint: name the server: `pouch init ann@example.org --host HOST`
    [exit code: 64]

    $ pouch init ann@gmal.com --offline
    ------- stderr -------
    pouch: the POP3 server of gmal.com is not built in, and `--offline` prevents a lookup
    hint: did you mean ann@gmail.com?
    [exit code: 64]

    $ pouch init ann@outlok.com --offline
    ------- stderr -------
    pouch: the POP3 server of outlok.com is not built in, and `--offline` prevents a lookup
    hint: did you mean ann@outlook.com?
    [exit code: 64]
    ");
}

#[test]
fn options_answer_all_questions() {
    let lines = [
        "'Ann <ann@example.org>' --host pop.example.org:1110 --tls starttls --user ann --name work \
         --password-command \"pass show 'mail/my work'\" --maildir mail/work --keep 30d",
        "ann@example.org --host localhost:110 --tls off",
        "ann@gmail.com --oauth google --client-id x.y",
        "ann@münchen.example --host ::1 --password-file '~/secret'",
    ];
    assert_snapshot!(runs(&Home::new(), &lines), @r#"
    $ pouch init Ann <ann@example.org> --host pop.example.org:1110 --tls starttls --user ann --name work --password-command pass show 'mail/my work' --maildir mail/work --keep 30d
    [account.work]
    host = "pop.example.org"
    port = 1110
    tls = "starttls"
    user = "ann"
    password-command = ["pass", "show", "mail/my work"]
    maildir = "~/mail/work"
    keep = "30d"

    $ pouch init ann@example.org --host localhost:110 --tls off
    [account.example]
    host = "localhost"
    tls = "off"
    allow-plaintext-password = true
    user = "ann@example.org"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    ------- stderr -------
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run

    $ pouch init ann@gmail.com --oauth google --client-id x.y
    [account.gmail]
    host = "pop.gmail.com"
    user = "ann@gmail.com"
    oauth = { provider = "google", client-id = "x.y" }
    maildir = "~/Mail/gmail"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings
    sign in with `pouch login gmail`

    $ pouch init ann@münchen.example --host ::1 --password-file ~/secret
    [account."münchen"]
    host = "::1"
    user = "ann@xn--mnchen-3ya.example"
    password-file = "~/secret"
    maildir = "~/Mail/münchen"
    keep = "forever"
    "#);
}

#[test]
fn wrong_options_are_explained() {
    let lines = [
        "",
        "ann",
        "pops://ann@pop.example.org",
        "ann@gmail.com --name a/b",
        "ann@gmail.com --keep 30",
        "ann@gmail.com --password-command \"pass 'x\"",
        "ann@example.org --host pop:x",
        "ann@example.org --host x --tls ssl3",
        "''",
        "ann@gmail.com --name ''",
        "ann@gmail.com --user ''",
        "ann@gmail.com --user 'ann '",
        "ann@gmail.com --oauth google --client-id ''",
        "ann@example.org --host ''",
        "ann@example.org --host imap.example.org:993",
        "ann@gmail.com --maildir '$HOME/Mail'",
    ];
    assert_snapshot!(runs(&Home::new(), &lines), @"
    $ pouch init
    ------- stderr -------
    pouch: no mail address was given
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init ann
    ------- stderr -------
    pouch: `ann` is not a mail address: it has no `@`
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init pops://ann@pop.example.org
    ------- stderr -------
    pouch: `pops://ann@pop.example.org` is not a mail address: it is a URL
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init ann@gmail.com --name a/b
    ------- stderr -------
    pouch: an account name must not contain `/` or `@`, which mark URLs
    [exit code: 64]

    $ pouch init ann@gmail.com --keep 30
    ------- stderr -------
    pouch: `--keep 30` is not forever, none or a time in days
    hint: write it as 30d, 8w, 6mo or 1y
    [exit code: 64]

    $ pouch init ann@gmail.com --password-command pass 'x
    ------- stderr -------
    pouch: --password-command: unclosed quote in the command `pass …`
    hint: enclose the whole command in the other kind of quotes
    [exit code: 64]

    $ pouch init ann@example.org --host pop:x
    ------- stderr -------
    pouch: `--host pop:x` is not HOST or HOST:PORT
    hint: write it as pop.example.org:995
    [exit code: 64]

    $ pouch init ann@example.org --host x --tls ssl3
    ------- stderr -------
    error: invalid value 'ssl3' for '--tls <MODE>'
      [possible values: implicit, starttls, off]

    For more information, try '--help'.
    [exit code: 64]

    $ pouch init 
    ------- stderr -------
    pouch: the mail address is empty
    hint: run `pouch init ann@example.org`
    [exit code: 64]

    $ pouch init ann@gmail.com --name 
    ------- stderr -------
    pouch: an account name must not be empty
    [exit code: 64]

    $ pouch init ann@gmail.com --user 
    ------- stderr -------
    pouch: `--user` must not be empty
    [exit code: 64]

    $ pouch init ann@gmail.com --user ann 
    ------- stderr -------
    pouch: `--user` must be printable, without leading or trailing spaces
    [exit code: 64]

    $ pouch init ann@gmail.com --oauth google --client-id 
    ------- stderr -------
    pouch: `--client-id` must not be empty
    [exit code: 64]

    $ pouch init ann@example.org --host 
    ------- stderr -------
    pouch: `--host` must not be empty
    [exit code: 64]

    $ pouch init ann@example.org --host imap.example.org:993
    ------- stderr -------
    pouch: `--host imap.example.org:993`: port 993 is for IMAP; POP3 usually has port 995
    [exit code: 64]

    $ pouch init ann@gmail.com --maildir $HOME/Mail
    ------- stderr -------
    pouch: `--maildir` is a path that only a shell can expand
    hint: write the path in full, or with `~/`
    [exit code: 64]
    ");
}

/// Messages repeat only the beginning and the end of a long value.
#[test]
fn long_options_are_shortened() {
    let long = "x".repeat(5000);
    let lines = [
        long.clone(),
        format!("ann@{long}"),
        format!("ann@{}.example", "x".repeat(100)),
        format!("ann@gmail.com --name {long}"),
        format!("ann@gmail.com --user {long}"),
        format!("ann@gmail.com --host {long}"),
        format!("ann@gmail.com --keep {long}"),
        format!("ann@gmail.com --maildir {long}"),
        format!("ann@gmail.com --password-file {long}"),
    ];
    let home = Home::new();
    let run = |line: &String| {
        let args: Vec<_> = line.split(' ').collect();
        let output = home.pouch(&[&["init"], args.as_slice()].concat()).run();
        output.assert_code(64).stderr_text()
    };
    assert_snapshot!(lines.iter().map(run).collect::<String>(), @"
    pouch: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxxx` is not a mail address: it is longer than 254 bytes
    hint: run `pouch init ann@example.org`
    pouch: `ann@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxxx` is not a mail address: it is longer than 254 bytes
    hint: run `pouch init ann@example.org`
    pouch: `ann@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxx.example` is not a mail address: the domain is not valid
    hint: run `pouch init ann@example.org`
    pouch: an account name must not be longer than 300 characters
    pouch: `--user` must not be longer than 255 bytes
    pouch: `--host xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxxx` is not HOST or HOST:PORT
    hint: write it as pop.example.org:995
    pouch: `--keep xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxxx` is not forever, none or a time in days
    hint: write it as 30d, 8w, 6mo or 1y
    pouch: `--maildir` contains a name longer than 255 bytes
    pouch: `--password-file` contains a name longer than 255 bytes
    ");
}

#[test]
fn account_that_exists_is_refused() {
    let home = Home::new();
    home.config(
        "# mine\n[account.work]\nhost = \"pop.example.org\"\nuser = \"Ann@example.org\"\n\
         maildir = \"~/mail/work\"\n\n[account.gmail]\nhost = \"pop.gmail.com\"\n\
         user = \"recent:bob@gmail.com\"\nmaildir = \"~/Mail/x\"\n[account.free]\n\
         host = \"pop.free.fr\"\nuser = \"ann\"\nmaildir = \"~/Mail/y\"\n",
    );
    let lines = [
        "ann@example.org",
        "bob@gmail.com",
        "ann@free.fr",
        "eve@gmx.net --name work",
        "eve@gmail.com",
    ];
    assert_snapshot!(runs(&home, &lines), @r#"
    $ pouch init ann@example.org
    ------- stderr -------
    pouch: ann@example.org is already account `work` in ~/.config/pouch/config.toml
    hint: run `pouch check work` to test it, or change it in the config
    [exit code: 64]

    $ pouch init bob@gmail.com
    ------- stderr -------
    pouch: bob@gmail.com is already account `gmail` in ~/.config/pouch/config.toml
    hint: run `pouch check gmail` to test it, or change it in the config
    [exit code: 64]

    $ pouch init ann@free.fr
    ------- stderr -------
    pouch: ann@free.fr is already account `free` in ~/.config/pouch/config.toml
    hint: run `pouch check free` to test it, or change it in the config
    [exit code: 64]

    $ pouch init eve@gmx.net --name work
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml already has an account `work`
    hint: choose another `--name`
    [exit code: 64]

    $ pouch init eve@gmail.com
    [account.gmail-eve]
    host = "pop.gmail.com"
    user = "eve@gmail.com"
    # password-file = "~/.config/pouch/secrets/gmail-eve"
    maildir = "~/mail/gmail-eve"
    keep = "forever"
    ------- stderr -------
    before the first login: enable POP3 in Gmail's web settings, and create an app password in Gmail's account settings
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
}

#[test]
fn dangling_link_at_the_config_is_named() {
    let home = Home::new();
    std::fs::create_dir_all(home.join(".config/pouch")).unwrap();
    let link = home.join(".config/pouch/config.toml");
    std::os::unix::fs::symlink("/nonexistent/pouch.toml", link).unwrap();
    assert_snapshot!(runs(&home, &["ann@gmail.com"]), @"
    $ pouch init ann@gmail.com
    ------- stderr -------
    pouch: ~/.config/pouch/config.toml is a symbolic link to /nonexistent/pouch.toml, which does not exist
    hint: create the file that it points to, or remove the link
    [exit code: 78]
    ");
}

#[test]
fn config_that_cannot_take_another_table_is_named() {
    let home = Home::new();
    home.config(
        "account = { a = { host = \"pop.example.org\", user = \"a\", maildir = \"~/a\" } }\n",
    );
    assert_snapshot!(runs(&home, &["ann@gmail.com"]), @"
    $ pouch init ann@gmail.com
    ------- stderr -------
    pouch: no account can be added to ~/.config/pouch/config.toml: its accounts are not tables
    hint: write each account as a table: `[account.NAME]`
    [exit code: 78]
    ");
}

#[test]
fn json_has_the_account_and_what_is_left_to_do() {
    assert_snapshot!(runs(&Home::new(), &["ann@outlook.com --json"]), @r#"
    $ pouch init ann@outlook.com --json
    {
      "account": "outlook",
      "address": "ann@outlook.com",
      "host": "outlook.office365.com",
      "port": 995,
      "source": "known to pouch",
      "tls": "implicit",
      "todo": [
        "before the first login: enable POP3 in Microsoft's web settings",
        "sign in with `pouch login outlook`"
      ],
      "toml": "[account.outlook]\nhost = \"outlook.office365.com\"\nuser = \"ann@outlook.com\"\noauth = \"microsoft\"\nmaildir = \"~/Mail/outlook\"\nkeep = \"forever\"\n",
      "user": "ann@outlook.com"
    }
    "#);
}

#[test]
fn without_a_config_the_first_step_is_named() {
    let home = Home::new();
    let own = home.pouch(&[]).run();
    home.write(".fetchmailrc", "poll pop.example.org user ann\n", 0o600);
    let other = home.pouch(&["--config", "c.toml", "check"]).run();
    assert_snapshot!([own.transcript(), other.transcript()].join("\n"), @"
    $ pouch
    ------- stderr -------
    pouch: there is no config file ~/.config/pouch/config.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch init ADDRESS`, with your mail address
    [exit code: 78]

    $ pouch --config c.toml check
    ------- stderr -------
    pouch: there is no config file c.toml
      an account can also be given as a URL, such as pops://ann@pop.example.org
    hint: run `pouch --config c.toml import fetchmail` to see which accounts of fetchmail can be taken over, or `pouch --config c.toml init ADDRESS`, with your mail address
    [exit code: 78]
    ");
}
