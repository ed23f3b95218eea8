//! Large mail providers: what they require of a POP3 client, and which messages they list.
//!
//! A provider is found by the name of its POP3 server. The table has what hints and `pouch check`
//! use. A provider that accepts the account's password and needs no setting is not in it.

use super::{mail_address::is_below, refusal::MICROSOFT, time::TimeSpan};

/// The password that a provider accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Password {
    /// That of the account.
    Own,
    /// A password for this program, created in the account settings.
    App,
    /// A password for this program, if 2-step verification is on.
    AppWithTwoSteps,
    /// A code for this program, created in the web settings.
    Code,
    /// A password for mail programs, set in the account settings.
    Mail,
    /// None, only OAuth.
    OauthOnly,
}

/// Whether POP3 has to be enabled in the provider's web settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// It is always enabled.
    Always,
    /// The user has to enable it.
    Enabled,
    /// The user has to enable it, and it is disabled again if it is not used for a long time.
    Lapses,
}

/// A mail provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, for messages.
    pub name: &'static str,
    /// The domains of its POP3 servers.
    domains: &'static [&'static str],
    password: Password,
    access: Access,
    /// Whether a session lists only a part of the mailbox, and messages that were fetched are not
    /// listed again although they were not deleted.
    pub lists_a_part: bool,
    /// The shortest time between logins that the provider accepts in the long run, in minutes. 0 if
    /// none is known.
    minutes: u64,
    /// What its web settings decide: a clause.
    pub note: Option<&'static str>,
    /// Its value for the key `oauth`, if users can sign in with OAuth 2.0.
    pub oauth: Option<&'static str>,
}

/// Returns a provider without peculiarities.
const fn provider(
    name: &'static str,
    domains: &'static [&'static str],
    password: Password,
    access: Access,
) -> Provider {
    Provider {
        name,
        domains,
        password,
        access,
        lists_a_part: false,
        minutes: 0,
        note: None,
        oauth: None,
    }
}

/// The note about providers that list a part of the mailbox by default.
const LAST_DAYS: &str = "its web settings may limit the list to the last 30 days";

/// The note about providers that keep the spam folder out.
const NO_SPAM: &str = "spam is listed only if that is enabled in its web settings";

/// The providers.
const PROVIDERS: [Provider; 25] = [
    Provider {
        lists_a_part: true,
        minutes: 10,
        note: Some(
            "each session lists a part of the mailbox; its web settings decide what happens to \
             fetched messages",
        ),
        oauth: Some("google"),
        ..provider(
            "Gmail",
            &["gmail.com", "googlemail.com"],
            Password::App,
            Access::Enabled,
        )
    },
    Provider {
        note: Some("its web settings decide whether deleted messages are moved to the trash"),
        oauth: Some("microsoft"),
        ..provider(
            "Microsoft",
            &["office365.com", "outlook.com", "hotmail.com", "live.com"],
            Password::OauthOnly,
            Access::Enabled,
        )
    },
    provider(
        "Yahoo",
        &["pop.mail.yahoo.com"],
        Password::App,
        Access::Always,
    ),
    provider("AOL", &["pop.aol.com"], Password::App, Access::Always),
    provider("AT&T", &["inbound.att.net"], Password::App, Access::Always),
    Provider {
        oauth: Some("fastmail"),
        ..provider("Fastmail", &["fastmail.com"], Password::App, Access::Always)
    },
    Provider {
        oauth: Some("comcast"),
        ..provider("Comcast", &["comcast.net"], Password::Own, Access::Enabled)
    },
    Provider {
        minutes: 15,
        note: Some(NO_SPAM),
        ..provider("GMX", &["gmx.net"], Password::Own, Access::Lapses)
    },
    Provider {
        minutes: 15,
        note: Some(NO_SPAM),
        ..provider("GMX", &["gmx.com"], Password::Own, Access::Enabled)
    },
    Provider {
        minutes: 15,
        note: Some(NO_SPAM),
        ..provider(
            "web.de",
            &["web.de"],
            Password::AppWithTwoSteps,
            Access::Lapses,
        )
    },
    provider(
        "mail.com",
        &["pop.mail.com"],
        Password::Own,
        Access::Enabled,
    ),
    provider(
        "T-Online",
        &["securepop.t-online.de"],
        Password::Mail,
        Access::Always,
    ),
    Provider {
        note: Some("it lists only the folders that are chosen in its web settings"),
        ..provider(
            "Yandex",
            &["yandex.com", "yandex.ru"],
            Password::App,
            Access::Enabled,
        )
    },
    provider("mail.ru", &["pop.mail.ru"], Password::App, Access::Always),
    provider("Rambler", &["rambler.ru"], Password::Own, Access::Enabled),
    provider(
        "Zoho",
        &[
            "zoho.com",
            "zoho.eu",
            "zoho.in",
            "zoho.jp",
            "zoho.com.au",
            "zohocloud.ca",
        ],
        Password::AppWithTwoSteps,
        Access::Enabled,
    ),
    provider("Orange", &["pop.orange.fr"], Password::Own, Access::Enabled),
    provider(
        "Seznam",
        &["pop3.seznam.cz"],
        Password::Own,
        Access::Enabled,
    ),
    provider("Onet", &["poczta.onet.pl"], Password::Own, Access::Enabled),
    provider("WP", &["pop3.wp.pl"], Password::Own, Access::Enabled),
    provider(
        "Naver",
        &["pop.naver.com"],
        Password::AppWithTwoSteps,
        Access::Enabled,
    ),
    Provider {
        note: Some(LAST_DAYS),
        ..provider("QQ", &["qq.com"], Password::Code, Access::Enabled)
    },
    Provider {
        note: Some(LAST_DAYS),
        ..provider(
            "NetEase",
            &["163.com", "126.com", "yeah.net"],
            Password::Code,
            Access::Enabled,
        )
    },
    provider("Sina", &["sina.com"], Password::Code, Access::Enabled),
    Provider {
        minutes: 1,
        ..provider("OVH", &["ssl0.ovh.net"], Password::Own, Access::Always)
    },
];

