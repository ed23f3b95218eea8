//! Runs a program with a time limit, and returns its output.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::redact::redact;

/// How long a run may take, where [`Run::within`] does not say otherwise.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long to look for last words after the program has ended. Whatever it
/// wrote lies in the pipe by then; only a program that it left behind can keep
/// the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program that is about to run.
#[derive(Debug)]
#[must_use = "nothing runs before `run` or `spawn`"]
pub struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    within: Duration,
}

impl Run {
    /// Any command, as it stands.
    pub fn of(command: Command) -> Self {
        Self {
            command,
            stdin: None,
            within: PATIENCE,
        }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// What it reads from standard input: nothing, unless said here.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Where it runs: in `$HOME`, unless said here.
    pub fn dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// How long it may take before it is killed and the test fails.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Child {
        let name = shown(&self.command);
        let mut child = self
            .command
            .stdin(
                self.stdin
                    .as_ref()
                    .map_or_else(Stdio::null, |_| Stdio::piped()),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {name}: {e}"));
        let deadline = Instant::now() + self.within;
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that does not read to the end is no fault of the test.
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

/// The command line, to show it.
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

/// What is known of a running program.
#[derive(Debug, Default)]
struct Seen {
    stdout: Stream,
    stderr: Stream,
    ended: bool,
}

/// [`Seen`], and a way to wait for more.
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

    /// Reads a pipe to its end, in a thread.
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

    /// Waits for the program's end, in a thread. It stays a zombie (`NOWAIT`),
    /// so that its number belongs to nobody else while a signal may go there.
    fn follow_end(self: &Arc<Self>, pid: Pid) {
        let watch = Arc::clone(self);
        thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).is_err_and(|e| e == Errno::INTR) {}
            watch.tell(|seen| seen.ended = true);
        });
    }

    /// Waits until `done` or the deadline; tells whether it is done.
    fn until(&self, deadline: Instant, done: impl Fn(&Seen) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .news
            .wait_timeout_while(self.lock(), left, |seen| !done(seen));
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        done(&seen)
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    name: String,
    watch: Arc<Watch>,
    deadline: Instant,
    reaped: bool,
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once (`SIGKILL`).
    pub fn kill(&mut self) {
        self.signal(Signal::KILL.as_raw());
    }

    /// Sends it a signal, by number. One that has ended gets none.
    pub fn signal(&mut self, number: i32) {
        let signal = Signal::from_named_raw(number).expect("the number of a signal");
        kill_process(Pid::from_child(&self.process), signal)
            .unwrap_or_else(|e| panic!("cannot send signal {number} to {}: {e}", self.name));
    }

    /// Waits until it has printed `text`, to standard output or standard error.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// Waits until it has printed `text` so many times, all to the same output.
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

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        !self.watch.lock().ended
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let in_time = self.watch.until(self.deadline, |seen| seen.ended);
        let output = self.end();
        assert!(in_time, "it did not end in time and was killed\n{output}");
        output
    }

    /// Ends it if it still runs, and gathers what there is.
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
        // Does nothing to one that has ended.
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

/// What came of a run. Shown by `{}`, it tells everything.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// The exit code; 128+n when signal n ended it.
    pub code: i32,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
    /// Standard output, as it came.
    pub stdout_bytes: Vec<u8>,
}

impl Output {
    /// It ended with this code.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == code, "the exit code is not {code}\n{self}");
        self
    }

    /// It printed nothing at all.
    #[track_caller]
    pub fn assert_silent(&self) -> &Self {
        let silent = self.stdout_bytes.is_empty() && self.stderr.is_empty();
        assert!(silent, "it was not silent\n{self}");
        self
    }

    /// Returns standard output for a snapshot: without what differs from run to run.
    pub fn stdout_text(&self) -> String {
        redact(&self.stdout)
    }

    /// Returns standard error for a snapshot: without what differs from run to run.
    pub fn stderr_text(&self) -> String {
        redact(&self.stderr)
    }

    /// Returns the command line, both outputs and the exit code for a snapshot, without what
    /// differs from run to run.
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

    /// Standard output has this text in it.
    #[track_caller]
    pub fn assert_stdout(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text),
            "standard output has no {text:?}\n{self}"
        );
        self
    }

    /// Standard error has this text in it.
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
