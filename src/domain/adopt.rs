//! Matching messages on the server with files that another program has delivered.
//!
//! A matched message is not fetched, and `keep` may delete it from the server later. So a file must
//! match only if it is certainly the complete message, while a missed match costs no more than a
//! second copy.
//!
//! # Headers
//!
//! Fetchers and delivery agents add fields (Received, Delivered-To, X-…), refold lines, convert
//! line ends and write an mbox separator (`From ann@…`) before the header. The [`fingerprint`]
//! ignores all of that. Without a Message-ID, however, it includes the Received fields, and some
//! programs re-encode words in a header. So there is a second, [loose](MessageKey::loose) key of
//! decoded fields, which is sufficient only if the bodies have the same size.
//!
//! # Sizes
//!
//! Programs change the header, and hardly ever the body. The size of the body on the server is the
//! listed size without the header that TOP returned. A file with a smaller body is truncated, or
//! only the header was fetched, and is no match. A larger one is: a mailing list or a virus scanner
//! appends to it. A final line end does not count, since some programs add or remove one.
//!
//! # Several of a kind
//!
//! Each file matches at most one message. If the server has more copies of a message than there are
//! files, the others are fetched. If these messages have no Message-ID, they may be different ones
//! (mail from cron in the same second), so none of them is matched. Of several files for one
//! message, one of the same size is preferred.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::message::{Fingerprint, Header, fingerprint, without_mbox_line};

/// The size by which bodies may differ: that of a line end, in bytes.
const LINE_END: u64 = 2;

/// What identifies a message by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// The fingerprint.
    pub exact: Fingerprint,
    /// A hash over the decoded fields that no program changes. `None` if there are too few.
    pub loose: Option<Fingerprint>,
    /// Whether it has a Message-ID.
    pub is_named: bool,
}

impl MessageKey {
    /// Returns the key of `head`, a header with LF line ends. Returns `None` if it has none of the
    /// fields.
    pub fn of(head: &[u8]) -> Option<Self> {
        let exact = fingerprint(head)?;
        let header = Header::read(without_mbox_line(head));
        let id = header.texts("Message-ID").into_iter().next();
        let id = id.filter(|id| !id.is_empty());
        let unnamed = || {
            let from = header.addresses("From").into_iter().flatten().next()?;
            let subject = header.texts("Subject").into_iter().next()?;
            let words: Vec<_> = subject.split_whitespace().collect();
            Some(vec!["no id".to_owned(), from, words.join(" ")])
        };
        let named = |id: &String| Some(vec!["id".to_owned(), id.clone()]);
        let parts = header.date().and_then(|date| {
            let mut parts = id.as_ref().map_or_else(unnamed, named)?;
            parts.push(date.0.to_string());
            Some(parts)
        });
        Some(Self {
            exact,
            loose: parts.map(|parts| hash(&parts)),
            is_named: id.is_some(),
        })
    }
}

/// Returns a hash over texts.
fn hash(parts: &[String]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.to_lowercase());
        hash.update(b"\n");
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    Fingerprint(short)
}

/// A message on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What identifies it.
    pub key: MessageKey,
    /// The size of its body with CRLF line ends, in bytes. `None` if its header is too long to be
    /// known as a whole.
    pub body: Option<u64>,
}

/// A file that may be one of the wanted messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name without flags.
    pub name: String,
    /// What identifies it.
    pub key: MessageKey,
    /// The size of its body with CRLF line ends, in bytes.
    pub body: u64,
}

/// The result of matching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Pairs of a wanted message and a file, by index.
    pub pairs: Vec<(usize, usize)>,
    /// The number of wanted messages for which there are only smaller files.
    pub smaller: u64,
    /// The number of wanted messages that cannot be distinguished.
    pub ambiguous: u64,
}

/// The wanted messages, and the files that may be one of them.
#[derive(Debug, Default)]
pub struct Matcher {
    wanted: Vec<Wanted>,
    exact: HashMap<Fingerprint, Group>,
    loose: HashMap<Fingerprint, Group>,
    files: Vec<StoredFile>,
}

/// Messages and files with the same key, by index.
#[derive(Debug, Default)]
struct Group {
    wanted: Vec<usize>,
    files: Vec<usize>,
}

