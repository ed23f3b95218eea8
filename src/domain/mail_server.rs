//! The POP3 server of an address, and whether it can be trusted.
//!
//! The password is sent to the server that is chosen here. A certificate proves the name of a
//! server, but not that it is the right server for the address: that depends on the source of the
//! name. The table of [known servers](super::known_server) and documents over HTTPS are
//! authenticated. DNS is not, so the user has to confirm a name from DNS that is outside the domain
//! of the address (RFC 6186 §6).

use super::mail_address::{MailAddress, is_below};

/// The encryption of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encryption {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STLS (RFC 2595).
    StartTls,
    /// None.
    Off,
}

impl Encryption {
    /// Returns its value for the key `tls`.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "starttls",
            Self::Off => "off",
        }
    }

    /// Returns the usual port.
    pub fn port(self) -> u16 {
        match self {
            Self::Implicit => 995,
            Self::StartTls | Self::Off => 110,
        }
    }

    /// Returns the words for it after a host and a port.
    pub fn words(self) -> &'static str {
        match self {
            Self::Implicit => "TLS",
            Self::StartTls => "STARTTLS",
            Self::Off => "no encryption",
        }
    }
}

/// A POP3 server for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Its name, in ASCII.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its encryption.
    pub encryption: Encryption,
    /// The login name of the address there.
    pub user: String,
    /// Whether it accepts passwords, or only OAuth 2.0.
    pub accepts_passwords: bool,
}

impl MailServer {
    /// Creates a server on the usual port.
    pub fn new(host: &str, encryption: Encryption, user: String) -> Self {
        Self {
            host: host.to_owned(),
            port: encryption.port(),
            encryption,
            user,
            accepts_passwords: true,
        }
    }
}

/// The origin of the name of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of known servers.
    Table,
    /// A document of the domain, over HTTPS.
    Autoconfig,
    /// The provider database of Thunderbird, by the domain of the address.
    Database,
    /// An SRV record.
    Srv,
    /// An MX record, which led to the table or the database.
    Mx,
    /// A usual name below the domain.
    Guess,
    /// The user.
    Named,
}

/// Returns whether the user has to confirm that a server is that of the address.
pub fn needs_confirmation(origin: Origin, host: &str, address: &MailAddress) -> bool {
    matches!(origin, Origin::Srv | Origin::Mx) && !is_below(host, &address.domain)
}

/// Returns the servers to try for a domain that publishes none, in their order.
pub fn guesses(address: &MailAddress) -> Vec<MailServer> {
    let domain = &address.domain;
    let hosts = ["pop", "pop3", "mail"].map(|label| format!("{label}.{domain}"));
    let all = [Encryption::Implicit, Encryption::StartTls].map(|encryption| {
        hosts
            .iter()
            .map(move |host| MailServer::new(host, encryption, user_of(address)))
    });
    all.into_iter().flatten().collect()
}

/// Returns the usual login name: the address, with its domain as DNS has it.
pub fn user_of(address: &MailAddress) -> String {
    format!("{}@{}", address.local, address.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_name_from_dns_has_to_be_confirmed() {
        let ann = MailAddress::parse("ann@example.org").unwrap();
        let needs = |origin, host| needs_confirmation(origin, host, &ann);
        assert!(needs(Origin::Srv, "pop.hoster.net"));
        assert!(needs(Origin::Mx, "pop.gmail.com"));
        assert!(!needs(Origin::Srv, "pop.example.org"));
        assert!(!needs(Origin::Autoconfig, "pop.hoster.net"));
        assert!(!needs(Origin::Named, "pop.hoster.net"));
    }

    #[test]
    fn tls_is_guessed_before_starttls() {
        let lines: Vec<_> = guesses(&MailAddress::parse("ann@example.org").unwrap())
            .iter()
            .map(|server| format!("{}:{}", server.host, server.port))
            .collect();
        insta::assert_snapshot!(lines.join(" "), @"pop.example.org:995 pop3.example.org:995 mail.example.org:995 pop.example.org:110 pop3.example.org:110 mail.example.org:110");
    }
}
