//! The locations of the files of other programs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::dirs::Dirs,
    error::{Error, Kind, Result},
    import::{LONGEST, Program, is_binary, profiles},
    sys::files,
    text::tilde,
};

/// Returns the config files of a program that exist.
pub fn configs(program: Program, dirs: &Dirs) -> Vec<PathBuf> {
    let home = &dirs.home;
    let variable = |name: &str| dirs.variable(name).map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let found = match program {
        Program::Fetchmail => {
            let named = [
                variable("FETCHMAILHOME").map(|dir| dir.join("fetchmailrc")),
                variable("HOME_ETC").map(|dir| dir.join(".fetchmailrc")),
            ];
            let named = named.into_iter().flatten();
            named.chain([home.join(".fetchmailrc")]).collect()
        }
        Program::Getmail => {
            let all = [home.join(".getmail"), config.join("getmail")];
            all.iter().flat_map(|dir| getmail_files(dir)).collect()
        }
        Program::Mpop => vec![home.join(".mpoprc"), config.join("mpop/config")],
        Program::Fdm => vec![home.join(".fdm.conf")],
        Program::Thunderbird => thunderbird_files(home),
        Program::Claws => vec![home.join(".claws-mail/accountrc")],
        Program::Sylpheed => vec![home.join(".sylpheed-2.0/accountrc")],
        Program::Kmail => matching(&config, |name| {
            name.starts_with("akonadi_pop3_resource_") && name.ends_with("rc")
        }),
        Program::Evolution => matching(&config.join("evolution/sources"), |name| {
            name.ends_with(".source")
        })
        .into_iter()
        .filter(|path| contains(path, b"BackendName=pop"))
        .collect(),
    };
    let mut existing: Vec<PathBuf> = Vec::new();
    for path in found {
        if path.exists() && !existing.contains(&path) {
            existing.push(path);
        }
    }
    existing
}

/// Returns the files in a directory whose name is `wanted`, sorted.
fn matching(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = files::entries(dir).unwrap_or_default();
    let mut found: Vec<_> = entries
        .iter()
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(fs::DirEntry::path)
        .collect();
    found.sort();
    found
}

/// Returns the files of getmail that have an account. Its state files are in the same directory.
fn getmail_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = matching(dir, |name| !name.starts_with("oldmail-"));
    found.retain(|path| contains(path, b"[retriever]"));
    found
}

/// Returns whether the beginning of a file contains `text`.
fn contains(path: &Path, text: &[u8]) -> bool {
    files::read(path, 1 << 20).is_ok_and(|bytes| memchr::memmem::find(&bytes, text).is_some())
}

/// Returns the preferences of the default profiles, or of all profiles if none is the default one.
fn thunderbird_files(home: &Path) -> Vec<PathBuf> {
    let dirs = [
        ".thunderbird",
        "snap/thunderbird/common/.thunderbird",
        ".var/app/org.mozilla.Thunderbird/.thunderbird",
    ];
    let mut found = Vec::new();
    for dir in dirs.map(|dir| home.join(dir)) {
        let Ok(bytes) = files::read(&dir.join("profiles.ini"), 1 << 20) else {
            continue;
        };
        let mut all = profiles(&bytes, &dir);
        if all.iter().any(|profile| profile.is_default) {
            all.retain(|profile| profile.is_default);
        }
        found.extend(all.into_iter().map(|profile| profile.dir.join("prefs.js")));
    }
    found
}

/// Reads a file of another program.
///
/// # Errors
/// It cannot be read, is not a regular file, is too long, or is not text.
pub(super) fn read(path: &Path, home: &Path) -> Result<Vec<u8>> {
    let shown = tilde(path, home);
    let bytes = files::read(path, LONGEST + 1).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Denied, format!("no permission to read {shown}"))
        }
        io::ErrorKind::NotFound => Error::new(Kind::Config, format!("{shown} does not exist")),
        _ => Error::new(Kind::Config, format!("cannot read {shown}")).with_fact(error.to_string()),
    })?;
    if bytes.len() as u64 > LONGEST {
        let what = format!("{shown} is larger than 16 MiB, the limit for an imported file");
        return Err(Error::new(Kind::Config, what));
    }
    if is_binary(&bytes) {
        return Err(Error::new(
            Kind::State,
            format!("{shown} is not a text file"),
        ));
    }
    Ok(bytes)
}

/// Returns a file that exists while the program of this config is running.
pub(super) fn running(program: Program, config: &Path, home: &Path) -> Option<PathBuf> {
    let marks = match program {
        Program::Fetchmail => vec![home.join(".fetchmail.pid")],
        Program::Fdm => vec![home.join(".fdm.lock")],
        Program::Thunderbird | Program::Claws => vec![config.with_file_name("lock")],
        _ => Vec::new(),
    };
    // Thunderbird's is a symbolic link to nothing
    marks
        .into_iter()
        .find(|mark| mark.symlink_metadata().is_ok())
}
