//! The places where an account's messages go.

use std::path::Path;

use super::World;
use crate::{
    config::Account,
    delivery::{Delivery, Line, Lmtp, Maildir, Mbox, MboxSurroundings, Pipe, Post, Stdout},
    domain::destination::{Destination, LmtpServer},
    error::Result,
    ledger::MaildirNow,
    net::{dial, dial_local},
};

/// All places of the account, made where they are missing.
///
/// # Errors
/// One cannot be made, or something else is there.
pub fn open(account: &Account, world: &World) -> Result<Post> {
    let open = |place: &Destination| -> Result<Box<dyn Delivery>> {
        let spool = world.state_dir.clone();
        Ok(match place {
            Destination::Maildir(path) => Box::new(Maildir::open(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, account, world)?),
            Destination::Pipe(argv) => {
                Box::new(Pipe::new(argv, account.pipe_timeout.into(), spool))
            }
            Destination::Lmtp(server, _) => Box::new(lmtp(server, account, world)),
            Destination::Stdout => Box::new(Stdout::new(spool, world.clock)),
        })
    };
    let places = account
        .all_places()
        .into_iter()
        .map(|place| open(&place).map(|delivery| (place, delivery)));
    Ok(Post::new(
        places.collect::<Result<_>>()?,
        world.state_dir.clone(),
    ))
}

/// Those places of the account that can be looked at, to do that: nothing is made.
///
/// # Errors
/// Something else is there.
pub fn as_it_is(account: &Account, world: &World) -> Result<Post> {
    let mut places: Vec<(Destination, Box<dyn Delivery>)> = Vec::new();
    for place in account.all_places() {
        let delivery: Box<dyn Delivery> = match &place {
            Destination::Maildir(path) => Box::new(Maildir::as_it_is(path)?),
            Destination::Mbox(path) => Box::new(mbox(path, account, world)?),
            Destination::Pipe(_) | Destination::Lmtp(..) | Destination::Stdout => continue,
        };
        places.push((place, delivery));
    }
    Ok(Post::new(places, world.state_dir.clone()))
}

/// Those places of the account that are Maildirs, as they lie there now.
pub fn maildirs(account: &Account) -> Vec<MaildirNow> {
    let maildir = |place: Destination| match &place {
        Destination::Maildir(root) => Some(MaildirNow {
            name: place.to_string(),
            made: Maildir::made(root),
        }),
        _ => None,
    };
    account
        .all_places()
        .into_iter()
        .filter_map(maildir)
        .collect()
}

/// The mailbox file at `path`.
///
/// # Errors
/// Something else lies there.
pub fn mbox(path: &Path, account: &Account, world: &World) -> Result<Mbox> {
    let around = MboxSurroundings {
        state_dir: world.state_dir.clone(),
        host: world.birth.host.clone(),
        clock: world.clock,
        stop: world.stop.clone(),
    };
    Mbox::open(path, &account.identity(), around)
}

/// The LMTP server; nobody connects yet.
pub fn lmtp(server: &LmtpServer, account: &Account, world: &World) -> Lmtp {
    let (budget, timeout) = (account.connect_timeout.into(), account.pipe_timeout.into());
    let (wanted, stop) = (server.clone(), world.stop.clone());
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
        &world.birth.host,
        world.state_dir.clone(),
        Box::new(connect),
    )
}
