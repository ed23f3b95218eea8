//! Measures time and memory of a command.
//!
//! The system accumulates resource usage over all children of a process, so each command gets a
//! parent process of its own, the gauge, which does nothing but wait for it.

use std::{
    env,
    ffi::OsString,
    fs::File,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use super::environment::{CLIENT_UID, PATH};

/// The resource usage of a command and its child processes.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub wall: Duration,
    /// User plus system time.
    pub cpu: Duration,
    /// The peak memory of the largest process, in KiB.
    pub memory: u64,
    /// The exit code, or 128 + n if signal n terminated the command.
    pub code: i32,
}

/// Runs `command_line` as the user of the clients with the home directory `home`, and returns its
/// resource usage.
///
/// The directory `certificates` replaces `/etc/ssl/certs`. The output of the command is appended to
/// `home/log`. `cert_file` is for clients that can be given a CA only by `SSL_CERT_FILE`.
pub fn measure(
    home: &Path,
    certificates: &Path,
    cert_file: Option<&Path>,
    command_line: &[OsString],
) -> Result<Usage> {
    let mut gauge = Command::new("unshare");
    gauge
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/ssl/certs && exec \"$@\"")
        .arg(certificates)
        .arg(env::current_exe()?)
        .arg("gauge")
        .args(command_line)
        .current_dir(home)
        .env_clear();
    gauge
        .env("PATH", PATH)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("SHELL", "/bin/sh");
    gauge
        .env("LANG", "C.UTF-8")
        .env("LC_ALL", "C.UTF-8")
        .envs(cert_file.map(|file| ("SSL_CERT_FILE", file)));
    let out = gauge
        .stderr(File::create(home.join("log"))?)
        .stdin(Stdio::null())
        .output()?;
    let printed = String::from_utf8(out.stdout)?;
    let numbers: Vec<u64> = printed
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [wall, cpu, memory, code] = numbers[..] else {
        bail!("the gauge failed: {printed}")
    };
    let (wall, cpu) = (Duration::from_micros(wall), Duration::from_micros(cpu));
    Ok(Usage {
        wall,
        cpu,
        memory,
        code: i32::try_from(code)?,
    })
}

/// Runs the command in the gauge process, and returns the numbers that `measure()` parses.
pub fn main(command_line: &[OsString]) -> Result<String> {
    let (program, arguments) = command_line.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).uid(CLIENT_UID).gid(CLIENT_UID);
    let output = std::io::stderr();
    command.stdout(Stdio::from(
        std::os::fd::AsFd::as_fd(&output).try_clone_to_owned()?,
    ));
    let started = Instant::now();
    let used = command
        .spawn()
        .and_then(|mut child| child.wait4())
        .with_context(|| format!("cannot run {}", program.display()))?;
    let wall = started.elapsed().as_micros();
    let cpu = (used.rusage.utime + used.rusage.stime).as_micros();
    let memory = used.rusage.maxrss / 1024;
    let status = used.status;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(format!("{wall} {cpu} {memory} {code}"))
}
