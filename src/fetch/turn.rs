//! A queue for threads that identify new addresses.
//!
//! The lock on new addresses excludes other processes. It has to be polled, since the kernel does
//! not report that a lock was released. If hundreds of threads of one process polled it, some would
//! not get it before their time limit. So only one thread of a process polls the lock, and the
//! others wait here for their turn.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::sys::interrupt::Interrupt;

/// The interval at which a waiting thread checks for a signal.
const INTERVAL: Duration = Duration::from_millis(100);

static TAKEN: Mutex<bool> = Mutex::new(false);
static RETURNED: Condvar = Condvar::new();

/// The turn of a thread, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(());

impl Turn {
    /// Waits until no other thread of this process has the turn. Returns `None` after `deadline` or
    /// a signal.
    pub(super) fn wait(deadline: Instant, stop: &Interrupt) -> Option<Self> {
        let mut taken = taken();
        while *taken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.signal().is_some() {
                return None;
            }
            let waited = RETURNED.wait_timeout(taken, left.min(INTERVAL));
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *taken() = false;
        RETURNED.notify_one();
    }
}

/// A poisoned lock is safe to use: the value is always complete.
fn taken() -> MutexGuard<'static, bool> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_thread_waits_until_the_first_one_is_finished() {
        let never = Interrupt::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        let first = Turn::wait(soon(), &never).unwrap();
        assert!(Turn::wait(soon(), &never).is_none());
        drop(first);
        assert!(Turn::wait(soon(), &never).is_some());
    }
}
