//! Misspelled domains of mail addresses, such as `gmial.com`.

use super::{
    known_server::{by_domain, domains},
    mail_address::MailAddress,
};
use crate::text::closest;

/// The minimum length of a first label that is compared. Short labels differ from many others by
/// one letter: `mailo.com` is not `mail.com`.
const SHORTEST_LABEL: usize = 5;

/// Returns the domain of a known provider that the domain of an address probably misspells.
///
/// Returns `None` if the domain belongs to a known provider. The suggestion is made before anything
/// is sent to the misspelled domain, whose owner may collect passwords.
pub fn misspelled(address: &MailAddress) -> Option<String> {
    if by_domain(address).is_some() {
        return None;
    }
    let written = address.written_domain.as_str();
    let found = domains().filter(|known| is_slip(written, *known));
    let found = found.map(|(label, rest)| format!("{label}.{rest}"));
    found.min_by_key(|known| strsim::damerau_levenshtein(written, known))
}

/// Returns whether `written` is probably a misspelling of a domain, given as its first label and
/// the rest.
fn is_slip(written: &str, (label, rest): (&str, &str)) -> bool {
    let Some((first, others)) = written.split_once('.') else {
        return written.strip_prefix(label) == Some(rest);
    };
    if others == rest {
        return label.len() >= SHORTEST_LABEL
            && first.chars().next() == label.chars().next()
            && closest(first, [label]).is_some();
    }
    // the domain of another country is not a misspelling
    let is_country = others.len() == 2 && !(rest == "com" && ["co", "cm", "om"].contains(&others));
    first == label && !is_country && strsim::damerau_levenshtein(others, rest) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_of_a_provider_is_suggested_for_a_misspelling() {
        let shown = |domains: &str| {
            let lines = domains.split(' ').map(|domain| {
                let address = MailAddress::parse(&format!("ann@{domain}")).unwrap();
                let meant = misspelled(&address);
                format!("{domain} {}", meant.as_deref().unwrap_or("-"))
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let domains = "gmial.com gmal.com gmail.co gmail.con gmailcom gmаil.com hotmial.com hotmail.cmo \
                       hotmal.co.uk outlok.com outloock.com yaho.com yahoo.comm icluod.com \
                       t-onlin.de gmx.dee gmx.nett fastmial.com protonmial.com";
        insta::assert_snapshot!(shown(domains), @"
        gmial.com gmail.com
        gmal.com gmail.com
        gmail.co gmail.com
        gmail.con gmail.com
        gmailcom gmail.com
        gmаil.com gmail.com
        hotmial.com hotmail.com
        hotmail.cmo hotmail.com
        hotmal.co.uk hotmail.co.uk
        outlok.com outlook.com
        outloock.com outlook.com
        yaho.com yahoo.com
        yahoo.comm yahoo.com
        icluod.com icloud.com
        t-onlin.de t-online.de
        gmx.dee gmx.de
        gmx.nett gmx.net
        fastmial.com fastmail.com
        protonmial.com protonmail.com
        ");
        let domains = "gmail.com example.org web.dk yahoo.cn gmx.eu mailo.com mail.box google.com \
                       localhost bücher.example apple.com outlook.example.org";
        insta::assert_snapshot!(shown(domains), @"
        gmail.com -
        example.org -
        web.dk -
        yahoo.cn -
        gmx.eu -
        mailo.com -
        mail.box -
        google.com -
        localhost -
        bücher.example -
        apple.com -
        outlook.example.org -
        ");
    }
}
