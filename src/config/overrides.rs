//! The flags of `pouch fetch` that change an account.
//!
//! No flag makes pouch delete more than the config allows. `--max-size` may also raise the limit of
//! the config, since that only makes pouch fetch more.

use std::{path::Path, sync::Arc};

use super::{
    account::{Account, SecretSource},
    provenance::{UNSET, override_setting},
    schema::Choice,
    value::{Value, list_of, quoted},
};
use crate::domain::{destination::Destination, size::ByteSize};

/// The flags of the command line that change an account.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--keep`: delete nothing from the server.
    pub keep: bool,
    /// `--limit`: fetch at most this many messages; 0 is no limit, as in the config.
    pub limit: Option<u64>,
    /// `--max-size`: leave larger messages on the server, instead of the limit in the config.
    pub max_size: Option<ByteSize>,
    /// `--to`: deliver to this destination.
    pub destination: Option<Destination>,
    /// The command delivers nothing: a URL needs no destination.
    pub no_delivery: bool,
    /// `--mailbox`: the name of the mailbox.
    pub mailbox: Option<String>,
    /// `--password-command`: the first line that it prints is the password.
    pub password_command: Option<Vec<String>>,
}

impl Overrides {
    /// Applies the flags to an account.
    pub fn apply(&self, account: &mut Account) {
        if self.keep {
            keep(account);
        }
        if let Some(limit) = self.limit.filter(|limit| *limit > 0) {
            restrict_limit(account, limit);
        }
        if let Some(size) = self.max_size {
            limit_size(account, size);
        }
        if let Some(destination) = &self.destination {
            deliver_to(account, destination);
        }
        if let Some(name) = &self.mailbox {
            account.mailbox = Some(name.clone());
            override_setting(
                Arc::make_mut(&mut account.settings),
                "mailbox",
                &quoted(name),
                "--mailbox",
            );
        }
        if let Some(command) = &self.password_command {
            const FLAG: &str = "--password-command";
            account.secret = SecretSource::Command(command.clone());
            for key in Choice::Password.keys() {
                override_setting(Arc::make_mut(&mut account.settings), key, UNSET, FLAG);
            }
            let text = list_of(command);
            override_setting(
                Arc::make_mut(&mut account.settings),
                "password-command",
                &text,
                FLAG,
            );
        }
    }
}

/// Deletes nothing from the server.
fn keep(account: &mut Account) {
    account.policy.may_delete = false;
    for (key, value) in [
        ("keep", "\"forever\""),
        ("keep-newest", UNSET),
        ("keep-total", UNSET),
        ("sync-deletions", "false"),
    ] {
        override_setting(Arc::make_mut(&mut account.settings), key, value, "--keep");
    }
}

/// Fetches at most `limit` messages, if that is fewer than before.
fn restrict_limit(account: &mut Account, limit: u64) {
    if account.policy.limit.is_none_or(|set| limit < set) {
        account.policy.limit = Some(limit);
        override_setting(
            Arc::make_mut(&mut account.settings),
            "limit",
            &limit.to_string(),
            "--limit",
        );
    }
}

/// Leaves messages larger than `size` on the server, instead of the limit in the config.
fn limit_size(account: &mut Account, size: ByteSize) {
    account.policy.max_size = Some(size);
    override_setting(
        Arc::make_mut(&mut account.settings),
        "max-size",
        &size.to_toml(),
        "--max-size",
    );
}

