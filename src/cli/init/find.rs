//! Finding the POP3 server of an address: the order of the sources, and trying the servers.
//!
//! [`steps`] chooses the sources. The first server that answers with a trusted certificate is used:
//! documents and records may be out of date, so a name alone is not sufficient.

use std::{net::SocketAddr, thread};

use ureq::Agent;

use crate::{
    config::{Account, host_and_port},
    discovery::{self, Finding, Resolver, Services},
    domain::{
        known_server::{self, Known, WithoutPop3, provider_domain},
        mail_address::MailAddress,
        mail_server::{self, Encryption, MailServer, Origin},
        time::TimeSpan,
    },
    error::{Error, Kind, Result},
    fetch::{connect::reach, env::RunEnv},
    sys::https,
};

/// The file with the name servers of the system.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The time limit for a server, in seconds: for the connection, and for each response.
const TIME_LIMIT: u64 = 5;

/// The services that may learn the domain of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// None.
    Nothing,
    /// The name servers of the system, and web servers of the domain.
    Domain,
    /// Also Thunderbird's provider database.
    Database,
}

/// A source of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Documents at the domain.
    Autoconfig,
    /// The document about the domain in the database.
    Database,
    /// SRV records.
    Services,
    /// MX records.
    Exchangers,
    /// Usual names below the domain.
    Guess,
}

/// Returns the sources to query, in order. With a proxy, no name server is queried, since it would
/// learn the domain that the proxy hides.
pub(super) fn steps(consent: Consent, has_proxy: bool) -> Vec<Step> {
    let dns = |step| (!has_proxy).then_some(step);
    match consent {
        Consent::Nothing => Vec::new(),
        Consent::Domain | Consent::Database => [
            Some(Step::Autoconfig),
            (consent == Consent::Database).then_some(Step::Database),
            dns(Step::Services),
            dns(Step::Exchangers),
            Some(Step::Guess),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

/// Returns whether the account's server is reached through a proxy, which resolves its name.
pub(super) fn has_proxy(account: &Account) -> bool {
    account.proxy_server().is_some()
}

/// A server that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The server.
    pub(super) server: MailServer,
    /// The kind of source that named it.
    pub(super) origin: Origin,
    /// The name of that source.
    pub(super) source: String,
}

/// The result of a search.
pub(super) enum Search {
    /// A server that answered.
    Found(Found),
    /// The provider or the domain has no POP3.
    Without(&'static WithoutPop3),
    /// The domain says in DNS that it has no POP3.
    NoService,
    /// Nothing that can be used: a server without encryption, if one was named, and the reasons.
    Nothing(Option<Found>, Vec<String>),
}

/// Tries servers.
#[derive(Clone, Copy)]
pub(super) struct Prober<'a> {
    /// The environment of a run.
    pub(super) env: &'a RunEnv,
    /// Returns an account with this server and the defaults of the config.
    pub(super) account: &'a (dyn Fn(&MailServer) -> Result<Account> + Sync),
}

impl Prober<'_> {
    /// Connects to a server, starts TLS and reads its greeting.
    ///
    /// # Errors
    /// The server cannot be used, or the config is not valid.
    pub(super) fn reach(&self, server: &MailServer) -> Result<()> {
        let mut account = (self.account)(server)?;
        account.connect_timeout = TimeSpan::from_seconds(TIME_LIMIT);
        account.timeout = TimeSpan::from_seconds(TIME_LIMIT);
        reach(&account, self.env)
    }
}

/// Returns the server of the table, or `None` if the domain is not in it.
///
/// # Errors
/// The provider has no POP3.
pub(super) fn known(address: &MailAddress) -> Result<Option<Found>> {
    match known_server::by_domain(address) {
        None => Ok(None),
        Some(Known::Without(without)) => {
            Err(Error::new(Kind::Unavailable, without.what).with_hint(without.hint))
        }
        Some(Known::Server(server)) => Ok(Some(Found {
            server,
            origin: Origin::Table,
            source: "known to pouch".into(),
        })),
    }
}

/// Returns the host and the port.
pub(super) fn place(server: &MailServer) -> String {
    host_and_port(&server.host, server.port)
}

/// The inputs of a search.
pub(super) struct Finder<'a> {
    /// The address.
    pub(super) address: &'a MailAddress,
    /// Tries the servers that are found.
    pub(super) prober: Prober<'a>,
    /// The name server to ask instead of those of the system.
    pub(super) resolver: Option<SocketAddr>,
    /// Reports a step.
    pub(super) say: &'a dyn Fn(&str),
}

