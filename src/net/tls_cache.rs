//! The TLS configurations of all accounts, each of which is built once.

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

/// The settings that a configuration depends on.
type Key = (Trust, Option<ClientCertificate>);

/// A configuration, which the first thread that needs it builds while others wait.
type Slot = Arc<OnceLock<Result<TlsConfig>>>;

/// A cache of TLS configurations, shared by all accounts with the same authorities and the same
/// client certificate. Reading authorities can take tens of milliseconds.
#[derive(Clone, Default)]
pub struct TlsCache {
    roots: Arc<SystemRoots>,
    configs: Arc<Mutex<HashMap<Key, Slot>>>,
}

impl TlsCache {
    /// Returns an empty cache. `roots` are the authorities of the system.
    pub fn new(roots: SystemRoots) -> Self {
        Self {
            roots: Arc::new(roots),
            configs: Arc::default(),
        }
    }

    /// Returns an empty cache with the same `roots`, so that all files are read again.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            roots: Arc::clone(&self.roots),
            configs: Arc::default(),
        }
    }

    /// Returns the authorities of the system; see [`SystemRoots::bundled`].
    pub fn bundled_roots(&self) -> Option<Vec<Vec<u8>>> {
        self.roots.bundled()
    }

    /// Starts to build the configuration for `trust` and `client` in the background.
    pub fn prepare(&self, trust: &Trust, client: Option<&ClientCertificate>) {
        let (cache, trust, client) = (self.clone(), trust.clone(), client.cloned());
        // An error is returned by `get`.
        let _ = thread::Builder::new().spawn(move || cache.get(&trust, client.as_ref()).map(drop));
    }

    /// Returns the configuration for `trust` and `client`, and builds it if this is the first call.
    ///
    /// # Errors
    /// As for [`TlsConfig::new`].
    pub fn get(&self, trust: &Trust, client: Option<&ClientCertificate>) -> Result<TlsConfig> {
        let key = (trust.clone(), client.cloned());
        let slot = Arc::clone(
            self.configs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(key)
                .or_default(),
        );
        slot.get_or_init(|| TlsConfig::new(trust, client, &self.roots))
            .clone()
    }
}
