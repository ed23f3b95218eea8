//! The places where an account's messages go.

use std::path::Path;

use super::env::RunEnv;
use crate::{
    config::Account,
    delivery::{Delivery, Line, Lmtp, Maildir, Mbox, MboxOptions, Pipe, Router, Stdout},
    domain::destination::{Destination, LmtpServer},
    error::Result,
    ledger::MaildirState,
    net::{dial, dial_local},
};

/// All places of the account, made where they are missing.
///
/// # Errors
/// One cannot be made, or something else is there.
pub fn open(account: &Account, env: &RunEnv) -> Result<Router> {
    let open = |place: &Destination| -> Result<Box<dyn Delivery>> {
        let spool = env.state_dir.clone();
        Ok(match place {
            Destination::Maildir(path) => Box::new(Maildir::open(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, account, env)?),
            Destination::Pipe(argv) => {
                Box::new(Pipe::new(argv, account.pipe_timeout.into(), spool))
            }
            Destination::Lmtp(server, _) => Box::new(lmtp(server, account, env)),
            Destination::Stdout => Box::new(Stdout::new(spool, env.clock)),
        })
    };
    let places = account
        .routing
        .all()
        .into_iter()
        .map(|place| open(&place).map(|delivery| (place, delivery)));
    Ok(Router::new(
        places.collect::<Result<_>>()?,
        env.state_dir.clone(),
    ))
}

/// Those places of the account that can be looked at, to do that: nothing is made.
///
/// # Errors
/// Something else is there.
pub fn open_existing(account: &Account, env: &RunEnv) -> Result<Router> {
    let mut places: Vec<(Destination, Box<dyn Delivery>)> = Vec::new();
    for place in account.routing.all() {
        let delivery: Box<dyn Delivery> = match &place {
            Destination::Maildir(path) => Box::new(Maildir::open_existing(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, account, env)?),
            Destination::Pipe(_) | Destination::Lmtp(..) | Destination::Stdout => continue,
        };
        places.push((place, delivery));
    }
    Ok(Router::new(places, env.state_dir.clone()))
}

/// Those places of the account that are Maildirs, as they lie there now.
pub fn maildirs(account: &Account) -> Vec<MaildirState> {
    let maildir = |place: Destination| match &place {
        Destination::Maildir(root) => Some(MaildirState {
            name: place.to_string(),
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

/// The mailbox file at `path`.
///
/// # Errors
/// Something else lies there.
pub fn mbox(path: &Path, account: &Account, env: &RunEnv) -> Result<Mbox> {
    let around = MboxOptions {
        state_dir: env.state_dir.clone(),
        host: env.hostname.clone(),
        clock: env.clock,
        stop: env.stop.clone(),
    };
    Mbox::open(path, &account.identity(), around)
}

/// The LMTP server; nobody connects yet.
pub fn lmtp(server: &LmtpServer, account: &Account, env: &RunEnv) -> Lmtp {
    let (budget, timeout) = (account.connect_timeout.into(), account.pipe_timeout.into());
    let (wanted, stop) = (server.clone(), env.stop.clone());
    let connect = move || {
        let line: Result<Box<dyn Line>> = match &wanted {
            LmtpServer::Unix(path) => {
                dial_local(path, budget, timeout, &stop).map(|line| Box::new(line) as Box<dyn Line>)
            }
            LmtpServer::Tcp { host, port } => dial(host, *port, budget, timeout, &stop)
                .map(|line| Box::new(line) as Box<dyn Line>),
        };
        line
    };
    Lmtp::new(
        server.clone(),
        &env.hostname,
        env.state_dir.clone(),
        Box::new(connect),
    )
}
