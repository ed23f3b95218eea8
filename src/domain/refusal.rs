//! Refused logins: what the words of a server mean, and what the user can do about them.
//!
//! Response codes (RFC 2449 §8, RFC 3206) would be enough if servers used them as defined. Few of
//! the large providers do: most send none, and Gmail sends `[AUTH]`, which means a wrong password,
//! for an exceeded rate. So the known texts of providers, [`KNOWN`], come first, then the response
//! code, then words that many servers use. The table is the only place for a new text: each row has
//! a meaning, from which exit code and report follow, and the hint.
//!
//! Providers that check access to the mailbox after the login, as Gmail and Microsoft do, send
//! these texts in response to STAT, LIST or UIDL.

use super::time::TimeSpan;

/// The response codes that pouch distinguishes (RFC 2449 §8.1.1, RFC 3206 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `[IN-USE]`: another session has locked the mailbox.
    InUse,
    /// `[LOGIN-DELAY]`: the last login was too recent.
    LoginDelay,
    /// `[SYS/TEMP]`: a temporary system error.
    SysTemp,
    /// `[SYS/PERM]`: a permanent system error.
    SysPerm,
    /// `[AUTH]`: the credentials are wrong.
    Auth,
}

impl Code {
    /// Returns whether a later attempt may succeed.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::InUse | Self::LoginDelay | Self::SysTemp)
    }
}

/// The meaning of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The password or token is not accepted.
    Denied,
    /// POP3 is not enabled for the account.
    SwitchedOff,
    /// The account or the address of this machine is blocked.
    Blocked,
    /// A later attempt may succeed.
    Busy,
    /// The server does not support the mechanism.
    NoMechanism,
    /// The server reports a violation of the protocol.
    Protocol,
    /// The server has a permanent problem, which is not about the credentials.
    Unavailable,
}

/// A text by which servers refuse a login.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownRefusal {
    /// A part of the text, in lower case.
    text: &'static str,
    /// What it means.
    pub meaning: Meaning,
    /// What the user can do: an action, which may contain [`ACCOUNT`]. `None` if the hint depends
    /// on the host.
    pub hint: Option<&'static str>,
    /// Whether the next unattended attempt is delayed for long.
    long_pause: bool,
}

impl KnownRefusal {
    /// Returns the row with a long pause.
    const fn with_long_pause(mut self) -> Self {
        self.long_pause = true;
        self
    }
}

/// Returns a row of the table.
const fn row(meaning: Meaning, text: &'static str, hint: &'static str) -> KnownRefusal {
    KnownRefusal {
        text,
        meaning,
        hint: if hint.is_empty() { None } else { Some(hint) },
        long_pause: false,
    }
}

/// The hint for providers that accept app passwords only.
const APP_PASSWORD: &str = "use an app password, created in the account settings";

/// The hint for mail.ru.
const EXTERNAL_PASSWORD: &str =
    "use a password for external applications, created in the account settings";

/// Stands for the name of the account in a hint.
pub const ACCOUNT: &str = "ACCOUNT";

/// The hint for accounts of Microsoft, which accepts no passwords. It contains [`ACCOUNT`].
pub(super) const MICROSOFT: &str = "set oauth = \"microsoft\", run `pouch login ACCOUNT`";

/// The hint for blocked accounts.
const BLOCKED: &str = "wait an hour or sign in on the provider's web site";

