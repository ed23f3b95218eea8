//! The tables of the ledger.
//!
//! A message has one row for its whole life, with a column per fact: displaying and correcting a
//! message needs no joins, and recording a delivery is one UPDATE. Rows of gone messages are kept,
//! so that a message that the server lists again is not delivered twice.
//!
//! The version is in SQLite's `user_version`. A ledger of another version is refused, not
//! converted.

use rusqlite::{Connection, TransactionBehavior};

/// The supported version of the tables. A new database has version 0.
pub const VERSION: u32 = 5;

const TABLES: &str = "
    CREATE TABLE mailbox (                      -- one row
        ledger_id           TEXT NOT NULL,      -- part of the names of delivered files
        hostname            TEXT NOT NULL,      -- part of them, too
        name                TEXT,               -- given by the user
        sizes_matched       INTEGER NOT NULL DEFAULT 0, -- messages of the listed size
        sizes_short         INTEGER NOT NULL DEFAULT 0, -- messages with fewer bytes
        problem             TEXT,               -- the error that ended the last run
        problem_since       INTEGER,
        problem_report_due  INTEGER,            -- the next report; NULL: not reported yet
        machine             TEXT,               -- that of the last run, hashed; NULL: unknown
        machine_name        TEXT,               -- its host name
        exported_at         INTEGER,            -- another machine has the ledger since then
        restored_at         INTEGER,            -- from a backup, and not compared with files yet
        alerted             INTEGER NOT NULL DEFAULT 0, -- the `alert` command reported a problem
        alert_report_due    INTEGER             -- the next report that it failed
    ) STRICT;

    CREATE TABLE total (                        -- at most one row: the sums of all runs
        id                  INTEGER PRIMARY KEY CHECK (id = 1),
        first_run           INTEGER NOT NULL,   -- when the first one began
        last_success        INTEGER,            -- when the last one without a problem ended
        runs                INTEGER NOT NULL DEFAULT 0,
        failed_runs         INTEGER NOT NULL DEFAULT 0,
        seconds             INTEGER NOT NULL DEFAULT 0,
        delivered           INTEGER NOT NULL DEFAULT 0,
        bytes               INTEGER NOT NULL DEFAULT 0,
        deleted             INTEGER NOT NULL DEFAULT 0,
        failed              INTEGER NOT NULL DEFAULT 0,
        skipped             INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    CREATE TABLE address (                      -- where the mailbox was seen
        id                  INTEGER PRIMARY KEY AUTOINCREMENT,
        user                TEXT NOT NULL,
        host                TEXT NOT NULL,      -- in lower case, without a final dot
        port                INTEGER NOT NULL,
        account             TEXT NOT NULL,      -- the name of the account that used it last
        last_used           INTEGER NOT NULL,   -- the highest number is the present address
        UNIQUE (user, host, port)
    ) STRICT;

    CREATE TABLE maildir_set (                  -- Maildirs that the account had at one time
        id                  INTEGER PRIMARY KEY
    ) STRICT;

    CREATE TABLE maildir (
        maildir_set         INTEGER NOT NULL REFERENCES maildir_set ON DELETE CASCADE,
        name                TEXT NOT NULL,      -- as in the config: maildir:PATH
        created_at          INTEGER,            -- nanoseconds since 1970; NULL: unknown
        PRIMARY KEY (maildir_set, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE clock_behind (                 -- runs whose clock was behind
        run                 INTEGER PRIMARY KEY,
        at_least            INTEGER NOT NULL    -- the time was later than this
    ) STRICT;

    CREATE TABLE maildir_seen (                 -- each Maildir when it was last searched
        name                TEXT PRIMARY KEY,   -- as in the config: maildir:PATH
        new_modified        INTEGER,            -- nanoseconds since 1970, of the file system
        cur_modified        INTEGER,
        changed             INTEGER,            -- either of them
        run                 INTEGER NOT NULL    -- the last run that delivered to it before
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE message (
        id                  INTEGER PRIMARY KEY AUTOINCREMENT,  -- numbers are never reused
        uid                 BLOB NOT NULL,      -- from UIDL, or a fingerprint
        uid_size            INTEGER,            -- the size, if the UID is a fingerprint
        address             INTEGER,            -- where it was fetched or its header compared last;
                                                -- NULL: that may be another mailbox now
        uid_reused          INTEGER NOT NULL DEFAULT 0, -- the UID now belongs to another message
        listed_size         INTEGER NOT NULL,   -- by LIST, in bytes
        -- OR instead of IN, for which SQLite builds a temporary table for each write
        state               TEXT NOT NULL CHECK (state = 'new' OR state = 'delivering'
                            OR state = 'delivered' OR state = 'quarantined' OR state = 'skipped'
                            OR state = 'gone'),
        first_seen          INTEGER NOT NULL,
        missing_since       INTEGER,            -- missing from the listing since then
        delivered_at        INTEGER,
        copy                INTEGER NOT NULL DEFAULT 0, -- the number of the current copy
        bytes_received      INTEGER,
        truncated           INTEGER NOT NULL DEFAULT 0, -- fewer bytes than listed were delivered
        partial_bytes       INTEGER,            -- bytes of the copy in delivery, if truncated
        fingerprint         BLOB,               -- of the header
        delivered_fingerprint BLOB,             -- of the filter output, if that differs
        attempts            INTEGER NOT NULL DEFAULT 0,
        last_run            INTEGER,            -- the run of the last attempt
        retry_after         INTEGER,
        reason              TEXT,
        sender              TEXT,
        subject             TEXT,
        delete_requested    INTEGER NOT NULL DEFAULT 0, -- by the user
        delete_by_rule      INTEGER NOT NULL DEFAULT 0, -- by a rule, until no rule matches
        force_fetch         INTEGER NOT NULL DEFAULT 0, -- by the user, overriding rules
        reported_at         INTEGER,            -- when it was reported to the user
        notice_in_flight    INTEGER NOT NULL DEFAULT 0, -- notice handed over, result unknown
        maildir_set         INTEGER REFERENCES maildir_set, -- one of these has it
        imported_from       TEXT,               -- the program that fetched it, unless pouch did
        never_listed        INTEGER NOT NULL DEFAULT 0, -- not on the server since its import
        adopted_name        TEXT                -- its file, if another program delivered it
    ) STRICT;
    CREATE INDEX message_uid ON message (uid);
    CREATE INDEX message_live ON message (id) WHERE state <> 'gone';
    CREATE INDEX message_missing ON message (missing_since) WHERE missing_since IS NOT NULL;
    CREATE INDEX message_quarantined ON message (id) WHERE state = 'quarantined';

    CREATE TABLE partial_delivery (             -- destinations that already accepted it
        message             INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
        recipient           TEXT NOT NULL,
        delivered_at        INTEGER NOT NULL,
        PRIMARY KEY (message, recipient)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE deletion_suspect (             -- the server did not answer DELE, or refused it
        message             INTEGER PRIMARY KEY REFERENCES message ON DELETE CASCADE,
        failures            INTEGER NOT NULL DEFAULT 0, -- in a session of its own
        retry_after         INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE login (                        -- at most one row
        last_login          INTEGER,            -- if the server requires a delay after it
        login_delay         INTEGER,            -- that delay, in seconds
        refusals            INTEGER NOT NULL DEFAULT 0, -- in a row
        refused_at          INTEGER,            -- the last one
        refusal             TEXT,               -- what was reported about it
        response            TEXT,               -- what the server said; NULL: it disconnected
        salt                BLOB,
        secret_hash         BLOB,               -- of the refused secret and its settings
        mechanism           TEXT,               -- that worked after another one was refused
        mechanism_since     INTEGER
    ) STRICT;

    CREATE TABLE run (
        id                  INTEGER PRIMARY KEY,
        started             INTEGER NOT NULL,
        ended               INTEGER,            -- NULL: it is running, or was interrupted
        pid                 INTEGER,            -- the process
        process             TEXT,               -- what distinguishes it from others of this pid
        unsettled           INTEGER NOT NULL DEFAULT 0, -- deliveries may be unrecorded
        exit                INTEGER,
        delivered           INTEGER NOT NULL DEFAULT 0,
        bytes               INTEGER NOT NULL DEFAULT 0,
        deleted             INTEGER NOT NULL DEFAULT 0,
        failed              INTEGER NOT NULL DEFAULT 0,
        skipped             INTEGER NOT NULL DEFAULT 0,
        problem             TEXT
    ) STRICT;
";

/// Creates the tables in a new database. Returns the version of the tables.
///
/// It is [`VERSION`], unless another version of pouch created them.
pub fn create(connection: &mut Connection) -> rusqlite::Result<u32> {
    let found = version(connection)?;
    if found != 0 {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have created the tables in the meantime.
    if version(&transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    version(connection)
}

/// Returns the version of the tables, or 0 if there are none.
pub fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_tables_are_not_created_again() {
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
    fn tables_of_another_version_are_unchanged() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert_eq!(create(&mut connection).unwrap(), VERSION + 1);
    }
}
