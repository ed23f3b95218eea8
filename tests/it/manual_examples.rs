//! The examples in the manual pages, README, `docs` and the sample config are valid: configs
//! resolve, and command lines parse.

use std::{fs, path::PathBuf};

use clap::{Parser, error::ErrorKind};
use pouch::{
    cli::args::Cli,
    config::{
        resolve::{ConfigDefaults, resolve},
        sample::sample,
        toml::File,
    },
};

/// A literal block of a page.
#[derive(Debug)]
struct Example {
    page: String,
    text: String,
}

impl Example {
    /// Returns whether this is a complete config.
    fn is_config(&self) -> bool {
        self.text.contains("[account.")
    }

    /// Returns the lines of a shell session or a crontab, with continuation lines joined.
    fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        for line in self.text.lines() {
            let command = line
                .strip_prefix("$ ")
                .or_else(|| line.strip_prefix("*/5 * * * * "));
            if let Some(command) = command {
                commands.push(command.to_owned());
            } else if let Some(begun) = commands.last_mut() {
                begun.push(' ');
                begun.push_str(line.strip_prefix("> ").unwrap_or(line).trim());
            }
        }
        commands
    }
}

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

/// Returns the README and the files in `docs`.
fn markdown_pages() -> Vec<String> {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::read_dir(docs)
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().display()))
        .chain(["README.md".to_owned()])
        .collect()
}

/// Returns the blocks between fences.
fn markdown_examples(page: &str) -> Vec<Example> {
    read(page)
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| Example {
            page: page.to_owned(),
            text: block.split_once('\n').unwrap().1.to_owned(),
        })
        .collect()
}

/// Returns the literal blocks of a manual page, as they are printed.
fn manual_examples(page: &str) -> Vec<Example> {
    read(page)
        .split(".Bd -literal")
        .skip(1)
        .map(|rest| {
            let (block, _) = rest.split_once(".Ed").unwrap();
            let (_, text) = block.split_once('\n').unwrap();
            Example {
                page: page.to_owned(),
                text: printed(text),
            }
        })
        .collect()
}

/// Returns text as mdoc(7) prints it.
fn printed(text: &str) -> String {
    text.replace("\\&", "")
        .replace("\\-", "-")
        .replace("\\(dq", "\"")
        .replace("\\e", "\\")
}

fn examples() -> Vec<Example> {
    let markdown = markdown_pages();
    markdown
        .iter()
        .flat_map(|page| markdown_examples(page))
        .chain(manual_examples("man/pouch.1"))
        .chain(manual_examples("man/pouch-config.5"))
        .collect()
}

/// Returns the arguments of each call of pouch in a shell command, quoted calls for `ssh` included.
fn calls(command: &str) -> Vec<Vec<String>> {
    let words = shlex::split(command).unwrap_or_else(|| panic!("unbalanced quotes: {command}"));
    let is_operator = |word: &String| matches!(word.as_str(), "|" | "||" | "&&" | ">" | ";");
    words
        .split(is_operator)
        .filter_map(<[_]>::split_first)
        .flat_map(|(program, arguments)| match program.as_str() {
            "ssh" => arguments.iter().flat_map(|word| calls(word)).collect(),
            _ if program.rsplit('/').next() == Some("pouch") => vec![arguments.to_vec()],
            _ => Vec::new(),
        })
        .collect()
}

fn parse(arguments: &[String]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("pouch".to_owned()).chain(arguments.iter().cloned()))
}

#[test]
fn command_lines_in_examples_parse() {
    let mut found = Vec::new();
    for example in examples() {
        for command in example.commands() {
            for arguments in calls(&command) {
                let parsed = parse(&arguments);
                assert!(
                    parsed.is_ok(),
                    "{}: {command}: {}",
                    example.page,
                    parsed.unwrap_err()
                );
                found.push(example.page.clone());
            }
        }
    }
    for (page, count) in [
        ("README.md", 6),
        ("docs/delivery.md", 3),
        ("man/pouch.1", 15),
    ] {
        let calls = found.iter().filter(|found| *found == page).count();
        assert!(calls >= count, "{page} has {calls} examples");
    }
}

/// A command may be named without its arguments.
#[test]
fn commands_in_the_text_parse() {
    let in_markdown = markdown_pages().into_iter().flat_map(|page| {
        let text = read(&page);
        // outside of the blocks, and then inside of backticks
        let text: String = text.split("```").step_by(2).collect();
        let spans: Vec<_> = text.split('`').skip(1).step_by(2).collect();
        let commands: Vec<_> = spans
            .into_iter()
            .filter(|code| code.starts_with("pouch "))
            .map(|code| code.replace('\n', " "))
            .collect();
        commands.into_iter().map(move |code| (page.clone(), code))
    });
    let in_manual = ["man/pouch.1", "man/pouch-config.5"]
        .into_iter()
        .flat_map(|page| {
            let text = read(page);
            let commands: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix(".Nm pouch Cm "))
                .map(|line| {
                    let command = line.replace("Fl ", "-").replace("Cm ", "");
                    let command = command.replace("Ar ", "");
                    format!(
                        "pouch {}",
                        printed(command.trim_end_matches([' ', '.', ',', ';']))
                    )
                })
                .collect();
            commands.into_iter().map(|code| (page.to_owned(), code))
        });
    let commands: Vec<_> = in_markdown.chain(in_manual).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for (page, command) in commands {
        for arguments in calls(&command) {
            let incomplete = |error: &clap::Error| {
                matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::MissingSubcommand
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                )
            };
            let error = parse(&arguments).err().filter(|error| !incomplete(error));
            assert!(error.is_none(), "{page}: {command}: {}", error.unwrap());
        }
    }
}

#[test]
fn configs_in_examples_are_valid() {
    let sample = Example {
        page: "sample".to_owned(),
        text: sample(),
    };
    let configs: Vec<_> = examples()
        .into_iter()
        .filter(Example::is_config)
        .chain([sample])
        .collect();
    for page in ["README.md", "docs/delivery.md", "man/pouch-config.5"] {
        assert!(configs.iter().any(|config| config.page == page), "{page}");
    }
    for Example { page, text } in configs {
        let home = PathBuf::from("/home/ann");
        let file = File::parse(&home.join("config.toml"), &home, &text);
        let context = ConfigDefaults {
            home,
            state_dir: "/state".into(),
        };
        let config = file.and_then(|file| resolve(file, &context));
        assert!(config.is_ok(), "{page}: {}\n{text}", config.unwrap_err());
    }
}