/// The texts of providers and servers. The first one that occurs in a refusal counts.
const KNOWN: [KnownRefusal; 24] = [
    // Gmail
    row(
        Meaning::Denied,
        "application-specific password required",
        "use an app password, which needs 2-step verification",
    ),
    row(
        Meaning::Denied,
        "web login required",
        "sign in on the provider's web site once, or use an app password or OAuth",
    ),
    row(
        Meaning::Denied,
        "username and password not accepted",
        "use an app password or OAuth instead of the account's password",
    ),
    row(
        Meaning::SwitchedOff,
        "not enabled for pop access",
        "enable POP in Gmail's web settings",
    ),
    // carries [AUTH]
    row(
        Meaning::Busy,
        "account exceeded pop command or bandwidth limits",
        "fetch less often, at most every 10 minutes",
    ),
    // Microsoft
    row(
        Meaning::Denied,
        "basic authentication is disabled",
        MICROSOFT,
    ),
    // a token may be of another user, or POP disabled: the hint depends on the secret
    row(
        Meaning::Denied,
        "authentication failure: unknown user name or bad password",
        "",
    ),
    // Exchange servers of organizations send the same text: their hint depends on the host
    row(
        Meaning::Denied,
        "logon failure: unknown user name or bad password",
        "",
    ),
    // after the login
    row(
        Meaning::Busy,
        "exceeded the login limit",
        "fetch less often; the server limits the logins in 15 minutes",
    ),
    row(
        Meaning::Protocol,
        "protocol error. connection is closed",
        "",
    ),
    // Yahoo, AOL
    row(
        Meaning::SwitchedOff,
        "pop not allowed for user",
        "allow POP in the account settings, and use an app password",
    ),
    row(Meaning::Denied, "(#mbr1212)", APP_PASSWORD),
    row(Meaning::Denied, "(#auth012)", APP_PASSWORD),
    row(Meaning::Denied, "[authorizationfailed]", APP_PASSWORD),
    // Yandex
    row(
        Meaning::Denied,
        "login failure or pop3 disabled",
        "enable POP3 in the web settings, and use an app password",
    ),
    // mail.ru
    row(Meaning::Denied, "parol prilozheniya", EXTERNAL_PASSWORD),
    row(
        Meaning::Denied,
        "application password is required",
        EXTERNAL_PASSWORD,
    ),
    // QQ
    row(
        Meaning::Denied,
        "please enter your authorization code",
        "use an authorization code, created in the web settings, as the password",
    ),
    // this one has five causes, too many logins among them
    row(
        Meaning::Denied,
        "account is abnormal, service is not open",
        "enable POP3 and create an authorization code in the web settings, or wait an hour",
    )
    .with_long_pause(),
    // 163, 126 and yeah.net: "you have no right to use pop3", in GBK
    row(
        Meaning::SwitchedOff,
        "权限使用pop3",
        "enable POP3 in the web settings (IMAP is a separate setting), and use an authorization \
         code",
    ),
    // mailutils
    row(
        Meaning::Busy,
        "attempt to log in within the minimum login delay",
        "",
    ),
    // Dovecot, Cyrus: both carry [AUTH]
    row(
        Meaning::NoMechanism,
        "unsupported authentication mechanism",
        "set auth = \"auto\"",
    ),
    row(
        Meaning::NoMechanism,
        "no mechanism available",
        "set auth = \"auto\"",
    ),
    row(
        Meaning::Denied,
        "plaintext authentication disallowed",
        "set tls = \"implicit\" or \"starttls\"",
    ),
];

/// The delay of the next unattended login after a refusal by a block or for an unclear reason. Each
/// attempt may prolong the block.
const LONG_PAUSE: TimeSpan = TimeSpan::from_seconds(3_600);

/// Words by which a refusal without a response code is recognised as transient.
const TRANSIENT_WORDS: [&str; 10] = [
    "try again",
    "later",
    "temporar",
    "exceed",
    "quota",
    "limit",
    "busy",
    "too many",
    "in use",
    "unavailable",
];

/// Words by which the refusal of a login without a response code is recognised as transient.
const TRANSIENT_LOGIN_WORDS: [&str; 24] = [
    "throttl",
    "slow down",
    "too fast",
    "too often",
    "connection limit",
    "maximum number",
    "exceeds",
    "system error",
    "internal error",
    "again later",
    "try later",
    "later time",
    "temporar",
    "too many",
    "rate limit",
    "limit exceeded",
    "limit reached",
    "exceeded",
    "frequen",
    "busy",
    "in use",
    "already open",
    "another session",
    "service unavailable",
];

/// Words for a mailbox, which another session may have locked.
const MAILBOX_WORDS: [&str; 5] = ["mailbox", "maildrop", "mail drop", "mail box", "already"];

/// Words by which a blocked account or address is recognised.
const BLOCKED_WORDS: [&str; 3] = ["blocked", "suspended", "banned"];

/// Words that are about a command or a mechanism.
const COMMAND_WORDS: [&str; 12] = [
    "unrecognized",
    "unrecognised",
    "authentication type",
    "auth is not",
    "auth not available",
    "command",
    "mechanism",
    "method",
    "unsupported",
    "not supported",
    "not implemented",
    "syntax",
];

/// Words that are about the credentials.
const CREDENTIAL_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "credential",
    "user",
    "login",
    "logon",
    "log on",
    "auth",
    "denied",
];

/// Returns the row of the table whose text occurs in a refusal, in any case.
pub fn known(text: &str) -> Option<&'static KnownRefusal> {
    let text = text.to_lowercase();
    KNOWN.iter().find(|known| text.contains(known.text))
}

