//! Obtaining passwords from commands, files, systemd credentials or a prompt, and access tokens
//! from commands.
//!
//! The password is the first line, as bytes: the server decides which encoding it expects. What
//! follows is ignored, since password managers keep other data there. An error repeats the standard
//! error of a command, but never its standard output, and names the program, but never its
//! arguments, in which people write passwords.

use std::{
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use openssl::{error::ErrorStack, hash::MessageDigest, pkcs5::pbkdf2_hmac};
use rustix::{
    fs::{Access, access},
    io::Errno,
    process::geteuid,
};
use zeroize::Zeroizing;

use crate::{
    config::{GivenPassword, SecretSource},
    domain::time::TimeSpan,
    error::{Error, Kind, Result},
    sys::{
        files,
        interrupt::Interrupt,
        owner,
        process::{Ended, ProcessOutput, Run, program, start_hint},
    },
    text::{sanitize, tilde},
};

/// A password or token in the encoding of its source, wiped from memory when it is dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// The number of bytes that are read of a password file.
const MAX_SECRET: usize = 64 * 1024;

/// The rounds of [`salted_hash`]: some 50 ms, after a refused login only.
const HASH_ROUNDS: usize = 100_000;

/// The byte order mark that some editors write at the beginning of a UTF-8 file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The directory of systemd's credentials (`$CREDENTIALS_DIRECTORY`), or `None` if systemd did not
/// start this process.
#[derive(Clone, Debug, Default)]
pub struct CredentialFolder(pub Option<PathBuf>);

/// The environment for obtaining a password.
#[derive(Clone, Copy, Debug)]
pub struct SecretEnv<'a> {
    /// The directory of systemd's credentials.
    pub credentials: &'a CredentialFolder,
    /// The home directory, which is abbreviated in messages.
    pub home: &'a Path,
    /// The time limit of a command. `None` at a terminal, where it may prompt.
    pub time_limit: Option<TimeSpan>,
    /// Ends the wait for a command.
    pub stop: &'a Interrupt,
}

/// Returns the secret from `source`. `whose` names the account in the prompt.
///
/// # Errors
/// [`Kind::Config`] if a command failed, or there is no valid password; [`Kind::Denied`] if the
/// permissions of a file are too wide or too narrow. Or a signal ended the run.
pub fn obtain(source: &SecretSource, whose: &str, env: SecretEnv<'_>) -> Result<Secret> {
    match source {
        SecretSource::Command(argv) => from_command(argv, Printed::Password, env),
        SecretSource::TokenCommand(argv) => from_command(argv, Printed::Token, env),
        SecretSource::File(path) => from_file(path, env.home),
        SecretSource::Credential(name) => from_credential(name, env.credentials),
        SecretSource::Prompt => prompt(whose),
        SecretSource::Certificate => Ok(Secret::default()),
        SecretSource::Given(GivenPassword(Some(password))) => {
            Ok(Zeroizing::new(password.as_bytes().to_vec()))
        }
        SecretSource::Given(GivenPassword(None)) => Err(Error::new(
            Kind::Config,
            format!("the password of {whose} is known only to `accounts-command`, which failed"),
        )
        .with_hint("`pouch status` reports why it failed")),
        SecretSource::OAuth(_) => Err(Error::new(
            Kind::Bug,
            format!("the token of {whose} is not a password"),
        )),
    }
}

/// Returns a new access token after the server refused the one named `refused`. Returns `None` if
/// `source` has no tokens, or returns the same one again.
///
/// # Errors
/// As for [`obtain`].
pub fn renew(source: &SecretSource, refused: &[u8], env: SecretEnv<'_>) -> Result<Option<Secret>> {
    match source {
        SecretSource::TokenCommand(argv) => {
            let token = from_command(argv, Printed::Token, env)?;
            Ok(Some(token).filter(|token| token.as_slice() != refused))
        }
        SecretSource::Command(_)
        | SecretSource::File(_)
        | SecretSource::Credential(_)
        | SecretSource::OAuth(_)
        | SecretSource::Given(_)
        | SecretSource::Prompt
        | SecretSource::Certificate => Ok(None),
    }
}

