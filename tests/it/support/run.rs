//! Runs a program with a time limit, and returns its output.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::redact::redact;

/// The time limit of a run without [`Run::within`].
const PATIENCE: Duration = Duration::from_mins(1);

/// The time to wait for remaining output after the program has ended. Its own output is in the pipe
/// by then; only a child process can keep the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program to run.
#[derive(Debug)]
#[must_use = "nothing runs before `run` or `spawn`"]
pub struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    terminal: Option<OwnedFd>,
    within: Duration,
}

impl Run {
    /// Creates a run of any command.
    pub fn of(command: Command) -> Self {
        Self {
            command,
            stdin: None,
            terminal: None,
            within: PATIENCE,
        }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets the standard input, which is empty by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Makes a terminal the standard input.
    #[cfg(feature = "system-tests")]
    pub fn terminal(mut self, terminal: OwnedFd) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Sets the working directory, which is the home directory by default.
    pub fn dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Sets the time limit, after which the program is killed and the test fails.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts the program.
    #[track_caller]
    pub fn spawn(mut self) -> Child {
        let name = shown(&self.command);
        let mut child = self
            .command
            .stdin(match (self.terminal, &self.stdin) {
                (Some(terminal), _) => terminal.into(),
                (None, Some(_)) => Stdio::piped(),
                (None, None) => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {name}: {e}"));
        let deadline = Instant::now() + self.within;
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program need not read all of its input.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let watch = Arc::new(Watch::default());
        watch.follow(child.stdout.take().expect("a pipe"), |seen| {
            &mut seen.stdout
        });
        watch.follow(child.stderr.take().expect("a pipe"), |seen| {
            &mut seen.stderr
        });
        watch.follow_end(Pid::from_child(&child));
        Child {
            process: child,
            name,
            watch,
            deadline,
            reaped: false,
        }
    }
}

/// Returns the command line for display.
fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        let _ = write!(text, " {}", arg.to_string_lossy());
    }
    text
}

/// One output stream of a program.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    closed: bool,
}

/// The known state of a running program.
#[derive(Debug, Default)]
struct Seen {
    stdout: Stream,
    stderr: Stream,
    ended: bool,
}

/// [`Seen`] with a condition variable.
#[derive(Debug, Default)]
struct Watch {
    seen: Mutex<Seen>,
    news: Condvar,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.news.notify_all();
    }

    /// Reads a pipe to its end in a thread.
    fn follow(
        self: &Arc<Self>,
        mut pipe: impl Read + Send + 'static,
        stream: fn(&mut Seen) -> &mut Stream,
    ) {
        let watch = Arc::clone(self);
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => watch.tell(|seen| stream(seen).bytes.extend_from_slice(&chunk[..n])),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            watch.tell(|seen| stream(seen).closed = true);
        });
    }

    /// Waits for the end of the program in a thread. The program stays a zombie (`NOWAIT`), so that
    /// a signal cannot reach another process with the same id.
    fn follow_end(self: &Arc<Self>, pid: Pid) {
        let watch = Arc::clone(self);
        thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).is_err_and(|e| e == Errno::INTR) {}
            watch.tell(|seen| seen.ended = true);
        });
    }

    /// Waits until `done` returns true or the deadline passes; returns whether it did.
    fn until(&self, deadline: Instant, done: impl Fn(&Seen) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .news
            .wait_timeout_while(self.lock(), left, |seen| !done(seen));
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        done(&seen)
    }
}

/// A running program, which is killed when it is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    name: String,
    watch: Arc<Watch>,
    deadline: Instant,
    reaped: bool,
}

impl Child {
    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills the program (`SIGKILL`).
    pub fn kill(&mut self) {
        self.signal(Signal::KILL.as_raw());
    }

    /// Sends a signal, unless the program has ended.
    pub fn signal(&mut self, number: i32) {
        let signal = Signal::from_named_raw(number).expect("the number of a signal");
        kill_process(Pid::from_child(&self.process), signal)
            .unwrap_or_else(|e| panic!("cannot send signal {number} to {}: {e}", self.name));
    }

