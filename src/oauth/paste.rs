//! Reading a pasted address from the terminal.
//!
//! A terminal in canonical mode cuts a line after 4095 bytes, and the addresses at which some
//! providers end are longer. So canonical mode is off while pouch waits.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// A terminal, whose mode is restored when this is dropped.
pub(super) struct Paste {
    input: OwnedFd,
    original: Termios,
    line: Vec<u8>,
    is_closed: bool,
}

impl Paste {
    /// Turns canonical mode off. Returns `None` if `input` is not a terminal.
    pub(super) fn new(input: OwnedFd) -> Option<Self> {
        let original = tcgetattr(&input).ok()?;
        let mut mode = original.clone();
        mode.local_modes.remove(LocalModes::ICANON);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &mode).ok()?;
        Some(Self {
            input,
            original,
            line: Vec::new(),
            is_closed: false,
        })
    }

    /// Returns the file to wait for before [`read`](Self::read), or `None` at the end of input.
    pub(super) fn file(&self) -> Option<PollFd<'_>> {
        (!self.is_closed).then(|| PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::IN))
    }

    /// Reads what has arrived. Returns a line if it is complete.
    pub(super) fn read(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.input, &mut buffer[..]) {
            Ok(0) => self.is_closed = true,
            Ok(bytes) => return self.add(&buffer[..bytes]),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => self.is_closed = true,
        }
        None
    }

    /// Adds bytes to the line. Returns it if they complete it.
    fn add(&mut self, bytes: &[u8]) -> Option<String> {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    let line = String::from_utf8_lossy(&line).trim().to_owned();
                    if !line.is_empty() {
                        return Some(line);
                    }
                }
                // backspace
                0x08 | 0x7f => drop(self.line.pop()),
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
        None
    }
}

impl Drop for Paste {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.original);
    }
}
