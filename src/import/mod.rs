//! Accounts and seen messages of other mail programs.
//!
//! Everything here is a function of bytes: the caller finds and reads the files, and only ever
//! reads them. A program has a parser of its own, since the formats have little in common, and each
//! parser builds the same value, [`Imported`], through [`Account`]. So what an option means is
//! decided next to its parser, and how an account is written is decided in [`render`] alone.
//!
//! Using crates for the formats was rejected: they read the dialect of their own language, and the
//! programs differ in continuation lines, comments and the case of keys.
//!
//! # The report
//!
//! Each option of the other program becomes one [`Line`], of one of four [kinds](LineKind). An
//! option that makes pouch delete messages from the server is always among them. A password is
//! never part of a line, and neither is a word that the parser does not recognise and that may
//! belong to a password.

mod account;
mod claws;
mod evolution;
mod fdm;
mod fetchmail;
mod getmail;
mod ini;
mod kmail;
mod model;
mod mpop;
mod program;
pub mod render;
pub mod seen;
mod shell;
mod source;
mod thunderbird;

pub use account::{Account, Line, LineKind, Password};
pub use ini::{Ini, Section};
pub use model::{Context, Imported, LONGEST, Problem};
pub use program::Program;
use source::Source;
pub use source::is_binary;
pub use thunderbird::{Profile, profiles};

/// Parses a config file of `program`.
pub fn parse(program: Program, bytes: &[u8], context: &Context<'_>) -> Imported {
    let mut imported = Imported::default();
    let source = Source::decode(bytes, context, &mut imported);
    match program {
        Program::Fetchmail => fetchmail::parse(&source, context, &mut imported),
        Program::Getmail => getmail::parse(&source, context, &mut imported),
        Program::Mpop => mpop::parse(&source, context, &mut imported),
        Program::Fdm => fdm::parse(&source, context, &mut imported),
        Program::Thunderbird => thunderbird::parse(&source, context, &mut imported),
        Program::Claws | Program::Sylpheed => {
            claws::parse(program, &source, context, &mut imported);
        }
        Program::Kmail => kmail::parse(&source, context, &mut imported),
        Program::Evolution => evolution::parse(&source, context, &mut imported),
    }
    imported.finish(context.path)
}

/// Returns whether text is a SHA-256 fingerprint in hexadecimal digits.
fn is_sha256(text: &str) -> bool {
    let digits = text.replace(':', "");
    digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Returns a SHA-256 fingerprint in the form of `tls-pin`.
fn sha256(text: &str) -> String {
    format!("sha256:{}", text.replace(':', "").to_lowercase())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// Words that are special in one of the formats.
    const WORDS: &[&str] = &[
        "poll",
        "defaults",
        "user",
        "is",
        "to",
        "pass",
        "no",
        "keep",
        "here",
        "set",
        "mda",
        "=",
        "\"",
        "'",
        "\\",
        "#",
        "\n",
        "\t",
        "[",
        "]",
        "[retriever]",
        "[destination]",
        "type",
        "Maildir",
        "(",
        ")",
        ",",
        ":",
        "account",
        "default",
        "host",
        "tls",
        "on",
        "delivery",
        "action",
        "match",
        "all",
        "pop3s",
        "server",
        "$a",
        "${a}",
        "%b",
        "{",
        "}",
        "$(",
        "include",
        "user_pref(\"mail.x\", 1);",
        "[Account: 1]",
        "user_id=",
        "*",
        "k",
        "1700000000",
        "\0",
        "\u{e9}",
        "9999999999999999999999",
    ];

    fn import(bytes: &[u8]) {
        for program in Program::ALL {
            let context = Context {
                path: Path::new("/home/ann/rc"),
                home: Path::new("/home/ann"),
                login: "ann",
                read: &|_| Some(bytes.to_vec()),
            };
            let imported = parse(program, bytes, &context);
            let usable = imported.accounts.iter().filter(|one| !one.is_unusable);
            assert!(
                usable
                    .clone()
                    .all(|one| one.host.is_some() && one.user.is_some())
            );
            let state = seen::read(program, bytes);
            assert!(state.blocks.iter().all(|block| {
                let mut messages = block.messages.iter();
                messages.all(|message| !message.uid.is_empty())
            }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..300)) {
            import(&bytes);
        }

        #[test]
        fn any_words_are_read(
            words in vec(select(WORDS), 0..60),
            space in select(vec!["", " ", "\n"]),
        ) {
            import(words.join(space).as_bytes());
        }
    }
}
