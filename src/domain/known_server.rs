//! The POP3 servers of providers with common mail domains, so that `pouch init` needs no network
//! for them.
//!
//! The table does not contain the requirements of a provider, which are listed in
//! [`provider`](super::provider) by the name of the server. The mail domains were taken from
//! Thunderbird's database, which lists the same servers.

use super::{
    mail_address::{MailAddress, is_below},
    mail_server::{Encryption, MailServer, user_of},
};

/// The login name that a provider uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// The address.
    Address,
    /// Its part before the `@`.
    LocalPart,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    host: &'static str,
    encryption: Encryption,
    login: Login,
    /// The domains of addresses. `name.*` is that name below each of [`NATIONAL`].
    domains: &'static [&'static str],
    /// The domains of the mail exchangers of customers with domains of their own.
    exchangers: &'static [&'static str],
}

const fn row(
    host: &'static str,
    domains: &'static [&'static str],
    exchangers: &'static [&'static str],
) -> Row {
    Row {
        host,
        encryption: Encryption::Implicit,
        login: Login::Address,
        domains,
        exchangers,
    }
}

const fn local_part(host: &'static str, domains: &'static [&'static str]) -> Row {
    Row {
        login: Login::LocalPart,
        ..row(host, domains, &[])
    }
}

const fn starttls(host: &'static str, domains: &'static [&'static str]) -> Row {
    Row {
        encryption: Encryption::StartTls,
        ..row(host, domains, &[])
    }
}

/// The domains under which international providers have names.
const NATIONAL: [&str; 45] = [
    "com", "at", "be", "ca", "ch", "cl", "cz", "de", "dk", "es", "fi", "fr", "gr", "hu", "ie",
    "in", "it", "jp", "my", "nl", "no", "ph", "pl", "pt", "ro", "ru", "se", "sg", "sk", "co.id",
    "co.il", "co.in", "co.kr", "co.nz", "co.th", "co.uk", "co.za", "com.ar", "com.au", "com.br",
    "com.hk", "com.mx", "com.my", "com.sg", "com.tr",
];

/// The table. A domain is in one row.
const TABLE: &[Row] = &[
    row(
        "pop.gmail.com",
        &["gmail.com", "googlemail.com"],
        &["google.com", "googlemail.com"],
    ),
    row(
        "outlook.office365.com",
        &[
            "outlook.*",
            "hotmail.*",
            "live.*",
            "msn.com",
            "passport.com",
            "windowslive.com",
        ],
        &["protection.outlook.com", "mx.microsoft"],
    ),
    local_part("pop.mail.yahoo.co.jp", &["yahoo.co.jp", "ybb.ne.jp"]),
    row(
        "pop.mail.yahoo.com",
        &[
            "yahoo.*",
            "ymail.com",
            "rocketmail.com",
            "myyahoo.com",
            "cox.net",
        ],
        &["yahoodns.net"],
    ),
    row(
        "pop.aol.com",
        &["aol.com", "aim.com", "verizon.net", "aol.de", "aol.co.uk"],
        &[],
    ),
    row(
        "inbound.att.net",
        &[
            "att.net",
            "bellsouth.net",
            "sbcglobal.net",
            "ameritech.net",
            "flash.net",
            "nvbell.net",
            "pacbell.net",
            "prodigy.net",
            "snet.net",
            "swbell.net",
            "wans.net",
        ],
        &[],
    ),
    row(
        "pop.fastmail.com",
        &[
            "fastmail.com",
            "fastmail.fm",
            "fastmail.net",
            "fastmail.org",
            "sent.com",
        ],
        &["messagingengine.com"],
    ),
    row("pop.comcast.net", &["comcast.net"], &[]),
    row(
        "pop.gmx.net",
        &["gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.li", "gmx.org"],
        &[],
    ),
    row(
        "pop.gmx.com",
        &[
            "gmx.com",
            "gmx.us",
            "gmx.fr",
            "gmx.es",
            "gmx.co.uk",
            "gmx.it",
            "gmx.pt",
            "gmx.ie",
        ],
        &[],
    ),
    local_part("pop3.web.de", &["web.de", "email.de"]),
    row(
        "pop.mail.com",
        &[
            "mail.com",
            "email.com",
            "usa.com",
            "post.com",
            "europe.com",
            "consultant.com",
            "engineer.com",
            "dr.com",
            "writeme.com",
            "techie.com",
            "myself.com",
            "asia.com",
        ],
        &["mail.com"],
    ),
    row("securepop.t-online.de", &["t-online.de", "magenta.de"], &[]),
    row(
        "pop.ionos.de",
        &["online.de", "onlinehome.de"],
        &["kundenserver.de", "ionos.de"],
    ),
    row(
        "pop.ionos.com",
        &[],
        &["ionos.com", "perfora.net", "1and1.com"],
    ),
    row("pop3.strato.de", &["strato.de"], &["rzone.de", "strato.de"]),
    row(
        "pop3.vodafonemail.de",
        &["vodafonemail.de", "vodafone.de", "arcor.de", "kabelmail.de"],
        &[],
    ),
    row(
        "posteo.de",
        &["posteo.de", "posteo.net", "posteo.org", "posteo.eu"],
        &["posteo.de"],
    ),
    row("pop3.mailbox.org", &["mailbox.org"], &["mailbox.org"]),
    row(
        "pop.yandex.com",
        &[
            "yandex.com",
            "yandex.ru",
            "yandex.by",
            "yandex.kz",
            "yandex.ua",
            "ya.ru",
            "narod.ru",
        ],
        &["yandex.net", "yandex.ru"],
    ),
    row(
        "pop.mail.ru",
        &["mail.ru", "inbox.ru", "list.ru", "bk.ru"],
        &["mail.ru"],
    ),
    row(
        "pop.rambler.ru",
        &["rambler.ru", "lenta.ru", "ro.ru", "autorambler.ru"],
        &[],
    ),
    row("pop.zoho.com", &["zoho.com", "zohomail.com"], &["zoho.com"]),
    row("pop.zoho.eu", &["zoho.eu", "zohomail.eu"], &["zoho.eu"]),
    row("pop.zoho.jp", &["zoho.jp", "zohomail.jp"], &["zoho.jp"]),
    row(
        "pop.zoho.com.au",
        &["zoho.com.au", "zohomail.com.au"],
        &["zoho.com.au"],
    ),
    row("pop.zohocloud.ca", &["zohocloud.ca"], &["zohocloud.ca"]),
    row("pop.zoho.in", &["zoho.in", "zohomail.in"], &["zoho.in"]),
    row("pop.orange.fr", &["orange.fr", "wanadoo.fr"], &[]),
    local_part("pop.free.fr", &["free.fr"]),
    local_part("pop.laposte.net", &["laposte.net"]),
    row(
        "pop.sfr.fr",
        &["sfr.fr", "neuf.fr", "club-internet.fr", "cegetel.net"],
        &[],
    ),
    row(
        "popmail.libero.it",
        &["libero.it", "iol.it", "inwind.it", "blu.it", "giallo.it"],
        &[],
    ),
    row("in.virgilio.it", &["virgilio.it"], &[]),
    starttls("pop.tim.it", &["tim.it"]),
    starttls("in.alice.it", &["alice.it"]),
    row("pop.tiscali.it", &["tiscali.it"], &[]),
    row("pop3s.pec.aruba.it", &["pec.it"], &["pec.aruba.it"]),
    row("pop3s.bluewin.ch", &["bluewin.ch"], &[]),
    row("pop.proximus.be", &["proximus.be", "skynet.be"], &[]),
    row(
        "pop.kpnmail.nl",
        &[
            "kpnmail.nl",
            "planet.nl",
            "hetnet.nl",
            "kpnplanet.nl",
            "xs4all.nl",
        ],
        &[],
    ),
    row("pop.ziggo.nl", &["ziggo.nl"], &[]),
    row(
        "pop3.seznam.cz",
        &["seznam.cz", "email.cz", "post.cz", "spoluzaci.cz"],
        &["seznam.cz"],
    ),
    row(
        "pop3.poczta.onet.pl",
        &["onet.pl", "op.pl", "vp.pl", "onet.eu", "poczta.onet.pl"],
        &[],
    ),
    local_part("pop3.wp.pl", &["wp.pl"]),
    local_part("poczta.o2.pl", &["o2.pl", "go2.pl", "tlen.pl"]),
    row("pop.sapo.pt", &["sapo.pt"], &[]),
    row(
        "mail.btinternet.com",
        &["btinternet.com", "btopenworld.com", "talk21.com"],
        &[],
    ),
    row(
        "pop3.virginmedia.com",
        &["virginmedia.com", "virgin.net"],
        &[],
    ),
    row("pop3.ntlworld.com", &["ntlworld.com"], &[]),
    row("pop3.blueyonder.co.uk", &["blueyonder.co.uk"], &[]),
    row("pop.tools.sky.com", &["sky.com"], &[]),
    row("pophm.sympatico.ca", &["bell.net", "sympatico.ca"], &[]),
    row("mobile.charter.net", &["charter.net", "spectrum.net"], &[]),
    row(
        "pop.earthlink.net",
        &["earthlink.net", "mindspring.com"],
        &[],
    ),
    row("pop.centurylink.net", &["centurylink.net", "q.com"], &[]),
    row(
        "pop.telstra.com",
        &["bigpond.com", "bigpond.net.au", "telstra.com"],
        &[],
    ),
    row("pop3.xtra.co.nz", &["xtra.co.nz"], &[]),
    local_part("pop3.uol.com.br", &["uol.com.br"]),
    local_part("pop3.bol.com.br", &["bol.com.br"]),
    row("pop.rediffmail.com", &["rediffmail.com"], &[]),
    row("pop.naver.com", &["naver.com"], &[]),
    row("pop.ocn.ne.jp", &["ocn.ne.jp"], &[]),
    row("mail.biglobe.ne.jp", &["biglobe.ne.jp"], &[]),
    row("pop.qq.com", &["qq.com", "foxmail.com"], &[]),
    row(
        "pop.exmail.qq.com",
        &[],
        &["mxbiz1.qq.com", "mxbiz2.qq.com", "exmail.qq.com"],
    ),
    row("pop.163.com", &["163.com"], &[]),
    row("pop.126.com", &["126.com"], &[]),
    row("pop.yeah.net", &["yeah.net"], &[]),
    row("pop.sina.com", &["sina.com"], &[]),
    row("mail.gandi.net", &["gandi.net"], &["gandi.net"]),
    row("ssl0.ovh.net", &[], &["ovh.net", "ovh.com"]),
    row("pop.secureserver.net", &[], &["secureserver.net"]),
    row("pop.emailsrvr.com", &[], &["emailsrvr.com"]),
    row("pop.qiye.aliyun.com", &[], &["mxhichina.com"]),
];

/// A provider without POP3.
#[derive(Debug, PartialEq, Eq)]
pub struct WithoutPop3 {
    /// What it offers: a sentence.
    pub what: &'static str,
    /// What its users can do: an action.
    pub hint: &'static str,
    domains: &'static [&'static str],
    exchangers: &'static [&'static str],
}

