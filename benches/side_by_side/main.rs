//! pouch beside other fetchers and beside what the machine allows, against a Dovecot of our own on
//! loopback.
//!
//! ```text
//! apt-get install mpop fdm getmail6 fetchmail procmail strace
//! cargo bench --bench side_by_side
//! cargo bench --bench side_by_side -- --only small,poll --line clear --tools pouch,mpop --rounds 3
//! ```
//!
//! Root is needed: the server runs in namespaces of its own (`tests/servers`), the clients as
//! nobody. A client that is not installed is named and left out.
//!
//! | `--only` | what | lines |
//! | --- | --- | --- |
//! | `small` | 5,000 messages of 4 KB (over the slow line 200) | all |
//! | `mixed` | 1,000 messages, 100 MB in all, most small and some of 1 to 5 MB | clear, tls |
//! | `huge` | 3 messages of 50 MB | clear, tls |
//! | `startup` | 1,000 known messages, nothing new: what a run costs in any case | clear, tls, system |
//! | `poll` | 50,000 known messages: nothing new, then one | all |
//! | `growth` | 1,000, 10,000 and 100,000 known messages, nothing new (only when asked for) | clear |
//! | `accounts` | 200 accounts of pouch on four host names, in one run (only when asked for) | clear |
//!
//! Over TLS the clients are told the server's authority; on the line `system` they have to find it
//! among those of the machine, as users do.
//!
//! Each run starts with an empty Maildir in a folder of its own after a `sync`; the tools take
//! turns, and each round begins with another. What arrived is held against hashes: a run that
//! fails, or loses or changes mail, is told and does not count ("runs"). For a poll each tool
//! begins with what it remembers of its own first fetch. "CPU" is user and system of the whole tree
//! of processes, "peak" the memory of the largest one. Calls of fsync and its like are counted by
//! `strace`, in a run that is not timed.
//!
//! The raw limit ([`limit`]) is a minimal client: "wire" throws the mail away, "disk" stores it,
//! made safe in batches of 128. Of a poll it fetches the list of UIDs.
//!
//! Everything lies below `--dir` (`/var/tmp`; a disk, not memory), takes up to 40 GB there, and
//! goes at the end. Wait five minutes before the next start: until then ext4 is slow to make files.

#![allow(clippy::too_many_lines, reason = "a list of rounds, and of programs")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints tables"
)]

mod gauge;
mod limit;
mod mailbox;
mod rounds;
mod server;
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

/// What is measured.
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

/// pouch beside other fetchers, and beside what the machine allows.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "small,mixed,huge,startup,poll"
    )]
    only: Vec<Suite>,
    /// Over which lines.
    #[arg(long, value_delimiter = ',', default_value = "clear,tls,system,rtt")]
    line: Vec<Line>,
    /// Which clients.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pouch,mpop,fdm,getmail,fetchmail,wire,disk"
    )]
    tools: Vec<Tool>,
    /// Leave the other fetchers out.
    #[arg(long)]
    peer_less: bool,
    /// How often each runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Divides how many messages there are: for a look at whether all works.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    divide: u16,
    /// A folder on the disk to measure.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// What cargo says to a benchmark, and not to a test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    match words.first().and_then(|word| word.to_str()) {
        Some("gauge") => print!("{}", gauge::main(&words[1..])?),
        Some("limit") => limit(&words[1..])?,
        _ if words
            .iter()
            .any(|word| word == "--bench" || word == "--help") =>
        {
            measure(Args::parse())?;
        }
        _ => println!("cargo bench runs it"),
    }
    Ok(())
}

/// The raw limit as a client: PORT USER MODE MAILDIR [CA].
fn limit(words: &[OsString]) -> Result<()> {
    let word = |n: usize| {
        words
            .get(n)
            .and_then(|word| word.to_str())
            .context("a word is missing")
    };
    let mode = match word(2)? {
        "list" => Mode::List,
        "discard" => Mode::Discard,
        _ => Mode::Store(word(3)?.into()),
    };
    limit::run(
        word(0)?.parse()?,
        words.get(4).map(Path::new),
        word(1)?,
        &mode,
    )?;
    Ok(())
}

fn measure(args: Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("needs root: the server runs in namespaces of its own, and the clients as nobody");
    }
    let mut tools = args.tools;
    tools.retain(|tool| *tool == Tool::Pouch || tool.is_limit() || !args.peer_less);
    for tool in &tools {
        if let Some(program) = tool.missing() {
            eprintln!("{tool} is left out: {program} is not installed");
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
    let title = format!("{count} messages, {} MB", mailbox.octets / 1_000_000);
    Ok(lines
        .iter()
        .map(|line| rounds.fetches(&title, *line, &mailbox))
        .collect())
}
