//! Converts the texts of the config keys, with code in backticks, to mdoc(7).

use pouch::config::schema::{Key, Scope};

/// The width of text lines.
const WIDTH: usize = 78;

/// Returns the list of these keys, with their paragraphs.
pub fn key_list<'k>(keys: impl IntoIterator<Item = &'k Key>) -> String {
    let mut text = String::from(".Bl -tag -width Ds\n");
    for key in keys {
        text.push_str(&format!(".It Ic {}\n", key.name));
        text.push_str(&paragraphs(key));
    }
    text + ".El\n"
}

/// Returns the paragraphs of a key, the last of which ends with its default.
fn paragraphs(key: &Key) -> String {
    let lines: Vec<_> = key.manual.iter().map(|line| line.trim()).collect();
    let paragraphs: Vec<_> = lines
        .split(|line| line.is_empty())
        .map(|lines| lines.join(" "))
        .collect();
    let mut text = paragraphs
        .iter()
        .map(|paragraph| mdoc(paragraph))
        .collect::<Vec<_>>()
        .join(".Pp\n");
    let default = match (key.default, key.default_words) {
        (Some(value), _) => Some(format!("Default: `{}`.", value())),
        (None, words) => words.map(|words| format!("Default: {words}.")),
    };
    let required = key.required.map(|_| "Required.".to_owned());
    text.extend(default.or(required).map(|sentence| mdoc(&sentence)));
    text
}

/// Returns a paragraph as mdoc: each sentence on lines of its own, each piece of code as a macro.
pub fn mdoc(paragraph: &str) -> String {
    let mut out = Lines::default();
    for (index, piece) in paragraph.split('`').enumerate() {
        if index % 2 == 1 {
            out.code(piece);
        } else {
            out.text(piece);
        }
    }
    out.end_line();
    out.done
}

/// Lines of mdoc output.
#[derive(Default)]
struct Lines {
    done: String,
    line: String,
    is_macro: bool,
}

impl Lines {
    fn end_line(&mut self) {
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.done.push_str(line);
            self.done.push('\n');
        }
        self.line.clear();
        self.is_macro = false;
    }

    /// Adds code. An opening bracket directly before it becomes its first argument.
    fn code(&mut self, code: &str) {
        let bracket = self.line.ends_with('(');
        if bracket {
            self.line.pop();
        }
        self.end_line();
        let (name, arguments) = code_macro(code);
        let open = if bracket { "( " } else { "" };
        self.line = format!(".{name} {open}{arguments}");
        self.is_macro = true;
    }

    /// Adds text. Punctuation directly after code belongs to its line.
    fn text(&mut self, text: &str) {
        let mut text = text;
        if self.is_macro {
            while let Some(mark) = text.chars().next().filter(|c| ".,:;)".contains(*c)) {
                self.line.push_str(&format!(" {mark}"));
                text = &text[1..];
            }
            if !text.is_empty() && !text.starts_with(' ') {
                let word = text.split(' ').next().unwrap();
                self.line.push_str(&format!(" Ns {word}"));
                text = &text[word.len()..];
            }
            self.end_line();
        }
        for word in text.split_whitespace() {
            self.word(word);
        }
    }

    fn word(&mut self, word: &str) {
        if let Some(page) = manual_page(word) {
            self.end_line();
            self.line = page;
            self.is_macro = true;
            self.end_line();
            return;
        }
        if self.line.len() + 1 + word.len() > WIDTH {
            self.end_line();
        }
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        self.line.push_str(&escaped(word));
        if word.ends_with('.') {
            self.end_line();
        }
    }
}

/// Returns the line for a word such as `systemd(1)`, with the punctuation after it.
fn manual_page(word: &str) -> Option<String> {
    let (name, rest) = word.split_once('(')?;
    let (section, marks) = rest.split_once(')')?;
    if name.is_empty() || section.parse::<u8>().is_err() {
        return None;
    }
    let marks: String = marks.chars().flat_map(|mark| [' ', mark]).collect();
    Some(format!(".Xr {name} {section}{marks}"))
}

/// Returns the macro for a piece of code, and its arguments.
fn code_macro(code: &str) -> (&'static str, String) {
    let is_key = |scope: Scope| scope.names().any(|name| name == code);
    if let Some(command) = code.strip_prefix("pouch ") {
        return ("Nm", format!("pouch Cm {}", escaped(command)));
    }
    if let Some(flag) = code.strip_prefix("--") {
        return ("Fl", format!("\\-{}", escaped(flag)));
    }
    if code.starts_with("~/") {
        return ("Pa", escaped(code));
    }
    let name = if Scope::ALL.into_iter().any(is_key) {
        "Ic"
    } else {
        "Li"
    };
    let text = escaped(code);
    match text.strip_suffix(':') {
        // a colon at the end would be printed as text
        Some(start) => (name, format!("{start}\\&:")),
        None => (name, text),
    }
}

/// Returns text with the special characters of mdoc escaped.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('"', "\\(dq");
    let text = match text.strip_suffix(' ') {
        Some(text) => format!("{text}\\ \\&"),
        None => text,
    };
    let number = text.strip_prefix('-');
    match number.filter(|number| number.starts_with(|c: char| c.is_ascii_digit())) {
        Some(number) => format!("\\-{number}"),
        None if text.starts_with(['.', '\'']) => format!("\\&{text}"),
        None => text,
    }
}

#[test]
fn texts_are_converted_to_mdoc() {
    assert_eq!(
        mdoc(
            "A list (`keep` or `\"x\"`), see systemd(1). Run `pouch ledger retry`; -1 is `--to`, `a:`."
        ),
        "A list
.Ic ( keep
or
.Li \\(dqx\\(dq ) ,
see
.Xr systemd 1 .
Run
.Nm pouch Cm ledger retry ;
\\-1 is
.Fl \\-to ,
.Li a\\&: .
"
    );
}
