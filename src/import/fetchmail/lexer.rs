//! The words of a fetchmailrc, as fetchmail 6.4 reads them.

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The word, with its escapes resolved.
    pub(super) text: String,
    /// The number of its line.
    pub(super) line: usize,
    /// The number of its column.
    pub(super) column: usize,
    /// Whether it was quoted, and is not a keyword.
    pub(super) is_quoted: bool,
    /// Whether it is a string without an end, whose text is unknown.
    pub(super) is_broken: bool,
}

/// The words of a file, and the places of strings without an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) words: Vec<Token>,
    pub(super) unterminated: Vec<(usize, usize)>,
}

struct Lexer<'a> {
    text: &'a [char],
    at: usize,
    line: usize,
    start: usize,
}

/// Splits text into words. `=` is a word of its own; `;`, `:` and `,` separate words.
pub(super) fn tokens(text: &str) -> Tokens {
    let characters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        text: &characters,
        at: 0,
        line: 1,
        start: 0,
    };
    let mut found = Tokens::default();
    while let Some(c) = lexer.peek() {
        let (line, column) = (lexer.line, lexer.at - lexer.start + 1);
        let mut word = |text, is_quoted, is_broken| {
            found.words.push(Token {
                text,
                line,
                column,
                is_quoted,
                is_broken,
            });
        };
        match c {
            '#' => while lexer.next_if(|c| c != '\n').is_some() {},
            '"' | '\'' => {
                let text = lexer.string(c);
                let is_broken = text.is_none();
                word(text.unwrap_or_default(), true, is_broken);
                if is_broken {
                    found.unterminated.push((line, column));
                }
            }
            '=' => {
                lexer.next();
                word("=".into(), false, false);
            }
            c if is_separator(c) => drop(lexer.next()),
            _ => {
                let mut text = String::new();
                while let Some(c) = lexer.next_if(|c| !is_separator(c) && c != '=') {
                    text.push(c);
                }
                word(text, false, false);
            }
        }
    }
    found
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, ';' | ':' | ',')
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.start = self.at;
        }
        Some(c)
    }

    fn next_if(&mut self, accepts: impl Fn(char) -> bool) -> Option<char> {
        self.peek().filter(|c| accepts(*c))?;
        self.next()
    }

    /// Reads a string. Returns `None` if it has no end; the rest of its line is then skipped.
    fn string(&mut self, quote: char) -> Option<String> {
        self.next();
        let (begin, line, start) = (self.at, self.line, self.start);
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return Some(text),
                '\\' => self.escape(&mut text),
                c => text.push(c),
            }
        }
        (self.at, self.line, self.start) = (begin, line, start);
        while self.next_if(|c| c != '\n').is_some() {}
        None
    }

    /// Reads the rest of an escape. `\NNN` is decimal, and octal with a leading 0.
    fn escape(&mut self, text: &mut String) {
        let Some(c) = self.next() else {
            return;
        };
        let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
        let resolved = match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'b' => Some('\u{8}'),
            'r' => Some('\r'),
            '\n' => None,
            'x' => {
                let digits = self.digits(2, 16);
                code(&digits, 16).and_then(char::from_u32)
            }
            '0' => {
                let digits = self.digits(3, 8);
                code(&digits, 8).map_or(Some('\0'), char::from_u32)
            }
            '1'..='9' => {
                let digits = format!("{c}{}", self.digits(2, 10));
                code(&digits, 10).and_then(char::from_u32)
            }
            other => Some(other),
        };
        text.extend(resolved);
    }

    fn digits(&mut self, most: usize, radix: u32) -> String {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(c) = self.next_if(|c| c.is_digit(radix))
        {
            digits.push(c);
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = tokens(text);
        tokens.words.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn strings_have_decimal_and_octal_escapes() {
        assert_eq!(words(r#""a\65\0101\x41\"b" 'c"d'"#), ["aAAA\"b", "c\"d"]);
        assert_eq!(words("\"a\\\nb\""), ["ab"]);
    }

    #[test]
    fn separators_end_a_bare_word() {
        assert_eq!(
            words("poll pop.example.org: # x\n pass a#b; to x=y"),
            [
                "poll",
                "pop.example.org",
                "pass",
                "a#b",
                "to",
                "x",
                "=",
                "y"
            ]
        );
    }

    #[test]
    fn string_without_an_end_ends_with_its_line() {
        let found = tokens("pass \"x\nkeep");
        assert_eq!(found.unterminated, [(1, 6)]);
        assert!(found.words[1].is_broken);
        assert_eq!(found.words[2].text, "keep");
        assert_eq!((found.words[2].line, found.words[2].column), (2, 1));
    }
}
