//! The tables, and how older ledgers become this one.

use rusqlite::{Connection, TransactionBehavior};

/// Each step brings a ledger from the version of its place in the list to the next. Steps are
/// only ever added.
const STEPS: [&str; 12] = [
    "
    CREATE TABLE ledger (
        id   TEXT NOT NULL,             -- stands in the names of delivered files
        host TEXT NOT NULL              -- likewise
    ) STRICT;

    CREATE TABLE account (
        id         INTEGER PRIMARY KEY,
        user       TEXT NOT NULL,
        host       TEXT NOT NULL,
        whole      INTEGER NOT NULL DEFAULT 0,  -- messages that had as many octets as LIST said
        fewer      INTEGER NOT NULL DEFAULT 0,  -- messages that had fewer
        trouble    TEXT,                        -- what stopped the last run, if anything did
        since      INTEGER,                     -- when that began
        told       INTEGER,                     -- when a person was told of it
        UNIQUE (user, host)
    ) STRICT;

    CREATE TABLE message (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
        account     INTEGER NOT NULL REFERENCES account,
        uid         BLOB NOT NULL,
        octets      INTEGER NOT NULL,           -- by LIST
        -- not with IN: SQLite would build a table of the words for each row that is written
        state       TEXT NOT NULL CHECK (state = 'new' OR state = 'delivering' OR state = 'delivered'
                    OR state = 'quarantined' OR state = 'skipped' OR state = 'gone'),
        first_seen  INTEGER NOT NULL,
        missing     INTEGER,                    -- since when it is no longer listed
        delivered   INTEGER,
        copy        INTEGER NOT NULL DEFAULT 0, -- which copy of it is or would be delivered
        got         INTEGER,                    -- octets that came
        short       INTEGER NOT NULL DEFAULT 0, -- fewer octets came than LIST had promised
        fingerprint BLOB,
        attempts    INTEGER NOT NULL DEFAULT 0,
        tried       INTEGER,                    -- the run of the last attempt
        next_try    INTEGER,
        reason      TEXT,
        sender      TEXT,
        subject     TEXT,
        doomed      INTEGER NOT NULL DEFAULT 0, -- to be deleted on the user's order
        told        INTEGER                     -- when a person was told of it
    ) STRICT;
    CREATE INDEX message_uid ON message (account, uid);
    CREATE INDEX message_live ON message (account) WHERE state <> 'gone';

    CREATE TABLE run (
        id          INTEGER PRIMARY KEY,
        account     INTEGER NOT NULL REFERENCES account,
        started     INTEGER NOT NULL,
        ended       INTEGER,                    -- nothing: it is under way, or it died
        exit        INTEGER,
        delivered   INTEGER NOT NULL DEFAULT 0,
        octets      INTEGER NOT NULL DEFAULT 0,
        deleted     INTEGER NOT NULL DEFAULT 0,
        failed      INTEGER NOT NULL DEFAULT 0,
        problem     TEXT
    ) STRICT;
    CREATE INDEX run_account ON run (account, id);
    ",
    "
    ALTER TABLE run ADD COLUMN open INTEGER NOT NULL DEFAULT 0;  -- messages may be safe that no row says so of
    UPDATE run SET open = ended IS NULL;
    CREATE INDEX message_missing ON message (account, missing) WHERE missing IS NOT NULL;
    CREATE INDEX message_quarantined ON message (account) WHERE state = 'quarantined';
    ",
    "
    -- who of several takers has a message already that not all of them have
    CREATE TABLE part (
        message     INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
        taker       TEXT NOT NULL,
        at          INTEGER NOT NULL,
        PRIMARY KEY (message, taker)
    ) STRICT, WITHOUT ROWID;
    ",
    "
    ALTER TABLE message ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;  -- by the user, whatever a rule says
    ALTER TABLE run ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;     -- messages that rules set aside
    ",
    "
    -- of what is in quarantine, that was not noted before
    UPDATE message SET told = first_seen WHERE state = 'quarantined' AND told IS NULL;
    ",
    "
    -- Maildirs that an account has at one time, a line each
    CREATE TABLE maildirs (
        id          INTEGER PRIMARY KEY,
        names       TEXT NOT NULL UNIQUE
    ) STRICT;
    ALTER TABLE message ADD COLUMN maildirs INTEGER REFERENCES maildirs;  -- one of them had it when last seen
    ",
    "
    ALTER TABLE message ADD COLUMN came INTEGER;  -- octets of the copy on its way, where they are too few
    ",
    "
    ALTER TABLE message ADD COLUMN condemned INTEGER NOT NULL DEFAULT 0;  -- to be deleted, as long as a rule says so
    ",
    "
    ALTER TABLE message ADD COLUMN telling INTEGER NOT NULL DEFAULT 0;  -- a program got its notice, answer not known
    ",
    "
    ALTER TABLE run ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;  -- messages were asked for ahead of answers
    ",
    "
    ALTER TABLE message ADD COLUMN filtered BLOB;  -- fingerprint of what filters made of it, where that is another
    ",
    "
    ALTER TABLE message ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0;  -- another one may have come in its place
    ",
];

/// The version of the tables that this pouch works with.
pub const VERSION: usize = STEPS.len();

/// Brings the tables up to date. `Err(version)` inside: they are newer than this pouch.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), usize>> {
    let found = version(connection)?;
    if found == VERSION {
        return Ok(Ok(()));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // another pouch may have been quicker
    let found = version(&transaction)?;
    let Some(steps) = STEPS.get(found..) else {
        return Ok(Err(found));
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap().unwrap();
        connection
            .execute("INSERT INTO ledger VALUES ('a', 'b')", [])
            .unwrap();
        migrate(&mut connection).unwrap().unwrap();
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM ledger", [], |row| row.get(0))
            .unwrap();
        assert_eq!((rows, version(&connection).unwrap()), (1, VERSION));
    }

    #[test]
    fn a_newer_ledger_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert_eq!(migrate(&mut connection).unwrap(), Err(VERSION + 1));
    }
}
