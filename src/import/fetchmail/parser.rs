//! The entries of a fetchmailrc.

use super::lexer::{Token, Tokens};
use crate::import::model::MOST_ACCOUNTS;

/// The most values of an option.
const MOST_VALUES: usize = 1000;

/// An option with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opt {
    /// The keyword, without synonyms.
    pub(super) word: &'static str,
    /// Whether it was negated: `no keep`.
    pub(super) negated: bool,
    /// The values, each with the one after `=`.
    pub(super) values: Vec<(String, Option<String>)>,
    /// Whether `here` follows: the value is a local name.
    pub(super) is_here: Option<bool>,
    /// The number of its line.
    pub(super) line: usize,
}

impl Opt {
    /// Returns the first value.
    pub(super) fn value(&self) -> &str {
        self.values.first().map_or("", |(value, _)| value)
    }
}

/// An entry: a server with its users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) line: usize,
    /// Whether it is polled only if it is named.
    pub(super) is_skipped: bool,
    /// The options before the first user.
    pub(super) options: Vec<Opt>,
    /// The options of each user, which begin with `user`.
    pub(super) users: Vec<Vec<Opt>>,
}

/// A fetchmailrc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The entries, each with the options of `defaults` first.
    pub(super) entries: Vec<Entry>,
    /// The options of `set`.
    pub(super) globals: Vec<Opt>,
    /// Places that were not understood.
    pub(super) problems: Vec<((usize, usize), String)>,
}

/// How many values an option has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    None,
    One,
    List,
    /// An optional number and a name.
    Envelope,
    /// A value, and `here` or `there`.
    Name,
}

/// The options of entries, each with its synonyms.
const OPTIONS: &[(&[&str], Values)] = &[
    (&["via"], Values::One),
    (&["protocol", "proto"], Values::One),
    (&["port", "service"], Values::One),
    (
        &["auth", "authenticate", "preauth", "preauthenticate"],
        Values::One,
    ),
    (&["timeout"], Values::One),
    (&["interval"], Values::One),
    (&["envelope"], Values::Envelope),
    (&["qvirtual"], Values::One),
    (&["aka"], Values::List),
    (&["localdomains", "local"], Values::List),
    (&["interface"], Values::One),
    (&["monitor"], Values::One),
    (&["plugin"], Values::One),
    (&["plugout"], Values::One),
    (&["principal"], Values::One),
    (&["badheader"], Values::One),
    (&["esmtpname"], Values::One),
    (&["esmtppassword"], Values::One),
    (&["dns"], Values::None),
    (&["uidl"], Values::None),
    (&["checkalias"], Values::None),
    (&["tracepolls"], Values::None),
    (&["user", "username"], Values::Name),
    (&["is"], Values::List),
    (&["to"], Values::List),
    (&["password", "pass"], Values::One),
    (&["remotefolder", "folder", "folders"], Values::List),
    (&["smtphost", "smtp"], Values::List),
    (&["fetchdomains"], Values::List),
    (&["smtpaddress"], Values::One),
    (&["smtpname"], Values::One),
    (&["antispam"], Values::List),
    (&["mda"], Values::One),
    (&["bsmtp"], Values::One),
    (&["preconnect", "pre"], Values::One),
    (&["postconnect", "post"], Values::One),
    (&["sslkey"], Values::One),
    (&["sslcert"], Values::One),
    (&["sslproto"], Values::One),
    (&["sslcertfile"], Values::One),
    (&["sslcertpath"], Values::One),
    (&["sslcommonname"], Values::One),
    (&["sslfingerprint"], Values::One),
    (&["limit"], Values::One),
    (&["warnings"], Values::One),
    (&["batchlimit"], Values::One),
    (&["fetchlimit"], Values::One),
    (&["fetchsizelimit"], Values::One),
    (&["fastuidl"], Values::One),
    (&["expunge"], Values::One),
    (&["properties"], Values::One),
    (&["ssl"], Values::None),
    (&["sslcertck"], Values::None),
    (&["keep"], Values::None),
    (&["flush"], Values::None),
    (&["limitflush"], Values::None),
    (&["fetchall"], Values::None),
    (&["rewrite"], Values::None),
    (&["stripcr"], Values::None),
    (&["forcecr"], Values::None),
    (&["pass8bits", "pass8"], Values::None),
    (&["dropstatus"], Values::None),
    (&["dropdelivered"], Values::None),
    (&["mimedecode", "mimedec"], Values::None),
    (&["idle"], Values::None),
    (&["lmtp"], Values::None),
    (&["forceidle"], Values::None),
];

