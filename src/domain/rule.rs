//! Rules: what an account does with a message, decided by its header before the download.
//!
//! [`evaluate`] is a pure function of a message's size and header. The first rule whose conditions
//! all match decides.

use std::fmt;

use crate::domain::{
    destination::Destination,
    message::Header,
    pattern::Pattern,
    size::ByteSize,
    time::{TimeSpan, Timestamp},
};

/// A rule: an action for messages that match all conditions.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The conditions, all of which have to match.
    pub conditions: Vec<Condition>,
    /// The action.
    pub action: RuleAction,
    /// The destinations instead of the account's own.
    pub to: Option<Destination>,
    /// The destinations of additional copies.
    pub also: Vec<Destination>,
    /// The conditions as they are written in the config.
    pub text: String,
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Fetch it.
    Fetch,
    /// Skip it: leave it on the server.
    Skip,
    /// Delete it from the server unread.
    Delete,
}

/// A condition of a rule.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A sender (From): address, name, or both as `name <address>`.
    From(Pattern),
    /// A recipient (To or Cc), likewise.
    To(Pattern),
    /// The subject.
    Subject(Pattern),
    /// The mailing list (RFC 2919): all of List-Id, or the part in angle brackets.
    ListId(Pattern),
    /// A header field of this name.
    Field(String, Pattern),
    /// The size by LIST.
    ByteSize(Bound),
    /// The Date field is older than this.
    OlderThan(TimeSpan),
}

/// A bound of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Larger than this.
    Over(ByteSize),
    /// Smaller than this.
    Under(ByteSize),
}

/// A message to evaluate.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its size by LIST.
    pub octets: u64,
    /// Its header, once it is known.
    pub header: Option<&'a Header<'a>>,
    /// The user requested this message: no rule skips or deletes it.
    pub wanted: bool,
}

/// The outcome of the rules for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOutcome {
    /// This rule matches.
    Matched(RuleMatch),
    /// No rule matches.
    NoMatch,
    /// It depends on the header, which is not known yet.
    NeedsHeader,
}

impl RuleOutcome {
    /// Returns the rule that matches.
    pub fn matched(self) -> Option<RuleMatch> {
        match self {
            Self::Matched(rule_match) => Some(rule_match),
            Self::NoMatch | Self::NeedsHeader => None,
        }
    }
}

/// A rule that matches a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleMatch {
    /// Its index among the account's rules, from 0.
    pub index: u32,
    /// Its action.
    pub action: RuleAction,
}

impl fmt::Display for RuleMatch {
    /// Formats as `rule 2`: users count from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.index + 1)
    }
}

/// Evaluates `rules` for a message at the time `now`.
///
/// If it is not known whether a rule matches, no later rule may match.
pub fn evaluate(rules: &[Rule], case: Candidate<'_>, now: Timestamp) -> RuleOutcome {
    for (index, rule) in (0..).zip(rules) {
        if case.wanted && rule.action != RuleAction::Fetch {
            continue;
        }
        match rule.matches(case, now) {
            Some(true) => {
                return RuleOutcome::Matched(RuleMatch {
                    index,
                    action: rule.action,
                });
            }
            Some(false) => {}
            None => return RuleOutcome::NeedsHeader,
        }
    }
    RuleOutcome::NoMatch
}

