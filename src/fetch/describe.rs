//! The descriptions of listed messages that `pouch plan -v` displays.

use std::collections::HashMap;

use super::{env::RunEnv, rules::RuleMemory};
use crate::{
    config::Account,
    domain::{
        ids::Listed,
        message::{Header, summarize},
        plan::{Known, Mailbox},
        rule::{Candidate, RuleOutcome, evaluate},
    },
    error::{Error, Result},
    ledger::{Reader, RowFilter},
    net::Stream,
    pop3::transaction::Transaction,
    text::sanitize,
};

/// The number of headers that are requested at most. A header costs a server as much as a small
/// message, and a mailbox that is fetched for the first time may have tens of thousands.
const MAX_HEADERS: usize = 1000;

/// The amount of detail that a preview shows about each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing beyond the plan.
    None,
    /// Details that are known without requesting headers.
    Known,
    /// The same, and the headers of new messages.
    Headers,
}

/// The description of a listed message.
#[derive(Debug, Default)]
pub struct MessageDetails {
    /// The UID, for display.
    pub uid: String,
    /// The sender, if the header was read.
    pub sender: Option<String>,
    /// The subject, if the header was read.
    pub subject: Option<String>,
    /// The destinations if it is fetched, the main one first, for display. `None` if they depend
    /// on the header, which was not read, or on the filters.
    pub destinations: Option<Vec<String>>,
}

/// Collects the descriptions of all listed messages.
pub(super) struct Describer<'a> {
    pub(super) account: &'a Account,
    pub(super) env: &'a RunEnv,
    pub(super) mailbox: &'a Mailbox,
    pub(super) rules: &'a RuleMemory,
    pub(super) listed: &'a [Listed],
    pub(super) messages: Vec<MessageDetails>,
}

impl Describer<'_> {
    /// Returns the descriptions. If the session is lost, they lack some headers, and the error is
    /// returned as well.
    pub(super) fn describe(
        mut self,
        reader: Option<&Reader>,
        session: &mut Transaction<Stream>,
        detail: Detail,
    ) -> Result<(Vec<MessageDetails>, Option<Error>)> {
        if detail == Detail::None {
            return Ok((Vec::new(), None));
        }
        let listed = self.listed.iter();
        self.messages = listed
            .map(|message| MessageDetails {
                uid: sanitize(&message.uid.text()),
                ..MessageDetails::default()
            })
            .collect();
        for index in 0..self.messages.len() {
            self.messages[index].destinations = self.destinations(index, None);
        }
        self.use_ledger(reader)?;
        for (message, listed) in self.messages.iter_mut().zip(self.listed) {
            if let Some(summary) = self.rules.summary(&listed.uid) {
                message.sender.clone_from(&summary.sender);
                message.subject.clone_from(&summary.subject);
            }
        }
        let lost = match detail {
            Detail::Headers => self.use_headers(session).err(),
            Detail::None | Detail::Known => None,
        };
        let problem = lost.map(|error| error.with_fact("some headers were not read"));
        Ok((self.messages, problem))
    }

    /// Adds the senders and subjects that the ledger has.
    fn use_ledger(&mut self, reader: Option<&Reader>) -> Result<()> {
        let Some(reader) = reader else {
            return Ok(());
        };
        let entries = self.mailbox.entries.iter().enumerate();
        let indices: HashMap<_, _> = entries
            .filter_map(|(index, entry)| Some((entry.row?, index)))
            .collect();
        reader.each_row(RowFilter::All, |row| {
            if let Some(index) = indices.get(&row.id) {
                let message = &mut self.messages[*index];
                (message.sender, message.subject) = (row.sender, row.subject);
            }
            Ok(())
        })
    }

    /// Requests the headers of new messages that the rules did not read, and all of them if the
    /// destination depends on more than the rules, but no more than [`MAX_HEADERS`]. The requests
    /// are pipelined. A message that failed before is left out,
    /// because its header may break the connection as well.
    fn use_headers(&mut self, session: &mut Transaction<Stream>) -> Result<()> {
        if session
            .capabilities()
            .is_some_and(|known| !known.has("TOP"))
        {
            return Ok(());
        }
        let entries = self.mailbox.entries.iter().enumerate();
        let new: Vec<_> = entries
            .filter(|(index, entry)| {
                let uid = &self.listed[*index].uid;
                let is_read = self.rules.summary(uid).is_some();
                entry.known == Known::NEVER_SEEN
                    && !self.rules.broke_connection(uid)
                    && (!is_read || self.account.routing.multidrop.is_some())
            })
            .map(|(index, entry)| (index, entry.num))
            .take(MAX_HEADERS)
            .collect();
        let nums: Vec<_> = new.iter().map(|(_, num)| *num).collect();
        let mut awaited = new.iter();
        session.tops(&nums, |head| {
            if let (Some((index, _)), Ok(head)) = (awaited.next(), head) {
                let summary = summarize(head.as_bytes());
                let header = Header::read(head.as_bytes());
                let destinations = self.destinations(*index, Some(&header));
                let message = &mut self.messages[*index];
                (message.sender, message.subject) = (summary.sender, summary.subject);
                message.destinations = destinations;
            }
        })
    }

    /// Returns the destinations of a message, or `None` if they are not known.
    fn destinations(&self, index: usize, header: Option<&Header<'_>>) -> Option<Vec<String>> {
        let routing = &self.account.routing;
        let entry = &self.mailbox.entries[index];
        let known = entry.rule_match.map_or_else(
            || self.rules.outcome(&self.listed[index].uid),
            RuleOutcome::Matched,
        );
        let outcome = match (known, header) {
            (RuleOutcome::NeedsHeader, Some(_)) => {
                let candidate = Candidate {
                    octets: entry.octets,
                    header,
                    wanted: true,
                };
                evaluate(&routing.rules, candidate, self.env.clock.now())
            }
            (known, _) => known,
        };
        let is_undecided = outcome == RuleOutcome::NeedsHeader || !self.account.filter.is_empty();
        if is_undecided && routing.needs_header() {
            return None;
        }
        let destinations = routing.destinations(outcome.matched(), header)?;
        let described = destinations.iter().map(|one| self.env.describe(one));
        Some(described.collect())
    }
}
