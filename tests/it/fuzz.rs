//! Runs the fuzz targets (`tests/fuzz`) for a short time: with their corpora, which have sessions
//! of real servers, and with a few thousand mutations that are the same in each run.

mod targets;

use std::{fs, path::Path};

use pouch::config::sample::sample;

/// The number of mutations for each target.
const ROUNDS: usize = 3_000;

/// Fragments that are special in POP3, mail, the config, XML or DNS.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b".\r\n",
    b"\r\n.\r\n",
    b"+OK",
    b"-ERR",
    b"-ERR [IN-USE]",
    b"+ ",
    b"0",
    b"1 ",
    b"4294967296",
    b"18446744073709551616",
    b"\0",
    b"\xff",
    b"\x1b[2J",
    b"=?utf-8?q?=1B?=",
    b"[account.x]\n",
    b"\"",
    b"host = ",
    b"<hostname>",
    b"</username>",
    b"&#10;",
    b"\xc0\x0c",
];

/// A generator of pseudorandom numbers, the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    /// Returns a short random range in `data`.
    fn range(&mut self, data: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(data.len() + 1);
        from..(from + self.below(40)).min(data.len())
    }

    fn mutate(&mut self, data: &mut Vec<u8>, other: &[u8]) {
        let range = self.range(data);
        match self.below(6) {
            0 if !data.is_empty() => {
                let at = self.below(data.len());
                data[at] ^= 1 << self.below(8);
            }
            1 => drop(data.drain(range)),
            2 => drop(data.splice(range, WORDS[self.below(WORDS.len())].iter().copied())),
            3 => {
                let piece = data[range.clone()].to_vec();
                data.splice(range.end..range.end, piece.repeat(1 + self.below(50)));
            }
            4 => data.truncate(range.end),
            _ => {
                let piece = self.range(other);
                data.splice(range, other[piece].iter().copied());
            }
        }
    }
}

/// Returns the seeds of a target. The sample config is generated, so that it is never out of date.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| fs::read(file).unwrap())
        .chain((name == "config").then(|| sample().into_bytes()))
        .collect()
}

cases! { properties_hold_for_mutated_input:
    autoconfig("autoconfig"),
    body("body"),
    config("config"),
    dns("dns"),
    header("header"),
    import("import"),
    reply("reply"),
    session("session"),
}

fn properties_hold_for_mutated_input(name: &str) {
    let (_, target) = targets::ALL.iter().find(|(own, _)| *own == name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() >= 3);
    target(b"");
    for data in &corpus {
        target(data);
    }
    let mut dice = Dice(0x706f_7563_6800 + name.len() as u64);
    for _ in 0..ROUNDS {
        let mut data = corpus[dice.below(corpus.len())].clone();
        let other = &corpus[dice.below(corpus.len())];
        for _ in 0..=dice.below(5) {
            dice.mutate(&mut data, other);
        }
        // The input, for the message of a failure.
        let shown = data.escape_ascii().to_string();
        let held = std::panic::catch_unwind(|| target(&data));
        assert!(held.is_ok(), "it fails for b\"{shown}\"");
    }
}

#[test]
fn every_target_is_run() {
    let names: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "reply",
            "body",
            "session",
            "config",
            "header",
            "import",
            "autoconfig",
            "dns"
        ]
    );
}

/// A recorded session of each real server is parsed completely.
#[test]
fn recorded_sessions_are_valid() {
    for name in [
        "courier-user",
        "cyrus-user",
        "dovecot-user",
        "mailfront-user",
        "popa3d-user",
        "solidpop-user",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus/session")
            .join(name);
        assert_eq!(targets::talk(&fs::read(path).unwrap()), Ok(()), "{name}");
    }
}
