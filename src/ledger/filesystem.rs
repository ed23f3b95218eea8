//! The kind of disk that the ledger lies on.
//!
//! In WAL mode the processes that use a database share memory by way of a file, which works on one
//! machine alone, and on some file systems not even there (<https://sqlite.org/wal.html>). A
//! rollback journal needs nothing but locks and fsync, and costs each commit a few more waits.

use std::path::Path;

/// File systems that may be another machine's, or a program's that speaks to one, by the number
/// that statfs(2) gives for them.
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

/// What kind of file system `folder` lies on, where other machines may use it, too; nothing for a
/// disk of this machine, and where that cannot be told.
pub fn shared(folder: &Path) -> Option<&'static str> {
    let disk = rustix::fs::statfs(folder).ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its size differs, the 32 bits do not"
    )]
    let number = disk.f_type as u32;
    SHARED
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

/// The journal for a database in `folder`.
pub(super) fn journal(folder: &Path) -> &'static str {
    if shared(folder).is_some() {
        "TRUNCATE"
    } else {
        "WAL"
    }
}
