//! Filters: what programs make of a message before it is delivered.

use super::{AccountRun, FetchRequest};
use crate::{
    delivery::{Draft, Envelope, Filter, Filtered},
    domain::{
        message::{Head, MAX_HEAD},
        plan::AfterFetch,
    },
    error::{Error, Kind, Result, Verdict},
};

impl AccountRun<'_> {
    /// Passes a message through the account's filters, one after the other; nothing where it ends
    /// there. The header that comes back is what the last of them made of it.
    pub(super) fn filter(
        &mut self,
        order: &FetchRequest,
        envelope: &Envelope<'_>,
        mut draft: Draft,
        head: Head,
    ) -> Result<Option<(Draft, Head)>> {
        let account = self.account;
        if account.filter.is_empty() {
            return Ok(Some((draft, head)));
        }
        for argv in &account.filter {
            let filter = Filter {
                argv,
                timeout: account.pipe_timeout.into(),
                spool: &self.env.state_dir,
            };
            match filter.run(envelope, draft, &self.env.stop) {
                Ok(Filtered::Passed(passed)) => draft = passed,
                // the ledger has no other word for one that was delivered short: it would be asked
                // for again in each run
                Ok(Filtered::Dropped) if order.then == AfterFetch::Complete => {
                    let what = format!(
                        "message {} of {} came short before, and now",
                        order.num, order.listed
                    );
                    let error = Error::new(
                        Kind::Rejected,
                        format!("{what} the filter {} drops it", argv.join(" ")),
                    );
                    return self.not_taken(order, error).map(|()| None);
                }
                Ok(Filtered::Dropped) => {
                    self.ledger.skip(&[(
                        order.row,
                        format!("dropped by the filter {}", argv.join(" ")),
                    )])?;
                    self.tally.skipped += 1;
                    self.deferred_in_a_row = 0;
                    return Ok(None);
                }
                Err(error) if error.kind().verdict() == Verdict::StopAll => return Err(error),
                Err(error) => return self.not_taken(order, error).map(|()| None),
            }
        }
        let octets = draft
            .read_back(MAX_HEAD as u64)
            .map_err(|error| Error::file("read", draft.place(), &error))?;
        let mut head = Head::default();
        head.push(&octets);
        Ok(Some((draft, head)))
    }
}
