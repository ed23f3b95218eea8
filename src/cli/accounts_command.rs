//! Runs `accounts-command`, and stores the list of accounts that it printed.
//!
//! The command may depend on a database that is not always available. So the last list is used if
//! it fails: in later rounds of `--every` the one in memory, otherwise the one in the state
//! directory, which has no passwords. Without its password an account cannot be fetched, which does
//! no harm: the mail stays on the server until the command works again.

use std::{
    io::{Read, Seek},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};
use zeroize::Zeroizing;

use crate::{
    config::list::ListText,
    error::{Error, Kind, Result},
    sys::{
        files,
        interrupt::Interrupt,
        process::{Ended, ProcessOutput, Run, Sink, program, start_hint, stderr_facts},
    },
};

/// The largest output of the command, in bytes.
const LARGEST: u64 = 64 << 20;

/// The longest time that the command may take.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// The name of the file with the last list, in the state directory.
const FILE: &str = "accounts.toml";

/// Returns the name of the output for messages.
pub fn shown(argv: &[String]) -> String {
    format!("output of `{}`", program(argv))
}

/// Runs the command, and returns its output.
///
/// # Errors
/// [`Kind::Config`] if the command failed, took too long, or printed too much. Or a signal ended
/// the run.
pub fn run(argv: &[String], stop: &Interrupt) -> Result<Zeroizing<Vec<u8>>> {
    let name = program(argv);
    let failed = |what: &str| {
        let what = format!("the accounts command `{name}` {what}");
        Error::new(Kind::Config, what)
    };
    // passwords must not be in a file
    let memory = memfd_create("accounts", MemfdFlags::CLOEXEC)
        .map_err(|error| failed("cannot be run").with_fact(error.to_string()))?;
    let mut memory = std::fs::File::from(memory);
    let copy = memory
        .try_clone()
        .map_err(|error| failed("cannot be run").with_fact(error.to_string()))?;
    let run = Run {
        argv,
        input: None,
        output: Some(Sink {
            file: copy,
            limit: LARGEST,
        }),
        environment: &[],
        timeout: Some(TIME_LIMIT),
        interactive: false,
    };
    let ProcessOutput { ended, stderr, .. } = run.run(stop)?.map_err(|error| {
        let usual = "write `accounts-command` as a list of the program and its arguments";
        failed("cannot be run")
            .with_fact(error.to_string())
            .with_hint(start_hint(argv, &error, usual))
    })?;
    let what = match ended {
        Ended::Exited(status) if status.success() => {
            let mut output = Zeroizing::new(Vec::new());
            return memory
                .rewind()
                .and_then(|()| memory.read_to_end(&mut output))
                .map(|_| output)
                .map_err(|error| failed("failed").with_fact(error.to_string()));
        }
        Ended::Exited(status) => format!("failed: {status}"),
        Ended::OutputError(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            "printed more than 64 MiB".to_owned()
        }
        Ended::OutputError(error) => format!("failed: {error}"),
        Ended::TimeOut => format!("timed out after {}s", TIME_LIMIT.as_secs()),
    };
    let facts = stderr_facts(&name, &stderr).into_iter();
    Err(facts
        .fold(failed(&what), Error::with_fact)
        .with_hint("run it by hand to see what it prints"))
}

/// The file with the last list that a command printed.
#[derive(Debug)]
pub struct StoredList {
    path: PathBuf,
    /// The first line, which tells the lists of different commands apart.
    head: String,
}

impl StoredList {
    /// Returns the file for a command in a state directory.
    pub fn new(state_dir: &Path, argv: &[String]) -> Self {
        let words: Vec<_> = argv.iter().map(|word| format!("{word:?}")).collect();
        Self {
            path: state_dir.join(FILE),
            head: format!("# accounts-command = [{}]\n", words.join(", ")),
        }
    }

    /// Returns the text of the list. `None` if there is none, or it is one of another command.
    pub fn read(&self) -> Option<String> {
        let bytes = files::read(&self.path, LARGEST).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        text.starts_with(&self.head).then_some(text)
    }

    /// Stores a list, unless it is the same as the stored one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, list: &ListText) -> Result<()> {
        let text = format!("{}{}", self.head, list.of(|_| true));
        if self.read().is_some_and(|stored| stored == text) {
            return Ok(());
        }
        files::replace(&self.path, text.as_bytes())
    }
}
