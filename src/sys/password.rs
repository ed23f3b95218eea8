//! Obtaining passwords from commands, files, systemd credentials or a prompt.
//!
//! The password is the first line. What follows is ignored, since password managers keep other data
//! there. An error repeats the standard error of a command, but never its standard output.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    config::SecretSource,
    error::{Error, Kind, Result},
    sys::{
        interrupt::Interrupt,
        process::{Ended, ProcessOutput, Run, start_hint},
    },
    text::{sanitize, tilde},
};

/// A password, wiped from memory when it is dropped.
pub type Secret = Zeroizing<String>;

/// The number of bytes that are read of a password file.
const MAX_SECRET: usize = 64 * 1024;

/// The directory of systemd's credentials (`$CREDENTIALS_DIRECTORY`), or `None` if systemd did not
/// start this process.
#[derive(Clone, Debug, Default)]
pub struct CredentialFolder(pub Option<PathBuf>);

/// Returns the secret from `source`. `whose` names the account in the prompt. Paths below `home` are
/// abbreviated in messages.
///
/// # Errors
/// [`Kind::Config`] if a command failed, or there is no valid password; [`Kind::Denied`] if the
/// permissions of a file are too wide or too narrow. Or a signal ended the run.
pub fn obtain(
    source: &SecretSource,
    whose: &str,
    credentials: &CredentialFolder,
    home: &Path,
    stop: &Interrupt,
) -> Result<Secret> {
    match source {
        SecretSource::Command(argv) => from_command(argv, stop),
        SecretSource::File(path) => from_file(path, home),
        SecretSource::Credential(name) => {
            let dir = credentials.0.as_ref().ok_or_else(|| {
                Error::new(Kind::Config, format!("no credential `{name}`"))
                    .with_fact("$CREDENTIALS_DIRECTORY is not set: systemd did not start pouch")
                    .with_hint(format!(
                        "set LoadCredential={name}:FILE in the unit, or use `password-command`"
                    ))
            })?;
            let (bytes, _) = read(&dir.join(name), home)?;
            first_line(&bytes, &format!("credential `{name}`"))
        }
        SecretSource::Prompt => prompt(whose),
    }
}

/// Returns the description of a source for messages, without anything secret.
pub fn described(source: &SecretSource, home: &Path) -> String {
    match source {
        SecretSource::Command(argv) => command_line(argv),
        SecretSource::File(path) => tilde(path, home),
        SecretSource::Credential(name) => format!("credential {name}"),
        SecretSource::Prompt => "prompt".into(),
    }
}

/// Returns a command as one line of text.
fn command_line(argv: &[String]) -> String {
    argv.join(" ")
}

/// Runs a command, and returns the first line of its output.
fn from_command(argv: &[String], stop: &Interrupt) -> Result<Secret> {
    let shown_command = format!("`{}`", command_line(argv));
    let run = Run {
        argv,
        input: None,
        output: None,
        environment: &[],
        timeout: None,
        interactive: true,
    };
    let ProcessOutput {
        ended,
        stdout,
        stderr,
    } = run.run(stop)?.map_err(|error| {
        Error::new(
            Kind::Config,
            format!("cannot run the password command {shown_command}"),
        )
        .with_fact(error.to_string())
        .with_hint(start_hint(
            argv,
            &error,
            "write `password-command` as a list: [\"pass\", \"show\", \"mail/work\"]",
        ))
    })?;
    let stdout = Zeroizing::new(stdout);
    let Ended::Exited(status) = ended else {
        return Err(Error::new(
            Kind::Config,
            format!("the password command {shown_command} timed out"),
        ));
    };
    if !status.success() {
        let lines = stderr
            .split(|octet| *octet == b'\n')
            .filter(|line| !line.is_empty())
            .take(5)
            .map(|line| format!("`{}` said: {}", argv[0], sanitize(line)));
        let failed = Error::new(
            Kind::Config,
            format!("the password command {shown_command} failed: {status}"),
        );
        return Err(lines
            .fold(failed, Error::with_fact)
            .with_hint("run it by hand to see what it prints"));
    }
    first_line(&stdout, &format!("password command {shown_command}"))
}

