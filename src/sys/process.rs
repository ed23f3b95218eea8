//! Running somebody else's program: with an end in time, and its output kept within bounds.

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
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionbio,
    process::{Pid, Signal, kill_process_group},
};

use crate::{error::Result, sys::interrupt::Interrupt};

/// How much of a program's output is kept.
const KEPT: usize = 64 * 1024;

/// How long a program gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait for output before looking whether the program has ended: longer and longer.
const SHORTEST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// A variable of the environment, by its name, and its value if it is set.
type Variable = (OsString, Option<OsString>);

/// What the programs that pouch starts get instead of a variable that pouch replaced for itself.
/// As global as the environment is.
static ORIGINAL: OnceLock<Variable> = OnceLock::new();

/// From now on programs get `value` as the variable `name`, or do not get it if that is `None`.
///
/// Only the first call has an effect.
pub fn restore_in_children(name: &str, value: Option<&OsStr>) {
    let _ = ORIGINAL.set((name.into(), value.map(OsStr::to_owned)));
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, or by somebody's signal.
    Itself(ExitStatus),
    /// By pouch, since its time was over.
    TimeOut,
}

/// What a program left.
#[derive(Debug)]
pub struct ProcessOutput {
    /// How it ended.
    pub ended: Ended,
    /// The head of what it printed on standard output, unless that went to a file.
    pub stdout: Vec<u8>,
    /// The head of what it printed on standard error.
    pub stderr: Vec<u8>,
}

/// What to do where a program cannot be run: `usual`, unless its name tells more.
pub fn way_out(argv: &[String], usual: &str) -> String {
    match argv.first() {
        Some(name) if name.starts_with('~') => {
            "no shell expands `~` in a command: write the whole path".into()
        }
        _ => usual.into(),
    }
}

/// How to run a program.
pub struct Run<'a> {
    /// Its name and arguments. There is no shell.
    pub argv: &'a [String],
    /// What it reads; nothing where there is none.
    pub input: Option<File>,
    /// Where its standard output goes; nothing: the head of it is kept.
    pub output: Option<File>,
    /// What is added to its environment.
    pub environment: &'a [(&'a str, String)],
    /// When it is ended.
    pub timeout: Option<Duration>,
    /// Whether it may ask at the terminal: it is then not put into a process group of its own.
    pub interactive: bool,
}

impl Run<'_> {
    /// Runs it to its end. A signal to pouch ends it too.
    ///
    /// # Errors
    /// The inner error: it could not be started. The outer one: pouch was stopped by a signal.
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
        let ended = match wait(&mut child, deadline, stop, &mut output) {
            Ok(Ok(Some(status))) => Ended::Itself(status),
            Ok(Ok(None)) => {
                end(&mut child, self.interactive, &mut output);
                Ended::TimeOut
            }
            Ok(Err(error)) => return Ok(Err(error)),
            Err(stopped) => {
                end(&mut child, self.interactive, &mut output);
                return Err(stopped);
            }
        };
        Ok(Ok(ProcessOutput {
            ended,
            stdout: output.stdout.head,
            stderr: output.stderr.head,
        }))
    }
}

/// What a program prints. All of it is read, so that it never waits for pouch.
#[derive(Default)]
struct Output {
    stdout: Printed<ChildStdout>,
    stderr: Printed<ChildStderr>,
}

/// What a program prints on one of its streams.
struct Printed<P> {
    /// Nothing once it is closed.
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

    /// Waits until there is output, for `nap` at most.
    fn wait(&self, nap: Duration) {
        let pipes = [
            self.stdout.pipe.as_ref().map(AsFd::as_fd),
            self.stderr.pipe.as_ref().map(AsFd::as_fd),
        ];
        let mut pipes: Vec<_> = pipes
            .iter()
            .flatten()
            .map(|pipe| PollFd::from_borrowed_fd(*pipe, PollFlags::IN))
            .collect();
        let nap = Timespec::try_from(nap).ok();
        // whatever wakes it: the next look tells
        let _ = poll(&mut pipes, nap.as_ref());
    }

    /// Reads what is there, without waiting, and tells whether it was anything. A program may leave
    /// a child behind that holds its output open: nobody waits for that one.
    fn read(&mut self) -> bool {
        self.stdout.read() | self.stderr.read()
    }
}

impl<P: Read> Printed<P> {
    fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut more = Vec::new();
        let read = pipe.by_ref().take(KEPT as u64).read_to_end(&mut more);
        let room = KEPT - self.head.len();
        self.head.extend_from_slice(&more[..more.len().min(room)]);
        match read {
            Ok(KEPT) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => !more.is_empty(),
            // what cannot be read is output that cannot be shown, and no more than that
            Ok(_) | Err(_) => {
                self.pipe = None;
                true
            }
        }
    }
}

/// Waits for the end of `child`; nothing where the deadline came first.
fn wait(
    child: &mut Child,
    deadline: Option<Instant>,
    stop: &Interrupt,
    output: &mut Output,
) -> Result<io::Result<Option<ExitStatus>>> {
    let mut nap = SHORTEST_NAP;
    loop {
        let ended = child.try_wait();
        // what it printed before its end lies in the pipe by now
        let busy = output.read();
        match ended {
            Ok(None) => {}
            ended => return Ok(ended),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Ok(None));
        }
        stop.check()?;
        // it closes its output just before it ends
        nap = if busy {
            SHORTEST_NAP
        } else {
            LONGEST_NAP.min(nap * 2)
        };
        output.wait(nap);
    }
}

/// Ends `child` and what it started: politely first.
fn end(child: &mut Child, interactive: bool, output: &mut Output) {
    let never = Interrupt::default();
    if !interactive && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // gone already, or not ours any more: then there is nothing left to end
        let _ = kill_process_group(group, Signal::TERM);
        if !matches!(
            wait(child, Some(Instant::now() + GRACE), &never, output),
            Ok(Ok(None))
        ) {
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
    fn output_and_status_come_back() {
        let outcome = sh("echo \"$WORD\"; echo no >&2; exit 3", None);
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.stderr.as_slice()),
            (&b"x y\n"[..], &b"no\n"[..])
        );
        assert!(matches!(outcome.ended, Ended::Itself(status) if status.code() == Some(3)));
    }

    #[test]
    fn endless_output_is_cut_and_does_not_block() {
        let outcome = sh("head -c 1000000 /dev/zero", None);
        assert_eq!(outcome.stdout.len(), KEPT);
    }

    #[test]
    fn its_time_ends() {
        let outcome = sh("sleep 1000", Some(Duration::from_millis(20)));
        assert!(matches!(outcome.ended, Ended::TimeOut));
    }
}
