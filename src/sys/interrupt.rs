//! Signals that stop pouch, and the function through which all of pouch waits.
//!
//! The first SIGINT, SIGTERM or SIGHUP requests an orderly end; the second ends the process at
//! once. All waiting (for a socket, a program, or the next round of `--every`) is done by
//! [`Interrupt::wait`], which also polls a pipe that the signal handler writes to. So a signal ends
//! every wait immediately, and no code has to check for signals periodically.
//!
//! Some work is not a wait and may take long: writing a large message to a slow disk, a lock of the
//! database. If the orderly end takes longer than [`TIME_TO_END`], a thread ends the process. What
//! that leaves is the same as after a power failure, from which the next run recovers. The only
//! exception is work after which there is no such recovery, and which has a time limit of its own
//! ([`Interrupt::hold`]): the renewal of a token that is valid once. Making every step
//! interruptible was rejected: one would be forgotten, and a system call cannot be interrupted for
//! all threads.

use std::{
    io::{self, PipeReader},
    process,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    flag, low_level,
};

use crate::error::{Error, Kind, Result};

/// The time from the first signal to the end of the process.
const TIME_TO_END: Duration = Duration::from_millis(900);

/// The size of the stack of the thread that ends the process, in bytes.
const STACK: usize = 64 * 1024;

/// The signals that stop pouch. The default value never receives one.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Option<Arc<Signals>>);

#[derive(Debug)]
struct Signals {
    /// The number of the last signal; 0 before the first.
    number: Arc<AtomicUsize>,
    /// A pipe that is readable once a signal was received. It is never read.
    received: PipeReader,
    /// Locked for reading by work that has to be finished before the process ends.
    unfinished: RwLock<()>,
}

/// Keeps the process from ending by the first signal, until it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    _guard: Option<RwLockReadGuard<'a, ()>>,
}

/// The reason for the end of a [wait](Interrupt::wait).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// One of the files is ready.
    Ready,
    /// The deadline passed.
    Deadline,
    /// A signal was received.
    Signal,
}

/// Ends the process with this signal, as the sender of the signal expects.
///
/// The first process of a container cannot end itself with a signal (see `pid_namespaces(7)`). It
/// exits with the status that a shell reports for the signal.
pub fn end_process(signal: i32) {
    if is_first_process() {
        low_level::exit(128 + signal);
    }
    let _ = low_level::emulate_default_handler(signal);
}

/// Returns whether this is the first process of a container, or of a system.
fn is_first_process() -> bool {
    process::id() == 1
}