/// Returns the description of a source for messages, without anything secret.
pub fn described(source: &SecretSource, home: &Path) -> String {
    match source {
        SecretSource::Command(argv) | SecretSource::TokenCommand(argv) => program(argv),
        SecretSource::File(path) => tilde(path, home),
        SecretSource::Credential(name) => format!("credential {name}"),
        SecretSource::Prompt => "prompt".into(),
        SecretSource::Certificate => "client certificate".into(),
        SecretSource::Given(_) => "accounts-command".into(),
        SecretSource::OAuth(_) => "OAuth 2.0".into(),
    }
}

/// What a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    /// A password.
    Password,
    /// An access token.
    Token,
}

impl Printed {
    /// Returns the word for it.
    fn noun(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
        }
    }

    /// Returns the hint about a command that is not written as a list.
    fn list_hint(self) -> &'static str {
        match self {
            Self::Password => {
                "write `password-command` as a list: [\"pass\", \"show\", \"mail/work\"]"
            }
            Self::Token => {
                "write `token-command` as a list: [\"oama\", \"access\", \"ann@example.org\"]"
            }
        }
    }
}

/// Runs a command, and returns the first line of its output. With a time limit, it cannot use the
/// terminal, and the programs that it started are ended together with it.
fn from_command(argv: &[String], printed: Printed, env: SecretEnv<'_>) -> Result<Secret> {
    let (name, noun, time_limit) = (program(argv), printed.noun(), env.time_limit);
    let run = Run {
        argv,
        input: None,
        output: None,
        environment: &[],
        timeout: time_limit.map(Duration::from),
        interactive: time_limit.is_none(),
    };
    let ProcessOutput {
        ended,
        stdout,
        stderr,
    } = run.run(env.stop)?.map_err(|error| {
        Error::new(
            Kind::Config,
            format!("cannot run the {noun} command `{name}`"),
        )
        .with_fact(error.to_string())
        .with_hint(start_hint(argv, &error, printed.list_hint()))
    })?;
    let stdout = Zeroizing::new(stdout);
    let failed = |what: String| {
        let error = Error::new(Kind::Config, format!("the {noun} command `{name}` {what}"));
        with_said(error, &name, &stderr)
    };
    match ended {
        Ended::Exited(status) if status.success() => {
            let line = first_line(
                without_mark(&stdout),
                &format!("{noun} command `{name}`"),
                noun,
            );
            match printed {
                Printed::Password => line,
                Printed::Token => valid_token(&line?, &name),
            }
        }
        Ended::Exited(status) => {
            Err(failed(format!("failed: {status}"))
                .with_hint("run it by hand to see what it prints"))
        }
        Ended::OutputError(error) => Err(failed(format!("failed: {error}"))),
        Ended::TimeOut => {
            let after = time_limit.map(|limit| format!(" after {limit}"));
            Err(
                failed(format!("timed out{}", after.unwrap_or_default())).with_hint(
                    "run it by hand to see whether it prompts, or raise `password-command-timeout`",
                ),
            )
        }
    }
}

/// Adds the beginning of what the command `name` wrote to its standard error.
fn with_said(error: Error, name: &str, stderr: &[u8]) -> Error {
    stderr
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty())
        .take(5)
        .map(|line| format!("`{name}` said: {}", sanitize(line.trim_ascii_end())))
        .fold(error, Error::with_fact)
}

/// Returns the access token in a line that the command `name` printed.
///
/// # Errors
/// It is not a token: those consist of visible ASCII characters (RFC 6750 §2.1). Another one could
/// end the field of the message in which the token is sent.
fn valid_token(line: &[u8], name: &str) -> Result<Secret> {
    let token = line.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Error::new(
            Kind::Config,
            format!("the first line that the token command `{name}` prints is not a token"),
        )
        .with_fact("a token has no spaces, and only ASCII characters")
        .with_hint("run it by hand to see what it prints"));
    }
    Ok(Zeroizing::new(token.to_vec()))
}