impl Finder<'_> {
    /// Asks the sources in their order.
    ///
    /// # Errors
    /// The config is not valid, or a signal was received.
    pub(super) fn search(&self, consent: Consent) -> Result<Search> {
        let sample = MailServer::new(
            &self.address.domain,
            Encryption::Implicit,
            mail_server::user_of(self.address),
        );
        let account = (self.prober.account)(&sample)?;
        let has_proxy = has_proxy(&account);
        let agent = self.agent(&account)?;
        let (mut unencrypted, mut has_resolver) = (None, true);
        let mut reasons = Reasons {
            say: self.say,
            all: Vec::new(),
        };
        for step in steps(consent, has_proxy) {
            self.prober.env.stop.check()?;
            if step == Step::Exchangers && !has_resolver {
                continue;
            }
            let found = match self.ask(step, consent, &agent) {
                Answer::Without(without) => return Ok(Search::Without(without)),
                Answer::NoService => return Ok(Search::NoService),
                Answer::Unknown(reason) => {
                    reasons.add(step, &reason);
                    None
                }
                Answer::NoResolver(reason) => {
                    has_resolver = false;
                    reasons.add(step, &reason);
                    None
                }
                Answer::Servers(servers) => self.try_out(&servers, step, &mut reasons)?,
            };
            match found {
                Some(found) if found.server.encryption != Encryption::Off => {
                    let MailServer { host, port, .. } = &found.server;
                    (self.say)(&format!("  {:11} {host}:{port}", label(step)));
                    return Ok(Search::Found(found));
                }
                Some(found) => {
                    let MailServer { host, port, .. } = &found.server;
                    reasons.add(step, &format!("{host}:{port} has no encryption"));
                    unencrypted = unencrypted.or(Some(found));
                }
                None => {}
            }
        }
        Ok(Search::Nothing(unencrypted, reasons.all))
    }

    /// Returns the client for documents, through the proxy of the config or the environment.
    fn agent(&self, account: &Account) -> Result<Agent> {
        let roots = match self.prober.env.tls.bundled_roots() {
            Some(all) => https::Roots::Only(all),
            None => https::Roots::System,
        };
        let via = self.prober.env.issuer_route(account)?;
        discovery::agent(roots, &via)
    }

    fn resolver(&self) -> Resolver {
        match self.resolver {
            Some(server) => Resolver::at(server),
            None => {
                Resolver::from_config(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
            }
        }
    }

    /// Returns the origin of servers of a source, and the name of the source.
    fn source(&self, step: Step) -> (Origin, String) {
        let domain = &self.address.written_domain;
        match step {
            Step::Autoconfig => (Origin::Autoconfig, format!("autoconfig of {domain}")),
            Step::Database => (Origin::Database, "Thunderbird's provider database".into()),
            Step::Services => (Origin::Srv, format!("SRV record of {domain}")),
            Step::Exchangers => (Origin::Mx, format!("MX record of {domain}")),
            Step::Guess => (Origin::Guess, format!("usual names below {domain}")),
        }
    }

    /// Asks one source.
    fn ask(&self, step: Step, consent: Consent, agent: &Agent) -> Answer {
        let address = self.address;
        match step {
            Step::Autoconfig => discovery::autoconfig(agent, address).into(),
            Step::Database => discovery::database(agent, &address.domain, address).into(),
            Step::Services => match discovery::services(&self.resolver(), address) {
                Ok(Services::Servers(servers)) => Answer::Servers(servers),
                Ok(Services::None) => Answer::NoService,
                Ok(Services::Unknown) => Answer::Unknown("no SRV record for POP3".into()),
                Err(reason) => Answer::NoResolver(reason),
            },
            Step::Exchangers => self.by_exchangers(consent, agent),
            Step::Guess => Answer::Servers(mail_server::guesses(address)),
        }
    }

    /// Looks for the provider of the mail exchangers in the table, and in the database.
    fn by_exchangers(&self, consent: Consent, agent: &Agent) -> Answer {
        let exchangers = match discovery::exchangers(&self.resolver(), &self.address.domain) {
            Ok(exchangers) => exchangers,
            Err(reason) => return Answer::Unknown(reason),
        };
        match known_server::by_exchangers(&exchangers, self.address) {
            Some(Known::Server(server)) => Answer::Servers(vec![server]),
            Some(Known::Without(without)) => Answer::Without(without),
            None if exchangers.is_empty() => Answer::Unknown("no MX record".into()),
            None => {
                let unknown = || format!("{} does not belong to a known provider", exchangers[0]);
                let domains = exchangers.iter().filter_map(|host| provider_domain(host));
                let domain = domains.take(1).find(|_| consent == Consent::Database);
                match domain {
                    Some(domain) => discovery::database(agent, &domain, self.address).into(),
                    None => Answer::Unknown(unknown()),
                }
            }
        }
    }

    /// Connects to all servers at once. Returns the first one, in their order, that answers. Those
    /// without encryption come last.
    fn try_out(
        &self,
        servers: &[MailServer],
        step: Step,
        reasons: &mut Reasons<'_>,
    ) -> Result<Option<Found>> {
        let prober = self.prober;
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let attempts: Vec<_> = servers
                .iter()
                .map(|server| scope.spawn(move || prober.reach(server)))
                .collect();
            let joined = attempts.into_iter().map(|attempt| {
                let result = attempt.join();
                result.unwrap_or_else(|_| Err(Error::new(Kind::Bug, "a thread panicked")))
            });
            joined.collect()
        });
        self.prober.env.stop.check()?;
        let answering = results.iter().position(Result::is_ok);
        let failed = results.iter().take(answering.unwrap_or(results.len()));
        if step != Step::Guess {
            let errors = failed.filter_map(|result| result.as_ref().err());
            errors.for_each(|error| reasons.add(step, &failure(error)));
        } else if answering.is_none() {
            let domain = &self.address.written_domain;
            let names = format!("pop.{domain}, pop3.{domain} or mail.{domain}");
            reasons.add(step, &format!("no POP3 server with TLS at {names}"));
        }
        let (origin, source) = self.source(step);
        Ok(answering.map(|at| Found {
            server: servers[at].clone(),
            origin,
            source,
        }))
    }
}

/// The reasons why sources have no server, each reported at once.
struct Reasons<'a> {
    say: &'a dyn Fn(&str),
    all: Vec<String>,
}

impl Reasons<'_> {
    fn add(&mut self, step: Step, reason: &str) {
        let label = label(step);
        (self.say)(&format!("  {label:11} {reason}"));
        self.all.push(format!("{label}: {reason}"));
    }
}

/// Returns why a server cannot be used: the error, with its first fact.
pub(super) fn failure(error: &Error) -> String {
    let what = error.what();
    match error.facts().first() {
        Some(fact) => format!("{what} ({fact})"),
        None => what.to_owned(),
    }
}

/// The answer of a source.
enum Answer {
    Servers(Vec<MailServer>),
    Without(&'static WithoutPop3),
    NoService,
    Unknown(String),
    /// No name server answers.
    NoResolver(String),
}

impl From<Finding> for Answer {
    fn from(finding: Finding) -> Self {
        finding.map_or_else(Self::Unknown, Self::Servers)
    }
}

fn label(step: Step) -> &'static str {
    match step {
        Step::Autoconfig => "autoconfig",
        Step::Database => "database",
        Step::Services => "SRV record",
        Step::Exchangers => "MX record",
        Step::Guess => "usual names",
    }
}
