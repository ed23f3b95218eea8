//! Regular runs: a timer of the user's systemd, or a line for cron.

use std::{path::PathBuf, time::Duration};

use super::console::{Console, say};
use crate::{
    cli::dirs::Dirs,
    domain::{provider::Provider, time::TimeSpan},
    error::{Error, Kind, Result},
    report::with_short_paths,
    sys::{
        files,
        interrupt::Interrupt,
        process::{Ended, Run},
    },
};

/// The units of the project, whose program is replaced by this one.
const SERVICE: &str = include_str!("../../../systemd/pouch.service");
const TIMER: &str = include_str!("../../../systemd/pouch.timer");

/// The program and the interval in these units.
const UNIT_PROGRAM: &str = "%h/.cargo/bin/pouch";
const UNIT_CALENDAR: &str = "*:0/5";

/// The interval without a provider that requires a longer one, in minutes.
const USUAL_MINUTES: u64 = 5;

/// The time limit for systemctl(1).
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The inputs for installing a timer.
pub(super) struct Timers<'a> {
    pub(super) dirs: &'a Dirs,
    pub(super) stop: &'a Interrupt,
    /// The config file, if it is not the default one.
    pub(super) config: Option<PathBuf>,
    /// This program.
    pub(super) program: PathBuf,
}

/// The choice of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Ask.
    Ask,
    /// Install the timer.
    Yes,
    /// Do not.
    No,
}

impl Timers<'_> {
    /// Offers regular runs.
    ///
    /// # Errors
    /// The units cannot be written or started, or the question was not answered.
    pub(super) fn offer(
        &self,
        console: &Console<'_>,
        provider: Option<&Provider>,
        wish: Wish,
    ) -> Result<()> {
        let minutes = minutes(provider.and_then(Provider::interval));
        let interval = format!("every {minutes} minutes");
        if wish == Wish::No {
            return Ok(());
        }
        if !self.systemctl(&["show-environment"])? {
            if wish == Wish::Yes {
                return Err(
                    Error::new(Kind::Unavailable, "systemd does not run for this user").with_hint(
                        format!(
                            "add this line with `crontab -e`: {}",
                            self.cron_line(minutes)
                        ),
                    ),
                );
            }
            say(&format!(
                "to fetch mail {interval}, add this line with `crontab -e`:"
            ))?;
            return say(&format!("  {}", self.cron_line(minutes)));
        }
        if self.systemctl(&["is-enabled", "--quiet", "pouch.timer"])? {
            return say("pouch.timer, which is already enabled, will also fetch this account");
        }
        let question = format!("fetch mail {interval} with a systemd timer?");
        if wish == Wish::Ask && !console.offer(&question, false)? {
            return Ok(());
        }
        if !self.systemctl(&["cat", "pouch.timer"])? {
            self.write_units(minutes)?;
        }
        for arguments in [&["daemon-reload"][..], &["enable", "--now", "pouch.timer"]] {
            if !self.systemctl(arguments)? {
                let command = format!("systemctl --user {}", arguments.join(" "));
                return Err(Error::new(Kind::Unavailable, format!("`{command}` failed"))
                    .with_hint("run it by hand to see why"));
            }
        }
        say(&format!(
            "pouch.timer fetches mail {interval} while you are logged in; run \
             `loginctl enable-linger` to fetch it always"
        ))
    }

    /// Writes the units, unless they exist.
    fn write_units(&self, minutes: u64) -> Result<()> {
        let config = self.dirs.variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.unwrap_or_else(|| self.dirs.home.join(".config"));
        let dir = config.join("systemd/user");
        let service = service(&self.command());
        let calendar = format!("*:0/{minutes}");
        let timer = TIMER
            .replace(UNIT_CALENDAR, &calendar)
            .replace("every five minutes", &format!("every {minutes} minutes"));
        for (name, text) in [("pouch.service", service), ("pouch.timer", timer)] {
            let path = dir.join(name);
            if !path.exists() {
                files::replace(&path, text.as_bytes())?;
                say(&with_short_paths(&format!("wrote {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// Returns the command line of a run.
    fn command(&self) -> Vec<String> {
        let mut words = vec![self.program.display().to_string()];
        if let Some(config) = &self.config {
            words.push(format!("--config={}", config.display()));
        }
        words.push("fetch".into());
        words
    }

    /// Returns the line for crontab(5), in which a per cent sign ends the command.
    fn cron_line(&self, minutes: u64) -> String {
        let command = self.command();
        let words = command.iter().map(String::as_str);
        let command = shlex::try_join(words).unwrap_or_default();
        format!("*/{minutes} * * * * {}", command.replace('%', "\\%"))
    }

    /// Runs systemctl(1) for the user. Returns whether it succeeded.
    fn systemctl(&self, arguments: &[&str]) -> Result<bool> {
        let words = ["systemctl", "--user"].iter().chain(arguments);
        let argv: Vec<_> = words.map(|word| (*word).to_owned()).collect();
        let run = Run {
            argv: &argv,
            input: None,
            output: None,
            environment: &[],
            timeout: Some(TIME_LIMIT),
            interactive: false,
        };
        let output = run.run(self.stop)?;
        Ok(output
            .is_ok_and(|output| matches!(output.ended, Ended::Exited(status) if status.success())))
    }
}

/// Returns the interval between runs, in minutes.
fn minutes(least: Option<TimeSpan>) -> u64 {
    let least = least.map_or(0, |least| least.seconds().div_ceil(60));
    least.max(USUAL_MINUTES)
}

/// Returns the unit that runs a command (systemd.service(5), "Command lines").
fn service(command: &[String]) -> String {
    let quoted = |word: &String| {
        let word = word.replace('%', "%%").replace('$', "$$");
        if word.contains([' ', '"', '\'', '\\']) {
            format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            word
        }
    };
    let command: Vec<_> = command.iter().map(quoted).collect();
    SERVICE.replace(&format!("{UNIT_PROGRAM} fetch"), &command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_run_this_program() {
        assert!(SERVICE.contains(&format!("ExecStart={UNIT_PROGRAM} fetch\n")));
        assert!(TIMER.contains(&format!("OnCalendar={UNIT_CALENDAR}\n")));
        assert!(TIMER.contains("every five minutes"));
        let words = [
            "/opt/my apps/100%/pouch",
            "--config=/home/ann/c.toml",
            "fetch",
        ];
        let unit = service(&words.map(str::to_owned));
        let line = "ExecStart=\"/opt/my apps/100%%/pouch\" --config=/home/ann/c.toml fetch\n";
        assert!(unit.contains(line), "{unit}");
    }

    #[test]
    fn interval_is_that_of_the_provider_if_longer() {
        assert_eq!(minutes(None), 5);
        assert_eq!(minutes(Some(TimeSpan::from_seconds(60))), 5);
        assert_eq!(minutes(Some(TimeSpan::from_seconds(901))), 16);
    }
}
