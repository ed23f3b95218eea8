//! The command line.

use std::{num::NonZero, path::PathBuf};

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::engine::ArgValueCompleter;

use super::complete::{accounts, messages};
use crate::{
    config::Account,
    domain::{
        ids::RowId,
        mail_server::Encryption,
        shard::Shard,
        size::ByteSize,
        time::{Days, TimeSpan, Timestamp},
    },
    import::Program,
    ledger::{RowRange, State},
    report::{Level, log::Format},
    text::start_of_day,
};

/// Fetch mail by POP3: each message once, and one bad message never stops the others.
///
/// Without a command, `pouch` means `pouch fetch`, and takes its options.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pouch",
    version,
    propagate_version = false,
    max_term_width = 100
)]
pub struct Cli {
    /// The options of every command.
    #[command(flatten)]
    pub global: Global,

    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Read this config instead of ~/.config/pouch/config.toml
    #[arg(short, long, global = true, env = "POUCH_CONFIG", hide_env_values = true,
        value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Use this directory for ledgers and locks
    #[arg(long, global = true, env = "POUCH_STATE_DIR", hide_env_values = true,
        value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,

    /// Print less: only problems; twice prints nothing
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,

    /// Print more; twice shows the session with the server, without secrets
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print JSON: one event per line for fetch, one document for other commands
    #[arg(long, global = true)]
    pub json: bool,

    /// Use colour: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub color: When,

    /// Show progress: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub progress: When,
}

impl Global {
    /// Returns the level of output.
    pub fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (0, 0) => Level::Normal,
            (0, 1) => Level::Verbose,
            (0, _) => Level::Trace,
            (1, _) => Level::Problems,
            _ => Level::Silent,
        }
    }
}

/// The choice whether to use colour, or to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl When {
    /// Returns the user's choice, or `None` if it depends on the terminal.
    pub fn forced(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Always => Some(true),
            Self::Never => Some(false),
        }
    }
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Fetch new mail (the default)
    Fetch(Fetch),
    /// Show what fetch would do to each message, and why
    Plan(Plan),
    /// Show each account: last run, waiting messages, quarantine
    Status(Status),
    /// Report volume, failures, quarantine, retention and senders
    Report(Report),
    /// Test config, secrets, TLS, login, server and destinations
    #[command(alias = "doctor")]
    Check(Accounts),
    /// Create an account from a mail address
    Init(Init),
    /// Sign in with OAuth 2.0
    Login(Login),
    /// Import accounts and seen messages from other mail programs
    Import(Import),
    /// Print the path of the config, its values, or a sample
    #[command(subcommand)]
    Config(Config),
    /// Show and change what pouch remembers of each message
    #[command(subcommand)]
    Ledger(Ledger),
    /// Print the line that enables completions in your shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Options of `pouch fetch`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Clone, Debug, Default, Args)]
pub struct Fetch {
    /// Accounts by name, or addresses like `pops://ann@pop.example.org`; all enabled ones by
    /// default
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub accounts: Vec<String>,

    /// Show what would be done, without doing it
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Delete nothing from the server
    #[arg(short, long)]
    pub keep: bool,

    /// Fetch at most this many messages per account
    #[arg(short, long, value_name = "COUNT", value_parser = limit)]
    pub limit: Option<u64>,

    /// Leave larger messages on the server; this replaces max-size of the config
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<ByteSize>,

    /// Deliver to a Maildir, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS, or - (standard
    /// output)
    #[arg(long, value_name = "DESTINATION", value_hint = ValueHint::DirPath)]
    pub to: Option<String>,

    /// Fetch this many accounts at the same time
    #[arg(short, long, value_name = "COUNT", value_parser = jobs)]
    pub jobs: Option<u16>,

    /// The shard of the mailboxes.
    #[command(flatten)]
    pub shard: ShardOption,

    /// Repeat after a pause of this length, until interrupted
    #[arg(long, value_name = "TIME", value_parser = interval, conflicts_with = "dry_run")]
    pub every: Option<TimeSpan>,

    /// Wait this long if another pouch is fetching the account
    #[arg(long, value_name = "TIME")]
    pub wait: Option<TimeSpan>,

