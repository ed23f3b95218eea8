//! The help of each command, short and long, at 80 columns.

use insta::assert_snapshot;

use crate::support::Home;

/// Returns the short help of a command, and the long help if it differs.
#[track_caller]
fn help(command: &[&str]) -> String {
    let home = Home::new();
    let print = |flag| {
        let run = home.pouch(&[command, &[flag]].concat());
        run.env("COLUMNS", "80").run()
    };
    let (short, long) = (print("-h"), print("--help"));
    short.assert_code(0);
    long.assert_code(0);
    if short.stdout == long.stdout {
        short.transcript()
    } else {
        short.transcript() + &long.transcript()
    }
}

#[test]
fn init() {
    assert_snapshot!(help(&["init"]), @"
    $ pouch init -h
    Create an account from a mail address

    Usage: pouch init [OPTIONS] [ADDRESS]

    Arguments:
      [ADDRESS]  The mail address

    Options:
          --print                   Print the account without questions, instead of
                                    adding it to the config
          --offline                 Send nothing over the network
          --lookup                  Look up the server of an unknown domain in DNS
                                    and at the domain
          --database                Look it up there and in Thunderbird's provider
                                    database
          --host <HOST>             Use this POP3 server, HOST or HOST:PORT, without
                                    looking it up
          --tls <MODE>              Encryption with that server: implicit, starttls
                                    or off
          --user <NAME>             Log in with this name instead of the usual one
                                    at the provider
          --name <NAME>             Use this account name instead of one derived
                                    from the domain
          --password-command <CMD>  Get the password from this command
          --password-file <FILE>    Get the password from the first line of this
                                    file
          --token-command <CMD>     Get an access token from this command
          --oauth <PROVIDER>        Sign in with OAuth 2.0 at this provider, such as
                                    microsoft
          --client-id <ID>          Use this client for OAuth 2.0
          --maildir <DIR>           Deliver to this Maildir
          --keep <TIME>             Keep fetched messages on the server: forever,
                                    none, or for a time such as 30d
          --timer                   Install and start a systemd timer
          --no-timer                Do not offer a timer, or a line for cron
      -h, --help                    Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]

    Each option answers a question. Without a terminal, nothing is asked, and the
    account is printed instead of added to the config
    ");
}

