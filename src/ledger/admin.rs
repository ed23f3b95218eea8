//! What a person asks of the ledger: `pouch ledger`.

use std::{collections::HashSet, fmt};

use rusqlite::{Row as Columns, params, types::Type};

use super::{KnownMessages, Ledger};
use crate::{
    domain::{
        ids::{Listed, MsgNum, RowId, Uid},
        plan::{Known, ListedMessage},
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
    pub got: Option<u64>,
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

pub(super) const COLUMNS: &str =
    "id, uid, octets, CASE WHEN state = 'delivered' AND short THEN 'short' ELSE state END AS shown,
    first_seen, delivered, got, missing, attempts, next_try, reason, sender, subject, doomed OR condemned, copy";

/// What became of messages that were to be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOutcome {
    /// So many will be.
    pub again: u64,
    /// So many are delivered already, and will not be deleted from the server by order any more.
    pub deletions_cancelled: u64,
}

/// A listed message that is set aside: its number, its size and its row.
type Aside = (MsgNum, u64, RowId);

impl Ledger {
    pub(super) fn row(&self, columns: &Columns<'_>) -> rusqlite::Result<Row> {
        let state: String = columns.get(3)?;
        let state = State::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(3, state, Type::Text))?;
        let moment = |column| {
            columns
                .get::<_, Option<i64>>(column)
                .map(|at| at.map(Timestamp))
        };
        let (id, first_seen) = (RowId(columns.get(0)?), Timestamp(columns.get(4)?));
        Ok(Row {
            id,
            uid: Uid::new(columns.get::<_, Vec<u8>>(1)?),
            octets: columns.get(2)?,
            state,
            first_seen,
            delivered: moment(5)?,
            got: columns.get(6)?,
            missing: moment(7)?,
            attempts: columns.get(8)?,
            next_try: moment(9)?,
            reason: columns.get(10)?,
            sender: columns.get(11)?,
            subject: columns.get(12)?,
            delete_requested: columns.get(13)?,
            name: self.name(id, first_seen, columns.get(14)?),
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
            "SELECT {COLUMNS} FROM message WHERE account = ? AND shown IN ({}) ORDER BY id",
            list.join(", ")
        );
        let mut select = self
            .connection
            .prepare(&query)
            .map_err(|error| self.explained(&error))?;
        let mut rows = select
            .query([self.account])
            .map_err(|error| self.explained(&error))?;
        loop {
            let row = rows
                .next()
                .and_then(|columns| columns.map(|columns| self.row(columns)).transpose());
            match row.map_err(|error| self.explained(&error))? {
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
                "SELECT CASE WHEN state = 'delivered' AND short THEN 'short' ELSE state END AS shown, count(*)
                 FROM message WHERE account = ? AND (missing IS NULL OR delivered IS NOT NULL OR state = 'gone')
                 GROUP BY shown",
            )?;
            let found: Vec<(String, u64)> = select
                .query_map([self.account], |row| Ok((row.get(0)?, row.get(1)?)))?
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
        read().map_err(|error: rusqlite::Error| self.explained(&error))
    }

    /// How many messages are in quarantine, of those that the server lists.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn in_quarantine(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM message WHERE account = ? AND state = 'quarantined' AND missing IS NULL",
                [self.account],
                |row| row.get(0),
            )
            .map_err(|error| self.explained(&error))
    }

    /// The message with this number.
    ///
    /// # Errors
    /// This account has none, or the ledger cannot be read.
    pub fn find(&self, id: RowId) -> Result<Row> {
        self.connection
            .query_row(
                &format!("SELECT {COLUMNS} FROM message WHERE account = ? AND id = ?"),
                params![self.account, id.0],
                |columns| self.row(columns),
            )
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Error::new(
                    Kind::Usage,
                    format!("there is no message {id} in the ledger"),
                )
                .with_hint("`pouch ledger list --all` shows the numbers"),
                error => self.explained(&error),
            })
    }

    /// Has messages tried again in the next run, as if they had never failed, and takes orders to
    /// delete back: those of `ids`, or all that failed. One of `ids` that was set aside is fetched
    /// after all, whatever a rule says of it.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn retry(&mut self, ids: &[RowId]) -> Result<RetryOutcome> {
        const RETRY: &str =
            "UPDATE message SET attempts = 0, tried = NULL, next_try = NULL, told = NULL, doomed = 0, condemned = 0,
                 wanted = wanted OR doomed OR condemned OR state = 'skipped',
                 reason = CASE WHEN doomed OR condemned OR state = 'skipped' THEN NULL ELSE reason END,
                 state = CASE WHEN state IN ('quarantined', 'skipped') THEN 'new' ELSE state END
             WHERE account = ?1 AND (?2 IS NULL OR id = ?2) AND (attempts > 0 AND (state IN ('quarantined', 'new') OR short)
                 OR doomed OR condemned OR (state = 'skipped' AND ?2 IS NOT NULL))
             RETURNING state = 'delivered' AND NOT short";
        let account = self.account;
        self.transact(|ledger| {
            let mut update = ledger.prepare(RETRY)?;
            let mut retried = RetryOutcome::default();
            for id in some_or_all(ids) {
                for delivered in
                    update.query_map(params![account, id], |row| row.get::<_, bool>(0))?
                {
                    if delivered? {
                        retried.deletions_cancelled += 1
                    } else {
                        retried.again += 1
                    }
                }
            }
            Ok(retried)
        })
    }

    /// Forgets messages: what is still on the server will be fetched as if it were new.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(ids, "DELETE FROM message WHERE account = ?1 AND id = ?2")
    }

    /// Orders messages to be deleted from the server in the next run, delivered or not.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn request_deletion(&mut self, ids: &[RowId]) -> Result<u64> {
        self.change(
            ids,
            "UPDATE message SET doomed = 1 WHERE account = ?1 AND id = ?2 AND state <> 'gone'",
        )
    }

    fn change(&mut self, ids: &[RowId], statement: &str) -> Result<u64> {
        let account = self.account;
        self.transact(|ledger| {
            let mut update = ledger.prepare(statement)?;
            some_or_all(ids).into_iter().try_fold(0, |changed, id| {
                Ok(changed + update.execute(params![account, id])? as u64)
            })
        })
    }

    /// Sets every listed message aside that was not delivered: it is neither fetched nor deleted
    /// from now on. Gives how many, and the numbers and sizes of all that are set aside, with their
    /// rows.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn catch_up(
        &mut self,
        listed: &[Listed],
        memory: &KnownMessages,
        now: Timestamp,
    ) -> Result<(u64, Vec<Aside>)> {
        let mut look = self.look(listed, memory)?;
        // what may be another message now is compared in the next run, as if it were listed again
        // only then
        let doubtful: HashSet<_> = look.doubtful.iter().map(|doubt| doubt.row).collect();
        look.returned.retain(|row| !doubtful.contains(row));
        self.admit(&mut look, listed, None, now)?;
        let undelivered = |entry: &&ListedMessage| {
            !matches!(entry.known, Known::Delivered { .. } | Known::Short { .. })
        };
        let aside: Vec<_> = look
            .mailbox
            .entries
            .iter()
            .filter(undelivered)
            .filter_map(|entry| Some((entry.num, entry.octets, entry.row?)))
            .collect();
        let rows: Vec<_> = aside.iter().map(|(.., row)| *row).collect();
        if rows.is_empty() {
            return Ok((0, aside));
        }
        let changed = self.change(
            &rows,
            "UPDATE message SET state = 'skipped' WHERE account = ?1 AND id = ?2 AND delivered IS NULL AND state <> 'skipped'",
        )?;
        Ok((changed, aside))
    }

    /// Whether the database file is sound: nothing, or what SQLite says is wrong with it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn unsound(&self) -> Result<Option<String>> {
        self.connection
            .query_row("PRAGMA integrity_check(1)", [], |row| {
                row.get::<_, String>(0)
            })
            .map(|answer| (answer != "ok").then_some(answer))
            .map_err(|error| self.explained(&error))
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
