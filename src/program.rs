//! Running somebody else's program: with an end in time, and its output kept within bounds.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{error::Result, stop::Stop};

/// How much of a program's output is kept.
const KEPT: u64 = 64 * 1024;

/// How long a program gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

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
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The head of what it printed on standard output.
    pub stdout: Vec<u8>,
    /// The head of what it printed on standard error.
    pub stderr: Vec<u8>,
}

/// How to run a program.
pub struct Run<'a> {
    /// Its name and arguments. There is no shell.
    pub argv: &'a [String],
    /// What it reads; nothing where there is none.
    pub input: Option<File>,
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
    pub fn run(self, stop: &Stop) -> Result<io::Result<Outcome>> {
        let Some((name, arguments)) = self.argv.split_first() else {
            return Ok(Err(io::ErrorKind::NotFound.into()));
        };
        let mut command = Command::new(name);
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
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
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let ended = match wait(&mut child, deadline, stop) {
            Ok(Ok(Some(status))) => Ended::Itself(status),
            Ok(Ok(None)) => {
                end(&mut child, self.interactive);
                Ended::TimeOut
            }
            Ok(Err(error)) => return Ok(Err(error)),
            Err(stopped) => {
                end(&mut child, self.interactive);
                return Err(stopped);
            }
        };
        Ok(Ok(Outcome { ended, stdout: collect(&stdout), stderr: collect(&stderr) }))
    }
}

/// Reads all that a program prints, so that it never waits for pouch, and keeps the head of it.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut head = Vec::new();
        // what could not be read is output that cannot be shown, and no more than that
        let _ = pipe.by_ref().take(KEPT).read_to_end(&mut head);
        let _ = sender.send(head);
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    receiver
}

/// What `drain` kept. A program may leave a child behind that holds its output open: do not wait
/// for that one.
fn collect(receiver: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    receiver.recv_timeout(GRACE).unwrap_or_default()
}

/// Waits for the end of `child`; nothing where the deadline came first.
fn wait(child: &mut Child, deadline: Option<Instant>, stop: &Stop) -> Result<io::Result<Option<ExitStatus>>> {
    let mut nap = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(None) => {}
            done => return Ok(done),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Ok(None));
        }
        stop.pause(nap)?;
        nap = (nap * 2).min(Duration::from_millis(50));
    }
}

/// Ends `child` and what it started: politely first.
fn end(child: &mut Child, interactive: bool) {
    let never = Stop::default();
    if !interactive && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // gone already, or not ours any more: then there is nothing left to end
        let _ = kill_process_group(group, Signal::TERM);
        if !matches!(wait(child, Some(Instant::now() + GRACE), &never), Ok(Ok(None))) {
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

    fn sh(script: &str, timeout: Option<Duration>) -> Outcome {
        let argv = ["sh", "-c", script].map(String::from);
        Run { argv: &argv, input: None, environment: &[("WORD", "x y".into())], timeout, interactive: false }
            .run(&Stop::default())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn output_and_status_come_back() {
        let outcome = sh("echo \"$WORD\"; echo no >&2; exit 3", None);
        assert_eq!((outcome.stdout.as_slice(), outcome.stderr.as_slice()), (&b"x y\n"[..], &b"no\n"[..]));
        assert!(matches!(outcome.ended, Ended::Itself(status) if status.code() == Some(3)));
    }

    #[test]
    fn endless_output_is_cut_and_does_not_block() {
        let outcome = sh("head -c 1000000 /dev/zero", None);
        assert_eq!(outcome.stdout.len() as u64, KEPT);
    }

    #[test]
    fn its_time_ends() {
        let outcome = sh("sleep 1000", Some(Duration::from_millis(20)));
        assert!(matches!(outcome.ended, Ended::TimeOut));
    }
}