#[test]
fn pouch() {
    assert_snapshot!(help(&[]), @"
    $ pouch -h
    Fetch mail by POP3: each message once, and one bad message never stops the
    others

    Usage: pouch [OPTIONS] [COMMAND]

    Commands:
      fetch        Fetch new mail (the default)
      plan         Show what fetch would do to each message, and why
      status       Show each account: last run, waiting messages, quarantine
      report       Report volume, failures, quarantine, retention and senders
      check        Test config, secrets, TLS, login, server and destinations
      init         Create an account from a mail address
      login        Sign in with OAuth 2.0
      import       Import accounts and seen messages from other mail programs
      config       Print the path of the config, its values, or a sample
      ledger       Show and change what pouch remembers of each message
      completions  Print the line that enables completions in your shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    $ pouch --help
    Fetch mail by POP3: each message once, and one bad message never stops the
    others.

    Without a command, `pouch` means `pouch fetch`, and takes its options.

    Usage: pouch [OPTIONS] [COMMAND]

    Commands:
      fetch        Fetch new mail (the default)
      plan         Show what fetch would do to each message, and why
      status       Show each account: last run, waiting messages, quarantine
      report       Report volume, failures, quarantine, retention and senders
      check        Test config, secrets, TLS, login, server and destinations
      init         Create an account from a mail address
      login        Sign in with OAuth 2.0
      import       Import accounts and seen messages from other mail programs
      config       Print the path of the config, its values, or a sample
      ledger       Show and change what pouch remembers of each message
      completions  Print the line that enables completions in your shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Global options:
      -c, --config <FILE>
              Read this config instead of ~/.config/pouch/config.toml
              
              [env: POUCH_CONFIG]

          --state-dir <DIR>
              Use this directory for ledgers and locks
              
              [env: POUCH_STATE_DIR]

      -q, --quiet...
              Print less: only problems; twice prints nothing

      -v, --verbose...
              Print more; twice shows the session with the server, without secrets

          --json
              Print JSON: one event per line for fetch, one document for other
              commands

          --color <WHEN>
              Use colour: auto, always or never
              
              [default: auto]

          --progress <WHEN>
              Show progress: auto, always or never
              
              [default: auto]
    ");
}

#[test]
fn fetch() {
    assert_snapshot!(help(&["fetch"]), @"
    $ pouch fetch -h
    Fetch new mail (the default)

    Usage: pouch fetch [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name, or addresses like
                    `pops://ann@pop.example.org`; all enabled ones by default

    Options:
      -n, --dry-run                 Show what would be done, without doing it
      -k, --keep                    Delete nothing from the server
      -l, --limit <COUNT>           Fetch at most this many messages per account
          --max-size <SIZE>         Leave larger messages on the server; this
                                    replaces max-size of the config
          --to <DESTINATION>        Deliver to a Maildir, maildir:DIR, mbox:FILE,
                                    pipe:COMMAND, lmtp:ADDRESS, or - (standard
                                    output)
      -j, --jobs <COUNT>            Fetch this many accounts at the same time
          --shard <I/N>             Use only the mailboxes of this shard, such as
                                    3/16: the third of 16 parts
          --every <TIME>            Repeat after a pause of this length, until
                                    interrupted
          --wait <TIME>             Wait this long if another pouch is fetching the
                                    account
          --accept-new-uids         Treat all messages as new if every UID changed,
                                    or if they may be those of another mailbox
          --mailbox <NAME>          Continue with the ledger of this mailbox, given
                                    by its name or by an earlier address
          --fail-if-none            Exit with 1 if there was nothing new
          --log <FORMAT>            Print a line on standard error for each
                                    delivery: plain, journal or json
          --metrics <FILE>          Write metrics of all accounts for Prometheus to
                                    this file after each run
          --password-command <CMD>  Use the first line that this command prints as
                                    the password
      -h, --help                    Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn plan() {
    assert_snapshot!(help(&["plan"]), @"
    $ pouch plan -h
    Show what fetch would do to each message, and why

    Usage: pouch plan [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
          --shard <I/N>  Use only the mailboxes of this shard, such as 3/16: the
                         third of 16 parts
      -h, --help         Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn status() {
    assert_snapshot!(help(&["status"]), @"
    $ pouch status -h
    Show each account: last run, waiting messages, quarantine

    Usage: pouch status [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
          --shard <I/N>     Use only the mailboxes of this shard, such as 3/16: the
                            third of 16 parts
          --problems        Show only accounts that need attention
          --check[=<TIME>]  Print one line for a monitoring system: an account whose
                            last success is longer ago than this (1d by default) is
                            critical
      -h, --help            Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]

    Exit status: 0 if no account needs attention; 1 if one does: it fails (a
    transient failure counts once it has lasted a day), its last run was
    interrupted, or messages are quarantined; other values if its ledger cannot be
    read. With --check: 0 if all is well, 1 if an account needs attention or was
    never run, 2 if the last success of an account is longer ago than TIME, 3 if the
    state cannot be determined or the command line is wrong
    ");
}

#[test]
fn report() {
    assert_snapshot!(help(&["report"]), @"
    $ pouch report -h
    Report volume, failures, quarantine, retention and senders

    Usage: pouch report [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
          --html <FILE>  Write a page to this file instead of text; `-` is standard
                         output
          --last <TIME>  Cover this time until today, such as 30d, 8w or 1y
                         [default: 90d]
      -h, --help         Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn check() {
    assert_snapshot!(help(&["check"]), @"
    $ pouch check -h
    Test config, secrets, TLS, login, server and destinations

    Usage: pouch check [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn import() {
    assert_snapshot!(help(&["import"]), @"
    $ pouch import -h
    Import accounts and seen messages from other mail programs

    Usage: pouch import [OPTIONS] [FROM] [FILE]...

    Arguments:
      [FROM]     The program: fetchmail, getmail, mpop, fdm, thunderbird, claws,
                 sylpheed, kmail or evolution; by default, list what is found
      [FILE]...  Its config files; by default, those in the usual places

    Options:
          --write         Add the accounts to the config, and record the messages
                          that were fetched
          --seen-only     Only record the messages that were fetched, for accounts
                          that are in the config
          --passwords     Write each password to a file of mode 0600 next to the
                          config
          --state <FILE>  Read the fetched messages from this file
      -n, --dry-run       Show what would be written, without writing it
      -h, --help          Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn config() {
    assert_snapshot!(help(&["config"]), @"
    $ pouch config -h
    Print the path of the config, its values, or a sample

    Usage: pouch config [OPTIONS] <COMMAND>

    Commands:
      path    Print the path of the config file
      show    Print every value with the file and line that set it
      sample  Print a config with all keys, each explained
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn config_path() {
    assert_snapshot!(help(&["config", "path"]), @"
    $ pouch config path -h
    Print the path of the config file

    Usage: pouch config path [OPTIONS]

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn config_show() {
    assert_snapshot!(help(&["config", "show"]), @"
    $ pouch config show -h
    Print every value with the file and line that set it

    Usage: pouch config show [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn config_sample() {
    assert_snapshot!(help(&["config", "sample"]), @"
    $ pouch config sample -h
    Print a config with all keys, each explained

    Usage: pouch config sample [OPTIONS]

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger() {
    assert_snapshot!(help(&["ledger"]), @"
    $ pouch ledger -h
    Show and change what pouch remembers of each message

    Usage: pouch ledger [OPTIONS] <COMMAND>

    Commands:
      list     List messages; by default, waiting and failed ones, and requested
               deletions
      show     Show everything known about messages
      retry    Fetch failed, skipped or oversized messages in the next run; cancel
               pending deletions
      forget   Forget messages: those still on the server are fetched again
      catchup  Skip all messages that were not delivered yet: neither fetch nor
               delete them
      adopt    Record messages that are already in a Maildir, so that they are not
               fetched
      delete   Delete messages from the server in the next run, delivered or not
      verify   Check the integrity of the ledger, and compare it with the Maildir
      backup   Copy ledgers, also while pouch is fetching
      restore  Restore ledgers from a backup, or from another machine
      export   Write the ledger to a file for another machine, and stop fetching the
               account here
      drop     Delete the ledger of an account: all mail still on the server is
               fetched again
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_list() {
    assert_snapshot!(help(&["ledger", "list"]), @"
    $ pouch ledger list -h
    List messages; by default, waiting and failed ones, and requested deletions

    Usage: pouch ledger list [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -a, --all            List all messages
      -s, --state <STATE>  List messages in this state: new, delivering, delivered,
                           short, quarantined, skipped or gone
      -h, --help           Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_show() {
    assert_snapshot!(help(&["ledger", "show"]), @"
    $ pouch ledger show -h
    Show everything known about messages

    Usage: pouch ledger show [OPTIONS] <ACCOUNT> [MESSAGE]...

    Arguments:
      <ACCOUNT>     The account
      [MESSAGE]...  Numbers of messages in the ledger, ranges such as 3-7, or `all`

    Options:
      -s, --state <STATE>  Only messages in this state, such as quarantined or
                           skipped
      -h, --help           Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_retry() {
    assert_snapshot!(help(&["ledger", "retry"]), @"
    $ pouch ledger retry -h
    Fetch failed, skipped or oversized messages in the next run; cancel pending
    deletions

    Usage: pouch ledger retry [OPTIONS] <ACCOUNT> [MESSAGE]...

    Arguments:
      <ACCOUNT>     The account
      [MESSAGE]...  Numbers of messages in the ledger, ranges such as 3-7, or `all`;
                    all failed messages by default

    Options:
      -s, --state <STATE>  Only messages in this state, such as quarantined or
                           skipped
      -h, --help           Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_forget() {
    assert_snapshot!(help(&["ledger", "forget"]), @"
    $ pouch ledger forget -h
    Forget messages: those still on the server are fetched again

    Usage: pouch ledger forget [OPTIONS] <ACCOUNT> [MESSAGE]...

    Arguments:
      <ACCOUNT>     The account
      [MESSAGE]...  Numbers of messages in the ledger, ranges such as 3-7, or `all`

    Options:
      -s, --state <STATE>  Only messages in this state, such as quarantined or
                           skipped
      -h, --help           Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_catchup() {
    assert_snapshot!(help(&["ledger", "catchup"]), @"
    $ pouch ledger catchup -h
    Skip all messages that were not delivered yet: neither fetch nor delete them

    Usage: pouch ledger catchup [OPTIONS] <ACCOUNT>

    Arguments:
      <ACCOUNT>  The account

    Options:
          --as-fetched             Treat the messages as fetched now, so that `keep`
                                   deletes them from the server
          --before <DATE>          Mark only messages that the server received
                                   before this day, such as 2026-11-28
          --except-newest <COUNT>  Do not mark this many of the newest messages on
                                   the server
      -h, --help                   Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_delete() {
    assert_snapshot!(help(&["ledger", "delete"]), @"
    $ pouch ledger delete -h
    Delete messages from the server in the next run, delivered or not

    Usage: pouch ledger delete [OPTIONS] <ACCOUNT> [MESSAGE]...

    Arguments:
      <ACCOUNT>     The account
      [MESSAGE]...  Numbers of messages in the ledger, ranges such as 3-7, or `all`

    Options:
      -s, --state <STATE>  Only messages in this state, such as quarantined or
                           skipped
      -h, --help           Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn ledger_verify() {
    assert_snapshot!(help(&["ledger", "verify"]), @"
    $ pouch ledger verify -h
    Check the integrity of the ledger, and compare it with the Maildir

    Usage: pouch ledger verify [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -h, --help  Print help

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    ");
}

#[test]
fn completions() {
    assert_snapshot!(help(&["completions"]), @"
    $ pouch completions -h
    Print the line that enables completions in your shell

    Usage: pouch completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>  The shell [possible values: bash, zsh, fish]

    Options:
      -h, --help  Print help (see more with '--help')

    Global options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for ledgers and locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Print less: only problems; twice prints nothing
      -v, --verbose...       Print more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: one event per line for fetch, one document
                             for other commands
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
    $ pouch completions --help
    Print the line that enables completions in your shell

    Usage: pouch completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>
              The shell

              Possible values:
              - bash: bash
              - zsh:  zsh
              - fish: fish

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options:
      -c, --config <FILE>
              Read this config instead of ~/.config/pouch/config.toml
              
              [env: POUCH_CONFIG]

          --state-dir <DIR>
              Use this directory for ledgers and locks
              
              [env: POUCH_STATE_DIR]

      -q, --quiet...
              Print less: only problems; twice prints nothing

      -v, --verbose...
              Print more; twice shows the session with the server, without secrets

          --json
              Print JSON: one event per line for fetch, one document for other
              commands

          --color <WHEN>
              Use colour: auto, always or never
              
              [default: auto]

          --progress <WHEN>
              Show progress: auto, always or never
              
              [default: auto]
    ");
}

#[test]
fn help_command_prints_the_long_help() {
    let home = Home::new();
    for command in [&[][..], &["fetch"], &["ledger"], &["ledger", "retry"]] {
        let asked = home.pouch(&[&["help"], command].concat()).run();
        let flagged = home.pouch(&[command, &["--help"]].concat()).run();
        assert_eq!(asked.assert_code(0).stdout, flagged.stdout, "{command:?}");
    }
}
