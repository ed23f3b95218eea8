//! Accounts and destinations that are written on the command line: `pops://ann@pop.example.org`,
//! `--to mbox:~/mail`.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    account::{Account, Tls},
    overrides::Overrides,
    provenance::{Located, Source},
    resolve::build,
    schema::AccountTable,
    syntax::{FilePath, Host, Lmtp, percent_decoded},
};
use crate::{
    domain::{destination::Destination, ids::Address},
    error::{Error, Kind},
    text::{closest, sanitize},
};

/// The hint that shows the form of a URL.
const EXAMPLE: &str = "write it like pops://ann@pop.example.org";

/// Creates an account from a URL: `pops://ann@pop.example.org` (TLS) or `pop://…` (STARTTLS, never
/// without it). The user may contain `@`, and any character as `%40`.
///
/// # Errors
/// The URL is not valid, or there is no destination for the mail. The error never repeats the URL
/// while it may contain a password.
pub fn account(url: &str, overrides: &Overrides) -> Result<Account, Error> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| usage("the URL does not begin with pops:// or pop://", EXAMPLE))?;
    let tls = tls(scheme)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, server) = rest
        .rsplit_once('@')
        .filter(|(user, _)| !user.is_empty())
        .ok_or_else(|| usage("the URL has no user name", EXAMPLE))?;
    if user.contains(':') {
        return Err(usage(
            "the URL contains a password, which other users of this machine can see",
            "remove it, and pouch prompts for it; write a `:` in the user name as %3A",
        ));
    }
    let user = percent_decoded(user).ok_or_else(|| {
        usage(
            "the user name in the URL cannot be decoded",
            "percent-encode special characters as UTF-8, for example `@` as %40",
        )
    })?;
    let (host, port) = split_port(server).ok_or_else(|| {
        let server = sanitize(server.as_bytes());
        let what = format!("`{server}` is not a valid server: host or host:port");
        usage(&what, EXAMPLE)
    })?;

    let table = AccountTable {
        host: Some(from_url(host)),
        port: port.map(from_url),
        tls: Some(from_url(tls)),
        user: Some(from_url(user)),
        ..AccountTable::default()
    };
    let destination = overrides
        .destination
        .clone()
        .or(overrides.no_delivery.then_some(Destination::Stdout));
    // A URL contains no paths.
    let expand = |_: &FilePath| PathBuf::new();
    let mut account = build(url, table, destination, &expand).map_err(|_| {
        usage(
            "no destination given",
            "add `--to ~/Mail`, a Maildir that is created if it does not exist",
        )
    })?;
    overrides.apply(&mut account);
    Ok(account)
}

/// Returns the URL of `address`, which [`account`] reads.
pub fn of(address: &Address) -> String {
    let (scheme, port) = match address.port {
        995 => ("pops", String::new()),
        110 => ("pop", String::new()),
        port => ("pops", format!(":{port}")),
    };
    let host = &address.host;
    let user = address
        .user
        .bytes()
        .map(|byte| match byte {
            b'%' | b':' | b'/' | b' ' | 0x7f.. => format!("%{byte:02X}"),
            byte => char::from(byte).to_string(),
        })
        .collect::<String>();
    if host.contains(':') {
        format!("{scheme}://{user}@[{host}]{port}")
    } else {
        format!("{scheme}://{user}@{host}{port}")
    }
}

/// Returns the encryption that the scheme of a URL stands for.
fn tls(scheme: &str) -> Result<Tls, Error> {
    match scheme {
        "pops" => Ok(Tls::Implicit),
        "pop" => Ok(Tls::StartTls),
        _ => {
            let hint = match closest(scheme, ["pop", "pops"]) {
                Some(guess) => format!("did you mean {guess}://?"),
                None => "use pops:// (TLS) or pop:// (STARTTLS)".to_owned(),
            };
            let scheme = sanitize(scheme.as_bytes());
            Err(usage(&format!("unsupported URL scheme {scheme}://"), &hint))
        }
    }
}

fn usage(what: &str, hint: &str) -> Error {
    Error::new(Kind::Usage, what).with_hint(hint)
}

/// Marks a value as part of the URL.
fn from_url<T>(value: T) -> Arc<Located<T>> {
    Located::new(value, Source::Flag("the URL"))
}