    /// Treat all messages as new if every UID changed, or if they may be those of another mailbox
    #[arg(long)]
    pub accept_new_uids: bool,

    /// Continue with the ledger of this mailbox, given by its name or by an earlier address
    #[arg(long, value_name = "NAME", conflicts_with = "accept_new_uids")]
    pub mailbox: Option<String>,

    /// Exit with 1 if there was nothing new
    #[arg(long)]
    pub fail_if_none: bool,

    /// Print a line on standard error for each delivery: plain, journal or json
    #[arg(
        long,
        value_name = "FORMAT",
        hide_possible_values = true,
        conflicts_with = "dry_run"
    )]
    pub log: Option<LogFormat>,

    /// Write metrics of all accounts for Prometheus to this file after each run
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "dry_run")]
    pub metrics: Option<PathBuf>,

    /// Use the first line that this command prints as the password
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub password_command: Option<String>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// With the time, for files.
    Plain,
    /// With the priority, for the journal of systemd.
    Journal,
    /// The lines of `--json`.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Plain => Self::Plain,
            LogFormat::Journal => Self::Journal,
            LogFormat::Json => Self::Json,
        }
    }
}

/// The providers of the key `oauth`.
const OAUTH_PROVIDERS: [&str; 6] = ["microsoft", "google", "yahoo", "aol", "fastmail", "comcast"];

/// Options of `pouch init`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Each option answers a question. Without a terminal, nothing is asked, and the \
                  account is printed instead of added to the config"
)]
pub struct Init {
    /// The mail address
    #[arg(value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    pub address: Option<String>,

    /// Print the account without questions, instead of adding it to the config
    #[arg(long)]
    pub print: bool,

    /// Send nothing over the network
    #[arg(long, conflicts_with_all = ["lookup", "database"])]
    pub offline: bool,

    /// Look up the server of an unknown domain in DNS and at the domain
    #[arg(long)]
    pub lookup: bool,

    /// Look it up there and in Thunderbird's provider database
    #[arg(long)]
    pub database: bool,

    /// Use this POP3 server, HOST or HOST:PORT, without looking it up
    #[arg(long, value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub host: Option<String>,

    /// Encryption with that server: implicit, starttls or off
    #[arg(long, value_name = "MODE", requires = "host", hide_possible_values = true,
        value_parser = encryptions())]
    pub tls: Option<Encryption>,

    /// Log in with this name instead of the usual one at the provider
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Use this account name instead of one derived from the domain
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Get the password from this command
    #[arg(long, value_name = "CMD", group = "source", value_hint = ValueHint::CommandString)]
    pub password_command: Option<String>,

    /// Get the password from the first line of this file
    #[arg(long, value_name = "FILE", group = "source", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// Get an access token from this command
    #[arg(long, value_name = "CMD", group = "source", value_hint = ValueHint::CommandString)]
    pub token_command: Option<String>,

    /// Sign in with OAuth 2.0 at this provider, such as microsoft
    #[arg(long, value_name = "PROVIDER", group = "source", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(OAUTH_PROVIDERS))]
    pub oauth: Option<String>,

    /// Use this client for OAuth 2.0
    #[arg(long, value_name = "ID", requires = "oauth")]
    pub client_id: Option<String>,

    /// Deliver to this Maildir
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub maildir: Option<PathBuf>,

    /// Keep fetched messages on the server: forever, none, or for a time such as 30d
    #[arg(long, value_name = "TIME")]
    pub keep: Option<String>,

    /// Install and start a systemd timer
    #[arg(long, conflicts_with = "no_timer")]
    pub timer: bool,

    /// Do not offer a timer, or a line for cron
    #[arg(long)]
    pub no_timer: bool,
}

