//! Computes the state of a disk after a power cut: the writes of a trace except those not synced.
//!
//! The model is exactly what POSIX guarantees: `fsync` of a file makes its content durable, and
//! `fsync` of a directory makes the names in it durable. Other changes may or may not survive, in
//! any combination.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::trace::Call;

/// The fate of changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// No such change survives.
    Lost,
    /// All names and lengths survive, but no content, which reads as zeros.
    NamesOnly,
    /// Each write, complete or torn, and each name survives at random, the same for the same seed.
    ByChance(u64),
}

/// All changes to the files below a directory.
#[derive(Debug, Default)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// The current file or directory of each path.
    places: HashMap<PathBuf, usize>,
    /// Open files without a name, by descriptor.
    nameless: HashMap<i64, usize>,
}

/// A file or a directory.
#[derive(Debug, Default)]
struct Node {
    is_folder: bool,
    /// Changes with the same time happen atomically: a rename removes one name and adds another.
    changes: Vec<Change>,
    /// The times at which syncs of it began and ended.
    syncs: Vec<(usize, usize)>,
    length: usize,
}

#[derive(Debug)]
struct Change {
    at: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Write(usize, Vec<u8>),
    Truncate(usize),
    /// From now on, a name in this directory refers to this node, or does not exist.
    Name(String, Option<usize>),
}

