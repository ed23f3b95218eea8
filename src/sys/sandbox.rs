//! The sandbox of a run: what the process can reach once its accounts are known (Landlock).
//!
//! # What it is for
//!
//! A run processes data from strangers as the user. The rules below leave it nothing but what its
//! accounts need, so that neither a defect of pouch or a library, nor a path that another user
//! replaced during the run, gives access to the rest of the user's files:
//!
//! * It writes the state directory, Maildirs, the directories of mbox files, in which locks are
//!   created, and that of the metrics.
//! * It reads the password file, certificates, and the directories of the system: certificate
//!   authorities, time zones, the resolver with its libraries.
//! * It connects to the ports of the accounts, or of their proxies, and to DNS.
//! * It starts no program.
//!
//! A program inherits the sandbox, and its needs are unknown. Therefore a run in which one account
//! starts a program has no sandbox. One process for each account was rejected: passwords and
//! signals would have to be passed to it, and reports back.
//!
//! # Limits
//!
//! Landlock restricts a thread and those that it starts. A single run restricts the first thread
//! before there are others, that is the process. With `--every`, a disk may be mounted, or a
//! directory or a file replaced, between two rounds, and Landlock's rules name files, not paths.
//! So each round has a thread and rules of its own. The first thread, which only waits, stays
//! unrestricted.
//!
//! Rules for moving files between directories came with Linux 5.19; without them Landlock forbids
//! that, and Maildirs could not be used. Older kernels have no sandbox. Ports are restricted from
//! Linux 6.7 on.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use crate::{
    config::{Account, SecretSource, Trust},
    domain::destination::{Destination, LmtpServer},
};

/// The access rights that are restricted, as far as the kernel knows them.
const RIGHTS: ABI = ABI::V6;

/// The directories and files that libraries read: the resolver, OpenSSL and the time zones.
const SYSTEM: [&str; 21] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
    "/run/nscd",
    "/var/db/nscd",
    "/var/cache/nscd",
    "/var/lib/sss",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/urandom",
];

/// Files that are often symbolic links to a place that differs between systems. Their directories
/// are read, since these files are replaced.
const LINKED: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/localtime",
];

/// Whether a run is sandboxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is, with all rules.
    Enforced,
    /// It is, but the kernel supports only some of the rules.
    Partial,
    /// It is not, for this reason.
    Off(String),
}

/// The files and ports that a run can use.
#[derive(Debug, Default)]
pub struct Sandbox {
    /// The reason why there is no sandbox.
    off: Option<String>,
    /// Files and directories that are read.
    read: BTreeSet<PathBuf>,
    /// Directories that are read and written.
    write: BTreeSet<PathBuf>,
    /// Directories that are synced, which needs the right to list them.
    list: BTreeSet<PathBuf>,
    /// The ports to connect to.
    ports: BTreeSet<u16>,
}

impl Sandbox {
    /// Returns the sandbox for a run of these accounts, with the ledgers in `state_dir`. The other
    /// paths in `read` are read as well.
    pub fn new(accounts: &[Account], state_dir: &Path, read: Vec<PathBuf>) -> Self {
        let mut sandbox = Self::default();
        // getaddrinfo(3) repeats a truncated response over TCP
        sandbox.ports.insert(53);
        sandbox.write_dir(state_dir);
        let directories = LINKED.map(|path| Path::new(path).canonicalize());
        let directories = directories.into_iter().flatten();
        let directories = directories.filter_map(|path| path.parent().map(Path::to_owned));
        sandbox.read.extend(SYSTEM.map(PathBuf::from));
        sandbox.read.extend(directories.chain(read));
        for account in accounts {
            if starts_programs(account) {
                sandbox.off = Some(format!("account `{}` runs programs", account.name));
            }
            sandbox.add(account);
        }
        sandbox
    }

    /// Adds a port to connect to.
    pub fn allow_port(&mut self, port: u16) {
        self.ports.insert(port);
    }

    /// Adds a directory in which files are written.
    pub fn allow_directory(&mut self, path: &Path) {
        self.write_dir(path);
    }

