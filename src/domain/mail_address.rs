//! Mail addresses, from which `pouch init` derives a POP3 server.

use std::{fmt, net::Ipv4Addr};

use crate::text::value_fault;

/// The longest address, in bytes (RFC 5321 §4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// The longest label of a domain, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A mail address, `ann@example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress {
    /// The part before the `@`.
    pub local: String,
    /// The domain in the form that DNS has (RFC 5890), in lower case.
    pub domain: String,
    /// The domain as the user wrote it, in lower case.
    pub written_domain: String,
}

impl MailAddress {
    /// Parses an address. It may be in angle brackets after a name, as mail programs copy it, or
    /// begin with `mailto:`.
    ///
    /// # Errors
    /// The text is not an address. The error is a clause that says why.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let text = match text.rsplit_once('<') {
            Some((_, rest)) => rest.strip_suffix('>').ok_or("the `>` is missing")?,
            None => text.strip_prefix("mailto:").unwrap_or(text),
        };
        if text.contains("://") {
            return Err("it is a URL");
        }
        if text.len() > MAX_ADDRESS {
            return Err("it is longer than 254 bytes");
        }
        let (local, written) = text.rsplit_once('@').ok_or("it has no `@`")?;
        let is_local = |c: char| !c.is_whitespace() && !"@<>,;:".contains(c);
        if local.is_empty() {
            return Err("there is nothing before the `@`");
        }
        if !local.chars().all(is_local) || value_fault(local).is_some() {
            return Err("the part before the `@` is not valid");
        }
        let written = written.trim_end_matches('.').to_lowercase();
        let domain = to_ascii(&written).ok_or("the domain is not valid")?;
        if domain.parse::<Ipv4Addr>().is_ok() {
            return Err("it has an IP address in place of the domain");
        }
        Ok(Self {
            local: local.to_owned(),
            domain,
            written_domain: written,
        })
    }

    /// Returns the address with another domain, which is in ASCII.
    #[must_use]
    pub fn at(&self, domain: &str) -> Self {
        Self {
            local: self.local.clone(),
            domain: domain.to_owned(),
            written_domain: domain.to_owned(),
        }
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.written_domain)
    }
}

/// Returns a domain in the form that DNS has, or `None` if it is not one.
fn to_ascii(domain: &str) -> Option<String> {
    let ascii = if domain.is_ascii() {
        domain.to_owned()
    } else {
        idna::domain_to_ascii(domain).ok()?
    };
    is_domain(&ascii).then_some(ascii)
}

/// Returns whether `name` is a host name or domain in the form that DNS has (RFC 1123 §2.1).
pub fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() < MAX_ADDRESS && name.split('.').all(is_label)
}

/// Returns whether `host` is `domain` or below it. Both are in lower case.
pub fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_found_in_what_people_paste() {
        for text in [
            "ann@example.org",
            " ann@Example.ORG. ",
            "mailto:ann@example.org",
            "Ann Example <ann@example.org>",
        ] {
            let address = MailAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), "ann@example.org", "{text}");
        }
        let address = MailAddress::parse("a+b.c@xn--mnchen-3ya.example").unwrap();
        assert_eq!(address.local, "a+b.c");
    }

    #[test]
    fn internationalized_domain_has_two_forms() {
        let address = MailAddress::parse("Jürgen@MÜNCHEN.example").unwrap();
        assert_eq!(address.domain, "xn--mnchen-3ya.example");
        assert_eq!(address.to_string(), "Jürgen@münchen.example");
    }

    #[test]
    fn invalid_address_is_refused() {
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@example..org",
            "ann@-example.org",
            "ann b@example.org",
            "ann@exa mple.org",
            "ann@[192.0.2.1]",
            "ann@192.0.2.1",
            "pops://ann@pop.example.org",
            "Ann <ann@example.org",
            "a\u{7}nn@example.org",
            "ann\u{202e}@example.org",
            "ann@bob@example.org",
        ] {
            assert!(MailAddress::parse(text).is_err(), "{text}");
        }
        let long = format!("ann@{}.example", "x".repeat(64));
        assert!(MailAddress::parse(&long).is_err());
    }

    #[test]
    fn subdomain_is_below_its_domain() {
        assert!(is_below("pop.example.org", "example.org"));
        assert!(is_below("example.org", "example.org"));
        assert!(!is_below("pop.notexample.org", "example.org"));
    }
}
