//! A program that gets each message on its standard input, once the message has arrived whole.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, time::Duration};

use super::{Delivery, Draft, Envelope};
use crate::{
    error::{Error, Kind, Result},
    sys::{
        interrupt::Interrupt,
        process::{Ended, ProcessOutput, Run, way_out},
    },
    text::sanitize,
};

/// A program to hand messages to.
#[derive(Debug)]
pub struct Pipe {
    argv: Vec<String>,
    timeout: Duration,
    spool: PathBuf,
}

impl Pipe {
    /// The program `argv`, which may take `timeout` for each message. Messages are spooled in the
    /// folder `spool`, in files without a name.
    pub fn new(argv: &[String], timeout: Duration, spool: PathBuf) -> Self {
        Self {
            argv: argv.to_vec(),
            timeout,
            spool,
        }
    }
}

impl Delivery for Pipe {
    fn begin(&mut self, _slip: &Envelope<'_>) -> Result<Draft> {
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
            .with_hint(way_out(
                &self.argv,
                "write `pipe` as a list of the program and its arguments: \
                 [\"procmail\", \"-d\", \"ann\"]",
            ))
        })?;
        judge(&self.argv[0], self.timeout, &outcome)
    }
}

/// What a program is told of the message that it gets.
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

/// What the end of the program means (sysexits.h): 75 and the codes that stand for a broken system
/// ask for the message again, any other code does not want it.
pub(super) fn judge(name: &str, timeout: Duration, outcome: &ProcessOutput) -> Result<()> {
    let (kind, what) = match &outcome.ended {
        Ended::TimeOut => (
            Kind::Deferred,
            format!("`{name}` timed out after {} s", timeout.as_secs()),
        ),
        Ended::Itself(status) => match (status.code(), status.signal()) {
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
    let said = [&outcome.stdout, &outcome.stderr]
        .into_iter()
        .flat_map(|output| output.split(|octet| *octet == b'\n'))
        .filter(|line| !line.trim_ascii().is_empty())
        .take(5);
    Err(said.fold(Error::new(kind, what), |error, line| {
        error.with_fact(format!("`{name}` said: {}", sanitize(line)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;
    use std::{fs, io::Write};

    fn hand(script: &str, content: &[u8]) -> Result<()> {
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
        pipe.take_batch().commit()
    }

    #[test]
    fn the_program_gets_the_whole_message_and_knows_whose_it_is() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "{{ echo \"$POUCH_ACCOUNT $POUCH_UID $POUCH_SENDER $POUCH_SIZE\"; cat; }} > {}",
            out.path().display()
        );
        hand(&script, b"Subject: x\n\nbody\n").unwrap();
        assert_eq!(
            fs::read(out.path()).unwrap(),
            b"work u 1 ann@example.org 17\nSubject: x\n\nbody\n"
        );
    }

    #[test]
    fn exit_codes_mean_what_sysexits_says() {
        let kind = |script: &str| hand(script, b"x").unwrap_err().kind();
        for code in [69, 70, 73, 74, 75] {
            assert_eq!(kind(&format!("exit {code}")), Kind::Deferred, "{code}");
        }
        for code in [1, 65, 67, 77, 99, 100, 127] {
            assert_eq!(kind(&format!("exit {code}")), Kind::Rejected, "{code}");
        }
        assert_eq!(kind("kill -KILL $$"), Kind::Deferred);
        let error = hand("echo out; echo err >&2; exit 1", b"x").unwrap_err();
        assert_eq!(error.facts(), ["`sh` said: out", "`sh` said: err"]);
    }
}
