//! Mailboxes generated from a fixed seed, and the verification of what clients delivered.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// The first field of each generated message; clients may add fields before it.
const MARK: &str = "X-Bench-Message: ";

const WORDS: [&str; 16] = [
    "the", "of", "invoice", "and", "meeting", "schedule", "for", "a", "patch", "that", "review",
    "is", "order", "we", "have", "received",
];

/// Content that careless clients damage: dots, "From ", raw 8-bit text, trailing spaces and lines.
const HAZARDS: &[u8] = b".\n..\n.hidden\nFrom a line\nGr\xc3\xbc\xc3\x9fe, se\xf1or\ntrailing   \n\
      +OK no answer\n-ERR neither\n\n\n";

/// A distribution of message sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// About 1 KB.
    Tiny,
    /// About 4 KB.
    Small,
    /// Half of them below 15 KB, some of 1 to 5 MB; 1,000 messages take about 100 MB.
    Mixed,
    /// 50 MB.
    Huge,
}

/// A mailbox on the server.
#[derive(Debug)]
pub struct Mailbox {
    pub user: String,
    pub bytes: usize,
    sizes: Sizes,
    maildir: PathBuf,
    hashes: Vec<[u8; 32]>,
}

impl Mailbox {
    /// Creates the Maildir `maildir` of `user` with `count` messages, all seen.
    pub fn make(
        maildir: PathBuf,
        user: &str,
        sizes: Sizes,
        count: usize,
        owner: u32,
    ) -> Result<Self> {
        for dir in ["cur", "new", "tmp"].map(|name| maildir.join(name)) {
            fs::create_dir_all(&dir)?;
            chown(dir, Some(owner), Some(owner))?;
        }
        for dir in maildir.ancestors().take(2) {
            chown(dir, Some(owner), Some(owner))?;
        }
        let mut mailbox = Self {
            user: user.to_owned(),
            bytes: 0,
            sizes,
            maildir,
            hashes: Vec::new(),
        };
        for _ in 0..count {
            mailbox.add()?;
        }
        Ok(mailbox)
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Adds one message.
    pub fn add(&mut self) -> io::Result<()> {
        let n = self.len();
        let message = message(self.sizes, n);
        let wide = message.len() + memchr::memchr_iter(b'\n', &message).count();
        // With the sizes in the name the server can list the message without reading it.
        let name = format!(
            "{}.M{n}P1.bench,S={},W={wide}:2,S",
            1_700_000_000 + n,
            message.len()
        );
        fs::write(self.maildir.join("cur").join(name), &message)?;
        self.hashes.push(Sha256::digest(&message).into());
        self.bytes += message.len();
        Ok(())
    }

    /// Checks that a Maildir has each message from number `first` on exactly once, and no others.
    ///
    /// Added fields before the first one and other line endings are allowed.
    pub fn verify(&self, maildir: &Path, first: usize) -> Result<()> {
        let mut missing: Vec<bool> = (0..self.len()).map(|n| n >= first).collect();
        for entry in fs::read_dir(maildir.join("new"))?.chain(fs::read_dir(maildir.join("cur"))?) {
            let path = entry?.path();
            let mut message = fs::read(&path)?;
            if memchr::memmem::find(&message, b"\r\n").is_some() {
                message = without_returns(&message);
            }
            let n = number(&message)
                .with_context(|| format!("{} is not a generated message", path.display()))?;
            let (start, n) = n;
            let hash: [u8; 32] = Sha256::digest(&message[start..]).into();
            if self.hashes.get(n) != Some(&hash) {
                bail!("message {n} was changed: {}", path.display());
            }
            if !std::mem::take(&mut missing[n]) {
                bail!(
                    "message {n} was delivered before or twice: {}",
                    path.display()
                );
            }
        }
        match missing.iter().filter(|missing| **missing).count() {
            0 => Ok(()),
            n => bail!("{n} messages did not arrive"),
        }
    }
}

fn without_returns(message: &[u8]) -> Vec<u8> {
    let returns = |n: usize| message[n] == b'\r' && message.get(n + 1) == Some(&b'\n');
    (0..message.len())
        .filter(|n| !returns(*n))
        .map(|n| message[n])
        .collect()
}

/// Returns the offset of the original message, and its number.
fn number(message: &[u8]) -> Option<(usize, usize)> {
    let start = memchr::memmem::find(message, MARK.as_bytes())?;
    let digits = message[start + MARK.len()..]
        .split(|byte| *byte == b'\n')
        .next()?;
    Some((start, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

fn message(sizes: Sizes, n: usize) -> Vec<u8> {
    let mut random = Random(((sizes as u64) << 32) + n as u64);
    let size = size(sizes, n, &mut random);
    let mut head = format!("{MARK}{n}\n");
    for hop in 0..3 {
        let id = random.next();
        let _ = write!(
            head,
            "Received: from mx{hop}.example.org (mx{hop}.example.org [192.0.2.{hop}])\n\
             \tby mail{hop}.example.net (Postfix) with ESMTPS id {id:016X}\n\
             \tfor <bench@localhost>; Tue, 14 Nov 2023 22:13:20 +0000\n"
        );
    }
    let _ = write!(
        head,
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: Ann <ann@example.org>\nTo: bench@localhost\n\
         Subject: {} {}\nMessage-ID: <{:016x}@example.org>\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n",
        random.pick(&WORDS),
        random.pick(&WORDS),
        random.next()
    );
    let mut message = head.into_bytes();
    message.extend_from_slice(HAZARDS);
    let prose = message.len() + size.saturating_sub(message.len()).min(4000) / 2;
    while message.len() < prose {
        for _ in 0..12 {
            message.extend_from_slice(random.pick(&WORDS).as_bytes());
            message.push(b' ');
        }
        message.push(b'\n');
    }
    while message.len() < size {
        let raw: Vec<u8> = std::iter::repeat_with(|| random.next().to_le_bytes())
            .take(7)
            .flatten()
            .collect();
        message.extend_from_slice(STANDARD.encode(raw).as_bytes());
        message.push(b'\n');
    }
    message
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive size that fits"
)]
fn size(sizes: Sizes, n: usize, random: &mut Random) -> usize {
    match sizes {
        Sizes::Tiny => 1000,
        Sizes::Small => 3500 + (random.fraction() * 1000.0) as usize,
        Sizes::Huge => 50_000_000,
        Sizes::Mixed if n % 33 == 17 => (1e6 * 5f64.powf(random.fraction())) as usize,
        Sizes::Mixed => {
            let normal = (0..12).map(|_| random.fraction()).sum::<f64>() - 6.0;
            (14_500.0 * (1.2 * normal).exp()).clamp(1800.0, 900_000.0) as usize
        }
    }
}

/// The random number generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    fn pick<'w>(&mut self, words: &[&'w str; 16]) -> &'w str {
        words[usize::try_from(self.next() % 16).unwrap_or(0)]
    }
}