/// Returns the first line of a file that only its owner can access.
fn from_file(path: &Path, home: &Path) -> Result<Secret> {
    let shown = tilde(path, home);
    let (bytes, metadata) = read(path).map_err(|error| {
        let unreadable = unreadable(&format!("password file {shown}"), &error);
        match error.kind() {
            io::ErrorKind::NotFound => {
                unreadable.with_hint("create it with mode 600 and the password as its first line")
            }
            _ => unreadable,
        }
    })?;
    if owner::others_can_access(&metadata) {
        let hint = mode_hint(&shown, may_change_mode(path, metadata.uid()));
        return Err(Error::new(
            Kind::Denied,
            format!("the password file {shown} is accessible to other users"),
        )
        .with_fact(format!("its mode is {:04o}", metadata.mode() & 0o7777))
        .with_hint(hint));
    }
    first_line(
        without_mark(&bytes),
        &format!("password file {shown}"),
        "password",
    )
}

/// Returns whether this process may change the mode of the file at `path`, which `owner` owns.
fn may_change_mode(path: &Path, owner: u32) -> bool {
    let user = geteuid();
    let is_owner = user.is_root() || user.as_raw() == owner;
    is_owner && access(path, Access::WRITE_OK) != Err(Errno::ROFS)
}

/// Returns the hint about a password file that other users can access, which messages call `shown`.
/// The mode of a file on a read-only mount, or of another owner, cannot be changed, as for the
/// secrets of containers.
fn mode_hint(shown: &str, may_change: bool) -> String {
    if may_change {
        return format!("run `chmod 600 {shown}`");
    }
    // only a shell expands `~`
    let command = if shown.starts_with("~/") {
        format!("[\"sh\", \"-c\", \"cat {shown}\"]")
    } else {
        format!("[\"cat\", \"{shown}\"]")
    };
    format!(
        "its mode cannot be changed: set `password-command = {command}`, or copy it to a file with \
         mode 600"
    )
}

/// Returns the first line of a credential that systemd passed to this process.
fn from_credential(name: &str, folder: &CredentialFolder) -> Result<Secret> {
    let load = format!("set LoadCredential={name}:FILE in the unit");
    let dir = folder.0.as_ref().ok_or_else(|| {
        Error::new(Kind::Config, format!("no credential `{name}`"))
            .with_fact("$CREDENTIALS_DIRECTORY is not set: systemd did not start pouch")
            .with_hint(format!("{load}, or use `password-command`"))
    })?;
    let source = format!("credential `{name}`");
    let (bytes, _) = read(&dir.join(name)).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => load,
            _ => format!("check LoadCredential={name}: and User= in the unit"),
        };
        unreadable(&source, &error).with_hint(hint)
    })?;
    first_line(without_mark(&bytes), &source, "password")
}

/// Returns the beginning of a file, and the metadata of the file that was read.
fn read(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, std::fs::Metadata)> {
    // a buffer that grew would leave copies of the password in freed memory
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET));
    let file = files::open(path)?;
    let metadata = file.metadata()?;
    file.take(MAX_SECRET as u64).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}

/// Returns the error for a source, a file, that cannot be read.
fn unreadable(source: &str, error: &io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::PermissionDenied {
        Kind::Denied
    } else {
        Kind::Config
    };
    Error::new(kind, format!("cannot read the {source}")).with_fact(error.to_string())
}

/// Returns `bytes` without the byte order mark, if they begin with one.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Returns the first line of what `source` provided, without its line end. `noun` is what it should
/// contain.
fn first_line(octets: &[u8], source: &str, noun: &str) -> Result<Secret> {
    let line = octets
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("the {source} returned an empty {noun}"),
        )
        .with_fact("its first line is empty"));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

/// Returns a new salt for [`salted_hash`].
///
/// # Errors
/// The system has no random numbers.
pub fn new_salt() -> Result<Vec<u8>> {
    let mut salt = vec![0; 16];
    openssl::rand::rand_bytes(&mut salt).map_err(|error| no_hash(&error))?;
    Ok(salt)
}

