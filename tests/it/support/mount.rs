//! File systems mounted for a test.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::Home;

/// A mount, which is unmounted when it is dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    pub fn new(home: &Home, place: PathBuf, arguments: &[&str]) -> Self {
        let at = place.display().to_string();
        home.system_command("mount", &[arguments, &[&at]].concat())
            .run()
            .assert_code(0);
        Self(place)
    }

    /// Makes a directory temporarily read-only.
    #[track_caller]
    pub fn read_only(home: &Home, place: PathBuf) -> Self {
        let from = place.display().to_string();
        Self::new(home, place, &["--bind", "-o", "ro", &from])
    }

    /// Mounts an empty disk of this size, in memory.
    #[track_caller]
    pub fn tmpfs(home: &Home, place: PathBuf, size: &str) -> Self {
        Self::new(
            home,
            place,
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=700"),
                "none",
            ],
        )
    }

    /// Mounts an empty disk of this size and block size (in bytes), in a file.
    #[track_caller]
    pub fn ext4(home: &Home, place: PathBuf, size: &str, blocks: u32) -> Self {
        home.command("truncate", &["-s", size, "image"])
            .run()
            .assert_code(0);
        home.system_command(
            "mkfs.ext4",
            &["-q", "-m", "0", "-b", &blocks.to_string(), "image"],
        )
        .run()
        .assert_code(0);
        Self::new(home, place, &["-o", "loop", "image"])
    }

    /// Mounts the directory `from` by a FUSE program.
    #[track_caller]
    pub fn foreign(home: &Home, from: &Path, place: PathBuf, options: &[&str]) -> Self {
        let (from, at) = (from.display().to_string(), place.display().to_string());
        home.system_command("bindfs", &[options, &[&from, &at]].concat())
            .run()
            .assert_code(0);
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // lazily: a program that another test starts has this process's files until it is executed
        let ended = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(
            thread::panicking() || ended.is_ok_and(|status| status.success()),
            "it is still mounted"
        );
    }
}
