//! What a key takes: how each kind of value is read, and written again.

use std::{num::NonZero, str::FromStr};

use toml::de::DeValue;

use super::{
    Quirk, RequestAhead, Tls,
    diagnostic::{TypeMismatch, kind, literal},
    syntax::{FilePath, Host, Lmtp, Pin},
};
use crate::domain::{
    auth::Auth, destination::is_recipient, pattern::Pattern, plan::Keep, rule::Bound,
    size::ByteSize, time::TimeSpan, trace_fields::TraceField,
};

/// What a key takes.
pub trait Value: Sized {
    /// What to write for one, as in "must be …".
    const WANTED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// It does not fit: what stands there, as in "not …".
    fn read(value: &DeValue<'_>) -> Result<Self, String>;

    /// As it is written in the config.
    fn to_toml(&self) -> String;
}

pub(super) fn read<T: Value>(value: &DeValue<'_>) -> Result<T, TypeMismatch> {
    T::read(value).map_err(|found| TypeMismatch {
        wanted: T::WANTED,
        found,
    })
}

/// `text` as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A text with something in it that is safe to send in a line of its own.
fn text_in<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let text = value.as_str().ok_or_else(|| kind(value))?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err(literal(value));
    }
    Ok(text)
}

/// A text that `parse` makes something of.
pub(super) fn parsed<T>(
    value: &DeValue<'_>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    parse(text_in(value)?).ok_or_else(|| literal(value))
}

/// The values that are written as one of a few words.
macro_rules! words {
    ($kind:ty, $wanted:literal, $($word:literal => $value:path),*) => {
        impl Value for $kind {
            const WANTED: &'static str = $wanted;

            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                parsed(value, |text| match text {
                    $($word => Some($value),)*
                    _ => None,
                })
            }

            fn to_toml(&self) -> String {
                quoted(match self {
                    $($value => $word,)*
                })
            }
        }
    };
}

