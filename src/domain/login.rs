//! Decides when the next login may be made.
//!
//! Two things limit logins. A server may require a delay between them (LOGIN-DELAY, RFC 2449 §6.5).
//! And a server that refused a password counts the refusals: fail2ban blocks the address of a whole
//! office if a timer repeats a wrong password every few minutes, and some servers lock the account.
//! After a refusal, the same password is therefore repeated at increasing intervals only, because
//! the refusal may have been a mistake of the server. Giving up for good was rejected: mail would
//! stop after one such mistake. A changed password, and a person who starts pouch at a terminal, do
//! not wait.
//!
//! Access that is refused after the login counts as a refused login: Gmail and Microsoft accept the
//! password of an account that has POP3 disabled. A text that may mean too many logins, or a block,
//! is followed by a pause of an hour at least ([`refusal::pause`]).
//! The mechanism that worked after the server had refused another one is remembered as well, since
//! trying the other one again would be one more failed login in every run.
//!
//! Some servers close the connection instead of refusing a password. A connection can also be lost
//! by accident, so that is treated as a refusal from the third time in a row on.

use super::{
    auth::Mechanism,
    refusal,
    time::{TimeSpan, Timestamp},
};

/// The time until a password that was refused once is tried again. It doubles with each further
/// refusal.
const FIRST_DELAY: TimeSpan = TimeSpan::from_seconds(5 * 60);

/// The number of connections in a row that may be lost after the password was sent. Further ones
/// are treated as refusals.
const TOLERATED_LOSSES: u32 = 2;

/// The longest time until a refused password is tried again.
const LONGEST_DELAY: TimeSpan = TimeSpan::from_days(1);

/// The longest LOGIN-DELAY that is honoured. A server that announces more would stop the mail.
const LONGEST_LOGIN_DELAY: TimeSpan = TimeSpan::from_days(1);

/// How long a mechanism is remembered. After that, a better one is tried again, which the server
/// may accept if the password was changed.
const REMEMBERED: TimeSpan = TimeSpan::from_days(30);

/// The history of an account's logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginHistory {
    /// The last successful login, if the server requires a delay after it.
    pub delay: Option<LoginDelay>,
    /// The failures since the last successful login.
    pub refused: Option<RefusedLogin>,
    /// The mechanism that worked after the server had refused another one.
    pub fallback: Option<Fallback>,
}

impl LoginHistory {
    /// Returns the mechanism to try first, if it is remembered.
    pub fn remembered(&self, now: Timestamp) -> Option<Mechanism> {
        let fallback = self.fallback?;
        pending(fallback.since, REMEMBERED, now)?;
        Some(fallback.mechanism)
    }

    /// Returns the fallback after a login by `mechanism` succeeded, `after_refusal` of another one.
    pub fn fallback_after(
        &self,
        mechanism: Mechanism,
        after_refusal: bool,
        now: Timestamp,
    ) -> Option<Fallback> {
        if after_refusal {
            let since = now;
            return Some(Fallback { mechanism, since });
        }
        let is_remembered = self.remembered(now) == Some(mechanism);
        self.fallback.filter(|_| is_remembered)
    }
}

/// A mechanism that worked after the server had refused another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The time of the refusal.
    pub since: Timestamp,
}

/// A delay that a server requires between logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginDelay {
    /// The time of the last login.
    pub last_login: Timestamp,
    /// The delay.
    pub delay: TimeSpan,
}

/// Logins that were refused in a row, or after which the connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLogin {
    /// Their number, at least 1.
    pub count: u32,
    /// The time of the last one.
    pub last: Timestamp,
    /// The sentence that was reported about it.
    pub what: String,
    /// The server's response, which was reported as well. `None` if the server closed the
    /// connection instead.
    pub response: Option<String>,
    /// Identifies the secret, and the settings of the login, without revealing them.
    pub fingerprint: Fingerprint,
}

/// A salted hash of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The salt.
    pub salt: Vec<u8>,
    /// The hash.
    pub hash: Vec<u8>,
}

impl LoginDelay {
    /// Returns the time before which the server refuses a login, or `None` if that is over.
    pub fn until(self, now: Timestamp) -> Option<Timestamp> {
        pending(self.last_login, self.delay.min(LONGEST_LOGIN_DELAY), now)
    }
}

