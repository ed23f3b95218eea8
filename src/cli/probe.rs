//! Whether messages can be delivered, found out without delivering any.

use std::path::Path;

use crate::{
    config::Account,
    delivery::Maildir,
    domain::{
        destination::{Destination, LmtpServer},
        size::ByteSize,
    },
    error::{Error, Kind, Result},
    fetch::{destinations as places, env::RunEnv},
    sys::process,
    text::tilde,
};

/// Tries a place of the account; says what is known of it.
///
/// # Errors
/// No message can be delivered there.
pub(super) fn destination(
    destination: &Destination,
    account: &Account,
    env: &RunEnv,
) -> Result<String> {
    let shown = env.describe(destination);
    match destination {
        Destination::Pipe(argv) => program(argv, "pipe", env)
            .map(|name| format!("{name}, gets each message on standard input")),
        Destination::Maildir(path) => {
            if !Maildir::exists(path)? {
                return makeable(path).map(|()| format!("{shown}, will be made"));
            }
            for part in ["tmp", "new"] {
                writable(&path.join(part))?;
            }
            Ok(format!("{shown}, writable{}", free(path)))
        }
        Destination::Mbox(path) => {
            let mbox = places::mbox(path, account, env)?;
            if !path.exists() {
                return makeable(path).map(|()| format!("{shown}, will be made"));
            }
            let locks = if mbox.try_locks()? {
                "locked by fcntl and dot lock".into()
            } else {
                let folder = path.parent().unwrap_or(Path::new("/"));
                format!(
                    "locked by fcntl alone: no dot lock can be made in {}",
                    tilde(folder, &env.home)
                )
            };
            Ok(format!("{shown}, writable, {locks}{}", free(path)))
        }
        Destination::Lmtp(server, recipients) => {
            let offers = places::lmtp(server, account, env).offers()?;
            let itself = is_told_the_address(server, account).then_some("the addresses themselves");
            let names: Vec<_> = recipients
                .iter()
                .map(String::as_str)
                .chain(itself)
                .collect();
            Ok(format!(
                "{shown}, offers {offers}; for {}",
                names.join(", ")
            ))
        }
        Destination::Stdout => Ok(shown),
    }
}

/// Whether multidrop has this server told of the addresses that it finds.
fn is_told_the_address(server: &LmtpServer, account: &Account) -> bool {
    let mut recipients = account
        .routing
        .multidrop
        .iter()
        .flat_map(|multidrop| &multidrop.recipients);
    recipients.any(|(_, destination)| matches!(destination, Destination::Lmtp(named, nobody) if named == server && nobody.is_empty()))
}

/// Looks for the program that `key` of the config names; gives how it is called.
///
/// # Errors
/// It is not there, or cannot be run.
pub(super) fn program(argv: &[String], key: &str, env: &RunEnv) -> Result<String> {
    let shown = format!("`{}`", argv.join(" "));
    if argv
        .first()
        .is_some_and(|name| executable(Path::new(name), env.path.as_deref()))
    {
        return Ok(shown);
    }
    Err(
        Error::new(Kind::Config, format!("there is no program {shown}")).with_hint(
            process::command_hint(
                argv,
                &format!("a command of `{key}` is a list, the program and its arguments"),
            ),
        ),
    )
}

/// Whether what is not there yet can be made, in the nearest folder that is. Permissions do not
/// tell that of /proc and its like: it is tried, with a file that has no name.
fn makeable(path: &Path) -> Result<()> {
    let nearest = path
        .ancestors()
        .find(|nearest| nearest.exists())
        .unwrap_or(Path::new("/"));
    tempfile::tempfile_in(nearest).map(drop).map_err(|error| {
        Error::file("make", path, &error)
            .with_fact(format!("nothing can be made in {}", nearest.display()))
    })
}

/// The room on the disk of `path`, where that can be told.
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

fn executable(name: &Path, path: Option<&std::ffi::OsStr>) -> bool {
    let runs = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if name.components().count() > 1 {
        return runs(name);
    }
    path.is_some_and(|path| std::env::split_paths(path).any(|folder| runs(&folder.join(name))))
}