impl Matcher {
    /// Creates a matcher for the messages of the server.
    pub fn new(wanted: Vec<Wanted>) -> Self {
        let mut matcher = Self::default();
        for (index, one) in wanted.iter().enumerate() {
            let group = matcher.exact.entry(one.key.exact).or_default();
            group.wanted.push(index);
            if let Some(loose) = one.key.loose {
                matcher.loose.entry(loose).or_default().wanted.push(index);
            }
        }
        matcher.wanted = wanted;
        matcher
    }

    /// Returns whether a file with this key may be one of the messages.
    pub fn may_match(&self, key: &MessageKey) -> bool {
        let is_loose = |loose| self.loose.contains_key(&loose);
        self.exact.contains_key(&key.exact) || key.loose.is_some_and(is_loose)
    }

    /// Adds a file that may be one of the messages.
    pub fn add(&mut self, file: StoredFile) {
        let index = self.files.len();
        if let Some(group) = self.exact.get_mut(&file.key.exact) {
            group.files.push(index);
        }
        if let Some(group) = file.key.loose.and_then(|loose| self.loose.get_mut(&loose)) {
            group.files.push(index);
        }
        self.files.push(file);
    }

    /// Matches messages and files. With `any_size`, smaller bodies match as well: the server lists
    /// sizes that are too large.
    pub fn finish(self, any_size: bool) -> (Matches, Vec<StoredFile>) {
        let mut pairing = Pairing {
            wanted: &self.wanted,
            files: &self.files,
            any_size,
            file_of: vec![None; self.wanted.len()],
            is_used: vec![false; self.files.len()],
        };
        // in a fixed order, so that a second call has the same result
        let sorted = |groups: HashMap<Fingerprint, Group>| {
            let mut groups: Vec<_> = groups.into_values().collect();
            groups.retain(|group| !group.files.is_empty());
            groups.sort_unstable_by_key(|group| group.wanted.first().copied());
            groups
        };
        let (exact, loose) = (sorted(self.exact), sorted(self.loose));
        for group in &exact {
            pairing.pair(group, true);
        }
        for group in &loose {
            pairing.pair(group, false);
        }
        let mut matches = Matches::default();
        for group in &exact {
            let open = group.wanted.iter();
            let open = open.filter(|index| pairing.file_of[**index].is_none());
            let left = group.files.iter().any(|file| !pairing.is_used[*file]);
            match (left, open.count() as u64) {
                (true, open) if pairing.is_ambiguous(group) => matches.ambiguous += open,
                (true, open) => matches.smaller += open,
                (false, _) => {}
            }
        }
        let pairs = pairing.file_of.iter().enumerate();
        matches.pairs = pairs
            .filter_map(|(index, file)| Some((index, (*file)?)))
            .collect();
        (matches, self.files)
    }
}

/// Messages and files, while they are paired.
struct Pairing<'a> {
    wanted: &'a [Wanted],
    files: &'a [StoredFile],
    any_size: bool,
    file_of: Vec<Option<usize>>,
    is_used: Vec<bool>,
}

