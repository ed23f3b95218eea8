//! Measures runs of many accounts over TLS, against a responder on loopback or against Dovecot.
//!
//! ```text
//! cargo bench --bench many_accounts -- --accounts 10000 --jobs 64
//! cargo bench --bench many_accounts -- --accounts 1000 --server dovecot --peers
//! cargo bench --bench many_accounts -- --accounts 1000 --strace
//! ```
//!
//! Three runs are measured: the first one, which fetches one message per account; one in which
//! nothing is new; and one in which 1 % of the accounts have a new message. `--rounds` repeats the
//! latter two; the medians are printed at the end. With `--strace`, the calls of fsync and similar
//! functions of each run are counted instead, which slows the runs down.
//!
//! With `--peers`, other clients ([`peers`]) poll the same accounts in the same rounds: in one
//! process, and in one process per account ("each"), of which `--jobs` run at the same time.
//! `--only fetchmail,mpop-each` selects some of them. A client that runs longer than `--limit`
//! seconds is ended, with exit status 124.
//!
//! With `--seed`, there is no first run: each ledger is a copy of that of the first account, which
//! has fetched one message. For 10,000 accounts, that saves many minutes.
//!
//! The responder ([`responder`]) is a minimal POP3 server in this process: it needs little more
//! than the TLS handshake, so that the client is what is measured. Dovecot needs root. Both share
//! the processors with the client, so that the CPU time of the client is the more exact figure.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its results"
)]

mod client;
#[path = "../dovecot/mod.rs"]
mod dovecot;
mod mailboxes;
mod peers;
mod responder;

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use client::{Client, Usage};

/// The options of the command line.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    accounts: usize,
    jobs: usize,
    rounds: usize,
    dovecot: bool,
    peers: bool,
    only: Vec<String>,
    limit: u32,
    strace: bool,
    seed: bool,
    pouch: PathBuf,
    dir: PathBuf,
}

fn options() -> Result<Options> {
    let mut options = Options {
        accounts: 1_000,
        jobs: 64,
        rounds: 1,
        dovecot: false,
        peers: false,
        only: Vec::new(),
        limit: 600,
        strace: false,
        seed: false,
        pouch: env!("CARGO_BIN_EXE_pouch").into(),
        dir: "/var/tmp/pouch-many-accounts".into(),
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--accounts" => options.accounts = value()?.parse()?,
            "--jobs" => options.jobs = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--pouch" => options.pouch = value()?.into(),
            "--dir" => options.dir = value()?.into(),
            "--server" => options.dovecot = value()? == "dovecot",
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--limit" => options.limit = value()?.parse()?,
            "--peers" => options.peers = true,
            "--seed" => options.seed = true,
            "--strace" => options.strace = true,
            // from cargo
            "--bench" => {}
            _ => bail!("unknown option {argument}"),
        }
    }
    Ok(options)
}

/// A server whose mailboxes get messages.
trait Mailboxes {
    /// Returns the port for TLS.
    fn port(&self) -> u16;
    /// Returns the path of the certificate of its authority.
    fn authority(&self) -> PathBuf;
    /// Adds a message to each of these mailboxes.
    fn add(&mut self, accounts: &mut dyn Iterator<Item = usize>) -> Result<()>;
}

fn main() -> Result<()> {
    let options = options()?;
    let _ = fs::remove_dir_all(&options.dir);
    fs::create_dir_all(&options.dir)?;
    let mut server: Box<dyn Mailboxes> = if options.dovecot {
        Box::new(mailboxes::Dovecot::start(&options)?)
    } else {
        Box::new(responder::Responder::start(&options)?)
    };
    server.add(&mut (0..options.accounts))?;
    let client = Client::new(&options, server.as_ref())?;
    let load = fs::read_to_string("/proc/loadavg")?;
    println!(
        "{} accounts, {} jobs, load {}",
        options.accounts,
        options.jobs,
        load.trim()
    );
    let peers = if options.peers {
        client.peers(server.as_ref())?
    } else {
        Vec::new()
    };
    let mut runs = Runs {
        options: &options,
        usages: BTreeMap::new(),
    };
    if options.seed {
        client.seed(server.port())?;
    } else {
        runs.add("first run", "pouch", client.fetch()?);
    }
    for (name, command) in &peers {
        runs.add("first run", name, client.poll(command)?);
    }
    for _ in 0..options.rounds {
        for run in ["nothing new", "1 % new"] {
            if run == "1 % new" {
                server.add(&mut (0..options.accounts).step_by(100))?;
            }
            runs.add(run, "pouch", client.fetch()?);
            for (name, command) in &peers {
                runs.add(run, name, client.poll(command)?);
            }
        }
    }
    runs.print_medians();
    drop(server);
    fs::remove_dir_all(&options.dir)?;
    Ok(())
}

/// The runs that were measured.
struct Runs<'a> {
    options: &'a Options,
    /// The runs by kind and by name of the client.
    usages: BTreeMap<(&'static str, &'static str), Vec<Usage>>,
}

impl Runs<'_> {
    /// Adds a run, and prints it.
    fn add(&mut self, run: &'static str, client: &'static str, usage: Usage) {
        self.print(run, client, &usage);
        self.usages.entry((run, client)).or_default().push(usage);
    }

    /// Prints the median of each kind of run that was repeated.
    fn print_medians(&self) {
        if self.options.rounds < 2 {
            return;
        }
        println!("medians of wall and CPU time:");
        for ((run, client), usages) in &self.usages {
            let median = |value: &dyn Fn(&Usage) -> Duration| {
                let mut values: Vec<_> = usages.iter().map(value).collect();
                values.sort_unstable();
                values[values.len() / 2]
            };
            let usage = Usage {
                wall: median(&|usage| usage.wall),
                cpu: median(&|usage| usage.cpu),
                ..usages[0]
            };
            self.print(run, client, &usage);
        }
    }

    fn print(&self, run: &str, client: &str, usage: &Usage) {
        let Usage {
            wall,
            cpu,
            memory,
            files,
            syncs,
            code,
        } = usage;
        let per_second = |time: &Duration| {
            let accounts = u32::try_from(self.options.accounts).unwrap_or(u32::MAX);
            f64::from(accounts) / time.as_secs_f64()
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        println!(
            "{run:11} {client:14} {:7.1} s  cpu {:6.1} s  {:6.0} accounts/s, {:5.0} per core  \
             {:5.1} MiB  {files:5} files  {} syncs  exit {code}  load {load}",
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            per_second(wall),
            per_second(cpu),
            f64::from(u32::try_from(*memory).unwrap_or(u32::MAX)) / 1024.0,
            syncs.map_or("-".to_owned(), |syncs| syncs.to_string()),
        );
    }
}