/// Returns what the user can do about a refusal with this text: an action, which may contain
/// [`ACCOUNT`]. `None` if the hint depends on the host.
pub fn hint(text: &str) -> Option<&'static str> {
    match known(text) {
        Some(known) => known.hint,
        None if is_block(text) => Some(BLOCKED),
        None => None,
    }
}

/// Returns whether the account or the address of this machine is blocked, by the words of a text
/// without a known meaning.
fn is_block(text: &str) -> bool {
    let text = text.to_lowercase();
    has(&text, &BLOCKED_WORDS) || locked_account(&text)
}

/// Returns the response code at the beginning of the text after `-ERR`. `None` if there is none or
/// it is not known to pouch.
///
/// Names are hierarchical and in any case: a longer name means the same as its known beginning
/// (RFC 2449 §8).
pub fn code(text: &[u8]) -> Option<Code> {
    let rest = text.strip_prefix(b"[")?;
    let path = rest[..memchr::memchr(b']', rest)?].to_ascii_uppercase();
    let mut words = path.split(|octet| *octet == b'/');
    match (words.next()?, words.next()) {
        (b"IN-USE", _) => Some(Code::InUse),
        (b"LOGIN-DELAY", _) => Some(Code::LoginDelay),
        (b"AUTH", _) => Some(Code::Auth),
        (b"SYS", Some(b"TEMP")) => Some(Code::SysTemp),
        (b"SYS", Some(b"PERM")) => Some(Code::SysPerm),
        _ => None,
    }
}

/// Returns the meaning of a refused login, from its response code and text.
///
/// `codes` is whether the server announces AUTH-RESP-CODE: then a refusal without `[AUTH]` is not
/// about the credentials (RFC 3206 §6). qpopper, popa3d and Courier have no response codes for a
/// mailbox that is in use or for too many connections.
pub fn meaning(code: Option<Code>, text: &str, codes: bool) -> Meaning {
    if let Some(known) = known(text) {
        return known.meaning;
    }
    let text = text.to_lowercase();
    match code {
        Some(code) if code.is_transient() => Meaning::Busy,
        None if has(&text, &TRANSIENT_LOGIN_WORDS) || locked_mailbox(&text) => Meaning::Busy,
        _ if is_block(&text) => Meaning::Blocked,
        Some(Code::SysPerm) => Meaning::Unavailable,
        None if codes => Meaning::Busy,
        _ => Meaning::Denied,
    }
}

/// Returns whether a refusal is transient, from its response code or, if it has none, from its
/// words. Not for a login, where "try again" may be about the password: see [`meaning`].
pub fn sounds_transient(code: Option<Code>, text: &str) -> bool {
    if let Some(code) = code {
        return code.is_transient();
    }
    let text = text.to_lowercase();
    has(&text, &TRANSIENT_WORDS) || names_a_lock(&text)
}

/// Returns whether a refusal is about the command or the mechanism, and not about the credentials.
/// Words about the mechanism count more: "authentication mechanism not supported" has words of both
/// kinds.
pub fn rejects_mechanism(code: Option<Code>, text: &str) -> bool {
    if let Some(known) = known(text) {
        return known.meaning == Meaning::NoMechanism;
    }
    let text = text.to_lowercase();
    code.is_none() && (has(&text, &COMMAND_WORDS) || !has(&text, &CREDENTIAL_WORDS))
}

/// Returns whether a text names the command or the mechanism.
pub fn names_mechanism(text: &str) -> bool {
    has(&text.to_lowercase(), &COMMAND_WORDS)
}

/// Returns the shortest delay of the next unattended login after a refusal with this text.
pub fn pause(text: &str) -> TimeSpan {
    let is_long = match known(text) {
        Some(known) => known.long_pause,
        None => is_block(text),
    };
    if is_long {
        LONG_PAUSE
    } else {
        TimeSpan::from_seconds(0)
    }
}

/// Returns whether a temporary refusal without a response code is about the mailbox: another
/// session has locked it, or the account was used too often.
pub fn names_mailbox(text: &str) -> bool {
    let is_known = known(text).is_some_and(|known| known.meaning == Meaning::Busy);
    let text = text.to_lowercase();
    is_known || locked_mailbox(&text) || has(&text, &["in use", "already open", "another session"])
}

/// Returns whether a text says that this machine is blocked, so that no account can log in.
pub fn blocks_machine(text: &str) -> bool {
    let text = text.to_lowercase();
    let machine = ["ip", "address", "addresses", "host", "network", "client"];
    has(&text, &BLOCKED_WORDS) && words(&text).any(|word| machine.contains(&word))
}

