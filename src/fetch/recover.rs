//! What a run that died had delivered without telling the ledger.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path};

use crate::{
    delivery::Delivery,
    error::{Error, Result},
    folder,
    ledger::{Ledger, Recovered},
    message::{Fingerprint, Head, fingerprint},
    types::Epoch,
};

/// Looks for the ledger's messages in the place where they go, and tells the ledger which of them
/// lie there.
///
/// # Errors
/// The place cannot be read, or the ledger cannot be written.
pub(super) fn recover(ledger: &mut Ledger, delivery: &dyn Delivery, now: Epoch) -> Result<()> {
    // twice, since a mail program may move a message while it is looked for
    for _ in 0..2 {
        let mut ours = Vec::new();
        // the run that died may have given a message its name, and not made it safe
        let mut folders = BTreeSet::new();
        for found in delivery.look()?.unwrap_or_default() {
            if let Some((row, copy)) = ledger.row_of(&found.name)
                && let Some((octets, fingerprint)) = measured(&found.path)?
            {
                folders.extend(found.path.ancestors().skip(1).take(2).map(Path::to_owned));
                ours.push(Recovered { row, copy, octets, fingerprint });
            }
        }
        folders.iter().try_for_each(|folder| folder::anchor(folder))?;
        ledger.recover(&ours, now)?;
    }
    Ok(())
}

/// What a delivered file tells of its message: the size as LIST counts it, each LF standing for
/// CRLF, and the fingerprint; nothing where it is not there any more.
fn measured(path: &Path) -> Result<Option<(u64, Option<Fingerprint>)>> {
    let (mut octets, mut head) = (0, Head::default());
    let mut buffer = vec![0; 64 * 1024];
    let mut read = || -> std::io::Result<()> {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                got => {
                    head.push(&buffer[..got]);
                    octets += (got + memchr::memchr_iter(b'\n', &buffer[..got]).count()) as u64;
                }
            }
        }
    };
    match read() {
        Ok(()) => Ok(Some((octets, fingerprint(head.as_bytes())))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path, &error)),
    }
}
