//! The state files of other programs: which messages they have fetched.
//!
//! Only messages that were delivered are returned. A message of which only the header was fetched,
//! or that was set aside, is new for pouch.

use std::collections::{HashMap, HashSet};

use super::{ini::Ini, program::Program};
use crate::domain::{seen::Seen, time::Timestamp};

/// The seen messages of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The user, if the file names one.
    pub user: Option<String>,
    /// The host, if the file names one. It may be an alias.
    pub host: Option<String>,
    /// The messages that were delivered.
    pub messages: Vec<Seen>,
    /// The number of messages that were not delivered completely, and stay new.
    pub unfinished: u64,
    /// The number of entries that are not UIDs of the server.
    pub derived: u64,
}

/// A state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its mailboxes.
    pub blocks: Vec<Block>,
    /// The numbers of the first lines that were not understood.
    pub odd_lines: Vec<usize>,
    /// The block of each user and host.
    index: HashMap<(Vec<u8>, Vec<u8>), usize>,
    /// The block that was begun last.
    last: usize,
}

impl State {
    fn odd(&mut self, line: usize) {
        if self.odd_lines.len() < 100 {
            self.odd_lines.push(line);
        }
    }

    /// Returns the block of a mailbox, which is created if it is missing.
    fn block(&mut self, user: &[u8], host: &[u8]) -> &mut Block {
        let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
        let key = (user.to_vec(), host.to_vec());
        let next = self.blocks.len();
        let at = *self.index.entry(key).or_insert(next);
        if at == next {
            self.blocks.push(Block {
                user: text(user),
                host: text(host),
                ..Block::default()
            });
        }
        self.last = at;
        &mut self.blocks[at]
    }

    /// Returns the block that was begun last.
    fn last(&mut self) -> Option<&mut Block> {
        self.blocks.get_mut(self.last)
    }

    /// Adds the only block of a file that names no mailbox.
    fn only(block: Block) -> Self {
        Self {
            blocks: vec![block],
            ..Self::default()
        }
    }
}

/// Reads a state file of `program`.
pub fn read(program: Program, bytes: &[u8]) -> State {
    match program {
        Program::Fetchmail => fetchmail(bytes),
        Program::Getmail => getmail(bytes),
        Program::Mpop => mpop(bytes),
        Program::Fdm => fdm(bytes),
        Program::Thunderbird => thunderbird(bytes),
        Program::Claws => claws(bytes),
        Program::Sylpheed => sylpheed(bytes),
        Program::Kmail => kmail(bytes),
        Program::Evolution => evolution(bytes),
    }
}

/// Returns the lines with their numbers, without line ends and empty ones.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n');
    (1..)
        .zip(lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)))
        .filter(|(_, line)| !line.is_empty())
}

/// Parses a time in seconds since 1970. A number below 10 is a flag.
fn seconds(text: &[u8]) -> Option<Timestamp> {
    let seconds: i64 = str::from_utf8(text).ok()?.trim().parse().ok()?;
    (seconds > 9).then_some(Timestamp(seconds))
}

/// Returns the line divided at the first byte that is `separator`.
fn divided(line: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, line)?;
    Some((&line[..at], &line[at + 1..]))
}

/// fetchmail: `USER@HOST UID`, in one file for all mailboxes. The UID is truncated to 128 bytes.
fn fetchmail(bytes: &[u8]) -> State {
    let mut state = State::default();
    for (number, line) in lines(bytes) {
        // a user name may have spaces, and a UID never has one in this file
        let parts = memchr::memrchr(b' ', line).map(|at| (&line[..at], &line[at + 1..]));
        let Some((address, uid)) = parts.filter(|(_, uid)| !uid.is_empty()) else {
            state.odd(number);
            continue;
        };
        let Some(at) = memchr::memrchr(b'@', address) else {
            state.odd(number);
            continue;
        };
        let block = state.block(&address[..at], &address[at + 1..]);
        if uid.starts_with(b"<") && uid.ends_with(b">") {
            block.derived += 1;
        } else {
            block.messages.push(Seen::truncated(uid));
        }
    }
    state
}

/// getmail: `UID NUL SECONDS`, one file for each mailbox.
fn getmail(bytes: &[u8]) -> State {
    let mut block = Block::default();
    let mut state = State::default();
    for (number, line) in lines(bytes) {
        match divided(line, 0) {
            Some((uid, time)) if !uid.is_empty() => {
                block.messages.push(Seen::new(uid, seconds(time)));
            }
            None => block.messages.push(Seen::new(line, None)),
            Some(_) => state.odd(number),
        }
    }
    state.blocks.push(block);
    state
}