/// Parses `host`, `host:port`, `[2001:db8::1]` or `[2001:db8::1]:port`. Returns `None` for anything
/// else.
fn split_port(server: &str) -> Option<(Host, Option<NonZero<u16>>)> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !server.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (server, None),
    };
    // Without brackets, the last part of an IPv6 address would be read as a port.
    let bare = host.contains(':') && !host.starts_with('[');
    Some((Host::new(host).filter(|_| !bare)?, port))
}

/// Parses the value of `--to`: a path, `maildir:DIR`, `mbox:FILE`, `pipe:COMMAND`,
/// `lmtp:ADDRESS [RECIPIENT ...]`, or `-` for standard output. Relative paths start at `dir`.
///
/// # Errors
/// The text is not a destination.
pub fn destination(text: &str, home: &Path, dir: &Path) -> Result<Destination, Error> {
    const KINDS: [&str; 4] = ["maildir", "mbox", "pipe", "lmtp"];
    let is_word = |kind: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-".contains(c);
        !kind.is_empty() && kind.chars().all(is_part)
    };
    let expand = |path: &FilePath| path.expand(home, dir);
    let path = |path: &str, hint: &str| {
        let written = sanitize(path.as_bytes());
        FilePath::new(path)
            .map(|path| expand(&path))
            .ok_or_else(|| usage(&format!("--to: `{written}` is not a valid path"), hint))
    };
    let maildir =
        |text: &str| path(text, "give a directory, like `--to ~/Mail`").map(Destination::Maildir);
    match text.split_once(':') {
        Some(("maildir", path)) => maildir(path),
        Some(("mbox", text)) => {
            path(text, "give a file, like `--to mbox:~/mail`").map(Destination::Mbox)
        }
        Some(("pipe", command)) => words("--to pipe", command).map(Destination::Pipe),
        Some(("lmtp", text)) => {
            let destination = |(server, recipients): (Lmtp, _)| {
                Destination::Lmtp(server.server(&expand), recipients)
            };
            Lmtp::with_recipients(text).map(destination).ok_or_else(|| {
                let server = sanitize(text.as_bytes());
                usage(
                    &format!("--to: `{server}` is not a valid LMTP server"),
                    "write it like lmtp:unix:/run/dovecot/lmtp or lmtp:host:24, \
                     followed by recipients",
                )
            })
        }
        None if text == "-" => Ok(Destination::Stdout),
        // A typing error such as `mailder:x`, or `imap:x`, should not create a directory of that
        // name.
        Some((kind, rest)) if is_word(kind) => {
            let rest = sanitize(rest.as_bytes());
            let hint = match closest(kind, KINDS) {
                Some(guess) => format!("did you mean `{guess}:{rest}`?"),
                None => {
                    "use a path, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS or -".to_owned()
                }
            };
            let what = format!("--to: unknown destination type `{kind}:`");
            let hint = format!("{hint} (for a directory of that name: `./{kind}:{rest}`)");
            Err(usage(&what, &hint))
        }
        _ => maildir(text),
    }
}

/// Words that have a meaning in a shell only.
const SHELL_OPERATORS: [&str; 8] = ["|", "||", "&&", "&", ";", ">", ">>", "<"];

/// Splits the command that is given to `flag` into words, as a shell would. No shell ever runs it.
///
/// # Errors
/// The command is empty, a quote in it is not closed, or it has an operator of the shell.
pub fn words(flag: &str, command: &str) -> Result<Vec<String>, Error> {
    let words = shlex::split(command).ok_or_else(|| {
        // the arguments may contain a password
        let program = command.split_whitespace().next().unwrap_or_default();
        let program = sanitize(program.as_bytes());
        usage(
            &format!("{flag}: unclosed quote in the command `{program} …`"),
            "enclose the whole command in the other kind of quotes",
        )
    })?;
    if let Some(operator) = shell_operator(command) {
        return Err(usage(
            &format!("{flag}: the command is run without a shell, which `{operator}` needs"),
            "name a shell: `sh -c '...'`",
        ));
    }
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(usage(
            &format!("{flag}: the command is empty"),
            "give a program and its arguments, as in a shell",
        )),
    }
}