/// Returns the provider of this POP3 server, or `None` if it is not known.
pub fn provider_of(host: &str) -> Option<&'static Provider> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    PROVIDERS.iter().find(|provider| {
        provider
            .domains
            .iter()
            .any(|domain| is_below(&host, domain))
    })
}

impl Provider {
    /// Returns what to do instead of using a password: an action, which contains
    /// [`ACCOUNT`](super::refusal::ACCOUNT). `None` if passwords are accepted.
    pub fn without_password(&self) -> Option<&'static str> {
        (self.password == Password::OauthOnly).then_some(MICROSOFT)
    }

    /// Returns what is required of a password and of the account, to be appended to "check the
    /// password". Empty if there is nothing special.
    pub fn requirements(&self) -> String {
        let password = match self.password {
            Password::Own | Password::OauthOnly => "",
            Password::App => ", which must be an app password",
            Password::AppWithTwoSteps => {
                ", which must be an app password if 2-step verification is on"
            }
            Password::Code => ", which must be an authorization code",
            Password::Mail => ", which must be the one for mail programs",
        };
        let name = self.name;
        let access = match self.access {
            Access::Always => String::new(),
            Access::Enabled => format!(", and that POP3 is enabled in {name}'s web settings"),
            Access::Lapses => {
                format!(", and that {name} has not disabled POP3 after a long time without use")
            }
        };
        format!("{password}{access}")
    }

    /// Returns what the user has to do before the first login, with a password or with OAuth 2.0: a
    /// sentence without its subject. `None` if there is nothing to do.
    pub fn before_first_login(&self, with_password: bool) -> Option<String> {
        let name = self.name;
        let password = match self.password {
            Password::Own | Password::OauthOnly => None,
            Password::App => Some(format!(
                "create an app password in {name}'s account settings"
            )),
            Password::AppWithTwoSteps => Some(format!(
                "create an app password in {name}'s account settings if 2-step verification is on"
            )),
            Password::Code => Some(format!(
                "create an authorization code in {name}'s web settings"
            )),
            Password::Mail => Some(format!(
                "set the password for mail programs in {name}'s account settings"
            )),
        };
        let access = match self.access {
            Access::Always => None,
            Access::Enabled | Access::Lapses => {
                Some(format!("enable POP3 in {name}'s web settings"))
            }
        };
        let password = password.filter(|_| with_password);
        let steps: Vec<_> = access.into_iter().chain(password).collect();
        (!steps.is_empty()).then(|| steps.join(", and "))
    }

    /// Returns the name of its passwords for mail programs, for a prompt.
    pub fn password_noun(&self) -> &'static str {
        match self.password {
            Password::App => "app password",
            Password::Code => "authorization code",
            Password::Own | Password::AppWithTwoSteps | Password::Mail | Password::OauthOnly => {
                "password"
            }
        }
    }

    /// Returns the shortest time between logins that the provider accepts in the long run, or
    /// `None` if it is not known.
    pub fn interval(&self) -> Option<TimeSpan> {
        (self.minutes > 0).then(|| TimeSpan::from_seconds(self.minutes * 60))
    }
}