impl Disk {
    /// Computes the changes by `calls` below `root`, an existing directory.
    pub fn replay(root: &Path, calls: &[Call]) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        disk.nodes.push(Node {
            is_folder: true,
            ..Node::default()
        });
        disk.places.insert(root.to_owned(), 0);
        for call in calls.iter().filter(|call| call.result >= 0) {
            disk.apply(call);
        }
        disk
    }

    fn apply(&mut self, call: &Call) {
        let strings = call.strings();
        let path = |n: usize| {
            strings
                .get(n)
                .map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()))
        };
        let open_file = call.files().first().map(PathBuf::from);
        match call.name.as_str() {
            "open" | "openat" => {
                let path = path(0).unwrap();
                if call.says("O_TMPFILE") && path.starts_with(&self.root) {
                    let node = self.node(false);
                    self.nameless.insert(call.result, node);
                    self.places
                        .insert(PathBuf::from(call.opened.as_ref().unwrap()), node);
                }
                if call.says("O_CREAT") {
                    self.make(&path, false, call.began);
                }
                if call.says("O_TRUNC") {
                    self.change(&path, call.began, What::Truncate(0));
                }
            }
            "mkdir" => self.make(&path(0).unwrap(), true, call.began),
            "write" | "pwrite64" => {
                let Some(node) = open_file.and_then(|path| self.places.get(&path).copied()) else {
                    return;
                };
                let length = usize::try_from(call.result).unwrap();
                // pouch writes its files sequentially; only SQLite writes at offsets.
                let at = if call.name == "write" {
                    self.nodes[node].length
                } else {
                    *call.numbers().last().unwrap()
                };
                self.nodes[node].length = self.nodes[node].length.max(at + length);
                let what = What::Write(at, strings[0][..length].to_vec());
                self.nodes[node].changes.push(Change {
                    at: call.began,
                    what,
                });
            }
            "ftruncate" => {
                let length = *call.numbers().last().unwrap();
                self.change(&open_file.unwrap(), call.began, What::Truncate(length));
            }
            "renameat2" | "rename" => {
                let (from, to) = (path(0).unwrap(), path(1).unwrap());
                let Some(node) = self.places.remove(&from) else {
                    return;
                };
                self.name(&from, None, call.began);
                self.name(&to, Some(node), call.began);
                self.places.insert(to, node);
            }
            "linkat" => {
                let (from, to) = (path(0).unwrap(), path(1).unwrap());
                let descriptor = from.file_name().unwrap().to_str().unwrap().parse().unwrap();
                let node = self.nameless[&descriptor];
                self.name(&to, Some(node), call.began);
                self.places.insert(to, node);
            }
            "unlink" => {
                let path = path(0).unwrap();
                if self.places.remove(&path).is_some() {
                    self.name(&path, None, call.began);
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = open_file.and_then(|path| self.places.get(&path).copied()) {
                    self.nodes[node].syncs.push((call.began, call.ended));
                }
            }
            _ => {}
        }
    }

    fn make(&mut self, path: &Path, is_folder: bool, at: usize) {
        if !path.starts_with(&self.root) || self.places.contains_key(path) {
            return;
        }
        let node = self.node(is_folder);
        self.places.insert(path.to_owned(), node);
        self.name(path, Some(node), at);
    }

    fn node(&mut self, is_folder: bool) -> usize {
        self.nodes.push(Node {
            is_folder,
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    fn name(&mut self, path: &Path, node: Option<usize>, at: usize) {
        let Some(folder) = path.parent().and_then(|parent| self.places.get(parent)) else {
            return;
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        self.nodes[*folder].changes.push(Change {
            at,
            what: What::Name(name, node),
        });
    }

    fn change(&mut self, path: &Path, at: usize, what: What) {
        if let Some(node) = self.places.get(path) {
            let node = &mut self.nodes[*node];
            if let What::Truncate(length) = what {
                node.length = length;
            }
            node.changes.push(Change { at, what });
        }
    }

    /// Writes the surviving state to `to`, for a power cut just before line `cut` of the trace.
    pub fn after_power_cut(&self, cut: usize, unsynced: Unsynced, to: &Path) {
        self.restore(0, cut, unsynced, to);
    }

    fn restore(&self, node: usize, cut: usize, unsynced: Unsynced, to: &Path) {
        let node = &self.nodes[node];
        let past = node.changes.iter().filter(|change| change.at < cut);
        let synced = |node: &Node, change: &Change| {
            node.syncs
                .iter()
                .any(|(began, ended)| *began > change.at && *ended < cut)
                && node.changes.iter().any(|other| other.at == change.at)
        };
        let safe = |change: &Change| match change.what {
            What::Name(..) => self.nodes.iter().any(|node| synced(node, change)),
            _ => synced(node, change),
        };
        if !node.is_folder {
            let mut content = Vec::new();
            for change in past {
                apply_to(&mut content, change, safe(change), unsynced);
            }
            fs::write(to, content).unwrap();
            return;
        }
        let mut names: HashMap<&str, usize> = HashMap::new();
        for change in past {
            let survives = safe(change)
                || match unsynced {
                    Unsynced::Lost => false,
                    Unsynced::NamesOnly => true,
                    Unsynced::ByChance(seed) => chance(seed, change.at).is_multiple_of(2),
                };
            match &change.what {
                What::Name(name, Some(node)) if survives => drop(names.insert(name, *node)),
                What::Name(name, None) if survives => drop(names.remove(name.as_str())),
                _ => {}
            }
        }
        fs::create_dir_all(to).unwrap();
        for (name, node) in names {
            self.restore(node, cut, unsynced, &to.join(name));
        }
    }
}

/// Applies the surviving part of a change to the content of a file.
fn apply_to(content: &mut Vec<u8>, change: &Change, safe: bool, unsynced: Unsynced) {
    let chance = match unsynced {
        Unsynced::ByChance(seed) => chance(seed, change.at) % 4,
        _ => 0,
    };
    match &change.what {
        What::Truncate(length) if safe || unsynced == Unsynced::NamesOnly || chance > 1 => {
            content.resize(*length, 0);
        }
        What::Write(at, octets) => {
            let end = match unsynced {
                _ if safe => octets.len(),
                Unsynced::Lost => return,
                Unsynced::NamesOnly => octets.len(),
                Unsynced::ByChance(_) => match chance {
                    0 | 1 => return,
                    2 => octets.len() / 2,
                    _ => octets.len(),
                },
            };
            if content.len() < at + end {
                content.resize(at + end, 0);
            }
            let place = &mut content[*at..at + end];
            if unsynced == Unsynced::NamesOnly && !safe {
                place.fill(0);
            } else {
                place.copy_from_slice(&octets[..end]);
            }
        }
        _ => {}
    }
}

/// Returns a pseudorandom number for a change, the same for the same seed (the finalizer of
/// splitmix64).
fn chance(seed: u64, change: usize) -> u64 {
    let mut z = seed
        .wrapping_add(change as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