/// Returns a hash by which a secret is recognised later. It is slow to compute (PBKDF2), so that
/// guessing a password from it is, too.
///
/// # Errors
/// OpenSSL does not have the algorithm.
pub fn salted_hash(parts: &[&[u8]], salt: &[u8]) -> Result<Vec<u8>> {
    let secret = Zeroizing::new(parts.concat());
    let mut hash = vec![0; 32];
    pbkdf2_hmac(
        &secret,
        salt,
        HASH_ROUNDS,
        MessageDigest::sha256(),
        &mut hash,
    )
    .map_err(|error| no_hash(&error))?;
    Ok(hash)
}

fn no_hash(error: &ErrorStack) -> Error {
    Error::new(Kind::Bug, "cannot hash the password").with_fact(error.to_string())
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
                .with_url_hint("use `--password-command`")
        })?;
    first_line(Zeroizing::new(password).as_bytes(), "prompt", "password")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn run(argv: &[&str], printed: Printed) -> Result<Secret> {
        let argv: Vec<_> = argv.iter().map(|word| (*word).to_owned()).collect();
        let env = SecretEnv {
            credentials: &CredentialFolder::default(),
            home: Path::new("/home/ann"),
            time_limit: None,
            stop: &Interrupt::default(),
        };
        from_command(&argv, printed, env)
    }

    fn command(script: &str) -> Result<Secret> {
        run(&["sh", "-c", script], Printed::Password)
    }

    #[test]
    fn token_consists_of_visible_characters() {
        let token = |line: &str| run(&["printf", line], Printed::Token);
        assert_eq!(*token("ya29.a-b_c~+/= \\nx").unwrap(), *b"ya29.a-b_c~+/=");
        for line in ["a b", "a\\001b", "gr\\374n", " "] {
            let error = token(line).unwrap_err();
            assert!(error.what().ends_with("is not a token"), "{error}");
        }
    }

    #[test]
    fn first_line_is_the_password() {
        assert_eq!(
            *command("printf 'geheim \\r\\nuser: ann\\n'").unwrap(),
            *b"geheim "
        );
        assert_eq!(*command("printf geheim").unwrap(), *b"geheim");
        assert_eq!(*command("printf 'gr\\374n\\n'").unwrap(), *b"gr\xfcn");
        assert_eq!(
            *command("printf '\\357\\273\\277geheim'").unwrap(),
            *b"geheim"
        );
    }

    #[test]
    fn failed_command_is_reported_with_its_error_output() {
        let error = command("echo geheim; printf 'no such entry\\r\\n' >&2; exit 2").unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.facts(), ["`sh` said: no such entry"]);
        assert!(!error.facts().concat().contains("geheim"), "{error}");
    }

    #[test]
    fn empty_password_and_missing_command_are_reported() {
        let nothing = command("printf '\\ngeheim'").unwrap_err();
        assert!(nothing.what().contains("an empty password"), "{nothing}");
        let missing = run(&["/nonexistent/pass"], Printed::Password).unwrap_err();
        assert!(missing.what().starts_with("cannot run"), "{missing}");
    }

    #[test]
    fn file_with_access_for_others_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geheim\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o604);
        let error = from_file(file.path(), Path::new("/home/ann")).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(
            error.hint().unwrap().starts_with("run `chmod 600"),
            "{error}"
        );
        mode(0o600);
        assert_eq!(
            *from_file(file.path(), Path::new("/home/ann")).unwrap(),
            *b"geheim"
        );
    }

    #[test]
    fn hint_for_an_unchangeable_mode_is_another_source() {
        insta::assert_snapshot!(
            [
                mode_hint("/run/secrets/pop", false),
                mode_hint("~/secrets/pop", false),
                mode_hint("~/secrets/pop", true),
            ]
            .join("\n"),
            @r#"
        its mode cannot be changed: set `password-command = ["cat", "/run/secrets/pop"]`, or copy it to a file with mode 600
        its mode cannot be changed: set `password-command = ["sh", "-c", "cat ~/secrets/pop"]`, or copy it to a file with mode 600
        run `chmod 600 ~/secrets/pop`
        "#
        );
    }
}
