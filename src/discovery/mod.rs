//! Discovery of the POP3 server of a mail address: autoconfig documents and DNS.
//!
//! Each function queries one source and returns servers to try. The caller chooses the sources,
//! tries the servers, and asks the user for confirmation
//! ([`domain::mail_server`](crate::domain::mail_server)). The address is never sent: web servers
//! and name servers learn only its domain.
//!
//! Autoconfig is the scheme of Thunderbird (draft-ietf-mailmaint-autoconfig), of which only the
//! part over HTTPS is used. SRV records are those of RFC 6186 and RFC 8314.
//!
//! pouch has its own resolver, since the C library looks up only addresses, and resolver crates
//! depend on an asynchronous runtime. It sends few queries, and needs no cache.

mod autoconfig;
mod document;
mod packet;
mod resolver;

use std::thread;

use ureq::Agent;

use crate::domain::{
    mail_address::MailAddress,
    mail_server::{Encryption, MailServer, user_of},
};
pub use autoconfig::parse;
pub use document::agent;
pub use packet::{Record, RecordType, Reply, decode, encode};
pub use resolver::Resolver;

/// The web address of Thunderbird's provider database, without the domain.
const DATABASE: &str = "https://autoconfig.thunderbird.net/v1.1/";

/// The host of Thunderbird's provider database.
pub const DATABASE_HOST: &str = "autoconfig.thunderbird.net";

/// The most servers of SRV records that are tried.
const MOST_TARGETS: usize = 4;

/// The servers that a source names, or the reason why there are none: a clause.
pub type Finding = Result<Vec<MailServer>, String>;

/// Requests the documents of the address's own domain, all at once.
///
/// # Errors
/// There is no document with a POP3 server. The error is a clause.
pub fn autoconfig(agent: &Agent, address: &MailAddress) -> Finding {
    let domain = &address.domain;
    let urls = [
        format!("https://autoconfig.{domain}/mail/config-v1.1.xml"),
        format!("https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml"),
    ];
    let findings: Vec<Finding> = thread::scope(|scope| {
        let requests: Vec<_> = urls
            .iter()
            .map(|url| scope.spawn(move || servers(agent, url, address)))
            .collect();
        requests
            .into_iter()
            .map(|request| {
                let finding = request.join();
                finding.unwrap_or_else(|_| Err("the request failed".into()))
            })
            .collect()
    });
    let mut reasons = Vec::new();
    for finding in findings {
        match finding {
            Ok(servers) => return Ok(servers),
            Err(reason) => reasons.push(reason),
        }
    }
    reasons.dedup();
    Err(reasons.join("; "))
}

/// Requests the document about `domain` from Thunderbird's provider database.
///
/// # Errors
/// As for [`autoconfig()`].
pub fn database(agent: &Agent, domain: &str, address: &MailAddress) -> Finding {
    servers(agent, &format!("{DATABASE}{domain}"), address)
}

/// Requests a document, and returns the servers in it.
fn servers(agent: &Agent, url: &str, address: &MailAddress) -> Finding {
    let document = document::get(agent, url)?;
    let servers = parse(&document, address)?;
    if servers.is_empty() {
        return Err("it names no POP3 server".into());
    }
    Ok(servers)
}

/// The result of looking up SRV records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Services {
    /// The servers, in the order of preference.
    Servers(Vec<MailServer>),
    /// The domain has no POP3 service (RFC 6186 §3.4).
    None,
    /// There are no records.
    Unknown,
}

/// Looks up the SRV records for POP3, those for TLS first.
///
/// # Errors
/// No name server answered. The error is a clause.
pub fn services(resolver: &Resolver, address: &MailAddress) -> Result<Services, String> {
    let kinds = [
        ("_pop3s._tcp", Encryption::Implicit),
        ("_pop3._tcp", Encryption::StartTls),
    ];
    let (mut servers, mut is_denied) = (Vec::new(), false);
    for (label, encryption) in kinds {
        let name = format!("{label}.{}", address.domain);
        let records = resolver.look_up(&name, RecordType::Srv)?;
        is_denied |= records.contains(&Record::NoService);
        let mut targets: Vec<_> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Srv(service) => Some(service),
                Record::NoService | Record::Mx { .. } => None,
            })
            .collect();
        // the weight spreads the load of many clients; one client may take the heaviest
        targets.sort_by_key(|target| (target.priority, u16::MAX - target.weight));
        servers.extend(targets.into_iter().map(|target| MailServer {
            host: target.host,
            port: target.port,
            encryption,
            user: user_of(address),
            accepts_passwords: true,
        }));
    }
    servers.truncate(MOST_TARGETS);
    Ok(match (servers.is_empty(), is_denied) {
        (false, _) => Services::Servers(servers),
        (true, true) => Services::None,
        (true, false) => Services::Unknown,
    })
}

/// Looks up the mail exchangers of a domain, the most preferred one first.
///
/// # Errors
/// No name server answered. The error is a clause.
pub fn exchangers(resolver: &Resolver, domain: &str) -> Result<Vec<String>, String> {
    let records = resolver.look_up(domain, RecordType::Mx)?;
    let mut exchangers: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Mx { preference, host } => Some((preference, host)),
            Record::Srv(_) | Record::NoService => None,
        })
        .collect();
    exchangers.sort();
    Ok(exchangers.into_iter().map(|(_, host)| host).collect())
}