impl RefusedLogin {
    /// Returns the time before which the same secret is not tried again unattended, or `None` if
    /// that is over.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let refusals = match self.response {
            Some(_) => self.count,
            None => self.count.saturating_sub(TOLERATED_LOSSES),
        };
        let doublings = refusals.checked_sub(1)?.min(30);
        let seconds = FIRST_DELAY.seconds() << doublings;
        let delay = TimeSpan::from_seconds(seconds).min(LONGEST_DELAY);
        let pause = self.response.as_deref().map(refusal::pause);
        pending(
            self.last,
            pause.map_or(delay, |pause| delay.max(pause)),
            now,
        )
    }
}

/// Returns the end of a delay that began at `since`, or `None` if it is over. A delay that began in
/// the future is over, too: the clock was wrong then or is now.
fn pending(since: Timestamp, delay: TimeSpan, now: Timestamp) -> Option<Timestamp> {
    let end = since.after(delay);
    (since <= now && now < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn refused(count: u32) -> RefusedLogin {
        RefusedLogin {
            count,
            last: NOW,
            what: String::new(),
            response: Some(String::new()),
            fingerprint: Fingerprint {
                salt: Vec::new(),
                hash: Vec::new(),
            },
        }
    }

    #[test]
    fn delay_doubles_up_to_a_day() {
        for (count, minutes) in [
            (1, 5),
            (2, 10),
            (3, 20),
            (9, 1280),
            (10, 1440),
            (u32::MAX, 1440),
        ] {
            let end = NOW.after(TimeSpan::from_seconds(minutes * 60));
            assert_eq!(refused(count).until(NOW), Some(end), "{count}");
            assert_eq!(refused(count).until(end), None, "{count}");
        }
    }

    #[test]
    fn block_delays_for_an_hour_at_least() {
        let blocked = |count| {
            let response = Some("pop.example.org said: -ERR account blocked".into());
            let refused = RefusedLogin {
                response,
                ..refused(count)
            };
            refused.until(NOW).map(|until| until.since(NOW) / 60)
        };
        assert_eq!([1, 4, 5].map(blocked), [Some(60), Some(60), Some(80)]);
    }

    #[test]
    fn lost_connections_delay_from_the_third_on() {
        let lost = |count| {
            let refused = RefusedLogin {
                response: None,
                ..refused(count)
            };
            refused.until(NOW).map(|until| until.since(NOW))
        };
        assert_eq!([1, 2, 3, 4].map(lost), [None, None, Some(300), Some(600)]);
    }

    #[test]
    fn delay_of_a_server_has_a_limit() {
        let delay = |seconds| LoginDelay {
            last_login: NOW,
            delay: TimeSpan::from_seconds(seconds),
        };
        assert_eq!(
            delay(60).until(Timestamp(1_000_059)),
            Some(Timestamp(1_000_060))
        );
        assert_eq!(delay(60).until(Timestamp(1_000_060)), None);
        assert_eq!(delay(0).until(NOW), None);
        assert_eq!(delay(u64::MAX).until(NOW), Some(Timestamp(1_086_400)));
    }

    #[test]
    fn fallback_is_remembered_for_30_days() {
        let history = LoginHistory {
            fallback: Some(Fallback {
                mechanism: Mechanism::Plain,
                since: NOW,
            }),
            ..LoginHistory::default()
        };
        let end = NOW.after(TimeSpan::from_days(30));
        let last = Timestamp(end.0 - 1);
        assert_eq!(history.remembered(NOW), Some(Mechanism::Plain));
        assert_eq!(history.remembered(last), Some(Mechanism::Plain));
        assert_eq!(history.remembered(end), None);
        assert_eq!(history.remembered(Timestamp(NOW.0 - 1)), None);
        let after = |mechanism, refusal, now| history.fallback_after(mechanism, refusal, now);
        assert_eq!(after(Mechanism::Plain, false, last), history.fallback);
        assert_eq!(after(Mechanism::Plain, false, end), None);
        assert_eq!(after(Mechanism::ScramSha256, false, NOW), None);
        let since = last;
        let mechanism = Mechanism::User;
        assert_eq!(
            after(mechanism, true, last),
            Some(Fallback { mechanism, since })
        );
    }

    #[test]
    fn delay_that_began_in_the_future_is_over() {
        assert_eq!(refused(1).until(Timestamp(NOW.0 - 1)), None);
    }
}
