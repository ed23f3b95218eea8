//! A program that is a connection: its standard input and output are one end of a socket pair.
//!
//! The other end is an ordinary stream that does not block, so all timeouts and signals of a
//! connection apply. Its standard error is read whenever the connection waits, so that the program
//! never blocks, and quoted if the connection fails.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child, ChildStderr, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Printed, command, end, program, stderr_facts};
use crate::sys::interrupt::{Interrupt, Wake};

/// How long to wait for the exit status of a program that has closed the connection.
const EXIT_TIME: Duration = Duration::from_millis(200);

/// A running program, and this end of the connection that it provides. Dropping it ends the program
/// and its process group.
#[derive(Debug)]
pub struct ConnectedProgram {
    name: String,
    stream: UnixStream,
    child: Child,
    stderr: Printed<ChildStderr>,
    /// Whether the program and its process group have been ended.
    has_ended: bool,
    stop: Interrupt,
}

impl ConnectedProgram {
    /// Starts a program with these additional variables.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        argv: &[String],
        environment: &[(&str, String)],
        stop: &Interrupt,
    ) -> io::Result<Self> {
        let mut command = command(argv, environment).ok_or(ErrorKind::NotFound)?;
        let (stream, other) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let mut child = command
            .stdin(Stdio::from(OwnedFd::from(other.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(other)))
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        // only the program has the other end now, so that its exit closes the connection
        drop(command);
        let stderr = match Printed::of(child.stderr.take(), None) {
            Ok(stderr) => stderr,
            Err(error) => {
                end(&mut child, false, stop);
                return Err(error);
            }
        };
        Ok(Self {
            name: program(argv),
            stream,
            child,
            stderr,
            has_ended: false,
            stop: stop.clone(),
        })
    }

    /// Returns the standard error to poll, or `None` if the program has closed it.
    pub fn stderr(&self) -> Option<PollFd<'_>> {
        let pipe = self.stderr.pipe.as_ref()?;
        Some(PollFd::new(pipe, PollFlags::IN))
    }

    /// Reads what the program has written to standard error, without waiting.
    pub fn read_stderr(&mut self) {
        // without a sink, reading cannot fail
        let _ = self.stderr.read();
    }

    /// Returns an error of the connection with what is known of the program: its standard error
    /// and, if it has closed the connection, its exit status. In that case, the program is ended.
    pub fn explain(&mut self, error: &io::Error) -> io::Error {
        let (kind, what) = match error.kind() {
            ErrorKind::TimedOut => (ErrorKind::TimedOut, error.to_string()),
            _ => (ErrorKind::BrokenPipe, self.closed()),
        };
        let _ = self.stderr.read_rest();
        let mut lines = vec![what];
        lines.extend(stderr_facts(&self.name, &self.stderr.head));
        io::Error::new(kind, lines.join("\n"))
    }

    /// Ends a program that has closed the connection. Returns how that came about.
    fn closed(&mut self) -> String {
        match self.exit_status() {
            Some(status) => format!("`{}` ended: {status}", self.name),
            None => format!("`{}` closed its standard output", self.name),
        }
    }

    /// Ends the program. Returns its exit status if it exits in time on its own.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let exited = !self.has_ended && self.exits().unwrap_or(false);
        self.end();
        exited
            .then(|| self.child.try_wait().ok().flatten())
            .flatten()
    }

    /// Waits shortly for the exit of the program.
    fn exits(&self) -> io::Result<bool> {
        let exited = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let exited = PollFd::new(&exited, PollFlags::IN);
        let waited = self.stop.wait([exited], Some(Instant::now() + EXIT_TIME))?;
        Ok(waited == Wake::Ready)
    }

    /// Ends the program and its process group, once.
    fn end(&mut self) {
        if !self.has_ended {
            let _ = self.stream.shutdown(Shutdown::Both);
            end(&mut self.child, false, &self.stop);
            self.has_ended = true;
        }
    }
}

impl Drop for ConnectedProgram {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsFd for ConnectedProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Read for ConnectedProgram {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for ConnectedProgram {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> ConnectedProgram {
        let argv = ["sh", "-c", script].map(String::from);
        ConnectedProgram::start(&argv, &[("WORD", "x y".into())], &Interrupt::default()).unwrap()
    }

    /// Reads until the end of the connection.
    fn read(program: &mut ConnectedProgram) -> Vec<u8> {
        program.stream.set_nonblocking(false).unwrap();
        let mut bytes = Vec::new();
        program.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn input_and_output_are_the_connection() {
        let mut program = sh("read line; echo \"$line $WORD\"");
        program.write_all(b"hello\n").unwrap();
        assert_eq!(read(&mut program), b"hello x y\n");
    }

    #[test]
    fn end_of_the_program_is_explained() {
        let mut program = sh("echo first >&2; echo last >&2; exit 3");
        read(&mut program);
        let error = program.explain(&ErrorKind::UnexpectedEof.into());
        insta::assert_snapshot!(error, @r"
        `sh` ended: exit status: 3
        `sh` said: first
        `sh` said: last
        ");
        let mut program = sh("kill -9 $$");
        read(&mut program);
        let error = program.explain(&ErrorKind::UnexpectedEof.into());
        insta::assert_snapshot!(error, @"`sh` ended: signal: 9 (SIGKILL)");
        let mut program = sh("exec >&- <&-; exec sleep 1000");
        read(&mut program);
        let error = program.explain(&ErrorKind::UnexpectedEof.into());
        insta::assert_snapshot!(error, @"`sh` closed its standard output");
    }

    #[test]
    fn timeout_keeps_its_kind_and_the_program() {
        let mut program = sh("echo waiting >&2; echo ready; exec sleep 1000");
        program.stream.set_nonblocking(false).unwrap();
        program.read_exact(&mut [0; 6]).unwrap();
        let error = program.explain(&io::Error::new(ErrorKind::TimedOut, "no data"));
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        insta::assert_snapshot!(error, @r"
        no data
        `sh` said: waiting
        ");
        assert!(matches!(program.child.try_wait(), Ok(None)));
    }

    #[test]
    fn drop_ends_the_process_group() {
        let mut program = sh("sleep 1000 & echo $!; wait");
        let mut line = [0; 16];
        program.stream.set_nonblocking(false).unwrap();
        let length = program.read(&mut line).unwrap();
        let pid = str::from_utf8(&line[..length]).unwrap().trim();
        let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap();
        drop(program);
        assert!(rustix::process::test_kill_process_group(pid).is_err());
        assert!(!std::path::Path::new(&format!("/proc/{}/exe", pid.as_raw_nonzero())).exists());
    }
}