const OWN_APPS: &str = "use its own apps";

/// The providers without POP3.
const WITHOUT_POP3: [WithoutPop3; 4] = [
    WithoutPop3 {
        what: "iCloud has IMAP, but no POP3",
        hint: "use a program that fetches by IMAP, such as mbsync",
        domains: &["icloud.com", "me.com", "mac.com"],
        exchangers: &["mail.icloud.com"],
    },
    WithoutPop3 {
        what: "Proton Mail has no POP3",
        hint: "use its Bridge with a program that fetches by IMAP, such as mbsync",
        domains: &["proton.me", "protonmail.com", "protonmail.ch", "pm.me"],
        exchangers: &["protonmail.ch", "proton.ch"],
    },
    WithoutPop3 {
        what: "Tuta has neither POP3 nor IMAP",
        hint: OWN_APPS,
        domains: &[
            "tutanota.com",
            "tutanota.de",
            "tutamail.com",
            "tuta.io",
            "tuta.com",
            "keemail.me",
        ],
        exchangers: &["tutanota.de"],
    },
    WithoutPop3 {
        what: "HEY has neither POP3 nor IMAP",
        hint: OWN_APPS,
        domains: &["hey.com"],
        exchangers: &["hey.com"],
    },
];

/// The domains of filtering services. An MX record that names one does not show the provider of the
/// mailboxes.
const GATEWAYS: [&str; 9] = [
    "pphosted.com",
    "ppe-hosted.com",
    "mimecast.com",
    "barracudanetworks.com",
    "messagelabs.com",
    "iphmx.com",
    "antispamcloud.com",
    "mailspamprotection.com",
    "hornetsecurity.com",
];

