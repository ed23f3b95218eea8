//! Runs other programs, with a time limit and a bound on the output that is kept.

mod connected;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::ioctl_fionbio,
    process::{
        DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process,
        kill_process_group, pidfd_open, set_dumpable_behavior, setrlimit, test_kill_process_group,
    },
};

use super::interrupt::{Interrupt, Wake};
use crate::{error::Result, text::sanitize};

pub use connected::ConnectedProgram;

/// The maximum number of bytes of a program's output that are kept, for each stream.
const KEPT: usize = 64 * 1024;

/// The maximum number of lines of a program's standard error that a message shows.
const SHOWN_LINES: usize = 5;

/// The largest size of a pipe that any process can set, in bytes (`pipe-max-size`, by default).
const MAX_PIPE: usize = 1024 * 1024;

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The same after a signal to pouch, which has to end within a second itself.
const SHORT_GRACE: Duration = Duration::from_millis(400);

/// The time between two looks at a process group, whose end cannot be polled.
const PAUSE: Duration = Duration::from_millis(10);

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

/// Gives a program the variable of [`restore_in_children`].
pub fn restore_environment(command: &mut Command) {
    match ORIGINAL.get() {
        Some((name, Some(value))) => command.env(name, value),
        Some((name, None)) => command.env_remove(name),
        None => command,
    };
}

/// Returns the command that starts this program again, even if its file was replaced.
pub fn this_program(name: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name);
    command
}

/// Waits for the end of one of several processes, or a signal to pouch.
///
/// # Errors
/// The system cannot wait for processes.
pub fn wait_for_any<'a>(
    children: impl Iterator<Item = &'a Child>,
    stop: &Interrupt,
) -> io::Result<Wake> {
    let ends: Vec<_> = children
        .map(|child| pidfd_open(Pid::from_child(child), PidfdFlags::empty()))
        .collect::<std::result::Result<_, _>>()?;
    let files = ends.iter().map(|end| PollFd::new(end, PollFlags::IN));
    stop.wait(files, None)
}

/// Returns what distinguishes a running process from others that had or will have its ID: the boot
/// of the system, and the time from that to its start (`/proc/PID/stat`, see `proc_pid_stat(5)`).
/// `None` if it has ended, or cannot be seen.
pub fn identity(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in parentheses, which may contain spaces
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let has_ended = fields.next().is_none_or(|state| "ZX".contains(state));
    let start = fields.nth(18).filter(|_| !has_ended)?;
    Some(format!("{} {start}", boot.trim()))
}

