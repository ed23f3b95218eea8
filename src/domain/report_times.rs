//! The times at which a lasting problem is reported.
//!
//! A transient problem is reported once it has lasted for a day, any other problem at once. Both
//! are reported again every day.

use super::time::{TimeSpan, Timestamp};

/// The time after which a transient problem is reported, and the interval between reports.
const A_DAY: TimeSpan = TimeSpan::from_days(1);

/// The readers of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The person at the terminal.
    Terminal,
    /// The recipient of cron's mail, or of the log of a service.
    Unattended,
}

/// The start of a problem and the time of its next report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportTimes {
    /// The time when it began.
    pub since: Timestamp,
    /// The time of the next report, or `None` if the problem has not been reported.
    pub due: Option<Timestamp>,
}

impl ReportTimes {
    /// Returns the times after a run with a problem, and whether a report is due now. `earlier` are
    /// those of the same problem in the last run, if it occurred there.
    ///
    /// The person who sees a problem at the terminal may not be the one who gets cron's mail. So
    /// `audience` decides when the next report is due: a day later, or in the next unattended run.
    #[must_use]
    pub fn next(
        earlier: Option<Self>,
        is_transient: bool,
        audience: Audience,
        now: Timestamp,
    ) -> (Self, bool) {
        let tomorrow = now.after(A_DAY);
        // times that were recorded while the clock was ahead are ignored
        let since = earlier.map(|times| times.since);
        let since = since.filter(|since| *since <= now).unwrap_or(now);
        let due = earlier.and_then(|times| times.due);
        let due = due.filter(|due| *due <= tomorrow);
        let lasting = !is_transient || now.since(since) >= A_DAY.seconds();
        let is_due = lasting && due.is_none_or(|due| due <= now);
        let due = match audience {
            _ if !is_due => due,
            Audience::Unattended => Some(tomorrow),
            Audience::Terminal => Some(now),
        };
        (Self { since, due }, is_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether a report is due in runs at these hours.
    fn reports(is_transient: bool, audience: Audience, hours: &[i64]) -> Vec<bool> {
        let mut times = None;
        let mut report = |hour: &i64| {
            let now = Timestamp(1_800_000_000 + hour * 3600);
            let (next, is_due) = ReportTimes::next(times, is_transient, audience, now);
            times = Some(next);
            is_due
        };
        hours.iter().map(&mut report).collect()
    }

    #[test]
    fn lasting_problem_is_reported_at_once_and_daily() {
        let reported = reports(false, Audience::Unattended, &[0, 1, 23, 24, 25, 48]);
        assert_eq!(reported, [true, false, false, true, false, true]);
    }

    #[test]
    fn transient_problem_is_reported_after_a_day() {
        let reported = reports(true, Audience::Unattended, &[0, 1, 23, 24, 25, 48]);
        assert_eq!(reported, [false, false, false, true, false, true]);
    }

    #[test]
    fn report_at_a_terminal_does_not_replace_the_one_for_cron() {
        let (seen, _) = ReportTimes::next(None, false, Audience::Terminal, Timestamp(100));
        let next = ReportTimes::next(Some(seen), false, Audience::Unattended, Timestamp(160));
        assert!(next.1);
        assert_eq!(next.0.since, Timestamp(100));
    }

    #[test]
    fn times_in_the_future_are_ignored() {
        let ahead = ReportTimes {
            since: Timestamp(9_000_000),
            due: Some(Timestamp(9_000_000)),
        };
        let now = Timestamp(100);
        let (times, is_due) = ReportTimes::next(Some(ahead), false, Audience::Unattended, now);
        assert!(is_due);
        assert_eq!(times.since, now);
    }
}
