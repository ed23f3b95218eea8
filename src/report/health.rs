//! `pouch status --check`: the state of accounts in one line, for monitoring systems.
//!
//! The line and the exit status are those of a Nagios plugin, which Icinga, Checkmk and others can
//! run, too. The check uses the time since the last success instead of the last failure, since an
//! account that is no longer fetched at all does not fail.

use crate::{
    domain::time::{TimeSpan, Timestamp},
    error::Exit,
    ledger::Problem,
    text::count,
};

/// The state of an account, or of several, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Its mail was fetched within the limit.
    Ok,
    /// It needs attention, or it was never fetched.
    Warning,
    /// It cannot be determined.
    Unknown,
    /// Its mail has not been fetched for longer than the limit.
    Critical,
}

impl Health {
    const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Unknown, Self::Critical];

    /// Returns its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
        }
    }

    /// Returns the state of this name in JSON, or [`Health::Unknown`].
    pub fn named(name: Option<&str>) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|health| Some(health.name()) == name)
            .unwrap_or(Self::Unknown)
    }

    /// Returns the exit status of a plugin.
    pub fn exit(self) -> Exit {
        Exit(match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        })
    }
}

/// The facts that determine the health of an account.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// The time when the first recorded run began. `None` if there was no run.
    pub first_run: Option<Timestamp>,
    /// The time when the last run began.
    pub last_run: Option<Timestamp>,
    /// The time when the last run without a problem ended.
    pub last_success: Option<Timestamp>,
    /// Whether the last run is in progress.
    pub is_running: bool,
    /// Whether the last run was interrupted.
    pub was_interrupted: bool,
    /// The problem of the last run.
    pub problem: Option<Problem>,
    /// The number of quarantined messages.
    pub quarantined: u64,
    /// Whether the account has to sign in with OAuth 2.0.
    pub needs_sign_in: bool,
}

/// The health of an account, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The health.
    pub health: Health,
    /// The reason.
    pub reason: String,
    /// The seconds since the last success. `None` if there was none.
    pub age: Option<u64>,
}

impl Condition {
    /// Returns the health at the time `now`, if the last success may be `limit` ago.
    pub fn assess(&self, limit: TimeSpan, now: Timestamp) -> Diagnosis {
        let age = self.last_success.map(|at| now.since(at));
        let overdue = age.or(self.first_run.map(|at| now.since(at)));
        let (health, reason) = match overdue {
            Some(seconds) if seconds > limit.seconds() => {
                (Health::Critical, self.delay(seconds, limit, now))
            }
            _ => match self.warning(now) {
                Some(reason) => (Health::Warning, reason),
                None => (Health::Ok, self.rest(age)),
            },
        };
        Diagnosis {
            health,
            reason,
            age,
        }
    }

    /// Returns why there was no success for so many seconds.
    fn delay(&self, seconds: u64, limit: TimeSpan, now: Timestamp) -> String {
        let silent = self.last_run.map(|at| now.since(at));
        let silent = silent.filter(|silent| *silent > limit.seconds());
        match (&self.problem, silent) {
            (_, Some(silent)) if self.is_running => format!("running for {}", span(silent)),
            (Some(problem), Some(silent)) => {
                let (silent, what) = (span(silent), &problem.what);
                format!("no run for {silent}; the last one failed: {what}")
            }
            (None, Some(silent)) => format!("no run for {}", span(silent)),
            (Some(problem), None) => format!("failing for {}: {}", span(seconds), problem.what),
            (None, None) => format!("no success for {}", span(seconds)),
        }
    }

    /// Returns why the account needs attention, or `None` if it does not.
    fn warning(&self, now: Timestamp) -> Option<String> {
        if self.needs_sign_in {
            return Some("not signed in".into());
        }
        if let Some(problem) = self.problem.as_ref().filter(|problem| problem.reported) {
            let since = span(now.since(problem.since));
            return Some(format!("failing for {since}: {}", problem.what));
        }
        if self.was_interrupted {
            return Some("the last run was interrupted".into());
        }
        if self.quarantined > 0 {
            return Some(format!(
                "{} in quarantine",
                count(self.quarantined, "message")
            ));
        }
        (self.last_run.is_none()).then(|| "never run".into())
    }