/// Asks a process to end (SIGTERM).
pub fn terminate(child: &Child) {
    // it fails if the process has ended
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Starts a program of the desktop that may run longer than pouch, in its own process group and
/// without output.
///
/// # Errors
/// It cannot be started.
pub fn start_detached(mut command: Command) -> io::Result<()> {
    restore_environment(&mut command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}

/// The end of a program.
#[derive(Debug)]
pub enum Ended {
    /// The program exited, or a signal killed it.
    Exited(ExitStatus),
    /// The time limit was exceeded, and pouch killed the program.
    TimeOut,
    /// Its output could not be written to its [`Sink`], or exceeds the limit
    /// ([`io::ErrorKind::FileTooLarge`]), and pouch killed the program.
    OutputError(io::Error),
}

/// A file for the standard output of a program.
#[derive(Debug)]
pub struct Sink {
    /// The file.
    pub file: File,
    /// The largest number of bytes that may be written.
    pub limit: u64,
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
    /// Where its standard output goes. If it is `None`, the beginning is kept in memory.
    pub output: Option<Sink>,
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
        stop.check()?;
        let Some(mut command) = command(self.argv, self.environment) else {
            return Ok(Err(io::ErrorKind::NotFound.into()));
        };
        command
            .stdin(self.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.interactive {
            command.process_group(0);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        let mut output = match Output::of(&mut child, self.output) {
            Ok(output) => output,
            Err(error) => {
                end(&mut child, self.interactive, stop);
                return Ok(Err(error));
            }
        };
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let waited = wait(&mut child, deadline, stop, &mut output);
        if !matches!(waited, Ok(Ended::Exited(_))) {
            end(&mut child, self.interactive, stop);
        }
        let ended = match waited {
            Ok(Ended::TimeOut) => {
                stop.check()?;
                Ended::TimeOut
            }
            Ok(ended) => ended,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(ProcessOutput {
            ended,
            stdout: output.stdout.head,
            stderr: output.stderr.head,
        }))
    }
}

/// Returns the command to start a program with these additional variables, or `None` if it has no
/// name.
fn command(argv: &[String], environment: &[(&str, String)]) -> Option<Command> {
    let (name, arguments) = argv.split_first()?;
    let mut command = Command::new(name);
    restore_environment(&mut command);
    command
        .args(arguments)
        .envs(environment.iter().map(|(key, value)| (key, value)));
    Some(command)
}

/// Returns the last lines that the program `name` wrote to standard error, as facts for a message.
pub fn stderr_facts(name: &str, stderr: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = stderr
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .rev()
        .take(SHOWN_LINES)
        // ssh ends its lines with CR LF
        .map(|line| format!("`{name}` said: {}", sanitize(line.trim_ascii_end())))
        .collect();
    lines.reverse();
    lines
}

/// The output of a program. All of it is read, so that the program never blocks.
struct Output {
    stdout: Printed<ChildStdout>,
    stderr: Printed<ChildStderr>,
}

/// One stream of a program's output.
#[derive(Debug)]
struct Printed<P> {
    /// `None` once it is closed.
    pipe: Option<P>,
    head: Vec<u8>,
    /// Receives all of the stream in place of `head`, if it is `Some`.
    sink: Option<Sink>,
}

impl Output {
    fn of(child: &mut Child, sink: Option<Sink>) -> io::Result<Self> {
        Ok(Self {
            stdout: Printed::of(child.stdout.take(), sink)?,
            stderr: Printed::of(child.stderr.take(), None)?,
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

    /// Reads output without waiting.
    ///
    /// # Errors
    /// It cannot be written to the sink, or is too much.
    fn read(&mut self) -> io::Result<()> {
        self.stderr.read()?;
        self.stdout.read()
    }

    /// Reads what an ended program has left in its pipes.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn read_rest(&mut self) -> io::Result<()> {
        self.stderr.read_rest()?;
        self.stdout.read_rest()
    }
}

impl<P: Read + AsFd> Printed<P> {
    fn of(pipe: Option<P>, sink: Option<Sink>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            head: Vec::new(),
            sink,
        })
    }

    /// Reads up to [`KEPT`] bytes without waiting.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut more = Vec::new();
        match pipe.by_ref().take(KEPT as u64).read_to_end(&mut more) {
            Ok(KEPT) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end of the stream. An unreadable pipe loses output, but the program has not
            // failed.
            Ok(_) | Err(_) => self.pipe = None,
        }
        let Some(sink) = &mut self.sink else {
            let room = KEPT - self.head.len();
            self.head.extend_from_slice(&more[..more.len().min(room)]);
            return Ok(());
        };
        let left = sink.limit.checked_sub(more.len() as u64);
        sink.limit = left.ok_or(io::ErrorKind::FileTooLarge)?;
        sink.file.write_all(&more)
    }

    /// Reads what an ended program has left in the pipe.
    fn read_rest(&mut self) -> io::Result<()> {
        // A descendant may still write to the pipe, and is not waited for.
        (0..MAX_PIPE / KEPT).try_for_each(|_| self.read())
    }
}

/// Waits for `child` to exit. Returns [`Ended::TimeOut`] if the deadline or a signal came first.
///
/// A descendant of the program may keep the output open after the program has exited. It is not
/// waited for.
fn wait(
    child: &mut Child,
    deadline: Option<Instant>,
    stop: &Interrupt,
    output: &mut Output,
) -> io::Result<Ended> {
    let exited = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            // All output from before the exit is in the pipe by now.
            return Ok(match output.read_rest() {
                Ok(()) => Ended::Exited(status),
                Err(error) => Ended::OutputError(error),
            });
        }
        if let Err(error) = output.read() {
            return Ok(Ended::OutputError(error));
        }
        let exited = PollFd::new(&exited, PollFlags::IN);
        match stop.wait(output.files().chain([exited]), deadline)? {
            Wake::Ready => {}
            Wake::Deadline | Wake::Signal => return Ok(Ended::TimeOut),
        }
    }
}

/// Ends `child` and its process group: with SIGTERM, and after a grace period with SIGKILL. The
/// child may have ended already, and others in its group may outlive it.
fn end(child: &mut Child, interactive: bool, stop: &Interrupt) {
    if !interactive && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // This fails if the group has ended, or belongs to another user now.
        let _ = kill_process_group(group, Signal::TERM);
        let grace = || {
            if stop.signal().is_some() {
                SHORT_GRACE
            } else {
                GRACE
            }
        };
        let began = Instant::now();
        // Once the child is reaped, the group exists as long as it has another member. Its number
        // is not given to another process before that.
        while began.elapsed() < grace()
            && (matches!(child.try_wait(), Ok(None)) || test_kill_process_group(group).is_ok())
        {
            // a signal to pouch shortens the grace period, but does not end it
            let _ = Interrupt::default().sleep(PAUSE);
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Keeps the memory of this process, which has passwords, out of core files and away from the
/// debuggers of other processes of the user. The programs that it starts are limited as well, but
/// may raise their limit again.
pub fn disable_core_dumps() {
    // The limit does not apply if core_pattern names a program (systemd-coredump); the attribute
    // does. Where one of them fails, nothing can be done about it.
    let limit = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
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
    fn output_to_a_sink_is_complete_or_too_much() {
        for (limit, fits) in [(300_000, true), (299_999, false)] {
            let file = tempfile::tempfile().unwrap();
            let sink = Sink {
                file: file.try_clone().unwrap(),
                limit,
            };
            let argv = ["head", "-c", "300000", "/dev/zero"].map(String::from);
            let outcome = Run {
                argv: &argv,
                input: None,
                output: Some(sink),
                environment: &[],
                timeout: None,
                interactive: false,
            }
            .run(&Interrupt::default())
            .unwrap()
            .unwrap();
            let length = file.metadata().unwrap().len();
            match outcome.ended {
                Ended::Exited(_) => assert!(fits && length == 300_000, "{length}"),
                ended => assert!(!fits && length < limit, "{ended:?} {length}"),
            }
        }
    }

    #[test]
    fn program_is_killed_at_its_time_limit() {
        let outcome = sh("sleep 1000", Some(Duration::from_millis(20)));
        assert!(matches!(outcome.ended, Ended::TimeOut));
    }
}
