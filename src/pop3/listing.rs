//! The listing of a mailbox: STAT, LIST and UIDL (RFC 1939 §5, §7).

use std::io::{Read, Write};

use super::{
    command::Command,
    connection::Connection,
    refused::access_refused,
    reply::{self, Refusal, quoted},
};
use crate::{
    domain::ids::{Listed, MsgNum, Uid},
    error::{Error, Kind, Result},
};

/// The largest mailbox that is supported: its listing, and what the ledger knows of each message,
/// have to fit into 64 MiB of memory.
const MAX_MESSAGES: u32 = 200_000;

/// The bytes that LIST or UIDL may use for one message. RFC 1939 §7 allows 70 bytes for a UID; the
/// longest known ones have 200.
const MAX_LISTING_LINE: usize = 256;

/// The largest response to LIST or UIDL that is accepted, in bytes.
const MAX_LISTING: usize = 10_000_000;

/// The messages in a mailbox, as the server lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The messages that have a UID, by number.
    pub messages: Vec<Listed>,
    /// The messages that have none: number and size in octets.
    pub nameless: Vec<(MsgNum, u64)>,
    /// Whether LIST sent no size for a message, which the sentinel of pipelined commands needs.
    pub lacks_sizes: bool,
    /// Whether LIST and UIDL listed the same messages.
    pub agrees: bool,
    /// The number of messages by STAT.
    pub expected: u32,
    /// The first line of LIST or UIDL that could not be parsed.
    pub unparsed: Option<Vec<u8>>,
    /// The response to UIDL, if the server refused it.
    pub uidl_refused: Option<Refusal>,
}

impl Listing {
    /// Returns the number of messages that the server listed.
    pub fn listed(&self) -> usize {
        self.messages.len() + self.nameless.len()
    }

    /// Returns whether messages are missing: the server listed none of those that it has, or sent
    /// lines that could not be parsed instead. Where it just lists fewer, STAT may count others.
    pub fn is_incomplete(&self) -> bool {
        let listed = self.listed();
        listed < self.expected as usize && (listed == 0 || self.unparsed.is_some())
    }
}

/// The response to LIST or UIDL.
struct ListedLines<T> {
    lines: Vec<(MsgNum, T)>,
    /// The first line that could not be parsed.
    unparsed: Option<Vec<u8>>,
}

impl<T> Default for ListedLines<T> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            unparsed: None,
        }
    }
}

/// The commands that list a mailbox.
#[derive(Clone, Copy)]
pub(super) struct ListCommands {
    /// Whether all of them are sent before the first response is read.
    pub(super) pipelined: bool,
    /// Whether UIDL is one of them.
    pub(super) uidl: bool,
}

impl ListCommands {
    /// Queues STAT, and the other commands if they are pipelined.
    pub(super) fn queue<S: Read + Write>(self, connection: &mut Connection<S>) -> Result<()> {
        connection.queue(Command::Stat)?;
        if self.pipelined {
            connection.queue(Command::List)?;
            if self.uidl {
                connection.queue(Command::Uidl)?;
            }
        }
        Ok(())
    }

    /// Reads the responses. LIST and UIDL are sent first unless they are pipelined.
    ///
    /// # Errors
    /// The server refused STAT or LIST, the mailbox or a response is too large, or the connection
    /// is lost.
    pub(super) fn read<S: Read + Write>(self, connection: &mut Connection<S>) -> Result<Listing> {
        let expected = stat(connection)?;
        if expected > MAX_MESSAGES {
            let peer = &connection.peer;
            return Err(Error::new(
                Kind::Unavailable,
                format!("the mailbox on {peer} has {expected} messages"),
            )
            .with_fact(format!(
                "pouch supports at most {MAX_MESSAGES} messages per mailbox"
            ))
            .with_hint("delete or archive some messages with another client first"));
        }
        if expected == 0 {
            // Some servers send no dot after an empty list, so that its end is not waited for.
            return Ok(Listing::default());
        }
        let sizes = self.read_list(connection, Command::List, expected, reply::list_line)?;
        let uids = if self.uidl {
            self.read_list(connection, Command::Uidl, expected, reply::uidl_line)?
        } else {
            Ok(ListedLines::default())
        };
        let sizes = sizes.map_err(|refusal| {
            let peer = &connection.peer;
            refused(
                peer,
                &refusal,
                format!("{peer} refused to list the messages"),
            )
        })?;
        let (uids, uidl_refused) = match uids {
            Ok(uids) => (uids, None),
            Err(refusal) => (ListedLines::default(), Some(refusal)),
        };
        let listing = Listing {
            expected,
            unparsed: sizes.unparsed.or(uids.unparsed),
            uidl_refused,
            ..join(sizes.lines, uids.lines)
        };
        if self.uidl && listing.uidl_refused.is_none() && !listing.agrees {
            // the difference may also be that of a lost or repeated response
            connection.check_in_sync()?;
        }
        Ok(listing)
    }