/// The entry of the tables for an address or a mail exchanger.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// Its server.
    Server(MailServer),
    /// It has none.
    Without(&'static WithoutPop3),
}

impl Row {
    fn server(&self, address: &MailAddress) -> MailServer {
        let user = match self.login {
            Login::Address => user_of(address),
            Login::LocalPart => address.local.clone(),
        };
        MailServer::new(self.host, self.encryption, user)
    }

    fn has_domain(&self, domain: &str) -> bool {
        self.domains.iter().any(|own| match own.strip_suffix(".*") {
            Some(name) => domain
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| NATIONAL.contains(&rest)),
            None => *own == domain,
        })
    }
}

/// Returns the entry for the domain of an address, or `None` if the tables have none.
pub fn by_domain(address: &MailAddress) -> Option<Known> {
    let domain = address.domain.as_str();
    let without = WITHOUT_POP3.iter().find(|it| it.domains.contains(&domain));
    let row = TABLE.iter().find(|row| row.has_domain(domain));
    without
        .map(Known::Without)
        .or_else(|| row.map(|row| Known::Server(row.server(address))))
}

/// Returns what the tables have about the first of `exchangers`, the most preferred one first, that
/// is in them.
pub fn by_exchangers(exchangers: &[String], address: &MailAddress) -> Option<Known> {
    let below = |domains: &[&str], host: &str| domains.iter().any(|own| is_below(host, own));
    exchangers.iter().find_map(|host| {
        let without = WITHOUT_POP3.iter().find(|it| below(it.exchangers, host));
        let row = TABLE.iter().find(|row| below(row.exchangers, host));
        without
            .map(Known::Without)
            .or_else(|| row.map(|row| Known::Server(row.server(address))))
    })
}

