//! The processes that run the accounts of users.

use std::{
    ffi::OsString,
    io::{Read, Write},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::{
    handover::{Handover, MARK},
    outcome::{Ended, Outcome},
};
use crate::{
    cli::CommandContext,
    error::{Error, Kind, Result},
    sys::{
        interrupt::{Interrupt, Wake},
        process,
    },
};

/// The time for a process to end before a signal is forwarded to it. A signal from the terminal
/// reaches the process directly, and a second one would end it at once.
const FORWARD_AFTER: Duration = Duration::from_millis(100);

/// The options for running processes.
pub(super) struct Order {
    /// Their command line.
    pub arguments: Vec<OsString>,
    /// Whether their JSON documents are read.
    pub merges: bool,
    /// Whether they run one after the other, since they write to the same output.
    pub one_by_one: bool,
}

impl Order {
    /// Runs a process for each handover, waits for them, and adds their outcomes to `outcome`.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn run(
        &self,
        context: &CommandContext,
        handovers: &[Handover],
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut running = Vec::new();
        for handover in handovers {
            if context.stop.signal().is_some() {
                break;
            }
            running.push(self.start(context, handover)?);
            if self.one_by_one {
                wait(&mut running, &context.stop, outcome)?;
            }
        }
        wait(&mut running, &context.stop, outcome)
    }

    /// Starts a process for the accounts of a handover.
    fn start(&self, context: &CommandContext, handover: &Handover) -> Result<Process> {
        let failed = |error: std::io::Error| {
            Error::new(
                Kind::Io,
                "cannot start a process for the accounts of a user",
            )
            .with_fact(error.to_string())
        };
        let document = handover.document()?;
        let (name, rest) = self
            .arguments
            .split_first()
            .ok_or_else(|| Error::new(Kind::Bug, "there is no command line"))?;
        let mut command = process::this_program(name);
        if let Some(user) = &handover.user {
            let environment = context.setup.dirs.environment_of(user);
            command.env_clear().envs(environment);
        }
        process::restore_environment(&mut command);
        command.arg(MARK).args(rest).stdin(Stdio::piped());
        if self.merges {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // the exit code shows whether the process has failed
            let _ = input.write_all(&document);
        }
        let output = child.stdout.take().map(|mut output| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = output.read_to_end(&mut bytes);
                bytes
            })
        });
        let user = handover.user.as_ref();
        Ok(Process {
            user: user.map_or_else(|| "root".into(), |user| user.name.clone()),
            accounts: handover.accounts.clone(),
            child,
            output,
        })
    }
}

/// A running process of a group.
struct Process {
    /// The user, for messages.
    user: String,
    accounts: Vec<String>,
    child: Child,
    /// Reads its JSON document.
    output: Option<thread::JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Returns the result of the process, which ended with this status.
    fn ended(self, status: std::process::ExitStatus) -> Ended {
        Ended {
            user: self.user,
            accounts: self.accounts,
            status,
            output: self.output.and_then(|output| output.join().ok()),
        }
    }
}

/// Waits for all processes and adds their outcomes. A signal to this process ends them.
fn wait(running: &mut Vec<Process>, stop: &Interrupt, outcome: &mut Outcome) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Io, "cannot wait for a process").with_fact(error.to_string())
    };
    let mut is_stopped = false;
    loop {
        let mut ended = Vec::new();
        for index in (0..running.len()).rev() {
            if let Some(status) = running[index].child.try_wait().map_err(failed)? {
                ended.push(running.remove(index).ended(status));
            }
        }
        for process in ended {
            outcome.add(process, stop.signal().is_some());
        }
        if running.is_empty() {
            return Ok(());
        }
        let children = running.iter().map(|process| &process.child);
        if is_stopped {
            process::wait_for_any(children, &Interrupt::default()).map_err(failed)?;
            continue;
        }
        let wake = process::wait_for_any(children, stop).map_err(failed)?;
        if matches!(wake, Wake::Signal) {
            is_stopped = true;
            end(running);
        }
    }
}

/// Ends processes after a signal.
fn end(running: &mut [Process]) {
    let _ = Interrupt::default().sleep(FORWARD_AFTER);
    for process in running {
        if matches!(process.child.try_wait(), Ok(None)) {
            process::terminate(&process.child);
        }
    }
}
