//! The messages in a ledger, as `pouch ledger` and `pouch status` display them.

use std::{collections::BTreeSet, fmt};

use rusqlite::{Row as Columns, params, types::Type};

use super::{Reader, identity::uid};
use crate::{
    domain::{
        file_name::MessageFileName,
        ids::{RowId, Uid},
        time::Timestamp,
    },
    error::{Error, Kind, Result},
    text::sanitize,
};

/// The state of a message, as displayed.
///
/// It is the column `state`, except that a truncated delivery has a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not delivered yet.
    New,
    /// Handed over to a program or an LMTP server; the result is unknown.
    Delivering,
    /// Complete and on stable storage.
    Delivered,
    /// Delivered, but truncated: fewer bytes than listed.
    Short,
    /// Quarantined after too many failed attempts.
    Quarantined,
    /// Skipped by a rule, a filter or `pouch ledger catchup`.
    Skipped,
    /// Deleted, or missing from the listing for 30 days.
    Gone,
}

impl State {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Delivering,
        Self::Delivered,
        Self::Short,
        Self::Quarantined,
        Self::Skipped,
        Self::Gone,
    ];

    /// Returns the name of the state, as displayed and in JSON.
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

/// A selection of messages by their condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFilter {
    /// All messages.
    All,
    /// Messages in this state.
    In(State),
    /// Messages that a run has to act on: those that were not delivered completely, and those
    /// whose deletion from the server is requested.
    Unsettled,
}

/// A message in the ledger, with everything that `pouch ledger show` displays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The ledger number.
    pub id: RowId,
    /// The UID on the server, or the one derived from its header.
    pub uid: Uid,
    /// The listed size, in bytes.
    pub octets: u64,
    /// The state.
    pub state: State,
    /// The time of the first listing that contained it.
    pub first_seen: Timestamp,
    /// The time of delivery.
    pub delivered: Option<Timestamp>,
    /// The number of bytes received, if it was delivered.
    pub received: Option<u64>,
    /// The time since when it has been missing from the listing.
    pub missing: Option<Timestamp>,
    /// The number of failed attempts.
    pub attempts: u32,
    /// The time of the next attempt. `None`: the next run.
    pub next_try: Option<Timestamp>,
    /// The reason why it failed, was skipped or will be deleted.
    pub reason: Option<String>,
    /// The sender, if the header was read.
    pub sender: Option<String>,
    /// The subject, if the header was read.
    pub subject: Option<String>,
    /// Whether the user or a rule requested its deletion from the server.
    pub delete_requested: bool,
    /// The program that fetched it, if that was not pouch.
    pub imported_from: Option<String>,
    /// The name of its file in a Maildir, without flags.
    pub name: String,
    /// Whether another program delivered that file (`ledger adopt`).
    pub is_adopted: bool,
}

impl Row {
    /// Returns whether the next run is to delete it from the server.
    pub fn awaits_deletion(&self) -> bool {
        self.delete_requested && self.state != State::Gone
    }

    /// Returns the message as users see it: its number and its subject, if that is known.
    pub fn title(&self) -> String {
        match &self.subject {
            Some(subject) => format!("message {} ({})", self.id, sanitize(subject.as_bytes())),
            None => format!("message {}", self.id),
        }
    }
}

/// The expression for the displayed state.
const SHOWN_STATE: &str = "CASE WHEN state = 'delivered' AND truncated THEN 'short' ELSE state END";

impl Row {
    /// Returns whether pouch delivered it. `ledger catchup --as-fetched` and `import` record
    /// messages as delivered of which no byte was received.
    pub fn was_received(&self) -> bool {
        self.delivered.is_some() && self.received != Some(0)
    }
}

/// A range of ledger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The first number.
    pub first: RowId,
    /// The last number, which is included.
    pub last: RowId,
}

impl RowRange {
    /// The range of all messages.
    pub const ALL: Self = Self {
        first: RowId(1),
        last: RowId(i64::MAX),
    };
}

impl Reader {
    /// Returns the query for the messages that meet `condition`, an SQL expression that an
    /// `ORDER BY` may follow. [`row`](Self::row) reads its results.
    pub(super) fn rows_where(condition: &str) -> String {
        format!("SELECT *, {SHOWN_STATE} AS shown_state FROM message WHERE {condition}")
    }