/// Returns whether `user` is a user of Gmail in the recent mode, `recent:ann@gmail.com`: the
/// messages of the last 30 days are listed to each client, whether or not they were fetched.
pub fn is_recent(user: &str) -> bool {
    user.get(..7)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("recent:"))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn provider_is_found_by_its_domain() {
        let name = |host| provider_of(host).map(|provider| provider.name);
        assert_eq!(name("POP.gmail.com."), Some("Gmail"));
        assert_eq!(name("outlook.office365.com"), Some("Microsoft"));
        assert_eq!(name("pop.gmx.net"), Some("GMX"));
        assert_eq!(name("pop.notgmail.com"), None);
        assert_eq!(name("127.0.0.1"), None);
        assert_eq!(name("pop.mail.ru"), Some("mail.ru"));
        assert_eq!(name("pop.mail.com"), Some("mail.com"));
    }

    #[test]
    fn hints_follow_from_the_table() {
        let lines: Vec<_> = PROVIDERS
            .iter()
            .map(|provider| {
                let hint = provider.without_password().map_or_else(
                    || format!("check the password{}", provider.requirements()),
                    str::to_owned,
                );
                format!("{}: {hint}", provider.domains[0])
            })
            .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        gmail.com: check the password, which must be an app password, and that POP3 is enabled in Gmail's web settings
        office365.com: set oauth = "microsoft", run `pouch login ACCOUNT`
        pop.mail.yahoo.com: check the password, which must be an app password
        pop.aol.com: check the password, which must be an app password
        inbound.att.net: check the password, which must be an app password
        fastmail.com: check the password, which must be an app password
        comcast.net: check the password, and that POP3 is enabled in Comcast's web settings
        gmx.net: check the password, and that GMX has not disabled POP3 after a long time without use
        gmx.com: check the password, and that POP3 is enabled in GMX's web settings
        web.de: check the password, which must be an app password if 2-step verification is on, and that web.de has not disabled POP3 after a long time without use
        pop.mail.com: check the password, and that POP3 is enabled in mail.com's web settings
        securepop.t-online.de: check the password, which must be the one for mail programs
        yandex.com: check the password, which must be an app password, and that POP3 is enabled in Yandex's web settings
        pop.mail.ru: check the password, which must be an app password
        rambler.ru: check the password, and that POP3 is enabled in Rambler's web settings
        zoho.com: check the password, which must be an app password if 2-step verification is on, and that POP3 is enabled in Zoho's web settings
        pop.orange.fr: check the password, and that POP3 is enabled in Orange's web settings
        pop3.seznam.cz: check the password, and that POP3 is enabled in Seznam's web settings
        poczta.onet.pl: check the password, and that POP3 is enabled in Onet's web settings
        pop3.wp.pl: check the password, and that POP3 is enabled in WP's web settings
        pop.naver.com: check the password, which must be an app password if 2-step verification is on, and that POP3 is enabled in Naver's web settings
        qq.com: check the password, which must be an authorization code, and that POP3 is enabled in QQ's web settings
        163.com: check the password, which must be an authorization code, and that POP3 is enabled in NetEase's web settings
        sina.com: check the password, which must be an authorization code, and that POP3 is enabled in Sina's web settings
        ssl0.ovh.net: check the password
        "#);
    }

    #[test]
    fn first_steps_follow_from_the_table() {
        let lines: Vec<_> = ["pop.gmail.com", "pop.gmx.net", "pop.qq.com", "pop.aol.com"]
            .map(|host| provider_of(host).and_then(|it| it.before_first_login(true)))
            .into_iter()
            .flatten()
            .collect();
        assert_snapshot!(lines.join("\n"), @"
        enable POP3 in Gmail's web settings, and create an app password in Gmail's account settings
        enable POP3 in GMX's web settings
        enable POP3 in QQ's web settings, and create an authorization code in QQ's web settings
        create an app password in AOL's account settings
        ");
        let ovh = provider_of("ssl0.ovh.net").unwrap();
        assert_eq!(ovh.before_first_login(true), None);
        let aol = provider_of("pop.aol.com").unwrap();
        assert_eq!(aol.before_first_login(false), None);
    }

    #[test]
    fn recent_mode_is_recognised_in_any_case() {
        assert!(is_recent("recent:ann@gmail.com"));
        assert!(is_recent("Recent:ann@gmail.com"));
        assert!(!is_recent("ann@gmail.com"));
        assert!(!is_recent("récent"));
    }
}
