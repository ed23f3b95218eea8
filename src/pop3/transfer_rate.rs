//! The time limit of a request and its response.
//!
//! # Why a rate
//!
//! The timeout of the socket bounds one pause. A server that sends a byte a minute never runs into
//! it, and would occupy the account for ever. A fixed limit for the whole response was rejected,
//! because it would also end a large message on a slow but working connection. So all pauses
//! together may take the time limit, and each [`MIN_RATE`] bytes transferred add a second to it.
//! A modem is fast enough; a byte per second is not.

use std::time::Duration;

/// The lowest transfer rate that is tolerated, in bytes per second.
const MIN_RATE: u64 = 100;

/// How long pouch has waited for one response so far, and how much was transferred meanwhile.
#[derive(Debug, Default)]
pub(super) struct TransferRate {
    waited: Duration,
    bytes: u64,
}

impl TransferRate {
    /// Adds one read or write that took `waited` and transferred `bytes`.
    pub(super) fn add(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes as u64;
    }

    /// Returns whether the transfer took longer than `time_limit` and the rate allow.
    pub(super) fn is_too_slow(&self, time_limit: Duration) -> bool {
        self.waited > time_limit.saturating_add(Duration::from_secs(self.bytes / MIN_RATE))
    }

    /// Returns the bytes transferred.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the time waited, in whole seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.waited.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_slow(seconds: u64, bytes: usize) -> bool {
        let mut rate = TransferRate::default();
        rate.add(Duration::from_secs(seconds), bytes);
        rate.is_too_slow(Duration::from_mins(10))
    }

    #[test]
    fn silence_beyond_the_time_limit_is_too_slow() {
        assert!(!is_too_slow(600, 0));
        assert!(is_too_slow(601, 50));
    }

    #[test]
    fn byte_per_second_is_too_slow() {
        assert!(is_too_slow(700, 700));
    }

    #[test]
    fn modem_may_take_a_day() {
        assert!(!is_too_slow(24 * 3_600, 100_000_000));
    }
}
