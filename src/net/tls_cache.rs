//! The TLS contexts of all accounts, each made once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use super::TlsConfig;
use crate::{
    config::{ClientCertificate, Trust},
    error::Result,
};

type Key = (Trust, Option<ClientCertificate>);
/// Filled by whoever needs it first, while others wait.
type Slot = Arc<OnceLock<Result<TlsConfig>>>;

/// TLS contexts, shared: OpenSSL takes tens of milliseconds to read the system's roots, which must
/// not be spent on each account, nor while a password command has yet to answer.
#[derive(Clone, Default)]
pub struct TlsCache(Arc<Mutex<HashMap<Key, Slot>>>);

impl TlsCache {
    /// Begins to make the context for `trust` and `client`, beside whatever comes next.
    pub fn prepare(&self, trust: &Trust, client: Option<&ClientCertificate>) {
        let (contexts, trust, client) = (self.clone(), trust.clone(), client.cloned());
        // what fails here is told by `get`
        let _ =
            thread::Builder::new().spawn(move || contexts.get(&trust, client.as_ref()).map(drop));
    }

    /// The context for `trust` and `client`, made now if it is the first time.
    ///
    /// # Errors
    /// As for [`TlsConfig::new`].
    pub fn get(&self, trust: &Trust, client: Option<&ClientCertificate>) -> Result<TlsConfig> {
        let key = (trust.clone(), client.cloned());
        let context = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(key)
                .or_default(),
        );
        context
            .get_or_init(|| TlsConfig::new(trust, client))
            .clone()
    }
}
