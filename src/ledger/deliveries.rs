//! What a run changes: new rows, deliveries, failures.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, Reconciled, Run, runs::mark_open};
use crate::{
    domain::{
        ids::{Listed, RowId, Uid},
        message::{Fingerprint, HeaderSummary},
        plan::{Known, LONGEST_WAIT},
        time::{TimeSpan, Timestamp},
    },
    error::Result,
};

/// A message that is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its row.
    pub row: RowId,
    /// Its size by LIST.
    pub listed: u64,
    /// The octets that came, counted as LIST does.
    pub got: u64,
    /// Its fingerprint, if it has a header.
    pub fingerprint: Option<Fingerprint>,
    /// The fingerprint of what filters made of it, where that is another.
    pub filtered: Option<Fingerprint>,
    /// Whether a Maildir has it, where the user can delete it.
    pub in_maildir: bool,
}

/// A copy of a message that is to be delivered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextCopy {
    /// Its file name, without Maildir flags.
    pub name: String,
    /// How many octets came when it was fetched before, if [that was noted](Ledger::note_short).
    pub came: Option<u64>,
    /// Those who [have it already](Ledger::record_partial_delivery), though it does not count as delivered.
    pub accepted_by: Vec<String>,
}

/// A message that lies in the Maildir after a run died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its row.
    pub row: RowId,
    /// Which copy of it.
    pub copy: u32,
    /// Its fingerprint as it lies there, if it has a header.
    pub fingerprint: Option<Fingerprint>,
    /// Whether filters may have made another message of it.
    pub filtered: bool,
}

/// What a failed attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How often it failed now.
    pub attempts: u32,
    /// Whether it went into quarantine by this.
    pub quarantined: bool,
    /// When it will be tried again, if not in the next run.
    pub next_try: Option<Timestamp>,
}

impl Ledger {
    /// Gives each message of `look` that has no row its row, and notes which rows are no longer
    /// listed. `listed` is what `look` was made from. Where there is a new message, `run` is marked
    /// as [open](Self::open_run).
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn admit(
        &mut self,
        look: &mut Reconciled,
        listed: &[Listed],
        run: Option<&Run>,
        now: Timestamp,
    ) -> Result<()> {
        let account = self.account;
        let news = look.mailbox.entries.iter().any(|entry| entry.row.is_none());
        if look.vanished.is_empty() && look.returned.is_empty() && !news {
            return Ok(());
        }
        let opened = run.filter(|run| news && self.opened < Some(run.ahead));
        self.transact(|ledger| {
            if let Some(run) = opened {
                mark_open(ledger, run)?;
            }
            let mut insert = ledger.prepare_cached(
                "INSERT INTO message (account, uid, octets, state, first_seen) VALUES (?, ?, ?, 'new', ?)",
            )?;
            for (entry, message) in look.mailbox.entries.iter_mut().zip(listed) {
                if entry.row.is_none() {
                    insert.execute(params![account, message.uid.as_bytes(), size(message.octets), now.0])?;
                    entry.row = Some(RowId(ledger.last_insert_rowid()));
                }
            }
            let mut mark = ledger.prepare_cached("UPDATE message SET missing = ? WHERE id = ?")?;
            for row in &look.vanished {
                mark.execute(params![now.0, row.0])?;
            }
            let mut back = ledger.prepare_cached(
                "UPDATE message SET missing = NULL, state = CASE
                     WHEN state <> 'gone' THEN state WHEN delivered IS NOT NULL THEN 'delivered' ELSE 'new' END
                 WHERE id = ?",
            )?;
            for row in &look.returned {
                back.execute([row.0])?;
            }
            Ok(())
        })?;
        self.opened = self.opened.max(opened.map(|run| run.ahead));
        Ok(())
    }

