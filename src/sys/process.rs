//! Runs other programs, with a time limit and a bound on the output that is kept.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::ioctl_fionbio,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::interrupt::{Interrupt, Wake};
use crate::{error::Result, text::sanitize};

/// The maximum number of bytes of a program's output that are kept, for each stream.
const KEPT: usize = 64 * 1024;

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// An environment variable: its name, and its value if it is set.
type Variable = (OsString, Option<OsString>);

/// The original of a variable that pouch replaced in its own environment, for the programs that it
/// starts. It is global because the environment is.
static ORIGINAL: OnceLock<Variable> = OnceLock::new();

/// Makes programs that are started from now on receive `value` as the variable `name`, or no such
/// variable if `value` is `None`.
///
/// Only the first call has an effect.
pub fn restore_in_children(name: &str, value: Option<&OsStr>) {
    let _ = ORIGINAL.set((name.into(), value.map(OsStr::to_owned)));
}

/// The end of a program.
#[derive(Debug)]
pub enum Ended {
    /// The program exited, or a signal killed it.
    Exited(ExitStatus),
    /// The time limit was exceeded, and pouch killed the program.
    TimeOut,
}

/// The outcome of a program.
#[derive(Debug)]
pub struct ProcessOutput {
    /// The end of the program.
    pub ended: Ended,
    /// The beginning of its standard output, unless that went to a file.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// Returns the name of the program of a command, for messages: without the arguments, in which
/// people write passwords. If the whole command was written as one word, that is its beginning.
pub fn program(argv: &[String]) -> String {
    let name = argv.first().map_or("", String::as_str);
    match name.split_once(char::is_whitespace) {
        Some((beginning, _)) => format!("{} …", sanitize(beginning.as_bytes())),
        None => sanitize(name.as_bytes()),
    }
}

/// Returns the hint for a program that cannot be run: `usual`, unless its name explains the
/// failure.
pub fn command_hint(argv: &[String], usual: &str) -> String {
    match argv.first() {
        Some(name) if name.starts_with('~') => {
            "no shell expands `~` in a command: write the whole path".into()
        }
        _ => usual.into(),
    }
}

/// Returns the hint for a command that could not be started: to install the program or write its
/// path if it does not exist, otherwise `usual`.
pub fn start_hint(argv: &[String], error: &io::Error, usual: &str) -> String {
    match argv.first() {
        Some(name)
            if error.kind() == io::ErrorKind::NotFound
                && !name.starts_with('~')
                && !name.contains(char::is_whitespace) =>
        {
            if name.contains('/') {
                format!("there is no program `{name}`: check its path")
            } else {
                format!(
                    "`{name}` is not installed, or not in PATH, which is short in cron and \
                     systemd: install it, or write its whole path"
                )
            }
        }
        _ => command_hint(argv, usual),
    }
}

/// A program to run.
pub struct Run<'a> {
    /// Its name and arguments. No shell is involved.
    pub argv: &'a [String],
    /// Its standard input; `None` is `/dev/null`.
    pub input: Option<File>,
    /// Its standard output. If it is `None`, the beginning is kept in memory.
    pub output: Option<File>,
    /// Variables that are added to its environment.
    pub environment: &'a [(&'a str, String)],
    /// Its time limit.
    pub timeout: Option<Duration>,
    /// True if it may use the terminal. Otherwise it gets its own process group.
    pub interactive: bool,
}

