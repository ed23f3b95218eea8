//! The certificate authorities of the system.
//!
//! # Why the bundle is read here
//!
//! OpenSSL knows the authorities in two forms. In a hashed directory (`/etc/ssl/certs` on Debian)
//! it looks up the authority that a certificate names. From a file with all of them, the bundle, it
//! parses every certificate for each configuration: with 150 authorities, that takes more CPU time
//! than everything else in a poll. native-tls always passes both to OpenSSL, even if other
//! authorities were given, and has no option to leave the file out. But if `SSL_CERT_FILE` names a
//! file, it passes that one instead of the bundle.
//!
//! So the program sets this variable to an empty file when it starts. This module reads the bundle
//! for accounts that trust the system's authorities, and only if a certificate in it is missing
//! from the hashed directories: on systems that have only a bundle (Fedora), or if an administrator
//! added a certificate to it. The trusted authorities are the same as without this module.
//!
//! Ignoring the bundle was rejected, since such systems would trust no authority. Authorities
//! compiled into the program were rejected, because administrators add and remove authorities, and
//! expect every program to follow.

use std::{
    collections::HashSet,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use memchr::memmem;
use native_tls::{Certificate, TlsConnectorBuilder};
use openssl::x509::X509;
use openssl_probe::{ENV_CERT_DIR, ENV_CERT_FILE};

/// The first line of a certificate in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// The last line of a certificate in PEM.
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The files and directories in which OpenSSL would find the authorities of the system.
#[derive(Clone, Debug, Default)]
pub struct SystemRoots {
    /// The bundles.
    files: Vec<PathBuf>,
    /// The hashed directories.
    directories: Vec<PathBuf>,
    /// The original value of [`Self::VARIABLE`].
    original: Option<OsString>,
    /// Whether the system has no authorities.
    is_missing: bool,
}

impl SystemRoots {
    /// The variable that names the bundle.
    pub const VARIABLE: &str = ENV_CERT_FILE;

    /// A bundle without a certificate.
    pub const EMPTY: &str = "/dev/null";

    /// Finds bundles and directories in the environment and at the system's usual paths.
    ///
    /// Returns `None` if [`Self::VARIABLE`] must be left as it is, because the user's own file is a
    /// pipe, or has entries that only OpenSSL itself can read (`TRUSTED CERTIFICATE`).
    pub fn find() -> Option<Self> {
        let original = env::var_os(ENV_CERT_FILE);
        let probed = openssl_probe::probe();
        let default = openssl_directory();
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        if original.is_none() {
            push_new(&mut files, default.join("cert.pem"));
        }
        if let Some(file) = probed.cert_file {
            if original.is_some() && !is_plain(&file) {
                return None;
            }
            push_new(&mut files, file);
        }
        match env::var_os(ENV_CERT_DIR) {
            Some(list) => env::split_paths(&list).for_each(|dir| push_new(&mut directories, dir)),
            None => push_new(&mut directories, default.join("certs")),
        }
        for directory in probed.cert_dir {
            push_new(&mut directories, directory);
        }
        let is_missing = files.is_empty() && !directories.iter().any(|dir| is_hashed(dir));
        Some(Self {
            files,
            directories,
            original,
            is_missing,
        })
    }

    /// Returns the bundles and directories, and the directories of the files to which a hashed
    /// directory has symbolic links.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let entries = self
            .directories
            .iter()
            .filter_map(|dir| fs::read_dir(dir).ok());
        let targets = entries.flatten().flatten().filter_map(|entry| {
            let target = entry.path().canonicalize().ok()?;
            target.parent().map(Path::to_owned)
        });
        let targets: HashSet<_> = targets.collect();
        let own = self.files.iter().chain(&self.directories).cloned();
        own.chain(targets).collect::<Vec<_>>().into_iter()
    }

    /// Returns whether the system has no authorities at all: no bundle, and no certificate in a
    /// hashed directory.
    pub(super) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Returns the original value of [`Self::VARIABLE`], or `None` if it was not set. The programs
    /// that pouch starts get this value.
    pub fn original(&self) -> Option<&OsStr> {
        self.original.as_deref()
    }

    /// Adds the authorities that OpenSSL does not find in the hashed directories.
    ///
    /// A file that cannot be read or has no certificate is ignored, as OpenSSL does.
    pub(super) fn add_missing(&self, builder: &mut TlsConnectorBuilder) {
        for file in &self.files {
            let Ok(pem) = fs::read(file) else { continue };
            if self.directories_have_all(&pem) {
                continue;
            }
            for root in Certificate::stack_from_pem(&pem).unwrap_or_default() {
                builder.add_root_certificate(root);
            }
        }
    }

    /// Returns all authorities of the system (DER), for a TLS client that cannot add those that
    /// OpenSSL does not find in the hashed directories. Returns `None` if OpenSSL finds all.
    pub fn bundled(&self) -> Option<Vec<Vec<u8>>> {
        let bundles = self.files.iter().filter_map(|file| fs::read(file).ok());
        let missing: Vec<_> = bundles
            .filter(|pem| !self.directories_have_all(pem))
            .collect();
        if missing.is_empty() {
            return None;
        }
        let entries = self
            .directories
            .iter()
            .filter_map(|dir| fs::read_dir(dir).ok());
        let hashed = entries
            .flatten()
            .flatten()
            .filter(|entry| is_hash(&entry.file_name()));
        let hashed = hashed.filter_map(|entry| fs::read(entry.path()).ok());
        let all = missing.into_iter().chain(hashed);
        let roots = all
            .filter_map(|pem| X509::stack_from_pem(&pem).ok())
            .flatten();
        Some(roots.filter_map(|root| root.to_der().ok()).collect())
    }

    /// Returns whether each certificate in `pem` has an entry in a hashed directory.
    ///
    /// The text of the certificates is compared, since parsing them is what has to be avoided.
    fn directories_have_all(&self, pem: &[u8]) -> bool {
        if certificates(pem).count() != entries(pem) {
            return false;
        }
        let mut missing: HashSet<Vec<u8>> = certificates(pem).collect();
        let entries = self
            .directories
            .iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .flatten();
        for entry in entries {
            if missing.is_empty() {
                break;
            }
            // OpenSSL expects one certificate in each entry.
            if is_hash(&entry.file_name())
                && let Ok(pem) = fs::read(entry.path())
                && let Some(first) = certificates(&pem).next()
            {
                missing.remove(&first);
            }
        }
        missing.is_empty()
    }
}