/// Options of `pouch import`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The program: fetchmail, getmail, mpop, fdm, thunderbird, claws, sylpheed, kmail or
    /// evolution; by default, list what is found
    #[arg(value_name = "FROM", hide_possible_values = true, value_parser = programs())]
    pub from: Option<Program>,

    /// Its config files; by default, those in the usual places
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Add the accounts to the config, and record the messages that were fetched
    #[arg(long, requires = "from")]
    pub write: bool,

    /// Only record the messages that were fetched, for accounts that are in the config
    #[arg(long, requires = "from", conflicts_with = "write")]
    pub seen_only: bool,

    /// Write each password to a file of mode 0600 next to the config
    #[arg(long, requires = "write")]
    pub passwords: bool,

    /// Read the fetched messages from this file
    #[arg(long, value_name = "FILE", requires = "from", value_hint = ValueHint::FilePath)]
    pub state: Option<PathBuf>,

    /// Show what would be written, without writing it
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// The option that selects a part of the accounts.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ShardOption {
    /// Use only the mailboxes of this shard, such as 3/16: the third of 16 parts
    #[arg(long = "shard", value_name = "I/N")]
    pub value: Option<Shard>,
}

impl ShardOption {
    /// Removes the accounts of other shards.
    pub fn retain(self, accounts: &mut Vec<Account>) {
        if let Some(shard) = self.value {
            accounts.retain(|account| shard.contains(&account.identity()));
        }
    }
}

/// Options of `pouch plan`.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// The accounts.
    #[command(flatten)]
    pub accounts: Accounts,

    /// The shard of the mailboxes.
    #[command(flatten)]
    pub shard: ShardOption,

    /// Accepted as in `pouch fetch --dry-run`; a plan changes nothing anyway.
    #[arg(short = 'n', long, hide = true)]
    pub dry_run: bool,
}

/// Options of `pouch status`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit status: 0 if no account needs attention; 1 if one does: it fails (a \
                  transient failure counts once it has lasted a day), its last run was \
                  interrupted, or messages are quarantined; other values if its ledger cannot be \
                  read. With --check: 0 if all is well, 1 if an account needs attention or was \
                  never run, 2 if the last success of an account is longer ago than TIME, 3 if the \
                  state cannot be determined or the command line is wrong"
)]
pub struct Status {
    /// The accounts.
    #[command(flatten)]
    pub accounts: Accounts,

    /// The shard of the mailboxes.
    #[command(flatten)]
    pub shard: ShardOption,

    /// Show only accounts that need attention
    #[arg(long)]
    pub problems: bool,

    /// Print one line for a monitoring system: an account whose last success is longer ago than
    /// this (1d by default) is critical
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true,
        default_missing_value = "1d", value_parser = interval, conflicts_with = "problems")]
    pub check: Option<TimeSpan>,
}

/// Options of `pouch report`.
#[derive(Clone, Debug, Args)]
pub struct Report {
    /// The accounts.
    #[command(flatten)]
    pub accounts: Accounts,

    /// Write a page to this file instead of text; `-` is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,

    /// Cover this time until today, such as 30d, 8w or 1y
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = period)]
    pub last: Days,
}

/// Options of `pouch login`.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "If the browser is on another machine, either use --device, or paste the address \
                  at which the browser ends, or forward the port: `ssh -L \
                  8400:localhost:8400 HOST`, and there `pouch login --port 8400`"
)]
pub struct Login {
    /// The account; the only one with `oauth` by default
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: Option<String>,

    /// Print a code to enter in a browser on another machine, if the provider supports it
    #[arg(long, conflicts_with_all = ["port", "no_browser"])]
    pub device: bool,

    /// Print the address without opening a browser
    #[arg(long)]
    pub no_browser: bool,

    /// Wait for the browser on this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Delete the tokens, and revoke them at the provider
    #[arg(long, conflicts_with_all = ["device", "no_browser", "port"])]
    pub forget: bool,
}

/// Some accounts.
#[derive(Clone, Debug, Args)]
pub struct Accounts {
    /// Accounts by name; all enabled ones by default
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub accounts: Vec<String>,
}

/// The commands of `pouch config`.
#[derive(Clone, Debug, Subcommand)]
pub enum Config {
    /// Print the path of the config file
    Path,
    /// Print every value with the file and line that set it
    Show(Accounts),
    /// Print a config with all keys, each explained
    Sample,
}