    /// Returns the sandbox that is not applied, for this reason.
    pub fn off(reason: &str) -> Self {
        Self {
            off: Some(reason.into()),
            ..Self::default()
        }
    }

    /// Adds what an account needs.
    fn add(&mut self, account: &Account) {
        let proxy = account.proxy_server();
        self.ports
            .insert(proxy.map_or(account.port, |proxy| proxy.port));
        if let SecretSource::File(path) = &account.secret {
            self.read.insert(path.clone());
        }
        if let Trust::CaFile(path) = &account.trust {
            self.read.insert(path.clone());
        }
        if let Some(client) = &account.client_certificate {
            self.read.insert(client.certificate.clone());
            self.read.insert(client.key.clone());
        }
        for destination in account.routing.all() {
            match destination {
                Destination::Maildir(root) => {
                    self.write_dir(&root);
                    self.add_linked_folders(&root, &mut HashSet::new());
                }
                Destination::Mbox(path) => {
                    self.write_dir(parent(&path));
                    if let Ok(target) = path.canonicalize() {
                        self.write_dir(parent(&target));
                    }
                }
                Destination::Lmtp(LmtpServer::Tcp { port, .. }, _) => {
                    self.ports.insert(port);
                }
                // no rule restricts the connection to a Unix socket
                Destination::Lmtp(LmtpServer::Unix(_), _)
                | Destination::Pipe(_)
                | Destination::Stdout => {}
            }
        }
    }

    /// Adds a directory that is written. It and its parent are synced if it was created. If it is
    /// missing, the nearest directory above it is written, to create it.
    fn write_dir(&mut self, path: &Path) {
        let mut existing = path;
        while !existing.exists() && existing != parent(existing) {
            existing = parent(existing);
        }
        self.write.insert(existing.to_owned());
        self.list.insert(parent(existing).to_owned());
    }

    /// Adds the folders of a Maildir that are symbolic links: messages are searched there, too.
    fn add_linked_folders(&mut self, dir: &Path, seen: &mut HashSet<(u64, u64)>) {
        let is_new = |metadata: fs::Metadata| seen.insert((metadata.dev(), metadata.ino()));
        if !fs::metadata(dir).is_ok_and(is_new) {
            return;
        }
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_part = ["tmp", "new", "cur"]
                .iter()
                .any(|part| entry.file_name() == *part);
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() && is_part => self.write_dir(&path),
                Ok(kind) if kind.is_symlink() && path.join("cur").is_dir() => {
                    self.read.insert(path.clone());
                    self.add_linked_folders(&path, seen);
                }
                Ok(kind) if kind.is_dir() && !is_part => self.add_linked_folders(&path, seen),
                _ => {}
            }
        }
    }

    /// Restricts this thread, and the threads that it starts from now on. This cannot be undone.
    pub fn apply(&self) -> Status {
        if let Some(reason) = &self.off {
            return Status::Off(reason.clone());
        }
        let complete = Cell::new(true);
        let ruleset = self.ruleset(&complete);
        if !complete.get() {
            return Status::Off("too few files can be opened".into());
        }
        let restricted = ruleset.and_then(RulesetCreated::restrict_self);
        match restricted.map(|status| status.ruleset) {
            Ok(RulesetStatus::FullyEnforced) => Status::Enforced,
            Ok(RulesetStatus::PartiallyEnforced) => Status::Partial,
            _ => Status::Off("the kernel does not support Landlock".into()),
        }
    }

    /// Returns the rules. Clears `complete` if a path that exists could not be opened: the run
    /// would fail for a path that it may use.
    fn ruleset(&self, complete: &Cell<bool>) -> Result<RulesetCreated, RulesetError> {
        let all = AccessFs::from_all(RIGHTS);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = all & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
        let rule = |path: &PathBuf, rights: BitFlags<AccessFs>| {
            let rule = path_beneath_rules([path], rights).next();
            if rule.is_none() && path.exists() {
                complete.set(false);
            }
            rule
        };
        let list = self.list.iter();
        let ports = self.ports.iter();
        let ports = ports.map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
        let ports: Vec<Result<_, RulesetError>> = ports.collect();
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .handle_access(AccessNet::ConnectTcp | AccessNet::BindTcp)?
            .scope(Scope::from_all(RIGHTS))?
            .create()?
            .add_rules(self.read.iter().filter_map(|path| rule(path, read)))?
            .add_rules(self.write.iter().filter_map(|path| rule(path, write)))?
            .add_rules(list.filter_map(|path| rule(path, AccessFs::ReadDir.into())))?
            .add_rules(ports)
    }
}