    /// Returns what the program has printed to standard output so far.
    #[cfg(feature = "system-tests")]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.watch.lock().stdout.bytes).into_owned()
    }

    /// Returns what the program has printed to standard error so far.
    #[cfg(feature = "system-tests")]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.watch.lock().stderr.bytes).into_owned()
    }

    /// Waits until the program has printed `text` to standard output or standard error.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// Waits until the program has printed `text` this number of times to the same output.
    #[track_caller]
    pub fn wait_for_times(&mut self, text: &str, times: usize) {
        let has = |stream: &Stream| {
            memchr::memmem::find_iter(&stream.bytes, text.as_bytes()).count() >= times
        };
        let printed = |seen: &Seen| has(&seen.stdout) || has(&seen.stderr);
        let mute = |seen: &Seen| seen.stdout.closed && seen.stderr.closed;
        self.watch
            .until(self.deadline, |seen| printed(seen) || mute(seen));
        if !printed(&self.watch.lock()) {
            let output = self.end();
            panic!("it did not print {text:?} {times} times\n{output}");
        }
    }

    /// Returns whether the program is running.
    pub fn is_running(&self) -> bool {
        !self.watch.lock().ended
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let in_time = self.watch.until(self.deadline, |seen| seen.ended);
        let output = self.end();
        assert!(in_time, "it did not end in time and was killed\n{output}");
        output
    }

    /// Kills the program if it is running, and collects its output.
    fn end(&mut self) -> Output {
        let status = self.reap();
        self.watch.until(Instant::now() + LAST_WORDS, |seen| {
            seen.stdout.closed && seen.stderr.closed
        });
        let seen = self.watch.lock();
        Output {
            command: self.name.clone(),
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&seen.stdout.bytes).into_owned(),
            stderr: String::from_utf8_lossy(&seen.stderr.bytes).into_owned(),
            stdout_bytes: seen.stdout.bytes.clone(),
        }
    }

    fn reap(&mut self) -> ExitStatus {
        // This has no effect on a program that has ended.
        self.process.kill().expect("it is our child");
        let status = self.process.wait().expect("it is our child");
        self.reaped = true;
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.reap();
        }
    }
}

/// The result of a run, which `{}` prints completely.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// The exit code, or 128 + n if signal n terminated the program.
    pub code: i32,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
    /// Standard output, as bytes.
    pub stdout_bytes: Vec<u8>,
}

impl Output {
    /// Asserts the exit code.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == code, "the exit code is not {code}\n{self}");
        self
    }

    /// Asserts that nothing was printed.
    #[track_caller]
    pub fn assert_silent(&self) -> &Self {
        let silent = self.stdout_bytes.is_empty() && self.stderr.is_empty();
        assert!(silent, "it was not silent\n{self}");
        self
    }

    /// Returns standard output for a snapshot, with variable parts replaced.
    pub fn stdout_text(&self) -> String {
        redact(&self.stdout)
    }

    /// Returns standard error for a snapshot, with variable parts replaced.
    pub fn stderr_text(&self) -> String {
        redact(&self.stderr)
    }

    /// Returns the command line, both outputs and the exit code for a snapshot, with variable parts
    /// replaced.
    pub fn transcript(&self) -> String {
        let mut text = format!("$ {}\n{}", self.command, self.stdout);
        if !self.stderr.is_empty() {
            text.push_str("------- stderr -------\n");
            text.push_str(&self.stderr);
        }
        if self.code != 0 {
            text.push_str(&format!("[exit code: {}]\n", self.code));
        }
        redact(&text)
    }

    /// Returns [`Output::transcript`] under a heading, to snapshot several runs together.
    pub fn case(&self, name: &str) -> String {
        format!(
            "{}\n{}",
            format!("=== {name}").trim_end(),
            self.transcript()
        )
    }

    /// Asserts that standard output contains this text.
    #[track_caller]
    pub fn assert_stdout(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text),
            "standard output has no {text:?}\n{self}"
        );
        self
    }

    /// Asserts that standard error contains this text.
    #[track_caller]
    pub fn assert_stderr(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "standard error has no {text:?}\n{self}"
        );
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "exit code {}", self.code)?;
        for (name, text) in [
            ("standard output", &self.stdout),
            ("standard error", &self.stderr),
        ] {
            writeln!(f, "--- {name}")?;
            f.write_str(text)?;
            if !text.is_empty() && !text.ends_with('\n') {
                writeln!(f, "(no newline)")?;
            }
        }
        writeln!(f, "---")
    }
}
