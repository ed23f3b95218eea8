//! The destination `pipe`: a program that reads each message on its standard input.
//!
//! The program is started once the message is complete and verified. Streaming the message into it
//! as it arrives was rejected: a program cannot be made to forget the half of a message that was
//! received before the connection broke.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, time::Duration};

use super::{Delivery, Draft, Envelope};
use crate::{
    error::{Error, Kind, Result},
    sys::{
        interrupt::Interrupt,
        process::{Ended, ProcessOutput, Run, command_hint},
    },
    text::sanitize,
};

/// A program as a destination.
#[derive(Debug)]
pub struct Pipe {
    argv: Vec<String>,
    timeout: Duration,
    spool: PathBuf,
}

impl Pipe {
    /// Returns the program `argv` as a destination, with a time limit for each message. Messages
    /// are spooled in the directory `spool`, in files without a name.
    pub fn new(argv: &[String], timeout: Duration, spool: PathBuf) -> Self {
        Self {
            argv: argv.to_vec(),
            timeout,
            spool,
        }
    }
}

impl Delivery for Pipe {
    fn begin(&mut self, _envelope: &Envelope<'_>) -> Result<Draft> {
        Draft::create_unnamed(&self.spool)
    }

    fn accept(&mut self, envelope: &Envelope<'_>, draft: Draft, stop: &Interrupt) -> Result<()> {
        let run = Run {
            argv: &self.argv,
            environment: &environment(envelope, draft.octets()?),
            input: Some(draft.into_input()?),
            output: None,
            timeout: Some(self.timeout),
            interactive: false,
        };
        let outcome = run.run(stop)?.map_err(|error| {
            Error::new(
                Kind::Config,
                format!("cannot run the program `{}`", self.argv[0]),
            )
            .with_fact(error.to_string())
            .with_hint(command_hint(
                &self.argv,
                "write `pipe` as a list of the program and its arguments: \
                 [\"procmail\", \"-t\"]",
            ))
        })?;
        classify_exit(&self.argv[0], self.timeout, &outcome)
    }
}

/// Returns the environment variables that describe a message to a program.
pub(super) fn environment(envelope: &Envelope<'_>, octets: u64) -> [(&'static str, String); 4] {
    [
        ("POUCH_ACCOUNT", envelope.account.to_owned()),
        ("POUCH_UID", sanitize(&envelope.uid.text())),
        (
            "POUCH_SENDER",
            envelope
                .sender
                .map(|sender| sanitize(sender.as_bytes()))
                .unwrap_or_default(),
        ),
        ("POUCH_SIZE", octets.to_string()),
    ]
}

/// Returns the outcome of a delivery by the exit status of the program (sysexits.h).
///
/// # Errors
/// [`Kind::Deferred`] for codes 69 to 75, a timeout or a signal: the system is broken or the
/// program asks for a retry. [`Kind::Rejected`] for any other code but 0.
pub(super) fn classify_exit(name: &str, timeout: Duration, outcome: &ProcessOutput) -> Result<()> {
    let (kind, what) = match &outcome.ended {
        Ended::TimeOut => (
            Kind::Deferred,
            format!("`{name}` timed out after {} s", timeout.as_secs()),
        ),
        Ended::OutputError(error) => (
            Kind::Io,
            format!("cannot write the output of `{name}`: {error}"),
        ),
        Ended::Exited(status) => match (status.code(), status.signal()) {
            (Some(0), _) => return Ok(()),
            (Some(code @ 69..=75), _) => (
                Kind::Deferred,
                format!("`{name}` deferred the message (exit {code})"),
            ),
            (Some(code), _) => (
                Kind::Rejected,
                format!("`{name}` rejected the message (exit {code})"),
            ),
            (None, signal) => (
                Kind::Deferred,
                format!("`{name}` was killed by signal {}", signal.unwrap_or(0)),
            ),
        },
    };
    let lines = [&outcome.stdout, &outcome.stderr]
        .into_iter()
        .flat_map(|output| output.split(|octet| *octet == b'\n'))
        .filter(|line| !line.trim_ascii().is_empty())
        .take(5);
    Err(lines.fold(Error::new(kind, what), |error, line| {
        error.with_fact(format!(
            "`{name}` said: {}",
            sanitize(line.trim_ascii_end())
        ))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;
    use std::{fs, io::Write};

    /// Delivers a message with this content to a shell script.
    fn deliver(script: &str, content: &[u8]) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["sh", "-c", script].map(String::from);
        let mut pipe = Pipe::new(&argv, Duration::from_mins(1), dir.path().to_owned());
        let uid = Uid::new(*b"u 1");
        let envelope = Envelope {
            account: "work",
            name: "n",
            uid: &uid,
            sender: Some("ann@example.org"),
            destinations: &[],
            accepted_by: &[],
            fields: &[],
        };
        let mut draft = pipe.begin(&envelope).unwrap();
        draft.write_all(content).unwrap();
        pipe.accept(&envelope, draft, &Interrupt::default())?;
        pipe.take_batch().commit().map(drop)
    }

    #[test]
    fn program_reads_the_message_and_its_environment() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "{{ echo \"$POUCH_ACCOUNT $POUCH_UID $POUCH_SENDER $POUCH_SIZE\"; cat; }} > {}",
            out.path().display()
        );
        deliver(&script, b"Subject: x\n\nbody\n").unwrap();
        assert_eq!(
            fs::read(out.path()).unwrap(),
            b"work u 1 ann@example.org 17\nSubject: x\n\nbody\n"
        );
    }

    #[test]
    fn system_error_or_signal_defers_and_other_exit_code_rejects() {
        let kind = |script: &str| deliver(script, b"x").unwrap_err().kind();
        for code in [69, 70, 73, 74, 75] {
            assert_eq!(kind(&format!("exit {code}")), Kind::Deferred, "{code}");
        }
        for code in [1, 65, 67, 77, 99, 100, 127] {
            assert_eq!(kind(&format!("exit {code}")), Kind::Rejected, "{code}");
        }
        assert_eq!(kind("kill -KILL $$"), Kind::Deferred);
    }

    #[test]
    fn output_of_failed_program_is_reported() {
        let error = deliver("echo out; echo err >&2; exit 1", b"x").unwrap_err();
        assert_eq!(error.facts(), ["`sh` said: out", "`sh` said: err"]);
    }
}
