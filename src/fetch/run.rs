//! The state of a run over all its sessions, and how it is recorded and settled.

use std::collections::BTreeMap;

use super::{
    commit::{Committed, Committer},
    destinations,
    env::RunEnv,
    mailbox::Recognised,
    outcome::{AcceptedMessage, MessageReport, Outcome},
    recover,
    request::{Failure, FetchRequest, ReceivedParts, will_retry},
    survey::SurveyMemory,
};
use crate::{
    config::Account,
    delivery::{Delivery, Envelope, Mbox, Router},
    domain::{
        blame::{Blame, Next},
        destination::Destination,
        ids::RowId,
        message::{HeaderSummary, summarize},
        plan::AfterFetch,
    },
    error::{Error, Exit, Kind, Result},
    event::{Event, MessageName, StoredMessage},
    ledger::{Arrival, Ledger, LedgerFile, MaildirState, Run},
    sys::lock::Lock,
    text::{count, day, tilde, times},
};

/// A run of one account, over all its sessions.
pub(super) struct AccountRun<'a> {
    pub(super) account: &'a Account,
    pub(super) env: &'a RunEnv,
    /// The file of the ledger.
    pub(super) file: LedgerFile,
    pub(super) ledger: Ledger,
    pub(super) run: Run,
    /// The account's Maildirs.
    pub(super) maildirs: Vec<MaildirState>,
    pub(super) committer: Committer,
    pub(super) blame: Blame,
    pub(super) memory: SurveyMemory,
    pub(super) outcome: Outcome,
    /// Failed messages, until the evidence decides whether they are charged with an attempt.
    failures: BTreeMap<RowId, Failure>,
    /// The received parts of messages that were quarantined in this run, for the notice.
    pub(super) received_parts: ReceivedParts,
    /// Whether messages may be durable in a destination, but not recorded in the ledger.
    pub(super) unsettled: bool,
    /// The lock of the mailbox, if it was recognised in this run. That of the account is held by
    /// the caller.
    pub(super) mailbox_lock: Option<Lock>,
    /// The last message whose DELE was answered before a session was lost.
    pub(super) last_answered_deletion: Option<RowId>,
    /// Whether the next run has to search for copies of messages that only some destinations
    /// stored.
    pub(super) search_again: bool,
}

/// A run that has begun: its ledger, and whether an earlier run was interrupted.
pub(super) type Started = (LedgerFile, Ledger, Run, bool);

impl<'a> AccountRun<'a> {
    /// Starts a run. If an earlier one was `interrupted`, [`recover`](Self::recover) has to be
    /// called first.
    pub(super) fn new(
        account: &'a Account,
        env: &'a RunEnv,
        (file, ledger, run, interrupted): Started,
        maildirs: Vec<MaildirState>,
        router: Router,
    ) -> Self {
        Self {
            account,
            env,
            file,
            ledger,
            run,
            maildirs,
            committer: Committer::new(router, env.open_files),
            blame: Blame::new(account.retries),
            memory: SurveyMemory::default(),
            outcome: Outcome::default(),
            failures: BTreeMap::new(),
            received_parts: ReceivedParts::default(),
            unsettled: interrupted,
            mailbox_lock: None,
            last_answered_deletion: None,
            search_again: false,
        }
    }

    /// Continues the run with the ledger of a known mailbox, to which the address of the account
    /// leads. The present ledger, which has no messages, is removed.
    ///
    /// # Errors
    /// Another pouch is fetching the mailbox, or the ledger or a destination cannot be used.
    pub(super) fn continue_with(&mut self, recognised: &Recognised) -> Result<()> {
        let (account, env) = (self.account, self.env);
        let file = recognised.mailbox.file.clone();
        let patience = env.patience.max(account.timeout.into());
        self.mailbox_lock = Some(env.lock_key(file.key(), patience)?);
        let mut ledger = env.open_ledger(account, &file)?;
        let (run, interrupted) = ledger.begin_run(env.clock.now())?;
        ledger.set_maildirs(&self.maildirs)?;
        let router = destinations::open(account, env, &file)?;
        self.committer = Committer::new(router, env.open_files);
        (self.file, self.ledger, self.run) = (file, ledger, run);
        self.unsettled = interrupted;
        self.report(&Event::Notice(&recognised.notice(account)));
        if interrupted {
            self.recover()?;
        }
        Ok(())
    }

