//! The tables of a mailbox's ledger.

use rusqlite::{Connection, TransactionBehavior};

/// The version of the tables that this pouch works with, in SQLite's `user_version`. A new database
/// has version 0.
pub const VERSION: u32 = 1;

const TABLES: &str = "
    CREATE TABLE mailbox (                      -- one row
        ledger_id           TEXT NOT NULL,      -- part of the names of delivered files
        hostname            TEXT NOT NULL,      -- likewise
        user                TEXT NOT NULL,
        host                TEXT NOT NULL,
        sizes_matched       INTEGER NOT NULL DEFAULT 0, -- messages of the size that LIST announced
        sizes_short         INTEGER NOT NULL DEFAULT 0, -- messages of fewer bytes
        problem             TEXT,               -- what stopped the last run, if anything did
        problem_since       INTEGER,
        problem_reported_at INTEGER
    ) STRICT;

    CREATE TABLE maildir_set (                  -- Maildirs that the account had at one time
        id                  INTEGER PRIMARY KEY
    ) STRICT;

    CREATE TABLE maildir (
        maildir_set         INTEGER NOT NULL REFERENCES maildir_set ON DELETE CASCADE,
        name                TEXT NOT NULL,      -- as in the config: maildir:PATH
        created_at          INTEGER,            -- nanoseconds since 1970; NULL: not known
        PRIMARY KEY (maildir_set, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE message (
        id                  INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
        uid                 BLOB NOT NULL,      -- what UIDL gave, or a fingerprint
        uid_size            INTEGER,            -- the size that belongs to a fingerprint
        uid_reused          INTEGER NOT NULL DEFAULT 0, -- the UID is another message's now
        listed_size         INTEGER NOT NULL,   -- by LIST
        -- not with IN: SQLite would build a table of the words for each row that is written
        state               TEXT NOT NULL CHECK (state = 'new' OR state = 'delivering'
                            OR state = 'delivered' OR state = 'quarantined' OR state = 'skipped'
                            OR state = 'gone'),
        first_seen          INTEGER NOT NULL,
        missing_since       INTEGER,            -- no longer listed since then
        delivered_at        INTEGER,
        copy                INTEGER NOT NULL DEFAULT 0, -- which copy is, or would be, delivered
        bytes_received      INTEGER,
        truncated           INTEGER NOT NULL DEFAULT 0, -- fewer bytes than listed were delivered
        partial_bytes       INTEGER,            -- bytes of the copy in delivery, if too few
        fingerprint         BLOB,               -- of the header
        delivered_fingerprint BLOB,             -- of what filters made of it, if that differs
        attempts            INTEGER NOT NULL DEFAULT 0,
        last_run            INTEGER,            -- the run of the last attempt
        retry_after         INTEGER,
        reason              TEXT,
        sender              TEXT,
        subject             TEXT,
        delete_requested    INTEGER NOT NULL DEFAULT 0, -- by the user
        delete_by_rule      INTEGER NOT NULL DEFAULT 0, -- as long as a rule says so
        force_fetch         INTEGER NOT NULL DEFAULT 0, -- by the user, whatever a rule says
        reported_at         INTEGER,            -- when it was reported to the user
        notice_in_flight    INTEGER NOT NULL DEFAULT 0, -- a program has its notice, result unknown
        maildir_set         INTEGER REFERENCES maildir_set -- one of them has it
    ) STRICT;
    CREATE INDEX message_uid ON message (uid);
    CREATE INDEX message_live ON message (id) WHERE state <> 'gone';
    CREATE INDEX message_missing ON message (missing_since) WHERE missing_since IS NOT NULL;
    CREATE INDEX message_quarantined ON message (id) WHERE state = 'quarantined';

    CREATE TABLE partial_delivery (             -- destinations that have a message that others lack
        message             INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
        recipient           TEXT NOT NULL,
        delivered_at        INTEGER NOT NULL,
        PRIMARY KEY (message, recipient)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE run (
        id                  INTEGER PRIMARY KEY,
        started             INTEGER NOT NULL,
        ended               INTEGER,            -- NULL: it is running, or was interrupted
        unsettled           INTEGER NOT NULL DEFAULT 0, -- messages may be safe that no row says so of
        exit                INTEGER,
        delivered           INTEGER NOT NULL DEFAULT 0,
        bytes               INTEGER NOT NULL DEFAULT 0,
        deleted             INTEGER NOT NULL DEFAULT 0,
        failed              INTEGER NOT NULL DEFAULT 0,
        skipped             INTEGER NOT NULL DEFAULT 0,
        problem             TEXT
    ) STRICT;
";

/// Creates the tables in a new database. Returns the version of the tables: [`VERSION`], unless
/// another pouch created them.
pub fn create(connection: &mut Connection) -> rusqlite::Result<u32> {
    let found = version(connection)?;
    if found != 0 {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // another pouch may have been faster
    if version(&transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    version(connection)
}

/// Returns the version of the tables, 0 if there are none.
pub fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_created_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(create(&mut connection).unwrap(), VERSION);
        connection
            .execute("INSERT INTO run (started) VALUES (1)", [])
            .unwrap();
        assert_eq!(create(&mut connection).unwrap(), VERSION);
        let runs: i64 = connection
            .query_row("SELECT count(*) FROM run", [], |row| row.get(0))
            .unwrap();
        assert_eq!(runs, 1);
    }

    #[test]
    fn tables_of_another_version_are_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert_eq!(create(&mut connection).unwrap(), VERSION + 1);
    }
}
