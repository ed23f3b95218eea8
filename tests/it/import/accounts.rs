//! Config files of other programs, each with the accounts and the report that pouch makes of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use insta::{assert_snapshot, with_settings};

use crate::support::Home;

/// The passwords in the config files.
const PASSWORDS: &[&str] = &[
    "walnut-31",
    "elm",
    "pine",
    "larch",
    "hawthorn",
    "haw\"thorn",
    "spruce",
    "spru\"ce",
    "a\"b",
    "juniper",
    "sorrel",
    "yew",
    "bracken",
    "fern",
    "caf\u{e9}",
    "x1y2z3",
    "teasel",
    "654321",
    "wicker",
    "tansy",
    "quince",
    "medlar",
    "thistle",
    "secret-in-comment",
    "pass%word",
    "dogwood",
    "dog",
    "alder",
    "al\"der",
    "willow",
    "hazel",
    "osier",
    "rowan",
    "elder",
    "aspen",
    "gr\u{fc}n",
    "sumac",
];

fn cases(program: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/import")
        .join(program);
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "rc"))
        .collect();
    cases.sort();
    cases
}

/// Imports each config file of a program, and compares the result with its snapshot. The printed
/// accounts are valid, and no password appears anywhere.
fn accounts_and_report_are_as_recorded(program: &str, place: &str) {
    for case in cases(program) {
        let name = case.file_stem().unwrap().to_str().unwrap();
        let home = Home::new();
        home.write(place, fs::read(&case).unwrap(), 0o600);
        let path = home.join(place);
        let import = |args: &[&str]| {
            let all = [&["import", program, path.to_str().unwrap()], args].concat();
            home.pouch(&all).env("LOGNAME", "ann").run()
        };
        let printed = import(&[]);
        assert!([0, 65].contains(&printed.code), "{name}: {printed:?}");
        let json = import(&["--json"]);
        for password in PASSWORDS {
            for text in [&printed.stdout, &printed.stderr, &json.stdout, &json.stderr] {
                assert!(!text.contains(password), "{name}: {password} in {text}");
            }
        }
        assert!(
            serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok(),
            "{name}"
        );
        if !printed.stdout.is_empty() {
            // without an enabled account, `config show` is an error
            let other = "[account.z]\nhost = \"h\"\nuser = \"u\"\nmaildir = \"~/z\"\n";
            home.config(&format!("{}\n{other}", printed.stdout));
            home.pouch(&["config", "show"]).run().assert_code(0);
        }
        let text = format!(
            "{}\n--- report\n{}\n--- exit {}",
            printed.stdout_text(),
            printed.stderr_text(),
            printed.code
        );
        with_settings!({
            snapshot_path => program,
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            assert_snapshot!(name, text);
        });
    }
}

cases! { accounts_and_report_are_as_recorded:
    fetchmail("fetchmail", ".fetchmailrc"),
    getmail("getmail", ".getmail/getmailrc"),
    mpop("mpop", ".mpoprc"),
    fdm("fdm", ".fdm.conf"),
    thunderbird("thunderbird", ".thunderbird/x.default/prefs.js"),
    claws("claws", ".claws-mail/accountrc"),
    sylpheed("sylpheed", ".sylpheed-2.0/accountrc"),
    kmail("kmail", ".config/akonadi_pop3_resource_0rc"),
    evolution("evolution", ".config/evolution/sources/17a.source"),
}
