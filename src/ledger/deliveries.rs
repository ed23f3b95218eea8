//! New and delivered messages.

use rusqlite::{OptionalExtension, params};

use super::{
    Ledger, Reader, Run, SeenMaildir, candidates,
    known::sizes_trusted,
    maildirs::write_seen,
    runs::{mark_clock_behind, mark_unsettled},
    size,
};
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

/// A message that was delivered and is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The row of the message.
    pub row: RowId,
    /// The listed size, in bytes.
    pub listed: u64,
    /// The number of bytes received, with CRLF line endings as in the listed size.
    pub received: u64,
    /// The fingerprint of its header. `None` if it has no header.
    pub fingerprint: Option<Fingerprint>,
    /// The fingerprint of the filter output, if that differs.
    pub delivered_fingerprint: Option<Fingerprint>,
    /// Whether it is in a Maildir, where a deletion by the user can be detected.
    pub in_maildir: bool,
    /// The time at which the server received it, by its header.
    pub received_at: Option<Timestamp>,
}

/// The copy of a message that is to be delivered next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextCopy {
    /// Its name in a Maildir, without flags.
    pub name: MessageFileName,
    /// The number of bytes received, if an earlier run [recorded](Ledger::record_partial_bytes)
    /// that this copy is truncated.
    pub partial_bytes: Option<u64>,
    /// The destinations that [accepted it already](Ledger::record_partial_delivery), while others
    /// did not.
    pub accepted_by: Vec<String>,
}

/// A message that an interrupted run delivered without recording it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The row of the message.
    pub row: RowId,
    /// The number of the copy, from 0.
    pub copy: u32,
    /// The fingerprint of the delivered file. `None` if it has no header.
    pub fingerprint: Option<Fingerprint>,
    /// Whether filters may have changed the message.
    pub filtered: bool,
}

/// A notice that an interrupted run delivered without recording it.
pub type RecoveredNotice = NoticeFileName;

/// The size that a message should have, in bytes with CRLF line endings; `None` if it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedSize(pub Option<u64>);

const TRUNCATED: &str = "truncated: fewer bytes than listed";

impl Reader {
    /// Returns the copies to deliver next, in the order of `rows`.
    ///
    /// That is the first copy of each message, or the next one if a truncated copy was delivered.
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
                            variant: 0,
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

    /// Returns the size that a file with this name should have, or `None` if it is not a copy that
    /// is still to be recorded as delivered.
    ///
    /// The time in the name is compared too: a ledger restored from a backup assigns row numbers
    /// again, to other messages.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn expected_size(&self, name: &MessageFileName) -> Result<Option<ExpectedSize>> {
        self.read(|ledger| {
            let sizes_trusted = sizes_trusted(ledger)?;
            ledger
                .prepare_cached(
                    "SELECT listed_size, partial_bytes FROM message WHERE id = ? AND first_seen = ?
                     AND copy + (delivered_at IS NOT NULL) = ?",
                )?
                .query_row(
                    params![name.row.0, name.first_seen.0, name.copy],
                    |columns| {
                        let partial: Option<u64> = columns.get(1)?;
                        let listed: Option<u64> = columns.get(0)?;
                        Ok(ExpectedSize(partial.or(listed.filter(|_| sizes_trusted))))
                    },
                )
                .optional()
        })
    }

    /// Returns the number of bytes that were received of a delivered message.
    ///
    /// `None` if it was not delivered, or if the number is unknown.
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
    /// Creates a row for each new message, and records which known messages are listed or missing.
    ///
    /// `reconciled` is the result of reconciling `listed`, and receives the new rows. If there is a
    /// new message, `run` is marked as [unsettled](Self::mark_unsettled) in the same commit.
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
        let Reconciled {
            vanished,
            relisted,
            first_listed,
            ..
        } = &*reconciled;
        if vanished.is_empty() && relisted.is_empty() && first_listed.is_empty() && !is_new {
            return Ok(());
        }
        let run = run.filter(|_| is_new && !self.unsettled);
        let address = self.reader.address;
        self.write(|ledger| {
            if let Some(run) = run {
                mark_unsettled(ledger, run)?;
            }
            let mut insert = ledger.prepare_cached(
                "INSERT INTO message (uid, uid_size, listed_size, state, first_seen, address)
                 VALUES (?, ?, ?, 'new', ?, ?)",
            )?;
            for (entry, message) in reconciled.mailbox.entries.iter_mut().zip(listed) {
                if entry.row.is_none() {
                    let (uid, uid_size) = message.uid.key();
                    let octets = size(message.octets);
                    insert.execute(params![uid, uid_size.map(size), octets, now.0, address])?;
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
            super::import::record_first_listing(ledger, &reconciled.first_listed)
        })?;
        candidates::note(&self.reader.path, listed.iter().map(|message| &message.uid));
        self.unsettled |= run.is_some();
        Ok(())
    }

    /// Records a batch of messages that are on stable storage, and the state in which the delivery
    /// left the account's Maildirs. Returns the truncated messages.
    ///
    /// # Errors
    /// The ledger cannot be written. Then none of the messages counts as delivered.
    pub fn record_delivered(
        &mut self,
        batch: &[Arrival],
        maildirs: &[SeenMaildir],
        run: &Run,
        now: Timestamp,
    ) -> Result<Vec<RowId>> {
        let (maildir_set, address) = (self.maildir_set, self.reader.address);
        self.write(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'delivered', copy = copy + (delivered_at IS NOT NULL),
                     delivered_at = ?2, bytes_received = ?3, listed_size = ?4, truncated = ?5,
                     partial_bytes = NULL, fingerprint = ?6, delivered_fingerprint = ?7,
                     last_run = ?8, maildir_set = ?9, retry_after = NULL, reported_at = NULL,
                     attempts = CASE WHEN ?5 THEN attempts + 1 ELSE 0 END,
                     reason = CASE WHEN ?5 THEN ?10 ELSE NULL END, address = ?11
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
                    address,
                ])?;
            }
            forget_partial(ledger, batch.iter().map(|arrival| arrival.row))?;
            maildirs
                .iter()
                .try_for_each(|seen| write_seen(ledger, seen, Some(run.id())))?;
            let received = batch.iter().filter_map(|arrival| arrival.received_at);
            mark_clock_behind(ledger, run, received, now)?;
            ledger.execute(
                "UPDATE mailbox SET sizes_matched = sizes_matched + ?, sizes_short = sizes_short + ?",
                params![batch.len() - truncated.len(), truncated.len()],
            )?;
            Ok(truncated)
        })
    }

    /// Records messages that an interrupted run delivered. Messages already recorded do not change.
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
                // The fingerprint of filter output does not identify the message on the server.
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

    /// Records that a message that seemed to be truncated is complete, with this size in bytes.
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

/// Deletes the partial deliveries of messages that all destinations have now.
///
/// Most ledgers have none, and a DELETE that matches no row would double the cost of recording a
/// message, so the table is tested first.
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
