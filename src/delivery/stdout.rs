//! Standard output: messages one behind the other, for `| formail -s procmail` and its like.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use rustix::{fs::fsync, io::Errno, stdio::stdout};

use super::{Delivery, Draft, Envelope, PendingCommit, mboxrd};
use crate::{
    domain::message::return_path,
    error::{Error, Kind, Result},
    sys::{clock::Clock, interrupt::Interrupt},
};

/// Standard output as a place for messages.
#[derive(Debug)]
pub struct Stdout {
    spool: PathBuf,
    clock: Clock,
}

impl Stdout {
    /// Standard output. Messages are spooled in the folder `spool`, in files without a name, since
    /// a reader cannot be told to forget the beginning of one.
    pub fn new(spool: PathBuf, clock: Clock) -> Self {
        Self { spool, clock }
    }
}

impl Delivery for Stdout {
    fn begin(&mut self, _slip: &Envelope<'_>) -> Result<Draft> {
        Draft::create_unnamed(&self.spool)
    }

    fn accept(&mut self, _slip: &Envelope<'_>, mut draft: Draft, _stop: &Interrupt) -> Result<()> {
        let head = draft
            .reread()
            .map_err(|error| Error::file("spool a message in", &self.spool, &error))?;
        let postmark = mboxrd::postmark(return_path(&head).as_deref(), self.clock.now());
        // held for the whole message: those of other accounts wait
        let stdout = io::stdout().lock();
        let write = || {
            let mut out = BufWriter::with_capacity(64 * 1024, stdout);
            out.write_all(postmark.as_bytes())?;
            let mut quote = mboxrd::Quote::new(out);
            io::copy(&mut draft.file, &mut quote)?;
            quote.finish()
        };
        write().map_err(|error| {
            let told = match error.kind() {
                // a pipe says so once its reader is gone. Elsewhere that is no news, but the
                // messages that the reader did not wait for are.
                io::ErrorKind::BrokenPipe => {
                    Error::new(Kind::Io, "the reader closed standard output")
                }
                _ => Error::new(Kind::Io, "cannot write to standard output")
                    .with_fact(error.to_string()),
            };
            told.with_fact("the message stays on the server; the next run writes it again")
        })
    }

    fn take_batch(&mut self) -> PendingCommit {
        PendingCommit::new(|| match fsync(stdout()) {
            // a pipe cannot be made safe, and has the message
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::ROFS) => Ok(()),
            Err(error) => {
                Err(Error::new(Kind::Io, "cannot sync standard output")
                    .with_fact(error.to_string()))
            }
        })
    }
}
