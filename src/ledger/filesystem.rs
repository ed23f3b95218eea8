//! The file system of the ledger, and the journal mode that it allows.
//!
//! In WAL mode, the processes that use a database share memory through a mapped file. That works
//! only between processes on one machine, and not on every file system
//! (<https://sqlite.org/wal.html>). A rollback journal needs only locks and fsync, at the cost of
//! a few more fsync calls per commit, so it is used wherever another machine may have access.
//!
//! A process that writes to mapped memory for which the disk has no room is killed (SIGBUS). SQLite
//! writes one byte of each page of the file first, which allocates the page, unless the blocks of
//! the file system are smaller (ext4 on a disk of less than 512 MiB). There, a rollback journal is
//! used as well. On a file system that allocates a page again when it is changed (btrfs), a full
//! disk can still kill pouch; that has the effect of a power failure, from which the next run
//! recovers. `locking_mode = EXCLUSIVE`, which needs no shared memory, was rejected: `pouch status`
//! could not read the ledger during a run.
//!
//! The file system type from statfs(2) is a heuristic. A wrong guess in one direction costs some
//! speed. In the other direction (a network file system that is not in the list), two machines that
//! use one ledger at the same time can damage it; on one machine, WAL still works.

use std::path::Path;

/// File systems that several machines may share, with the magic number from statfs(2).
///
/// FUSE is among them because its servers include sshfs and other network file systems.
const SHARED: [(u32, &str); 16] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x786F_4256, "VirtualBox"),
    (0x00C3_6400, "Ceph"),
    (0x6B41_4653, "AFS"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1980_3326, "BeeGFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
];

/// File systems whose content does not last, with the magic number from statfs(2), and when it is
/// lost.
///
/// An overlay is the writable layer of a container, or of a system that was started from a
/// read-only medium.
const VOLATILE: [(u32, (&str, &str)); 3] = [
    (0x0102_1994, ("tmpfs", "lost at the next reboot")),
    (0x8584_58F6, ("ramfs", "lost at the next reboot")),
    (
        0x794C_7630,
        ("overlayfs", "lost when the container is removed"),
    ),
];

/// Returns the name of the file system of `dir` if several machines may share it.
///
/// `None` if it is local, or if statfs(2) fails.
pub fn shared(dir: &Path) -> Option<&'static str> {
    find(dir, &SHARED)
}

/// Returns the name of the file system of `dir` if its content does not last, and when it is lost.
///
/// `None` if it lasts, or if statfs(2) fails.
pub fn volatile(dir: &Path) -> Option<(&'static str, &'static str)> {
    find(dir, &VOLATILE)
}

/// Returns what `known` has for the file system of `dir`.
fn find<T: Copy>(dir: &Path, known: &[(u32, T)]) -> Option<T> {
    let stat = rustix::fs::statfs(dir).ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the type of the field depends on the platform, the magic numbers have 32 bits"
    )]
    let number = stat.f_type as u32;
    known
        .iter()
        .find(|(magic, _)| *magic == number)
        .map(|(_, found)| *found)
}

/// Returns whether the file system of `dir` allocates less at once than the page of SQLite's shared
/// memory, of which it writes one byte.
fn has_small_blocks(dir: &Path) -> bool {
    const PAGE: u64 = 4096;
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_frsize < PAGE)
}

/// Returns the SQLite journal mode for a database in `dir`.
pub(super) fn journal(dir: &Path) -> &'static str {
    if shared(dir).is_some() || has_small_blocks(dir) {
        "TRUNCATE"
    } else {
        "WAL"
    }
}