/// Delivers all messages to one destination, overriding rules and multidrop.
fn deliver_to(account: &mut Account, destination: &Destination) {
    const FLAG: &str = "--to";
    let destination = destination
        .clone()
        .with_default_recipients(&account.lmtp_recipients);
    let sorts = account.routing.needs_header();
    let settings = Arc::make_mut(&mut account.settings);
    if destination != account.routing.default || sorts {
        // Messages that were delivered elsewhere are not in this destination. That must not look
        // as if the user had deleted them.
        account.policy.sync_deletions = false;
        override_setting(settings, "sync-deletions", "false", FLAG);
    }
    for key in Choice::Destination.keys() {
        override_setting(settings, key, UNSET, FLAG);
    }
    let path = |path: &Path| quoted(&path.to_string_lossy());
    match &destination {
        Destination::Maildir(dir) => override_setting(settings, "maildir", &path(dir), FLAG),
        Destination::Mbox(file) => override_setting(settings, "mbox", &path(file), FLAG),
        Destination::Pipe(command) => override_setting(settings, "pipe", &list_of(command), FLAG),
        Destination::Lmtp(server, recipients) => {
            override_setting(settings, "lmtp", &quoted(&server.to_string()), FLAG);
            if *recipients != account.lmtp_recipients {
                override_setting(settings, "lmtp-recipients", &list_of(recipients), FLAG);
            }
        }
        Destination::Stdout => {}
    }
    account.routing.default = destination;
    account.routing.multidrop = None;
    for rule in &mut account.routing.rules {
        rule.to = None;
        rule.also.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{setting, with},
        *,
    };

    #[test]
    fn flags_that_would_allow_more_are_ignored() {
        let lines = "keep = \"none\"\nkeep-newest = 3\nlimit = 10\nmax-size = \"1MB\"\n\
                     sync-deletions = true";
        let mut account = with(lines).unwrap();
        let before = account.policy;
        let overrides = Overrides {
            limit: Some(0),
            destination: Some(account.routing.default.clone()),
            ..Overrides::default()
        };
        overrides.apply(&mut account);
        assert_eq!(account.policy, before);
        let limit = setting(&account, "limit");
        assert_eq!(limit, "10 ~/.config/pouch/config.toml:7");
    }

    #[test]
    fn max_size_can_be_raised() {
        let mut account = with("max-size = \"1MB\"").unwrap();
        let overrides = Overrides {
            max_size: Some(ByteSize::from_octets(2_000_000)),
            ..Overrides::default()
        };
        overrides.apply(&mut account);
        assert_eq!(account.policy.max_size, overrides.max_size);
        assert_eq!(setting(&account, "max-size"), "\"2MB\" --max-size");
    }

    #[test]
    fn flags_restrict_and_are_shown() {
        let lines = "keep = \"none\"\nkeep-newest = 3\nlimit = 10\nmax-size = \"1MB\"\n\
                     sync-deletions = true";
        let mut account = with(lines).unwrap();
        let overrides = Overrides {
            keep: true,
            limit: Some(2),
            max_size: Some(ByteSize::from_octets(1000)),
            destination: Some(Destination::Pipe(vec!["cat".to_owned()])),
            password_command: Some(vec!["pass".to_owned(), "a b".to_owned()]),
            no_delivery: false,
            mailbox: None,
        };
        overrides.apply(&mut account);
        assert!(!account.policy.may_delete && !account.policy.sync_deletions);
        assert_eq!(account.policy.limit, Some(2));
        assert_eq!(account.policy.max_size, overrides.max_size);
        assert_eq!(
            Some(&account.routing.default),
            overrides.destination.as_ref()
        );
        for (key, shown) in [
            ("keep", "\"forever\" --keep"),
            ("keep-newest", "unset --keep"),
            ("limit", "2 --limit"),
            ("max-size", "\"1KB\" --max-size"),
            ("maildir", "unset --to"),
            ("mbox", "unset --to"),
            ("pipe", "[\"cat\"] --to"),
            ("lmtp", "unset --to"),
            ("password-command", "[\"pass\", \"a b\"] --password-command"),
            ("password-file", "unset --password-command"),
        ] {
            assert_eq!(setting(&account, key), shown);
        }
    }

    #[test]
    fn mail_missing_from_another_maildir_is_not_deleted() {
        let mut account = with("sync-deletions = true").unwrap();
        let overrides = Overrides {
            destination: Some(Destination::Maildir("/tmp/x".into())),
            ..Overrides::default()
        };
        overrides.apply(&mut account);
        assert!(!account.policy.sync_deletions);
        assert_eq!(setting(&account, "sync-deletions"), "false --to");
    }
}
