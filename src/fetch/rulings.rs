//! What the account's rules say of the messages that are new: told by their size where that is
//! enough, by their headers otherwise.

use crate::{
    error::Result,
    ledger::Look,
    message::Header,
    net::Stream,
    policy::Known,
    pop3::session::Transaction,
    rule::{Case, Judgement, Rule, judge},
    types::Epoch,
};

/// The places in `look` of the messages that rules have a say in. What failed or was put off before
/// is fetched all the same: the rules had their say then, and to ask for its header may be what
/// breaks the line.
pub(super) fn open(look: &Look) -> Vec<usize> {
    let fresh = Known::New { attempts: 0, put_off: false };
    let entries = look.scan.entries.iter().enumerate();
    entries.filter(|(_, entry)| entry.known == fresh).map(|(place, _)| place).collect()
}

/// Judges the messages of `look` at `places`; `told` gets each place once, with what the rules say,
/// those that need their header last and in order. A message whose header the server does not give
/// stays unread, and no rule takes it.
///
/// # Errors
/// The line is lost: while the header of the first message was asked for that was not told.
pub(super) fn ask(
    session: &mut Transaction<Stream>,
    rules: &[Rule],
    look: &Look,
    places: &[usize],
    now: Epoch,
    mut told: impl FnMut(usize, Judgement),
) -> Result<()> {
    let judge = |place: usize, header: Option<&Header<'_>>| {
        let case =
            Case { octets: look.scan.entries[place].octets, header, wanted: look.wanted.binary_search(&place).is_ok() };
        judge(rules, case, now)
    };
    let mut unread = Vec::new();
    for place in places {
        match judge(*place, None) {
            Judgement::Unread => unread.push(*place),
            judgement => told(*place, judgement),
        }
    }
    let nums: Vec<_> = unread.iter().map(|place| look.scan.entries[*place].num).collect();
    let mut unread = unread.into_iter();
    session.tops(&nums, |head| {
        let Some(place) = unread.next() else { return };
        told(place, head.map_or(Judgement::Unread, |head| judge(place, Some(&Header::read(head.as_bytes())))));
    })
}
