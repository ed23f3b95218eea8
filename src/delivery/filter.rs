//! Filters: programs that read a message and write it back, changed or not, before it is delivered.

use std::{
    io::{ErrorKind, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::Path,
    time::Duration,
};

use super::{
    Draft, Envelope,
    pipe::{classify_exit, environment},
};
use crate::{
    domain::size::ByteSize,
    error::{Error, Kind, Result},
    sys::{
        interrupt::Interrupt,
        process::{Ended, Run, Sink, command_hint, program},
    },
};

/// The exit code of a filter that drops a message. sysexits.h does not use it.
const DROP: i32 = 99;

/// How much more a filter may write than twice the size of the message, in bytes.
const ROOM: u64 = 32_000_000;

/// A program that messages pass through.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// The time limit for one message.
    pub timeout: Duration,
    /// The directory in which messages are spooled.
    pub spool: &'a Path,
}

/// The result of a filter for a message.
#[derive(Debug)]
pub enum Filtered {
    /// The message as the program wrote it back.
    Passed(Draft),
    /// The program dropped the message.
    Dropped,
}

impl Filter<'_> {
    /// Runs the program on a message. The draft is consumed; the message is still on the server.
    ///
    /// # Errors
    /// The program cannot be run ([`Kind::Config`]), defers ([`Kind::Deferred`]) or rejects
    /// ([`Kind::Rejected`]) the message, or returns far more than it got, or an empty message
    /// although the input was not empty; or a signal interrupted the run; or the disk failed.
    pub fn run(&self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<Filtered> {
        let mut passed = Draft::spooled(self.spool)?;
        let octets = draft.octets()?;
        let limit = octets.saturating_mul(2).saturating_add(ROOM);
        let run = Run {
            argv: self.argv,
            environment: &environment(envelope, octets),
            input: Some(draft.into_input()?),
            output: Some(Sink {
                file: passed
                    .file
                    .try_clone()
                    .map_err(|error| passed.unreadable(&error))?,
                limit,
            }),
            timeout: Some(self.timeout),
            interactive: false,
        };
        let name = self.argv[0].as_str();
        let outcome = run.run(stop)?.map_err(|error| {
            Error::new(Kind::Config, format!("cannot run the filter `{name}`"))
                .with_fact(error.to_string())
                .with_hint(command_hint(
                    self.argv,
                    "write `filter` as a list of commands, each of them a list: \
                     [[\"bogofilter\", \"-p\", \"-e\"]]",
                ))
        })?;
        match &outcome.ended {
            Ended::Exited(status) if status.code() == Some(DROP) && status.signal().is_none() => {
                return Ok(Filtered::Dropped);
            }
            Ended::OutputError(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(too_much_output(self.argv, octets, limit));
            }
            Ended::OutputError(error) => {
                return Err(Error::file("write", passed.path(), error));
            }
            _ => classify_exit(name, self.timeout, &outcome)?,
        }
        if octets > 0 && passed.octets()? == 0 {
            return Err(Error::new(
                Kind::Rejected,
                format!("the filter `{name}` returned an empty message"),
            ));
        }
        passed
            .file
            .seek(SeekFrom::End(0))
            .map_err(|error| passed.unreadable(&error))?;
        Ok(Filtered::Passed(passed))
    }
}

/// Returns the error for a filter that wrote more than `limit` for a message of so many bytes.
fn too_much_output(argv: &[String], octets: u64, limit: u64) -> Error {
    let name = program(argv);
    let size = |octets| ByteSize::from_octets(octets).rounded();
    Error::new(
        Kind::Rejected,
        format!("the filter `{name}` wrote more than {}", size(limit)),
    )
    .with_fact(format!(
        "the message has {}; a filter may write twice that and {} more",
        size(octets),
        size(ROOM)
    ))
}
