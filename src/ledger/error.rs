//! Translation of SQLite errors into messages for the user.

use std::{io, path::Path};

use rusqlite::{ErrorCode, ffi};
use rustix::io::Errno;

use crate::error::{Error, Kind};

/// The hint for a ledger that cannot be read.
///
/// SQLite reports "malformed" for a damaged database and also for some read errors of the disk, so
/// the hint begins with the disk.
pub const REPLACE_HINT: &str = "check the disk and try again; if the error persists, move the \
    ledger away: pouch creates a new one and fetches all mail still on the server again";

/// Creates the error for an SQLite error in the ledger at `path`.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> Error {
    let system = io::Error::last_os_error();
    let shown = path.display();
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            (Kind::State, format!("cannot read the ledger {shown}"))
        }
        // SQLite has no code for EMFILE, and reports a file that it cannot open as read-only.
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) if too_many_files(&system) => {
            return Error::file("open the ledger", path, &system);
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
            Kind::CannotCreate,
            format!("cannot open the ledger {shown} for writing"),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Busy,
            format!("the ledger {shown} is in use by another program"),
        ),
        Some(ErrorCode::DiskFull) => (Kind::Io, format!("no space left for the ledger {shown}")),
        // The shared memory file of the WAL is allocated in advance, and fails if the disk is full.
        Some(ErrorCode::SystemIoFailure) if is_extended(error, ffi::SQLITE_IOERR_SHMSIZE) => {
            (Kind::Io, format!("no space left for the ledger {shown}"))
        }
        // Without a conflicting process, a failing lock is an error of the file system.
        Some(ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed) => {
            (Kind::Io, format!("I/O error on the ledger {shown}"))
        }
        _ => (
            Kind::State,
            format!("unexpected database error in the ledger {shown}"),
        ),
    };
    let explained = Error::new(kind, what).with_fact(format!("SQLite: {error}"));
    match kind {
        Kind::State => explained.with_hint(REPLACE_HINT),
        Kind::Io => explained.with_hint(
            "check the disk and its free space; messages stay on the server until they are recorded",
        ),
        _ => explained,
    }
}

fn is_extended(error: &rusqlite::Error, code: i32) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == code)
}

/// Returns whether the error is EMFILE or ENFILE: too many open files.
pub(super) fn too_many_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
