//! The account that `pouch init` creates: pure functions from answers to TOML.

use toml_edit::{Array, InlineTable, Item, Table, Value};

use crate::{
    config::write,
    domain::{
        mail_address::MailAddress,
        mail_server::{Encryption, MailServer},
        provider::Provider,
    },
};

/// Where the password or token of the account comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The user types it in each run.
    Prompt,
    /// A command prints it.
    Command(Vec<String>),
    /// A file has it.
    File(String),
    /// A command prints an access token.
    TokenCommand(Vec<String>),
    /// pouch signs in with OAuth 2.0 at this provider, with a client of this ID.
    OAuth(String, Option<String>),
}

/// An account that is not in the config yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Its name.
    pub(super) name: String,
    /// Its server and login name.
    pub(super) server: MailServer,
    /// Its secret.
    pub(super) source: Source,
    /// Its Maildir, as it is written in the config.
    pub(super) maildir: String,
    /// The value of `keep`.
    pub(super) keep: String,
}

impl Draft {
    /// Returns the name and the table of the account.
    pub(super) fn table(&self) -> (String, Table) {
        let MailServer {
            host,
            port,
            encryption,
            user,
            ..
        } = &self.server;
        let mut keys: Vec<(&str, Value)> = vec![("host", host.as_str().into())];
        if *port != encryption.port() {
            keys.push(("port", i64::from(*port).into()));
        }
        match encryption {
            Encryption::Implicit => {}
            Encryption::StartTls => keys.push(("tls", encryption.keyword().into())),
            Encryption::Off => {
                keys.push(("tls", encryption.keyword().into()));
                keys.push(("allow-plaintext-password", true.into()));
            }
        }
        keys.push(("user", user.as_str().into()));
        let secret = self.source.key();
        let has_secret = secret.is_some();
        keys.extend(secret);
        keys.push(("maildir", self.maildir.as_str().into()));
        keys.push(("keep", self.keep.as_str().into()));
        let mut table = Table::new();
        for (key, value) in keys {
            table.insert(key, Item::Value(value));
        }
        if !has_secret {
            write::suggest_password_file(&mut table, &self.name);
        }
        (self.name.clone(), table)
    }
}

impl Source {
    /// Returns the key that sets it, or `None` if none does.
    fn key(&self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Prompt => return None,
            Self::Command(argv) => ("password-command", list(argv)),
            Self::File(path) => ("password-file", path.as_str().into()),
            Self::TokenCommand(argv) => ("token-command", list(argv)),
            Self::OAuth(provider, None) => ("oauth", provider.as_str().into()),
            Self::OAuth(provider, Some(client_id)) => {
                let mut table = InlineTable::new();
                table.insert("provider", provider.as_str().into());
                table.insert("client-id", client_id.as_str().into());
                ("oauth", table.into())
            }
        })
    }

    /// Returns whether a password is sent to the server.
    pub(super) fn is_password(&self) -> bool {
        !matches!(self, Self::TokenCommand(_) | Self::OAuth(..))
    }

    /// Returns whether a run without a terminal can obtain the secret.
    pub(super) fn is_unattended(&self) -> bool {
        *self != Self::Prompt
    }
}

fn list(words: &[String]) -> Value {
    words.iter().map(String::as_str).collect::<Array>().into()
}

