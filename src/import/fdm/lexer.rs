//! The words of a `fdm.conf`, as fdm 1.9 reads them.

use std::collections::HashMap;

/// The kind of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a number or a sign.
    Word,
    /// A string, with macros resolved.
    Text,
    /// The command in `$(command)`, whose output is the value.
    Command,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Token {
    /// Returns whether it is this keyword or sign.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

/// The most words of a file, since macros can repeat themselves.
const MOST: usize = 200_000;

struct Lexer<'a> {
    text: &'a [char],
    at: usize,
    line: usize,
    start: usize,
    macros: HashMap<String, String>,
    /// The number of bytes that macros may still add.
    budget: usize,
}

/// A place that was not understood.
pub(super) type Problem = ((usize, usize), &'static str);

/// Splits text into words, and resolves macros.
pub(super) fn tokens(text: &str) -> (Vec<Token>, Vec<Problem>) {
    let characters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        text: &characters,
        at: 0,
        line: 1,
        start: 0,
        macros: HashMap::new(),
        budget: 1 << 20,
    };
    let (mut words, mut problems): (Vec<Token>, Vec<Problem>) = (Vec::new(), Vec::new());
    while let Some(c) = lexer.peek(0) {
        let place = (lexer.line, lexer.at - lexer.start + 1);
        if words.len() > MOST {
            problems.push((place, "too many words"));
            break;
        }
        let (kind, text) = match lexer.word(c) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(what) => {
                problems.push((place, what));
                // in place of the value, so that the next word is not read as the value
                (Kind::Text, String::new())
            }
        };
        let (line, column) = place;
        words.push(Token {
            kind,
            text,
            line,
            column,
        });
    }
    (words, problems)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word(c: char) -> bool {
    is_name(c) || "-./:".contains(c)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.start = self.at;
        }
        Some(c)
    }

    /// Reads what begins with `c`. Returns `None` if it is not a word.
    fn word(&mut self, c: char) -> Result<Option<(Kind, String)>, &'static str> {
        match c {
            '#' => {
                self.while_next(|c| c != '\n');
                Ok(None)
            }
            '"' | '\'' => Ok(Some((Kind::Text, self.string(c)?))),
            '$' if self.peek(1) == Some('(') => Ok(Some((Kind::Command, self.command()?))),
            '$' | '%' if self.peek(1).is_some_and(|c| is_name(c) || c == '{') => {
                let name = self.macro_name();
                if self.defines() {
                    self.definition(name);
                    return Ok(None);
                }
                let value = self.resolve(&name).ok_or("the macro is not defined")?;
                Ok(Some((Kind::Text, value)))
            }
            c if c.is_whitespace() || c.is_control() => {
                self.next();
                Ok(None)
            }
            c if is_word(c) => Ok(Some((Kind::Word, self.while_next(is_word)))),
            c => {
                self.next();
                Ok(Some((Kind::Word, c.to_string())))
            }
        }
    }

    /// Returns the value of a macro, unless macros have become too long.
    fn resolve(&mut self, name: &str) -> Option<String> {
        let value = self.macros.get(name)?.clone();
        self.budget = self.budget.checked_sub(value.len())?;
        Some(value)
    }

    fn while_next(&mut self, accepts: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|c| accepts(*c)) {
            self.next();
            text.push(c);
        }
        text
    }

    /// Reads a string. One without an end ends with its line.
    fn string(&mut self, quote: char) -> Result<String, &'static str> {
        self.next();
        let begin = (self.at, self.line, self.start);
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return Ok(text),
                '\n' => break,
                '\\' if quote == '"' => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('"' | '\'' | '\\')) => text.push(c),
                    // the backslash of a regular expression
                    Some(c) => text.extend(['\\', c]),
                    None => {}
                },
                '$' | '%' if quote == '"' && self.peek(0) == Some('{') => {
                    self.next();
                    let name = self.while_next(is_name);
                    if self.peek(0) == Some('}') {
                        self.next();
                    }
                    text.push_str(&self.resolve(&name).unwrap_or_default());
                }
                c => text.push(c),
            }
        }
        (self.at, self.line, self.start) = begin;
        self.while_next(|c| c != '\n');
        Err("a string has no end")
    }

    fn command(&mut self) -> Result<String, &'static str> {
        self.next();
        self.next();
        let command = self.while_next(|c| c != ')' && c != '\n');
        if self.next() == Some(')') {
            Ok(command)
        } else {
            Err("a command has no end")
        }
    }

    fn macro_name(&mut self) -> String {
        self.next();
        let in_braces = self.peek(0) == Some('{');
        if in_braces {
            self.next();
        }
        let name = self.while_next(is_name);
        if in_braces && self.peek(0) == Some('}') {
            self.next();
        }
        name
    }

    /// Returns whether `=` follows, so that a macro is defined.
    fn defines(&mut self) -> bool {
        let blanks = self.text[self.at..]
            .iter()
            .take_while(|c| matches!(c, ' ' | '\t'));
        let blanks = blanks.count();
        let found = self.peek(blanks) == Some('=');
        if found {
            self.at += blanks + 1;
        }
        found
    }

    fn definition(&mut self, name: String) {
        self.while_next(|c| matches!(c, ' ' | '\t'));
        let value = match self.peek(0) {
            Some(quote @ ('"' | '\'')) => self.string(quote).unwrap_or_default(),
            // the command itself is not a value
            Some('$') if self.peek(1) == Some('(') => self.command().unwrap_or_default(),
            _ => self.while_next(|c| is_name(c) || "-.".contains(c)),
        };
        self.macros.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_resolved_in_braces_only_inside_of_strings() {
        let (words, problems) = tokens("$d = \"mail\" %n = 5\na \"${d}/x $d\" $d %n '${d}' #c");
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["a", "mail/x $d", "mail", "5", "${d}"]);
        assert!(problems.is_empty());
    }

    #[test]
    fn string_without_an_end_is_reported() {
        let (words, problems) = tokens("set x\n  pass \"y\nmatch");
        assert_eq!(words.last().unwrap().text, "match");
        assert_eq!(problems, [((2, 8), "a string has no end")]);
    }
}
