//! What time it is.

use std::time::SystemTime;

use crate::domain::time::Timestamp;

/// A clock: the system's, or one that stands still.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Option<Timestamp>);

impl Clock {
    /// The system's clock.
    pub const SYSTEM: Self = Self(None);

    /// A clock that always says `moment`.
    pub const fn fixed(moment: Timestamp) -> Self {
        Self(Some(moment))
    }

    /// Now, to the second.
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