/// The commands of `pouch ledger`.
#[derive(Clone, Debug, Subcommand)]
pub enum Ledger {
    /// List messages; by default, waiting and failed ones, and requested deletions
    List {
        /// The accounts.
        #[command(flatten)]
        accounts: Accounts,

        /// List all messages
        #[arg(short, long)]
        all: bool,

        /// List messages in this state: new, delivering, delivered, short, quarantined, skipped or
        /// gone
        #[arg(short, long, value_name = "STATE", conflicts_with = "all",
            hide_possible_values = true, value_parser = states())]
        state: Option<State>,
    },
    /// Show everything known about messages
    Show(NamedMessages),
    /// Fetch failed, skipped or oversized messages in the next run; cancel pending deletions
    Retry(Messages),
    /// Forget messages: those still on the server are fetched again
    Forget(NamedMessages),
    /// Skip all messages that were not delivered yet: neither fetch nor delete them
    Catchup(Catchup),
    /// Record messages that are already in a Maildir, so that they are not fetched
    Adopt(Adopt),
    /// Delete messages from the server in the next run, delivered or not
    Delete(NamedMessages),
    /// Check the integrity of the ledger, and compare it with the Maildir
    Verify(Accounts),
    /// Copy ledgers, also while pouch is fetching
    Backup(Backup),
    /// Restore ledgers from a backup, or from another machine
    #[command(alias = "import")]
    Restore(Restore),
    /// Write the ledger to a file for another machine, and stop fetching the account here
    Export(Export),
    /// Delete the ledger of an account: all mail still on the server is fetched again
    Drop(Drop),
}

/// Options of `pouch ledger catchup`.
#[derive(Clone, Debug, Args)]
pub struct Catchup {
    /// The account
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// Treat the messages as fetched now, so that `keep` deletes them from the server
    #[arg(long)]
    pub as_fetched: bool,

    /// Mark only messages that the server received before this day, such as 2026-11-28
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub before: Option<Day>,

    /// Do not mark this many of the newest messages on the server
    #[arg(long, value_name = "COUNT", value_parser = except_newest)]
    pub except_newest: Option<u64>,
}

/// Options of `pouch ledger adopt`.
#[derive(Clone, Debug, Args)]
pub struct Adopt {
    /// The account
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// The Maildir with the files; by default, the one that the account delivers to
    #[arg(value_name = "MAILDIR", value_hint = ValueHint::DirPath)]
    pub maildir: Option<PathBuf>,

    /// Search subfolders as well
    #[arg(long)]
    pub subfolders: bool,

    /// Show what would be recorded, without recording it
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Options of `pouch ledger backup`.
#[derive(Clone, Debug, Args)]
#[command(allow_missing_positional = true)]
pub struct Backup {
    /// Accounts by name; all mailboxes that have a ledger by default
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub accounts: Vec<String>,

    /// The directory for the copies, or a file for the copy of one account
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,

    /// Replace existing copies
    #[arg(long)]
    pub replace: bool,
}

/// Options of `pouch ledger restore`.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// Files or directories that `backup` or `export` wrote; - is standard input
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// Replace ledgers of the same mailboxes, and keep the old ones under another name
    #[arg(long)]
    pub replace: bool,
}

/// Options of `pouch ledger export`.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// The account
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// The new file; - is standard output
    #[arg(value_name = "FILE", required_unless_present = "undo", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Allow fetching the account on this machine again, if no other machine does
    #[arg(long, conflicts_with = "file")]
    pub undo: bool,
}

/// Options of `pouch ledger drop`.
#[derive(Clone, Debug, Args)]
pub struct Drop {
    /// The account, or the name or address of a mailbox that is not in the config any more
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// A day in local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// As it was written: `2026-11-28`.
    pub text: String,
    /// Its first second.
    pub start: Timestamp,
}

/// Some messages of an account, or all failed ones.
#[derive(Clone, Debug, Args)]
pub struct Messages {
    /// The account
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// Numbers of messages in the ledger, ranges such as 3-7, or `all`; all failed messages by
    /// default
    #[arg(value_name = "MESSAGE", allow_negative_numbers = true, value_parser = message,
        add = ArgValueCompleter::new(messages))]
    pub messages: Vec<RowRange>,

    /// Only messages in this state, such as quarantined or skipped
    #[arg(short, long, value_name = "STATE", hide_possible_values = true, value_parser = states())]
    pub state: Option<State>,
}

