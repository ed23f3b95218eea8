//! Names of files that pouch delivers to a Maildir.
//!
//! A name is a function of the message's row in the ledger. A file with that name proves that the
//! row is delivered, unless its content is another one. So a crash between the delivery and the
//! ledger's commit neither loses a message nor delivers it twice, and no write-ahead log is needed.

use std::{fmt, str::FromStr};

use super::{ids::RowId, time::Timestamp};

/// The name of a delivered message, without Maildir flags: `FIRST_SEEN.R` `ROW` [`-` `COPY` [`-`
/// `VARIANT`]] [`P` `DESTINATIONS`] `L` `LEDGER` `.` `HOSTNAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFileName {
    /// The time when the message was first listed.
    pub first_seen: Timestamp,
    /// The message's row.
    pub row: RowId,
    /// The number of the copy. A later copy replaces one that was truncated.
    pub copy: u32,
    /// The number of names that were taken by files with other content.
    pub variant: u32,
    /// The number of destinations of the message.
    pub destinations: usize,
    /// The ledger that has the row.
    pub origin: LedgerName,
}

/// The name of a delivered notice, without Maildir flags: `WRITTEN.N` `RUN` `L` `LEDGER` `.`
/// `HOSTNAME`. A run writes at most one, about all messages that are quarantined and not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeFileName {
    /// The time when the notice was written.
    pub written: Timestamp,
    /// The number of the run that wrote it.
    pub run: i64,
    /// The ledger's own name, and the name of the machine on which it was created.
    pub origin: LedgerName,
}

/// The part of a name that distinguishes the files of one ledger from those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerName {
    /// A random name, in lower-case hexadecimal digits.
    pub id: String,
    /// The name of the machine on which the ledger was created.
    pub hostname: String,
}

/// The error for a file name that pouch did not create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignName;

impl MessageFileName {
    /// Returns another name for the same message, for a directory in which a file with other
    /// content has this name.
    #[must_use]
    pub fn next_variant(self) -> Self {
        Self {
            variant: self.variant.saturating_add(1),
            ..self
        }
    }
}

impl fmt::Display for MessageFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.R{}", self.first_seen.0, self.row)?;
        if self.copy > 0 || self.variant > 0 {
            write!(f, "-{}", self.copy)?;
        }
        if self.variant > 0 {
            write!(f, "-{}", self.variant)?;
        }
        if self.destinations > 1 {
            write!(f, "P{}", self.destinations)?;
        }
        self.origin.fmt(f)
    }
}

impl fmt::Display for NoticeFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.N{}", self.written.0, self.run)?;
        self.origin.fmt(f)
    }
}

impl fmt::Display for LedgerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}.{}", self.id, self.hostname)
    }
}

impl FromStr for MessageFileName {
    type Err = ForeignName;

    fn from_str(name: &str) -> Result<Self, ForeignName> {
        let (first_seen, unique, origin) = parts(name, 'R')?;
        let (unique, destinations) = unique.split_once('P').unwrap_or((unique, "1"));
        let (row, copy) = unique.split_once('-').unwrap_or((unique, "0"));
        let (copy, variant) = copy.split_once('-').unwrap_or((copy, "0"));
        Ok(Self {
            first_seen,
            row: RowId(number(row)?),
            copy: number(copy)?,
            variant: number(variant)?,
            destinations: number(destinations)?,
            origin,
        })
    }
}

impl FromStr for NoticeFileName {
    type Err = ForeignName;

    fn from_str(name: &str) -> Result<Self, ForeignName> {
        let (written, run, origin) = parts(name, 'N')?;
        Ok(Self {
            written,
            run: number(run)?,
            origin,
        })
    }
}

/// Splits a name into its time, the part after `mark`, and its origin. Anything that Dovecot
/// (`,S=`, `,W=`) and other programs append to a name becomes a part of the host name.
fn parts(name: &str, mark: char) -> Result<(Timestamp, &str, LedgerName), ForeignName> {
    let (time, rest) = name.split_once('.').ok_or(ForeignName)?;
    let (unique, hostname) = rest.split_once('.').ok_or(ForeignName)?;
    let unique = unique.strip_prefix(mark).ok_or(ForeignName)?;
    let (unique, id) = unique.split_once('L').ok_or(ForeignName)?;
    let origin = LedgerName {
        id: id.to_owned(),
        hostname: hostname.to_owned(),
    };
    Ok((Timestamp(number(time)?), unique, origin))
}

fn number<T: FromStr>(text: &str) -> Result<T, ForeignName> {
    text.parse().map_err(|_| ForeignName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> impl Strategy<Value = LedgerName> {
        ("[0-9a-f]{12}", "[a-z0-9.-]{1,20}").prop_map(|(id, hostname)| LedgerName { id, hostname })
    }

    proptest! {
        #[test]
        fn names_survive_a_round_trip(
            time in any::<i64>(), row in 1i64.., copy in any::<u32>(), variant in any::<u32>(),
            destinations in 1usize..9, run in 1i64.., origin in origin(),
        ) {
            let time = Timestamp(time);
            let row = RowId(row);
            let message = MessageFileName {
                first_seen: time, row, copy, variant, destinations, origin: origin.clone(),
            };
            prop_assert_eq!(message.to_string().parse(), Ok(message.clone()));
            let notice = NoticeFileName { written: time, run, origin };
            prop_assert_eq!(notice.to_string().parse(), Ok(notice.clone()));
            prop_assert!(notice.to_string().parse::<MessageFileName>().is_err());
            prop_assert!(message.to_string().parse::<NoticeFileName>().is_err());
        }

        #[test]
        fn other_names_are_foreign(name in "[0-9RNLP.,:-]{0,30}") {
            // Parsing never panics, and a parsed name is formatted as the same text.
            if let Ok(parsed) = name.parse::<MessageFileName>() {
                prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
            }
        }
    }

    #[test]
    fn the_form_of_a_name() {
        let name: MessageFileName = "1764288000.R12-1P2Lab12.mail.example.org".parse().unwrap();
        assert_eq!((name.row, name.copy, name.destinations), (RowId(12), 1, 2));
        assert_eq!(name.origin.hostname, "mail.example.org");
        assert_eq!(
            name.next_variant().to_string(),
            "1764288000.R12-1-1P2Lab12.mail.example.org"
        );
        assert_eq!(
            "1764288000.M1P2.host".parse::<MessageFileName>(),
            Err(ForeignName)
        );
    }
}
