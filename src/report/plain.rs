//! Lines on standard error, for logs and cron.
//!
//! Without a terminal, only problems that need attention are printed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Colour, Level, complain, form, words, write_line};
use crate::{
    error::{Error, Exit},
    event::{Event, MessageName, Reporter, Summary, Tally, TraceLine},
    sys::clock::Clock,
    text::time_of_day,
};

/// A reporter that writes lines.
#[derive(Debug)]
pub struct Plain {
    /// The level of output.
    pub level: Level,
    /// The colour setting.
    pub colour: Colour,
    /// The width of the account names.
    pub width: usize,
    /// `true` on a terminal, where all problems are reported.
    pub watched: bool,
    /// The reports of earlier rounds of `--every`. `None` for a single run.
    pub rounds: Option<Arc<Rounds>>,
}

/// The reports of the rounds of `--every`, so that later rounds report only changes.
#[derive(Debug)]
pub struct Rounds {
    /// The clock, for the time of each line.
    clock: Clock,
    /// Whether another process ran the first round.
    is_later: bool,
    accounts: Mutex<HashMap<String, Round>>,
    hosts: Mutex<Hosts>,
}

/// The hosts with accounts that were not tried.
#[derive(Debug, Default)]
struct Hosts {
    before: HashSet<String>,
    now: HashSet<String>,
}

/// The last round of an account.
#[derive(Debug, Default)]
struct Round {
    /// `true` once a summary was reported.
    is_over: bool,
    /// The problem that stopped the round.
    problem: Option<String>,
    /// The problem that stopped the round before.
    problem_before: Option<String>,
}

impl Rounds {
    /// Returns the state before the first round. With `is_later`, another process has run it.
    pub fn new(clock: Clock, is_later: bool) -> Self {
        Self {
            clock,
            is_later,
            accounts: Mutex::default(),
            hosts: Mutex::default(),
        }
    }

    /// Begins another round.
    pub fn begin(&self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.before = std::mem::take(&mut hosts.now);
    }

    /// Returns whether an event differs from the last round of the account.
    fn is_news(&self, account: &str, event: &Event<'_>) -> bool {
        if let Event::NotTried { host, .. } = event {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.now.insert((*host).to_owned());
            return !self.is_later && !hosts.before.contains(*host);
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Round {
            is_over: self.is_later,
            ..Round::default()
        };
        let round = accounts.entry(account.to_owned()).or_insert_with(new);
        match event {
            Event::Start => {
                round.problem_before = round.problem.take();
                true
            }
            Event::Problem { error, .. } => {
                let what = error.what();
                let is_new = round.problem_before.as_deref() != Some(what);
                round.problem = Some(what.to_owned());
                is_new && !self.is_later
            }
            Event::Done(summary) => {
                let is_first = !std::mem::replace(&mut round.is_over, true);
                let has_recovered = round.problem_before.is_some() && round.problem.is_none();
                is_first || has_recovered || did_something(summary)
            }
            _ => true,
        }
    }
}

/// Returns whether a run fetched, deleted, skipped or failed to fetch a message.
fn did_something(summary: &Summary) -> bool {
    summary.tally != Tally::default() || (summary.exit != Exit::OK && !summary.failed)
}

impl Plain {
    /// Returns the lines for an event. `None` if it is not reported.
    pub(super) fn lines(&self, account: &str, event: &Event<'_>) -> Option<String> {
        let Some(rounds) = &self.rounds else {
            return self.text(account, event);
        };
        let must_be_told = matches!(event, Event::Problem { tell: true, .. });
        let is_news = rounds.is_news(account, event) || must_be_told;
        let text = self.text(account, event)?;
        (is_news || self.level >= Level::Verbose).then(|| self.with_time(&text))
    }

    /// Adds the time at the beginning of a line, in rounds of `--every`.
    fn with_time(&self, text: &str) -> String {
        match &self.rounds {
            Some(rounds) => format!("{}  {text}", time_of_day(rounds.clock.now())),
            None => text.to_owned(),
        }
    }

    /// Returns the lines for an event of a single run.
    fn text(&self, account: &str, event: &Event<'_>) -> Option<String> {
        let level = self.level;
        let all = self.watched && level >= Level::Normal || level >= Level::Verbose;
        match event {
            Event::Problem { error, tell } if all || *tell && level >= Level::Problems => {
                Some(form(Some(account), error, self.colour))
            }
            Event::NotTried { error, .. } if all => Some(form(None, error, self.colour)),
            Event::Notice(error) if level >= Level::Problems => {
                Some(form(Some(account), error, self.colour))
            }
            Event::Quarantined { message, error, .. } if level >= Level::Problems => {
                Some(form(Some(account), &described(error, message), self.colour))
            }
            Event::Failed { message, error } if all => {
                Some(form(Some(account), &described(error, message), self.colour))
            }
            Event::Done(summary) if all => Some(format!(
                "{account:width$}   {}",
                words::summary(account, summary),
                width = self.width
            )),
            Event::TraceLine(TraceLine::Client(line)) if level >= Level::Trace => {
                Some(format!("{account}: C: {line}"))
            }
            Event::TraceLine(TraceLine::Server(line)) if level >= Level::Trace => {
                Some(format!("{account}: S: {line}"))
            }
            Event::Connected { server } if level >= Level::Verbose => {
                Some(format!("{account}: logged in at {server}"))
            }
            Event::Planned { listed, fetch, .. } if level >= Level::Verbose => {
                Some(format!("{account}: {listed} listed, {fetch} to fetch"))
            }
            _ => None,
        }
    }
}

/// Adds the sender and the subject of the message to an error about it.
fn described(error: &Error, message: &MessageName<'_>) -> Error {
    match words::header(message.sender, message.subject) {
        Some(header) => error.clone().with_first_fact(header),
        None => error.clone(),
    }
}

/// Writes the lines of an event to standard error. Lines of a session are not broken.
pub(super) fn write(event: &Event<'_>, lines: &str) {
    match event {
        Event::TraceLine(_) => write_line(lines),
        _ => complain(lines),
    }
}

impl Reporter for Plain {
    fn event(&self, account: &str, event: &Event<'_>) {
        if let Some(lines) = self.lines(account, event) {
            write(event, &lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::time::Timestamp, error::Kind};

    #[test]
    fn accounts_that_are_not_tried_are_reported_when_that_begins() {
        let rounds = Arc::new(Rounds::new(Clock::fixed(Timestamp(0)), false));
        let plain = Plain {
            level: Level::Normal,
            colour: Colour(false),
            width: 0,
            watched: true,
            rounds: Some(Arc::clone(&rounds)),
        };
        let is_reported = |host: &str| {
            let error = Error::new(Kind::ServerBusy, format!("9 accounts on {host} not tried"));
            let event = Event::NotTried {
                host,
                error: &error,
                accounts: &["ann"],
            };
            plain.lines("ann", &event).is_some()
        };
        assert!(is_reported("one"));
        rounds.begin();
        assert!(!is_reported("one"));
        assert!(is_reported("two"));
        rounds.begin();
        rounds.begin();
        assert!(is_reported("one"));
    }
}