    /// Reads a message from the columns of [`rows_where`](Self::rows_where).
    pub(super) fn row(&self, columns: &Columns<'_>) -> rusqlite::Result<Row> {
        let state: String = columns.get("shown_state")?;
        let state = State::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(0, state, Type::Text))?;
        let moment = |column| {
            let at: rusqlite::Result<Option<i64>> = columns.get(column);
            at.map(|at| at.map(Timestamp))
        };
        let (id, first_seen) = (
            RowId(columns.get("id")?),
            Timestamp(columns.get("first_seen")?),
        );
        let name = MessageFileName {
            first_seen,
            row: id,
            copy: columns.get("copy")?,
            variant: 0,
            destinations: 1,
            origin: self.name.clone(),
        };
        let adopted: Option<String> = columns.get("adopted_name")?;
        Ok(Row {
            is_adopted: adopted.is_some(),
            name: adopted.unwrap_or_else(|| name.to_string()),
            id,
            uid: uid(columns)?,
            octets: columns.get("listed_size")?,
            state,
            first_seen,
            delivered: moment("delivered_at")?,
            received: columns.get("bytes_received")?,
            missing: moment("missing_since")?,
            attempts: columns.get("attempts")?,
            next_try: moment("retry_after")?,
            reason: columns.get("reason")?,
            sender: columns.get("sender")?,
            subject: columns.get("subject")?,
            delete_requested: columns.get("delete_requested")? || columns.get("delete_by_rule")?,
            imported_from: columns.get("imported_from")?,
        })
    }

    /// Calls `each` for every message that passes the filter, oldest first.
    ///
    /// Rows are streamed: the memory needed does not depend on their number.
    ///
    /// # Errors
    /// The ledger cannot be read, or `each` fails.
    pub fn each_row(
        &self,
        filter: RowFilter,
        mut each: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let condition = match filter {
            RowFilter::All => "TRUE".to_owned(),
            RowFilter::In(state) => format!("shown_state = '{state}'"),
            RowFilter::Unsettled => "shown_state IN ('new', 'delivering', 'short', 'quarantined')
                 OR (state <> 'gone' AND (delete_requested OR delete_by_rule))"
                .to_owned(),
        };
        let query = Self::rows_where(&format!("({condition}) ORDER BY id"));
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

    /// Returns the number of messages in each state.
    ///
    /// Messages that were not delivered count only if the server still lists them.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn counts(&self) -> Result<Vec<(State, u64)>> {
        let read = || {
            let mut select = self.connection.prepare(&format!(
                "SELECT {SHOWN_STATE} AS shown_state, count(*) FROM message
                 WHERE missing_since IS NULL OR delivered_at IS NOT NULL OR state = 'gone'
                 GROUP BY shown_state"
            ))?;
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

    /// Returns the number of quarantined messages that the server still lists.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn in_quarantine(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM message
                 WHERE state = 'quarantined' AND missing_since IS NULL",
                [],
                |row| row.get(0),
            )
            .map_err(|error| self.explain(&error))
    }

    /// Returns the message with this ledger number.
    ///
    /// # Errors
    /// There is no such message, or the ledger cannot be read.
    pub fn find(&self, id: RowId) -> Result<Row> {
        self.connection
            .query_row(&Self::rows_where("id = ?"), [id.0], |columns| {
                self.row(columns)
            })
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => no_such_message(RowRange {
                    first: id,
                    last: id,
                }),
                error => self.explain(&error),
            })
    }

    /// Returns the numbers of the messages in `ranges`, ascending. If `state` is set, only messages
    /// in this state are returned.
    ///
    /// # Errors
    /// A range, other than [`RowRange::ALL`], has no messages, or the ledger cannot be read.
    pub fn select(&self, ranges: &[RowRange], state: Option<State>) -> Result<Vec<RowId>> {
        let query = format!(
            "SELECT id, {SHOWN_STATE} = coalesce(?3, {SHOWN_STATE}) FROM message
             WHERE id BETWEEN ?1 AND ?2"
        );
        let read = |range: &RowRange| {
            let parameters = params![range.first.0, range.last.0, state.map(State::name)];
            self.connection
                .prepare_cached(&query)?
                .query_map(parameters, |row| Ok((RowId(row.get(0)?), row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<(RowId, bool)>>>()
        };
        let mut selected = BTreeSet::new();
        for range in ranges {
            let found = read(range).map_err(|error| self.explain(&error))?;
            if found.is_empty() && *range != RowRange::ALL {
                return Err(no_such_message(*range));
            }
            let matching = found.into_iter().filter(|(_, is_matching)| *is_matching);
            selected.extend(matching.map(|(row, _)| row));
        }
        Ok(selected.into_iter().collect())
    }

    /// Checks the database file with SQLite's integrity check.
    ///
    /// Returns the first defect as SQLite describes it, or `None` if there is none.
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

/// Creates the error that there is no message with such a ledger number.
pub fn no_such_message(range: RowRange) -> Error {
    let RowRange { first, last } = range;
    let what = if first == last {
        format!("there is no message {first} in the ledger")
    } else {
        format!("there are no messages {first}-{last} in the ledger")
    };
    Error::new(Kind::Usage, what).with_hint("run `pouch ledger list --all` to see the numbers")
}