    /// Returns the description of an account that needs no attention.
    fn rest(&self, age: Option<u64>) -> String {
        match age {
            Some(age) => format!("last success {} ago", span(age)),
            None if self.is_running => "first run".into(),
            None => "no success yet".into(),
        }
    }
}

/// Returns the worst of several states, which is [`Health::Ok`] if there are none, as in a shard
/// without accounts.
pub fn worst(all: &[(String, Diagnosis)]) -> Health {
    let all = all.iter().map(|(_, diagnosis)| diagnosis.health);
    all.max().unwrap_or(Health::Ok)
}

/// The number of accounts that the line names.
const NAMED: usize = 3;

/// Returns the line of a plugin for these accounts: the state, the reasons and, after `|`, numbers
/// for graphs.
pub fn line(accounts: &[(String, Diagnosis)], limit: TimeSpan) -> String {
    let health = worst(accounts);
    let is_named = |found: &&(String, Diagnosis)| found.1.health == health;
    let named: Vec<_> = accounts.iter().filter(is_named).collect();
    let oldest = accounts.iter().filter_map(|(_, it)| it.age).max();
    let mut text = match (accounts, health) {
        ([], _) => "no accounts".to_owned(),
        ([_, _, ..], Health::Ok) => {
            let oldest = oldest.map(|age| format!(", oldest success {} ago", span(age)));
            format!("{} accounts{}", accounts.len(), oldest.unwrap_or_default())
        }
        _ => {
            let shown = named.iter().take(NAMED);
            let shown: Vec<_> = shown
                .map(|(name, it)| format!("{name}: {}", it.reason))
                .collect();
            shown.join("; ")
        }
    };
    let others = named.len().saturating_sub(NAMED);
    if health != Health::Ok && others > 0 {
        text.push_str(&format!("; and {others} more"));
    }
    let oldest = oldest.map_or_else(|| "U".into(), |age| format!("{age}s"));
    let numbers = [Health::Critical, Health::Warning, Health::Unknown].map(|state| {
        let number = accounts.iter().filter(|(_, it)| it.health == state).count();
        format!("{}={number};;;0", state.name())
    });
    format!(
        "{} | oldest_success={oldest};;{};0 accounts={};;;0 {}",
        headline(health, &text),
        limit.seconds(),
        accounts.len(),
        numbers.join(" ")
    )
}

/// Returns the line of a plugin without numbers.
pub fn headline(health: Health, text: &str) -> String {
    // a bar would begin the numbers
    let text = text.replace('|', "/");
    format!("POUCH {} - {text}", health.name().to_uppercase())
}

