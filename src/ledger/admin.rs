//! What a person asks of the ledger: `pouch ledger`.

use std::{collections::HashSet, fmt};

use rusqlite::{Row as Columns, types::Type};

use super::{Ledger, Reader, identity::uid};
use crate::{
    domain::{
        file_name::MessageFileName,
        ids::{Listed, MsgNum, RowId, Uid},
        plan::{Known, ListedMessage},
        reconcile::Reconciled,
        time::Timestamp,
    },
    error::{Error, Kind, Result},
};

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not delivered yet.
    New,
    /// A program got it, and whether it took it is not known.
    Delivering,
    /// Whole and safe on disk.
    Delivered,
    /// Delivered, but shorter than listed.
    Short,
    /// Failed too often.
    Quarantined,
    /// Set aside by a rule or a filter, or on request.
    Skipped,
    /// No longer on the server.
    Gone,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Delivering,
        Self::Delivered,
        Self::Short,
        Self::Quarantined,
        Self::Skipped,
        Self::Gone,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Short => "short",
            Self::Quarantined => "quarantined",
            Self::Skipped => "skipped",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A message as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in the ledger.
    pub id: RowId,
    /// Its UID on the server.
    pub uid: Uid,
    /// Its size by LIST.
    pub octets: u64,
    /// Its state.
    pub state: State,
    /// When it was first listed.
    pub first_seen: Timestamp,
    /// When it was delivered.
    pub delivered: Option<Timestamp>,
    /// How many octets came.
    pub received: Option<u64>,
    /// Since when it is no longer listed.
    pub missing: Option<Timestamp>,
    /// How often it failed.
    pub attempts: u32,
    /// When it will be tried again, if not in the next run.
    pub next_try: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Who it is from, where that could be read.
    pub sender: Option<String>,
    /// Its subject, where that could be read.
    pub subject: Option<String>,
    /// Whether it is to be deleted from the server on the user's order, or since a rule says so.
    pub delete_requested: bool,
    /// The name of its file, without Maildir flags.
    pub name: String,
}

pub(super) const COLUMNS: &str = "id, uid, uid_size, listed_size,
    CASE WHEN state = 'delivered' AND truncated THEN 'short' ELSE state END AS shown_state,
    first_seen, delivered_at, bytes_received, missing_since, attempts, retry_after, reason, sender,
    subject, delete_requested OR delete_by_rule, copy";

/// What became of messages that were to be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOutcome {
    /// So many will be.
    pub again: u64,
    /// So many are delivered already, and will not be deleted from the server by order any more.
    pub deletions_cancelled: u64,
}

/// A listed message that is skipped: its number, its size and its row.
type SkippedMessage = (MsgNum, u64, RowId);

impl Reader {
    pub(super) fn row(&self, columns: &Columns<'_>) -> rusqlite::Result<Row> {
        let state: String = columns.get(4)?;
        let state = State::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(4, state, Type::Text))?;
        let moment = |column| {
            let at: rusqlite::Result<Option<i64>> = columns.get(column);
            at.map(|at| at.map(Timestamp))
        };
        let (id, first_seen) = (RowId(columns.get(0)?), Timestamp(columns.get(5)?));
        let name = MessageFileName {
            first_seen,
            row: id,
            copy: columns.get(15)?,
            destinations: 1,
            origin: self.name.clone(),
        };
        Ok(Row {
            id,
            uid: uid(columns, 1)?,
            octets: columns.get(3)?,
            state,
            first_seen,
            delivered: moment(6)?,
            received: columns.get(7)?,
            missing: moment(8)?,
            attempts: columns.get(9)?,
            next_try: moment(10)?,
            reason: columns.get(11)?,
            sender: columns.get(12)?,
            subject: columns.get(13)?,
            delete_requested: columns.get(14)?,
            name: name.to_string(),
        })
    }

    /// Calls `each` for the account's messages in these states, oldest first. A million of them
    /// need no more memory than one.
    ///
    /// # Errors
    /// The ledger cannot be read, or `each` fails.
    pub fn each_row(
        &self,
        states: &[State],
        mut each: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let list: Vec<_> = states.iter().map(|state| format!("'{state}'")).collect();
        let query = format!(
            "SELECT {COLUMNS} FROM message WHERE shown_state IN ({}) ORDER BY id",
            list.join(", ")
        );
        let mut select = self
            .connection
            .prepare(&query)
            .map_err(|error| self.explain(&error))?;
        let mut rows = select.query([]).map_err(|error| self.explain(&error))?;
        loop {
            let row = rows
                .next()
                .and_then(|columns| columns.map(|columns| self.row(columns)).transpose());
            match row.map_err(|error| self.explain(&error))? {
                Some(row) => each(row)?,
                None => return Ok(()),
            }
        }
    }

    /// How many messages are in each state. Of those that were not delivered, the ones that the
    /// server lists.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn counts(&self) -> Result<Vec<(State, u64)>> {
        let read = || {
            let mut select = self.connection.prepare(
                "SELECT CASE WHEN state = 'delivered' AND truncated THEN 'short' ELSE state END AS shown_state,
                     count(*)
                 FROM message
                 WHERE missing_since IS NULL OR delivered_at IS NOT NULL OR state = 'gone'
                 GROUP BY shown_state",
            )?;
            let found: Vec<(String, u64)> = select
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(State::ALL
                .into_iter()
                .filter_map(|state| {
                    found
                        .iter()
                        .find(|(name, _)| name == state.name())
                        .map(|(_, count)| (state, *count))
                })
                .collect())
        };
        read().map_err(|error: rusqlite::Error| self.explain(&error))
    }

    /// How many messages are in quarantine, of those that the server lists.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn in_quarantine(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM message WHERE state = 'quarantined' AND missing_since IS NULL",
                [],
                |row| row.get(0),
            )
            .map_err(|error| self.explain(&error))
    }

    /// The message with this number.
    ///
    /// # Errors
    /// This account has none, or the ledger cannot be read.
    pub fn find(&self, id: RowId) -> Result<Row> {
        self.connection
            .query_row(
                &format!("SELECT {COLUMNS} FROM message WHERE id = ?"),
                [id.0],
                |columns| self.row(columns),
            )
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => no_such_message(id),
                error => self.explain(&error),
            })
    }

    /// Checks the database file. Returns what SQLite says is wrong with it, or `None`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn integrity_error(&self) -> Result<Option<String>> {
        self.connection
            .query_row("PRAGMA integrity_check(1)", [], |row| {
                row.get::<_, String>(0)
            })
            .map(|answer| (answer != "ok").then_some(answer))
            .map_err(|error| self.explain(&error))
    }
}

