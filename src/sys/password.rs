//! Where passwords come from.

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

/// The most octets of a password file that are read.
const MAX_SECRET: u64 = 64 * 1024;

/// Where systemd puts credentials (`$CREDENTIALS_DIRECTORY`), if it started this process.
#[derive(Clone, Debug, Default)]
pub struct CredentialFolder(pub Option<PathBuf>);

/// Gets the secret. `whose` names the account where a person is asked.
///
/// # Errors
/// It cannot be had: [`Kind::Config`] for a command, [`Kind::Denied`] for file permissions.
pub fn obtain(
    source: &SecretSource,
    whose: &str,
    credentials: &CredentialFolder,
    stop: &Interrupt,
) -> Result<Secret> {
    match source {
        SecretSource::Command(argv) => from_command(argv, stop),
        SecretSource::File(path) => from_file(path),
        SecretSource::Credential(name) => {
            let folder = credentials.0.as_ref().ok_or_else(|| {
                Error::new(Kind::Config, format!("there is no credential `{name}`: systemd did not start pouch"))
                    .with_hint(format!("`LoadCredential={name}:FILE` belongs into the unit; by hand, use password-command"))
            })?;
            first_line(&read(&folder.join(name))?, &format!("credential `{name}`"))
        }
        SecretSource::Prompt => ask(whose),
    }
}

/// What a secret comes from, for people. It tells nothing secret.
pub fn described(source: &SecretSource, home: &Path) -> String {
    match source {
        SecretSource::Command(argv) => command_line(argv),
        SecretSource::File(path) => tilde(path, home),
        SecretSource::Credential(name) => format!("credential {name}"),
        SecretSource::Prompt => "asked for".into(),
    }
}

fn command_line(argv: &[String]) -> String {
    argv.join(" ")
}

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
            format!("the password command {shown_command} cannot be run"),
        )
        .with_fact(error.to_string())
        .with_hint(start_hint(
            argv,
            &error,
            "password-command is a list: [\"pass\", \"show\", \"mail/work\"]",
        ))
    })?;
    let stdout = Zeroizing::new(stdout);
    let Ended::Exited(status) = ended else {
        return Err(Error::new(
            Kind::Config,
            format!("the password command {shown_command} does not end"),
        ));
    };
    if !status.success() {
        let said = stderr
            .split(|octet| *octet == b'\n')
            .filter(|line| !line.is_empty())
            .take(5)
            .map(|line| format!("it said: {}", sanitize(line)));
        let failed = Error::new(
            Kind::Config,
            format!("the password command {shown_command} failed: {status}"),
        );
        return Err(said
            .fold(failed, Error::with_fact)
            .with_hint("run it by hand and see what it prints"));
    }
    first_line(&stdout, &format!("password command {shown_command}"))
}

fn from_file(path: &Path) -> Result<Secret> {
    let octets = read(path)?;
    let mode = std::fs::metadata(path)
        .map_err(|error| unreadable(path, &error))?
        .mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(
            Kind::Denied,
            format!("others may read the password file {}", path.display()),
        )
        .with_fact(format!("its mode is {:04o}", mode & 0o7777))
        .with_hint(format!("chmod 600 {}", path.display())));
    }
    first_line(&octets, &format!("password file {}", path.display()))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET).read_to_end(&mut octets))
        .map_err(|error| unreadable(path, &error))?;
    Ok(octets)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::PermissionDenied {
        Kind::Denied
    } else {
        Kind::Config
    };
    let unreadable = Error::new(
        kind,
        format!("cannot read the password file {}", path.display()),
    )
    .with_fact(error.to_string());
    match error.kind() {
        std::io::ErrorKind::NotFound => unreadable.with_hint(
            "make it: the password is its first line, and nobody else may read it (chmod 600)",
        ),
        _ => unreadable,
    }
}

fn first_line(octets: &[u8], source: &str) -> Result<Secret> {
    let line = octets
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(
            Error::new(Kind::Config, format!("the {source} gives no password"))
                .with_fact("its first line is empty"),
        );
    }
    match str::from_utf8(line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::new(
            Kind::Config,
            format!("the {source} gives a password that is no UTF-8"),
        )),
    }
}

fn ask(whose: &str) -> Result<Secret> {
    let password = rpassword::prompt_password(format!("password of {whose}: ")).map_err(|error| {
        Error::new(Kind::Config, format!("there is no password for {whose}"))
            .with_fact(format!("nobody can be asked for it: {error}"))
            .with_hint("give the account a password-command or password-file, or `pouch fetch` a `--password-command`")
    })?;
    first_line(Zeroizing::new(password).as_bytes(), "answer")
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
    fn the_first_line_counts() {
        assert_eq!(
            *command("printf 'geheim \\r\\nuser: ann\\n'").unwrap(),
            "geheim "
        );
        assert_eq!(*command("printf geheim").unwrap(), "geheim");
    }

    #[test]
    fn failures_tell_what_to_do_and_no_secret() {
        let error = command("echo geheim; echo 'no such entry' >&2; exit 2").unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("no such entry"), "{error}");
        let nothing = command("printf '\\ngeheim'").unwrap_err();
        assert!(nothing.what().contains("gives no password"), "{nothing}");
        let missing =
            from_command(&["/nonexistent/pass".into()], &Interrupt::default()).unwrap_err();
        assert!(missing.what().contains("cannot be run"), "{missing}");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geheim\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o640);
        let error = from_file(file.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.hint().unwrap().starts_with("chmod 600"), "{error}");
        mode(0o600);
        assert_eq!(*from_file(file.path()).unwrap(), "geheim");
    }
}