    /// Reports an event of this account.
    pub(super) fn report(&self, event: &Event<'_>) {
        self.env.report.event(&self.account.name, event);
    }

    /// Reports that a program gets a message, described by `what`, that it may have already.
    pub(super) fn report_redelivery(&self, what: &str) {
        self.report(&Event::Notice(
            &Error::new(
                Kind::Deferred,
                format!("an earlier run was interrupted while delivering {what}"),
            )
            .with_fact("delivering it again; it may be duplicated"),
        ));
    }

    /// Records what an interrupted run delivered, and removes its drafts.
    ///
    /// # Errors
    /// A destination or the ledger cannot be read or written.
    pub(super) fn recover(&mut self) -> Result<()> {
        let router = self.committer.router();
        let recovery = recover::find_delivered(self.ledger.reader(), router, self.account)?;
        recovery.record(&mut self.ledger, self.env.clock.now())?;
        let reader = self.ledger.reader();
        self.committer.router_mut().remove_stale_drafts(&|name| {
            reader.message_named(name).is_some() || reader.notice_named(name).is_some()
        })?;
        for dir in recovery.unreadable {
            let path = tilde(&dir, &self.env.home);
            self.report(&Event::Notice(
                &Error::new(
                    Kind::CannotCreate,
                    format!("cannot read {path}, which may contain messages of an interrupted run"),
                )
                .with_fact("messages that were moved there are fetched again"),
            ));
        }
        for (mailbox, messages) in recovery.uncertain {
            let path = tilde(&mailbox, &self.env.home);
            let messages = count(messages, "message");
            self.report(&Event::Notice(
                &Error::new(
                    Kind::Deferred,
                    format!("the last run was interrupted while writing to {path}"),
                )
                .with_fact("the file has changed since and was left untouched")
                .with_fact(format!(
                    "it may contain {messages}, complete or in part, which will be fetched again"
                )),
            ));
        }
        self.unsettled = false;
        Ok(())
    }

    /// Keeps a failure until there is evidence about it.
    pub(super) fn keep_failure(&mut self, failure: Failure) {
        self.failures.insert(failure.request.row, failure);
    }

    /// Forgets that a message failed earlier in this run.
    pub(super) fn forget_failure(&mut self, row: RowId) {
        self.failures.remove(&row);
    }

    /// Charges the messages that are proven to be bad with an attempt.
    pub(super) fn charge_proven(&mut self) -> Result<()> {
        for row in self.blame.take_proven() {
            if let Some(failure) = self.failures.remove(&row) {
                self.charge(failure)?;
            }
        }
        Ok(())
    }

    /// Charges a message with an attempt, and quarantines it if that was the last one allowed.
    fn charge(&mut self, failure: Failure) -> Result<()> {
        let Failure {
            request,
            error,
            partial,
            ..
        } = failure;
        let (row, account) = (request.row, self.account);
        let summary = summarize(&partial);
        let now = self.env.clock.now();
        let limit = account.attempts;
        let reason = reason(&error);
        let failed = self
            .ledger
            .charge_attempt(row, &self.run, limit, (&reason, &summary), now)?;
        let attempts = failed.attempts;
        let Some(next_try) = failed.next_try.filter(|_| failed.quarantined) else {
            let name = request.name();
            let fact = match failed.next_try {
                None => format!("{name} left on the server, attempt {attempts} of {limit}"),
                // it is in quarantine already
                Some(next_try) => format!(
                    "{name} left on the server after it failed {}; next try {}",
                    times(attempts),
                    day(next_try)
                ),
            };
            self.outcome.fail(&request, error.with_fact(fact), None);
            return Ok(());
        };
        let error = error
            .with_fact(format!(
                "quarantined after it failed {}; other messages are not affected",
                times(attempts)
            ))
            .with_hint(format!(
                "run `pouch ledger show {} {row}` for details",
                account.name
            ));
        self.outcome.fail(&request, error, Some(next_try));
        if !account.notice {
            return self.ledger.mark_reported(&[row], now).map(drop);
        }
        self.received_parts.add(row, partial);
        Ok(())
    }

