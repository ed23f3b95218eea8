//! The destination `-`: messages on standard output in mboxrd format, for `| formail -s procmail`
//! and similar programs.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use rustix::{fs::fsync, io::Errno, stdio::stdout};

use super::{BatchOutcome, Delivery, Draft, Envelope, PendingCommit, mboxrd};
use crate::{
    domain::message::return_path,
    error::{Error, Kind, Result},
    sys::{clock::Clock, interrupt::Interrupt},
};

/// Standard output as a destination.
#[derive(Debug)]
pub struct Stdout {
    spool: PathBuf,
    clock: Clock,
}

impl Stdout {
    /// Returns standard output as a destination. Messages are spooled in the directory `spool`, in
    /// files without a name, because the beginning of a message cannot be taken back from a reader
    /// if the connection breaks.
    pub fn new(spool: PathBuf, clock: Clock) -> Self {
        Self { spool, clock }
    }
}

impl Delivery for Stdout {
    fn begin(&mut self, _envelope: &Envelope<'_>) -> Result<Draft> {
        Draft::create_unnamed(&self.spool)
    }

    fn accept(
        &mut self,
        _envelope: &Envelope<'_>,
        mut draft: Draft,
        _stop: &Interrupt,
    ) -> Result<()> {
        let head = draft
            .reread()
            .map_err(|error| Error::file("spool a message in", &self.spool, &error))?;
        let postmark = mboxrd::postmark(return_path(&head).as_deref(), self.clock.now());
        // Locked for the whole message, since other accounts write to standard output as well.
        let stdout = io::stdout().lock();
        let write = || {
            let mut out = BufWriter::with_capacity(64 * 1024, stdout);
            out.write_all(postmark.as_bytes())?;
            let mut quote = mboxrd::Quote::new(out);
            io::copy(&mut draft.file, &mut quote)?;
            quote.finish()
        };
        write().map_err(|error| {
            let failed = match error.kind() {
                // Most programs exit silently here, but this reader has not got all messages.
                io::ErrorKind::BrokenPipe => {
                    Error::new(Kind::Io, "the reader closed standard output")
                }
                _ => Error::new(Kind::Io, "cannot write to standard output")
                    .with_fact(error.to_string()),
            };
            failed.with_fact("the message stays on the server; the next run writes it again")
        })
    }

    fn take_batch(&mut self) -> PendingCommit {
        PendingCommit::new(|| match fsync(stdout()) {
            // Pipes do not support fsync. The message has been written to the pipe.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::ROFS) => {
                Ok(BatchOutcome::default())
            }
            Err(error) => {
                Err(Error::new(Kind::Io, "cannot sync standard output")
                    .with_fact(error.to_string()))
            }
        })
    }
}
