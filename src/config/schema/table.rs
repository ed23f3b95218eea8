//! The tables of the config, independently of the types of their keys.

use std::sync::Arc;

use toml::de::DeValue;

use super::key::{Key, Scope};
use crate::config::{
    provenance::{Located, Setting, Source, UNSET},
    value::{Unexpected, Value},
};

/// A value of the wrong type: both parts of "must be `expected`, not `unexpected`".
#[derive(Debug)]
pub struct TypeMismatch {
    /// The description of a valid value.
    pub expected: &'static str,
    /// The description of the value.
    pub unexpected: Unexpected,
}

/// A key of a table that may be set, independently of its type.
pub trait Slot {
    /// Sets the key.
    ///
    /// # Errors
    /// The value is not of the key's type.
    fn set(&mut self, value: &DeValue<'_>, source: Source) -> Result<(), TypeMismatch>;

    /// Removes the value.
    fn unset(&mut self);

    /// Returns the place where the key was set, or `None` if it was not.
    fn source(&self) -> Option<&Source>;

    /// Returns the value as TOML, or `None` if the key is not set.
    fn to_toml(&self) -> Option<String>;
}

impl<T: Value> Slot for Option<Arc<Located<T>>> {
    fn set(&mut self, value: &DeValue<'_>, source: Source) -> Result<(), TypeMismatch> {
        let value = T::read(value).map_err(|unexpected| TypeMismatch {
            expected: T::EXPECTED,
            unexpected,
        })?;
        *self = Some(Located::new(value, source));
        Ok(())
    }

    fn unset(&mut self) {
        *self = None;
    }

    fn source(&self) -> Option<&Source> {
        self.as_ref().map(|located| &located.source)
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().map(|located| located.value.to_toml())
    }
}

/// A table as written, in which each key may be set.
pub trait Table: Default {
    /// The same table with a value for every key that is not optional.
    type Values;

    /// The kind of table in the file.
    const SCOPE: Scope;

    /// Its keys, in the order of the manual.
    const KEYS: &'static [Key];

    /// Returns the keys of this table, in the order of [`Self::KEYS`].
    fn slots(&self) -> Vec<&dyn Slot>;

    /// Returns the keys of this table for modification, in the order of [`Self::KEYS`].
    fn slots_mut(&mut self) -> Vec<&mut dyn Slot>;

    /// Returns the table that sets every key to its default.
    fn defaults() -> Self;

    /// Merges this table with `below`, from which it takes the keys that it does not set.
    #[must_use]
    fn over(self, below: Self) -> Self;

    /// Returns the values of all keys.
    ///
    /// # Errors
    /// The first required key that is not set.
    fn complete(self) -> Result<Self::Values, &'static Key>;

    /// Returns the index of the key of this name, or `None` if there is no such key.
    fn index_of(name: &str) -> Option<usize> {
        Self::KEYS.iter().position(|key| key.name == name)
    }

    /// Removes the value of the key of this name.
    fn unset(&mut self, name: &str) {
        if let Some(index) = Self::index_of(name) {
            self.slots_mut()[index].unset();
        }
    }

    /// Returns the place where the key of this name was set, or `None` if it was not.
    fn source(&self, name: &str) -> Option<&Source> {
        self.slots()[Self::index_of(name)?].source()
    }

    /// Returns every key with its value and its source.
    fn settings(&self) -> Vec<Setting> {
        let setting = |(key, slot): (&Key, &dyn Slot)| Setting {
            key: key.name,
            value: slot.to_toml().unwrap_or_else(|| UNSET.to_owned()),
            source: slot.source().unwrap_or(&Source::Default).clone(),
        };
        Self::KEYS.iter().zip(self.slots()).map(setting).collect()
    }
}

/// The type of a row, which determines the value if the key is not set.
pub trait Field: Sized {
    /// The type of the value in the config.
    type Written: Value;

    /// Returns the value of the key, or `None` if it is required and was not set.
    fn from_written(written: Option<Self::Written>) -> Option<Self>;
}

impl<T: Value> Field for T {
    type Written = T;

    fn from_written(written: Option<T>) -> Option<Self> {
        written
    }
}

impl<T: Value> Field for Option<T> {
    type Written = T;

    fn from_written(written: Option<T>) -> Option<Self> {
        Some(written)
    }
}

/// Declares a table with one row per key.
///
/// ```text
/// /// The paragraphs for the manual.
/// field: Type = default => Key::new(name, group, help);
/// ```
macro_rules! keys {
    (
        $(#[$doc:meta])* $table:ident in $scope:expr, $(#[$values_doc:meta])* $values:ident:
        $($(#[doc = $manual:literal])+ $field:ident: $type:ty $(= $default:expr)? => $key:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $table {
            $($(#[doc = $manual])+ pub $field: Option<Arc<Located<<$type as Field>::Written>>>,)*
        }

        $(#[$values_doc])*
        #[derive(Clone, Debug)]
        pub struct $values {
            $($(#[doc = $manual])+ pub $field: $type,)*
        }

        impl Table for $table {
            type Values = $values;

            const SCOPE: Scope = $scope;

            const KEYS: &'static [Key] = &[$(Key {
                manual: &[$($manual),+],
                $(default: Some(|| {
                    let default: $type = $default;
                    default.to_toml()
                }),)?
                ..$key
            }),*];

            fn slots(&self) -> Vec<&dyn Slot> {
                vec![$(&self.$field),*]
            }

            fn slots_mut(&mut self) -> Vec<&mut dyn Slot> {
                vec![$(&mut self.$field),*]
            }

            fn defaults() -> Self {
                Self {
                    $($(
                        $field: Some(Located::new($default, Source::Default)),
                    )?)*
                    ..Self::default()
                }
            }

            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field),)* }
            }

            fn complete(self) -> Result<$values, &'static Key> {
                $(
                    let $field = self.$field.map(|located| Arc::unwrap_or_clone(located).value);
                    let $field = <$type as Field>::from_written($field).ok_or(const { &$key })?;
                )*
                Ok($values { $($field),* })
            }
        }
    };
}

pub(super) use keys;