words!(Tls, r#""implicit", "starttls" or "off""#, "implicit" => Tls::Implicit, "starttls" => Tls::StartTls, "off" => Tls::Off);
words!(Auth, r#""auto", "plain" or "user""#, "auto" => Auth::Auto, "plain" => Auth::Plain, "user" => Auth::User);

/// A whole number.
fn number<T: FromStr>(value: &DeValue<'_>) -> Result<T, String> {
    match value {
        DeValue::Integer(number) if number.radix() != 10 => {
            Err("a number to another base than ten".to_owned())
        }
        DeValue::Integer(number) => number.as_str().parse().map_err(|_| literal(value)),
        DeValue::Float(_) => Err(literal(value)),
        _ => Err(kind(value)),
    }
}

/// The values that Rust reads and writes as the config does, once it is known what holds them.
macro_rules! plain {
    ($($kind:ty, $wanted:literal, $read:expr, $to_toml:expr;)*) => {$(
        impl Value for $kind {
            const WANTED: &'static str = $wanted;

            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                $read(value)
            }

            fn to_toml(&self) -> String {
                $to_toml(self)
            }
        }
    )*};
}

plain! {
    NonZero<u16>, "a number from 1 to 65535, without quotes", number, ToString::to_string;
    NonZero<u32>, "a number from 1 up, without quotes", number, ToString::to_string;
    NonZero<u64>, "a number from 1 up, without quotes", number, ToString::to_string;
    NonZero<usize>, "a number from 1 up, without quotes", number, ToString::to_string;
    NonZero<i32>, "a number without quotes: 1 is the first from the top, -1 from the bottom", number, ToString::to_string;
    u32, "a number from 0 up, without quotes", number, ToString::to_string;
    u64, "a number from 0 up, without quotes", number, ToString::to_string;
    bool, "true or false, without quotes", truth, ToString::to_string;
    String, "a text in quotes", |value| text_in(value).map(str::to_owned), |text: &String| quoted(text);
    TimeSpan, r#"a time in quotes, like "30s", "5m" or "12h""#, |value| parsed(value, a_while), |span: &TimeSpan| quoted(&span.to_string());
    ByteSize, r#"a size in quotes, like "512KB", "25MB" or "2GB""#, |value| parsed(value, some_octets), |size: &ByteSize| quoted(&size.to_string());
    Vec<String>, r#"a list of words, like ["notmuch", "new"]"#, words_in, |words: &Vec<String>| listed(words);
    Vec<Vec<String>>, r#"a list of commands, like [["bogofilter", "-p", "-e"]]"#, commands, |all: &Vec<Vec<String>>| commands_text(all);
    Host, r#"a host name or an address in quotes, like "pop.example.org""#, |value| parsed(value, Host::new), |host: &Host| quoted(&host.0);
    FilePath, r#"a path in quotes, like "~/Mail/work""#, |value| parsed(value, FilePath::new), |path: &FilePath| quoted(&path.0);
    Pin, r#""sha256:…" with 64 hexadecimal digits"#, |value| parsed(value, Pin::new), |pin: &Pin| quoted(&pin.to_string());
    Lmtp, r#""unix:/run/dovecot/lmtp" or "host:port""#, |value| parsed(value, Lmtp::new), |lmtp: &Lmtp| quoted(&lmtp.to_string());
    Recipients, r#"a list of addresses, like ["ann@example.org"]"#, recipients, |recipients: &Recipients| listed(&recipients.0);
    Keep, r#""forever", "none" or a time in quotes, like "30d""#, |value| parsed(value, keep), |keep: &Keep| quoted(&keep_text(*keep));
    Vec<TraceField>, r#"a list of "received", "return-path" and "delivered-to", or empty"#, trace_fields, |fields: &Vec<TraceField>| trace_fields_text(fields);
    Vec<Quirk>, r#"a list of "no-uidl", or empty"#, quirks, |quirks: &Vec<Quirk>| quirks_text(quirks);
    Pattern, r#"a pattern in quotes, like "*@example.org" or "/sale|offer/""#, pattern, |pattern: &Pattern| quoted(pattern.as_str());
    Fields, r#"a name and a pattern, like "X-Spam-Flag: yes""#, fields, fields_text;
    Bound, r#"a limit in quotes, like ">2MB" or "<10KB""#, |value| parsed(value, bound), |bound: &Bound| quoted(&bound_text(*bound));
    RequestAhead, r#""auto" or a number from 1 up"#, request_ahead, |ahead: &RequestAhead| request_ahead_text(*ahead);
}

/// The words for what is odd about servers.
pub(super) const QUIRKS: &[&str] = &["no-uidl"];

fn quirks(value: &DeValue<'_>) -> Result<Vec<Quirk>, String> {
    each_word(value, |word| (word == "no-uidl").then_some(Quirk::NoUidl))
}

fn quirks_text(quirks: &[Quirk]) -> String {
    let words = quirks.iter().map(|quirk| match quirk {
        Quirk::NoUidl => "no-uidl".to_owned(),
    });
    listed(&words.collect::<Vec<_>>())
}

/// The words for fields that are put on top of messages.
pub(super) const TRACE_FIELDS: &[&str] = &["received", "return-path", "delivered-to"];

fn trace_fields(value: &DeValue<'_>) -> Result<Vec<TraceField>, String> {
    each_word(value, |word| match word {
        "received" => Some(TraceField::Received),
        "return-path" => Some(TraceField::ReturnPath),
        "delivered-to" => Some(TraceField::DeliveredTo),
        _ => None,
    })
}

fn trace_fields_text(fields: &[TraceField]) -> String {
    let words = fields.iter().map(|field| match field {
        TraceField::Received => "received".to_owned(),
        TraceField::ReturnPath => "return-path".to_owned(),
        TraceField::DeliveredTo => "delivered-to".to_owned(),
    });
    listed(&words.collect::<Vec<_>>())
}

/// A list of words, each of which stands for something.
fn each_word<T>(value: &DeValue<'_>, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let list = value.as_array().ok_or_else(|| kind(value))?;
    list.iter()
        .map(toml::Spanned::get_ref)
        .map(|word| match word.as_str() {
            Some(text) => read(text).ok_or_else(|| format!("a list with {} in it", literal(word))),
            None => Err(format!("a list with {} in it", kind(word))),
        })
        .collect()
}

fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| kind(value))
}

/// A time that is not zero: nothing can be done in no time.
fn a_while(text: &str) -> Option<TimeSpan> {
    text.parse()
        .ok()
        .filter(|span: &TimeSpan| span.seconds() > 0)
}

/// A size that is not zero: nothing has it.
fn some_octets(text: &str) -> Option<ByteSize> {
    text.parse()
        .ok()
        .filter(|size: &ByteSize| size.octets() > 0)
}

