use std::collections::BTreeSet;

use super::*;
use crate::config::provenance::{Located, Source};

fn all_keys() -> impl Iterator<Item = &'static Key> {
    Scope::ALL.into_iter().flat_map(Scope::keys)
}

#[test]
fn names_are_unique_within_a_table() {
    for scope in Scope::ALL {
        let names: BTreeSet<_> = scope.names().collect();
        assert_eq!(names.len(), scope.keys().len(), "{scope:?}");
    }
}

#[test]
fn names_are_those_of_the_fields() {
    let table = AccountTable {
        allow_delete_unread: Some(Located::new(true, Source::Flag("test"))),
        ..AccountTable::default()
    };
    assert!(table.source("allow-delete-unread").is_some());
    assert!(table.source("enabled").is_none());
    assert!(table.source("no-such-key").is_none());
}

/// A key that must be set says how, so that the error for a missing key always has a hint. A key
/// with a default does not.
#[test]
fn required_key_has_a_hint() {
    let missing = [
        AccountTable::defaults().complete().err(),
        RuleTable::defaults().complete().err(),
        MultidropTable::defaults().complete().err(),
        TopTable::defaults().complete().err(),
    ];
    let missing: Vec<_> = missing.into_iter().flatten().map(|key| key.name).collect();
    assert_eq!(missing, ["host", "action", "recipients"]);
    for key in all_keys() {
        assert!(
            key.required.is_none() || (key.default.is_none() && key.default_words.is_none()),
            "{}",
            key.name
        );
        assert!(!key.manual.is_empty(), "{}", key.name);
    }
}

#[test]
fn the_sample_has_a_value_for_every_key() {
    for key in all_keys() {
        assert!(
            key.example.is_some() || key.default.is_some(),
            "{}",
            key.name
        );
    }
}

#[test]
fn choices_have_several_keys() {
    for choice in Choice::ALL {
        assert!(choice.keys().count() > 1, "{choice:?}");
    }
}
