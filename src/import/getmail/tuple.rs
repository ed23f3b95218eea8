//! Tuples of strings in the syntax of Python.

/// Parses a tuple or list of strings in the syntax of Python. A single string is a tuple of one.
pub(super) fn tuple(text: &str) -> Option<Vec<String>> {
    let mut characters = text.trim().chars().peekable();
    let mut words = Vec::new();
    while let Some(c) = characters.next() {
        match c {
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match characters.next()? {
                        end if end == c => break,
                        '\\' => match characters.next()? {
                            'n' => word.push('\n'),
                            't' => word.push('\t'),
                            other if "\\'\"".contains(other) => word.push(other),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
                words.push(word);
            }
            '(' | ')' | '[' | ']' | ',' => {}
            c if c.is_whitespace() => {}
            _ => return None,
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_are_python_literals() {
        assert_eq!(tuple("('-d', \"ann\",)").unwrap(), ["-d", "ann"]);
        assert_eq!(tuple(r#"("a\"b", 'c\d')"#).unwrap(), ["a\"b", "c\\d"]);
        assert_eq!(tuple("(1, 2)"), None);
        assert_eq!(tuple("('a"), None);
    }
}