impl Interrupt {
    /// Installs handlers for SIGINT, SIGTERM and SIGHUP, except those that are ignored (`nohup`),
    /// and one for SIGXFSZ that does nothing. From then on, the process does not outlive one of the
    /// first three by more than a second.
    ///
    /// # Errors
    /// A pipe or a thread cannot be created, or a signal handler cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let number = Arc::new(AtomicUsize::new(0));
        let (received, written) = io::pipe()?;
        let ignored = ignored_signals();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored & (1 << (signal - 1)) != 0 {
                continue;
            }
            // Handlers run in this order. The first signal restores the default action for the
            // second, and its number is recorded before the pipe is readable.
            let armed = Arc::new(AtomicBool::new(false));
            if is_first_process() {
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
            } else {
                flag::register_conditional_default(signal, Arc::clone(&armed))?;
            }
            flag::register(signal, armed)?;
            flag::register_usize(
                signal,
                Arc::clone(&number),
                usize::try_from(signal).unwrap_or_default(),
            )?;
            low_level::pipe::register(signal, written.try_clone()?)?;
        }
        // A write beyond the limit of file sizes then fails with EFBIG, instead of ending the
        // process. Unlike an ignored signal, this does not affect programs that pouch starts.
        flag::register(SIGXFSZ, Arc::default())?;
        let interrupt = Self(Some(Arc::new(Signals {
            number,
            received,
            unfinished: RwLock::default(),
        })));
        let watched = interrupt.clone();
        // its stack counts towards a limit of memory
        let builder = thread::Builder::new().stack_size(STACK);
        builder.spawn(move || watched.end_process_late())?;
        Ok(interrupt)
    }

    /// Waits for a signal, and ends the process by that signal after [`TIME_TO_END`].
    fn end_process_late(&self) {
        let waited = self.wait([], None);
        let Some(signal) = self.signal().filter(|_| waited.is_ok()) else {
            return;
        };
        // a wait of its own: that of all others has ended
        let _ = Self::default().sleep(TIME_TO_END);
        let unfinished = self.0.as_ref().map(|signals| &signals.unfinished);
        let _finished = unfinished.map(|work| work.write().unwrap_or_else(PoisonError::into_inner));
        end_process(signal);
    }

    /// Keeps the process from ending by the first signal until the returned value is dropped, for
    /// work that must not be left half done and has a time limit of its own. The second signal
    /// still ends the process at once.
    pub fn hold(&self) -> Held<'_> {
        let unfinished = self.0.as_ref().map(|signals| &signals.unfinished);
        Held {
            _guard: unfinished.map(|work| work.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Returns the signal that was received, if any.
    pub fn signal(&self) -> Option<i32> {
        let number = self.0.as_ref()?.number.load(Ordering::SeqCst);
        i32::try_from(number).ok().filter(|signal| *signal != 0)
    }

    /// Fails once a signal was received.
    ///
    /// # Errors
    /// [`Kind::Stopped`].
    pub fn check(&self) -> Result<()> {
        match self.signal() {
            Some(signal) => Err(Error::new(Kind::Stopped(signal), described(signal))),
            None => Ok(()),
        }
    }

    /// Waits until one of `files` is ready, `deadline` passes or a signal is received.
    ///
    /// A file that was closed or failed at the other end is ready: reading it reports that. After
    /// the deadline no file is reported as ready.
    ///
    /// # Errors
    /// The system cannot poll the files.
    pub fn wait<'a>(
        &'a self,
        files: impl IntoIterator<Item = PollFd<'a>>,
        deadline: Option<Instant>,
    ) -> io::Result<Wake> {
        let received = self
            .0
            .iter()
            .map(|signals| PollFd::new(&signals.received, PollFlags::IN));
        let mut files: Vec<_> = files.into_iter().chain(received).collect();
        loop {
            if self.signal().is_some() {
                return Ok(Wake::Signal);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Wake::Deadline);
            }
            // A time that is too long for the system counts as no limit.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut files, timeout.as_ref()) {
                Ok(0) => return Ok(Wake::Deadline),
                Ok(_) if self.signal().is_none() => return Ok(Wake::Ready),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sleeps for `time`, or until a signal is received.
    ///
    /// # Errors
    /// [`Kind::Stopped`], or the system cannot wait.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        self.wait([], Instant::now().checked_add(time))
            .map_err(|error| Error::new(Kind::Io, "cannot wait").with_fact(error.to_string()))?;
        self.check()
    }
}

/// Returns the message about a signal.
fn described(signal: i32) -> &'static str {
    match signal {
        SIGINT => "interrupted",
        SIGTERM => "terminated by SIGTERM",
        SIGHUP => "terminated by SIGHUP",
        _ => "terminated by a signal",
    }
}

/// Returns the mask of the signals that this process was started with ignored, or 0 if the system
/// has no `/proc`.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn wait_ends_when_a_file_is_ready_and_at_the_deadline() {
        let never = Interrupt::default();
        let (reader, mut writer) = io::pipe().unwrap();
        let wait = |deadline| {
            let file = PollFd::new(&reader, PollFlags::IN);
            never.wait([file], deadline).unwrap()
        };
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(wait(Some(soon)), Wake::Deadline);
        writer.write_all(b"x").unwrap();
        assert_eq!(wait(None), Wake::Ready);
        assert_eq!(wait(Some(soon)), Wake::Deadline);
    }

    #[test]
    fn wait_ends_when_a_pipe_is_closed() {
        let (reader, writer) = io::pipe().unwrap();
        drop(writer);
        let file = PollFd::new(&reader, PollFlags::IN);
        assert_eq!(
            Interrupt::default().wait([file], None).unwrap(),
            Wake::Ready
        );
    }
}