    /// The copies of messages that are to be delivered now, in the order of `rows`: the first copy
    /// of each, or the next one where a short one was delivered before.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn next_copies(&self, rows: impl IntoIterator<Item = RowId>) -> Result<Vec<NextCopy>> {
        self.read(|ledger| {
            let mut select = ledger.prepare_cached(
                "SELECT first_seen, copy + (delivered IS NOT NULL), came FROM message WHERE id = ?",
            )?;
            let mut parts = ledger
                .prepare_cached("SELECT taker FROM part WHERE message = ? ORDER BY at, taker")?;
            rows.into_iter()
                .map(|row| {
                    let accepted_by = parts
                        .query_map([row.0], |columns| columns.get(0))?
                        .collect::<rusqlite::Result<_>>()?;
                    select.query_row([row.0], |columns| {
                        let name = self.name(row, Timestamp(columns.get(0)?), columns.get(1)?);
                        Ok(NextCopy {
                            name,
                            came: columns.get(2)?,
                            accepted_by,
                        })
                    })
                })
                .collect()
        })
    }

    /// Notes a batch of messages that are on stable storage; gives those that came shorter than
    /// LIST had promised.
    ///
    /// # Errors
    /// The ledger cannot be written: the messages count as not delivered.
    pub fn deliver(&mut self, batch: &[Arrival], run: &Run, now: Timestamp) -> Result<Vec<RowId>> {
        let (account, maildirs) = (self.account, self.maildirs);
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'delivered', copy = copy + (delivered IS NOT NULL), delivered = ?2, got = ?3,
                     octets = ?8, short = ?4, came = NULL, doubted = 0, fingerprint = ?5, tried = ?6, next_try = NULL, told = NULL,
                     maildirs = ?7, filtered = ?9, attempts = CASE WHEN ?4 THEN attempts + 1 ELSE 0 END,
                     reason = CASE WHEN ?4 THEN 'it came shorter than listed' ELSE NULL END
                 WHERE id = ?1",
            )?;
            let mut whole = ledger.prepare_cached("DELETE FROM part WHERE message = ?")?;
            let mut short = Vec::new();
            for Arrival { row, listed, got, fingerprint, filtered, in_maildir } in batch {
                let fewer = got < listed;
                if fewer {
                    short.push(*row);
                }
                let [print, filtered] =
                    [fingerprint, filtered].map(|print| print.as_ref().map(|print| print.0.as_slice()));
                let maildirs = maildirs.filter(|_| *in_maildir);
                update.execute(params![
                    row.0,
                    now.0,
                    size(*got),
                    fewer,
                    print,
                    run.id(),
                    maildirs,
                    size(*listed),
                    filtered
                ])?;
                whole.execute([row.0])?;
            }
            ledger.execute(
                "UPDATE account SET whole = whole + ?, fewer = fewer + ? WHERE id = ?",
                params![batch.len() - short.len(), short.len(), account],
            )?;
            Ok(short)
        })
    }

    /// Whether a file has the name of a copy of a message of the account's that is not known to be
    /// delivered. A ledger that was put back from a backup gives its rows once more, to other
    /// messages: those were first seen at another time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn expects_file(&self, name: &str) -> Result<bool> {
        let first_seen = name.split('.').next().and_then(|at| at.parse::<i64>().ok());
        let (Some((row, copy)), Some(first_seen)) = (self.row_of(name), first_seen) else {
            return Ok(false);
        };
        self.connection
            .prepare_cached(
                "SELECT 1 FROM message WHERE account = ? AND id = ? AND first_seen = ?
                 AND copy + (delivered IS NOT NULL) = ?",
            )
            .and_then(|mut select| select.exists(params![self.account, row.0, first_seen, copy]))
            .map_err(|error| self.explained(&error))
    }

    /// Notes messages that a run which died had delivered without telling the ledger; what is known
    /// already stays as it is.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn recover(&mut self, found: &[Recovered], now: Timestamp) -> Result<()> {
        let (account, maildirs) = (self.account, self.maildirs);
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET state = 'delivered', delivered = ?4, copy = ?3, fingerprint = ?5, filtered = ?7,
                     maildirs = ?6, got = came, short = came IS NOT NULL, came = NULL, next_try = NULL,
                     tried = (SELECT max(id) FROM run WHERE account = ?1 AND open),
                     attempts = CASE WHEN came IS NULL THEN 0 ELSE attempts + 1 END,
                     reason = CASE WHEN came IS NULL THEN NULL ELSE 'it came shorter than listed' END
                 WHERE account = ?1 AND id = ?2 AND copy + (delivered IS NOT NULL) = ?3",
            )?;
            let mut whole = ledger.prepare_cached("DELETE FROM part WHERE message = ?")?;
            for Recovered { row, copy, fingerprint, filtered } in found {
                let print = fingerprint.as_ref().map(|print| print.0.as_slice());
                // what the server shows of it is not known then
                let (print, filtered) = if *filtered { (None, print) } else { (print, None) };
                update.execute(params![account, row.0, copy, now.0, print, maildirs, filtered])?;
                whole.execute([row.0])?;
            }
            Ok(())
        })
    }

    /// How many octets came of a message that was delivered short.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn octets_delivered(&self, row: RowId) -> Result<Option<u64>> {
        self.connection
            .query_row(
                "SELECT got FROM message WHERE id = ? AND delivered IS NOT NULL",
                [row.0],
                |row| row.get(0),
            )
            .optional()
            .map(Option::flatten)
            .map_err(|error| self.explained(&error))
    }

    /// Notes that a message which seemed to be short is whole, and has so many octets.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn complete(&mut self, row: RowId, octets: u64) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET short = 0, octets = ?2, attempts = 0, next_try = NULL, reason = NULL
                     WHERE id = ?1",
                    params![row.0, size(octets)],
                )
                .map(drop)
        })
    }

    /// Notes a failed attempt: one a run at most, quarantine after `limit` of them, which nobody
    /// was [told](Self::unreported_quarantines) of yet. From then on it is tried again after 1, 2, 4 … 32 days.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn fail(
        &mut self,
        row: RowId,
        run: &Run,
        limit: u32,
        reason: &str,
        glance: &HeaderSummary,
        now: Timestamp,
    ) -> Result<Failed> {
        self.transact(|ledger| {
            let (tried, attempts, was, delivered): (Option<i64>, u32, bool, bool) = ledger.query_row(
                "SELECT tried, attempts, state = 'quarantined', delivered IS NOT NULL FROM message WHERE id = ?",
                [row.0],
                |columns| Ok((columns.get(0)?, columns.get(1)?, columns.get(2)?, columns.get(3)?)),
            )?;
            let attempts = if tried == Some(run.id()) { attempts } else { attempts + 1 };
            let over = attempts.checked_sub(limit);
            let next_try = over.map(|over| now.after(TimeSpan::from_days(1 << over.min(30)).min(LONGEST_WAIT)));
            // one that was delivered short stays delivered, whatever becomes of the rest of it
            let quarantined = over.is_some() && !delivered;
            ledger.execute(
                "UPDATE message SET attempts = ?2, tried = ?3, reason = ?4, next_try = ?5,
                     sender = coalesce(?6, sender), subject = coalesce(?7, subject),
                     told = CASE WHEN ?8 AND state <> 'quarantined' THEN NULL ELSE told END,
                     state = CASE WHEN ?8 THEN 'quarantined' WHEN delivered IS NULL THEN 'new' ELSE state END
                 WHERE id = ?1",
                params![
                    row.0,
                    attempts,
                    run.id(),
                    reason,
                    next_try.map(|at| at.0),
                    glance.sender,
                    glance.subject,
                    quarantined
                ],
            )?;
            Ok(Failed { attempts, quarantined: quarantined && !was, next_try })
        })
    }

    /// Sets messages aside that a rule or a filter does not let in, each with the reason: they are
    /// neither fetched nor deleted from now on.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn skip(&mut self, ruled: &[(RowId, String)]) -> Result<()> {
        self.note_ruled(
            ruled,
            "UPDATE message SET state = 'skipped', reason = ?2 WHERE id = ?1 AND delivered IS NULL",
        )
    }

    /// Notes that a rule has messages deleted from the server unread, each with the reason.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn mark_rule_deletion(&mut self, ruled: &[(RowId, String)]) -> Result<()> {
        self.note_ruled(
            ruled,
            "UPDATE message SET condemned = 1, reason = ?2 WHERE id = ?1 AND delivered IS NULL",
        )
    }

    /// Notes that no rule has these messages deleted any more.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn clear_rule_deletion(&mut self, rows: &[RowId]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(
                "UPDATE message SET condemned = 0, reason = NULL WHERE id = ? AND condemned",
            )?;
            rows.iter()
                .try_for_each(|row| update.execute([row.0]).map(drop))
        })
    }

    fn note_ruled(&mut self, ruled: &[(RowId, String)], statement: &str) -> Result<()> {
        if ruled.is_empty() {
            return Ok(());
        }
        self.transact(|ledger| {
            let mut update = ledger.prepare_cached(statement)?;
            ruled
                .iter()
                .try_for_each(|(row, reason)| update.execute(params![row.0, reason]).map(drop))
        })
    }

    /// Notes who a message is from and what about.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn describe(&mut self, row: RowId, glance: &HeaderSummary) -> Result<()> {
        self.transact(|ledger| {
            ledger
                .execute(
                    "UPDATE message SET sender = ?2, subject = ?3 WHERE id = ?1",
                    params![row.0, glance.sender, glance.subject],
                )
                .map(drop)
        })
    }

    /// The UID of each of `rows`, and its fingerprint if it is known.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn fingerprints(
        &self,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        self.prints("SELECT uid, fingerprint FROM message WHERE id = ?", rows)
    }

    /// The same, with the fingerprint of what was delivered.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn fingerprints_delivered(
        &self,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        self.prints(
            "SELECT uid, coalesce(filtered, fingerprint) FROM message WHERE id = ?",
            rows,
        )
    }

    fn prints(
        &self,
        select: &str,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<Vec<(RowId, Uid, Option<Fingerprint>)>> {
        let read = || {
            let mut select = self.connection.prepare_cached(select)?;
            rows.into_iter()
                .map(|row| {
                    select.query_row([row.0], |columns| {
                        let uid = Uid::new(columns.get::<_, Vec<u8>>(0)?);
                        Ok((
                            row,
                            uid,
                            columns.get::<_, Option<[u8; 16]>>(1)?.map(Fingerprint),
                        ))
                    })
                })
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.explained(&error))
    }

    /// Notes the fingerprints of messages that were not delivered.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn note_fingerprints(&mut self, prints: &[(RowId, Fingerprint)]) -> Result<()> {
        self.transact(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET fingerprint = ?2 WHERE id = ?1")?;
            for (row, print) in prints {
                update.execute(params![row.0, print.0.as_slice()])?;
            }
            Ok(())
        })
    }
}

/// A number of octets as the database takes it.
pub(super) fn size(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

impl Reconciled {
    /// Rows of the messages that are listed and delivered.
    pub fn delivered(&self) -> impl Iterator<Item = RowId> + '_ {
        self.mailbox
            .entries
            .iter()
            .filter(|entry| matches!(entry.known, Known::Delivered { .. }))
            .filter_map(|entry| entry.row)
    }
}