/// The options of `set`, with whether they have a value.
const GLOBALS: &[(&str, bool)] = &[
    ("daemon", true),
    ("logfile", true),
    ("pidfile", true),
    ("idfile", true),
    ("postmaster", true),
    ("properties", true),
    ("bouncemail", false),
    ("spambounce", false),
    ("softbounce", false),
    ("syslog", false),
    ("nosyslog", false),
    ("invisible", false),
    ("showdots", false),
];

/// Words without a meaning.
const NOISE: &[&str] = &["and", "with", "has", "wants", "options", "here", "there"];

/// Finds an option by a keyword.
fn option(word: &str) -> Option<(&'static str, Values)> {
    let mut options = OPTIONS.iter();
    let (words, values) = options.find(|(words, _)| words.contains(&word))?;
    Some((words[0], *values))
}

/// Finds an option by a keyword, which may begin with `no`.
fn fused_option(word: &str) -> Option<(&'static str, Values, bool)> {
    if let Some((word, values)) = option(word) {
        return Some((word, values, false));
    }
    let (word, values) = option(word.strip_prefix("no")?)?;
    Some((word, values, true))
}

/// Returns whether a word begins something other than a value.
fn is_keyword(token: &Token) -> bool {
    let word = token.text.as_str();
    !token.is_quoted
        && (fused_option(word).is_some()
            || NOISE.contains(&word)
            || ["no", "poll", "server", "skip", "defaults", "set"].contains(&word))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    parsed: Parsed,
    /// The options of `defaults`.
    defaults: Vec<Opt>,
    /// Whether options belong to `defaults`.
    in_defaults: bool,
    /// The line of the last password, whose rest may be a part of it.
    secret_line: usize,
}