/// Returns the domain by which the database may know the provider of a mail exchanger, or `None` if
/// it is a filter in front of the mail server.
pub fn provider_domain(exchanger: &str) -> Option<String> {
    if GATEWAYS.iter().any(|gateway| is_below(exchanger, gateway)) {
        return None;
    }
    let labels: Vec<_> = exchanger.split('.').collect();
    let second = labels.len().checked_sub(2).map(|at| labels[at])?;
    let is_national = ["co", "com", "net", "org", "ne", "or", "ac"].contains(&second);
    let count = if is_national { 3 } else { 2 };
    let from = labels.len().checked_sub(count)?;
    Some(labels[from..].join("."))
}

/// Returns the domains of the tables, each divided into the first label and the rest.
pub fn domains() -> impl Iterator<Item = (&'static str, &'static str)> {
    let without = WITHOUT_POP3.iter().flat_map(|it| it.domains);
    let all = TABLE.iter().flat_map(|row| row.domains).chain(without);
    all.filter_map(|domain| domain.split_once('.'))
        .flat_map(|(label, rest)| {
            let single = [rest];
            let rests = if rest == "*" { &NATIONAL[..] } else { &[] };
            let single = single.into_iter().filter(|rest| *rest != "*");
            single
                .chain(rests.iter().copied())
                .map(move |rest| (label, rest))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn address(text: &str) -> MailAddress {
        MailAddress::parse(text).unwrap()
    }

    fn shown(known: Option<Known>) -> String {
        match known {
            Some(Known::Server(server)) => {
                format!("{}:{} {}", server.host, server.port, server.user)
            }
            Some(Known::Without(without)) => without.what.to_owned(),
            None => "unknown".into(),
        }
    }

    #[test]
    fn table_has_the_frequent_domains() {
        let lines: Vec<_> = [
            "ann@gmail.com",
            "ann@outlook.co.id",
            "ann@hotmail.com.br",
            "ann@yahoo.co.jp",
            "ann@yahoo.co.uk",
            "ann@web.de",
            "ann@alice.it",
            "ann@me.com",
            "ann@tuta.io",
            "ann@live.example",
            "ann@sub.gmail.com",
        ]
        .map(|text| format!("{text}: {}", shown(by_domain(&address(text)))))
        .into();
        insta::assert_snapshot!(lines.join("\n"), @"
        ann@gmail.com: pop.gmail.com:995 ann@gmail.com
        ann@outlook.co.id: outlook.office365.com:995 ann@outlook.co.id
        ann@hotmail.com.br: outlook.office365.com:995 ann@hotmail.com.br
        ann@yahoo.co.jp: pop.mail.yahoo.co.jp:995 ann
        ann@yahoo.co.uk: pop.mail.yahoo.com:995 ann@yahoo.co.uk
        ann@web.de: pop3.web.de:995 ann
        ann@alice.it: in.alice.it:110 ann@alice.it
        ann@me.com: iCloud has IMAP, but no POP3
        ann@tuta.io: Tuta has neither POP3 nor IMAP
        ann@live.example: unknown
        ann@sub.gmail.com: unknown
        ");
    }

    #[test]
    fn domain_is_in_one_row() {
        let mut seen = BTreeSet::new();
        let domains = TABLE.iter().flat_map(|row| row.domains);
        let without = WITHOUT_POP3.iter().flat_map(|row| row.domains);
        for domain in domains.chain(without) {
            assert!(seen.insert(domain), "{domain}");
            assert!(!domain.starts_with('.') && *domain == domain.to_lowercase());
        }
    }

    #[test]
    fn exchanger_leads_to_its_provider() {
        let of = |host: &str| {
            shown(by_exchangers(
                &[host.to_owned()],
                &address("ann@example.org"),
            ))
        };
        let lines: Vec<_> = [
            "aspmx.l.google.com",
            "example-org.mail.protection.outlook.com",
            "in1-smtp.messagingengine.com",
            "mx00.kundenserver.de",
            "mxbiz1.qq.com",
            "mx01.mail.icloud.com",
            "mx1.pphosted.com",
            "mx.notgoogle.com",
        ]
        .map(|host| format!("{host}: {}", of(host)))
        .into();
        insta::assert_snapshot!(lines.join("\n"), @"
        aspmx.l.google.com: pop.gmail.com:995 ann@example.org
        example-org.mail.protection.outlook.com: outlook.office365.com:995 ann@example.org
        in1-smtp.messagingengine.com: pop.fastmail.com:995 ann@example.org
        mx00.kundenserver.de: pop.ionos.de:995 ann@example.org
        mxbiz1.qq.com: pop.exmail.qq.com:995 ann@example.org
        mx01.mail.icloud.com: iCloud has IMAP, but no POP3
        mx1.pphosted.com: unknown
        mx.notgoogle.com: unknown
        ");
    }

    #[test]
    fn filter_in_front_says_nothing() {
        assert_eq!(provider_domain("mx1.pphosted.com"), None);
        assert_eq!(
            provider_domain("mx.hoster.net").as_deref(),
            Some("hoster.net")
        );
        assert_eq!(provider_domain("mx.a.co.uk").as_deref(), Some("a.co.uk"));
        assert_eq!(provider_domain("localhost"), None);
        assert_eq!(provider_domain("co.uk"), None);
    }
}
