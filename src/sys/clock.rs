//! The clock.

use std::time::SystemTime;

use crate::domain::time::Timestamp;

/// A clock: the system's, or a fixed time for tests.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Option<Timestamp>);

impl Clock {
    /// The system's clock.
    pub const SYSTEM: Self = Self(None);

    /// Returns a clock that always returns `time`.
    pub const fn fixed(time: Timestamp) -> Self {
        Self(Some(time))
    }

    /// Returns the current time in whole seconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system"
    )]
    pub fn now(self) -> Timestamp {
        self.0.unwrap_or_else(|| {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
        })
    }
}