/// Returns a duration in one unit, rounded down.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000);
    const HOUR: i64 = 3_600;

    fn ago(hours: i64) -> Timestamp {
        Timestamp(NOW.0 - hours * HOUR)
    }

    fn problem(hours: i64, reported: bool) -> Problem {
        Problem {
            what: "the server refused the password | no".into(),
            since: ago(hours),
            reported,
        }
    }

    fn checked(condition: &Condition) -> String {
        let diagnosis = condition.assess(TimeSpan::from_days(1), NOW);
        line(&[("work".into(), diagnosis)], TimeSpan::from_days(1))
    }

    #[test]
    fn success_within_the_limit_is_ok() {
        let mut it = Condition {
            first_run: Some(ago(500)),
            last_run: Some(ago(2)),
            last_success: Some(ago(2)),
            ..Condition::default()
        };
        assert_snapshot!(checked(&it), @"POUCH OK - work: last success 2 h ago | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
        it.problem = Some(problem(1, false));
        assert_snapshot!(checked(&it), @"POUCH OK - work: last success 2 h ago | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
        it.last_success = None;
        it.first_run = Some(ago(1));
        assert_snapshot!(checked(&it), @"POUCH OK - work: no success yet | oldest_success=U;;86400;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
        it.is_running = true;
        it.problem = None;
        assert_snapshot!(checked(&it), @"POUCH OK - work: first run | oldest_success=U;;86400;0 accounts=1;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
    }

    #[test]
    fn what_needs_attention_is_a_warning() {
        let it = Condition {
            first_run: Some(ago(500)),
            last_run: Some(ago(1)),
            last_success: Some(ago(2)),
            ..Condition::default()
        };
        assert_snapshot!(checked(&Condition::default()), @"POUCH WARNING - work: never run | oldest_success=U;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
        let warned = Condition {
            problem: Some(problem(3, true)),
            ..it.clone()
        };
        assert_snapshot!(checked(&warned), @"POUCH WARNING - work: failing for 3 h: the server refused the password / no | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
        let warned = Condition {
            quarantined: 2,
            ..it.clone()
        };
        assert_snapshot!(checked(&warned), @"POUCH WARNING - work: 2 messages in quarantine | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
        let warned = Condition {
            was_interrupted: true,
            ..it.clone()
        };
        assert_snapshot!(checked(&warned), @"POUCH WARNING - work: the last run was interrupted | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
        let warned = Condition {
            needs_sign_in: true,
            ..it
        };
        assert_snapshot!(checked(&warned), @"POUCH WARNING - work: not signed in | oldest_success=7200s;;86400;0 accounts=1;;;0 critical=0;;;0 warning=1;;;0 unknown=0;;;0");
    }

    #[test]
    fn no_success_within_the_limit_is_critical() {
        let mut it = Condition {
            first_run: Some(ago(500)),
            last_run: Some(ago(50)),
            last_success: Some(ago(50)),
            ..Condition::default()
        };
        assert_snapshot!(checked(&it), @"POUCH CRITICAL - work: no run for 2 d | oldest_success=180000s;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
        it.problem = Some(problem(30, true));
        assert_snapshot!(checked(&it), @"POUCH CRITICAL - work: no run for 2 d; the last one failed: the server refused the password / no | oldest_success=180000s;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
        it.last_run = Some(ago(0));
        assert_snapshot!(checked(&it), @"POUCH CRITICAL - work: failing for 2 d: the server refused the password / no | oldest_success=180000s;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
        it.problem = None;
        assert_snapshot!(checked(&it), @"POUCH CRITICAL - work: no success for 2 d | oldest_success=180000s;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
        it.last_success = None;
        it.last_run = Some(ago(47));
        it.is_running = true;
        assert_snapshot!(checked(&it), @"POUCH CRITICAL - work: running for 47 h | oldest_success=U;;86400;0 accounts=1;;;0 critical=1;;;0 warning=0;;;0 unknown=0;;;0");
    }

    #[test]
    fn line_names_the_worst_accounts() {
        let account = |name: &str, hours| {
            let it = Condition {
                first_run: Some(ago(500)),
                last_run: Some(ago(hours)),
                last_success: Some(ago(hours)),
                ..Condition::default()
            };
            (name.to_owned(), it.assess(TimeSpan::from_days(1), NOW))
        };
        let limit = TimeSpan::from_days(1);
        let fine = [account("a", 1), account("b", 3)];
        assert_snapshot!(line(&fine, limit), @"POUCH OK - 2 accounts, oldest success 3 h ago | oldest_success=10800s;;86400;0 accounts=2;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
        let some = ["a", "b", "c", "d", "e"].map(|name| account(name, 48));
        assert_snapshot!(line(&[&fine[..], &some[..]].concat(), limit), @"POUCH CRITICAL - a: no run for 2 d; b: no run for 2 d; c: no run for 2 d; and 2 more | oldest_success=172800s;;86400;0 accounts=7;;;0 critical=5;;;0 warning=0;;;0 unknown=0;;;0");
        assert_snapshot!(line(&[], limit), @"POUCH OK - no accounts | oldest_success=U;;86400;0 accounts=0;;;0 critical=0;;;0 warning=0;;;0 unknown=0;;;0");
    }
}
