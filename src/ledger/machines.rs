//! The machine that fetches a mailbox.
//!
//! If two machines used copies of the same ledger, both would fetch every message, and each would
//! delete messages before the other has fetched them. A POP3 server does not show other clients, so
//! the ledger records the machine of its last run, and whether it was
//! [exported](Ledger::set_exported).
//!
//! - A ledger that was exported stops the run on the old machine.
//! - A copy of the state directory on another machine is reported in the first run there. That is
//!   not an error: the disk may have been moved to another machine.
//! - A new machine without a ledger, a copy that is used only on the machine from which it was
//!   copied, and machines with the same ID cannot be detected.
//!
//! On a shared file system, all machines use the same ledger, so nothing is recorded.

use rusqlite::params;

use super::{Ledger, Reader, filesystem};
use crate::{domain::time::Timestamp, error::Result};

/// A machine on which pouch runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its ID, or `None` if it is not known.
    pub id: Option<String>,
    /// Its host name.
    pub name: String,
}

/// The last run of a ledger on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherMachine {
    /// The host name.
    pub name: String,
    /// The time of the run. `None` if there was none.
    pub last_run: Option<Timestamp>,
}

impl Reader {
    /// Returns when the ledger was exported to another machine. `None` if it was not.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn exported_at(&self) -> Result<Option<Timestamp>> {
        self.time("SELECT exported_at FROM mailbox")
    }

    /// Returns when the ledger was restored from a backup, if messages that were delivered after
    /// that backup have not been searched yet.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn restored_at(&self) -> Result<Option<Timestamp>> {
        self.time("SELECT restored_at FROM mailbox")
    }

    fn time(&self, select: &str) -> Result<Option<Timestamp>> {
        self.connection
            .query_row(select, [], |columns| columns.get::<_, Option<i64>>(0))
            .map(|at| at.map(Timestamp))
            .map_err(|error| self.explain(&error))
    }
}

impl Ledger {
    /// Records that the ledger was exported at this time, or with `None` that it was not.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn set_exported(&mut self, at: Option<Timestamp>) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute("UPDATE mailbox SET exported_at = ?", [at.map(|at| at.0)])
                .map(drop)
        })
    }

    /// Records that messages delivered after the restored backup were searched.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn clear_restored(&mut self) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute("UPDATE mailbox SET restored_at = NULL", [])
                .map(drop)
        })
    }

    /// Records the machine of this run. Returns the one of the last run, if that is another one.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_machine(&mut self, machine: &Machine) -> Result<Option<OtherMachine>> {
        let Some(id) = &machine.id else {
            return Ok(None);
        };
        if filesystem::shared(&self.reader.path).is_some() {
            return Ok(None);
        }
        let read = || {
            self.reader.connection.query_row(
                "SELECT machine, coalesce(machine_name, ''), (SELECT max(started) FROM run)
                 FROM mailbox",
                [],
                |columns| {
                    let other = OtherMachine {
                        name: columns.get(1)?,
                        last_run: columns.get::<_, Option<i64>>(2)?.map(Timestamp),
                    };
                    Ok((columns.get::<_, Option<String>>(0)?, other))
                },
            )
        };
        let (last, other) = read().map_err(|error| self.explain(&error))?;
        if last.as_ref() == Some(id) {
            return Ok(None);
        }
        self.write_relaxed(|ledger| {
            ledger
                .execute(
                    "UPDATE mailbox SET machine = ?, machine_name = ?",
                    params![id, machine.name],
                )
                .map(drop)
        })?;
        Ok(last.map(|_| other))
    }
}
