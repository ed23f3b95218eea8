//! Messages on their way to their destinations, and delivered ones.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, Reader, Run, runs::mark_unsettled, size};
use crate::{
    domain::{
        file_name::{MessageFileName, NoticeFileName},
        ids::{Listed, RowId},
        message::Fingerprint,
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::Result,
};

/// A message that is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its row.
    pub row: RowId,
    /// Its size by LIST, in octets.
    pub listed: u64,
    /// The octets received, counted as LIST does.
    pub received: u64,
    /// Its fingerprint, if it has a header.
    pub fingerprint: Option<Fingerprint>,
    /// The fingerprint of what filters made of it, if that differs.
    pub delivered_fingerprint: Option<Fingerprint>,
    /// Whether it is in a Maildir, where the user can delete it.
    pub in_maildir: bool,
}

/// A copy of a message that is to be delivered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextCopy {
    /// Its file name, without Maildir flags.
    pub name: MessageFileName,
    /// How many octets were received when an earlier run [recorded](Ledger::record_partial_bytes)
    /// that they were too few.
    pub partial_bytes: Option<u64>,
    /// The destinations that [have it already](Ledger::record_partial_delivery), though it does not
    /// count as delivered.
    pub accepted_by: Vec<String>,
}

/// A message that an interrupted run delivered without recording it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its row.
    pub row: RowId,
    /// Which copy of it.
    pub copy: u32,
    /// The fingerprint of what was delivered, if it has a header.
    pub fingerprint: Option<Fingerprint>,
    /// Whether filters may have changed it.
    pub filtered: bool,
}

/// A notice that an interrupted run delivered without recording it.
pub type RecoveredNotice = NoticeFileName;

const TRUNCATED: &str = "truncated: fewer bytes than listed";

impl Reader {
    /// Returns the copies of messages that are to be delivered now, in the order of `rows`: the
    /// first copy of each, or the next one if a truncated one was delivered before.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn next_copies(&self, rows: impl IntoIterator<Item = RowId>) -> Result<Vec<NextCopy>> {
        self.read(|ledger| {
            let mut select = ledger.prepare_cached(
                "SELECT first_seen, copy + (delivered_at IS NOT NULL), partial_bytes FROM message
                 WHERE id = ?",
            )?;
            let mut partial = ledger.prepare_cached(
                "SELECT recipient FROM partial_delivery WHERE message = ?
                 ORDER BY delivered_at, recipient",
            )?;
            rows.into_iter()
                .map(|row| {
                    let accepted_by = partial
                        .query_map([row.0], |columns| columns.get(0))?
                        .collect::<rusqlite::Result<_>>()?;
                    select.query_row([row.0], |columns| {
                        let name = MessageFileName {
                            first_seen: Timestamp(columns.get(0)?),
                            row,
                            copy: columns.get(1)?,
                            destinations: 1,
                            origin: self.name.clone(),
                        };
                        Ok(NextCopy {
                            name,
                            partial_bytes: columns.get(2)?,
                            accepted_by,
                        })
                    })
                })
                .collect()
        })
    }

    /// Returns whether a file with this name is a copy of a message that is not recorded as
    /// delivered. A ledger that was restored from a backup gives its row numbers again, to other
    /// messages: those were first seen at another time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn expects_file(&self, name: &MessageFileName) -> Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM message WHERE id = ? AND first_seen = ?
                 AND copy + (delivered_at IS NOT NULL) = ?",
            )
            .and_then(|mut select| select.exists(params![name.row.0, name.first_seen.0, name.copy]))
            .map_err(|error| self.explain(&error))
    }

    /// Returns how many octets were received of a message that was delivered.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn bytes_received(&self, row: RowId) -> Result<Option<u64>> {
        self.connection
            .query_row(
                "SELECT bytes_received FROM message WHERE id = ? AND delivered_at IS NOT NULL",
                [row.0],
                |columns| columns.get(0),
            )
            .optional()
            .map(Option::flatten)
            .map_err(|error| self.explain(&error))
    }
}

impl Ledger {
    /// Gives each message of `reconciled` that has no row its row, and records which rows are no
    /// longer listed. `listed` is what `reconciled` was made from. If there is a new message, `run`
    /// is marked as [unsettled](Self::mark_unsettled).
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn admit(
        &mut self,
        reconciled: &mut Reconciled,
        listed: &[Listed],
        run: Option<&Run>,
        now: Timestamp,
    ) -> Result<()> {
        let is_new = reconciled
            .mailbox
            .entries
            .iter()
            .any(|entry| entry.row.is_none());
        if reconciled.vanished.is_empty() && reconciled.relisted.is_empty() && !is_new {
            return Ok(());
        }
        let run = run.filter(|_| is_new && !self.unsettled);
        self.write(|ledger| {
            if let Some(run) = run {
                mark_unsettled(ledger, run)?;
            }
            let mut insert = ledger.prepare_cached(
                "INSERT INTO message (uid, uid_size, listed_size, state, first_seen)
                 VALUES (?, ?, ?, 'new', ?)",
            )?;
            for (entry, message) in reconciled.mailbox.entries.iter_mut().zip(listed) {
                if entry.row.is_none() {
                    let (uid, uid_size) = message.uid.key();
                    insert.execute(params![uid, uid_size.map(size), size(message.octets), now.0])?;
                    entry.row = Some(RowId(ledger.last_insert_rowid()));
                }
            }
            let mut vanish =
                ledger.prepare_cached("UPDATE message SET missing_since = ? WHERE id = ?")?;
            for row in &reconciled.vanished {
                vanish.execute(params![now.0, row.0])?;
            }
            let mut relist = ledger.prepare_cached(
                "UPDATE message SET missing_since = NULL, state = CASE WHEN state <> 'gone' THEN state
                     WHEN delivered_at IS NOT NULL THEN 'delivered' ELSE 'new' END
                 WHERE id = ?",
            )?;
            for row in &reconciled.relisted {
                relist.execute([row.0])?;
            }
            Ok(())
        })?;
        self.unsettled |= run.is_some();
        Ok(())
    }

