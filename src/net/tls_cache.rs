//! The TLS contexts of all accounts, each made once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use super::{SystemRoots, TlsConfig};
use crate::{
    config::{ClientCertificate, Trust},
    error::Result,
};

type Key = (Trust, Option<ClientCertificate>);
/// Filled by whoever needs it first, while others wait.
type Slot = Arc<OnceLock<Result<TlsConfig>>>;

/// The TLS contexts of a run, one for all accounts that trust the same authorities and show the same
/// certificate. Reading authorities can take tens of milliseconds.
#[derive(Clone, Default)]
pub struct TlsCache {
    roots: Arc<SystemRoots>,
    contexts: Arc<Mutex<HashMap<Key, Slot>>>,
}

impl TlsCache {
    /// Returns a cache without a context, for accounts that may trust `roots`.
    pub fn new(roots: SystemRoots) -> Self {
        Self {
            roots: Arc::new(roots),
            contexts: Arc::default(),
        }
    }

    /// Returns a cache without a context, so that all files are read again.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            roots: Arc::clone(&self.roots),
            contexts: Arc::default(),
        }
    }

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
            self.contexts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(key)
                .or_default(),
        );
        context
            .get_or_init(|| TlsConfig::new(trust, client, &self.roots))
            .clone()
    }
}
