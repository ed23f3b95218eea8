//! The documents of autoconfig: XML with the servers of a provider.

use roxmltree::{Document, Node, ParsingOptions};

use crate::domain::{
    mail_address::{MailAddress, is_domain},
    mail_server::{Encryption, MailServer, user_of},
};

/// The maximum number of elements, comments and texts in a document.
const MAX_NODES: u32 = 10_000;

/// The maximum number of attributes in a document.
const MAX_ATTRIBUTES: usize = 1_000;

/// The longest login name.
const MAX_USER: usize = 254;

/// The ports of other protocols, which some documents have by mistake.
const OTHER_PORTS: [u16; 5] = [25, 143, 465, 587, 993];

/// Returns the POP3 servers in a document that can be used, the best encryption first. Elements
/// that are not known are ignored, and so are servers with contradictory settings.
///
/// # Errors
/// It is not such a document. The error is a clause.
pub fn parse(document: &[u8], address: &MailAddress) -> Result<Vec<MailServer>, String> {
    const OTHER: &str = "it is not an autoconfig document";
    let text = std::str::from_utf8(document).map_err(|_| OTHER)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    // The parser compares each attribute with the others of its element, and copies the namespaces
    // of an element to those below it.
    if text.matches('=').count() > MAX_ATTRIBUTES {
        return Err("its document has too many attributes".to_owned());
    }
    let options = ParsingOptions {
        // no entities, neither from outside nor nested ones
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let xml = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => "its document has a DTD".to_owned(),
        roxmltree::Error::NodesLimitReached => "its document has too many elements".to_owned(),
        _ => OTHER.to_owned(),
    })?;
    let root = xml.root_element();
    if !is(root, "clientConfig") {
        return Err(OTHER.into());
    }
    let providers = root.children().filter(|node| is(*node, "emailProvider"));
    let mut servers: Vec<_> = providers
        .flat_map(|provider| provider.children())
        .filter(|node| is(*node, "incomingServer") && node.attribute("type") == Some("pop3"))
        .filter_map(|node| server(node, address))
        .collect();
    servers.sort_by_key(|server| server.encryption);
    Ok(servers)
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

/// Returns the texts of the children with this name.
fn texts<'a>(node: Node<'a, '_>, name: &str) -> Vec<&'a str> {
    let children = node.children().filter(|child| is(*child, name));
    let texts = children.filter_map(|child| child.text());
    texts
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect()
}

/// Returns the server of an element, or `None` if its settings are missing or contradictory.
fn server(node: Node<'_, '_>, address: &MailAddress) -> Option<MailServer> {
    let host = texts(node, "hostname").first().copied()?;
    let host = fill(host, address).trim_end_matches('.').to_lowercase();
    if !is_domain(&host) {
        return None;
    }
    let encryption = match *texts(node, "socketType").first()? {
        "SSL" | "TLS" => Encryption::Implicit,
        "STARTTLS" => Encryption::StartTls,
        "plain" => Encryption::Off,
        _ => return None,
    };
    let port = match texts(node, "port").first() {
        Some(port) => port.parse().ok()?,
        None => encryption.port(),
    };
    let is_contradictory = match encryption {
        Encryption::Implicit => port == 110,
        Encryption::StartTls | Encryption::Off => port == 995,
    };
    if port == 0 || is_contradictory || OTHER_PORTS.contains(&port) {
        return None;
    }
    let user = texts(node, "username")
        .first()
        .map(|user| fill(user, address));
    let is_user = |user: &String| {
        user.len() <= MAX_USER && !user.contains('%') && !user.chars().any(char::is_control)
    };
    let methods = texts(node, "authentication");
    Some(MailServer {
        host,
        port,
        encryption,
        user: user.filter(is_user).unwrap_or_else(|| user_of(address)),
        accepts_passwords: methods.is_empty() || methods.iter().any(|method| *method != "OAuth2"),
    })
}

