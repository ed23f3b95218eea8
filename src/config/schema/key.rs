//! The properties of a key besides its type.

/// The name, texts and defaults of a key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The section of the manual and the sample that it belongs to.
    pub group: Group,
    /// A short description. Lines after the first continue the comment.
    pub help: &'static str,
    /// The paragraphs for the manual, line by line. Code is in backticks.
    pub manual: &'static [&'static str],
    /// The hint for a config that does not set it, if it is required.
    pub required: Option<&'static str>,
    /// Its default, as TOML.
    pub default: Option<fn() -> String>,
    /// Its default in words, if that depends on other keys or on the system.
    pub default_words: Option<&'static str>,
    /// The value in the sample, if that is not the default.
    pub example: Option<&'static str>,
    /// True if the sample sets the key; otherwise it is a comment there.
    pub set_in_sample: bool,
    /// The set of mutually exclusive keys that it belongs to.
    pub choice: Option<Choice>,
    /// True if the key has an effect only with TLS.
    pub needs_tls: bool,
    /// The hint for a value of zero.
    pub instead_of_zero: Option<&'static str>,
}

impl Key {
    pub(super) const fn new(name: &'static str, group: Group, help: &'static str) -> Self {
        Self {
            name,
            group,
            help,
            manual: &[],
            required: None,
            default: None,
            default_words: None,
            example: None,
            set_in_sample: false,
            choice: None,
            needs_tls: false,
            instead_of_zero: None,
        }
    }

    pub(super) const fn required(mut self, hint: &'static str) -> Self {
        self.required = Some(hint);
        self
    }

    pub(super) const fn default_words(mut self, words: &'static str) -> Self {
        self.default_words = Some(words);
        self
    }

    pub(super) const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }

    pub(super) const fn set_in_sample(mut self, value: &'static str) -> Self {
        self.set_in_sample = true;
        self.example(value)
    }

    pub(super) const fn one_of(mut self, choice: Choice) -> Self {
        self.choice = Some(choice);
        self
    }

    pub(super) const fn needs_tls(mut self) -> Self {
        self.needs_tls = true;
        self
    }

    pub(super) const fn instead_of_zero(mut self, hint: &'static str) -> Self {
        self.instead_of_zero = Some(hint);
        self
    }
}

/// A section of the manual and the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys above all tables.
    Top,
    /// The connection to the server.
    Server,
    /// The login.
    Login,
    /// The destination of the mail.
    Destination,
    /// Retention on the server.
    Retention,
    /// The selection of messages to fetch.
    Fetching,
    /// Keys of a rule.
    Rule,
    /// Keys of multidrop.
    Multidrop,
}

/// A set of mutually exclusive keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The source of the password.
    Password,
    /// The destination of the mail.
    Destination,
    /// The accepted certificates.
    Trust,
    /// The way to the server.
    Route,
}

impl Choice {
    /// All sets.
    pub const ALL: [Self; 4] = [Self::Password, Self::Destination, Self::Trust, Self::Route];

    /// Returns the hint for two keys of the set.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Destination => "remove one of them; a rule with `also` delivers to several",
            Self::Password | Self::Trust | Self::Route => "remove one of them",
        }
    }
}

/// A kind of table in the config, each of which has different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The top level of the file.
    Top,
    /// `[defaults]` or `[account.NAME]`.
    Account,
    /// `[[account.NAME.rule]]`.
    Rule,
    /// `[account.NAME.multidrop]`.
    Multidrop,
}

impl Scope {
    /// All scopes. A misplaced key probably belongs to the first scope that has it.
    pub const ALL: [Self; 4] = [Self::Account, Self::Top, Self::Rule, Self::Multidrop];
}
