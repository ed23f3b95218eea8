//! The volume of delivered mail over time.
//!
//! Rows of messages are kept when the messages are gone, so the volume is known since the ledger
//! was created, except for messages that were removed by `pouch ledger forget`.

use std::collections::HashMap;

use rusqlite::params;

use super::Reader;
use crate::{
    domain::{ids::RowId, time::Timestamp},
    error::Result,
};

/// The length of an interval, in seconds. The offset of every time zone is a multiple of it, so an
/// interval belongs to one day.
const INTERVAL: i64 = 900;

/// The messages that pouch delivered itself, since the time `?1`.
const DELIVERED: &str = "delivered_at >= ?1 AND bytes_received IS NOT 0 AND imported_from IS NULL";

/// The bytes of a delivered message. The number of an interrupted delivery may not be recorded.
const OCTETS: &str = "coalesce(bytes_received, listed_size)";

/// The mail that was delivered in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// When the interval began.
    pub at: Timestamp,
    /// The number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub octets: u64,
}

/// A delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRow {
    /// The time of the first listing, which is part of the name of its file.
    pub first_seen: Timestamp,
    /// The time of delivery.
    pub delivered: Timestamp,
    /// Its size in bytes.
    pub octets: u64,
}

impl Reader {
    /// Returns the mail that was delivered since a time, for each quarter of an hour with any.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn volume_since(&self, since: Timestamp) -> Result<Vec<Volume>> {
        // total() instead of sum(), which fails on overflow
        let query = format!(
            "SELECT delivered_at / {INTERVAL} AS interval, count(*), CAST(total({OCTETS}) AS INTEGER)
             FROM message WHERE {DELIVERED} GROUP BY interval ORDER BY interval"
        );
        self.read(|ledger| {
            ledger
                .prepare(&query)?
                .query_map([since.0], |row| {
                    let interval: i64 = row.get(0)?;
                    Ok(Volume {
                        at: Timestamp(interval.saturating_mul(INTERVAL).max(since.0)),
                        messages: row.get(1)?,
                        octets: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the messages that were delivered since a time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn delivered_since(&self, since: Timestamp) -> Result<HashMap<RowId, DeliveredRow>> {
        let query =
            format!("SELECT id, first_seen, delivered_at, {OCTETS} FROM message WHERE {DELIVERED}");
        self.read(|ledger| {
            ledger
                .prepare(&query)?
                .query_map(params![since.0], |row| {
                    let delivered = DeliveredRow {
                        first_seen: Timestamp(row.get(1)?),
                        delivered: Timestamp(row.get(2)?),
                        octets: row.get(3)?,
                    };
                    Ok((RowId(row.get(0)?), delivered))
                })?
                .collect()
        })
    }
}