/// Returns whether fetching the account starts programs.
fn starts_programs(account: &Account) -> bool {
    let is_pipe = |destination: &Destination| matches!(destination, Destination::Pipe(_));
    matches!(
        account.secret,
        SecretSource::Command(_) | SecretSource::TokenCommand(_)
    ) || account.proxy_password_command.is_some()
        || account.connect_command.is_some()
        || !account.filter.is_empty()
        || account.before.is_some()
        || account.after.is_some()
        || account.alert.is_some()
        || account.routing.all().iter().any(is_pipe)
}

/// Returns the directory of `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConnectCommand, overrides::Overrides, url};

    fn account() -> Account {
        let overrides = Overrides {
            no_delivery: true,
            ..Overrides::default()
        };
        url::account("pops://ann@pop.example.org", &overrides).unwrap()
    }

    #[test]
    fn account_with_a_program_turns_it_off() {
        let cat = || vec!["cat".to_owned()];
        let changes: [fn(&mut Account, Vec<String>); 8] = [
            |account, argv| account.filter = vec![argv],
            |account, argv| account.before = Some(argv),
            |account, argv| account.proxy_password_command = Some(argv),
            |account, argv| account.connect_command = ConnectCommand::new(argv).ok(),
            |account, argv| account.after = Some(argv),
            |account, argv| account.alert = Some(argv),
            |account, argv| account.secret = SecretSource::Command(argv),
            |account, argv| account.routing.default = Destination::Pipe(argv),
        ];
        for change in changes {
            let mut other = account();
            change(&mut other, cat());
            let sandbox = Sandbox::new(&[account(), other], Path::new("/nowhere"), Vec::new());
            assert!(matches!(sandbox.apply(), Status::Off(reason) if reason.contains("programs")));
        }
    }

    #[cfg(feature = "system-tests")]
    #[test]
    fn nothing_but_the_paths_of_the_account_can_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        let at = move |name: &str| dir.path().join(name);
        for name in ["state", "Mail", "Mail/tmp", "Mail/new", "Mail/cur"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("other"), "other").unwrap();
        let mut account = account();
        account.secret = SecretSource::File(at("secret"));
        account.routing.default = Destination::Maildir(at("Mail"));
        let sandbox = Sandbox::new(&[account], &at("state"), Vec::new());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let restricted = std::thread::spawn(move || {
            assert_eq!(sandbox.apply(), Status::Enforced);
            let denied = |error: std::io::Error| {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            };
            denied(fs::read(at("other")).unwrap_err());
            denied(fs::write(at("other"), "").unwrap_err());
            denied(fs::write(at("secret"), "").unwrap_err());
            denied(fs::write(at("new"), "").unwrap_err());
            denied(fs::remove_file(at("other")).unwrap_err());
            denied(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap_err());
            denied(
                std::process::Command::new("/bin/true")
                    .status()
                    .unwrap_err(),
            );
            std::os::unix::fs::symlink(at("other"), at("Mail/link")).unwrap();
            denied(fs::write(at("Mail/link"), "").unwrap_err());
            assert_eq!(fs::read(at("secret")).unwrap(), b"secret");
            fs::read("/etc/passwd").unwrap();
            fs::write(at("state/x.db"), "").unwrap();
            fs::write(at("Mail/tmp/1"), "").unwrap();
            fs::rename(at("Mail/tmp/1"), at("Mail/new/1")).unwrap();
            let file = crate::sys::files::create_unnamed(&at("Mail/tmp")).unwrap();
            crate::sys::files::link_unnamed(&file, &at("Mail/new/2")).unwrap();
            crate::sys::files::sync_dir_and_parent(&at("Mail")).unwrap();
        });
        restricted.join().unwrap();
    }
}
