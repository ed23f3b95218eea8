//! The names and mailboxes of accounts, of which no two may be the same.
//!
//! Two accounts of one mailbox would each treat the other's messages as its own. The case of user
//! names does not matter here, since most servers ignore it: if there are two such mailboxes, their
//! names distinguish them.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{account::Account, snippet::Document};
use crate::{domain::ids::Address, error::Error};

/// The label of an earlier account.
const DEFINED: &str = "already defined here";

/// An account that was defined, and the place of its header.
#[derive(Clone, Debug)]
struct Defined {
    account: String,
    document: Arc<Document>,
    header: Range<usize>,
}

/// The accounts with one address.
#[derive(Clone, Debug, Default)]
struct AtAddress {
    /// The first one whose mailbox has no name.
    unnamed: Option<usize>,
    /// The first one whose mailbox has a name.
    named: Option<usize>,
}

/// The accounts that were defined so far.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    accounts: Vec<Defined>,
    names: HashMap<String, usize>,
    mailboxes: HashMap<String, usize>,
    addresses: HashMap<Address, AtAddress>,
}

impl Taken {
    /// Returns whether there is an account of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Returns the number of accounts.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Returns whether there are no accounts.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Removes all accounts except the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.accounts.truncate(len);
        self.names.retain(|_, index| *index < len);
        self.mailboxes.retain(|_, index| *index < len);
        for at_address in self.addresses.values_mut() {
            for index in [&mut at_address.unnamed, &mut at_address.named] {
                *index = index.filter(|index| *index < len);
            }
        }
    }

    /// Adds an account that is defined at `header` in a document.
    ///
    /// # Errors
    /// Another account has the same name or the same mailbox. The account is not added.
    pub(super) fn add(
        &mut self,
        account: &Account,
        document: &Arc<Document>,
        header: &Range<usize>,
    ) -> Result<(), Error> {
        if let Some(earlier) = self.names.get(&account.name) {
            let what = format!("account `{}` is defined twice", account.name);
            return Err(self
                .duplicate(*earlier, document, header, &what)
                .with_hint("rename one of them, or remove it"));
        }
        let user = account.user.to_lowercase();
        let address = Address::new(user, &account.host, account.port);
        let at_address = self.addresses.entry(address).or_default();
        let same_mailbox = account
            .mailbox
            .as_ref()
            .and_then(|it| self.mailboxes.get(it));
        let earlier = match &account.mailbox {
            Some(_) => [same_mailbox.copied(), at_address.unnamed],
            None => [at_address.named, at_address.unnamed],
        };
        if let Some(earlier) = earlier.into_iter().flatten().min() {
            let identity = account.identity();
            let mailbox = identity
                .name
                .unwrap_or_else(|| identity.address.to_string());
            let what = format!(
                "accounts `{}` and `{}` are the same mailbox, {mailbox}",
                self.accounts[earlier].account, account.name,
            );
            return Err(self
                .duplicate(earlier, document, header, &what)
                .with_hint("remove one of them, or set `mailbox` to a different name in each"));
        }
        let index = self.accounts.len();
        match &account.mailbox {
            Some(name) => {
                self.mailboxes.insert(name.clone(), index);
                at_address.named.get_or_insert(index);
            }
            None => at_address.unnamed = Some(index),
        }
        self.names.insert(account.name.clone(), index);
        self.accounts.push(Defined {
            account: account.name.clone(),
            document: Arc::clone(document),
            header: header.clone(),
        });
        Ok(())
    }

    fn duplicate(
        &self,
        earlier: usize,
        document: &Document,
        header: &Range<usize>,
        what: &str,
    ) -> Error {
        let earlier = &self.accounts[earlier];
        let other = (&*earlier.document, &earlier.header, DEFINED);
        document.draw_with(header, what, Some(other))
    }
}
