//! The charts in `pouch status`: messages per day, for people at a terminal.

use super::CommandContext;
use crate::{
    config::Account,
    error::Result,
    fetch::env::RunEnv,
    ledger::mailboxes::Catalog,
    report::{
        columns,
        days::DayRange,
        sparkline::{days_that_fit, sparkline},
    },
};

/// The charts of several accounts, all of the same length.
#[derive(Default)]
pub(super) struct Sparklines {
    charts: Vec<Option<String>>,
    /// The length of each. 0 if no account has a chart.
    days: usize,
}

impl Sparklines {
    /// Reads the ledgers of `accounts` if standard output is a terminal that can display the charts
    /// next to names of this `width`. An account whose ledger cannot be read has no chart.
    pub(super) fn read(
        context: &CommandContext,
        accounts: &[Account],
        env: &RunEnv,
        width: usize,
    ) -> Self {
        let dirs = &context.setup.dirs;
        let days = columns().filter(|_| dirs.shows_unicode());
        let Some(days) = days.and_then(|columns| days_that_fit(columns, width)) else {
            return Self::default();
        };
        let range = DayRange::until(env.clock.now(), days);
        let catalog = Catalog::new(&env.state_dir);
        let chart = |account| chart(account, &catalog, &range).ok().flatten();
        let charts: Vec<_> = accounts.iter().map(chart).collect();
        let is_any = charts.iter().any(Option::is_some);
        Self {
            charts,
            days: if is_any { days } else { 0 },
        }
    }

    /// Returns the text between the name and the state of the account at `index`.
    pub(super) fn column(&self, index: usize) -> String {
        if self.days == 0 {
            return String::new();
        }
        let chart = self.charts.get(index).and_then(Option::as_deref);
        format!("{:1$}   ", chart.unwrap_or_default(), self.days)
    }
}

/// Returns the chart of an account, or `None` if nothing was delivered on these days.
fn chart(account: &Account, catalog: &Catalog<'_>, days: &DayRange) -> Result<Option<String>> {
    let Some((_, ledger)) = catalog.open_offline(&account.identity())? else {
        return Ok(None);
    };
    let mut messages = vec![0; days.len()];
    for volume in ledger.volume_since(days.begin())? {
        if let Some(day) = days.index(volume.at) {
            messages[day] += volume.messages;
        }
    }
    Ok(sparkline(&messages))
}