impl Pairing<'_> {
    /// Returns whether the messages of a group cannot be distinguished.
    fn is_ambiguous(&self, group: &Group) -> bool {
        let is_named = |index: &usize| self.wanted[*index].key.is_named;
        !group.wanted.iter().all(is_named) && group.wanted.len() > group.files.len()
    }

    /// Pairs the messages of a group with its files: first those of the same size, and if the
    /// header `is_same` those with a larger file.
    fn pair(&mut self, group: &Group, is_same: bool) {
        if self.is_ambiguous(group) {
            return;
        }
        self.pair_if(group, |wanted, file, _| {
            wanted.is_some_and(|wanted| wanted.abs_diff(file) <= LINE_END)
        });
        if is_same {
            self.pair_if(group, |wanted, file, any_size| {
                any_size || wanted.is_some_and(|wanted| file + LINE_END >= wanted)
            });
        }
    }

    /// Pairs each message that has no file yet with a file of which `fits` is true. It gets the
    /// sizes of both bodies.
    fn pair_if(&mut self, group: &Group, fits: impl Fn(Option<u64>, u64, bool) -> bool) {
        for index in &group.wanted {
            if self.file_of[*index].is_some() {
                continue;
            }
            let body = self.wanted[*index].body;
            let file = group.files.iter().copied().find(|file| {
                !self.is_used[*file] && fits(body, self.files[*file].body, self.any_size)
            });
            if let Some(file) = file {
                self.is_used[file] = true;
                self.file_of[*index] = Some(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Vec<u8> {
        format!("{fields}Date: Mon, 23 Nov 2026 01:00:00 +0000\n\n").into_bytes()
    }

    fn key(fields: &str) -> MessageKey {
        MessageKey::of(&head(fields)).unwrap()
    }

    /// Matches messages and files, each given by its fields and the size of its body.
    fn matched(wanted: &[(&str, u64)], files: &[(&str, u64)]) -> (Vec<(usize, usize)>, u64, u64) {
        let wanted = wanted.iter().map(|(fields, body)| Wanted {
            key: key(fields),
            body: Some(*body),
        });
        let mut matcher = Matcher::new(wanted.collect());
        for (fields, body) in files {
            let key = key(fields);
            if matcher.may_match(&key) {
                matcher.add(StoredFile {
                    name: String::new(),
                    key,
                    body: *body,
                });
            }
        }
        let (matches, _) = matcher.finish(false);
        (matches.pairs, matches.smaller, matches.ambiguous)
    }

    const ONE: &str = "Message-ID: <1@example.org>\nFrom: ann@example.org\nSubject: One\n";
    const TWO: &str = "Message-ID: <2@example.org>\nFrom: ann@example.org\nSubject: Two\n";
    const CRON: &str = "From: Cron <root@example.org>\nSubject: Cron backup\n";

    #[test]
    fn added_fields_and_a_line_of_mbox_do_not_matter() {
        let added = format!(
            "From ann@example.org Mon Nov 23 01:00:00 2026\nX-Spam: no\nReceived: by b\n{ONE}"
        );
        assert_eq!(matched(&[(ONE, 99)], &[(&added, 99)]).0, [(0, 0)]);
        let received = format!("Received: by fetchmail for ann; today\n{CRON}");
        assert_eq!(matched(&[(CRON, 99)], &[(&received, 99)]).0, [(0, 0)]);
        // the headers are not the same, so that the size has to be
        assert_eq!(matched(&[(CRON, 99)], &[(&received, 200)]).0, []);
    }

    #[test]
    fn words_that_were_encoded_anew_match_with_the_same_size() {
        let raw = "Message-ID: <3@example.org>\nFrom: J <j@example.org>\nSubject: Grüße\n";
        let encoded = "Message-ID: <3@example.org>\nFrom: \"J\" <j@example.org>\n\
                       Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n";
        assert_eq!(matched(&[(raw, 50)], &[(encoded, 52)]).0, [(0, 0)]);
        assert_eq!(matched(&[(raw, 50)], &[(encoded, 53)]).0, []);
    }

    #[test]
    fn smaller_file_is_no_match() {
        assert_eq!(matched(&[(ONE, 99)], &[(ONE, 0)]), (vec![], 1, 0));
        assert_eq!(matched(&[(ONE, 99)], &[(ONE, 96)]), (vec![], 1, 0));
        assert_eq!(matched(&[(ONE, 99)], &[(ONE, 97)]).0, [(0, 0)]);
        assert_eq!(matched(&[(ONE, 99)], &[(ONE, 500)]).0, [(0, 0)]);
        assert_eq!(matched(&[(ONE, 99)], &[(ONE, 5), (ONE, 99)]).0, [(0, 1)]);
        assert_eq!(matched(&[(ONE, 99)], &[(TWO, 99)]), (vec![], 0, 0));
    }

    #[test]
    fn each_file_is_one_message() {
        let copies = [(ONE, 99), (ONE, 99)];
        assert_eq!(matched(&copies, &[(ONE, 99)]), (vec![(0, 0)], 0, 0));
        assert_eq!(matched(&[(ONE, 99)], &copies).0, [(0, 0)]);
        // by size first
        let sizes = [(ONE, 10), (ONE, 99)];
        assert_eq!(matched(&sizes, &[(ONE, 99)]).0, [(1, 0)]);
        // mail from cron in the same second
        let same = [(CRON, 99), (CRON, 99)];
        assert_eq!(matched(&same, &same[..1]), (vec![], 0, 2));
        assert_eq!(matched(&same, &same).0, [(0, 0), (1, 1)]);
    }
}
