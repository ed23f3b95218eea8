//! Opening the destinations of an account.

use std::path::Path;

use super::env::RunEnv;
use crate::{
    config::Account,
    delivery::{
        Changes, Delivery, Lmtp, LmtpStream, Maildir, Mbox, MboxOptions, Pipe, Router, Stdout,
    },
    domain::destination::{Destination, LmtpServer},
    error::Result,
    ledger::{LedgerFile, MaildirState, SeenMaildir},
    net::{dial, dial_local},
};

/// Opens all destinations of the account, whose ledger is `file`, and creates missing Maildirs.
///
/// # Errors
/// One cannot be created, or the path is something else.
pub fn open(account: &Account, env: &RunEnv, file: &LedgerFile) -> Result<Router> {
    let open = |destination: &Destination| -> Result<Box<dyn Delivery>> {
        let spool = env.state_dir.clone();
        Ok(match destination {
            Destination::Maildir(path) => Box::new(Maildir::open(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, file, env)?),
            Destination::Pipe(argv) => {
                Box::new(Pipe::new(argv, account.pipe_timeout.into(), spool))
            }
            Destination::Lmtp(server, _) => Box::new(lmtp(server, account, env)),
            Destination::Stdout => Box::new(Stdout::new(spool, env.clock)),
        })
    };
    let deliveries = account
        .routing
        .all()
        .into_iter()
        .map(|destination| open(&destination).map(|delivery| (destination, delivery)));
    Ok(Router::new(
        deliveries.collect::<Result<_>>()?,
        env.state_dir.clone(),
    ))
}

/// Opens the destinations of the account whose messages can be listed, without creating anything.
///
/// # Errors
/// The path of one of them is something else.
pub fn open_existing(account: &Account, env: &RunEnv, file: &LedgerFile) -> Result<Router> {
    let mut deliveries: Vec<(Destination, Box<dyn Delivery>)> = Vec::new();
    for destination in account.routing.all() {
        let delivery: Box<dyn Delivery> = match &destination {
            Destination::Maildir(path) => Box::new(Maildir::open_existing(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, file, env)?),
            Destination::Pipe(_) | Destination::Lmtp(..) | Destination::Stdout => continue,
        };
        deliveries.push((destination, delivery));
    }
    Ok(Router::new(deliveries, env.state_dir.clone()))
}

/// Returns the Maildirs of the account, with their creation times.
pub fn maildirs(account: &Account) -> Vec<MaildirState> {
    let maildir = |destination: Destination| match &destination {
        Destination::Maildir(root) => Some(MaildirState {
            name: destination.to_string(),
            created_at: Maildir::created_at(root),
        }),
        _ => None,
    };
    account
        .routing
        .all()
        .into_iter()
        .filter_map(maildir)
        .collect()
}

/// Returns the Maildirs of the account in their current state.
pub fn seen_maildirs(account: &Account) -> Vec<SeenMaildir> {
    let maildir = |destination: Destination| match &destination {
        Destination::Maildir(root) => {
            let Changes { new, cur, last } = Maildir::changes(root);
            Some(SeenMaildir {
                name: destination.to_string(),
                new_modified: new,
                cur_modified: cur,
                changed: last,
            })
        }
        _ => None,
    };
    let destinations = account.routing.all();
    destinations.into_iter().filter_map(maildir).collect()
}

/// Opens the mbox file at `path`, to which the mailbox with the ledger `file` is delivered.
///
/// # Errors
/// The path is something else.
pub fn mbox(path: &Path, file: &LedgerFile, env: &RunEnv) -> Result<Mbox> {
    let options = MboxOptions {
        state_dir: env.state_dir.clone(),
        host: env.hostname.clone(),
        clock: env.clock,
        stop: env.stop.clone(),
    };
    Mbox::open(path, file.key(), options)
}

/// Returns the LMTP server as a destination, without connecting.
pub fn lmtp(server: &LmtpServer, account: &Account, env: &RunEnv) -> Lmtp {
    let (budget, timeout) = (account.connect_timeout.into(), account.pipe_timeout.into());
    let (address, stop) = (server.clone(), env.stop.clone());
    let connect = move || -> Result<Box<dyn LmtpStream>> {
        Ok(match &address {
            LmtpServer::Unix(path) => Box::new(dial_local(path, budget, timeout, &stop)?),
            LmtpServer::Tcp { host, port } => Box::new(dial(host, *port, budget, timeout, &stop)?),
        })
    };
    Lmtp::new(
        server.clone(),
        &env.hostname,
        env.state_dir.clone(),
        Box::new(connect),
    )
}
