//! Lines on standard error, for logs and cron: silence unless a person is needed.

use super::{Colour, Level, complain, form, words};
use crate::event::{Event, Reporter, TraceLine};

/// Reports in plain lines.
#[derive(Debug)]
pub struct Plain {
    /// How much to say.
    pub level: Level,
    /// In colour or not.
    pub colour: Colour,
    /// The width of the account names.
    pub width: usize,
    /// A person looks on, and hears of everything.
    pub watched: bool,
}

impl Plain {
    /// The lines for an event; nothing where nobody needs to know.
    pub(super) fn lines(&self, account: &str, event: &Event<'_>) -> Option<String> {
        let level = self.level;
        let all = self.watched && level >= Level::Normal || level >= Level::Verbose;
        match event {
            Event::Problem { error, tell } if all || *tell && level >= Level::Problems => {
                Some(form(Some(account), error, self.colour))
            }
            Event::Notice(error) | Event::Quarantined { error, .. } if level >= Level::Problems => {
                Some(form(Some(account), error, self.colour))
            }
            Event::Failed { error, .. } if all => Some(form(Some(account), error, self.colour)),
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

impl Reporter for Plain {
    fn event(&self, account: &str, event: &Event<'_>) {
        if let Some(lines) = self.lines(account, event) {
            complain(&lines);
        }
    }
}