/// Returns the first line of a file that only its owner can access.
fn from_file(path: &Path, home: &Path) -> Result<Secret> {
    let (bytes, mode) = read(path, home)?;
    let path = tilde(path, home);
    if mode & 0o077 != 0 {
        return Err(Error::new(
            Kind::Denied,
            format!("the password file {path} is accessible to other users"),
        )
        .with_fact(format!("its mode is {:04o}", mode & 0o7777))
        .with_hint(format!("run `chmod 600 {path}`")));
    }
    first_line(&bytes, &format!("password file {path}"))
}

/// Returns the beginning of a file, and the mode of the file that was read.
fn read(path: &Path, home: &Path) -> Result<(Zeroizing<Vec<u8>>, u32)> {
    // a buffer that grew would leave copies of the password in freed memory
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET));
    let read = File::open(path).and_then(|file| {
        let mode = file.metadata()?.mode();
        file.take(MAX_SECRET as u64).read_to_end(&mut bytes)?;
        Ok(mode)
    });
    let mode = read.map_err(|error| unreadable(path, home, &error))?;
    Ok((bytes, mode))
}

/// Returns the error for a password file that cannot be read.
fn unreadable(path: &Path, home: &Path, error: &std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::PermissionDenied {
        Kind::Denied
    } else {
        Kind::Config
    };
    let unreadable = Error::new(
        kind,
        format!("cannot read the password file {}", tilde(path, home)),
    )
    .with_fact(error.to_string());
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            unreadable.with_hint("create it with mode 600 and the password as its first line")
        }
        _ => unreadable,
    }
}

/// Returns the first line of what `source` provided, without its line end.
fn first_line(octets: &[u8], source: &str) -> Result<Secret> {
    let line = octets
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("the {source} returned an empty password"),
        )
        .with_fact("its first line is empty"));
    }
    match str::from_utf8(line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::new(
            Kind::Config,
            format!("the password from the {source} is not valid UTF-8"),
        )),
    }
}

/// Prompts for the password on the terminal.
fn prompt(whose: &str) -> Result<Secret> {
    let password =
        rpassword::prompt_password(format!("password of {whose}: ")).map_err(|error| {
            // ENXIO is what opening /dev/tty returns to a process without a terminal
            let reason = match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                    "there is no terminal".to_owned()
                }
                _ => error.to_string(),
            };
            Error::new(Kind::Config, format!("no password for {whose}"))
                .with_fact(format!("cannot prompt for it: {reason}"))
                .with_hint(
                    "set `password-command` or `password-file` in the config, or use \
                 `--password-command`",
                )
        })?;
    first_line(Zeroizing::new(password).as_bytes(), "prompt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn command(script: &str) -> Result<Secret> {
        from_command(
            &["sh", "-c", script].map(String::from),
            &Interrupt::default(),
        )
    }

    #[test]
    fn first_line_is_the_password() {
        assert_eq!(
            *command("printf 'geheim \\r\\nuser: ann\\n'").unwrap(),
            "geheim "
        );
        assert_eq!(*command("printf geheim").unwrap(), "geheim");
    }

    #[test]
    fn failed_command_is_reported_with_its_error_output() {
        let error = command("echo geheim; echo 'no such entry' >&2; exit 2").unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("no such entry"), "{error}");
        assert!(!error.facts().concat().contains("geheim"), "{error}");
    }

    #[test]
    fn empty_password_and_missing_command_are_reported() {
        let nothing = command("printf '\\ngeheim'").unwrap_err();
        assert!(nothing.what().contains("an empty password"), "{nothing}");
        let missing =
            from_command(&["/nonexistent/pass".into()], &Interrupt::default()).unwrap_err();
        assert!(missing.what().starts_with("cannot run"), "{missing}");
    }

    #[test]
    fn file_with_access_for_others_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geheim\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o640);
        let error = from_file(file.path(), Path::new("/home/ann")).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(
            error.hint().unwrap().starts_with("run `chmod 600"),
            "{error}"
        );
        mode(0o600);
        assert_eq!(
            *from_file(file.path(), Path::new("/home/ann")).unwrap(),
            "geheim"
        );
    }
}