/// mpop: a line ` COUNT HOST USER`, then so many UIDs, each with its time since version 1.4.23.
fn mpop(bytes: &[u8]) -> State {
    let mut state = State::default();
    let mut left = 0_u64;
    for (number, line) in lines(bytes) {
        if line.starts_with(b"#") {
            continue;
        }
        if left == 0 {
            let text = String::from_utf8_lossy(line);
            let mut words = text.trim().splitn(3, ' ');
            let count = words.next().and_then(|count| count.parse().ok());
            match (count, words.next(), words.next()) {
                (Some(count), Some(host), Some(user)) => {
                    left = count;
                    state.block(user.as_bytes(), host.as_bytes());
                }
                _ => state.odd(number),
            }
            continue;
        }
        left -= 1;
        // the time is the last word
        let space = memchr::memrchr(b' ', line);
        let timed = space.and_then(|at| Some((&line[..at], seconds(&line[at + 1..])?)));
        let (uid, at) = timed.map_or((line, None), |(uid, at)| (uid, Some(at)));
        if let Some(block) = state.last() {
            block.messages.push(Seen::new(uid, at));
        }
    }
    state
}

/// fdm: `LENGTH UID`, one file for each cache.
fn fdm(bytes: &[u8]) -> State {
    let mut block = Block::default();
    let mut state = State::default();
    for (number, line) in lines(bytes) {
        let parts = divided(line, b' ').and_then(|(length, uid)| {
            let length: usize = str::from_utf8(length).ok()?.parse().ok()?;
            (length == uid.len() && length > 0).then_some(uid)
        });
        match parts {
            Some(uid) => block.messages.push(Seen::new(uid, None)),
            None => state.odd(number),
        }
    }
    state.blocks.push(block);
    state
}

/// Thunderbird: `*HOST USER`, then `STATUS UID SECONDS`. `k` and `d` were delivered; of `b` and `f`
/// only the header was fetched.
fn thunderbird(bytes: &[u8]) -> State {
    let mut state = State::default();
    let mut is_open = false;
    for (number, line) in lines(bytes) {
        if line.starts_with(b"#") {
            continue;
        }
        if let Some(rest) = line.strip_prefix(b"*") {
            is_open = false;
            if let Some((host, user)) = divided(rest, b' ') {
                state.block(user, host);
                is_open = true;
            } else {
                state.odd(number);
            }
            continue;
        }
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (status, uid, time) = (words.next(), words.next(), words.next());
        let Some(block) = state.last().filter(|_| is_open) else {
            state.odd(number);
            continue;
        };
        match (status, uid) {
            (Some(b"k" | b"d"), Some(uid)) if !uid.is_empty() => {
                block.messages.push(Seen::new(uid, time.and_then(seconds)));
            }
            (Some(b"b" | b"f"), Some(_)) => block.unfinished += 1,
            _ => state.odd(number),
        }
    }
    state
}

/// Claws Mail: `UID TAB SECONDS TAB PARTIAL`. The time 2 means that a filter set it aside; a
/// partial message has 1, 2 or a path.
fn claws(bytes: &[u8]) -> State {
    let mut block = Block::default();
    for (_, line) in lines(bytes) {
        let mut columns = line.split(|byte| *byte == b'\t');
        let uid = columns.next().unwrap_or_default();
        let time = columns.next().unwrap_or_default();
        let partial = columns.next().unwrap_or(b"0");
        if time == b"2" || partial != b"0" {
            block.unfinished += 1;
        } else if !uid.is_empty() {
            block.messages.push(Seen::new(uid, seconds(time)));
        }
    }
    State::only(block)
}

/// Sylpheed: `UID TAB SECONDS`, or a flag instead of the time: 2 is a message that was left on the
/// server.
fn sylpheed(bytes: &[u8]) -> State {
    let mut block = Block::default();
    for (_, line) in lines(bytes) {
        let (uid, time) = divided(line, b'\t').unwrap_or((line, b""));
        if time == b"2" {
            block.unfinished += 1;
        } else if !uid.is_empty() {
            block.messages.push(Seen::new(uid, seconds(time)));
        }
    }
    State::only(block)
}

/// `KMail`: lists in the section `[LeaveOnServer]`, separated by commas.
fn kmail(bytes: &[u8]) -> State {
    let ini = Ini::parse(&String::from_utf8_lossy(bytes), false);
    let mut block = Block::default();
    if let Some(general) = ini.section("General") {
        block.user = general.text("login").map(str::to_owned);
        block.host = general.text("host").map(str::to_owned);
    }
    if let Some(section) = ini.section("LeaveOnServer") {
        let list = |key: &str| escaped_list(section.get(key).unwrap_or_default());
        let uids = list("seenUidList");
        let times = list("seenUidTimeList");
        let later: HashSet<_> = list("downloadLater").into_iter().collect();
        block.unfinished = later.len() as u64;
        let has_times = times.len() == uids.len();
        for (at, uid) in uids.into_iter().enumerate() {
            if uid.is_empty() || later.contains(&uid) {
                continue;
            }
            let time = times.get(at).filter(|_| has_times);
            let time = time.and_then(|time| seconds(time.as_bytes()));
            block.messages.push(Seen::new(uid, time));
        }
    }
    State::only(block)
}