    /// Reads the response to LIST or UIDL, after sending the command unless it is pipelined.
    /// Returns the lines that `parse` accepts, and the first that it does not.
    fn read_list<S: Read + Write, T>(
        self,
        connection: &mut Connection<S>,
        command: Command<'_>,
        expected: u32,
        parse: impl Fn(&[u8]) -> Option<(MsgNum, T)>,
    ) -> Result<std::result::Result<ListedLines<T>, Refusal>> {
        if !self.pipelined {
            connection.queue(command)?;
            connection.flush()?;
        }
        if let Err(refusal) = connection.status()? {
            return Ok(Err(refusal));
        }
        let mut budget = MAX_LISTING.min((expected as usize + 64) * MAX_LISTING_LINE);
        let (mut lines, mut unparsed) = (Vec::new(), None);
        while let Some(line) = connection.list_line(&mut budget)? {
            match parse(line) {
                Some(parsed) => lines.push(parsed),
                None if unparsed.is_none() => unparsed = Some(line.to_vec()),
                None => {}
            }
        }
        Ok(Ok(ListedLines { lines, unparsed }))
    }
}

/// Reads the response to STAT. Returns the number of messages.
fn stat<S: Read + Write>(connection: &mut Connection<S>) -> Result<u32> {
    let status = connection.status()?;
    let peer = &connection.peer;
    match status {
        Ok(text) => match reply::stat(&text) {
            Some((count, size)) => {
                if size.is_none() {
                    connection.expect_stat_without_size();
                }
                Ok(count)
            }
            None => Err(connection.unexpected(&[b"+OK ", &text[..]].concat())),
        },
        Err(refusal) => Err(refused(
            peer,
            &refusal,
            format!("{peer} cannot open the mailbox"),
        )),
    }
}

/// Returns the error for a refused STAT or LIST, which `what` describes unless the refusal is about
/// the account.
fn refused(peer: &str, refusal: &Refusal, what: String) -> Error {
    access_refused(peer, refusal).unwrap_or_else(|| {
        let kind = if refusal.sounds_transient() {
            Kind::Busy
        } else {
            Kind::Unavailable
        };
        Error::new(kind, what).with_fact(quoted(peer, refusal))
    })
}

/// Joins sizes and UIDs by message number. If a number is listed twice, the first line counts. A
/// message that has a UID but no size is listed with size 0.
fn join(sizes: Vec<(MsgNum, Option<u64>)>, uids: Vec<(MsgNum, Uid)>) -> Listing {
    let lacks_sizes = sizes.iter().any(|(_, size)| size.is_none());
    let mut sizes: Vec<_> = sizes
        .into_iter()
        .map(|(num, size)| (num, size.unwrap_or(0)))
        .collect();
    sizes.sort_by_key(|(num, _)| *num);
    sizes.dedup_by_key(|(num, _)| *num);
    let mut uids = uids;
    uids.sort_by_key(|(num, _)| *num);
    uids.dedup_by_key(|(num, _)| *num);
    let has_uid = |num: &MsgNum| uids.binary_search_by_key(num, |(num, _)| *num).is_ok();
    let nameless: Vec<_> = sizes
        .iter()
        .filter(|(num, _)| !has_uid(num))
        .copied()
        .collect();
    let agrees = nameless.is_empty() && sizes.len() == uids.len();
    let messages = uids
        .into_iter()
        .map(|(num, uid)| Listed {
            octets: sizes
                .binary_search_by_key(&num, |(num, _)| *num)
                .map_or(0, |at| sizes[at].1),
            num,
            uid,
        })
        .collect();
    Listing {
        messages,
        nameless,
        lacks_sizes,
        agrees,
        ..Listing::default()
    }
}
