//! Choosing the server of the new account.

use std::num::NonZero;

use super::{
    Init,
    console::{Console, say},
    find::{Consent, Finder, Found, Prober, Search, failure, has_proxy, place},
};
use crate::{
    cli::dirs,
    config::syntax::Host,
    discovery::DATABASE_HOST,
    domain::{
        known_server::{Known, by_domain},
        mail_address::{MailAddress, is_domain},
        mail_server::{Encryption, MailServer, Origin, needs_confirmation, user_of},
        misspelling::misspelled,
    },
    error::{Error, Kind, Result},
    text::{backquoted, shell_word},
};

/// The ports of IMAP, which are easily confused with those of POP3.
const IMAP_PORTS: [u16; 2] = [143, 993];

/// Parses `HOST` or `HOST:PORT`.
pub(super) fn host(text: &str) -> Option<(String, Option<u16>)> {
    let is_bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !is_bare_v6 && !text.ends_with(']') => {
            (name, Some(port.parse::<NonZero<u16>>().ok()?.get()))
        }
        _ => (text, None),
    };
    let Host(host) = Host::new(name)?;
    (host.contains(':') || is_domain(host.trim_end_matches('.'))).then_some((host, port))
}

/// Returns advice if the port of a server is one of IMAP.
fn imap_advice(port: Option<u16>) -> Option<String> {
    let port = port.filter(|port| IMAP_PORTS.contains(port))?;
    Some(format!(
        "port {port} is for IMAP; POP3 usually has port 995"
    ))
}

/// Returns the encryption that belongs to a port, unless the user chose one.
fn encryption(port: Option<u16>, chosen: Option<Encryption>) -> Encryption {
    chosen.unwrap_or(match port {
        Some(110) => Encryption::StartTls,
        _ => Encryption::Implicit,
    })
}

/// Returns a server that the user named. The text is the source that is printed, such as `--host`.
fn at(
    address: &MailAddress,
    (host, port): (String, Option<u16>),
    encryption: Encryption,
    source: &str,
) -> Found {
    let user = match by_domain(address) {
        Some(Known::Server(known)) if known.host == host => known.user,
        _ => user_of(address),
    };
    Found {
        server: MailServer {
            port: port.unwrap_or_else(|| encryption.port()),
            host,
            encryption,
            user,
            accepts_passwords: true,
        },
        origin: Origin::Named,
        source: source.into(),
    }
}

