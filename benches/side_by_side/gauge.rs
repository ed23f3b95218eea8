//! What a command costs. The system sums up the children of one process and forgets nothing, so
//! each command gets a process of its own that does nothing but wait for it: the gauge.

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

/// The clients run as nobody.
pub const NOBODY: u32 = 65534;

/// What a command used, with all that it started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub wall: Duration,
    /// User and system.
    pub cpu: Duration,
    /// Of the largest process, in KiB.
    pub memory: u64,
    /// 128 + n: ended by a signal.
    pub code: i32,
}

/// Runs `words` as nobody at home in `home`, on a machine whose authorities are in the folder
/// `certificates`, and tells what it used. What it prints is in `home/log`. `cert_file` is for what
/// can be told of an authority by the variable `SSL_CERT_FILE` only.
pub fn measure(
    home: &Path,
    certificates: &Path,
    cert_file: Option<&Path>,
    words: &[OsString],
) -> Result<Usage> {
    let mut gauge = Command::new("unshare");
    gauge
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/ssl/certs && exec \"$@\"")
        .arg(certificates)
        .arg(env::current_exe()?)
        .arg("gauge")
        .args(words)
        .current_dir(home)
        .env_clear();
    gauge
        .env("PATH", super::tool::PATH)
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
    let told = String::from_utf8(out.stdout)?;
    let numbers: Vec<u64> = told
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [wall, cpu, memory, code] = numbers[..] else {
        bail!("the gauge failed: {told}")
    };
    let (wall, cpu) = (Duration::from_micros(wall), Duration::from_micros(cpu));
    Ok(Usage {
        wall,
        cpu,
        memory,
        code: i32::try_from(code)?,
    })
}

/// The process between: runs the command, and prints what it used.
pub fn main(words: &[OsString]) -> Result<String> {
    let (program, arguments) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY);
    let output = std::io::stderr();
    command.stdout(Stdio::from(
        std::os::fd::AsFd::as_fd(&output).try_clone_to_owned()?,
    ));
    let began = Instant::now();
    let used = command
        .spawn()
        .and_then(|mut child| child.wait4())
        .with_context(|| format!("cannot run {}", program.display()))?;
    let wall = began.elapsed().as_micros();
    let cpu = (used.rusage.utime + used.rusage.stime).as_micros();
    let memory = used.rusage.maxrss / 1024;
    let status = used.status;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(format!("{wall} {cpu} {memory} {code}"))
}