fn keep(text: &str) -> Option<Keep> {
    match text {
        "forever" => Some(Keep::Forever),
        "none" => Some(Keep::None),
        time => a_while(time).map(Keep::For),
    }
}

fn keep_text(keep: Keep) -> String {
    match keep {
        Keep::Forever => "forever".to_owned(),
        Keep::None => "none".to_owned(),
        Keep::For(span) => span.to_string(),
    }
}

fn request_ahead(value: &DeValue<'_>) -> Result<RequestAhead, String> {
    match value {
        DeValue::String(_) => parsed(value, |text| (text == "auto").then_some(RequestAhead::Auto)),
        _ => number::<NonZero<u32>>(value).map(|count| RequestAhead::Count(count.get())),
    }
}

fn request_ahead_text(ahead: RequestAhead) -> String {
    match ahead {
        RequestAhead::Auto => quoted("auto"),
        RequestAhead::Count(count) => count.to_string(),
    }
}

fn pattern(value: &DeValue<'_>) -> Result<Pattern, String> {
    Pattern::new(text_in(value)?).map_err(|reason| format!("{} ({reason})", literal(value)))
}

/// Whether a header field may be called so (RFC 5322 §2.2): printable, and no colon.
pub(super) fn is_field(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b':')
}

/// Header fields, each with what it has to be like.
#[derive(Clone, Debug)]
pub struct Fields(pub Vec<(String, Pattern)>);

fn fields(value: &DeValue<'_>) -> Result<Fields, String> {
    let fields: Vec<_> = if let DeValue::Table(table) = value {
        let fields = table
            .iter()
            .map(|(name, value)| Ok((name.get_ref().to_string(), pattern(value.get_ref())?)));
        fields.collect::<Result<_, String>>()?
    } else {
        let (name, text) = text_in(value)?
            .split_once(':')
            .ok_or_else(|| literal(value))?;
        let pattern =
            Pattern::new(text.trim()).map_err(|reason| format!("{} ({reason})", literal(value)))?;
        vec![(name.trim().to_owned(), pattern)]
    };
    match fields.iter().find(|(name, _)| !is_field(name)) {
        Some((name, _)) => Err(format!("{}, which is no name of a field", quoted(name))),
        None if fields.is_empty() => Err(kind(value)),
        None => Ok(Fields(fields)),
    }
}

fn fields_text(Fields(fields): &Fields) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, pattern)| format!("{} = {}", quoted(name), quoted(pattern.as_str())))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn bound(text: &str) -> Option<Bound> {
    let (bound, size): (fn(ByteSize) -> Bound, _) = match text.split_at_checked(1)? {
        (">", size) => (Bound::Over, size),
        ("<", size) => (Bound::Under, size),
        _ => return None,
    };
    some_octets(size).map(bound)
}

fn bound_text(bound: Bound) -> String {
    match bound {
        Bound::Over(size) => format!(">{size}"),
        Bound::Under(size) => format!("<{size}"),
    }
}

/// A command: the program and its arguments, which may be empty or hold line breaks.
fn words_in(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let list = value
        .as_array()
        .filter(|list| !list.is_empty())
        .ok_or_else(|| kind(value))?;
    let words = list
        .iter()
        .map(|word| match word.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                Err("a list with a NUL in it".to_owned())
            }
            DeValue::String(text) => Ok(text.to_string()),
            other => Err(format!("a list with {} in it", kind(other))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if words[0].is_empty() {
        return Err("a list whose first word, the program, is empty".to_owned());
    }
    Ok(words)
}

/// Commands, each a list of its own.
fn commands(value: &DeValue<'_>) -> Result<Vec<Vec<String>>, String> {
    let list = value.as_array().ok_or_else(|| kind(value))?;
    list.iter()
        .map(|command| {
            words_in(command.get_ref()).map_err(|found| format!("a list with {found} in it"))
        })
        .collect()
}

fn commands_text(commands: &[Vec<String>]) -> String {
    let commands: Vec<_> = commands.iter().map(|command| listed(command)).collect();
    format!("[{}]", commands.join(", "))
}

/// A command as a TOML list.
pub(super) fn listed(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Those who get the messages that go to an LMTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(pub Vec<String>);

fn recipients(value: &DeValue<'_>) -> Result<Recipients, String> {
    let words = words_in(value)?;
    match words.iter().find(|word| !is_recipient(word)) {
        Some(word) => Err(format!("a list with {} in it", quoted(word))),
        None => Ok(Recipients(words)),
    }
}
