//! A progress line an account, for a person at a terminal; finished accounts scroll up.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::Plain;
use crate::{
    event::{Event, Reporter},
    units::Size,
};

/// What is over before that shows no progress.
const PATIENCE: Duration = Duration::from_millis(250);

/// Reports by progress lines.
pub struct Terminal {
    lines: Plain,
    screen: MultiProgress,
    accounts: Mutex<HashMap<String, Progress>>,
}

/// How far an account is.
struct Progress {
    began: Instant,
    messages: u64,
    of_messages: u64,
    octets: u64,
    of_octets: u64,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Progress lines, and all else as `lines` says it.
    pub fn new(lines: Plain) -> Self {
        Self { lines, screen: MultiProgress::new(), accounts: Mutex::default() }
    }

    fn advance(&self, account: &str, event: &Event<'_>) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = accounts.entry(account.to_owned()).or_insert_with(|| Progress {
            began: Instant::now(),
            messages: 0,
            of_messages: 0,
            octets: 0,
            of_octets: 0,
            bar: None,
        });
        match event {
            // after a lost line, what came before counts too
            Event::Planned { fetch, octets, .. } => {
                progress.of_messages = progress.messages + fetch;
                progress.of_octets = progress.octets + octets;
            }
            Event::Received { octets } => progress.octets += octets,
            Event::Stored { .. } => progress.messages += 1,
            Event::Done(_) => {
                if let Some(bar) = accounts.remove(account).and_then(|progress| progress.bar) {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
                return;
            }
            _ => return,
        }
        if progress.began.elapsed() < PATIENCE || progress.of_messages == 0 {
            return;
        }
        let text = progress.text();
        let bar = progress.bar.get_or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template("{prefix}   {bar:26}  {msg}") {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(format!("{account:width$}", width = self.lines.width));
            bar
        });
        bar.set_length(progress.of_octets);
        bar.set_position(progress.octets.min(progress.of_octets));
        bar.set_message(text);
    }
}

impl Progress {
    /// `118 of 172   41.2 MB   3.1 MB/s   6 s left`.
    fn text(&self) -> String {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = self.octets.saturating_mul(1000) / millis;
        let left = match self.of_octets.saturating_sub(self.octets).checked_div(rate) {
            Some(seconds) if seconds >= 120 => format!("   {} min left", seconds / 60),
            Some(seconds) => format!("   {seconds} s left"),
            None => String::new(),
        };
        format!(
            "{} of {}   {}   {}/s{left}",
            self.messages,
            self.of_messages,
            Size::from_octets(self.octets).rounded(),
            Size::from_octets(rate).rounded()
        )
    }
}

impl Reporter for Terminal {
    fn event(&self, account: &str, event: &Event<'_>) {
        self.advance(account, event);
        if let Some(lines) = self.lines.lines(account, event, true) {
            // between the progress lines, not through them
            self.screen.suspend(|| super::complain(&lines));
        }
    }
}
