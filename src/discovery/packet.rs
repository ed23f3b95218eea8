//! DNS questions and answers (RFC 1035 §4).

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData,
};

use crate::domain::mail_address::is_domain;

/// The longest chain of aliases that is followed.
const MAX_ALIASES: usize = 8;

/// The type of the records that are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// Servers of a service (RFC 2782).
    Srv,
    /// Mail exchangers.
    Mx,
}

impl RecordType {
    fn code(self) -> TYPE {
        match self {
            Self::Srv => TYPE::SRV,
            Self::Mx => TYPE::MX,
        }
    }
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its priority; the lowest one comes first.
    pub priority: u16,
    /// Its weight among those of the same priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name, in lower case.
    pub host: String,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A server of a service.
    Srv(Target),
    /// There is no such service.
    NoService,
    /// A mail exchanger.
    Mx {
        /// Its preference; the lowest one comes first.
        preference: u16,
        /// Its name, in lower case.
        host: String,
    },
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The records, which are none if the name does not exist.
    Records(Vec<Record>),
    /// The answer is too long for UDP.
    Truncated,
    /// The server cannot answer.
    Failed,
}

/// Returns a question, or `None` if the name is too long.
pub fn encode(id: u16, name: &str, kind: RecordType) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).ok()?,
        QTYPE::TYPE(kind.code()),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

/// Decodes a packet. Returns `None` if it is not an answer to this question, such as a forged one.
pub fn decode(bytes: &[u8], id: u16, name: &str, kind: RecordType) -> Option<Reply> {
    let (first, flags) = (bytes.get(..2)?, *bytes.get(2)?);
    let (is_response, is_truncated) = (flags & 0x80 != 0, flags & 0x02 != 0);
    if first != id.to_be_bytes() || !is_response {
        return None;
    }
    let Ok(packet) = Packet::parse(bytes) else {
        // some servers cut a record in the middle
        return is_truncated.then_some(Reply::Truncated);
    };
    let [question] = packet.questions.as_slice() else {
        return None;
    };
    let is_same = lower(&question.qname) == name.to_ascii_lowercase()
        && question.qtype == QTYPE::TYPE(kind.code())
        && question.qclass == QCLASS::CLASS(CLASS::IN);
    if !is_same {
        return None;
    }
    if is_truncated {
        return Some(Reply::Truncated);
    }
    match packet.rcode() {
        RCODE::NoError => Some(Reply::Records(records(&packet, name))),
        RCODE::NameError => Some(Reply::Records(Vec::new())),
        _ => Some(Reply::Failed),
    }
}

fn lower(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase()
}

/// Returns the records of `name`, or of the name of which it is an alias.
fn records(packet: &Packet<'_>, name: &str) -> Vec<Record> {
    let mut owner = name.to_ascii_lowercase();
    for _ in 0..MAX_ALIASES {
        let alias = packet
            .answers
            .iter()
            .find_map(|record| match &record.rdata {
                RData::CNAME(alias) if lower(&record.name) == owner => Some(lower(&alias.0)),
                _ => None,
            });
        match alias {
            Some(alias) => owner = alias,
            None => break,
        }
    }
    let own = packet
        .answers
        .iter()
        .filter(|record| record.class == CLASS::IN && lower(&record.name) == owner);
    own.filter_map(|record| self::record(&record.rdata))
        .collect()
}