impl Rule {
    /// Returns whether all conditions match, or `None` if that depends on the header.
    fn matches(&self, case: Candidate<'_>, now: Timestamp) -> Option<bool> {
        let mut all = Some(true);
        for condition in &self.conditions {
            match condition.matches(case, now) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }
}

impl Condition {
    /// Returns whether it matches, or `None` if that depends on the header.
    fn matches(&self, case: Candidate<'_>, now: Timestamp) -> Option<bool> {
        Some(match self {
            Self::ByteSize(bound) => bound.matches(case.octets),
            Self::From(pattern) => case
                .header?
                .mailboxes(&["From"])
                .iter()
                .any(|mailbox| pattern.matches(mailbox)),
            Self::To(pattern) => case
                .header?
                .mailboxes(&["To", "Cc"])
                .iter()
                .any(|mailbox| pattern.matches(mailbox)),
            Self::Subject(pattern) => case
                .header?
                .texts("Subject")
                .iter()
                .any(|subject| pattern.matches(subject)),
            Self::ListId(pattern) => case.header?.texts("List-Id").iter().any(|list| {
                let inner = list
                    .rsplit_once('<')
                    .and_then(|(_, rest)| rest.split_once('>'))
                    .map(|(id, _)| id);
                pattern.matches(list) || inner.is_some_and(|id| pattern.matches(id))
            }),
            Self::Field(name, pattern) => case
                .header?
                .texts(name)
                .iter()
                .any(|text| pattern.matches(text)),
            Self::OlderThan(span) => case
                .header?
                .date()
                .is_some_and(|date| now.since(date) > span.seconds()),
        })
    }
}

impl Bound {
    fn matches(self, octets: u64) -> bool {
        match self {
            Self::Over(size) => octets > size.octets(),
            Self::Under(size) => octets < size.octets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_795_392_000);

    const HEAD: &[u8] = b"From: =?utf-8?q?J=C3=BCrgen?= <Juergen@Example.org>\n\
        To: list@lists.example.org, \"Ann, the first\" <ann@example.org>\n\
        Cc: team: ben@example.org, cy@example.org;\n\
        Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus\n Rom\n\
        List-Id: Rust =?utf-8?q?f=C3=BCr?= alle <rust.lists.example.org>\n\
        X-Spam-Level: ****\nX-Note: one\nX-Note: two\n\
        Date: Mon, 23 Nov 2026 01:00:00 +0200\n\n";

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    fn rule(conditions: Vec<Condition>, action: RuleAction) -> Rule {
        Rule {
            conditions,
            action,
            to: None,
            also: Vec::new(),
            text: String::new(),
        }
    }

    fn matches(condition: Condition, head: &[u8]) -> bool {
        let header = Header::read(head);
        let case = Candidate {
            octets: 1000,
            header: Some(&header),
            wanted: false,
        };
        evaluate(&[rule(vec![condition], RuleAction::Skip)], case, NOW) != RuleOutcome::NoMatch
    }

    #[test]
    fn conditions_look_at_decoded_text() {
        for condition in [
            Condition::From(pattern("*@example.org")),
            Condition::From(pattern("jürgen")),
            Condition::From(pattern("JÜRGEN <*>")),
            Condition::To(pattern("ann@example.org")),
            Condition::To(pattern("Ann, the first")),
            Condition::To(pattern("cy@example.org")),
            Condition::Subject(pattern("grüße aus rom")),
            Condition::Subject(pattern("/^Grüße/")),
            Condition::ListId(pattern("rust.lists.example.org")),
            Condition::ListId(pattern("*für alle*")),
            Condition::Field("x-spam-level".into(), pattern("/^\\*{4}/")),
            Condition::Field("X-Note".into(), pattern("two")),
            Condition::ByteSize(Bound::Over(ByteSize::from_octets(999))),
            Condition::ByteSize(Bound::Under(ByteSize::from_octets(1001))),
            Condition::OlderThan(TimeSpan::from_seconds(3599)),
        ] {
            assert!(matches(condition.clone(), HEAD), "{condition:?}");
        }
        for condition in [
            Condition::From(pattern("ann@example.org")),
            Condition::To(pattern("juergen@*")),
            Condition::Subject(pattern("rom")),
            Condition::Field("X-None".into(), pattern("*")),
            Condition::ByteSize(Bound::Over(ByteSize::from_octets(1000))),
            Condition::ByteSize(Bound::Under(ByteSize::from_octets(1000))),
            Condition::OlderThan(TimeSpan::from_seconds(3600)),
        ] {
            assert!(!matches(condition.clone(), HEAD), "{condition:?}");
        }
        assert!(!matches(
            Condition::OlderThan(TimeSpan::from_seconds(1)),
            b"Date: some day\n\n"
        ));
    }

    #[test]
    fn the_first_rule_that_fits_wins() {
        let header = Header::read(HEAD);
        let case = |header| Candidate {
            octets: 1000,
            header,
            wanted: false,
        };
        let large = || Condition::ByteSize(Bound::Over(ByteSize::from_octets(500)));
        let small = || Condition::ByteSize(Bound::Under(ByteSize::from_octets(500)));
        let from = || Condition::From(pattern("*@example.org"));
        let taken = |index, action| RuleOutcome::Matched(RuleMatch { index, action });
        let rules = [
            rule(vec![small(), from()], RuleAction::Skip),
            rule(vec![large(), from()], RuleAction::Fetch),
        ];
        assert_eq!(
            evaluate(&rules, case(Some(&header)), NOW),
            taken(1, RuleAction::Fetch)
        );
        assert_eq!(evaluate(&[], case(None), NOW), RuleOutcome::NoMatch);
        // the first rule depends on the size alone, the second on the header
        assert_eq!(evaluate(&rules[..1], case(None), NOW), RuleOutcome::NoMatch);
        assert_eq!(evaluate(&rules, case(None), NOW), RuleOutcome::NeedsHeader);
        // a rule after an undecided one does not match
        let rules = [
            rule(vec![from()], RuleAction::Fetch),
            rule(vec![large()], RuleAction::Delete),
        ];
        assert_eq!(evaluate(&rules, case(None), NOW), RuleOutcome::NeedsHeader);
        let wanted = Candidate {
            wanted: true,
            ..case(Some(&header))
        };
        assert_eq!(evaluate(&rules[1..], wanted, NOW), RuleOutcome::NoMatch);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            for condition in [
                Condition::From(pattern("x")),
                Condition::ListId(pattern("x")),
                Condition::Field("Received".into(), pattern("x")),
                Condition::OlderThan(TimeSpan::from_days(1)),
            ] {
                matches(condition, &octets);
            }
        }
    }
}
