//! What the account's rules say of the messages that are new: told by their size where that is
//! enough, by their headers otherwise.

use crate::{
    domain::{
        message::Header,
        plan::{Known, Policy},
        rule::{Candidate, Rule, RuleAction, RuleOutcome, evaluate},
        time::Timestamp,
    },
    error::Result,
    ledger::Reconciled,
    net::Stream,
    pop3::transaction::Transaction,
};

/// The places in `look` of the messages that rules have a say in. What failed or was put off before
/// is fetched all the same: the rules had their say then, and to ask for its header may be what
/// breaks the line.
pub(super) fn open(look: &Reconciled) -> Vec<usize> {
    let fresh = Known::New {
        attempts: 0,
        deferred: false,
    };
    let entries = look.mailbox.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| entry.known == fresh)
        .map(|(place, _)| place)
        .collect()
}

/// The least number of headers to ask for, so that a slow line is not waited for at each of them.
const AT_ONCE: u64 = 50;

/// Judges the messages of `look` at `places`; `told` gets each place once at most, with what the
/// rules say, those that need their header last and in order. A message whose header the server
/// does not give stays unread, and no rule takes it. Where the limit of `policy` is reached, no
/// more headers are asked for: what comes behind is not fetched in this run, whatever the rules say
/// of it.
///
/// # Errors
/// The line is lost: while the header of the first message was asked for that was not told. Or the
/// server is out of step: the headers may be other messages'.
pub(super) fn ask(
    session: &mut Transaction<Stream>,
    rules: &[Rule],
    policy: &Policy,
    look: &Reconciled,
    places: &[usize],
    now: Timestamp,
    mut told: impl FnMut(usize, RuleOutcome),
) -> Result<()> {
    let evaluate = |place: usize, header: Option<&Header<'_>>| {
        let case = Candidate {
            octets: look.mailbox.entries[place].octets,
            header,
            wanted: look.wanted.binary_search(&place).is_ok(),
        };
        evaluate(rules, case, now)
    };
    let mut unread = Vec::new();
    for place in places {
        match evaluate(*place, None) {
            RuleOutcome::NeedsHeader => unread.push(*place),
            judgement => told(*place, judgement),
        }
    }
    let mut room = room(policy);
    let mut unread = unread.as_slice();
    while room > 0 && !unread.is_empty() {
        let count = usize::try_from(room.max(AT_ONCE))
            .unwrap_or(usize::MAX)
            .min(unread.len());
        let (some, rest) = unread.split_at(count);
        let nums: Vec<_> = some
            .iter()
            .map(|place| look.mailbox.entries[*place].num)
            .collect();
        let mut places = some.iter();
        session.tops(&nums, |head| {
            let Some(place) = places.next() else { return };
            let judgement = head.map_or(RuleOutcome::NeedsHeader, |head| {
                evaluate(*place, Some(&Header::read(head.as_bytes())))
            });
            let stays = judgement
                .matched()
                .is_some_and(|rule_match| rule_match.action != RuleAction::Fetch)
                || policy
                    .max_size
                    .is_some_and(|max| look.mailbox.entries[*place].octets > max.octets());
            room -= u64::from(!stays && room > 0);
            told(*place, judgement);
        })?;
        unread = rest;
    }
    Ok(())
}

/// How many messages are fetched at most. Where the newest of them decide what is deleted, it has
/// to be known of all of them whether they will be.
fn room(policy: &Policy) -> u64 {
    let trims = policy.keep_newest.is_some() || policy.keep_total.is_some();
    policy.limit.filter(|_| !trims).unwrap_or(u64::MAX)
}
