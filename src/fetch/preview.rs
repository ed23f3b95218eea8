//! Commands that survey a mailbox without fetching: `pouch plan` and `pouch ledger catchup`.

use std::collections::HashMap;

use super::{
    basis::{Basis, Criteria},
    connect::connect,
    destinations,
    env::RunEnv,
    identify::{self, UnreadableHeaders},
    recover,
    rules::RuleMemory,
    survey::{SurveyMemory, decide, survey},
};
use crate::{
    config::Account,
    delivery::Router,
    domain::{
        ids::Listed,
        message::{Header, summarize},
        plan::{Known, Mailbox, Plan, plan},
        reconcile::reconcile,
        rule::{Candidate, RuleOutcome, evaluate},
    },
    error::{Error, Result},
    ledger::{Reader, Recovered, State},
    net::Stream,
    pop3::transaction::Transaction,
    text::sanitize,
};

/// A plan that is not carried out.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The mailbox that the plan is for.
    pub mailbox: Mailbox,
    /// The description of each message, in the order of the listing. Empty with [`Detail::None`].
    pub messages: Vec<MessageDetails>,
    /// A problem that is reported with the plan.
    pub warning: Option<Error>,
}

/// How much a preview finds out about each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing beyond the plan.
    None,
    /// What is known without requesting headers.
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

/// Returns what [`fetch`](super::fetch) would do now.
///
/// Neither the ledger nor the mailbox can be changed: the ledger is opened read-only, and the
/// session ends without DELE. Running the code that writes on a copy of the ledger was rejected:
/// that nothing changes would depend on tests instead of on types.
///
/// # Errors
/// As for a real run.
pub fn preview(account: &Account, env: &RunEnv, detail: Detail) -> Result<Preview> {
    let _lock = env.lock_at_once(account)?;
    let reader = env.reader(account)?;
    let router = destinations::open_existing(account, env)?;
    let maildirs = destinations::maildirs(account);
    let recovered = recovered(account, reader.as_ref(), &router)?;
    let mut session = connect(account, env, &env.secret(account)?, &mut |_| {})?;
    let now = env.clock.now();
    let basis = Basis {
        account,
        reader: reader.as_ref(),
        router: &router,
        maildirs: &maildirs,
        recovered: &recovered,
        accept_new_uids: env.accept_new_uids,
        now,
    };
    let mut memory = SurveyMemory::default();
    let surveyed = survey(&mut session, &basis, &mut memory.unreadable)?;
    let (listing, mut reconciled) = (surveyed.listing, surveyed.reconciled);
    let moved = surveyed.findings.recognized.moved.len();
    let warning = surveyed
        .warning
        .or((moved > 0).then(|| identify::moved_notice(moved)));
    let criteria = Criteria {
        rules: &account.routing.rules,
        policy: account.policy,
        now,
    };
    let rules = &mut memory.rules;
    let decided = decide(&mut session, &criteria, &listing, &mut reconciled, rules);
    let mailbox = reconciled.mailbox;
    let (plan, warning, detail) = match decided {
        Ok(plan) => (plan, warning, detail),
        Err(error) => {
            let error = error.with_fact("the rules were not evaluated for the remaining messages");
            (
                plan(&account.policy, &mailbox, now),
                Some(error),
                detail.min(Detail::Known),
            )
        }
    };
    let describer = Describer {
        account,
        env,
        mailbox: &mailbox,
        rules: &memory.rules,
        listed: &listing.messages,
        messages: Vec::new(),
    };
    let (messages, problem) = describer.describe(reader.as_ref(), &mut session, detail)?;
    session.leave();
    Ok(Preview {
        plan,
        mailbox,
        messages,
        warning: warning.or(problem),
    })
}

/// Returns the messages that an interrupted run delivered without recording them.
fn recovered(
    account: &Account,
    reader: Option<&Reader>,
    router: &Router,
) -> Result<Vec<Recovered>> {
    match reader {
        Some(reader) if reader.was_interrupted()? => {
            recover::find_delivered(reader, router, account).map(|found| found.delivered)
        }
        _ => Ok(Vec::new()),
    }
}

/// Collects the descriptions of all listed messages.
struct Describer<'a> {
    account: &'a Account,
    env: &'a RunEnv,
    mailbox: &'a Mailbox,
    rules: &'a RuleMemory,
    listed: &'a [Listed],
    messages: Vec<MessageDetails>,
}

impl Describer<'_> {
    /// Returns the descriptions. If the session is lost, they lack some headers, and the error is
    /// returned as well.
    fn describe(
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
        reader.each_row(&State::ALL, |row| {
            if let Some(index) = indices.get(&row.id) {
                let message = &mut self.messages[*index];
                (message.sender, message.subject) = (row.sender, row.subject);
            }
            Ok(())
        })
    }

    /// Requests the headers of new messages that the rules did not read, and all of them if the
    /// destination depends on more than the rules. A message that failed before is left out,
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

/// Marks every message on the server that was not delivered as skipped, or `as_fetched` as
/// delivered now. Returns their number.
///
/// The fingerprints of their headers are recorded if the server supports TOP, so that the messages
/// are recognised if their UIDs change.
///
/// # Errors
/// The mailbox cannot be listed, the connection is lost, or the ledger cannot be written.
pub fn catch_up(account: &Account, env: &RunEnv, as_fetched: bool) -> Result<u64> {
    let _lock = env.lock_at_once(account)?;
    let mut ledger = env.ledger(account)?;
    let secret = env.secret(account)?;
    let mut session = connect(account, env, &secret, &mut |_| {})?;
    let mut unreadable = UnreadableHeaders::default();
    let known = || ledger.reader().known_messages();
    let (listing, mut known) = identify::list(&mut session, known, &mut unreadable)?;
    let messages = &listing.messages;
    let mut reconciled = reconcile(messages, &known);
    let unknown = reconciled.unknown().map(|index| &messages[index]);
    if ledger.reader().recall_gone(&mut known, unknown)? {
        reconciled = reconcile(messages, &known);
    }
    let now = env.clock.now();
    let (changed, skipped) = ledger.catch_up(reconciled, messages, as_fetched, now)?;
    let listed: Vec<_> = skipped
        .iter()
        .map(|(num, octets, _)| (*num, *octets))
        .collect();
    let found = identify::fingerprints(&mut session, &listed, &mut unreadable)?;
    let fingerprints: Vec<_> = skipped
        .iter()
        .zip(found)
        .filter_map(|((.., row), found)| Some((*row, found?)))
        .collect();
    ledger.record_fingerprints(&fingerprints)?;
    session.leave();
    Ok(changed)
}
