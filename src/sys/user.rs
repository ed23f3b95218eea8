//! Users of the system, and the switch to one of them.
//!
//! The rights of a process are changed as a whole, and only by root. So the switch is made at the
//! start of a process that does nothing else for another user, before it starts threads and opens
//! files. Changing the user of one thread, and changing back, were rejected: a defect in a library
//! could change back as well, and the C library gives all threads the same user.

use std::{
    ffi::CString,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use nix::unistd::{self, Gid, Uid};
use rustix::process::{Pid, Signal, geteuid, getppid, set_parent_process_death_signal, setsid};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind, Result},
    sys::files,
};

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The user ID.
    pub uid: u32,
    /// The ID of the primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

impl User {
    /// Returns the user of this name.
    ///
    /// # Errors
    /// [`Kind::Config`] if there is no such user, [`Kind::Busy`] if the system cannot look it up.
    pub fn find(name: &str) -> Result<Self> {
        match unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                home: user.dir,
            }),
            Ok(None) => Err(Error::new(
                Kind::Config,
                format!("there is no user `{name}`"),
            )),
            Err(error) => {
                let what = format!("cannot look up the user `{name}`");
                Err(Error::new(Kind::Busy, what).with_fact(error.desc()))
            }
        }
    }

    /// Returns the name of the user with this ID, or `None` if there is none.
    pub fn name_of(uid: u32) -> Option<String> {
        let user = unistd::User::from_uid(Uid::from_raw(uid)).ok()?;
        user.map(|user| user.name)
    }

    /// Returns whether this process has the rights of the user.
    pub fn is_me(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Gives this process the rights and groups of the user, and no others, for good. It leaves its
    /// session: programs of the user must not write to the terminal of root.
    ///
    /// # Errors
    /// [`Kind::Denied`] if the process may not do that.
    pub fn switch(&self) -> Result<()> {
        let denied = |error: nix::Error| {
            let what = format!("cannot switch to the user `{}`", self.name);
            Error::new(Kind::Denied, what)
                .with_fact(error.desc())
                .with_hint("run pouch as root with the capabilities CAP_SETUID and CAP_SETGID")
        };
        // it fails if the process is the leader of a session already
        let _ = setsid();
        let name = CString::new(self.name.as_str()).map_err(|_| denied(nix::Error::EINVAL))?;
        let gid = Gid::from_raw(self.gid);
        unistd::initgroups(&name, gid).map_err(denied)?;
        unistd::setgid(gid).map_err(denied)?;
        unistd::setuid(Uid::from_raw(self.uid)).map_err(denied)
    }

    /// Creates the directory `dir`/NAME with mode 0700 for the user, in a directory of root, which
    /// is created if it is missing. `shown` is the path of `dir` for messages.
    ///
    /// # Errors
    /// It cannot be created, or the user cannot reach it ([`Kind::Denied`]).
    pub fn create_dir(&self, dir: &Path, shown: &str) -> Result<PathBuf> {
        let path = dir.join(&self.name);
        create_shared_dir(dir)?;
        let metadata = fs::metadata(dir).map_err(|error| Error::file("read", dir, &error))?;
        if metadata.mode() & 0o001 == 0 {
            let what = format!(
                "the user `{}` cannot reach {shown}/{}",
                self.name, self.name
            );
            return Err(Error::new(Kind::Denied, what)
                .with_fact(format!(
                    "the mode of {shown} is {:04o}",
                    metadata.mode() & 0o7777
                ))
                .with_hint(format!("run `chmod o+x {shown}`")));
        }
        if fs::symlink_metadata(&path).is_err() {
            // other users cannot write to `dir`, so nothing else is in this place
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .and_then(|()| lchown(&path, Some(self.uid), Some(self.gid)))
                .map_err(|error| Error::file("create the directory", &path, &error))?;
            files::sync(dir)?;
        }
        Ok(path)
    }
}

/// Creates a directory of root that will contain directories of users, unless it exists.
///
/// # Errors
/// It cannot be created.
pub fn create_shared_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    files::create_dir_durable(dir)?;
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(dir, mode).map_err(|error| Error::file("use", dir, &error))
}

/// Makes the kernel kill this process when the process that started it ends, whose ID is `parent`.
/// Returns false if that has ended already.
///
/// A change of the user resets this.
pub fn end_with_parent(parent: u32) -> bool {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    getppid()
        .map(Pid::as_raw_nonzero)
        .map(|pid| pid.get().cast_unsigned())
        == Some(parent)
}
