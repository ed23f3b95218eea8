//! Shards: a fixed division of all mailboxes among several machines.
//!
//! The shard of a mailbox depends only on the mailbox, so that machines do not have to communicate,
//! and other programs can compute it. The key is the name of the mailbox (`mailbox` in the config)
//! or else `user@host`, in lower case and without the final dot of the host. The port is ignored,
//! since ports 110 and 995 give access to the same mailbox.
//!
//! The first 8 bytes of the SHA-256 of the key, as a big-endian number, are distributed by the jump
//! consistent hash of Lamping and Veach (2014, arXiv:1406.2294). It moves only as many mailboxes as
//! necessary if the number of shards changes: from 16 to 20 shards, one in five, each to a new
//! shard. The hash modulo the number of shards would move four in five. Rendezvous hashing moves as
//! few, but needs one SHA-256 per shard.

use std::{fmt, num::NonZero, str::FromStr};

use sha2::{Digest, Sha256};

use super::ids::MailboxId;

/// One of several shards, written `3/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 1 to `count`.
    number: NonZero<u16>,
    /// The number of shards.
    count: NonZero<u16>,
}

impl Shard {
    /// Returns whether the mailbox belongs to this shard.
    pub fn contains(self, mailbox: &MailboxId) -> bool {
        shard_of(&key(mailbox), self.count) == self.number.get()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || "it must be a shard and the number of shards, such as 3/16".to_owned();
        let (number, count) = text.split_once('/').ok_or_else(usage)?;
        let parse = |digits: &str| {
            let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| is_number)
        };
        let (number, count) = parse(number).zip(parse(count)).ok_or_else(usage)?;
        let count = NonZero::new(count).ok_or("there must be at least one shard")?;
        let number = NonZero::new(number)
            .filter(|number| *number <= count)
            .ok_or_else(|| format!("shards are numbered from 1 to {count}"))?;
        Ok(Self { number, count })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

/// Returns the key of a mailbox, which determines its shard.
fn key(mailbox: &MailboxId) -> String {
    let address = &mailbox.address;
    match &mailbox.name {
        Some(name) => name.to_lowercase(),
        None => format!("{}@{}", address.user, address.host).to_lowercase(),
    }
}

/// Returns the number of the shard of `key`, from 1 to `count`.
fn shard_of(key: &str, count: NonZero<u16>) -> u16 {
    let hash = Sha256::digest(key.as_bytes());
    let first = hash
        .iter()
        .take(8)
        .fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
    jump_hash(first, count) + 1
}

/// Returns the bucket of `key` among `buckets`, from 0: figure 1 of the paper.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the algorithm is defined by these conversions; the numbers are below 2^48"
)]
fn jump_hash(mut key: u64, buckets: NonZero<u16>) -> u16 {
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < u64::from(buckets.get()) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let ratio = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * ratio) as u64;
    }
    // below `buckets`
    u16::try_from(bucket).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::domain::ids::Address;

    fn mailbox(user: &str, host: &str, port: u16, name: Option<&str>) -> MailboxId {
        MailboxId {
            name: name.map(str::to_owned),
            address: Address::new(user, host, port),
            account: "a".to_owned(),
        }
    }

    fn count(count: u16) -> NonZero<u16> {
        NonZero::new(count).unwrap()
    }

    #[test]
    fn jump_hash_has_the_published_values() {
        for (key, buckets, bucket) in [
            (1, 1, 0),
            (42, 57, 43),
            (0xDEAD_10CC, 1, 0),
            (0xDEAD_10CC, 666, 361),
            (256, 1024, 520),
        ] {
            assert_eq!(jump_hash(key, count(buckets)), bucket, "{key} {buckets}");
        }
    }

    #[test]
    fn spelling_and_port_do_not_matter() {
        let key_of = |user, host, port, name| key(&mailbox(user, host, port, name));
        assert_eq!(
            key_of("Ann", "POP.example.org.", 995, None),
            "ann@pop.example.org"
        );
        assert_eq!(
            key_of("ann", "pop.example.org", 110, None),
            "ann@pop.example.org"
        );
        assert_eq!(key_of("ann", "tunnel", 1100, Some("Work")), "work");
    }

    #[test]
    fn each_mailbox_is_in_one_shard() {
        for number in 0..100 {
            let ann = mailbox(&format!("user{number}"), "pop.example.org", 995, None);
            let shards = (1..=16).filter(|shard| {
                let shard: Shard = format!("{shard}/16").parse().unwrap();
                shard.contains(&ann)
            });
            assert_eq!(shards.count(), 1);
        }
    }

    #[test]
    fn four_more_shards_take_one_mailbox_in_five() {
        let key = |number| format!("user{number}@pop.example.org");
        let mut moved = 0;
        let mut sizes = [0; 20];
        for number in 0..10_000 {
            let (before, after) = (
                shard_of(&key(number), count(16)),
                shard_of(&key(number), count(20)),
            );
            sizes[usize::from(after) - 1] += 1;
            if before != after {
                assert!(after > 16);
                moved += 1;
            }
        }
        assert!((1_900..2_100).contains(&moved), "{moved}");
        assert!(
            sizes.iter().all(|size| (400..600).contains(size)),
            "{sizes:?}"
        );
    }

    #[test]
    fn only_a_number_of_a_number_is_a_shard() {
        let texts = [
            "3/16", "1/1", "16/16", "0/3", "4/3", "3/0", "0/0", "3", "3/", "/3", "a/b", "3/16/2",
            "-1/3", "+1/3", "1 / 3", "1/99999", "",
        ];
        let results = texts.map(|text| match text.parse::<Shard>() {
            Ok(shard) => format!("{text}: {shard}\n"),
            Err(error) => format!("{text}: {error}\n"),
        });
        assert_snapshot!(results.concat(), @"
        3/16: 3/16
        1/1: 1/1
        16/16: 16/16
        0/3: shards are numbered from 1 to 3
        4/3: shards are numbered from 1 to 3
        3/0: there must be at least one shard
        0/0: there must be at least one shard
        3: it must be a shard and the number of shards, such as 3/16
        3/: it must be a shard and the number of shards, such as 3/16
        /3: it must be a shard and the number of shards, such as 3/16
        a/b: it must be a shard and the number of shards, such as 3/16
        3/16/2: it must be a shard and the number of shards, such as 3/16
        -1/3: it must be a shard and the number of shards, such as 3/16
        +1/3: it must be a shard and the number of shards, such as 3/16
        1 / 3: it must be a shard and the number of shards, such as 3/16
        1/99999: it must be a shard and the number of shards, such as 3/16
        : it must be a shard and the number of shards, such as 3/16
        ");
    }

    /// The values in the manual, by which other programs can be tested.
    #[test]
    fn shards_of_some_mailboxes() {
        let keys = [
            "ann@example.org",
            "ann@pop.example.org",
            "heidi@pop.example.org",
        ];
        let shards = keys.map(|key| {
            let of = |shards| shard_of(key, count(shards));
            format!("{key}: {} of 16, {} of 20\n", of(16), of(20))
        });
        assert_snapshot!(shards.concat(), @"
        ann@example.org: 14 of 16, 14 of 20
        ann@pop.example.org: 5 of 16, 5 of 20
        heidi@pop.example.org: 11 of 16, 20 of 20
        ");
    }
}