/// Returns the first operator of the shell among the words of a command. A quoted or escaped one is
/// an argument.
fn shell_operator(command: &str) -> Option<&'static str> {
    let mut quote = None;
    let mut word = String::new();
    let mut chars = command.chars().chain([' ']);
    while let Some(char) = chars.next() {
        match quote {
            _ if char == '\\' && quote != Some('\'') => {
                word.extend([Some(char), chars.next()].into_iter().flatten());
            }
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if char.is_whitespace() => {
                let operator = SHELL_OPERATORS.into_iter().find(|known| *known == word);
                if operator.is_some() {
                    return operator;
                }
                word.clear();
            }
            None => {
                quote = Some(char).filter(|char| "'\"".contains(*char));
                word.push(char);
            }
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::too_many_lines, reason = "tables")]
mod tests {
    use super::{super::account::SecretSource, *};
    use crate::domain::destination::LmtpServer;

    fn setting(account: &Account, key: &str) -> String {
        let settings = account.all_settings();
        let setting = settings.iter().find(|setting| setting.key == key);
        let setting = setting.unwrap();
        format!("{} {}", setting.value, setting.source)
    }

    fn account_of(url: &str) -> Result<Account, Error> {
        let overrides = Overrides {
            destination: Some(Destination::Maildir(PathBuf::from("/home/ann/Mail"))),
            ..Overrides::default()
        };
        account(url, &overrides)
    }

    #[test]
    fn urls_are_accounts() {
        use Tls::{Implicit, StartTls};
        for (url, user, host, port, tls) in [
            ("pops://ann@a.example", "ann", "a.example", 995, Implicit),
            ("pop://ann@a.example/", "ann", "a.example", 110, StartTls),
            (
                "pops://ann@b@a.example:1995",
                "ann@b",
                "a.example",
                1995,
                Implicit,
            ),
            (
                "pops://a%3Ab%40c@[2001:db8::1]:995",
                "a:b@c",
                "2001:db8::1",
                995,
                Implicit,
            ),
            ("pops://ann@[::1]", "ann", "::1", 995, Implicit),
        ] {
            let account = account_of(url).unwrap();
            assert_eq!((&*account.name, &*account.user), (url, user));
            assert_eq!(
                (&*account.host, account.port, account.tls),
                (host, port, tls)
            );
            assert_eq!(account.secret, SecretSource::Prompt);
            assert!(!account.allow_plaintext_password);
            assert_eq!(setting(&account, "maildir"), "\"/home/ann/Mail\" --to");
            assert_eq!(setting(&account, "user"), format!("\"{user}\" the URL"));
            let source = if url.contains("995:") { "the URL" } else { "" };
            assert!(setting(&account, "port").ends_with(source), "{url}");
        }
    }

    #[test]
    fn url_with_a_password_is_not_repeated() {
        for url in [
            "pops://ann:hunter2@host",
            "pops://ann:hunt@er2@host",
            "pops://ann:hunter2",
            "pops://ann:hunter2/@host",
            "ann:hunter2@host",
        ] {
            let error = account_of(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!error.to_string().contains("er2"), "{url}");
        }
    }

