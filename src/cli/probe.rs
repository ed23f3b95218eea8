//! Tests whether messages can be delivered, without delivering any.

use std::{io, path::Path};

use crate::{
    config::Account,
    delivery::{Maildir, Mbox},
    domain::{
        destination::{Destination, LmtpServer},
        size::ByteSize,
    },
    error::{Error, Kind, Result},
    fetch::{destinations, env::RunEnv},
    sys::{files, owner, process},
    text::tilde,
};

/// Tests a destination of the account. Returns its description.
///
/// # Errors
/// No message can be delivered to it.
pub(super) fn destination(
    destination: &Destination,
    account: &Account,
    env: &RunEnv,
) -> Result<String> {
    let shown = env.describe(destination);
    match destination {
        Destination::Maildir(path) => owner::check_destination(path)?,
        Destination::Mbox(path) => owner::check_mailbox_file(path)?,
        Destination::Pipe(_) | Destination::Lmtp(..) | Destination::Stdout => {}
    }
    match destination {
        Destination::Pipe(argv) => program(argv, "pipe", env)
            .map(|name| format!("{name}, gets each message on standard input")),
        Destination::Maildir(path) => {
            if !Maildir::exists(path)? {
                return check_creatable(path).map(|()| format!("{shown}, will be created"));
            }
            for part in ["tmp", "new"] {
                writable(&path.join(part))?;
            }
            Ok(format!("{shown}, writable{}", free(path)))
        }
        Destination::Mbox(path) => {
            let mbox = destinations::mbox(path, &env.offline_file(account)?, env)?;
            if !path.exists() {
                let created = files::creation_path(path, "write to")?;
                return check_creatable(&created).map(|()| format!("{shown}, will be created"));
            }
            Mbox::test_disk(path).map_err(|error| Error::file("write to", path, &error))?;
            let locks = if mbox.try_locks()? {
                "locked by fcntl and dot lock".into()
            } else {
                let folder = path.parent().unwrap_or(Path::new("/"));
                format!(
                    "locked by fcntl alone: no dot lock can be created in {}",
                    tilde(folder, &env.home)
                )
            };
            Ok(format!("{shown}, writable, {locks}{}", free(path)))
        }
        Destination::Lmtp(server, recipients) => {
            let offers = destinations::lmtp(server, account, env).offers()?;
            let found = gets_found_addresses(server, account)
                .then_some("the addresses that multidrop finds");
            let names: Vec<_> = recipients.iter().map(String::as_str).chain(found).collect();
            Ok(format!(
                "{shown}, offers {offers}; for {}",
                names.join(", ")
            ))
        }
        Destination::Stdout => Ok(shown),
    }
}

/// Returns whether multidrop delivers to the addresses that it finds, at this server.
fn gets_found_addresses(server: &LmtpServer, account: &Account) -> bool {
    let mut recipients = account
        .routing
        .multidrop
        .iter()
        .flat_map(|multidrop| &multidrop.recipients);
    recipients.any(|(_, destination)| matches!(destination, Destination::Lmtp(named, own) if named == server && own.is_empty()))
}

/// Searches the program that `key` of the config names. Returns the command.
///
/// # Errors
/// The program does not exist, or is not executable.
pub(super) fn program(argv: &[String], key: &str, env: &RunEnv) -> Result<String> {
    let shown = format!("`{}`", process::program(argv));
    let name = Path::new(argv.first().map_or("", String::as_str));
    if executable(name, env.path.as_deref()) {
        return Ok(shown);
    }
    let (what, kind) = if name.is_file() {
        (
            format!("{shown} is not executable"),
            io::ErrorKind::PermissionDenied,
        )
    } else {
        (
            format!("program {shown} not found"),
            io::ErrorKind::NotFound,
        )
    };
    let usual = format!("a command of `{key}` is a list: the program and its arguments");
    let hint = process::start_hint(argv, &kind.into(), &usual);
    Err(Error::new(Kind::Config, what).with_hint(hint))
}

/// Checks that `path` can be created, in the nearest directory that exists. Since permissions do
/// not show that for /proc and the like, a file without a name is created there.
fn check_creatable(path: &Path) -> Result<()> {
    let nearest = path
        .ancestors()
        .find(|nearest| nearest.exists())
        .unwrap_or(Path::new("/"));
    tempfile::tempfile_in(nearest).map(drop).map_err(|error| {
        Error::file("create", path, &error)
            .with_fact(format!("nothing can be created in {}", nearest.display()))
    })
}

/// Returns the free space on the disk of `path`, or an empty string if it is unknown.
fn free(path: &Path) -> String {
    let free = rustix::fs::statvfs(path).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    free.map(|octets| format!(", {} free", ByteSize::from_octets(octets).rounded()))
        .unwrap_or_default()
}

fn writable(path: &Path) -> Result<()> {
    rustix::fs::access(
        path,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .map_err(|error| Error::file("write to", path, &error.into()))
}

/// Returns whether a program can be run: a path, or a name that is searched in `path`.
pub(super) fn executable(name: &Path, path: Option<&std::ffi::OsStr>) -> bool {
    let runs = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if name.components().count() > 1 {
        return runs(name);
    }
    path.is_some_and(|path| std::env::split_paths(path).any(|folder| runs(&folder.join(name))))
}
