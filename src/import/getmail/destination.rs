//! The destinations and filters of getmail.

use super::tuple::tuple;
use crate::import::{
    account::{Account, array},
    ini::{Ini, Section, truth},
    shell,
};

/// A destination of getmail.
enum Place {
    Maildir(String),
    Mbox(String),
    Pipe(Vec<String>),
    Lmtp(String),
    Several(Vec<String>),
    /// A table of destinations by recipient.
    Sorter,
    Unsupported(&'static str),
}

impl Place {
    /// Returns the destination as it is written in rules.
    fn in_rule(&self) -> Option<String> {
        match self {
            Self::Maildir(path) => Some(format!("maildir:{path}")),
            Self::Mbox(path) => Some(format!("mbox:{path}")),
            Self::Lmtp(server) => Some(format!("lmtp:{server}")),
            Self::Pipe(words) => {
                let words = words.iter().map(String::as_str);
                Some(format!("pipe:{}", shlex::try_join(words).ok()?))
            }
            _ => None,
        }
    }
}

/// Returns the destination for a word: a section in brackets, or a path.
fn place_of(word: &str, ini: &Ini) -> Place {
    if let Some(name) = word
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return match ini.section(name) {
            Some(section) => place(section),
            None => Place::Unsupported("the section is missing"),
        };
    }
    match word.strip_prefix('|') {
        Some(command) => Place::Pipe(shell::words(command)),
        None if word.ends_with('/') => Place::Maildir(without_slash(word)),
        None => Place::Mbox(word.to_owned()),
    }
}

fn without_slash(path: &str) -> String {
    let short = path.trim_end_matches('/');
    if short.is_empty() { path } else { short }.to_owned()
}

fn place(section: &Section) -> Place {
    let path = || section.text("path").map(without_slash);
    match section.get("type").unwrap_or_default() {
        "Maildir" => path().map_or(Place::Unsupported("it has no path"), Place::Maildir),
        "Mboxrd" => path().map_or(Place::Unsupported("it has no path"), Place::Mbox),
        "MDA_external" => {
            let arguments = section.text("arguments").map(tuple);
            match (path(), arguments) {
                (_, Some(None)) => Place::Unsupported("its arguments are not a tuple of strings"),
                (None, _) => Place::Unsupported("it has no path"),
                (Some(path), arguments) => {
                    let arguments = arguments.flatten().unwrap_or_default();
                    Place::Pipe(std::iter::once(path).chain(arguments).collect())
                }
            }
        }
        "MDA_lmtp" => {
            let host = section.text("host").unwrap_or("localhost");
            match section.text("port") {
                _ if host.starts_with('/') => Place::Lmtp(format!("unix:{host}")),
                Some(port) => Place::Lmtp(format!("{host}:{port}")),
                None => Place::Lmtp(format!("{host}:24")),
            }
        }
        "MultiDestination" => match section.text("destinations").and_then(tuple) {
            Some(places) if !places.is_empty() => Place::Several(places),
            _ => Place::Unsupported("its destinations are not a tuple of strings"),
        },
        "MultiSorter" => Place::Sorter,
        "MultiGuesser" => Place::Unsupported("write its `locals` as rules with `to`"),
        _ => Place::Unsupported("pouch has no such destination"),
    }
}

pub(super) fn destination(account: &mut Account, ini: &Ini) {
    let Some(section) = ini.section("destination") else {
        return account.propose_maildir(account.at, "no [destination]", "refuses to run");
    };
    let kind = section.get("type").unwrap_or_default();
    let at = section
        .entry("type")
        .map_or(section.line, |entry| entry.line);
    let setting = format!("type {kind}");
    match place(section) {
        Place::Several(places) => {
            let mut places = places.iter().map(|word| place_of(word, ini));
            if let Some(first) = places.next() {
                set_place(account, &first, at, &setting);
            }
            let mut copies = Vec::new();
            for place in places {
                match place.in_rule() {
                    Some(copy) => copies.push(copy),
                    None => account.left_out(at, "destinations", "one of them: add it to `also`"),
                }
            }
            if !copies.is_empty() {
                let rule = vec![("action", "fetch".into()), ("also", array(&copies))];
                account.rules.push(rule);
                account.taken(at, "destinations", "a rule with `also` for the copies");
            }
        }
        Place::Sorter => sort(account, section, ini, at),
        place => set_place(account, &place, at, &setting),
    }
    details(account, section);
}