/// Replaces the placeholders of a value.
fn fill(text: &str, address: &MailAddress) -> String {
    text.replace("%EMAILADDRESS%", &user_of(address))
        .replace("%EMAILLOCALPART%", &address.local)
        .replace("%EMAILDOMAIN%", &address.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> MailAddress {
        MailAddress::parse("ann@example.org").unwrap()
    }

    fn document(servers: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<clientConfig version=\"1.1\"><emailProvider id=\"x\">\
             <domain>example.org</domain>{servers}</emailProvider></clientConfig>"
        )
    }

    fn pop3(host: &str, port: &str, socket: &str, user: &str) -> String {
        format!(
            "<incomingServer type=\"pop3\"><hostname>{host}</hostname><port>{port}</port>\
             <socketType>{socket}</socketType><username>{user}</username>\
             <authentication>password-cleartext</authentication></incomingServer>"
        )
    }

    fn shown(servers: &str) -> String {
        let servers = match parse(document(servers).as_bytes(), &ann()) {
            Ok(servers) => servers,
            Err(reason) => return reason,
        };
        let lines: Vec<_> = servers
            .iter()
            .map(|it| {
                let words = it.encryption.words();
                format!(
                    "{}:{} {words} {} {}",
                    it.host, it.port, it.user, it.accepts_passwords
                )
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn tls_comes_before_starttls_and_clear_text() {
        let servers = [
            pop3("a.example.org", "110", "plain", "%EMAILADDRESS%"),
            pop3("b.example.org", "110", "STARTTLS", "%EMAILLOCALPART%"),
            pop3("pop.%EMAILDOMAIN%", "995", "SSL", "x"),
            "<incomingServer type=\"imap\"><hostname>imap.example.org</hostname></incomingServer>"
                .into(),
        ];
        insta::assert_snapshot!(shown(&servers.concat()), @"
        pop.example.org:995 TLS x true
        b.example.org:110 STARTTLS ann true
        a.example.org:110 no encryption ann@example.org true
        ");
    }

    #[test]
    fn contradictory_and_foreign_values_are_left_out() {
        for (host, port, socket) in [
            ("pop.example.org", "993", "SSL"),
            ("pop.example.org", "143", "SSL"),
            ("pop.example.org", "110", "SSL"),
            ("pop.example.org", "995", "STARTTLS"),
            ("pop.example.org", "0", "SSL"),
            ("pop.example.org", "65536", "SSL"),
            ("pop.example.org", "-1", "SSL"),
            ("pop.example.org", "995", "ssl3"),
            ("pop example org", "995", "SSL"),
            ("pop.example.org/x", "995", "SSL"),
            ("", "995", "SSL"),
        ] {
            assert_eq!(
                shown(&pop3(host, port, socket, "ann")),
                "",
                "{host}:{port} {socket}"
            );
        }
    }

    #[test]
    fn odd_login_name_becomes_the_address() {
        for user in ["%REALNAME%", "a&#10;b", "", &"x".repeat(300)] {
            let line = shown(&pop3("pop.example.org", "995", "SSL", user));
            assert_eq!(
                line, "pop.example.org:995 TLS ann@example.org true",
                "{user}"
            );
        }
    }

    #[test]
    fn server_with_oauth_alone_accepts_no_password() {
        let servers = pop3("pop.example.org", "995", "SSL", "ann");
        let servers = servers.replace("password-cleartext", "OAuth2");
        assert_eq!(shown(&servers), "pop.example.org:995 TLS ann false");
        let both = servers.replace(
            "<authentication>",
            "<authentication>password-cleartext</authentication><authentication>",
        );
        assert_eq!(shown(&both), "pop.example.org:995 TLS ann true");
    }

    #[test]
    fn other_documents_are_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]><clientConfig>&b;\
                    </clientConfig>";
        let file = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><clientConfig>&f;\
                    </clientConfig>";
        let many = format!("<clientConfig>{}</clientConfig>", "<a/>".repeat(20_000));
        let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
        let scope = |n| format!("<a xmlns:a{n}=\"b{n}\">");
        let namespaces: String = (0..9_000).map(scope).collect();
        let namespaces = namespaces + &"</a>".repeat(9_000);
        for text in [
            "",
            "<html><body>not found</body></html>",
            "{\"json\": true}",
            "<clientConfig>",
            "\u{0}\u{1}",
            bomb,
            file,
            &many,
            &deep,
            &namespaces,
        ] {
            let start = &text[..text.len().min(40)];
            assert!(parse(text.as_bytes(), &ann()).is_err(), "{start}");
        }
        assert!(parse(b"\xff\xfe<\x00", &ann()).is_err());
        assert_eq!(parse(b"<clientConfig/>", &ann()), Ok(Vec::new()));
    }
}
