//! Traces the system calls of a run with `strace`, and makes some of them fail.
//!
//! Tests that try each call of a run take a sample, evenly distributed, since all calls would take
//! too long. `POUCH_EVERY=1` in the environment selects every call, `POUCH_EVERY=5` every fifth.

use std::collections::HashMap;

use super::{Home, run::Run};

/// A completed system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    pub name: String,
    /// The text between its parentheses.
    pub arguments: String,
    /// The lines of the trace at which it began and ended.
    pub began: usize,
    pub ended: usize,
    /// Its result; negative if it failed.
    pub result: i64,
    /// The path of the file descriptor that it returned.
    pub opened: Option<String>,
}

/// Returns a run of pouch under strace that traces `calls` and optionally manipulates some of them.
/// Programs that pouch starts are not traced.
pub fn traced(home: &Home, calls: &str, inject: Option<&str>, pouch: &[&str]) -> Run {
    let trace = format!("trace={calls}");
    let inject = inject.map(|inject| format!("inject={inject}"));
    let mut arguments = vec![
        "-f", "-qq", "-y", "-xx", "-s", "10000000", "-b", "execve", "-o", "calls", "-e", &trace,
    ];
    arguments.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    arguments.push(env!("CARGO_BIN_EXE_pouch"));
    arguments.extend(pouch);
    home.system_command("strace", &arguments)
}

/// Returns the calls of the last [`traced`] run, in the order in which they began.
pub fn calls(home: &Home) -> Vec<Call> {
    let text = String::from_utf8(home.read("calls")).unwrap();
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<u32, (usize, String)> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let (thread, line) = line.split_once(' ').unwrap();
        let (thread, line) = (thread.parse().unwrap(), line.trim_start());
        if let Some(begun) = line.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (at, begun.to_owned()));
            continue;
        }
        let (began, whole) = match line
            .strip_prefix("<... ")
            .and_then(|rest| rest.split_once(" resumed>"))
        {
            Some((_, rest)) => {
                let (began, head) = unfinished.remove(&thread).unwrap();
                (began, head + rest)
            }
            None => (at, line.to_owned()),
        };
        // Signals and process ends are not calls.
        let (Some((name, rest)), Some((_, result))) =
            (whole.split_once('('), whole.rsplit_once(" = "))
        else {
            continue;
        };
        let opened = path(result);
        let result = result
            .split([' ', '<'])
            .next()
            .unwrap()
            .parse()
            .unwrap_or(-1);
        let (name, arguments) = (name.to_owned(), rest.rsplit_once(')').unwrap().0.to_owned());
        calls.push(Call {
            thread,
            name,
            arguments,
            began,
            ended: at,
            result,
            opened,
        });
    }
    calls.sort_by_key(|call| call.began);
    calls
}

impl Call {
    /// Returns the strings among its arguments.
    pub fn strings(&self) -> Vec<Vec<u8>> {
        self.arguments
            .split('"')
            .skip(1)
            .step_by(2)
            .map(unescaped)
            .collect()
    }

    /// Returns the paths of its file descriptors.
    pub fn files(&self) -> Vec<String> {
        let parts = self
            .arguments
            .split('"')
            .step_by(2)
            .flat_map(|part| part.split_inclusive('>'));
        parts.filter_map(path).collect()
    }

    /// Returns whether it accesses a file below one of these directories.
    pub fn concerns(&self, folders: &[&str]) -> bool {
        let strings = self.strings();
        let paths = strings
            .iter()
            .map(|string| text(string))
            .chain(self.files());
        paths
            .into_iter()
            .any(|path| folders.iter().any(|folder| path.contains(folder)))
    }

    /// Returns the numbers among its arguments.
    pub fn numbers(&self) -> Vec<usize> {
        let parts = self
            .arguments
            .split('"')
            .step_by(2)
            .flat_map(|part| part.split(','));
        parts.filter_map(|part| part.trim().parse().ok()).collect()
    }

    /// Returns whether its arguments contain this word.
    pub fn says(&self, word: &str) -> bool {
        self.arguments
            .split('"')
            .step_by(2)
            .any(|part| part.contains(word))
    }
}

/// Returns the path of a file descriptor.
fn path(descriptor: &str) -> Option<String> {
    Some(text(&unescaped(
        descriptor.split_once('<')?.1.split_once('>')?.0,
    )))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Decodes `\x2f\x41`.
fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x")
        .filter(|part| !part.is_empty())
        .map(|part| u8::from_str_radix(part, 16).unwrap_or(b'?'))
        .collect()
}

/// A call of a run: the `nth` call of this name by its thread, which is how strace counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    pub call: String,
    pub nth: usize,
}

/// Returns all points of a run in order, for all threads.
pub fn points<'a>(
    calls: impl IntoIterator<Item = &'a Call>,
    wanted: impl Fn(&Call) -> bool,
) -> Vec<Point> {
    let mut counts: HashMap<(u32, &str), usize> = HashMap::new();
    let mut points = Vec::new();
    for call in calls {
        let count = counts.entry((call.thread, &call.name)).or_default();
        *count += 1;
        let point = Point {
            call: call.name.clone(),
            nth: *count,
        };
        if wanted(call) && !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

/// Returns an evenly distributed sample of at most `most` elements, or as `POUCH_EVERY` requests.
pub fn sample<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let every = std::env::var_os("POUCH_EVERY")
        .map(|every| every.to_str().unwrap().parse::<usize>().unwrap());
    let most = every
        .map_or(most, |every| all.len().div_ceil(every))
        .min(all.len());
    (0..most)
        .map(|step| all[(2 * step + 1) * all.len() / (2 * most)].clone())
        .collect()
}