/// Divides a list of KDE at its commas. A backslash escapes a comma, a backslash and others.
fn escaped_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut items = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, items.last_mut()) {
            (',', _) => items.push(String::new()),
            ('\\', Some(item)) => match characters.next() {
                Some('s') => item.push(' '),
                Some('t') => item.push('\t'),
                Some(other) => item.push(other),
                None => {}
            },
            (c, Some(item)) => item.push(c),
            (_, None) => {}
        }
    }
    items
}

/// Evolution: one UID in each line. Without UIDL it writes MD5 values instead.
fn evolution(bytes: &[u8]) -> State {
    let mut block = Block::default();
    for (_, line) in lines(bytes) {
        if line.len() == 24 && line.ends_with(b"==") {
            block.derived += 1;
        } else {
            block.messages.push(Seen::new(line, None));
        }
    }
    State::only(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(state: &State) -> Vec<(String, Option<i64>)> {
        let messages = state.blocks.iter().flat_map(|block| &block.messages);
        messages
            .map(|seen| {
                let uid = String::from_utf8_lossy(&seen.uid).into_owned();
                (uid, seen.at.map(|at| at.0))
            })
            .collect()
    }

    #[test]
    fn fetchmail_names_the_mailbox_in_each_line() {
        let state = fetchmail(
            b"ann@example.org@pop.example.org 0001\r\nben@pop.example.org <a@b>\n\nodd\n",
        );
        assert_eq!(state.blocks[0].user.as_deref(), Some("ann@example.org"));
        assert_eq!(state.blocks[0].host.as_deref(), Some("pop.example.org"));
        assert_eq!(uids(&state), [("0001".into(), None)]);
        assert_eq!((state.blocks[1].derived, &*state.odd_lines), (1, &[4][..]));
    }

    #[test]
    fn getmail_separates_the_time_by_nul() {
        let state = getmail(b"a=b/c\x001700000000\nold\n\0x\n");
        assert_eq!(
            uids(&state),
            [("a=b/c".into(), Some(1_700_000_000)), ("old".into(), None)]
        );
        assert_eq!(state.odd_lines, [3]);
    }

    #[test]
    fn mpop_counts_the_uids_of_a_mailbox() {
        let state = mpop(b"# x\n 2 pop.example.org ann b\nu1\nu2 1700000000\n 1 h u\nu3\njunk\n");
        assert_eq!(state.blocks[0].user.as_deref(), Some("ann b"));
        let expected = [
            ("u1".into(), None),
            ("u2".into(), Some(1_700_000_000)),
            ("u3".into(), None),
        ];
        assert_eq!(uids(&state), expected);
        assert_eq!(state.odd_lines, [7]);
    }

    #[test]
    fn messages_that_were_not_delivered_stay_new() {
        let state = thunderbird(b"# POP\n\n*h u\nk a 1700000000\nb b 1\nf c\nd d\nx\n");
        assert_eq!(
            uids(&state),
            [("a".into(), Some(1_700_000_000)), ("d".into(), None)]
        );
        assert_eq!(
            (state.blocks[0].unfinished, &*state.odd_lines),
            (2, &[8][..])
        );
        let state = claws(b"a\t1700000000\t0\nb\t2\t0\nc\t1700000000\t1\nd\ne\t1\n");
        assert_eq!(uids(&state).len(), 3);
        assert_eq!(state.blocks[0].unfinished, 2);
        let state = sylpheed(b"a\t1700000000\nb\t1\nc\t2\nd\t3\n");
        assert_eq!((uids(&state).len(), state.blocks[0].unfinished), (3, 1));
        let state = kmail(
            b"[General]\nhost=h\nlogin=u\n[LeaveOnServer]\nseenUidList=a\\,b,c,d\n\
              seenUidTimeList=1700000000,1700000001,1700000002\ndownloadLater=d\n",
        );
        assert_eq!(
            uids(&state),
            [
                ("a,b".into(), Some(1_700_000_000)),
                ("c".into(), Some(1_700_000_001))
            ]
        );
    }

    #[test]
    fn fdm_states_the_length() {
        let state = fdm(b"3 abc\n4 abc\n5 a b c\n");
        assert_eq!(uids(&state), [("abc".into(), None), ("a b c".into(), None)]);
        assert_eq!(state.odd_lines, [2]);
    }

    #[test]
    fn evolution_writes_hashes_without_uidl() {
        let state = evolution(b"u1\nAAAAAAAAAAAAAAAAAAAAAA==\n");
        assert_eq!((uids(&state).len(), state.blocks[0].derived), (1, 1));
    }
}
