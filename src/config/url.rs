//! Accounts and places that are named on the command line.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
};

use super::{
    Account, Tls,
    file::{Located, Position, Table},
    provenance::Source,
    resolve::{Overrides, settle, with_flags},
    syntax::{FilePath, Host, Lmtp},
};
use crate::{
    domain::destination::Destination,
    error::{Error, Kind},
    text::{closest, sanitize},
};

/// How an address is written, for those who wrote it otherwise.
const EXAMPLE: &str = "write it like pops://ann@pop.example.org";

/// The account that an address stands for: `pops://ann@pop.example.org` (TLS) or `pop://…`
/// (STARTTLS, never without it). The user may hold `@` as it is, and anything as `%40`.
///
/// # Errors
/// It is no such address, or there is no place for the mail. The address is never repeated in a
/// complaint while it may hold a password.
pub fn from_address(address: &str, flags: &Overrides) -> Result<Account, Error> {
    let (scheme, rest) = address
        .split_once("://")
        .ok_or_else(|| usage("an address begins with pops:// or pop://", EXAMPLE))?;
    let tls = match scheme {
        "pops" => Tls::Implicit,
        "pop" => Tls::StartTls,
        _ => {
            let hint = match closest(scheme, ["pop", "pops"]) {
                Some(guess) => format!("did you mean {guess}://?"),
                None => "pops:// (TLS) and pop:// (STARTTLS) are".to_owned(),
            };
            return Err(usage(
                &format!(
                    "{}:// is no kind of address that pouch knows",
                    sanitize(scheme.as_bytes())
                ),
                &hint,
            ));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, server) = rest
        .rsplit_once('@')
        .filter(|(user, _)| !user.is_empty())
        .ok_or_else(|| usage("the address names no user", EXAMPLE))?;
    if user.contains(':') {
        return Err(usage(
            "the address holds a password, which everyone on this computer can see there",
            "leave it out, and pouch asks for it; a `:` in the user's name is written %3A",
        ));
    }
    let user = percent_decoded(user).ok_or_else(|| {
        usage(
            "the user in the address is not readable",
            "write special characters in it as %40, in UTF-8",
        )
    })?;
    let (host, port) = split_port(server).ok_or_else(|| {
        let server = sanitize(server.as_bytes());
        usage(
            &format!("`{server}` is no server; it is written host or host:port"),
            EXAMPLE,
        )
    })?;

    let table = Table {
        host: Some(given(host)),
        port: port.map(given),
        tls: Some(given(tls)),
        user: Some(given(user)),
        ..Table::default()
    };
    let no_paths = |_: &FilePath| PathBuf::new();
    let destination = flags
        .destination
        .clone()
        .or(flags.nowhere.then_some(Destination::Stdout));
    let mut account = settle(address, &table, destination, &no_paths).map_err(|_| {
        usage(
            "where should the mail go?",
            "add `--to ~/Mail`, which is made a Maildir if it is missing",
        )
    })?;
    with_flags(&mut account, flags);
    Ok(account)
}

fn usage(what: &str, hint: &str) -> Error {
    Error::new(Kind::Usage, what).with_hint(hint)
}

/// A value that the address gives.
fn given<T>(value: T) -> Located<T> {
    Located {
        value,
        at: Position {
            span: 0..0,
            source: Source::Flag("the address"),
        },
    }
}

/// `host`, `host:port`, `[2001:db8::1]` or `[2001:db8::1]:port`.
fn split_port(server: &str) -> Option<(Host, Option<NonZero<u16>>)> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !server.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (server, None),
    };
    // Without brackets, the last part of an IPv6 address would be taken for a port.
    let bare = host.contains(':') && !host.starts_with('[');
    Some((Host::new(host).filter(|_| !bare)?, port))
}

/// The text with each `%40` and the like as the character that it stands for, if that gives
/// something which can be sent to a server.
fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (octets, rest) = if *first == b'%' {
            let digits = str::from_utf8(tail.get(..2)?).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            octets.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            (octets, &tail[2..])
        } else {
            octets.push(*first);
            (octets, tail)
        };
    }
    String::from_utf8(octets)
        .ok()
        .filter(|text| !text.contains(char::is_control))
}

