//! Signals: the first asks to leave in order, the second ends the process at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::error::{Error, Kind, Result};

/// How often what waits looks whether it should stop.
pub const LOOK: Duration = Duration::from_millis(200);

/// Whether to stop, and by which signal.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on; those that are ignored (`nohup`) stay so.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let ignored = ignored_signals();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored & (1 << (signal - 1)) != 0 {
                continue;
            }
            // in this order: the first signal arms what the second one meets
            let armed = Arc::new(AtomicBool::new(false));
            flag::register_conditional_default(signal, Arc::clone(&armed))?;
            flag::register(signal, armed)?;
            flag::register_usize(
                signal,
                Arc::clone(&stop.0),
                usize::try_from(signal).unwrap_or_default(),
            )?;
        }
        Ok(stop)
    }

    /// The signal that came, if any.
    pub fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed))
            .ok()
            .filter(|signal| *signal != 0)
    }

    /// An error as soon as a signal came.
    ///
    /// # Errors
    /// [`Kind::Stopped`].
    pub fn check(&self) -> Result<()> {
        match self.signal() {
            Some(signal) => Err(Error::new(Kind::Stopped(signal), "stopped by a signal")),
            None => Ok(()),
        }
    }

    /// Waits for `time`, or until a signal comes.
    ///
    /// # Errors
    /// [`Kind::Stopped`].
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that sleeps, in slices"
    )]
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// The mask of the signals that this process was started with ignored, where the system tells.
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
