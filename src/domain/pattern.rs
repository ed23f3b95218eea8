//! Patterns for text: globs, and regular expressions between slashes.

use regex::{Regex, RegexBuilder};

/// A pattern, as written and compiled. It ignores case.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Parses a pattern: `/…/` is a regular expression that may match anywhere in the text;
    /// everything else is a glob for the whole text, in which `*` is any text and `?` any
    /// character.
    ///
    /// # Errors
    /// An invalid regular expression: the reason, in a few words.
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
        // the last line has the reason, those before it a drawing
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

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Returns the regular expression that is equivalent to the glob `text`.
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
    fn glob_matches_the_whole_text() {
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
    fn regular_expression_matches_anywhere() {
        assert!(matches("/sale|offer/", "Our best OFFER yet"));
        assert!(matches("/^re: /", "Re: x") && !matches("/^re: /", "Fwd: Re: x"));
        assert!(!matches("/", "x") && matches("/", "/"));
        assert_eq!(Pattern::new("/(/").unwrap_err(), "unclosed group");
    }
}