/// Returns a record, or `None` if it is of another type, or its name is not that of a host.
fn record(data: &RData<'_>) -> Option<Record> {
    match data {
        RData::SRV(srv) if srv.target.get_labels().is_empty() => Some(Record::NoService),
        RData::SRV(srv) => {
            let host = lower(&srv.target);
            (is_domain(&host) && srv.port != 0).then_some(Record::Srv(Target {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                host,
            }))
        }
        RData::MX(mx) => {
            let host = lower(&mx.exchange);
            is_domain(&host).then_some(Record::Mx {
                preference: mx.preference,
                host,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::{
        ResourceRecord,
        rdata::{CNAME, MX, SRV},
    };

    use super::*;

    const NAME: &str = "_pop3s._tcp.example.org";

    /// Returns an answer to the question for SRV records, changed by `change`.
    fn answer(change: impl FnOnce(&mut Packet<'static>)) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        packet.questions.push(Question::new(
            Name::new_unchecked(NAME),
            QTYPE::TYPE(TYPE::SRV),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        change(&mut packet);
        packet.build_bytes_vec().unwrap()
    }

    fn srv(name: &'static str, target: &'static str) -> ResourceRecord<'static> {
        let data = SRV {
            priority: 1,
            weight: 2,
            port: 995,
            target: Name::new_unchecked(target),
        };
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, RData::SRV(data))
    }

    fn decoded(bytes: &[u8]) -> Option<Reply> {
        decode(bytes, 7, NAME, RecordType::Srv)
    }

    fn target(host: &str) -> Reply {
        Reply::Records(vec![Record::Srv(Target {
            priority: 1,
            weight: 2,
            port: 995,
            host: host.into(),
        })])
    }

    #[test]
    fn question_is_encoded() {
        let bytes = encode(7, NAME, RecordType::Srv).unwrap();
        assert_eq!(&bytes[..6], b"\0\x07\x01\0\0\x01");
        assert!(bytes.ends_with(b"\x03org\0\0\x21\0\x01"));
        assert_eq!(encode(7, &"x".repeat(64), RecordType::Mx), None);
    }

    #[test]
    fn record_of_the_name_is_returned() {
        let bytes = answer(|packet| {
            packet.answers.push(srv(NAME, "POP.example.org"));
            packet
                .answers
                .push(srv("_pop3s._tcp.evil.example", "pop.evil.example"));
            packet.answers.push(srv(NAME, "bad name.example.org"));
        });
        assert_eq!(decoded(&bytes), Some(target("pop.example.org")));
    }

    #[test]
    fn alias_is_followed_and_its_circle_is_not() {
        let alias = |name, target| {
            let data = RData::CNAME(CNAME(Name::new_unchecked(target)));
            ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data)
        };
        let bytes = answer(|packet| {
            packet.answers.push(alias(NAME, "x.example.net"));
            packet.answers.push(srv("x.example.net", "pop.example.net"));
        });
        assert_eq!(decoded(&bytes), Some(target("pop.example.net")));
        let circle = answer(|packet| packet.answers.push(alias(NAME, NAME)));
        assert_eq!(decoded(&circle), Some(Reply::Records(Vec::new())));
    }

    #[test]
    fn root_target_means_no_service() {
        let bytes = answer(|packet| packet.answers.push(srv(NAME, "")));
        assert_eq!(
            decoded(&bytes),
            Some(Reply::Records(vec![Record::NoService]))
        );
    }

    #[test]
    fn answer_to_another_question_is_ignored() {
        let good = answer(|packet| packet.answers.push(srv(NAME, "pop.example.org")));
        assert_eq!(decode(&good, 8, NAME, RecordType::Srv), None);
        assert_eq!(
            decode(&good, 7, "_pop3s._tcp.example.net", RecordType::Srv),
            None
        );
        assert_eq!(decode(&good, 7, NAME, RecordType::Mx), None);
        let question = encode(7, NAME, RecordType::Srv).unwrap();
        assert_eq!(decoded(&question), None);
        let two = answer(|packet| packet.questions.push(packet.questions[0].clone()));
        assert_eq!(decoded(&two), None);
        let none = answer(|packet| packet.questions.clear());
        assert_eq!(decoded(&none), None);
    }

    #[test]
    fn failures_are_told_apart() {
        let with = |code| answer(|packet| *packet.rcode_mut() = code);
        assert_eq!(
            decoded(&with(RCODE::NameError)),
            Some(Reply::Records(Vec::new()))
        );
        assert_eq!(decoded(&with(RCODE::ServerFailure)), Some(Reply::Failed));
        let cut = answer(|packet| packet.set_flags(PacketFlag::TRUNCATION));
        assert_eq!(decoded(&cut), Some(Reply::Truncated));
        let mut torn = answer(|packet| {
            packet.set_flags(PacketFlag::TRUNCATION);
            packet.answers.push(srv(NAME, "pop.example.org"));
        });
        torn.truncate(torn.len() - 5);
        assert_eq!(decoded(&torn), Some(Reply::Truncated));
    }

    #[test]
    fn exchangers_have_names() {
        let mut packet = Packet::new_reply(7);
        packet.questions.push(Question::new(
            Name::new_unchecked("example.org"),
            QTYPE::TYPE(TYPE::MX),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        for exchange in ["mx.example.org", ""] {
            let data = RData::MX(MX {
                preference: 10,
                exchange: Name::new_unchecked(exchange),
            });
            let owner = Name::new_unchecked("example.org");
            packet
                .answers
                .push(ResourceRecord::new(owner, CLASS::IN, 60, data));
        }
        let bytes = packet.build_bytes_vec().unwrap();
        let reply = decode(&bytes, 7, "Example.org", RecordType::Mx);
        let mx = Record::Mx {
            preference: 10,
            host: "mx.example.org".into(),
        };
        assert_eq!(reply, Some(Reply::Records(vec![mx])));
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_decoder_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = answer(|packet| {
                packet.answers.push(srv(NAME, "pop.example.org"));
                packet.answers.push(srv(NAME, "pop2.example.org"));
            });
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(length.index(bytes.len() + 1));
            let _ = decoded(&bytes);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(tail in prop::collection::vec(any::<u8>(), 0..600)) {
            let bytes = [&b"\0\x07\x80\0"[..], &tail].concat();
            let _ = decoded(&bytes);
        }
    }
}
