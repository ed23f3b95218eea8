//! Progress on a terminal: one line for each running account, below the summaries of finished ones.

use std::{
    collections::HashMap,
    io,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthStr;

use super::plain::{self, Plain};
use crate::{
    domain::size::ByteSize,
    event::{Event, Reporter},
};

/// The time after which a run shows its progress.
const PATIENCE: Duration = Duration::from_millis(250);

/// The smallest and the largest width of the bar, in columns. If there is less room, no bar is
/// shown.
const BAR: RangeInclusive<usize> = 8..=26;

/// The gap between the parts of a line.
const GAP: &str = "   ";

/// A reporter that shows progress lines.
pub struct Terminal {
    lines: Plain,
    screen: Arc<Screen>,
}

/// The progress lines of all accounts.
struct Screen {
    bars: MultiProgress,
    accounts: Mutex<HashMap<String, Progress>>,
    /// The width of the account names.
    width: usize,
}

/// The progress of an account.
struct Progress {
    began: Instant,
    /// The text until messages are received.
    waiting: Option<String>,
    messages: u64,
    of_messages: u64,
    octets: u64,
    of_octets: u64,
    bar: Option<ProgressBar>,
    /// The width of the bar when it was shown last. `None` if there was no room.
    shown_bar_width: Option<usize>,
}

impl Terminal {
    /// Returns a reporter that shows progress, and passes other events to `lines`.
    pub fn new(lines: Plain) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(Roomy(
            Term::buffered_stderr(),
        ))));
        let screen = Screen {
            bars,
            accounts: Mutex::default(),
            width: lines.width,
        };
        Self {
            lines,
            screen: Arc::new(screen),
        }
    }
}

impl Reporter for Terminal {
    fn event(&self, account: &str, event: &Event<'_>) {
        self.screen.advance(account, event);
        if let Event::Connecting { .. } | Event::Planned { fetch: 1.., .. } = event {
            // show the line even if the server is silent, so that there are no events
            let (screen, account) = (Arc::clone(&self.screen), account.to_owned());
            let _ = thread::Builder::new().spawn(move || {
                thread::park_timeout(PATIENCE);
                screen.advance(&account, &Event::Received { octets: 0 });
            });
        }
        if let Some(lines) = self.lines.lines(account, event) {
            // hide the progress lines while other lines are written
            self.screen.bars.suspend(|| plain::write(event, &lines));
        }
    }
}

impl Screen {
    fn advance(&self, account: &str, event: &Event<'_>) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Connecting { .. } | Event::Planned { .. } | Event::Reading { .. } = event {
            accounts
                .entry(account.to_owned())
                .or_insert_with(Progress::new);
        }
        let Some(progress) = accounts.get_mut(account) else {
            return;
        };
        match event {
            Event::Connecting { server } => {
                progress.waiting = Some(format!("connecting to {server}"));
            }
            Event::Reading { read, of, .. } if Some(*read) == *of => {
                progress.waiting = None;
                self.hide(progress.bar.take());
            }
            Event::Reading { what, read, of } => {
                progress.waiting = Some(match of {
                    Some(of) => format!("reading {what}: {read} of {of}"),
                    None => format!("reading {what}: {read}"),
                });
            }
            Event::Planned { fetch: 0, .. } if progress.waiting.is_some() => {
                progress.waiting = None;
                self.hide(progress.bar.take());
            }
            // after a reconnection, count the messages of earlier sessions as well
            Event::Planned { fetch, octets, .. } => {
                if progress.waiting.take().is_some() {
                    progress.began = Instant::now();
                }
                progress.of_messages = progress.messages + fetch;
                progress.of_octets = progress.octets.saturating_add(*octets);
            }
            Event::Received { octets } => progress.octets += octets,
            Event::Stored(_) => progress.messages += 1,
            Event::Done(_) => {
                self.hide(accounts.remove(account).and_then(|progress| progress.bar));
                return;
            }
            _ => return,
        }
        let has_text = progress.waiting.is_some() || progress.of_messages > 0;
        if progress.began.elapsed() >= PATIENCE && has_text {
            self.show(account, progress);
        }
    }

    /// Removes the line of an account.
    fn hide(&self, bar: Option<ProgressBar>) {
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn show(&self, account: &str, progress: &mut Progress) {
        let columns = tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        let prefix = format!("{account:width$}", width = self.width);
        let room = columns.saturating_sub(usize::from(MARGIN) + prefix.width() + GAP.len());
        let (text, width) = match &progress.waiting {
            Some(text) => (text.chars().take(room).collect(), None),
            None => (progress.text(room), progress.bar_width(room)),
        };
        let is_resized = progress.bar.is_none() || progress.shown_bar_width != width;
        progress.shown_bar_width = width;
        let bar = progress
            .bar
            .get_or_insert_with(|| self.bars.add(ProgressBar::new(0)));
        if is_resized {
            let template = match width {
                Some(width) => format!("{{prefix}}{GAP}{{bar:{width}}}  {{msg}}"),
                None => format!("{{prefix}}{GAP}{{msg}}"),
            };
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(prefix);
        }
        bar.set_length(progress.of_octets);
        bar.set_position(progress.octets.min(progress.of_octets));
        bar.set_message(text);
    }
}

