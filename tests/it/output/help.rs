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
fn pouch() {
    assert_snapshot!(help(&[]), @"
    $ pouch -h
    Fetch mail by POP3: each message once, and one bad message never stops the
    others

    Usage: pouch [OPTIONS] [COMMAND]

    Commands:
      fetch        Fetch new mail (the default)
      plan         Show what fetch would do to each message, and why
      status       Show each account: last run, what waits, what is in quarantine
      check        Test config, secrets, TLS, login, server and destination
      config       Print the path of the config, its values, or a sample
      ledger       Look at what pouch remembers, and change it
      completions  Print the line that enables completions in your shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help (see more with '--help')
      -V, --version          Print version
    $ pouch --help
    Fetch mail by POP3: each message once, and one bad message never stops the
    others.

    Without a command, fetches the mail of all accounts in the config.

    Usage: pouch [OPTIONS] [COMMAND]

    Commands:
      fetch        Fetch new mail (the default)
      plan         Show what fetch would do to each message, and why
      status       Show each account: last run, what waits, what is in quarantine
      check        Test config, secrets, TLS, login, server and destination
      config       Print the path of the config, its values, or a sample
      ledger       Look at what pouch remembers, and change it
      completions  Print the line that enables completions in your shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -c, --config <FILE>
              Read this config instead of ~/.config/pouch/config.toml
              
              [env: POUCH_CONFIG]

          --state-dir <DIR>
              Use this directory for the ledger and the locks
              
              [env: POUCH_STATE_DIR]

      -q, --quiet...
              Say less: once for problems alone, twice for nothing at all

      -v, --verbose...
              Say more; twice shows the session with the server, without secrets

          --json
              Print JSON: a line an event for fetch, one document for all else

          --color <WHEN>
              Use colour: auto, always or never
              
              [default: auto]

          --progress <WHEN>
              Show progress: auto, always or never
              
              [default: auto]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
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
      -c, --config <FILE>           Read this config instead of
                                    ~/.config/pouch/config.toml [env: POUCH_CONFIG]
      -n, --dry-run                 Show what would be done, and do nothing
      -k, --keep                    Delete nothing from the server
          --state-dir <DIR>         Use this directory for the ledger and the locks
                                    [env: POUCH_STATE_DIR]
      -l, --limit <COUNT>           Fetch at most this many messages an account
      -q, --quiet...                Say less: once for problems alone, twice for
                                    nothing at all
          --max-size <SIZE>         Leave larger messages on the server
      -v, --verbose...              Say more; twice shows the session with the
                                    server, without secrets
          --json                    Print JSON: a line an event for fetch, one
                                    document for all else
          --to <PLACE>              Deliver there: a Maildir, maildir:DIR,
                                    mbox:FILE, pipe:COMMAND, lmtp:ADDRESS, or - for
                                    standard output
          --color <WHEN>            Use colour: auto, always or never [default:
                                    auto]
      -j, --jobs <COUNT>            Talk to this many servers at once
          --every <TIME>            Fetch again and again, with this much time
                                    between
          --progress <WHEN>         Show progress: auto, always or never [default:
                                    auto]
          --wait <TIME>             Wait this long for another pouch that is
                                    fetching the account
          --accept-new-uids         Take all messages for new where the server has
                                    given every one a new UID
          --fail-if-none            Exit with 1 if there was nothing new
          --password-command <CMD>  Take the password from the first line that this
                                    command prints
      -h, --help                    Print help
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
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn status() {
    assert_snapshot!(help(&["status"]), @"
    $ pouch status -h
    Show each account: last run, what waits, what is in quarantine

    Usage: pouch status [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn check() {
    assert_snapshot!(help(&["check"]), @"
    $ pouch check -h
    Test config, secrets, TLS, login, server and destination

    Usage: pouch check [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
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
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn config_path() {
    assert_snapshot!(help(&["config", "path"]), @"
    $ pouch config path -h
    Print the path of the config file

    Usage: pouch config path [OPTIONS]

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
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
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn config_sample() {
    assert_snapshot!(help(&["config", "sample"]), @"
    $ pouch config sample -h
    Print a config with all keys, each explained

    Usage: pouch config sample [OPTIONS]

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger() {
    assert_snapshot!(help(&["ledger"]), @"
    $ pouch ledger -h
    Look at what pouch remembers, and change it

    Usage: pouch ledger [OPTIONS] <COMMAND>

    Commands:
      list     List messages: those that wait or failed, unless a state is named
      show     Show all that is known of a message
      retry    Try failed messages, or named ones that were set aside, in the next
               run; take an order to delete back
      forget   Forget messages: those still on the server are fetched as if they
               were new
      catchup  Set all messages aside that were not delivered yet: neither fetch nor
               delete them
      delete   Delete messages from the server in the next run, delivered or not
      verify   Hold the ledger against the Maildir and against itself
      help     Print this message or the help of the given subcommand(s)

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_list() {
    assert_snapshot!(help(&["ledger", "list"]), @"
    $ pouch ledger list -h
    List messages: those that wait or failed, unless a state is named

    Usage: pouch ledger list [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -a, --all              List all messages
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
      -s, --state <STATE>    List messages in this state: new, delivering,
                             delivered, short, quarantined, skipped or gone
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_show() {
    assert_snapshot!(help(&["ledger", "show"]), @"
    $ pouch ledger show -h
    Show all that is known of a message

    Usage: pouch ledger show [OPTIONS] <ACCOUNT> <MESSAGE>

    Arguments:
      <ACCOUNT>  The account
      <MESSAGE>  The message's number in the ledger

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_retry() {
    assert_snapshot!(help(&["ledger", "retry"]), @"
    $ pouch ledger retry -h
    Try failed messages, or named ones that were set aside, in the next run; take an
    order to delete back

    Usage: pouch ledger retry [OPTIONS] <ACCOUNT> [MESSAGE]...

    Arguments:
      <ACCOUNT>     The account
      [MESSAGE]...  The messages' numbers in the ledger; all that failed by default

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_forget() {
    assert_snapshot!(help(&["ledger", "forget"]), @"
    $ pouch ledger forget -h
    Forget messages: those still on the server are fetched as if they were new

    Usage: pouch ledger forget [OPTIONS] <ACCOUNT> <MESSAGE>...

    Arguments:
      <ACCOUNT>     The account
      <MESSAGE>...  The messages' numbers in the ledger

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_catchup() {
    assert_snapshot!(help(&["ledger", "catchup"]), @"
    $ pouch ledger catchup -h
    Set all messages aside that were not delivered yet: neither fetch nor delete
    them

    Usage: pouch ledger catchup [OPTIONS] <ACCOUNT>

    Arguments:
      <ACCOUNT>  The account

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_delete() {
    assert_snapshot!(help(&["ledger", "delete"]), @"
    $ pouch ledger delete -h
    Delete messages from the server in the next run, delivered or not

    Usage: pouch ledger delete [OPTIONS] <ACCOUNT> <MESSAGE>...

    Arguments:
      <ACCOUNT>     The account
      <MESSAGE>...  The messages' numbers in the ledger

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
    ");
}

#[test]
fn ledger_verify() {
    assert_snapshot!(help(&["ledger", "verify"]), @"
    $ pouch ledger verify -h
    Hold the ledger against the Maildir and against itself

    Usage: pouch ledger verify [OPTIONS] [ACCOUNT]...

    Arguments:
      [ACCOUNT]...  Accounts by name; all enabled ones by default

    Options:
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help
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
      -c, --config <FILE>    Read this config instead of ~/.config/pouch/config.toml
                             [env: POUCH_CONFIG]
          --state-dir <DIR>  Use this directory for the ledger and the locks [env:
                             POUCH_STATE_DIR]
      -q, --quiet...         Say less: once for problems alone, twice for nothing at
                             all
      -v, --verbose...       Say more; twice shows the session with the server,
                             without secrets
          --json             Print JSON: a line an event for fetch, one document for
                             all else
          --color <WHEN>     Use colour: auto, always or never [default: auto]
          --progress <WHEN>  Show progress: auto, always or never [default: auto]
      -h, --help             Print help (see more with '--help')
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
      -c, --config <FILE>
              Read this config instead of ~/.config/pouch/config.toml
              
              [env: POUCH_CONFIG]

          --state-dir <DIR>
              Use this directory for the ledger and the locks
              
              [env: POUCH_STATE_DIR]

      -q, --quiet...
              Say less: once for problems alone, twice for nothing at all

      -v, --verbose...
              Say more; twice shows the session with the server, without secrets

          --json
              Print JSON: a line an event for fetch, one document for all else

          --color <WHEN>
              Use colour: auto, always or never
              
              [default: auto]

          --progress <WHEN>
              Show progress: auto, always or never
              
              [default: auto]

      -h, --help
              Print help (see a summary with '-h')
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
