//! Running the account's filters on a message before it is delivered.

use super::{
    request::{FetchRequest, Received},
    run::AccountRun,
};
use crate::{
    delivery::{Draft, Envelope, Filter, Filtered},
    domain::{
        message::{Head, MAX_HEAD, summarize},
        plan::AfterFetch,
    },
    error::{Error, Kind, Result, Verdict},
    sys::process::program,
};

/// The result of the filters for a message.
pub(super) enum FilterOutcome {
    /// The message as the last filter returned it, and its header.
    Passed(Draft, Head),
    /// The message is not delivered.
    Stopped(Received),
}

impl AccountRun<'_> {
    /// Passes a message through the account's filters, in their order.
    ///
    /// # Errors
    /// A filter cannot be run, a signal ended the run, or the ledger or the disk failed. A filter
    /// that defers or rejects the message is [`FilterOutcome::Stopped`].
    pub(super) fn filter(
        &mut self,
        request: &FetchRequest,
        mut draft: Draft,
        head: Head,
    ) -> Result<FilterOutcome> {
        let account = self.account;
        if account.filter.is_empty() {
            return Ok(FilterOutcome::Passed(draft, head));
        }
        let envelope = Envelope {
            account: &account.name,
            name: &request.copy.name.to_string(),
            uid: &request.uid,
            sender: None,
            destinations: &[],
            accepted_by: &[],
            fields: &[],
        };
        for argv in &account.filter {
            let spool = &self.env.state_dir;
            let filter = Filter {
                argv,
                timeout: account.pipe_timeout.into(),
                spool,
            };
            match filter.run(&envelope, draft, &self.env.stop) {
                Ok(Filtered::Passed(passed)) => draft = passed,
                // The ledger records a message as delivered or as skipped. This one was delivered
                // in part, so it fails, and is not requested again in each run.
                Ok(Filtered::Dropped) if request.after == AfterFetch::Complete => {
                    let what = format!(
                        "the filter `{}` dropped {}, which had been delivered truncated",
                        program(argv),
                        request.name()
                    );
                    let error = Error::new(Kind::Rejected, what);
                    self.describe(request.row, &summarize(head.as_bytes()))?;
                    return Ok(FilterOutcome::Stopped(self.unaccepted(
                        request,
                        error,
                        Vec::new(),
                    )?));
                }
                Ok(Filtered::Dropped) => {
                    let reason = format!("dropped by the filter `{}`", program(argv));
                    self.ledger.skip(&[(request.row, reason)])?;
                    self.blame.accepted(&[]);
                    return Ok(FilterOutcome::Stopped(Received::Skipped));
                }
                Err(error) if error.kind().verdict() == Verdict::StopAll => return Err(error),
                Err(error) => {
                    self.describe(request.row, &summarize(head.as_bytes()))?;
                    return Ok(FilterOutcome::Stopped(self.unaccepted(
                        request,
                        error,
                        Vec::new(),
                    )?));
                }
            }
        }
        let octets = draft
            .read_back(MAX_HEAD as u64)
            .map_err(|error| Error::file("read", draft.path(), &error))?;
        let mut head = Head::default();
        head.push(&octets);
        Ok(FilterOutcome::Passed(draft, head))
    }
}