/// The place that `--to` names: a path, `maildir:DIR`, `mbox:FILE`, `pipe:COMMAND`, `lmtp:ADDRESS`
/// or `-`, standard output. Recipients may stand behind ADDRESS. Relative paths start at `folder`.
///
/// # Errors
/// It is no place that pouch can deliver to.
pub fn destination(text: &str, home: &Path, folder: &Path) -> Result<Destination, Error> {
    const KINDS: [&str; 4] = ["maildir", "mbox", "pipe", "lmtp"];
    let is_word = |kind: &str| {
        !kind.is_empty()
            && kind
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-".contains(c))
    };
    let whole = |path: &FilePath| path.expand(home, folder);
    let path = |path: &str, hint: &str| {
        let written = sanitize(path.as_bytes());
        FilePath::new(path)
            .map(|path| whole(&path))
            .ok_or_else(|| usage(&format!("--to: `{written}` is no path"), hint))
    };
    let maildir =
        |text: &str| path(text, "name a folder, like `--to ~/Mail`").map(Destination::Maildir);
    match text.split_once(':') {
        Some(("maildir", path)) => maildir(path),
        Some(("mbox", text)) => {
            path(text, "name a file, like `--to mbox:~/mail`").map(Destination::Mbox)
        }
        Some(("pipe", command)) => words("--to pipe", command).map(Destination::Pipe),
        Some(("lmtp", text)) => {
            let destination = |(server, recipients): (Lmtp, _)| {
                Destination::Lmtp(server.server(&whole), recipients)
            };
            Lmtp::with_recipients(text).map(destination).ok_or_else(|| {
                let server = sanitize(text.as_bytes());
                usage(
                    &format!("--to: `{server}` is no LMTP server"),
                    "write it like lmtp:unix:/run/dovecot/lmtp or lmtp:host:24, with recipients behind it",
                )
            })
        }
        None if text == "-" => Ok(Destination::Stdout),
        // A slip like `mailder:x` or a hope like `imap:x` should not make a folder of that name.
        Some((kind, rest)) if is_word(kind) => {
            let rest = sanitize(rest.as_bytes());
            let meant = match closest(kind, KINDS) {
                Some(guess) => format!("did you mean `{guess}:{rest}`?"),
                None => {
                    "a place is a path, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS or -;"
                        .to_owned()
                }
            };
            Err(usage(
                &format!("--to: `{kind}:` is no kind of place that pouch knows"),
                &format!("{meant} a folder of that name is `./{kind}:{rest}`"),
            ))
        }
        _ => maildir(text),
    }
}