/// Returns the directory with OpenSSL's own configuration, certificates and bundle.
fn openssl_directory() -> &'static Path {
    // OPENSSLDIR: "/usr/lib/ssl"
    Path::new(openssl::version::dir().split('"').nth(1).unwrap_or(""))
}

/// Adds `path` unless it does not exist or is there already under another name.
fn push_new(paths: &mut Vec<PathBuf>, path: PathBuf) {
    let Ok(real) = path.canonicalize() else {
        return;
    };
    if !paths
        .iter()
        .any(|known| known.canonicalize().is_ok_and(|known| known == real))
    {
        paths.push(path);
    }
}

/// Returns whether `file` is a regular file with nothing but certificates.
fn is_plain(file: &Path) -> bool {
    file.is_file() && fs::read(file).is_ok_and(|pem| certificates(&pem).count() == entries(&pem))
}

/// Returns whether `directory` contains a certificate under the hash of its subject.
fn is_hashed(directory: &Path) -> bool {
    fs::read_dir(directory)
        .is_ok_and(|mut entries| entries.any(|it| it.is_ok_and(|it| is_hash(&it.file_name()))))
}

/// Returns whether this is the name of a certificate in a hashed directory: eight hexadecimal
/// digits of the subject's hash, a dot and a number.
fn is_hash(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.split_once('.'))
        .is_some_and(|(hash, number)| {
            let digits = |text: &str, radix| text.chars().all(|digit| digit.is_digit(radix));
            hash.len() == 8 && digits(hash, 16) && !number.is_empty() && digits(number, 10)
        })
}

/// Returns the certificates in `pem`, in base64 without white space.
fn certificates(pem: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    memmem::find_iter(pem, BEGIN).filter_map(|at| {
        let text = &pem[at + BEGIN.len()..];
        let text = &text[..memmem::find(text, END)?];
        Some(
            text.iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect(),
        )
    })
}

/// Returns the number of entries of any kind in `pem`.
fn entries(pem: &[u8]) -> usize {
    memmem::find_iter(pem, b"-----BEGIN ").count()
}