    #[test]
    fn refused_urls() {
        let refused = [
            "ann@host",
            "pop3s://ann@host",
            "imap://ann@host",
            "pops://host",
            "pops://@host",
            "pops://ann:secret@host",
            "pops://ann@",
            "pops://ann@host:0",
            "pops://ann@::1",
            "pops://ann@host/INBOX",
            "pops://a%0d%0aQUIT@host",
            "pops://a%@host",
            "pops://a%ff@host",
            "pops://a%+1@host",
        ];
        let messages = refused.map(|url| {
            let error = account_of(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            format!("{url}\n{error}\n")
        });
        let quoted = "pipe:sh -c 'a | b' '|'";
        assert!(to(quoted).is_ok());
        insta::assert_snapshot!(messages.join("\n"), @"
        ann@host
        the URL does not begin with pops:// or pop://
        hint: write it like pops://ann@pop.example.org

        pop3s://ann@host
        unsupported URL scheme pop3s://
        hint: did you mean pops://?

        imap://ann@host
        unsupported URL scheme imap://
        hint: use pops:// (TLS) or pop:// (STARTTLS)

        pops://host
        the URL has no user name
        hint: write it like pops://ann@pop.example.org

        pops://@host
        the URL has no user name
        hint: write it like pops://ann@pop.example.org

        pops://ann:secret@host
        the URL contains a password, which other users of this machine can see
        hint: remove it, and pouch prompts for it; write a `:` in the user name as %3A

        pops://ann@
        `` is not a valid server: host or host:port
        hint: write it like pops://ann@pop.example.org

        pops://ann@host:0
        `host:0` is not a valid server: host or host:port
        hint: write it like pops://ann@pop.example.org

        pops://ann@::1
        `::1` is not a valid server: host or host:port
        hint: write it like pops://ann@pop.example.org

        pops://ann@host/INBOX
        `host/INBOX` is not a valid server: host or host:port
        hint: write it like pops://ann@pop.example.org

        pops://a%0d%0aQUIT@host
        the user name in the URL cannot be decoded
        hint: percent-encode special characters as UTF-8, for example `@` as %40

        pops://a%@host
        the user name in the URL cannot be decoded
        hint: percent-encode special characters as UTF-8, for example `@` as %40

        pops://a%ff@host
        the user name in the URL cannot be decoded
        hint: percent-encode special characters as UTF-8, for example `@` as %40

        pops://a%+1@host
        the user name in the URL cannot be decoded
        hint: percent-encode special characters as UTF-8, for example `@` as %40
        ");
        let error = account("pops://ann@host", &Overrides::default()).unwrap_err();
        insta::assert_snapshot!(error, @"
        no destination given
        hint: add `--to ~/Mail`, a Maildir that is created if it does not exist
        ");
    }

    fn to(text: &str) -> Result<Destination, Error> {
        destination(text, Path::new("/home/ann"), Path::new("/cwd"))
    }

    #[test]
    fn destinations_on_the_command_line() {
        for (text, path) in [
            ("~/Mail", "/home/ann/Mail"),
            ("Mail", "/cwd/Mail"),
            ("maildir:/m", "/m"),
            ("./mbox:x", "/cwd/./mbox:x"),
            ("./C:x", "/cwd/./C:x"),
            ("a.b:c", "/cwd/a.b:c"),
        ] {
            assert_eq!(to(text), Ok(Destination::Maildir(path.into())), "{text}");
        }
        let words = ["procmail", "-d", "a b"].map(str::to_owned).to_vec();
        assert_eq!(to("pipe:procmail -d 'a b'"), Ok(Destination::Pipe(words)));
        assert_eq!(to("mbox:~/m"), Ok(Destination::Mbox("/home/ann/m".into())));
        let server = LmtpServer::Unix("/cwd/run/lmtp".into());
        assert_eq!(
            to("lmtp:unix:run/lmtp"),
            Ok(Destination::Lmtp(server, Vec::new()))
        );
        let recipients = ["ann", "ben@example.org"].map(str::to_owned).to_vec();
        let server = LmtpServer::Tcp {
            host: "::1".into(),
            port: 24,
        };
        assert_eq!(
            to("lmtp:[::1]:24 ann ben@example.org"),
            Ok(Destination::Lmtp(server, recipients))
        );
        assert_eq!(to("-"), Ok(Destination::Stdout));
    }

    #[test]
    fn refused_destinations() {
        let refused = [
            "",
            "maildir:",
            "pipe: ",
            "pipe:a 'b",
            "pipe:spamc | procmail",
            "mbox:",
            "lmtp:localhost",
            "mailder:x",
            "ftp:x",
        ];
        let messages = refused.map(|text| {
            let error = to(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            format!("--to {text}\n{error}\n")
        });
        insta::assert_snapshot!(messages.join("\n"), @"
        --to 
        --to: `` is not a valid path
        hint: give a directory, like `--to ~/Mail`

        --to maildir:
        --to: `` is not a valid path
        hint: give a directory, like `--to ~/Mail`

        --to pipe: 
        --to pipe: the command is empty
        hint: give a program and its arguments, as in a shell

        --to pipe:a 'b
        --to pipe: unclosed quote in the command `a …`
        hint: enclose the whole command in the other kind of quotes

        --to pipe:spamc | procmail
        --to pipe: the command is run without a shell, which `|` needs
        hint: name a shell: `sh -c '...'`

        --to mbox:
        --to: `` is not a valid path
        hint: give a file, like `--to mbox:~/mail`

        --to lmtp:localhost
        --to: `localhost` is not a valid LMTP server
        hint: write it like lmtp:unix:/run/dovecot/lmtp or lmtp:host:24, followed by recipients

        --to mailder:x
        --to: unknown destination type `mailder:`
        hint: did you mean `maildir:x`? (for a directory of that name: `./mailder:x`)

        --to ftp:x
        --to: unknown destination type `ftp:`
        hint: use a path, maildir:DIR, mbox:FILE, pipe:COMMAND, lmtp:ADDRESS or - (for a directory of that name: `./ftp:x`)
        ");
    }
}
