//! Compares the imports of the source with the table of layers in the crate's documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The layer in which modules do not import each other.
const EFFECTS: u32 = 3;

/// Reads the layer of each top-level module from the table in `src/lib.rs`.
fn layers(documentation: &str) -> BTreeMap<String, u32> {
    let rows = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "));
    rows.filter_map(|row| {
        let (layer, modules) = row.split_once(" | ")?;
        let layer: u32 = layer.split_once(' ')?.0.parse().ok()?;
        let modules = modules.split(" | ").next()?.split('`').skip(1).step_by(2);
        Some(
            modules
                .map(move |module| (module.to_owned(), layer))
                .collect::<Vec<_>>(),
        )
    })
    .flatten()
    .collect()
}

/// Returns the module paths that `use` statements of a file of `module` import, except re-exports.
fn imports(module: &str, source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("\nuse ") {
        let rest = &code[at + 5..];
        let (prefix, rest) = match rest.split_once("::") {
            Some(("crate", rest)) => (String::new(), rest),
            Some(("super", rest)) => (parent.to_owned(), rest),
            _ => (module.to_owned(), rest),
        };
        found.extend(expand(&prefix, rest).0);
    }
    for (at, name) in code.match_indices("crate::") {
        if !code[..at].ends_with("use ") {
            found.extend(expand("", &code[at + name.len()..]).0);
        }
    }
    found
}

/// Parses one path, or one group of paths, after `prefix`. Returns the paths and the remaining
/// text.
fn expand<'a>(prefix: &str, text: &'a str) -> (Vec<String>, &'a str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return (paths, after);
            }
            let (found, after) = expand(prefix, rest);
            paths.extend(found);
            rest = after;
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end.max(1));
    let path = match (prefix, name) {
        (_, "self") => prefix.to_owned(),
        ("", name) => name.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(after) => expand(&path, after),
        None => (vec![path], rest),
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the imports of each module from other files of the crate.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let name = |file: &Path| {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let name = relative.to_string_lossy().replace('/', "::");
        name.strip_suffix("::mod").unwrap_or(&name).to_owned()
    };
    let modules: BTreeSet<_> = files.iter().map(|file| name(file)).collect();
    let owner = |import: &str| {
        let mut path = import;
        loop {
            if modules.contains(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let graph = files.iter().map(|file| {
        let module = name(file);
        let source = fs::read_to_string(file).unwrap();
        let imported = imports(&module, &source);
        let mut imported: BTreeSet<_> =
            imported.iter().filter_map(|import| owner(import)).collect();
        imported.remove(&module);
        (module, imported)
    });
    graph.collect()
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn modules_import_lower_layers_only() {
    let layers = layers(include_str!("../../src/lib.rs"));
    let graph = graph();
    assert!(layers.len() > 10 && graph.len() > 80);
    let mut wrong = Vec::new();
    for (module, imported) in &graph {
        // The crate root and the program are above all layers.
        let Some(layer) = layers.get(top(module)) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "{module} is in no layer"
            );
            continue;
        };
        for import in imported.iter().filter(|import| top(import) != top(module)) {
            let other = layers[top(import)];
            if other > *layer || (other == EFFECTS && *layer == EFFECTS) {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let mut graph = graph();
    // A module that imports none of the remaining ones is in no circle.
    loop {
        let free: Vec<_> = graph
            .iter()
            .filter(|(_, imported)| imported.is_empty())
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            graph.remove(&module);
            for imported in graph.values_mut() {
                imported.remove(&module);
            }
        }
    }
    // A module that none of the remaining ones imports is in no circle either.
    loop {
        let imported: BTreeSet<_> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|module, _| imported.contains(module));
        if graph.len() == before {
            break;
        }
    }
    assert!(graph.is_empty(), "{graph:#?}");
}

#[test]
fn imports_are_found() {
    let source = "\nuse crate::{a::{B, c::D}, e};\n// crate::x\nuse super::f::G;\nuse child::H;\npub use child::I;\n\
                  fn x() { crate::g::h() }\n#[cfg(test)]\nmod tests { use crate::y; }";
    let mut found = imports("m::n", source);
    found.sort();
    assert_eq!(
        found,
        ["a::B", "a::c::D", "e", "g::h", "m::f::G", "m::n::child::H"]
    );
}
