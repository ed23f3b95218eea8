//! Numbers, keywords, strings, times, sizes, hosts and paths.

use std::{num::NonZero, str::FromStr};

use toml::de::DeValue;

use super::read::{Unexpected, Value, Words, parsed, quoted, text_in};
use crate::{
    config::{
        account::{RequestAhead, Tls},
        route::{Proxy, ProxyMistake},
        syntax::{FilePath, Host, Lmtp, Pin},
    },
    domain::{
        auth::{Auth, Mechanism},
        pattern::Pattern,
        plan::Keep,
        rule::Bound,
        size::ByteSize,
        time::{Days, TimeSpan},
    },
};

impl Value for bool {
    const EXPECTED: &'static str = "true or false, without quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        value.as_bool().ok_or_else(|| Unexpected::type_of(value))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// Reads a whole number in decimal notation.
fn number<T: FromStr>(value: &DeValue<'_>) -> Result<T, Unexpected> {
    match value {
        DeValue::Integer(number) if number.radix() != 10 => {
            Err(Unexpected::new("a hexadecimal, octal or binary number"))
        }
        DeValue::Integer(number) => number
            .as_str()
            .parse()
            .map_err(|_| Unexpected::value(value)),
        DeValue::Float(_) => Err(Unexpected::value(value)),
        _ => Err(Unexpected::type_of(value)),
    }
}

macro_rules! numbers {
    ($($number:ty: $expected:literal,)*) => {$(
        impl Value for $number {
            const EXPECTED: &'static str = $expected;

            fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
                number(value)
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers! {
    u32: "an integer of at least 0, without quotes",
    u64: "an integer of at least 0, without quotes",
    NonZero<u16>: "an integer from 1 to 65535, without quotes",
    NonZero<u32>: "an integer of at least 1, without quotes",
    NonZero<u64>: "an integer of at least 1, without quotes",
    NonZero<usize>: "an integer of at least 1, without quotes",
    NonZero<i32>: "a nonzero integer without quotes, \
        such as 1 for the first or -1 for the last field",
}

impl Words for Tls {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("implicit", Self::Implicit),
        ("starttls", Self::StartTls),
        ("off", Self::Off),
    ];
}

impl Value for Tls {
    const EXPECTED: &'static str = r#""implicit", "starttls" or "off""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        Self::read_word(value)
    }

    fn to_toml(&self) -> String {
        quoted(self.word())
    }
}

impl Words for Auth {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("scram-sha-256", Self::Only(Mechanism::ScramSha256)),
        ("scram-sha-1", Self::Only(Mechanism::ScramSha1)),
        ("plain", Self::Only(Mechanism::Plain)),
        ("login", Self::Only(Mechanism::Login)),
        ("user", Self::Only(Mechanism::User)),
        ("cram-md5", Self::Only(Mechanism::CramMd5)),
        ("apop", Self::Only(Mechanism::Apop)),
        ("external", Self::Only(Mechanism::External)),
        ("xoauth2", Self::Only(Mechanism::XOAuth2)),
        ("oauthbearer", Self::Only(Mechanism::OAuthBearer)),
    ];
}

impl Value for Auth {
    const EXPECTED: &'static str = "\"auto\", \"scram-sha-256\", \"scram-sha-1\", \"plain\", \
        \"login\", \"user\", \"cram-md5\", \"apop\", \"external\", \"xoauth2\" or \
        \"oauthbearer\"";

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        Self::read_word(value)
    }

    fn to_toml(&self) -> String {
        quoted(self.word())
    }
}

impl Value for RequestAhead {
    const EXPECTED: &'static str = r#""auto" or an integer of at least 1"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        match value {
            DeValue::String(_) => parsed(value, |text| (text == "auto").then_some(Self::Auto)),
            _ => number::<NonZero<u32>>(value).map(|count| Self::Count(count.get())),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Count(count) => count.to_string(),
        }
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a string in quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        text_in(value).map(str::to_owned)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for Host {
    const EXPECTED: &'static str = r#"a host name or an address in quotes, like "pop.example.org""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let is_url = value
            .as_str()
            .is_some_and(|text| text.contains([':', '/', '@']));
        let hint = is_url
            .then_some("set the port, TLS and the user with the keys `port`, `tls` and `user`");
        parsed(value, Self::new).map_err(|unexpected| unexpected.with_hint(hint))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for Proxy {
    const EXPECTED: &'static str =
        r#""socks5://host:port", "http://host:port" (a user before the host: "user@"), or "none""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        Self::new(text_in(value)?).map_err(|mistake| match mistake {
            ProxyMistake::Password => Unexpected::new("a URL with a password").with_hint(Some(
                "remove the password, and let `proxy-password-command` print it",
            )),
            ProxyMistake::Other(hint) => Unexpected::value(value).with_hint(hint),
        })
    }

    fn to_toml(&self) -> String {
        match self {
            Self::None => quoted("none"),
            Self::Server(server) => quoted(&server.to_string()),
        }
    }
}

