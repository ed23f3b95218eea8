//! The config file on disk: who may change it, how long it may be, and its encoding.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::OFlags;

use super::snippet::line_number;
use crate::{
    error::{Error, Kind},
    text::tilde,
};

/// The longest config file that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Reads the bytes of the config file at `path`. `home` is the home directory.
///
/// # Errors
/// The file does not exist, cannot be read, is not a regular file, or is writable by other users:
/// commands in it are run as the user.
pub(super) fn read(path: &Path, home: &Path) -> Result<Vec<u8>, Error> {
    let shown = tilde(path, home);
    if path
        .metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        return Err(missing(path, home));
    }
    let file = open(path, &shown)?;
    let metadata = file.metadata().map_err(|error| failed(&shown, &error))?;
    let me = rustix::process::geteuid().as_raw();
    check_writers(&shown, metadata.uid(), me, metadata.mode() & 0o777)?;
    let dir = path.canonicalize().ok();
    if let Some(dir) = dir.as_deref().and_then(Path::parent)
        && let Ok(metadata) = fs::metadata(dir)
    {
        check_dir(&tilde(dir, home), &metadata)?;
    }
    content(file, &shown)
}

/// Opens the config file at `path`, which is `shown` in messages.
///
/// # Errors
/// It does not exist, is not a regular file, or cannot be read.
pub(super) fn open(path: &Path, shown: &str) -> Result<fs::File, Error> {
    // opening a FIFO would wait for the other end of it
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| failed(shown, &error))?;
    let metadata = file.metadata().map_err(|error| failed(shown, &error))?;
    if metadata.is_dir() {
        return Err(Error::new(
            Kind::Config,
            format!("{shown} is a directory, not a config file"),
        ));
    }
    if !metadata.is_file() {
        return Err(Error::new(
            Kind::Config,
            format!("cannot read {shown}: it is not a regular file"),
        ));
    }
    Ok(file)
}

/// Returns the bytes of an open config file, up to a bit more than is allowed.
pub(super) fn content(file: fs::File, shown: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(shown, &error))?;
    Ok(bytes)
}

fn failed(shown: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Denied, format!("no permission to read {shown}"))
        }
        _ => Error::new(Kind::Config, format!("cannot read {shown}")).with_fact(error.to_string()),
    }
}

/// Checks that only the user `me` and root can change a file of this owner and mode.
pub(super) fn check_writers(shown: &str, owner: u32, me: u32, mode: u32) -> Result<(), Error> {
    let commands = "its commands would run as you";
    let denied = || Error::new(Kind::Denied, format!("{shown} is writable by other users"));
    if ![me, 0].contains(&owner) {
        return Err(denied()
            .with_fact(format!("its owner has the user ID {owner}; {commands}"))
            .with_hint(format!(
                "make a copy that you own, or run `chown {me} {shown}` as root"
            )));
    }
    if mode & 0o022 != 0 {
        return Err(denied()
            .with_fact(format!("its permissions are {mode:04o}; {commands}"))
            .with_hint(format!("run `chmod go-w {shown}`")));
    }
    Ok(())
}

/// Checks that only the user, root and the group of the user can replace the config in a directory.
/// In one with the sticky bit, others cannot.
pub(super) fn check_dir(shown: &str, metadata: &fs::Metadata) -> Result<(), Error> {
    let me = rustix::process::geteuid().as_raw();
    let mode = metadata.permissions().mode();
    let denied = |what: &str| {
        let what = format!("the directory of the config, {shown}, {what}");
        Error::new(Kind::Denied, what)
    };
    if ![me, 0].contains(&metadata.uid()) {
        return Err(denied("belongs to another user")
            .with_fact(format!("its owner has the user ID {}", metadata.uid()))
            .with_hint("move the config to a directory that you own"));
    }
    let group = mode & 0o020 != 0 && metadata.gid() != rustix::process::getegid().as_raw();
    if mode & 0o1000 == 0 && (mode & 0o002 != 0 || group) {
        return Err(denied("is writable by other users")
            .with_fact(format!("its permissions are {:04o}", mode & 0o7777))
            .with_hint(format!("run `chmod go-w {shown}`")));
    }
    Ok(())
}

