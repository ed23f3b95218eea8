//! A program that gets a message and gives it back, perhaps changed, before it is delivered.

use std::{
    io::{Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::Path,
    time::Duration,
};

use super::{
    Draft, Envelope,
    pipe::{environment, judge},
};
use crate::{
    error::{Error, Kind, Result},
    sys::{
        interrupt::Interrupt,
        process::{Ended, Run, way_out},
    },
};

/// The exit code by which a filter drops a message.
const DROP: i32 = 99;

/// A program that messages go through.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// How long it may take for one message.
    pub timeout: Duration,
    /// The folder in which messages are spooled.
    pub spool: &'a Path,
}

/// What became of a message in a filter.
#[derive(Debug)]
pub enum Filtered {
    /// It goes on, as the program gave it back.
    Passed(Draft),
    /// The program does not let it pass.
    Dropped,
}

impl Filter<'_> {
    /// Runs the program on a message. The draft given is consumed: the message itself is still on
    /// the server.
    ///
    /// # Errors
    /// The program cannot be run, asks for the message again later, fails, or gives nothing back.
    pub fn run(&self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<Filtered> {
        let mut passed = Draft::spooled(self.spool)?;
        let octets = draft.octets()?;
        let run = Run {
            argv: self.argv,
            environment: &environment(envelope, octets),
            input: Some(draft.into_input()?),
            output: Some(
                passed
                    .file
                    .try_clone()
                    .map_err(|error| passed.unreadable(&error))?,
            ),
            timeout: Some(self.timeout),
            interactive: false,
        };
        let name = self.argv[0].as_str();
        let outcome = run.run(stop)?.map_err(|error| {
            Error::new(Kind::Config, format!("cannot run the filter `{name}`"))
                .with_fact(error.to_string())
                .with_hint(way_out(
                    self.argv,
                    "write `filter` as a list of commands, each of them a list: \
                     [[\"bogofilter\", \"-p\", \"-e\"]]",
                ))
        })?;
        match &outcome.ended {
            Ended::Itself(status) if status.code() == Some(DROP) && status.signal().is_none() => {
                return Ok(Filtered::Dropped);
            }
            _ => judge(name, self.timeout, &outcome)?,
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