/// Takes over a table of destinations by recipient. Patterns are regular expressions in both
/// programs.
fn sort(account: &mut Account, section: &Section, ini: &Ini, at: usize) {
    match section.text("default").map(|word| place_of(word, ini)) {
        Some(place) => set_place(account, &place, at, "default"),
        None => account.propose_maildir(at, "default", "refuses to run"),
    }
    let retriever = ini.section("retriever");
    let envelope = retriever.and_then(|one| one.text("envelope_recipient"));
    let (header, number) = envelope
        .and_then(|text| text.split_once(':'))
        .unwrap_or_default();
    let locals = section.text("locals").and_then(tuple).unwrap_or_default();
    let mut recipients = toml_edit::InlineTable::new();
    for pair in locals.chunks_exact(2) {
        let place = place_of(&pair[1], ini).in_rule();
        let is_plain = !pair[0].contains('/') && !pair[0].is_empty();
        if let Some(place) = place.filter(|_| is_plain) {
            recipients.insert(format!("/{}/", pair[0]), place.into());
        } else {
            let setting = format!("locals {}", pair[0]);
            account.left_out(at, &setting, "add it to the table `multidrop`");
        }
    }
    if header.is_empty() || recipients.is_empty() {
        return;
    }
    account.multidrop = vec![("header", array(&[header]))];
    if let Some(number) = number.parse::<i64>().ok().filter(|number| *number != 1) {
        account.multidrop.push(("occurrence", number.into()));
    }
    let recipients = toml_edit::Value::InlineTable(recipients);
    account.multidrop.push(("recipients", recipients));
    account.taken(
        at,
        "locals",
        "the table `multidrop`: please check its patterns",
    );
}

fn set_place(account: &mut Account, place: &Place, at: usize, setting: &str) {
    match place {
        Place::Maildir(path) => account.take(at, setting, "maildir", path.as_str()),
        Place::Mbox(path) => account.take(at, setting, "mbox", path.as_str()),
        Place::Lmtp(server) => account.take(at, setting, "lmtp", server.as_str()),
        Place::Pipe(words) if words.windows(2).any(is_sender) => {
            let mut rest = words.clone();
            while let Some(at) = rest.windows(2).position(is_sender) {
                rest.drain(at..at + 2);
            }
            let now = "without this option, since POP3 does not transmit the sender";
            account.changed(at, setting, "passes the sender as %(sender)", now);
            set_place(account, &Place::Pipe(rest), at, setting);
        }
        Place::Pipe(words) if words.iter().any(|word| word.contains("%(")) => {
            let before = "passes the envelope and the sender to the program";
            account.propose_maildir(at, setting, before);
            let advice = "POP3 does not transmit the envelope: write the command without \
                          `%(sender)` and the like as `pipe`";
            account.left_out(at, setting, advice);
        }
        Place::Pipe(words) => account.command(at, setting, "pipe", words),
        Place::Several(_) | Place::Sorter | Place::Unsupported(_) => {
            account.propose_maildir(at, setting, "delivers in a way that pouch does not support");
            if let Place::Unsupported(why) = place {
                account.left_out(at, setting, *why);
            }
        }
    }
}

/// Returns whether two words are the option with the envelope sender.
fn is_sender(words: &[String]) -> bool {
    words == ["-f", "%(sender)"]
}

/// Reports the details of a destination.
fn details(account: &mut Account, section: &Section) {
    for entry in &section.entries {
        let (key, at) = (entry.key.to_lowercase(), entry.line);
        match key.as_str() {
            "type" | "path" | "arguments" | "host" | "port" | "destinations" => {}
            "default" | "locals" if !account.multidrop.is_empty() => {}
            "allow_root_commands" => account.same(at, &key, "programs run as the user"),
            "unixfrom" if truth(&entry.value) == Some(true) => {
                account.changed(
                    at,
                    &key,
                    "adds a `From ` line",
                    "adds none; procmail adds one",
                );
            }
            "unixfrom" => account.same(at, &key, "no `From ` line is added"),
            "user" | "group" => {
                account.left_out(at, &key, "run pouch as that user");
            }
            "filemode" => account.left_out(at, &key, "files have mode 0600"),
            "default" | "locals" => {
                account.left_out(at, &key, "write rules with `to`, or a table `multidrop`");
            }
            _ => account.left_out(at, &key, "pouch has no such option"),
        }
    }
}

/// Takes over the filters.
pub(super) fn filters(account: &mut Account, ini: &Ini) {
    let mut commands = toml_edit::Array::new();
    for section in &ini.sections {
        if !section.name.to_lowercase().starts_with("filter") {
            continue;
        }
        let kind = section.get("type").unwrap_or_default();
        let arguments = section.text("arguments").map_or(Some(Vec::new()), tuple);
        let ("Filter_external", Some(path), Some(arguments)) =
            (kind, section.text("path"), arguments)
        else {
            let advice = "pouch has no such filter; see `filter` in pouch-config(5)";
            account.left_out(section.line, &section.name, advice);
            continue;
        };
        let words = std::iter::once(path.to_owned()).chain(arguments);
        commands.push(array(&words.collect::<Vec<_>>()));
        account.taken(section.line, &section.name, "`filter`");
        for key in ["exitcodes_keep", "exitcodes_drop"] {
            if let Some(entry) = section.entry(key) {
                let now = "0 keeps the message, 99 skips it";
                account.changed(entry.line, key, "has its own exit codes", now);
            }
        }
    }
    if !commands.is_empty() {
        account.set("filter", commands);
    }
}