impl Run<'_> {
    /// Runs the program until it exits. A signal to pouch ends the program as well.
    ///
    /// # Errors
    /// The outer result is [`Kind::Stopped`](crate::error::Kind::Stopped) after a signal to pouch.
    /// The inner one is an error if the program could not be started.
    pub fn run(self, stop: &Interrupt) -> Result<io::Result<ProcessOutput>> {
        let Some((name, arguments)) = self.argv.split_first() else {
            return Ok(Err(io::ErrorKind::NotFound.into()));
        };
        let mut command = Command::new(name);
        match ORIGINAL.get() {
            Some((name, Some(value))) => command.env(name, value),
            Some((name, None)) => command.env_remove(name),
            None => &mut command,
        };
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(self.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(self.output.map_or_else(Stdio::piped, Stdio::from))
            .stderr(Stdio::piped());
        if !self.interactive {
            command.process_group(0);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        let mut output = match Output::of(&mut child) {
            Ok(output) => output,
            Err(error) => {
                end(&mut child, self.interactive, &mut Output::default());
                return Ok(Err(error));
            }
        };
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let waited = wait(&mut child, deadline, stop, &mut output);
        if !matches!(waited, Ok(Some(_))) {
            end(&mut child, self.interactive, &mut output);
        }
        let ended = match waited {
            Ok(Some(status)) => Ended::Exited(status),
            Ok(None) => {
                stop.check()?;
                Ended::TimeOut
            }
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(ProcessOutput {
            ended,
            stdout: output.stdout.head,
            stderr: output.stderr.head,
        }))
    }
}

/// The output of a program. All of it is read, so that the program never blocks.
#[derive(Default)]
struct Output {
    stdout: Printed<ChildStdout>,
    stderr: Printed<ChildStderr>,
}

/// One stream of a program's output.
struct Printed<P> {
    /// `None` once it is closed.
    pipe: Option<P>,
    head: Vec<u8>,
}

impl<P> Default for Printed<P> {
    fn default() -> Self {
        Self {
            pipe: None,
            head: Vec::new(),
        }
    }
}

impl Output {
    fn of(child: &mut Child) -> io::Result<Self> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        for pipe in [
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            stdout: Printed {
                pipe: stdout,
                head: Vec::new(),
            },
            stderr: Printed {
                pipe: stderr,
                head: Vec::new(),
            },
        })
    }

    /// Returns the streams to poll for more output.
    fn files(&self) -> impl Iterator<Item = PollFd<'_>> {
        [
            self.stdout.pipe.as_ref().map(AsFd::as_fd),
            self.stderr.pipe.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN))
    }

    /// Reads the available output without waiting.
    fn read(&mut self) {
        self.stdout.read();
        self.stderr.read();
    }
}

impl<P: Read> Printed<P> {
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut more = Vec::new();
        let read = pipe.by_ref().take(KEPT as u64).read_to_end(&mut more);
        let room = KEPT - self.head.len();
        self.head.extend_from_slice(&more[..more.len().min(room)]);
        match read {
            Ok(KEPT) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end of the stream. An unreadable pipe loses output, but the program has not
            // failed.
            Ok(_) | Err(_) => self.pipe = None,
        }
    }
}

/// Waits for `child` to exit. Returns `None` if the deadline or a signal came first.
///
/// A descendant of the program may keep the output open after the program has exited. It is not
/// waited for.
fn wait(
    child: &mut Child,
    deadline: Option<Instant>,
    stop: &Interrupt,
    output: &mut Output,
) -> io::Result<Option<ExitStatus>> {
    let exited = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let status = child.try_wait();
        // All output from before the exit is in the pipe by now.
        output.read();
        match status {
            Ok(None) => {}
            status => return status,
        }
        let exited = PollFd::new(&exited, PollFlags::IN);
        match stop.wait(output.files().chain([exited]), deadline)? {
            Wake::Ready => {}
            Wake::Deadline | Wake::Signal => return Ok(None),
        }
    }
}

/// Ends `child` and its process group: with SIGTERM, and after [`GRACE`] with SIGKILL.
fn end(child: &mut Child, interactive: bool, output: &mut Output) {
    let never = Interrupt::default();
    if !interactive && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // This fails if the group has ended, or belongs to another user now.
        let _ = kill_process_group(group, Signal::TERM);
        if let Ok(Some(_)) = wait(child, Some(Instant::now() + GRACE), &never, output) {
            return;
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Option<Duration>) -> ProcessOutput {
        let argv = ["sh", "-c", script].map(String::from);
        Run {
            argv: &argv,
            input: None,
            output: None,
            environment: &[("WORD", "x y".into())],
            timeout,
            interactive: false,
        }
        .run(&Interrupt::default())
        .unwrap()
        .unwrap()
    }

    #[test]
    fn output_and_status_are_returned() {
        let outcome = sh("echo \"$WORD\"; echo no >&2; exit 3", None);
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.stderr.as_slice()),
            (&b"x y\n"[..], &b"no\n"[..])
        );
        assert!(matches!(outcome.ended, Ended::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn output_past_the_bound_is_read_and_dropped() {
        let outcome = sh("head -c 1000000 /dev/zero", None);
        assert_eq!(outcome.stdout.len(), KEPT);
    }

    #[test]
    fn program_is_killed_at_its_time_limit() {
        let outcome = sh("sleep 1000", Some(Duration::from_millis(20)));
        assert!(matches!(outcome.ended, Ended::TimeOut));
    }
}
