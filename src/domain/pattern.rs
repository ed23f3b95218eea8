//! What a text is held against: a glob, or a regular expression between slashes.

use regex::{Regex, RegexBuilder};

/// A pattern, as written and as it is matched: case never counts.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// The pattern that `text` writes: `/…/` is a regular expression, found anywhere in what it is
    /// held against; all else is a glob for the whole of it, in which `*` is any text and `?` any
    /// one character.
    ///
    /// # Errors
    /// It is no regular expression: why, in a few words.
    pub fn new(text: &str) -> Result<Self, String> {
        let expression = match text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
        {
            Some(expression) => expression.to_owned(),
            None => glob(text),
        };
        let regex = RegexBuilder::new(&expression)
            .case_insensitive(true)
            .build();
        // the last line says what is wrong, those before it draw where
        let reason = |error: &regex::Error| {
            let drawn = error.to_string();
            let last = drawn.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        };
        Ok(Self {
            text: text.to_owned(),
            regex: regex.map_err(|error| reason(&error))?,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The regular expression that does what the glob `text` does.
fn glob(text: &str) -> String {
    let inner: String = text
        .split_inclusive(['*', '?'])
        .map(
            |piece| match (piece.strip_suffix('*'), piece.strip_suffix('?')) {
                (Some(literal), _) => regex::escape(literal) + ".*",
                (_, Some(literal)) => regex::escape(literal) + ".",
                _ => regex::escape(piece),
            },
        )
        .collect();
    format!(r"(?s)\A{inner}\z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_glob_is_held_against_the_whole() {
        for (pattern, text) in [
            ("*@example.org", "Ann@EXAMPLE.org"),
            ("a?c", "aüc"),
            ("*", ""),
            ("*über*", "ÜBERALL über"),
            ("[rust] (1.0)$", "[RUST] (1.0)$"),
            ("a*b", "a\nb"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("example.org", "ann@example.org"),
            ("a?c", "ac"),
            ("a.c", "abc"),
            ("[ab]", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn an_expression_is_found_anywhere() {
        assert!(matches("/sale|offer/", "Our best OFFER yet"));
        assert!(matches("/^re: /", "Re: x") && !matches("/^re: /", "Fwd: Re: x"));
        assert!(!matches("/", "x") && matches("/", "/"));
        assert_eq!(Pattern::new("/(/").unwrap_err(), "unclosed group");
    }
}
