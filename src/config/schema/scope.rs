//! Which keys there are, by scope and by choice.

use super::{
    account::{AccountTable, TopTable},
    key::{Choice, Key, Scope},
    rule::{MultidropTable, RuleTable},
    table::Table,
};

impl Scope {
    /// Returns its keys.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Top => TopTable::KEYS,
            Self::Account => AccountTable::KEYS,
            Self::Rule => RuleTable::KEYS,
            Self::Multidrop => MultidropTable::KEYS,
        }
    }

    /// Returns the names of its keys.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.keys().iter().map(|key| key.name)
    }
}

impl Choice {
    /// Returns the names of the keys among which to choose.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        AccountTable::KEYS
            .iter()
            .filter(move |key| key.choice == Some(self))
            .map(|key| key.name)
    }
}
