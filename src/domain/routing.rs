//! Routing: determines the destinations of a message.

use super::{
    destination::Destination,
    message::Header,
    multidrop::Multidrop,
    rule::{Rule, RuleMatch},
};

/// The routing of an account: by rule, by recipient, or to the default destination.
#[derive(Clone, Debug)]
pub struct Routing {
    /// The destination of every message that neither a rule nor `multidrop` sends elsewhere.
    pub default: Destination,
    /// The rules, in the order in which they are evaluated. The first that matches decides.
    pub rules: Vec<Rule>,
    /// The recipients of a mailbox that is shared by several people.
    pub multidrop: Option<Multidrop>,
}

impl Routing {
    /// Routes every message to one destination.
    pub fn to(default: Destination) -> Self {
        Self {
            default,
            rules: Vec::new(),
            multidrop: None,
        }
    }

    /// Returns the destinations of a message, at least one and each once.
    ///
    /// `matched` is the rule that matched the message, if any. Returns `None` if the destinations
    /// depend on the header and `header` is `None`.
    pub fn destinations(
        &self,
        matched: Option<RuleMatch>,
        header: Option<&Header<'_>>,
    ) -> Option<Vec<Destination>> {
        let rule = matched.and_then(|matched| self.rules.get(matched.index as usize));
        let mut destinations = match (rule.and_then(|rule| rule.to.as_ref()), &self.multidrop) {
            (Some(destination), _) => vec![destination.clone()],
            (None, Some(multidrop)) => multidrop.destinations(header?, &self.default),
            (None, None) => vec![self.default.clone()],
        };
        for copy in rule.into_iter().flat_map(|rule| &rule.also) {
            copy.clone().merge_into(&mut destinations);
        }
        Some(destinations)
    }

    /// Returns whether the header of a message can change its destinations.
    pub fn needs_header(&self) -> bool {
        self.multidrop.is_some()
            || self
                .rules
                .iter()
                .any(|rule| rule.to.is_some() || !rule.also.is_empty())
    }

    /// Returns all destinations that messages may go to, the default one first. An LMTP server is
    /// listed once, with all its recipients.
    pub fn all(&self) -> Vec<Destination> {
        let mut all = vec![self.default.clone()];
        let by_rule = self
            .rules
            .iter()
            .flat_map(|rule| rule.to.iter().chain(&rule.also));
        let by_recipient = self
            .multidrop
            .iter()
            .flat_map(|multidrop| &multidrop.recipients);
        for destination in by_rule.chain(by_recipient.map(|(_, destination)| destination)) {
            destination.clone().merge_into(&mut all);
        }
        all
    }
}
