//! Connecting again until all messages are fetched, or no further progress can be expected.

use super::{
    connect::{Milestone, Presented, connect_patiently},
    expunge::Expunged,
    logins::Login,
    request::{Awaited, Failure, SessionLost},
    run::AccountRun,
    session::SessionEnd,
};
use crate::{
    domain::blame::{Lost, Next},
    error::{Error, Kind, Result, Verdict},
    net::Stream,
    pop3::transaction::Transaction,
};

/// The end of a session that was not lost while fetching.
enum SessionResult {
    /// Nothing is left to do.
    Complete,
    /// Another session is needed.
    Unfinished,
    /// It was lost while deleting.
    Lost(Error),
}

/// How far a session got.
#[derive(Clone, Copy)]
struct Reached {
    /// Whether the server listed the mailbox.
    listed: bool,
    /// Whether commands were pipelined.
    pipelined: bool,
    /// Whether a message or a header arrived.
    progress: bool,
}

impl AccountRun<'_> {
    /// Runs sessions until all messages are fetched, or an error ends the run.
    ///
    /// # Errors
    /// The server cannot be reached or used, or the ledger or a destination failed.
    pub(super) fn sessions(&mut self, mut login: Login) -> Result<()> {
        let mut proven = false;
        loop {
            let before = self.blame.arrived();
            let mut address = None;
            let connected = connect_patiently(
                (login.begun.take(), &login.route),
                self.account,
                self.env,
                Presented {
                    secret: &login.secret,
                    remembered: login.history.remembered(self.env.clock.now()),
                    proven,
                },
                &mut |milestone| {
                    if let Milestone::Connected(reached) = milestone {
                        address = reached;
                    }
                },
            );
            let mut session = match connected {
                Ok(session) => session,
                Err(failure) => {
                    self.login_failed(&mut login, failure)?;
                    // the server has not seen the other secret yet
                    proven = false;
                    continue;
                }
            };
            proven = true;
            let at = self.env.clock.now();
            self.logged_in(&mut login.history, at, &session)?;
            if !self.blame.may_pipeline() {
                session.disable_pipelining();
            }
            self.blame.begin_session();
            let ended = self.session(&mut session, address.as_deref());
            let (listed, pipelined) = (session.is_listed(), session.pipelining());
            // the session forgets refusals once the mailbox is listed
            login.history = self.ledger.reader().login_history()?;
            // LOGIN-DELAY may be another one after the login (RFC 2449 §6.5)
            self.logged_in(&mut login.history, at, &session)?;
            let lost = match ended {
                Ok(mut end) => {
                    // the next login may come too early
                    end.can_probe &= login.history.delay.is_none();
                    match self.end_session(session, end, before)? {
                        SessionResult::Complete => return Ok(()),
                        SessionResult::Unfinished => continue,
                        SessionResult::Lost(error) => error.into(),
                    }
                }
                Err(mut lost) => {
                    lost.error = self.access_refused(&login, lost.error);
                    lost
                }
            };
            let progress = self.memory.take_progress() || self.blame.arrived() > before;
            let reached = Reached {
                listed,
                pipelined,
                progress,
            };
            self.reconnect(lost, reached)?;
        }
    }

    /// Deletes what may be deleted, and ends the session.
    ///
    /// # Errors
    /// The error of a destination that ended the session early; or the server did not confirm the
    /// deletions, so that the next run deletes the rest; or the ledger failed.
    fn end_session(
        &mut self,
        session: Transaction<Stream>,
        end: SessionEnd,
        before: u64,
    ) -> Result<SessionResult> {
        let more = std::mem::take(&mut self.outcome.made_due) > 0
            || (self.account.lists_a_part() && self.blame.arrived() > before);
        let SessionEnd {
            deletions,
            stopped,
            refuses,
            can_probe,
        } = end;
        let expunged = self.expunge(session, &deletions, more)?;
        if let Some(error) = stopped {
            return Err(error);
        }
        let more = match expunged {
            Expunged::Lost(error) => return Ok(SessionResult::Lost(error)),
            Expunged::SuspectsLeft => true,
            Expunged::Complete => more,
        };
        // always asked, because it counts the sessions
        let retry = refuses && self.blame.server_refuses() == Next::Continue;
        let isolate = can_probe && !refuses && self.blame.isolate();
        Ok(if retry || isolate || (more && !refuses) {
            SessionResult::Unfinished
        } else {
            SessionResult::Complete
        })
    }

    /// Handles the loss of a session. Returns `Ok` if another one should be tried.
    ///
    /// # Errors
    /// The error that ended the session, if no further one can help; or a signal ended the run.
    fn reconnect(&mut self, lost: SessionLost, reached: Reached) -> Result<()> {
        let SessionLost { error, during } = lost;
        self.env.stop.check()?;
        if error.kind().verdict() != Verdict::Reconnect {
            return Err(error);
        }
        let requested = during
            .as_ref()
            .map(|awaited| (awaited.request.requested(), awaited.first));
        let next = self.blame.connection_lost(Lost {
            during: requested,
            // a server that drops the connection may have dropped responses before that
            maybe_desynchronized: reached.pipelined
                && (!reached.progress
                    || matches!(error.kind(), Kind::Desynchronized | Kind::TimedOut)),
            listed: reached.listed,
            progress: reached.progress,
        });
        if let Some(awaited) = during
            && self.blame.is_done(awaited.request.row)
        {
            let Awaited {
                request, partial, ..
            } = *awaited;
            let what = format!("{} while sending {}", error.what(), request.name());
            let error = error
                .facts()
                .iter()
                .fold(Error::new(error.kind(), what), |error, fact| {
                    error.with_fact(fact.as_str())
                });
            self.keep_failure(Failure {
                partial,
                ..Failure::new(&request, error)
            });
        }
        if next == Next::GiveUp {
            return Err(match self.blame.fruitless() {
                0 | 1 => error,
                lost => error.with_fact(format!(
                    "{lost} connections in a row failed without fetching anything"
                )),
            });
        }
        self.flush()
    }
}
