//! Reports about accounts that cannot be used, in the rounds of `--every`.

use std::collections::HashSet;

use super::CommandContext;
use crate::{
    config::resolve::Problem,
    error::{Error, Exit, Result},
    report::{Level, complain, form},
};

/// What was reported, so that later rounds report changes only.
pub(super) struct ListReports {
    /// Whether the command was given names. Then only their accounts are reported.
    are_named: bool,
    texts: Vec<String>,
    /// The names of accounts that were reported one by one.
    names: HashSet<String>,
    exit: Exit,
}

impl ListReports {
    /// Creates the reports of a command for accounts with these `names`, or for all of them. The
    /// problems so far were reported. Stores the list for runs in which the command fails.
    pub fn new(context: &CommandContext, names: &[String]) -> Self {
        let mut reports = Self {
            are_named: !names.is_empty() || context.handover.is_some(),
            texts: Vec::new(),
            names: HashSet::new(),
            exit: Exit::OK,
        };
        reports.update(context);
        reports
    }

    /// Returns the exit status for the accounts that cannot be used.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Runs the command that prints accounts again, and reports what has changed. Returns whether
    /// there is such a command.
    ///
    /// # Errors
    /// A signal.
    pub fn refresh(&mut self, context: &CommandContext) -> Result<bool> {
        if !context.setup.list_again()? {
            return Ok(false);
        }
        let before = std::mem::take(&mut self.texts);
        let problems = self.update(context);
        if self.texts != before {
            let is_shown = context.level > Level::Silent && context.log.is_none();
            if problems.is_empty() && is_shown {
                complain("pouch: all accounts can be used again");
            }
            context.report_problems(&problems, true);
        }
        Ok(true)
    }

    /// Stores the list, and returns the problems.
    fn update(&mut self, context: &CommandContext) -> Vec<Problem> {
        if self.are_named {
            return Vec::new();
        }
        if let Err(error) = context.setup.store_list() {
            self.report_once(context, "", &error);
        }
        let problems = context.setup.problems_so_far();
        let texts = problems.iter().map(|problem| problem.error.to_string());
        self.texts = texts.collect();
        self.exit = context.problems_exit();
        problems
    }

    /// Reports an error about an account, unless one was reported before.
    pub fn report_once(&mut self, context: &CommandContext, name: &str, error: &Error) {
        self.exit = self.exit.worst(error.kind().exit());
        if !self.names.insert(name.to_owned()) {
            return;
        }
        let name = Some(name).filter(|name| !name.is_empty());
        if let Some(log) = &context.log {
            log.problem_of(name, error);
        } else if context.level > Level::Silent {
            complain(&form(name, error, context.colour));
        }
    }
}