/// Parses the words of a fetchmailrc.
pub(super) fn parse(tokens: Tokens) -> Parsed {
    let mut parser = Parser {
        tokens: tokens.words,
        at: 0,
        parsed: Parsed::default(),
        defaults: Vec::new(),
        in_defaults: false,
        secret_line: 0,
    };
    for at in tokens.unterminated {
        let what = "a string has no end";
        parser.parsed.problems.push((at, what.into()));
    }
    while let Some(token) = parser.next() {
        parser.statement(&token);
    }
    parser.parsed
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        Some(token)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| !token.is_quoted && token.text == word);
        self.at += usize::from(found);
        found
    }

    fn problem(&mut self, token: &Token, what: impl Into<String>) {
        let at = (token.line, token.column);
        if self.parsed.problems.len() < MOST_VALUES {
            self.parsed.problems.push((at, what.into()));
        }
    }

    fn statement(&mut self, token: &Token) {
        let word = token.text.as_str();
        if token.is_broken {
            return;
        }
        if token.is_quoted {
            return self.problem(token, "unexpected string");
        }
        match word {
            "poll" | "server" | "skip" => self.entry(token),
            "defaults" => {
                self.in_defaults = true;
                self.defaults.clear();
            }
            "set" => self.global(token),
            "no" => {
                let negated = self.peek().filter(|next| !next.is_quoted);
                match negated.and_then(|next| option(&next.text)) {
                    Some((word, values)) => {
                        self.at += 1;
                        self.option(token, word, values, true);
                    }
                    None => self.problem(token, "`no` without an option"),
                }
            }
            "=" => {}
            word if NOISE.contains(&word) => {}
            word => match fused_option(word) {
                Some((word, values, negated)) => self.option(token, word, values, negated),
                None if token.line == self.secret_line => {
                    self.problem(token, "unexpected word after a password");
                }
                None => self.problem(token, format!("unknown word `{word}`")),
            },
        }
    }

    fn entry(&mut self, token: &Token) {
        self.in_defaults = false;
        match self.next() {
            // the rest is reported as too many accounts
            Some(_) if self.parsed.entries.len() > MOST_ACCOUNTS => {}
            Some(name) => self.parsed.entries.push(Entry {
                name: name.text,
                line: token.line,
                is_skipped: token.text == "skip",
                options: self.defaults.clone(),
                users: Vec::new(),
            }),
            None => self.problem(token, format!("`{}` without a name", token.text)),
        }
    }

    fn global(&mut self, set: &Token) {
        let mut negated = self.skip("no");
        let Some(token) = self.next() else {
            return self.problem(set, "`set` without an option");
        };
        let known = |word: &str| GLOBALS.iter().find(|(known, _)| *known == word);
        let found = known(&token.text).or_else(|| {
            negated = true;
            known(token.text.strip_prefix("no")?)
        });
        let Some((word, has_value)) = found else {
            return self.problem(&token, format!("unknown word `{}` after `set`", token.text));
        };
        let mut values = Vec::new();
        if *has_value && !negated {
            self.skip("=");
            values.extend(self.next().map(|value| (value.text, None)));
        }
        self.parsed.globals.push(Opt {
            word,
            negated,
            values,
            is_here: None,
            line: set.line,
        });
    }

    fn option(&mut self, token: &Token, word: &'static str, values: Values, negated: bool) {
        let mut opt = Opt {
            word,
            negated,
            values: Vec::new(),
            is_here: None,
            line: token.line,
        };
        let from = self.at;
        let takes = if negated { Values::None } else { values };
        match takes {
            Values::None => {}
            Values::One => {
                self.skip("=");
                match self.next() {
                    Some(value) => opt.values.push((value.text, None)),
                    None => self.problem(token, format!("`{word}` without a value")),
                }
            }
            Values::Name => {
                match self.next() {
                    Some(value) => opt.values.push((value.text, None)),
                    None => self.problem(token, format!("`{word}` without a value")),
                }
                opt.is_here = self.here();
            }
            Values::Envelope => {
                for _ in 0..2 {
                    let Some(value) = self.next() else { break };
                    let is_count = value.text.parse::<u32>().is_ok() && !value.is_quoted;
                    opt.values.push((value.text, None));
                    if !is_count {
                        break;
                    }
                }
            }
            Values::List => self.list(&mut opt),
        }
        if word == "password" {
            self.secret_line = self.tokens[self.at - 1].line;
        }
        // an option whose value is unknown is left out
        if !self.tokens[from..self.at]
            .iter()
            .any(|token| token.is_broken)
        {
            self.add(opt);
        }
    }

    /// Reads names up to the next keyword. The first word is a name in any case.
    fn list(&mut self, opt: &mut Opt) {
        while let Some(token) = self.peek() {
            if !opt.values.is_empty() && is_keyword(token) {
                break;
            }
            let text = token.text.clone();
            self.at += 1;
            if text == "=" {
                continue;
            }
            let other = if self.skip("=") {
                self.next().map(|token| token.text)
            } else {
                None
            };
            if opt.values.len() < MOST_VALUES {
                opt.values.push((text, other));
            }
        }
        opt.is_here = self.here();
    }

    /// Reads `here` or `there`.
    fn here(&mut self) -> Option<bool> {
        if self.skip("here") {
            Some(true)
        } else if self.skip("there") {
            Some(false)
        } else {
            None
        }
    }

    fn add(&mut self, opt: Opt) {
        if self.in_defaults {
            self.defaults.retain(|known| known.word != opt.word);
            self.defaults.push(opt);
            return;
        }
        let Some(entry) = self.parsed.entries.last_mut() else {
            let at = (opt.line, 1);
            let what = format!("`{}` before the first server", opt.word);
            self.parsed.problems.push((at, what));
            return;
        };
        if opt.word == "user" && entry.users.len() > MOST_ACCOUNTS {
            // reported as too many accounts
        } else if opt.word == "user" {
            entry.users.push(vec![opt]);
        } else if let Some(user) = entry.users.last_mut() {
            user.push(opt);
        } else {
            entry.options.push(opt);
        }
    }
}