    /// Records a batch of messages that are on stable storage. Returns those that are truncated.
    ///
    /// # Errors
    /// The ledger cannot be written: the messages do not count as delivered.
    pub fn record_delivered(
        &mut self,
        batch: &[Arrival],
        run: &Run,
        now: Timestamp,
    ) -> Result<Vec<RowId>> {
        let maildir_set = self.maildir_set;
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'delivered', copy = copy + (delivered_at IS NOT NULL),
                     delivered_at = ?2, bytes_received = ?3, listed_size = ?4, truncated = ?5,
                     partial_bytes = NULL, fingerprint = ?6, delivered_fingerprint = ?7,
                     last_run = ?8, maildir_set = ?9, retry_after = NULL, reported_at = NULL,
                     attempts = CASE WHEN ?5 THEN attempts + 1 ELSE 0 END,
                     reason = CASE WHEN ?5 THEN ?10 ELSE NULL END
                 WHERE id = ?1",
            )?;
            let mut truncated = Vec::new();
            for arrival in batch {
                let row = arrival.row;
                let is_truncated = arrival.received < arrival.listed;
                if is_truncated {
                    truncated.push(row);
                }
                update.execute(params![
                    row.0,
                    now.0,
                    size(arrival.received),
                    size(arrival.listed),
                    is_truncated,
                    bytes(arrival.fingerprint.as_ref()),
                    bytes(arrival.delivered_fingerprint.as_ref()),
                    run.id(),
                    maildir_set.filter(|_| arrival.in_maildir),
                    TRUNCATED,
                ])?;
            }
            forget_partial(ledger, batch.iter().map(|arrival| arrival.row))?;
            ledger.execute(
                "UPDATE mailbox SET sizes_matched = sizes_matched + ?, sizes_short = sizes_short + ?",
                params![batch.len() - truncated.len(), truncated.len()],
            )?;
            Ok(truncated)
        })
    }

    /// Records messages that an interrupted run delivered. What is recorded already stays as it is.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_recovered(&mut self, found: &[Recovered], now: Timestamp) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let maildir_set = self.maildir_set;
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'delivered', delivered_at = ?3, copy = ?2,
                     fingerprint = ?4, delivered_fingerprint = ?5, maildir_set = ?6,
                     bytes_received = partial_bytes, truncated = partial_bytes IS NOT NULL,
                     partial_bytes = NULL, retry_after = NULL,
                     last_run = (SELECT max(id) FROM run WHERE unsettled),
                     attempts = CASE WHEN partial_bytes IS NULL THEN 0 ELSE attempts + 1 END,
                     reason = CASE WHEN partial_bytes IS NULL THEN NULL ELSE ?7 END
                 WHERE id = ?1 AND copy + (delivered_at IS NOT NULL) = ?2",
            )?;
            for Recovered {
                row,
                copy,
                fingerprint,
                filtered,
            } in found
            {
                let found = bytes(fingerprint.as_ref());
                // what filters made of a message does not tell what the server has
                let (fingerprint, delivered) = if *filtered {
                    (None, found)
                } else {
                    (found, None)
                };
                update.execute(params![
                    row.0,
                    copy,
                    now.0,
                    fingerprint,
                    delivered,
                    maildir_set,
                    TRUNCATED
                ])?;
            }
            forget_partial(ledger, found.iter().map(|found| found.row))
        })
    }

    /// Records that a message which seemed to be truncated is complete, and has so many octets.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn record_complete(&mut self, row: RowId, octets: u64) -> Result<()> {
        self.write(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET truncated = 0, listed_size = ?2, attempts = 0,
                         retry_after = NULL, reason = NULL
                     WHERE id = ?1",
                    params![row.0, size(octets)],
                )
                .map(drop)
        })
    }
}

fn bytes(fingerprint: Option<&Fingerprint>) -> Option<&[u8]> {
    fingerprint.map(|fingerprint| fingerprint.0.as_slice())
}

/// Forgets which destinations had messages that are complete now. Most ledgers never have any, and
/// a deletion costs SQLite as much as all else about a message, even if there is nothing to delete.
fn forget_partial(
    ledger: &rusqlite::Transaction<'_>,
    mut rows: impl Iterator<Item = RowId>,
) -> rusqlite::Result<()> {
    if !ledger
        .prepare_cached("SELECT 1 FROM partial_delivery")?
        .exists([])?
    {
        return Ok(());
    }
    let mut complete = ledger.prepare_cached("DELETE FROM partial_delivery WHERE message = ?")?;
    rows.try_for_each(|row| complete.execute([row.0]).map(drop))
}