/// A way to supply the secret, in the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The user types it once, and pouch stores it in a file.
    TypeToFile,
    /// The user types it once, and secret-tool stores it in the keyring.
    Keyring,
    /// A password store with a command like that of pass(1).
    Store(&'static str),
    /// Another command prints it.
    Command,
    /// An existing file has it.
    File,
    /// The user types it in each run.
    Prompt,
    /// pouch signs in with OAuth 2.0 at this provider.
    OAuth(&'static str),
    /// A command prints an access token.
    TokenCommand,
}

/// Returns the ways to supply the secret, the default one first. `installed` returns whether a
/// program can be run.
pub(super) fn choices(
    server: &MailServer,
    provider: Option<&Provider>,
    installed: impl Fn(&str) -> bool,
) -> Vec<Choice> {
    let oauth = provider
        .and_then(|provider| provider.oauth)
        .map(Choice::OAuth);
    let refuses = provider.is_some_and(|provider| provider.without_password().is_some());
    if refuses || !server.accepts_passwords {
        return oauth.into_iter().chain([Choice::TokenCommand]).collect();
    }
    let mut choices = vec![Choice::TypeToFile];
    if installed("secret-tool") {
        choices.push(Choice::Keyring);
    }
    let stores = ["pass", "gopass"];
    let stores = stores.into_iter().filter(|program| installed(program));
    choices.extend(stores.map(Choice::Store));
    choices.extend([Choice::Command, Choice::File, Choice::Prompt]);
    choices.extend(oauth);
    choices
}

/// Returns the name for a new account: the name of the domain, made unique.
pub(super) fn name(address: &MailAddress, is_taken: impl Fn(&str) -> bool) -> String {
    let domain = &address.written_domain;
    let labels: Vec<_> = domain.split('.').collect();
    let is_second = |label: &str| ["co", "com", "net", "org", "ne", "or", "ac"].contains(&label);
    let at = match labels.as_slice() {
        [.., _, second, _] if is_second(second) => labels.len() - 3,
        [.., _, _] => labels.len() - 2,
        _ => 0,
    };
    let base = labels[at].trim_start_matches(['-', '.']).to_owned();
    let local: String = address
        .local
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let with_local = format!("{base}-{}", local.trim_matches('-'));
    let numbered = (2..).map(|number| format!("{with_local}-{number}"));
    let mut names = [base, with_local.clone()].into_iter().chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or(with_local)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::domain::provider::provider_of;

    fn draft(encryption: Encryption, source: Source) -> Draft {
        Draft {
            name: "example".into(),
            server: MailServer::new("pop.example.org", encryption, "ann@example.org".into()),
            source,
            maildir: "~/Mail/example".into(),
            keep: "forever".into(),
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn defaults_are_not_written() {
        let file = Source::File("~/.config/pouch/secrets/example".into());
        let text = write::accounts(vec![draft(Encryption::Implicit, file).table()]);
        assert_snapshot!(text, @r#"
        [account.example]
        host = "pop.example.org"
        user = "ann@example.org"
        password-file = "~/.config/pouch/secrets/example"
        maildir = "~/Mail/example"
        keep = "forever"
        "#);
    }

    #[test]
    fn each_answer_becomes_a_key() {
        let mut odd = draft(Encryption::StartTls, Source::Prompt);
        odd.server.port = 1110;
        let tables = vec![
            odd.table(),
            draft(
                Encryption::Off,
                Source::Command(words("pass show mail/\"x")),
            )
            .table(),
        ];
        let mut text = String::new();
        for table in tables {
            text = write::append(&text, vec![table]);
        }
        for source in [
            Source::OAuth("microsoft".into(), None),
            Source::OAuth("google".into(), Some("id".into())),
            Source::TokenCommand(words("oama access ann@example.org")),
        ] {
            text = write::append(&text, vec![draft(Encryption::Implicit, source).table()]);
        }
        assert_snapshot!(text, @r#"
        [account.example]
        host = "pop.example.org"
        port = 1110
        tls = "starttls"
        user = "ann@example.org"
        # password-file = "~/.config/pouch/secrets/example"
        maildir = "~/Mail/example"
        keep = "forever"

        [account.example]
        host = "pop.example.org"
        tls = "off"
        allow-plaintext-password = true
        user = "ann@example.org"
        password-command = ["pass", "show", 'mail/"x']
        maildir = "~/Mail/example"
        keep = "forever"

        [account.example]
        host = "pop.example.org"
        user = "ann@example.org"
        oauth = "microsoft"
        maildir = "~/Mail/example"
        keep = "forever"

        [account.example]
        host = "pop.example.org"
        user = "ann@example.org"
        oauth = { provider = "google", client-id = "id" }
        maildir = "~/Mail/example"
        keep = "forever"

        [account.example]
        host = "pop.example.org"
        user = "ann@example.org"
        token-command = ["oama", "access", "ann@example.org"]
        maildir = "~/Mail/example"
        keep = "forever"
        "#);
    }

    #[test]
    fn choices_follow_from_the_provider() {
        let shown = |host: &str, accepts_passwords, programs: &[&str]| {
            let mut server = MailServer::new(host, Encryption::Implicit, "ann".into());
            server.accepts_passwords = accepts_passwords;
            let choices = choices(&server, provider_of(host), |name| programs.contains(&name));
            format!("{choices:?}")
        };
        let lines = [
            shown("pop.example.org", true, &[]),
            shown("pop.example.org", true, &["pass", "secret-tool"]),
            shown("pop.example.org", false, &["pass"]),
            shown("pop.gmail.com", true, &["gopass"]),
            shown("outlook.office365.com", true, &["pass"]),
        ];
        assert_snapshot!(lines.join("\n"), @r#"
        [TypeToFile, Command, File, Prompt]
        [TypeToFile, Keyring, Store("pass"), Command, File, Prompt]
        [TokenCommand]
        [TypeToFile, Store("gopass"), Command, File, Prompt, OAuth("google")]
        [OAuth("microsoft"), TokenCommand]
        "#);
    }

    #[test]
    fn name_is_that_of_the_domain() {
        let of = |text: &str, taken: &[&str]| {
            name(&MailAddress::parse(text).unwrap(), |name| {
                taken.contains(&name)
            })
        };
        assert_eq!(of("ann@example.org", &[]), "example");
        assert_eq!(of("ann@mail.example.co.uk", &[]), "example");
        assert_eq!(of("ann@co.uk", &[]), "co");
        assert_eq!(of("ann@localhost", &[]), "localhost");
        assert_eq!(of("ann@bücher.example", &[]), "bücher");
        assert_eq!(of("a.b+c@gmail.com", &["gmail"]), "gmail-a-b-c");
        let taken = ["gmail", "gmail-ann", "gmail-ann-2"];
        assert_eq!(of("ann@gmail.com", &taken), "gmail-ann-3");
    }
}