impl Ledger {
    /// Retries messages in the next run as if they had never failed, and cancels requests to delete
    /// them: `ids`, or all that failed. One of `ids` that was skipped is fetched, whatever a rule
    /// says.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn retry(&mut self, ids: &[RowId]) -> Result<RetryOutcome> {
        const RETRY: &str =
            "UPDATE message SET attempts = 0, last_run = NULL, retry_after = NULL,
                 reported_at = NULL, delete_requested = 0, delete_by_rule = 0,
                 force_fetch = force_fetch OR delete_requested OR delete_by_rule OR state = 'skipped',
                 reason = CASE WHEN delete_requested OR delete_by_rule OR state = 'skipped'
                     THEN NULL ELSE reason END,
                 state = CASE WHEN state IN ('quarantined', 'skipped') THEN 'new' ELSE state END
             WHERE (?1 IS NULL OR id = ?1)
                 AND (attempts > 0 AND (state IN ('quarantined', 'new') OR truncated)
                     OR delete_requested OR delete_by_rule
                     OR (state = 'skipped' AND ?1 IS NOT NULL))
             RETURNING state = 'delivered' AND NOT truncated";
        self.write(|ledger| {
            let mut update = ledger.prepare(RETRY)?;
            let mut outcome = RetryOutcome::default();
            for id in some_or_all(ids) {
                for delivered in update.query_map([id], |row| row.get::<_, bool>(0))? {
                    if delivered? {
                        outcome.deletions_cancelled += 1;
                    } else {
                        outcome.again += 1;
                    }
                }
            }
            Ok(outcome)
        })
    }

    /// Forgets messages: what is still on the server is fetched as if it were new. Returns how many
    /// were known.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(ids, "DELETE FROM message WHERE id = ?")
    }

    /// Requests that messages are deleted from the server in the next run, delivered or not.
    /// Returns how many were known.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn request_deletion(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(
            ids,
            "UPDATE message SET delete_requested = 1 WHERE id = ? AND state <> 'gone'",
        )
    }

    fn change(&mut self, ids: &[RowId], statement: &str) -> Result<u64> {
        self.write(|ledger| {
            let mut update = ledger.prepare(statement)?;
            ids.iter().try_fold(
                0,
                |changed, id| Ok(changed + update.execute([id.0])? as u64),
            )
        })
    }

    /// Skips every listed message that was not delivered: from now on it is neither fetched nor
    /// deleted. `reconciled` was made from `listed`. Returns how many messages changed, and all
    /// that are skipped now.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn catch_up(
        &mut self,
        mut reconciled: Reconciled,
        listed: &[Listed],
        now: Timestamp,
    ) -> Result<(u64, Vec<SkippedMessage>)> {
        // what may be another message now is compared in the next run, as if it were listed again
        // only then
        let unverified: HashSet<_> = reconciled.unverified.iter().map(|one| one.row).collect();
        reconciled.relisted.retain(|row| !unverified.contains(row));
        self.admit(&mut reconciled, listed, None, now)?;
        let undelivered = |entry: &&ListedMessage| {
            !matches!(entry.known, Known::Delivered { .. } | Known::Short { .. })
        };
        let entries = reconciled.mailbox.entries.iter();
        let skipped: Vec<_> = entries
            .filter(undelivered)
            .filter_map(|entry| Some((entry.num, entry.octets, entry.row?)))
            .collect();
        let rows: Vec<_> = skipped.iter().map(|(.., row)| *row).collect();
        let changed = self.change(
            &rows,
            "UPDATE message SET state = 'skipped'
             WHERE id = ? AND delivered_at IS NULL AND state <> 'skipped'",
        )?;
        Ok((changed, skipped))
    }
}

/// What a statement is run with: each of these messages, or all where there are none.
fn some_or_all(ids: &[RowId]) -> Vec<Option<i64>> {
    if ids.is_empty() {
        vec![None]
    } else {
        ids.iter().map(|id| Some(id.0)).collect()
    }
}

/// Returns the error for a message that the ledger does not know.
pub fn no_such_message(id: RowId) -> Error {
    Error::new(
        Kind::Usage,
        format!("there is no message {id} in the ledger"),
    )
    .with_hint("`pouch ledger list --all` shows the numbers")
}
