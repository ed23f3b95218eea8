//! Holds the source against the table of floors in the crate's documentation: a module imports its
//! own folder and lower floors.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The floor of a module, named by its path; the longest name that fits counts.
const FLOORS: [(&str, u32); 34] = [
    ("types", 0),
    ("units", 0),
    ("text", 0),
    ("error", 0),
    ("pop3", 1),
    ("policy", 1),
    ("rule", 1),
    ("multidrop", 1),
    ("message", 1),
    ("trace_fields", 1),
    ("notice", 1),
    ("config", 1),
    ("event", 1),
    ("clock", 2),
    ("folder", 2),
    ("stop", 2),
    ("program", 2),
    ("net", 3),
    ("pop3::wire", 3),
    ("pop3::retrieval", 3),
    ("pop3::authorization", 3),
    ("pop3::session", 3),
    ("ledger", 3),
    ("delivery", 3),
    ("secret", 3),
    ("lock", 3),
    ("fetch", 4),
    ("crew", 4),
    ("report", 5),
    ("cli", 5),
    ("examples", 5),
    ("tests", 5),
    ("lib", 5),
    ("main", 5),
];

fn floor(module: &str) -> (&'static str, u32) {
    FLOORS
        .into_iter()
        .filter(|(name, _)| module == *name || module.starts_with(&format!("{name}::")))
        .max_by_key(|(name, _)| name.len())
        .unwrap_or_else(|| {
            panic!("{module} stands on no floor: give it one here and in src/lib.rs")
        })
}

/// Whether code of `module` may name `import`.
fn allowed(module: &str, import: &str) -> bool {
    let ((here, mine), (there, theirs)) = (floor(module), floor(import));
    // effects do not know each other; the pure, the words and the edge do
    here == there || theirs < mine || (theirs == mine && mine != 3)
}

/// The paths behind `crate::` in a source: brace groups are multiplied out.
fn imports(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    code.match_indices("crate::")
        .flat_map(|(at, found)| expand("", &code[at + found.len()..]).0)
        .collect()
}

/// Reads one path, or one group of them, behind `prefix`; gives the paths and what follows.
fn expand<'a>(prefix: &str, text: &'a str) -> (Vec<String>, &'a str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return (paths, behind);
            }
            let (found, behind) = expand(prefix, rest);
            paths.extend(found);
            rest = behind;
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end.max(1));
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}::{name}")
    };
    match rest.strip_prefix("::") {
        Some(behind) => expand(&path, behind),
        None => (vec![path], rest),
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_import_lower_floors_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40);
    let mut wrong = Vec::new();
    for file in files {
        let module = file
            .strip_prefix(&root)
            .unwrap()
            .with_extension("")
            .to_string_lossy()
            .replace('/', "::");
        let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
        let source = fs::read_to_string(&file).unwrap();
        // what only a test imports holds no wall up
        let source = source.split("#[cfg(test)]").next().unwrap();
        let bad = imports(source)
            .into_iter()
            .filter(|import| !allowed(&module, import));
        wrong.extend(bad.map(|import| format!("{module} imports {import}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn walls_are_seen() {
    assert_eq!(
        imports("use crate::{a::{B, c::D}, e};\n// crate::x\nlet y = crate::f::g();"),
        ["a::B", "a::c::D", "e", "f::g"]
    );
    assert!(allowed("ledger::look", "policy::Scan"));
    assert!(allowed("ledger::look", "ledger::Row"));
    assert!(!allowed("ledger::look", "pop3::session::Listing"));
    assert!(!allowed("delivery::pipe", "ledger::Ledger"));
    assert!(!allowed("policy", "clock::Clock"));
    assert!(!allowed("pop3::reply", "pop3::session::Listing"));
}