impl Progress {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            waiting: None,
            messages: 0,
            of_messages: 0,
            octets: 0,
            of_octets: 0,
            bar: None,
            shown_bar_width: None,
        }
    }

    /// Returns the text next to the bar, at most `room` columns wide:
    /// `118 of 172   41.2 of 58.9 MB   3.1 MB/s   6 s left`. Parts at the end are omitted.
    fn text(&self, room: usize) -> String {
        let millis = u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = self.octets.saturating_mul(1000) / millis;
        let left = match self.of_octets.saturating_sub(self.octets).checked_div(rate) {
            Some(seconds) if seconds >= 120 => format!("{} min left", seconds / 60),
            Some(seconds) => format!("{seconds} s left"),
            None => String::new(),
        };
        let parts = [
            of(self.octets, self.of_octets),
            format!("{}/s", ByteSize::from_octets(rate).rounded()),
            left,
        ];
        let mut text = format!("{} of {}", self.messages, self.of_messages);
        for part in parts {
            if text.width() + GAP.len() + part.width() > room {
                break;
            }
            if !part.is_empty() {
                text.push_str(GAP);
                text.push_str(&part);
            }
        }
        text
    }

    /// Returns the width of the bar next to the longest text, or `None` if there is no room.
    fn bar_width(&self, room: usize) -> Option<usize> {
        /// The parts after the number of messages, at their longest.
        const LONGEST: &str = "   999.9 of 999.9 MB   999.9 MB/s   99 min left";
        let messages = self.of_messages.to_string().len() * 2 + " of ".len();
        let width = room.saturating_sub(messages + LONGEST.len() + "  ".len());
        (width >= *BAR.start()).then_some(width.min(*BAR.end()))
    }
}

/// Returns a size and the total, with one unit if both have the same: `41.2 of 58.9 MB`.
fn of(octets: u64, total: u64) -> String {
    let total = ByteSize::from_octets(total).rounded();
    let size = ByteSize::from_octets(octets).rounded();
    match (size.rsplit_once(' '), total.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, of_unit))) if unit == of_unit => {
            format!("{number} of {total}")
        }
        _ => format!("{size} of {total}"),
    }
}

/// A terminal that reports a smaller width than it has.
///
/// The terminal echoes `^C` at the end of the progress line. If that made the line wrap, the line
/// could not be cleared.
#[derive(Debug)]
struct Roomy(Term);

/// The columns of `^C` and the cursor.
const MARGIN: u16 = 3;

impl TermLike for Roomy {
    fn width(&self) -> u16 {
        TermLike::width(&self.0).saturating_sub(MARGIN)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_into_the_room() {
        let progress = Progress {
            messages: 118,
            of_messages: 172,
            octets: 41_200_000,
            of_octets: 58_900_000,
            ..Progress::new()
        };
        for room in 10..100 {
            assert!(progress.text(room).width() <= room);
        }
        assert_eq!(progress.text(28), "118 of 172   41.2 of 58.9 MB");
        assert_eq!(progress.text(27), "118 of 172");
        assert_eq!(progress.bar_width(60), None);
        assert_eq!(progress.bar_width(100), Some(26));
    }

    #[test]
    fn sizes_share_their_unit() {
        assert_eq!(of(41_200_000, 58_900_000), "41.2 of 58.9 MB");
        assert_eq!(of(999, 58_900_000), "999 B of 58.9 MB");
    }
}