impl From<NamedMessages> for Messages {
    fn from(named: NamedMessages) -> Self {
        let NamedMessages {
            account,
            messages,
            state,
        } = named;
        Self {
            account,
            messages,
            state,
        }
    }
}

/// Some messages of an account.
#[derive(Clone, Debug, Args)]
pub struct NamedMessages {
    /// The account
    #[arg(value_name = "ACCOUNT", add = ArgValueCompleter::new(accounts))]
    pub account: String,

    /// Numbers of messages in the ledger, ranges such as 3-7, or `all`
    #[arg(value_name = "MESSAGE", required_unless_present = "state", allow_negative_numbers = true,
        value_parser = message, add = ArgValueCompleter::new(messages))]
    pub messages: Vec<RowRange>,

    /// Only messages in this state, such as quarantined or skipped
    #[arg(short, long, value_name = "STATE", hide_possible_values = true, value_parser = states())]
    pub state: Option<State>,
}

/// A shell that has completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// Returns the line for the shell's start-up file.
    pub fn startup_line(self) -> &'static str {
        match self {
            Self::Bash => "source <(COMPLETE=bash pouch)\n",
            Self::Zsh => "source <(COMPLETE=zsh pouch)\n",
            Self::Fish => "COMPLETE=fish pouch | source\n",
        }
    }
}

/// Returns a parser of the modes of encryption.
fn encryptions() -> impl TypedValueParser<Value = Encryption> {
    let all = [Encryption::Implicit, Encryption::StartTls, Encryption::Off];
    PossibleValuesParser::new(all.map(Encryption::keyword)).map(move |word| {
        let mut all = all.into_iter();
        all.find(|mode| mode.keyword() == word)
            .unwrap_or(Encryption::Implicit)
    })
}

/// Parses the interval between two runs. Zero would leave the server no pause.
fn interval(text: &str) -> Result<TimeSpan, String> {
    let span: TimeSpan = text.parse()?;
    if span.seconds() > 0 {
        Ok(span)
    } else {
        Err("it must be greater than zero".into())
    }
}

/// Parses the period of a report.
fn period(text: &str) -> Result<Days, String> {
    let days: Days = text.parse()?;
    let span = TimeSpan::from(days);
    if span == TimeSpan::from_seconds(0) {
        Err("the shortest period is 1d".into())
    } else if span > LONGEST_PERIOD {
        Err("the longest period is 10y".into())
    } else {
        Ok(days)
    }
}

/// The longest period of a report.
const LONGEST_PERIOD: TimeSpan = TimeSpan::from_days(3_650);

fn limit(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "it must be a number from 0 up; 0 is no limit".to_owned())
}

fn jobs(text: &str) -> Result<u16, String> {
    text.parse()
        .map(NonZero::get)
        .map_err(|_| "it must be a number from 1 to 65535".to_owned())
}

fn except_newest(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "it must be a number of messages, 0 or more".to_owned())
}

fn day(text: &str) -> Result<Day, String> {
    let start = start_of_day(text).ok_or("it must be a valid date, such as 2026-11-28")?;
    Ok(Day {
        text: text.to_owned(),
        start,
    })
}

/// Parses a number, a range of numbers, or `all`.
fn message(text: &str) -> Result<RowRange, String> {
    if text == "all" {
        return Ok(RowRange::ALL);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first > last => Err(format!(
            "the range ends before it begins: write {last}-{first}"
        )),
        (Ok(first), Ok(last)) => Ok(RowRange {
            first: RowId(first),
            last: RowId(last),
        }),
        _ => Err("it must be a number, a range such as 3-7, or `all`; \
                  `pouch ledger list --all` shows the numbers"
            .to_owned()),
    }
}

fn programs() -> impl TypedValueParser<Value = Program> {
    PossibleValuesParser::new(Program::ALL.map(Program::name)).try_map(program)
}

fn program(name: String) -> Result<Program, String> {
    Program::ALL
        .into_iter()
        .find(|program| program.name() == name)
        .ok_or(name)
}

fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::name)).try_map(state)
}

fn state(name: String) -> Result<State, String> {
    State::ALL
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or(name)
}