/// Returns whether a text in lower case has one of these words.
fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// Returns whether a text in lower case says that another session has locked the mailbox, or that
/// the server cannot get its lock.
fn locked_mailbox(text: &str) -> bool {
    has(text, &MAILBOX_WORDS) && names_a_lock(text) || words(text).any(|word| word == "lock")
}

/// Returns whether a text in lower case says that the account is locked, until an administrator
/// unlocks it.
fn locked_account(text: &str) -> bool {
    has(text, &["account", "user"]) && names_a_lock(text)
}

/// Returns whether a text in lower case says that something is locked. "blocked" does not.
fn names_a_lock(text: &str) -> bool {
    words(text).any(|word| matches!(word, "lock" | "locked" | "locks"))
}

/// Returns the words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Meaning {
        meaning(code(text.as_bytes()), text, false)
    }

    #[test]
    fn each_row_is_found_by_its_own_text() {
        for row in &KNOWN {
            assert_eq!(row.text, row.text.to_lowercase());
            assert_eq!(known(&row.text.to_uppercase()), Some(row), "{}", row.text);
        }
    }

    #[test]
    fn known_text_counts_more_than_the_response_code() {
        for (text, expected) in [
            (
                "[AUTH] Account exceeded pop command or bandwidth limits",
                Meaning::Busy,
            ),
            (
                "[AUTH] Unsupported authentication mechanism.",
                Meaning::NoMechanism,
            ),
            (
                "[SYS/PERM] Your account is not enabled for POP access",
                Meaning::SwitchedOff,
            ),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn words_of_a_refused_login_separate_busy_from_denied() {
        for text in [
            "Mailbox Locked",
            "maildrop already locked",
            "Unable to lock mailbox",
            "too many logins",
            "Too many connections from your IP",
            "rate limit exceeded",
            "login frequency limited",
            "try again later",
            "Server busy",
            "throttled, slow down",
            "can not get lock",
            "connection limit",
            "Maximum number of connections from user+IP reached",
            "Login exceeds limit",
            "System error",
            "[IN-USE] no",
            "[SYS/TEMP] no",
        ] {
            assert_eq!(of(text), Meaning::Busy, "{text}");
        }
        for text in [
            "Invalid password, try again",
            "POP access is limited to subscribers",
            "[AUTH] too many failed logins",
        ] {
            assert_eq!(of(text), Meaning::Denied, "{text}");
        }
        for text in [
            "account locked",
            "mailbox blocked",
            "[AUTH] Your IP address has been blocked",
            "[SYS/PERM] account suspended",
        ] {
            assert_eq!(of(text), Meaning::Blocked, "{text}");
        }
        assert_eq!(of("[SYS/PERM] no"), Meaning::Unavailable);
        assert_eq!(meaning(None, "no", true), Meaning::Busy);
    }

    #[test]
    fn words_separate_mailbox_and_server() {
        for text in [
            "Mailbox Locked",
            "maildrop already locked",
            "another session is active",
            "Account exceeded pop command or bandwidth limits",
        ] {
            assert!(names_mailbox(text), "{text}");
        }
        for text in [
            "Too many connections from your IP",
            "rate limit exceeded",
            "Server busy",
            "System error",
        ] {
            assert!(!names_mailbox(text), "{text}");
        }
        assert!(blocks_machine("[AUTH] Your IP address has been blocked"));
        assert!(blocks_machine("client host banned"));
        assert!(!blocks_machine("account suspended"));
        assert!(!blocks_machine("[AUTH] invalid password"));
    }

    #[test]
    fn refusal_of_a_mechanism_is_not_about_the_credentials() {
        for text in [
            "unrecognized authentication type",
            "AUTH is not enabled",
            "Unknown command",
            "Authentication method not supported",
            "[AUTH] Unsupported authentication mechanism.",
            "bad",
            "",
        ] {
            assert!(rejects_mechanism(code(text.as_bytes()), text), "{text}");
        }
        for text in [
            "Login failed.",
            "Invalid user or password",
            "authentication failed",
            "[AUTH] Unknown command",
            "[SYS/TEMP] Unknown command",
            "(#MBR1212) Incorrect username or password. Unsupported.",
        ] {
            assert!(!rejects_mechanism(code(text.as_bytes()), text), "{text}");
        }
    }

    #[test]
    fn unclear_refusal_and_block_have_a_long_pause() {
        for text in [
            "pop.qq.com said: -ERR Account is abnormal, service is not open, password is incorrect",
            "pop.example.org said: -ERR [AUTH] account blocked",
        ] {
            assert_eq!(pause(text), LONG_PAUSE, "{text}");
        }
        assert_eq!(pause("[AUTH] invalid").seconds(), 0);
    }
}
