//! Commands that other programs run with a shell, as lists of words.

/// Characters outside of words that need a shell.
const SPECIAL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=',
    '!', '{', '\n',
];

/// Returns the words of a command that was run by a shell: the words themselves if they need no
/// shell, or else `sh -c` and the command.
pub fn words(command: &str) -> Vec<String> {
    plain_words(command)
        .unwrap_or_else(|| vec!["sh".into(), "-c".into(), command.trim().to_owned()])
}

/// Returns the words of a command that needs no shell. Quotes may enclose whole words.
fn plain_words(command: &str) -> Option<Vec<String>> {
    let words = shlex::split(command)?;
    // shlex also accepts what a shell would expand
    let is_plain = !strip_quoted(command)?.contains(SPECIAL) && !words.is_empty();
    is_plain.then_some(words)
}

/// Removes whole words in quotes, inside which nothing is special.
fn strip_quoted(command: &str) -> Option<String> {
    let mut plain = String::new();
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        if c != '"' && c != '\'' {
            plain.push(c);
            continue;
        }
        let mut inside = String::new();
        loop {
            match characters.next()? {
                end if end == c => break,
                inner => inside.push(inner),
            }
        }
        // a shell expands these inside of double quotes
        if c == '"' && inside.contains(['$', '`', '\\', '!']) {
            return None;
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_need_a_shell_get_one() {
        for plain in ["pass show mail/work", "secret-tool lookup 'user name' ann"] {
            assert_ne!(words(plain)[0], "sh", "{plain}");
        }
        for special in [
            "gpg -d ~/.x.gpg | head -1",
            "echo $HOME",
            "a \"$b\"",
            "A=b cmd",
            "x 'y",
            "cat <f",
            "ls *",
        ] {
            assert_eq!(words(special)[..2], ["sh", "-c"], "{special}");
        }
        assert_eq!(words("secret-tool lookup 'user name' ann")[2], "user name");
    }
}