/// The words of a command given to `flag`, split as a shell would; no shell ever runs it.
///
/// # Errors
/// It is empty, or a quote in it is not closed.
pub fn words(flag: &str, command: &str) -> Result<Vec<String>, Error> {
    let words = shlex::split(command).ok_or_else(|| {
        let command = sanitize(command.as_bytes());
        usage(
            &format!("{flag}: a quote is not closed in `{command}`"),
            "put the whole command in quotes of the other kind",
        )
    })?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(usage(
            &format!("{flag}: the command is empty"),
            "name a program and its arguments, as for a shell",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SecretSource, *};
    use crate::domain::destination::LmtpServer;

    fn setting(account: &Account, key: &str) -> String {
        let setting = account
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .unwrap();
        format!("{} {}", setting.value, setting.source)
    }

    fn address(text: &str) -> Result<Account, Error> {
        let flags = Overrides {
            destination: Some(Destination::Maildir(PathBuf::from("/home/ann/Mail"))),
            ..Overrides::default()
        };
        from_address(text, &flags)
    }

    #[test]
    fn addresses_are_accounts() {
        for (text, user, host, port, tls) in [
            (
                "pops://ann@pop.example.org",
                "ann",
                "pop.example.org",
                995,
                Tls::Implicit,
            ),
            (
                "pop://ann@pop.example.org/",
                "ann",
                "pop.example.org",
                110,
                Tls::StartTls,
            ),
            (
                "pops://ann@example.org@pop.example.org:1995",
                "ann@example.org",
                "pop.example.org",
                1995,
                Tls::Implicit,
            ),
            (
                "pops://a%3Ab%40c@[2001:db8::1]:995",
                "a:b@c",
                "2001:db8::1",
                995,
                Tls::Implicit,
            ),
            ("pops://ann@[::1]", "ann", "::1", 995, Tls::Implicit),
        ] {
            let account = address(text).unwrap();
            assert_eq!(
                (
                    &*account.name,
                    &*account.user,
                    &*account.host,
                    account.port,
                    account.tls
                ),
                (text, user, host, port, tls)
            );
            assert_eq!(
                (&account.secret, account.allow_plaintext_password),
                (&SecretSource::Prompt, false)
            );
            assert_eq!(setting(&account, "maildir"), "\"/home/ann/Mail\" --to");
            assert_eq!(setting(&account, "user"), format!("\"{user}\" the address"));
        }
    }

    #[test]
    fn addresses_that_are_none() {
        const LIKE: &str = "write it like pops://ann@pop.example.org";
        const NO_READING: &str = "the user in the address is not readable";
        for (text, what, hint) in [
            ("ann@host", "an address begins with pops:// or pop://", LIKE),
            (
                "pop3s://ann@host",
                "pop3s:// is no kind of address that pouch knows",
                "did you mean pops://?",
            ),
            (
                "imap://ann@host",
                "imap:// is no kind of address that pouch knows",
                "pops:// (TLS) and pop:// (STARTTLS) are",
            ),
            ("pops://host", "the address names no user", LIKE),
            ("pops://@host", "the address names no user", LIKE),
            ("pops://", "the address names no user", LIKE),
            (
                "pops://ann@",
                "`` is no server; it is written host or host:port",
                LIKE,
            ),
            (
                "pops://ann@host:0",
                "`host:0` is no server; it is written host or host:port",
                LIKE,
            ),
            (
                "pops://ann@::1",
                "`::1` is no server; it is written host or host:port",
                LIKE,
            ),
            (
                "pops://ann@host/INBOX",
                "`host/INBOX` is no server; it is written host or host:port",
                LIKE,
            ),
            (
                "pops://a%0d%0aQUIT@host",
                NO_READING,
                "write special characters in it as %40, in UTF-8",
            ),
            (
                "pops://a%@host",
                NO_READING,
                "write special characters in it as %40, in UTF-8",
            ),
            (
                "pops://a%ff@host",
                NO_READING,
                "write special characters in it as %40, in UTF-8",
            ),
            (
                "pops://a%+1@host",
                NO_READING,
                "write special characters in it as %40, in UTF-8",
            ),
        ] {
            let error = address(text).unwrap_err();
            assert_eq!(
                (error.kind(), error.what(), error.hint()),
                (Kind::Usage, what, Some(hint)),
                "{text}"
            );
        }
        for text in [
            "pops://ann:hunter2@host",
            "pops://ann:hunt@er2@host",
            "pops://ann:hunter2",
            "pops://ann:hunter2/@host",
            "ann:hunter2@host",
        ] {
            assert!(
                !address(text).unwrap_err().to_string().contains("er2"),
                "{text}"
            );
        }
        assert_eq!(
            from_address("pops://ann@host", &Overrides::default())
                .unwrap_err()
                .to_string(),
            "where should the mail go?\nhint: add `--to ~/Mail`, which is made a Maildir if it is missing"
        );
    }

    #[test]
    fn places_on_the_command_line() {
        let at = |text: &str| destination(text, Path::new("/home/ann"), Path::new("/cwd"));
        for (text, path) in [
            ("~/Mail", "/home/ann/Mail"),
            ("Mail", "/cwd/Mail"),
            ("maildir:/m", "/m"),
            ("./mbox:x", "/cwd/./mbox:x"),
            ("./C:x", "/cwd/./C:x"),
            ("a.b:c", "/cwd/a.b:c"),
        ] {
            assert_eq!(
                at(text),
                Ok(Destination::Maildir(PathBuf::from(path))),
                "{text}"
            );
        }
        let words = ["procmail", "-d", "a b"].map(str::to_owned).to_vec();
        assert_eq!(at("pipe:procmail -d 'a b'"), Ok(Destination::Pipe(words)));
        assert_eq!(
            at("mbox:~/mail"),
            Ok(Destination::Mbox("/home/ann/mail".into()))
        );
        assert_eq!(
            at("lmtp:unix:run/lmtp"),
            Ok(Destination::Lmtp(
                LmtpServer::Unix("/cwd/run/lmtp".into()),
                Vec::new()
            ))
        );
        let recipients = ["ann", "ben@example.org"].map(str::to_owned).to_vec();
        let server = LmtpServer::Tcp {
            host: "::1".into(),
            port: 24,
        };
        assert_eq!(
            at("lmtp:[::1]:24 ann ben@example.org"),
            Ok(Destination::Lmtp(server, recipients))
        );
        assert_eq!(at("-"), Ok(Destination::Stdout));
        for (text, complaint) in [
            (
                "",
                "--to: `` is no path\nhint: name a folder, like `--to ~/Mail`",
            ),
            (
                "maildir:",
                "--to: `` is no path\nhint: name a folder, like `--to ~/Mail`",
            ),
            (
                "pipe: ",
                "--to pipe: the command is empty\nhint: name a program and its arguments, as for a shell",
            ),
            (
                "pipe:a 'b",
                "--to pipe: a quote is not closed in `a 'b`\nhint: put the whole command in quotes of the other kind",
            ),
            (
                "mbox:",
                "--to: `` is no path\nhint: name a file, like `--to mbox:~/mail`",
            ),
            (
                "lmtp:localhost",
                "--to: `localhost` is no LMTP server\nhint: write it like lmtp:unix:/run/dovecot/lmtp or lmtp:host:24, with recipients behind it",
            ),
            (
                "mailder:x",
                "--to: `mailder:` is no kind of place that pouch knows\nhint: did you mean `maildir:x`? a folder of that name is `./mailder:x`",
            ),
            (
                "ftp:x",
                "--to: `ftp:` is no kind of place that pouch knows\nhint: a place is a path, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS or -; a folder of that name is `./ftp:x`",
            ),
        ] {
            let error = at(text).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (Kind::Usage, complaint.to_owned())
            );
        }
    }
}
