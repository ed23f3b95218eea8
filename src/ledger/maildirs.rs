//! Which Maildirs a message may lie in: it looks deleted only where all of them are still looked
//! into, and are the same ones.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use super::Ledger;
use crate::{domain::ids::RowId, error::Result};

/// A Maildir as it lies there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaildirState {
    /// Its name.
    pub name: String,
    /// When it was made, in nanoseconds since 1970, where its disk tells that; 0 where it is not
    /// there.
    pub made: Option<u128>,
}

/// Delivered messages that no other Maildir may have than those that the account has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveredLocations {
    /// All of them.
    pub sure: HashSet<RowId>,
    /// Those that are not there, and had been in a Maildir in whose place another one lies now: its
    /// disk is not mounted, or is mounted again, or it was put back from a backup.
    pub elsewhere: HashSet<RowId>,
}

impl Ledger {
    /// Tells which Maildirs the account has now: one of them has what is delivered or found from
    /// now on.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn set_maildirs(&mut self, maildirs: &[MaildirState]) -> Result<()> {
        if maildirs.is_empty() {
            self.maildirs = None;
            return Ok(());
        }
        let mut lines: Vec<_> = maildirs.iter().map(line).collect();
        lines.sort_unstable();
        let names = lines.join("\n");
        let known = self
            .connection
            .query_row("SELECT id FROM maildirs WHERE names = ?", [&names], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| self.explained(&error))?;
        self.maildirs = Some(match known {
            Some(id) => id,
            None => self.transact(|ledger| {
                ledger.execute(
                    "INSERT INTO maildirs (names) VALUES (?) ON CONFLICT DO NOTHING",
                    [&names],
                )?;
                ledger.query_row("SELECT id FROM maildirs WHERE names = ?", [&names], |row| {
                    row.get(0)
                })
            })?,
        });
        Ok(())
    }

    /// Notes that the account's Maildirs have these delivered messages, and gives all delivered
    /// ones that no other Maildir may have. Of one that was delivered before this was noted, that
    /// cannot be told.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn locate_delivered(&mut self, present: &HashSet<RowId>) -> Result<DeliveredLocations> {
        let (account, now) = (self.account, self.maildirs);
        let (stale, mut looked) = self.read(|ledger| {
            let mut select = ledger.prepare_cached(
                "SELECT m.id, m.maildirs IS NOT ?2, now.names, was.names FROM message AS m
                 LEFT JOIN maildirs AS now ON now.id = ?2 LEFT JOIN maildirs AS was ON was.id = m.maildirs
                 WHERE m.account = ?1 AND m.state = 'delivered'",
            )?;
            let (mut stale, mut looked) = (Vec::new(), DeliveredLocations::default());
            let mut rows = select.query(params![account, now])?;
            while let Some(columns) = rows.next()? {
                let row = RowId(columns.get(0)?);
                if columns.get(1)? && present.contains(&row) {
                    stale.push(row);
                } else if let (Some(now), Some(was)) = (text(columns, 2)?, text(columns, 3)?) {
                    let all =
                        |like: fn(&str, &str) -> bool| was.lines().all(|was| now.lines().any(|now| like(was, now)));
                    if all(same_name) {
                        looked.sure.insert(row);
                        if !all(same_maildir) {
                            looked.elsewhere.insert(row);
                        }
                    }
                }
            }
            Ok((stale, looked))
        })?;
        self.note_maildirs(&stale, now)?;
        looked.sure.extend(stale);
        Ok(looked)
    }

    /// Notes that these messages are gone, and nobody believes that they were deleted: until they
    /// are seen again, they may lie in any Maildir.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget_location(&mut self, gone: &HashSet<RowId>) -> Result<()> {
        self.note_maildirs(gone, None)
    }

    fn note_maildirs<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r RowId>,
        maildirs: Option<i64>,
    ) -> Result<()> {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        self.transact(|ledger| {
            let mut update =
                ledger.prepare_cached("UPDATE message SET maildirs = ?2 WHERE id = ?1")?;
            rows.try_for_each(|row| update.execute(params![row.0, maildirs]).map(drop))
        })
    }
}

/// A Maildir as it stands in the table: its name, and when it was made.
fn line(maildir: &MaildirState) -> String {
    match maildir.made {
        Some(made) => format!("{}\t{made}", maildir.name),
        None => maildir.name.clone(),
    }
}

fn split(line: &str) -> (&str, Option<&str>) {
    line.rsplit_once('\t')
        .map_or((line, None), |(name, made)| (name, Some(made)))
}

fn same_name(was: &str, now: &str) -> bool {
    split(was).0 == split(now).0
}

/// As far as that can be told.
fn same_maildir(was: &str, now: &str) -> bool {
    let ((_, was_made), (_, now_made)) = (split(was), split(now));
    same_name(was, now) && (was_made == now_made || was_made.is_none() || now_made.is_none())
}

fn text<'r>(columns: &'r rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(columns.get_ref(column)?.as_str_or_null()?)
}
