//! Runs `pouch` in a temporary home, with an empty environment.
//!
//! Every run has a time limit: a program that exceeds it is killed and the test fails, with the
//! output up to then.

#![allow(clippy::panic, reason = "a test fails by panicking")]

#[cfg(feature = "system-tests")]
pub mod disk;
pub mod mail;
#[cfg(feature = "system-tests")]
pub mod mount;
pub mod redact;
pub mod run;
#[cfg(feature = "system-tests")]
pub mod trace;
pub mod watch;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use mail::Mail;
use run::Run;

/// The program under test.
pub const POUCH: &str = env!("CARGO_BIN_EXE_pouch");

/// The programs that tests may run without the feature `system-tests`.
const ANYWHERE: [&str; 8] = [
    "cp", "env", "nohup", "sh", "sleep", "test", "true", "truncate",
];

/// A temporary home directory, which is removed when it is dropped.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// Creates a home directory that is empty except for the directory for `XDG_RUNTIME_DIR`.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pouch-home-")
            .tempdir()
            .expect("a temporary directory");
        let home = Self { dir };
        home.make_dir(".run", 0o700);
        home
    }

    /// Returns the path of the home directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path below the home directory.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Returns pouch's directory of ledgers and locks.
    pub fn state(&self) -> PathBuf {
        self.join(".local/state/pouch")
    }

    /// Returns the path of the only ledger in a state directory.
    #[track_caller]
    pub fn ledger(state: &Path) -> PathBuf {
        let mailboxes = fs::read_dir(state.join("mailboxes")).expect("a directory of ledgers");
        let mut ledgers = mailboxes
            .map(|entry| entry.expect("a directory entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "db"));
        let ledger = ledgers.next().expect("a ledger");
        assert_eq!(ledgers.next(), None);
        ledger
    }

    /// Writes `~/.config/pouch/config.toml` with mode 0600.
    pub fn config(&self, text: &str) -> PathBuf {
        self.write(".config/pouch/config.toml", text, 0o600)
    }

    /// Writes a file below the home directory with exactly this mode, and creates its parent
    /// directories.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.join(path);
        let parent = path.parent().expect("a path below the home");
        fs::create_dir_all(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.write_all(bytes.as_ref())
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Returns the content of a file below the home directory.
    pub fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.join(path);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Creates a directory below the home directory with exactly this mode.
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: u32) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Returns the mail in the Maildir `path`.
    pub fn maildir(&self, path: impl AsRef<Path>) -> Mail {
        Mail::read(&self.join(path))
    }

    /// Returns a run of pouch.
    pub fn pouch(&self, args: &[&str]) -> Run {
        self.run_of(POUCH, args)
    }

    /// Returns a run of pouch with a limit of `ulimit`: `-d 65536` for 64 MiB of data.
    pub fn limited_pouch(&self, limit: &str, args: &[&str]) -> Run {
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        self.command("sh", &[&["-c", &script, POUCH], args].concat())
    }

    /// Returns a run of a program that is part of any system.
    #[track_caller]
    pub fn command(&self, program: &str, args: &[&str]) -> Run {
        assert!(
            ANYWHERE.contains(&program),
            "{program} is not on any system: use `system_command`"
        );
        self.run_of(program, args)
    }

    /// Returns a run of a program that `tests/run` installs.
    #[cfg(feature = "system-tests")]
    pub fn system_command(&self, program: &str, args: &[&str]) -> Run {
        self.run_of(program, args)
    }

    fn run_of(&self, program: &str, args: &[&str]) -> Run {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        for (name, place) in [
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_RUNTIME_DIR", ".run"),
        ] {
            command.env(name, self.join(place));
        }
        Run::of(command)
    }
}

mod tests {
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn run_has_a_clean_environment() {
        let home = Home::new();
        let out = home.command("env", &[]).env("ONE", "1").run();
        let mut names: Vec<_> = out
            .stdout
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        names.sort_unstable();
        let xdg = [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
            "XDG_STATE_HOME",
        ];
        assert_eq!(
            names,
            [&["HOME", "LC_ALL", "ONE", "PATH", "TZ"][..], &xdg[..]].concat()
        );
    }

    #[test]
    fn code_streams_and_input_are_passed() {
        let home = Home::new();
        let out = home
            .command("sh", &["-c", "cat; echo there >&2; pwd; exit 7"])
            .stdin("here\n")
            .dir("/")
            .run();
        out.assert_code(7)
            .assert_stdout("here\n/\n")
            .assert_stderr("there");
        home.command("true", &[])
            .run()
            .assert_code(0)
            .assert_silent();
    }

    #[test]
    fn signal_is_reported_as_a_code() {
        let home = Home::new();
        let mut child = home
            .command("sh", &["-c", "echo ready; exec sleep 600"])
            .spawn();
        child.wait_for("ready");
        assert!(child.is_running());
        child.signal(15);
        child.wait().assert_code(143);
        let mut child = home.command("sleep", &["600"]).spawn();
        assert!(child.pid() > 1);
        child.kill();
        child.wait().assert_code(137);
    }

    #[test]
    #[should_panic(expected = "did not end in time")]
    fn a_run_without_end_is_ended() {
        let home = Home::new();
        let run = home.command("sleep", &["600"]);
        run.within(Duration::from_millis(50)).run();
    }

    #[test]
    fn background_child_does_not_delay_the_run() {
        let home = Home::new();
        let out = home.command("sh", &["-c", "sleep 20 & echo $!"]).run();
        let pid = out.stdout.trim().parse().ok().and_then(Pid::from_raw);
        kill_process(pid.expect("its number"), Signal::KILL).expect("it still runs");
    }

    #[test]
    fn mail_is_compared_as_a_multiset() {
        let home = Home::new();
        home.maildir("none").assert_exactly(&[""; 0]);
        home.write("m/new/2", "b\n", 0o600);
        home.write("m/cur/1:2,S", "a\n", 0o600);
        home.write("m/new/3", "b\n", 0o600);
        home.write("m/tmp/4", "half", 0o600);
        let mail = home.maildir("m");
        mail.assert_exactly(&["b\r\n", "a\n", "b\n"]);
        assert_eq!(mail.delivered()[0].name, "1:2,S");
        assert_eq!(mail.len(), 3);
        assert_eq!(mail.tmp(), ["4"]);
    }

    #[test]
    #[should_panic(expected = "missing: 2 octets\n    c\\n\nunexpected: 2 octets\n    d\\n")]
    fn a_difference_is_shown() {
        let home = Home::new();
        home.write("m/new/1", "d\n", 0o600);
        home.maildir("m").assert_tidy().assert_exactly(&["c\n"]);
    }

    #[test]
    fn file_modes_are_kept() {
        let home = Home::new();
        let path = home.config("");
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&home.write("x", "x", 0o666)), 0o666);
        assert_eq!(home.read("x"), b"x");
        assert!(home.state().starts_with(home.path()));
        home.pouch(&["--version"])
            .run()
            .assert_code(0)
            .assert_stdout("pouch");
    }
}
