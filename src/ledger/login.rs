//! Records of logins, so that a timer does not repeat them too early.
//!
//! See [`domain::login`](crate::domain::login) for the decision.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, Reader};
use crate::{
    domain::{
        auth::Mechanism,
        login::{Fallback, Fingerprint, LoginDelay, LoginHistory, RefusedLogin},
        time::{TimeSpan, Timestamp},
    },
    error::Result,
};

impl Reader {
    /// Returns the history of the logins.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn login_history(&self) -> Result<LoginHistory> {
        let history = self
            .connection
            .query_row(
                "SELECT last_login, login_delay, refusals, refused_at, refusal, response, salt,
                     secret_hash, mechanism, mechanism_since
                 FROM login",
                [],
                |row| {
                    let (last_login, delay): (Option<i64>, Option<u64>) =
                        (row.get(0)?, row.get(1)?);
                    let delay = last_login.zip(delay).map(|(last_login, delay)| LoginDelay {
                        last_login: Timestamp(last_login),
                        delay: TimeSpan::from_seconds(delay),
                    });
                    let refused = match row.get(2)? {
                        0 => None,
                        count => Some(RefusedLogin {
                            count,
                            last: Timestamp(row.get(3)?),
                            what: row.get(4)?,
                            response: row.get(5)?,
                            fingerprint: Fingerprint {
                                salt: row.get(6)?,
                                hash: row.get(7)?,
                            },
                        }),
                    };
                    let (mechanism, since): (Option<String>, Option<i64>) =
                        (row.get(8)?, row.get(9)?);
                    let mechanism = mechanism.and_then(|name| Mechanism::named(&name));
                    let fallback = mechanism.zip(since).map(|(mechanism, since)| Fallback {
                        mechanism,
                        since: Timestamp(since),
                    });
                    Ok(LoginHistory {
                        delay,
                        refused,
                        fallback,
                    })
                },
            )
            .optional()
            .map_err(|error| self.explain(&error))?;
        Ok(history.unwrap_or_default())
    }
}

impl Ledger {
    /// Replaces the history of the logins. A power failure may undo this: a login would then
    /// be tried earlier than intended.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_logins(&mut self, history: &LoginHistory) -> Result<()> {
        let LoginHistory {
            delay,
            refused,
            fallback,
        } = history;
        let seconds = delay.map(|delay| i64::try_from(delay.delay.seconds()).unwrap_or(i64::MAX));
        self.write_relaxed(|ledger| {
            ledger.execute("DELETE FROM login", [])?;
            if *history == LoginHistory::default() {
                return Ok(());
            }
            let fingerprint = refused.as_ref().map(|refused| &refused.fingerprint);
            ledger
                .execute(
                    "INSERT INTO login (last_login, login_delay, refusals, refused_at, refusal,
                         response, salt, secret_hash, mechanism, mechanism_since)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        delay.map(|delay| delay.last_login.0),
                        seconds,
                        refused.as_ref().map_or(0, |refused| refused.count),
                        refused.as_ref().map(|refused| refused.last.0),
                        refused.as_ref().map(|refused| &refused.what),
                        refused.as_ref().map(|refused| &refused.response),
                        fingerprint.map(|fingerprint| &fingerprint.salt),
                        fingerprint.map(|fingerprint| &fingerprint.hash),
                        fallback.map(|fallback| fallback.mechanism.name()),
                        fallback.map(|fallback| fallback.since.0),
                    ],
                )
                .map(drop)
        })
    }
}
