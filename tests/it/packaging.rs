//! The packages contain files that exist, and the version is written in Cargo.toml only.

use std::{collections::BTreeSet, fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the sources and the destinations of the files in the Debian package.
fn assets() -> Vec<(String, String)> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].clone();
    let assets: Vec<[String; 3]> = assets.try_into().unwrap();
    assets
        .into_iter()
        .map(|[source, destination, _]| (source, destination))
        .collect()
}

/// Returns the paths of the files in a directory of the project.
fn files(dir: &str) -> BTreeSet<String> {
    fs::read_dir(root().join(dir))
        .unwrap()
        .map(|entry| format!("{dir}/{}", entry.unwrap().file_name().display()))
        .collect()
}

#[test]
fn debian_package_has_files_that_exist() {
    let build = read("packaging/build");
    for (source, _) in assets() {
        if let Some(name) = source.strip_prefix("target/packages/generated/") {
            assert!(build.contains(&format!(">\"$generated/{name}\"")), "{name}");
        } else if source != "target/release/pouch" {
            assert!(root().join(&source).is_file(), "{source}");
        }
    }
}

#[test]
fn debian_package_has_all_manual_pages_completions_units_and_documents() {
    let sources: BTreeSet<_> = assets().into_iter().map(|(source, _)| source).collect();
    for dir in ["man", "completions", "systemd", "docs"] {
        let mut missing = &files(dir) - &sources;
        // a file generated from it, and those for contributors
        for other in ["systemd/pouch.service", "docs/style.md", "docs/record"] {
            missing.remove(other);
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn debian_package_starts_the_installed_program() {
    // packaging/build replaces this
    let unit = read("systemd/pouch.service");
    assert!(unit.contains("ExecStart=%h/.cargo/bin/pouch fetch\n"));
    for unit in ["pouch@.service", "pouch-system.service"] {
        let unit = read(&format!("systemd/{unit}"));
        assert!(unit.contains("ExecStart=/usr/bin/pouch fetch\n"));
    }
}

#[test]
fn config_for_the_system_is_valid() {
    let home = crate::support::Home::new();
    home.config(&read("packaging/debian/system.toml"));
    let shown = home.pouch(&["config", "show"]).run();
    shown.assert_code(0).assert_stdout("unix:/run/dovecot/lmtp");
}

/// All system units have the restrictions that pouch@.service explains.
#[test]
fn system_service_has_the_restrictions_of_the_service_of_a_user() {
    let restrictions = |path: &str| -> BTreeSet<String> {
        let own = ["User=", "ProtectSystem=", "ReadOnlyPaths="];
        read(path)
            .lines()
            .skip_while(|line| *line != "UMask=0077")
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter(|line| !own.iter().any(|key| line.starts_with(key)))
            .map(str::to_owned)
            .collect()
    };
    let missing =
        &restrictions("systemd/pouch@.service") - &restrictions("systemd/pouch-system.service");
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn change_log_begins_with_the_version_or_unreleased_changes() {
    let changes = read("CHANGELOG.md");
    let headings: Vec<_> = changes
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.split_once(" - ").expect(heading).0)
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        ["Unreleased", version].contains(&headings[0]),
        "{headings:?}"
    );
    // after a release, the version of Cargo.toml is that of the next one
    assert!(!headings[1..].contains(&version), "{headings:?}");
}

#[test]
fn version_is_not_repeated() {
    let mut paths = BTreeSet::from(["README.md".to_owned(), "CONTRIBUTING.md".to_owned()]);
    for dir in ["man", "systemd", "completions", "packaging/debian"] {
        paths.extend(files(dir));
    }
    for path in paths {
        assert!(!read(&path).contains(env!("CARGO_PKG_VERSION")), "{path}");
    }
    let shown = crate::support::Home::new().pouch(&["--version"]).run();
    shown.assert_code(0);
    assert_eq!(
        shown.stdout,
        format!("pouch {}\n", env!("CARGO_PKG_VERSION"))
    );
}
