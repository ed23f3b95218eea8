//! The mistakes of a config file, which are reported together.
//!
//! Mistakes are independent as long as none follows from another one: the values of all keys are
//! read, but accounts are only resolved, and compared with each other, if every value is valid.

use crate::{
    error::{Error, Kind},
    text::count,
};

/// The number of mistakes that are shown.
const SHOWN: usize = 10;

/// The number of mistakes at which reading stops. Each excerpt takes a scan of the file, which may
/// have a megabyte of them.
const COUNTED: usize = 100;

/// The mistakes that were found, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Mistakes(Vec<Error>);

impl Mistakes {
    /// Adds a mistake, unless it was found before: one in `[defaults]` is found in each account.
    pub(super) fn add(&mut self, mistake: Error) {
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }

    /// Returns the value of a result, or adds its error.
    pub(super) fn value_of<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|mistake| self.add(mistake)).ok()
    }

    /// Returns whether none was found.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether so many were found that the others are not looked for.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= COUNTED
    }

    /// Returns all mistakes as one error, or `None` if there are none. `path` is the config file.
    pub(super) fn into_error(self, path: &str) -> Option<Error> {
        self.or((), path).err()
    }

    /// Returns `value` if there are no mistakes. `path` is the config file.
    ///
    /// # Errors
    /// The first mistake, with the others as further errors.
    pub(super) fn or<T>(mut self, value: T, path: &str) -> Result<T, Error> {
        let is_complete = !self.are_many();
        let hidden = self.0.len().saturating_sub(SHOWN);
        self.0.truncate(SHOWN);
        if hidden > 0 {
            let hidden = count(hidden as u64, "more mistake");
            let least = if is_complete { "" } else { "at least " };
            let what = format!("{path} has {least}{hidden}");
            self.0.push(Error::new(Kind::Config, what));
        }
        let mut mistakes = self.0.into_iter();
        match mistakes.next() {
            Some(first) => Err(first.with_further(mistakes)),
            None => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests;
