//! Compares pouch with other POP3 clients and with the raw limit of the machine, against a private
//! Dovecot on loopback.
//!
//! ```text
//! apt-get install mpop fdm getmail6 fetchmail procmail strace
//! cargo bench --bench side_by_side
//! cargo bench --bench side_by_side -- --only small,poll --line clear --tools pouch,mpop --rounds 3
//! ```
//!
//! This needs root: the server runs in its own namespaces (`tests/servers`), the clients run as
//! `nobody`. Clients that are not installed are reported and left out.
//!
//! | `--only` | measures | lines |
//! | --- | --- | --- |
//! | `small` | 5,000 messages of 4 KB (200 over the slow line) | all |
//! | `mixed` | 1,000 messages, 100 MB in total, most small, some of 1 to 5 MB | clear, tls |
//! | `huge` | 3 messages of 50 MB | clear, tls |
//! | `startup` | 1,000 known messages, nothing new: the fixed cost of a run | clear, tls, system |
//! | `poll` | 50,000 known messages: nothing new, then one | all |
//! | `growth` | 1,000, 10,000 and 100,000 known messages, nothing new (only on request) | clear |
//! | `accounts` | 200 accounts of pouch on four host names, in one run (only on request) | clear |
//!
//! On the line `tls` the configuration of each client names the server's CA; on the line `system`
//! the clients have to find it among the CAs of the machine, as they do for most users.
//!
//! Each run starts after a `sync` with an empty Maildir in a new directory. The tools take turns,
//! and each round begins with a different one. Delivered messages are verified by their hashes: a
//! run that fails, loses mail or changes it is reported and not counted ("runs"). For a poll each
//! tool starts with the state of its own first fetch. "CPU" is user plus system time of all
//! processes, "peak" the memory of the largest process. Calls of fsync and similar functions are
//! counted by `strace` in a separate run that is not timed.
//!
//! The raw limit ([`limit`]) is a minimal client: "wire" discards the messages, "disk" stores them
//! durably in batches of 128. In a poll it fetches only the list of UIDs.
//!
//! All files are below `--dir` (`/var/tmp`; it should be a disk, not memory), take up to 40 GB, and
//! are removed at the end. Wait five minutes before the next start: until then ext4 creates files
//! slowly.

#![allow(clippy::too_many_lines, reason = "lists of rounds and of programs")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its results"
)]

#[path = "../dovecot/mod.rs"]
mod dovecot;
mod environment;
mod gauge;
mod limit;
mod mailbox;
mod rounds;
mod slow_line;
mod table;
mod tool;

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use limit::Mode;
use mailbox::Sizes;
use rounds::{Line, Rounds};
use table::Table;
use tool::Tool;

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    Small,
    Mixed,
    Huge,
    Startup,
    Poll,
    Growth,
    Accounts,
}

/// Compares pouch with other POP3 clients and with the raw limit of the machine.
#[derive(Debug, Parser)]
struct Args {
    /// Measure these.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "small,mixed,huge,startup,poll"
    )]
    only: Vec<Suite>,
    /// Measure over these lines.
    #[arg(long, value_delimiter = ',', default_value = "clear,tls,system,rtt")]
    line: Vec<Line>,
    /// Measure these clients.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pouch,mpop,fdm,getmail,fetchmail,wire,disk"
    )]
    tools: Vec<Tool>,
    /// Leave out all other POP3 clients.
    #[arg(long)]
    peer_less: bool,
    /// Number of runs of each client.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Divide the number of messages by this, for a quick test.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    divide: u16,
    /// Work in this directory, which is on the disk to measure.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Passed by `cargo bench`, but not by `cargo test`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match args.first().and_then(|arg| arg.to_str()) {
        Some("gauge") => print!("{}", gauge::main(&args[1..])?),
        Some("limit") => limit(&args[1..])?,
        _ if args.iter().any(|arg| arg == "--bench" || arg == "--help") => {
            measure(Args::parse())?;
        }
        _ => println!("run this with `cargo bench`"),
    }
    Ok(())
}