impl Value for FilePath {
    const EXPECTED: &'static str = r#"a path in quotes, like "~/Mail/work""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let for_a_shell = value
            .as_str()
            .is_some_and(|text| text.starts_with(['$', '~']));
        let hint = for_a_shell.then_some("write a literal path; only a leading `~/` is expanded");
        parsed(value, Self::new).map_err(|unexpected| unexpected.with_hint(hint))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for Pin {
    const EXPECTED: &'static str = r#""sha256:…" with 64 hexadecimal digits"#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let digits = value.as_str().map_or(0, |text| {
            let hex = |c: &char| c.is_ascii_hexdigit();
            text.rsplit("Fingerprint=")
                .next()
                .map_or(0, |text| text.chars().filter(hex).count())
        });
        let hint = match digits {
            32 => Some("this may be an MD5 fingerprint; `pouch check` shows the SHA-256 one"),
            40 => Some("this may be a SHA-1 fingerprint; `pouch check` shows the SHA-256 one"),
            _ => None,
        };
        parsed(value, Self::new).map_err(|unexpected| unexpected.with_hint(hint))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Lmtp {
    const EXPECTED: &'static str = r#""unix:/run/dovecot/lmtp" or "host:port""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        parsed(value, Self::new)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for TimeSpan {
    const EXPECTED: &'static str = r#"a duration in quotes, like "30s", "5m" or "12h""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let text = text_in(value)?;
        positive(text, Self::seconds)
            .ok_or_else(|| Unexpected::value(value).with_hint(Self::suggestion(text)))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Days {
    const EXPECTED: &'static str = r#"a number of days in quotes, like "30d", "8w", "6mo" or "1y""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let text = text_in(value)?;
        days(text).ok_or_else(|| Unexpected::value(value).with_hint(Self::suggestion(text)))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Keep {
    const EXPECTED: &'static str =
        r#""forever", "none" or a number of days in quotes, like "30d", "8w", "6mo" or "1y""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        match text_in(value)? {
            "forever" => Ok(Self::Forever),
            "none" => Ok(Self::None),
            text => days(text)
                .map(|days| Self::For(days.into()))
                .ok_or_else(|| Unexpected::value(value).with_hint(Days::suggestion(text))),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Forever => quoted("forever"),
            Self::None => quoted("none"),
            Self::For(span) => span.to_toml(),
        }
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = r#"a size in quotes, like "512KB", "25MB" or "2GB""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let text = text_in(value)?;
        positive(text, Self::octets)
            .ok_or_else(|| Unexpected::value(value).with_hint(Self::suggestion(text)))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Bound {
    const EXPECTED: &'static str = r#"a limit in quotes, like ">2MB" or "<10KB""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        let text = text_in(value)?;
        let (bound, size): (fn(ByteSize) -> Self, _) = match text.split_at_checked(1) {
            Some((">", size)) => (Self::Over, size),
            Some(("<", size)) => (Self::Under, size),
            _ => {
                let hint = positive(text, ByteSize::octets).map(|size| {
                    format!("write \">{size}\" for larger messages or \"<{size}\" for smaller ones")
                });
                return Err(Unexpected::value(value).with_hint(hint));
            }
        };
        positive(size, ByteSize::octets)
            .map(bound)
            .ok_or_else(|| Unexpected::value(value).with_hint(ByteSize::suggestion(size)))
    }

    fn to_toml(&self) -> String {
        quoted(&match self {
            Self::Over(size) => format!(">{size}"),
            Self::Under(size) => format!("<{size}"),
        })
    }
}

impl Value for Pattern {
    const EXPECTED: &'static str = r#"a pattern in quotes, like "*@example.org" or "/sale|offer/""#;

    fn read(value: &DeValue<'_>) -> Result<Self, Unexpected> {
        pattern(text_in(value)?)
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

/// Parses a pattern.
pub(super) fn pattern(text: &str) -> Result<Pattern, Unexpected> {
    Pattern::new(text).map_err(|reason| {
        let text = crate::text::sanitize(quoted(text).as_bytes());
        Unexpected::new(format!("{text} ({reason})"))
    })
}

/// Parses a quantity that is greater than zero, since zero seconds or bytes make sense for no key.
fn positive<T: FromStr + Copy>(text: &str, amount: impl Fn(T) -> u64) -> Option<T> {
    text.parse().ok().filter(|quantity| amount(*quantity) > 0)
}

/// Parses a number of days that is greater than zero.
fn days(text: &str) -> Option<Days> {
    positive(text, |days: Days| TimeSpan::from(days).seconds())
}
