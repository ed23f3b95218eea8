//! Which Maildirs a message may lie in: it looks deleted only where all of them are still looked into.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use super::Ledger;
use crate::{error::Result, types::RowId};

impl Ledger {
    /// Tells which Maildirs the account has now: one of them has what is delivered or found from now on.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn looks_into(&mut self, maildirs: &[String]) -> Result<()> {
        if maildirs.is_empty() {
            self.maildirs = None;
            return Ok(());
        }
        let mut names = maildirs.to_vec();
        names.sort_unstable();
        let names = names.join("\n");
        let known = self
            .connection
            .query_row("SELECT id FROM maildirs WHERE names = ?", [&names], |row| row.get(0))
            .optional()
            .map_err(|error| self.explained(&error))?;
        self.maildirs = Some(match known {
            Some(id) => id,
            None => self.transact(|ledger| {
                ledger.execute("INSERT INTO maildirs (names) VALUES (?) ON CONFLICT DO NOTHING", [&names])?;
                ledger.query_row("SELECT id FROM maildirs WHERE names = ?", [&names], |row| row.get(0))
            })?,
        });
        Ok(())
    }

    /// Notes that the account's Maildirs have these delivered messages, and gives all delivered ones that no
    /// other Maildir may have. Of one that was delivered before this was noted, that cannot be told.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn looked_into(&mut self, present: &HashSet<RowId>) -> Result<HashSet<RowId>> {
        let (account, now) = (self.account, self.maildirs);
        let (stale, mut sure) = self.read(|ledger| {
            let mut select = ledger.prepare_cached(
                "SELECT m.id, m.maildirs IS NOT ?2, now.names, was.names FROM message AS m
                 LEFT JOIN maildirs AS now ON now.id = ?2 LEFT JOIN maildirs AS was ON was.id = m.maildirs
                 WHERE m.account = ?1 AND m.state = 'delivered'",
            )?;
            let (mut stale, mut sure) = (Vec::new(), HashSet::new());
            let mut rows = select.query(params![account, now])?;
            while let Some(columns) = rows.next()? {
                let row = RowId(columns.get(0)?);
                if columns.get(1)? && present.contains(&row) {
                    stale.push(row);
                } else if let (Some(now), Some(was)) = (text(columns, 2)?, text(columns, 3)?)
                    && was.lines().all(|was| now.lines().any(|now| now == was))
                {
                    sure.insert(row);
                }
            }
            Ok((stale, sure))
        })?;
        if !stale.is_empty() {
            self.transact(|ledger| {
                let mut update = ledger.prepare_cached("UPDATE message SET maildirs = ?2 WHERE id = ?1")?;
                stale.iter().try_for_each(|row| update.execute(params![row.0, now]).map(drop))
            })?;
        }
        sure.extend(stale);
        Ok(sure)
    }
}

fn text<'r>(columns: &'r rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(columns.get_ref(column)?.as_str_or_null()?)
}
