//! A reader for the INI dialects of getmail, Claws Mail, Sylpheed, KDE, Evolution and Thunderbird.

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, as written.
    pub key: String,
    /// The value, without surrounding spaces. Continuation lines are joined by line breaks.
    pub value: String,
    /// The line number.
    pub line: usize,
}

/// A section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The line number of its header.
    pub line: usize,
    /// Its entries, in their order.
    pub entries: Vec<Entry>,
}

impl Section {
    /// Returns the entry of a key, whatever its case. The last one counts.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }

    /// Returns the value of a key if it is not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Returns the value of a key as a number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    /// Returns the value of a key as a truth value.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(truth)
    }
}

/// Returns the truth value that a word means in INI files.
pub fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// An INI file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ini {
    /// Its sections, in their order.
    pub sections: Vec<Section>,
    /// The numbers of lines that are neither of them.
    pub odd_lines: Vec<usize>,
}

impl Ini {
    /// Parses text. With `continued`, an indented line continues the value before it, as in Python.
    pub fn parse(text: &str, continued: bool) -> Self {
        let mut ini = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            let is_indented = line.starts_with([' ', '\t']);
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let last = ini.sections.last_mut();
            if continued
                && is_indented
                && let Some(entry) = last.and_then(|section| section.entries.last_mut())
            {
                entry.value.push('\n');
                entry.value.push_str(trimmed);
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| {
                let end = rest.rfind(']')?;
                Some(&rest[..end])
            }) {
                ini.sections.push(Section {
                    name: name.trim().to_owned(),
                    line: number,
                    entries: Vec::new(),
                });
                continue;
            }
            let separator = if continued {
                trimmed.find(['=', ':'])
            } else {
                trimmed.find('=')
            };
            match (separator, ini.sections.last_mut()) {
                (Some(at), Some(section)) if at > 0 => section.entries.push(Entry {
                    key: trimmed[..at].trim_end().to_owned(),
                    value: trimmed[at + 1..].trim_start().to_owned(),
                    line: number,
                }),
                _ => ini.odd_lines.push(number),
            }
        }
        ini
    }

    /// Returns the section with this name, whatever its case.
    pub fn section(&self, name: &str) -> Option<&Section> {
        let mut sections = self.sections.iter();
        sections.find(|section| section.name.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_continue_on_indented_lines() {
        let ini = Ini::parse("; x\n[a]\nk = (\n  'b',\n  )\nodd\n[c]\nK: 1", true);
        assert_eq!(ini.sections[0].get("k"), Some("(\n'b',\n)"));
        assert_eq!(ini.section("C").unwrap().number("k"), Some(1));
        assert_eq!(ini.odd_lines, [6]);
    }
}