/// Creates the error that there is no config file.
fn missing(path: &Path, home: &Path) -> Error {
    let shown = tilde(path, home);
    Error::new(Kind::Config, format!("there is no config file {shown}"))
        .with_fact("an account can also be given as a URL, such as pops://ann@pop.example.org")
        .with_hint("run `pouch init ADDRESS`, with your mail address")
}

/// Decodes the bytes of the config file. `shown` is its path for messages.
///
/// # Errors
/// The file is too long, contains a NUL byte, or is not UTF-8. The error names the line only, since
/// it cannot be shown.
pub(super) fn decode<'b>(shown: &str, bytes: &'b [u8]) -> Result<&'b str, Error> {
    let fault = |at: usize, what: &str| {
        let line = line_number(bytes, at);
        Error::new(Kind::Config, format!("{shown}:{line}: {what}"))
    };
    if bytes.len() as u64 > LONGEST {
        return Err(Error::new(
            Kind::Config,
            format!("{shown} is larger than 64 MiB, the limit for a config file"),
        ));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(fault(at, "not a text file: this line contains a NUL byte"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    str::from_utf8(bytes).map_err(|error| {
        fault(error.valid_up_to(), "this line is not UTF-8").with_hint("save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_root_may_change_a_config() {
        for (owner, mode, good) in [
            (7, 0o644, true),
            (0, 0o600, true),
            (8, 0o600, false),
            (7, 0o620, false),
        ] {
            let checked = check_writers("c", owner, 7, mode);
            assert_eq!(checked.is_ok(), good, "{owner} {mode:o}");
        }
        assert_eq!(
            check_writers("~/c", 8, 7, 0o600).unwrap_err().to_string(),
            "~/c is writable by other users
  its owner has the user ID 8; its commands would run as you
hint: make a copy that you own, or run `chown 7 ~/c` as root"
        );
    }

    #[test]
    fn files_that_cannot_be_used() {
        let home = tempfile::tempdir().unwrap();
        let read = |name: &str| read(&home.path().join(name), home.path());
        let path = home.path().join("c.toml");
        assert_eq!(
            read("pouch/c.toml").unwrap_err().to_string(),
            "there is no config file ~/pouch/c.toml
  an account can also be given as a URL, such as pops://ann@pop.example.org
hint: run `pouch init ADDRESS`, with your mail address"
        );
        assert_eq!(
            read("").unwrap_err().to_string(),
            "~/ is a directory, not a config file"
        );
        fs::write(&path, "[account.a]\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read("c.toml").is_ok(), fine, "{mode:o}");
        }
        let error = read("c.toml").unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert_eq!(
            error.to_string(),
            "~/c.toml is writable by other users
  its permissions are 0602; its commands would run as you
hint: run `chmod go-w ~/c.toml`"
        );
    }

    #[test]
    fn binary_config_is_refused() {
        let decode = |bytes| decode("c.toml", bytes).map_err(|error| error.to_string());
        assert_eq!(decode(b"\xef\xbb\xbfjobs = 3\r\n").unwrap(), "jobs = 3\r\n");
        assert_eq!(
            decode(b"# x\njobs\0").unwrap_err(),
            "c.toml:2: not a text file: this line contains a NUL byte"
        );
        assert_eq!(
            decode(b"# x\n# caf\xe9").unwrap_err(),
            "c.toml:2: this line is not UTF-8\nhint: save the file as UTF-8"
        );
        assert_eq!(
            decode(&vec![b'#'; 65 << 20]).unwrap_err(),
            "c.toml is larger than 64 MiB, the limit for a config file"
        );
    }
}