/// Runs the raw limit as a client with the arguments PORT USER MODE MAILDIR [CA].
fn limit(args: &[OsString]) -> Result<()> {
    let arg = |n: usize| {
        args.get(n)
            .and_then(|arg| arg.to_str())
            .with_context(|| format!("argument {} is missing", n + 1))
    };
    let mode = match arg(2)? {
        "list" => Mode::List,
        "discard" => Mode::Discard,
        _ => Mode::Store(arg(3)?.into()),
    };
    limit::run(arg(0)?.parse()?, args.get(4).map(Path::new), arg(1)?, &mode)?;
    Ok(())
}

fn measure(args: Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("needs root: the server runs in its own namespaces, and the clients run as `nobody`");
    }
    let mut tools = args.tools;
    tools.retain(|tool| *tool == Tool::Pouch || tool.is_limit() || !args.peer_less);
    for tool in &tools {
        if let Some(program) = tool.missing() {
            eprintln!("leaving out {tool}: {program} is not installed");
        }
    }
    tools.retain(|tool| tool.missing().is_none());

    let work = tempfile::Builder::new()
        .prefix("pouch-bench-")
        .tempdir_in(&args.dir)?;
    fs::set_permissions(work.path(), PermissionsExt::from_mode(0o755))?;
    let mut rounds = Rounds::new(work.path().to_owned(), tools, args.rounds.into())?;
    let count = |count: usize| (count / usize::from(args.divide)).max(1);
    let quick: Vec<Line> = args
        .line
        .iter()
        .copied()
        .filter(|line| !matches!(line, Line::System | Line::Rtt))
        .collect();
    for suite in args.only {
        let tables = match suite {
            Suite::Small => {
                let mut tables = fetches(&mut rounds, "small", Sizes::Small, count(5000), &quick)?;
                if args.line.contains(&Line::Rtt) {
                    tables.extend(fetches(
                        &mut rounds,
                        "few",
                        Sizes::Small,
                        count(200),
                        &[Line::Rtt],
                    )?);
                }
                tables
            }
            Suite::Mixed => fetches(&mut rounds, "mixed", Sizes::Mixed, count(1000), &quick)?,
            Suite::Huge => fetches(&mut rounds, "huge", Sizes::Huge, 3, &quick)?,
            Suite::Startup => {
                let mailbox = rounds.mailbox("startup", Sizes::Tiny, count(1000))?;
                let mut lines = args.line.clone();
                lines.retain(|line| *line != Line::Rtt);
                rounds.polls(&lines, mailbox, false)?
            }
            Suite::Poll => {
                let mailbox = rounds.mailbox("poll", Sizes::Tiny, count(50_000))?;
                rounds.polls(&args.line, mailbox, true)?
            }
            Suite::Growth => {
                let mut tables = Vec::new();
                for known in [1000, 10_000, 100_000] {
                    let mailbox =
                        rounds.mailbox(&format!("known{known}"), Sizes::Tiny, count(known))?;
                    tables.extend(rounds.polls(&[Line::Clear], mailbox, false)?);
                }
                tables
            }
            Suite::Accounts => vec![rounds.accounts(count(200))?],
        };
        for table in tables {
            print!("{table}");
        }
    }
    match rounds.failures {
        0 => Ok(()),
        failed => bail!("{failed} runs failed"),
    }
}

fn fetches(
    rounds: &mut Rounds,
    user: &str,
    sizes: Sizes,
    count: usize,
    lines: &[Line],
) -> Result<Vec<Table>> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let mailbox = rounds.mailbox(user, sizes, count)?;
    let title = format!("{count} messages, {} MB", mailbox.bytes / 1_000_000);
    Ok(lines
        .iter()
        .map(|line| rounds.fetches(&title, *line, &mailbox))
        .collect())
}
