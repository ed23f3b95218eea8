//! What is printed for the accounts of several users.

use std::ffi::OsString;

use super::{outcome::Outcome, selection::fetch_of};
use crate::{
    cli::{
        CommandContext, Failure, activity,
        args::{Command, Report, Status},
        plugin, print_json,
    },
    domain::time::TimeSpan,
    error::Exit,
};

/// The output of a command.
#[derive(Clone, Copy)]
pub(super) enum Output<'c> {
    /// The processes print their own output.
    Processes,
    /// One JSON document for all of them.
    Document,
    /// The line or the JSON document of `status --check`, with its time limit.
    Check(&'c Status, TimeSpan),
    /// The report of `pouch report`.
    Report(&'c Report),
}

impl<'c> Output<'c> {
    /// Returns the output of a command. `is_whole` is whether one process has all accounts.
    pub fn new(context: &CommandContext, command: &'c Command, is_whole: bool) -> Self {
        match command {
            Command::Report(args) if !context.global.json => Self::Report(args),
            // the line also reports accounts that cannot be used
            Command::Status(
                args @ Status {
                    check: Some(limit), ..
                },
            ) if !is_whole || context.problems_exit() != Exit::OK => Self::Check(args, *limit),
            _ if context.global.json && fetch_of(command).is_none() && !is_whole => Self::Document,
            _ => Self::Processes,
        }
    }

    /// Returns the command line of the processes: `arguments`, with `--json` added if this process
    /// prints something other than their documents.
    pub fn arguments(self, arguments: &[OsString]) -> Vec<OsString> {
        let mut arguments = arguments.to_vec();
        if matches!(self, Self::Check(..) | Self::Report(_)) {
            arguments.insert(1, "--json".into());
        }
        arguments
    }

    /// Returns whether this process reads the documents of the processes, so that they do not print
    /// them.
    pub fn reads_documents(self) -> bool {
        !matches!(self, Self::Processes)
    }

    /// Prints the outcome of the processes. Returns the exit code, which is `exit` by default.
    ///
    /// # Errors
    /// Standard output or the report cannot be written.
    pub fn write(
        self,
        context: &CommandContext,
        outcome: Outcome,
        exit: Exit,
    ) -> Result<Exit, Failure> {
        match self {
            Self::Processes => {}
            Self::Document => print_json(&outcome.document(context))?,
            Self::Check(args, limit) => {
                return Ok(plugin::print(context, args, limit, outcome.accounts)?);
            }
            Self::Report(args) => activity::write_combined(context, args, outcome.accounts)?,
        }
        Ok(exit)
    }
}