impl Init<'_> {
    /// Returns the server that the user named with `--host`.
    ///
    /// # Errors
    /// It is not a host.
    pub(super) fn named(&self, address: &MailAddress) -> Result<Option<Found>> {
        let Some(text) = &self.args.host else {
            return Ok(None);
        };
        let (host, port) = host(text).ok_or_else(|| {
            let option = backquoted(&format!("--host {text}"));
            let what = format!("{option} is not HOST or HOST:PORT");
            Error::new(Kind::Usage, what).with_hint("write it as pop.example.org:995")
        })?;
        if let Some(advice) = imap_advice(port) {
            return Err(Error::new(
                Kind::Usage,
                format!("`--host {text}`: {advice}"),
            ));
        }
        let encryption = encryption(port, self.args.tls);
        Ok(Some(at(address, (host, port), encryption, "from `--host`")))
    }

    /// Searches the server without asking.
    ///
    /// # Errors
    /// There is none that can be used without a decision of the user.
    pub(super) fn search_unattended(&self, address: &MailAddress) -> Result<Found> {
        let domain = &address.written_domain;
        if self.args.offline {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "the POP3 server of {domain} is not built in, and `--offline` prevents a lookup"
                ),
            )
            .with_hint(self.advice(address)));
        }
        let consent = if self.args.database {
            Consent::Database
        } else {
            Consent::Domain
        };
        let mut places = self.places(address)?;
        if consent == Consent::Database {
            places = format!("{places}, and at {DATABASE_HOST}");
        }
        self.report(&format!("looking up the POP3 server of {domain} {places}"));
        match self.search(address, consent)? {
            Search::Found(found) => {
                if !needs_confirmation(found.origin, &found.server.host, address) {
                    self.report(&format!(
                        "found {} ({})",
                        place(&found.server),
                        found.source
                    ));
                    return Ok(found);
                }
                Err(self.unconfirmed(address, &found))
            }
            Search::Without(without) => {
                Err(Error::new(Kind::Unavailable, without.what).with_hint(without.hint))
            }
            Search::NoService => Err(no_service(domain)),
            Search::Nothing(Some(found), _) => {
                let place = place(&found.server);
                let what = format!("{place} has no encryption");
                Err(Error::new(Kind::Unavailable, what).with_hint(format!(
                    "to send the password unencrypted, run {}",
                    self.command(address, &found.server)
                )))
            }
            Search::Nothing(None, reasons) => Err(self.not_found(address, reasons)),
        }
    }

    /// Returns the error about a server that the user has to confirm.
    fn unconfirmed(&self, address: &MailAddress, found: &Found) -> Error {
        let (host, domain) = (&found.server.host, &address.written_domain);
        let what = format!("{host} may not be the POP3 server of {domain}");
        let command = self.command(address, &found.server);
        Error::new(Kind::Usage, what)
            .with_fact(format!(
                "the {} leads to it, but DNS is not authenticated",
                found.source
            ))
            .with_hint(format!("if it is the right server, run {command}"))
    }

    /// Returns the error that no server was found, with the reason of each source.
    fn not_found(&self, address: &MailAddress, reasons: Vec<String>) -> Error {
        let domain = &address.written_domain;
        let what = format!("no POP3 server was found for {domain}");
        let error = Error::new(Kind::NoHost, what);
        let error = reasons.into_iter().fold(error, Error::with_fact);
        error.with_hint(self.advice(address))
    }

    /// Returns the command that names this server.
    fn command(&self, address: &MailAddress, server: &MailServer) -> String {
        let usual_user = user_of(address);
        let address = address.to_string();
        let address = shell_word(&address);
        let mut words = vec![format!("pouch init {address} --host {}", place(server))];
        if server.encryption != encryption(Some(server.port), None) {
            words.push(format!("--tls {}", server.encryption.keyword()));
        }
        if server.user != usual_user {
            words.push(format!("--user {}", shell_word(&server.user)));
        }
        if self.args.print {
            words.push("--print".into());
        }
        format!("`{}`", words.join(" "))
    }

    /// Returns the hint for an unknown domain: a similar domain, or the option that names the
    /// server.
    fn advice(&self, address: &MailAddress) -> String {
        if let Some(domain) = misspelled(address) {
            return format!("did you mean {}?", address.at(&domain));
        }
        let print = if self.args.print { " --print" } else { "" };
        let address = address.to_string();
        let address = shell_word(&address);
        format!("name the server: `pouch init {address} --host HOST{print}`")
    }

    /// Searches the server, and asks the user for the decisions that the search needs.
    ///
    /// # Errors
    /// A question was not answered, or the config is not valid.
    pub(super) fn search_attended(
        &self,
        console: &Console<'_>,
        address: &MailAddress,
    ) -> Result<Found> {
        let found = match self.consent(console, address)? {
            Consent::Nothing => None,
            consent => self.searched(console, address, consent)?,
        };
        match found {
            Some(found) => Ok(found),
            None => self.entered(console, address),
        }
    }

    /// Asks who may learn the domain.
    fn consent(&self, console: &Console<'_>, address: &MailAddress) -> Result<Consent> {
        if self.args.offline {
            return Ok(Consent::Nothing);
        }
        if self.args.database {
            return Ok(Consent::Database);
        }
        if self.args.lookup {
            return Ok(Consent::Domain);
        }
        let domain = &address.written_domain;
        let question = format!(
            "pouch does not know the POP3 server of {domain}. Where may it look? The servers that \
             it asks learn the domain, but not the address."
        );
        let items = [
            self.places(address)?,
            format!("there, and in Thunderbird's provider database ({DATABASE_HOST})"),
            "nowhere: I will enter the server".into(),
        ];
        Ok(match console.choose(&question, &items)? {
            0 => Consent::Domain,
            1 => Consent::Database,
            _ => Consent::Nothing,
        })
    }

    /// Returns where the server is looked up.
    fn places(&self, address: &MailAddress) -> Result<String> {
        let server = MailServer::new(&address.domain, Encryption::Implicit, user_of(address));
        let domain = &address.written_domain;
        Ok(if has_proxy(&self.sample(&server)?) {
            format!("at {domain}, through the proxy of the config")
        } else {
            format!("in DNS and at {domain}")
        })
    }

    /// Searches the server. Returns `None` if there is none, or the user declines.
    fn searched(
        &self,
        console: &Console<'_>,
        address: &MailAddress,
        consent: Consent,
    ) -> Result<Option<Found>> {
        let domain = &address.written_domain;
        match self.search(address, consent)? {
            Search::Found(found) => {
                let host = &found.server.host;
                if !needs_confirmation(found.origin, host, address) {
                    return Ok(Some(found));
                }
                say(&format!(
                    "The {} leads to {host}, which is not part of {domain}. DNS is not \
                     authenticated: a forged answer could lead to a server that collects passwords.",
                    found.source
                ))?;
                let is_right = console.confirm(&format!("use {host}?"), false)?;
                Ok(is_right.then_some(found))
            }
            Search::Without(without) => {
                Err(Error::new(Kind::Unavailable, without.what).with_hint(without.hint))
            }
            Search::NoService => {
                say(&format!(
                    "{domain} has no POP3 service, according to its SRV record"
                ))?;
                Ok(None)
            }
            Search::Nothing(Some(found), _) => {
                let place = place(&found.server);
                say(&format!(
                    "{place} ({}) has no encryption: anyone on the network path can read the \
                     password and the mail.",
                    found.source
                ))?;
                let is_right = console.confirm(&format!("use {place} anyway?"), false)?;
                Ok(is_right.then_some(found))
            }
            Search::Nothing(None, _) => {
                say(&format!("no POP3 server was found for {domain}"))?;
                Ok(None)
            }
        }
    }

    /// Asks for the server until it can be used.
    pub(super) fn entered(&self, console: &Console<'_>, address: &MailAddress) -> Result<Found> {
        loop {
            let text = console.require("POP3 server (HOST or HOST:PORT)")?;
            let Some((host, port)) = host(&text) else {
                say("answer with a host name, such as pop.example.org")?;
                continue;
            };
            if let Some(advice) = imap_advice(port) {
                say(&advice)?;
                continue;
            }
            let found = at(address, (host, port), encryption(port, None), "as entered");
            if self.args.offline {
                return Ok(found);
            }
            if let Some(found) = self.reachable(console, address, found, port)? {
                return Ok(found);
            }
        }
    }

    /// Tries a server that the user entered, with TLS and, unless its port is given, with STARTTLS.
    /// Returns `None` if the user chooses to enter another one.
    fn reachable(
        &self,
        console: &Console<'_>,
        address: &MailAddress,
        found: Found,
        port: Option<u16>,
    ) -> Result<Option<Found>> {
        let env = self.env()?;
        let account = |server: &MailServer| self.sample(server);
        let prober = Prober {
            env: &env,
            account: &account,
        };
        let mut candidates = vec![found.clone()];
        let host = || (found.server.host.clone(), port);
        if found.server.encryption == Encryption::Implicit {
            candidates.push(at(address, host(), Encryption::StartTls, "as entered"));
        }
        let mut first = None;
        for candidate in candidates {
            match prober.reach(&candidate.server) {
                Ok(()) => return Ok(Some(candidate)),
                Err(error) => {
                    self.context.stop.check()?;
                    first = first.or(Some(error));
                }
            }
        }
        if let Some(error) = first {
            say(&failure(&error))?;
        }
        let question = format!("use {} anyway?", place(&found.server));
        Ok(console.confirm(&question, false)?.then_some(found))
    }

    fn search(&self, address: &MailAddress, consent: Consent) -> Result<Search> {
        let env = self.env()?;
        let account = |server: &MailServer| self.sample(server);
        let finder = Finder {
            address,
            prober: Prober {
                env: &env,
                account: &account,
            },
            resolver: dirs::resolver(),
            // the search goes on if the terminal is closed, and a signal ends it
            say: &|line| drop(self.console.map(|_| say(line))),
        };
        finder.search(consent)
    }
}

fn no_service(domain: &str) -> Error {
    let what = format!("{domain} has no POP3 service");
    Error::new(Kind::Unavailable, what)
        .with_fact("according to its SRV record")
        .with_hint("name a server with `--host` if you know one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_may_have_a_port() {
        let host = |text| host(text).map(|(host, port)| (host, port.unwrap_or(0)));
        assert_eq!(host("pop.example.org"), Some(("pop.example.org".into(), 0)));
        assert_eq!(
            host("pop.example.org:1995"),
            Some(("pop.example.org".into(), 1995))
        );
        assert_eq!(host("[::1]:110"), Some(("::1".into(), 110)));
        assert_eq!(host("::1"), Some(("::1".into(), 0)));
        for text in [
            "",
            "pop.example.org:0",
            "pop:x",
            "pops://pop.example.org",
            "a b",
            "x:99999",
            "a..b",
            &"x".repeat(64),
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }
}
