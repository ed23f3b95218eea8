//! What the `alert` command of the account was run for, so that it runs once for each change.

use rusqlite::params;

use super::{Ledger, Reader};
use crate::{
    domain::time::{TimeSpan, Timestamp},
    error::Result,
};

/// The interval between two reports that the command failed.
const A_DAY: TimeSpan = TimeSpan::from_days(1);

impl Reader {
    /// Returns whether the command reported a problem, and not yet that the account has recovered.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn is_alerted(&self) -> Result<bool> {
        self.connection
            .query_row("SELECT alerted FROM mailbox", [], |row| row.get(0))
            .map_err(|error| self.explain(&error))
    }
}

impl Ledger {
    /// Records that the command reported a problem, or that the account has recovered.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn set_alerted(&mut self, alerted: bool) -> Result<()> {
        let update = "UPDATE mailbox SET alerted = ?, alert_report_due = NULL";
        self.write(|ledger| ledger.execute(update, [alerted]).map(drop))
    }

    /// Records that the command failed. Returns whether that is reported: at once, and then daily.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn should_report_failed_alert(&mut self, now: Timestamp) -> Result<bool> {
        let tomorrow = now.after(A_DAY);
        // a time that was recorded while the clock was ahead counts as none
        let update = "UPDATE mailbox SET alert_report_due = ?2
             WHERE alert_report_due IS NULL OR alert_report_due <= ?1 OR alert_report_due > ?2";
        self.write(|ledger| {
            let changed = ledger.execute(update, params![now.0, tomorrow.0])?;
            Ok(changed > 0)
        })
    }
}