    /// Starts to commit the batch if it is due.
    pub(super) fn commit_if_due(&mut self) -> Result<()> {
        if self.committer.is_due() {
            self.commit()
        } else {
            Ok(())
        }
    }

    /// Makes all accepted messages durable, and records them.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.commit()?;
        while self.committer.is_in_flight() {
            self.unsettled = true;
            let committed = self.committer.wait()?;
            self.record(committed)?;
        }
        Ok(())
    }

    /// Starts to commit the batch, and records an earlier one.
    fn commit(&mut self) -> Result<()> {
        // until the batch is recorded, the next run would have to search for its messages
        self.unsettled = true;
        let committed = self.committer.start_commit()?;
        self.record(committed)
    }

    /// Records durable messages as delivered, and those that could not be stored as failed.
    fn record(&mut self, committed: Committed) -> Result<()> {
        let Committed {
            arrivals,
            unstored,
            renamed,
        } = committed;
        for (row, file) in renamed {
            self.outcome.rename(row, file);
        }
        self.record_arrivals(&arrivals)?;
        for (message, error) in unstored {
            self.outcome.withdraw(message.request.row);
            // another destination may have stored it
            self.search_again |= message.copies > 1;
            let is_disk = !self.can_store(&message.request, &error);
            if is_disk || self.blame.not_stored(message.request.requested()) == Next::GiveUp {
                return Err(error);
            }
            let failure = self.not_stored(&message.request, error);
            self.keep_failure(failure);
        }
        Ok(())
    }

    /// Returns whether the destination of a message can store a small one, although it failed to
    /// store this one with `error`.
    pub(super) fn can_store(&mut self, request: &FetchRequest, error: &Error) -> bool {
        if !matches!(error.kind(), Kind::Io | Kind::CannotCreate) {
            return false;
        }
        let known = self.known_destinations(request);
        let tested = known.clone();
        let tested = tested.unwrap_or_else(|| self.account.routing.all());
        let destinations = known.unwrap_or_default();
        let envelope = Envelope {
            account: &self.account.name,
            name: &request.copy.name.to_string(),
            uid: &request.uid,
            sender: None,
            destinations: &destinations,
            accepted_by: &[],
            fields: &[],
        };
        let draft = self.committer.begin(&envelope);
        draft.is_ok_and(|draft| draft.test().is_ok())
            && tested.iter().all(|destination| match destination {
                Destination::Mbox(path) => Mbox::test_disk(path).is_ok(),
                _ => true,
            })
    }

    /// Returns the failure of a message that could not be stored, and reports it: the user may have
    /// to free space.
    pub(super) fn not_stored(&mut self, request: &FetchRequest, error: Error) -> Failure {
        self.outcome.raise_exit(error.kind().exit());
        let fact = format!(
            "{} left on the server; other messages are not affected",
            request.name()
        );
        let warning = error.clone().with_fact(fact);
        self.outcome.warning.get_or_insert(warning);
        Failure::new(request, error)
    }

    /// Records durable messages as delivered.
    fn record_arrivals(&mut self, arrivals: &[Arrival]) -> Result<()> {
        if arrivals.is_empty() {
            self.unsettled = false;
            return Ok(());
        }
        let now = self.env.clock.now();
        let arrived = arrivals.iter().map(|arrival| arrival.row);
        self.outcome.made_due += self.ledger.retry_like(arrived, now)?;
        let truncated = {
            let maildirs = destinations::seen_maildirs(self.account);
            self.ledger
                .record_delivered(arrivals, &maildirs, &self.run, now)?
        };
        self.unsettled = false;
        for arrival in arrivals {
            if let Some(message) = self.outcome.deliver(arrival.row, arrival.received) {
                self.report_stored(arrival, &message);
            }
        }
        for arrival in arrivals
            .iter()
            .filter(|arrival| truncated.contains(&arrival.row))
        {
            self.report_truncated(arrival)?;
        }
        Ok(())
    }

    /// Reports that a message is durable.
    fn report_stored(&self, arrival: &Arrival, message: &AcceptedMessage) {
        let destinations = message.destinations.iter();
        let destinations: Vec<_> = destinations
            .map(|destination| self.env.describe(destination))
            .collect();
        self.report(&Event::Stored(StoredMessage {
            row: arrival.row,
            uid: &message.uid,
            octets: arrival.received,
            destinations: &destinations,
            file: arrival.in_maildir.then_some(message.file.as_str()),
        }));
    }

    /// Reports that a message was delivered truncated, unless that was reported before.
    fn report_truncated(&mut self, arrival: &Arrival) -> Result<()> {
        let Arrival {
            row,
            received,
            listed,
            ..
        } = *arrival;
        let now = self.env.clock.now();
        if !self.ledger.reader().sizes_are_trusted()?
            || self.ledger.mark_reported(&[row], now)?.is_empty()
        {
            return Ok(());
        }
        self.outcome.raise_exit(Exit::LATER);
        self.report(&Event::Notice(
            &Error::new(
                Kind::Unavailable,
                format!("message {row} is truncated: received fewer bytes than the server listed"),
            )
            .with_fact(format!("received {received} of {}", count(listed, "byte")))
            .with_fact("delivered truncated and left on the server; the next run requests it again")
            .with_hint(format!(
                "run `pouch ledger show {} {row}` for details",
                self.account.name
            )),
        ));
        Ok(())
    }

    /// Settles the run after the last session, even if that was lost: commits what was accepted,
    /// charges or defers failed messages, delivers a notice and reports failures.
    ///
    /// # Errors
    /// The ledger or a destination failed.
    pub(super) fn finish(&mut self) -> Result<()> {
        // after a failure of the disk or the ledger, the next run searches for durable messages
        let flushed = if self.unsettled {
            self.committer.abandon()
        } else {
            self.flush()
        };
        self.charge_proven()?;
        let noticed = if self.unsettled {
            Ok(())
        } else {
            self.send_notice()
        };
        for (row, failure) in std::mem::take(&mut self.failures) {
            let Failure {
                request,
                error,
                partial,
                ..
            } = failure;
            self.describe(row, &summarize(&partial))?;
            // there is no evidence against the message
            let error = error.of_kind(Kind::Busy);
            if request.after != AfterFetch::Complete {
                self.ledger.defer(row, self.env.clock.now())?;
            }
            let reported = will_retry(&request, error.clone());
            self.outcome.defer(&request, error, reported);
        }
        if let Some(error) = self.postponed_deletions()? {
            self.outcome.warning.get_or_insert(error);
        }
        self.report_failures();
        flushed.and(noticed)
    }

    /// Records the sender and the subject of a message, if one of them is known.
    pub(super) fn describe(&mut self, row: RowId, summary: &HeaderSummary) -> Result<()> {
        if summary.sender.is_some() || summary.subject.is_some() {
            self.ledger.describe(row, summary)?;
        }
        Ok(())
    }

    /// Reports the failed messages, with the sender and the subject that the ledger has.
    fn report_failures(&mut self) {
        for failure in self.outcome.take_failures() {
            let MessageReport {
                row,
                uid,
                error,
                next_try,
            } = failure;
            // if the ledger cannot be read, the run has failed, and the message is reported anyway
            let known = self.ledger.reader().find(row).ok();
            let known = known.as_ref();
            let message = MessageName {
                row,
                uid: &uid,
                sender: known.and_then(|known| known.sender.as_deref()),
                subject: known.and_then(|known| known.subject.as_deref()),
            };
            let error = &error;
            self.report(&match next_try {
                Some(next_try) => Event::Quarantined {
                    message,
                    error,
                    next_try,
                },
                None => Event::Failed { message, error },
            });
        }
    }
}

/// Returns why a message failed, in one line: the error and its first fact, which quotes the
/// server.
fn reason(error: &Error) -> String {
    let facts = error.facts().iter().take(1);
    facts.fold(error.what().to_owned(), |reason, fact| {
        format!("{reason}; {fact}")
    })
}
