//! Checks that every source file in `src` and `tests/it` is declared by a `mod`, and thus compiled.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns the modules that these files declare.
fn declared(files: &[&Path]) -> Vec<String> {
    let sources = files.iter().map(|file| fs::read_to_string(file).unwrap());
    sources
        .flat_map(|source| {
            let names = source.lines().filter_map(|line| {
                let words = line.trim().strip_suffix(';')?;
                let (visibility, name) = words.split_once("mod ")?;
                let is_module = visibility.is_empty() || visibility.starts_with("pub");
                is_module.then(|| name.to_owned())
            });
            names.collect::<Vec<_>>()
        })
        .collect()
}

/// Returns whether a path is a source file, or a directory that has one directly in it.
fn is_source(path: &Path) -> bool {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.any(|path| !path.is_dir() && is_source(&path))
    } else {
        path.extension().is_some_and(|extension| extension == "rs")
    }
}

/// Returns the files and directories below `directory` that `parents` and their modules do not
/// declare.
fn forgotten(parents: &[&Path], directory: &Path) -> Vec<String> {
    let declared = declared(parents);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if parents.contains(&path.as_path()) || !is_source(&path) {
            continue;
        }
        if !declared.contains(&name.to_owned()) {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            let own = [path.join("mod.rs"), path.with_extension("rs")];
            let own = own.iter().map(PathBuf::as_path);
            let own: Vec<_> = own.filter(|file| file.exists()).collect();
            found.extend(forgotten(&own, &path));
        }
    }
    found
}

#[test]
fn every_source_file_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (sources, tests) = (root.join("src"), root.join("tests/it"));
    let (library, program) = (sources.join("lib.rs"), sources.join("main.rs"));
    assert_eq!(
        forgotten(&[&library, &program], &sources),
        [""; 0],
        "not compiled"
    );
    assert_eq!(
        forgotten(&[&tests.join("main.rs")], &tests),
        [""; 0],
        "not compiled"
    );
}
