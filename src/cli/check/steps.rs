//! The results of the steps of `pouch check`, as text or JSON.

use serde_json::{Value, json};

use crate::{
    cli::CommandContext,
    config::Account,
    error::{Error, Exit},
    fetch::{env::RunEnv, tokens},
    report::{complain, form, json, print_wrapped},
};

/// The name of a step.
pub(in crate::cli) type Step = &'static str;

/// The results of the steps for one account. Each is printed as soon as it is known.
pub(super) struct Steps<'a> {
    context: &'a CommandContext,
    /// The account.
    pub(super) account: &'a Account,
    /// Changes errors before they are printed.
    map_error: &'a dyn Fn(Error) -> Error,
    done: Vec<Value>,
    /// Problems that do not make a step fail.
    warnings: Vec<Value>,
    failed: Vec<(Step, Error)>,
}

impl<'a> Steps<'a> {
    /// Creates an empty list of results. `map_error` is applied to errors before they are printed.
    pub(super) fn new(
        context: &'a CommandContext,
        account: &'a Account,
        map_error: &'a dyn Fn(Error) -> Error,
    ) -> Self {
        Self {
            context,
            account,
            map_error,
            done: Vec::new(),
            warnings: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Returns the steps that failed, each with its error.
    pub(super) fn into_failed(self) -> Vec<(Step, Error)> {
        self.failed
    }

    /// Returns the exit status of the steps.
    pub(super) fn exit(&self) -> Exit {
        let exits = self.failed.iter().map(|(_, error)| error.kind().exit());
        exits.fold(Exit::OK, Exit::worst)
    }

    /// Reports a step that succeeded with a warning.
    pub(super) fn warning(&mut self, step: &str, what: &str) {
        if !self.context.global.json {
            let word = self.context.colour.caution("warning");
            let _ = print_wrapped(&format!("  {step:8} {word} {what}\n"));
        }
        self.done
            .push(json!({ "step": step, "what": what, "warning": true }));
    }

    /// Reports a successful step.
    pub(super) fn ok(&mut self, step: &str, what: &str) {
        if !self.context.global.json {
            // a failure to print must not change the exit status
            let _ = print_wrapped(&format!(
                "  {step:8} {}    {what}\n",
                self.context.colour.good("ok")
            ));
        }
        self.done.push(json!({ "step": step, "what": what }));
    }

    /// Reports a successful step with a long value, which is printed on its own line.
    pub(super) fn ok_with(&mut self, step: &str, what: &str, value: &str) {
        if !self.context.global.json {
            let word = self.context.colour.good("ok");
            let _ = print_wrapped(&format!("  {step:8} {word}    {what}\n        {value}\n"));
        }
        let what = format!("{what}, {value}");
        self.done.push(json!({ "step": step, "what": what }));
    }

    /// Reports a failed step.
    pub(super) fn failed(&mut self, step: Step, error: Error) {
        let error = (self.map_error)(error);
        if !self.context.global.json {
            let _ = print_wrapped(&format!(
                "  {step:8} {}\n",
                self.context.colour.alarm("failed")
            ));
            complain(&form(Some(&self.account.name), &error, self.context.colour));
        }
        self.failed.push((step, error));
    }

    /// Reports a problem that does not make a step fail.
    pub(super) fn warn(&mut self, warning: &Error) {
        if !self.context.global.json {
            complain(&form(
                Some(&self.account.name),
                warning,
                self.context.colour,
            ));
        }
        self.warnings.push(json::error(warning));
    }

    /// Returns the results as JSON.
    pub(super) fn document(&self, env: &RunEnv) -> Value {
        let mut document = json!({
            "account": self.account.name,
            "steps": self.done,
            "warnings": self.warnings,
        });
        if let Ok(Some((provider, Some(sign_in)))) = tokens::sign_in(self.account, env.token_env())
        {
            document["oauth"] = json!({
                "provider": provider,
                "signed_in": sign_in.since.0,
                "expires": sign_in.expires.0,
            });
        }
        if let Some((step, error)) = self.failed.first() {
            document["failed"] = (*step).into();
            document["problem"] = json::error(error);
            let problem = |(step, error): &(Step, Error)| {
                let problem = json::error(error);
                json!({ "step": step, "problem": problem })
            };
            document["problems"] = self.failed.iter().map(problem).collect();
        }
        document
    }
}
