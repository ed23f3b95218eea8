//! The results of an import and the next steps.

use super::candidate::Candidate;
use crate::{
    cli::{CommandContext, args::Import as Args},
    config::{self, SecretSource},
    report::print_wrapped,
    text::{count, shell_word, tilde},
};

/// Prints what was written and the next steps.
pub(super) fn print(
    context: &CommandContext,
    args: &Args,
    candidates: &[Candidate],
) -> anyhow::Result<()> {
    if !(args.write || args.seen_only) {
        return Ok(());
    }
    let path = tilde(&context.setup.path, &context.setup.dirs.home);
    let mut names = Vec::new();
    for candidate in candidates.iter().filter(|one| one.problem.is_none()) {
        let name = candidate.name();
        let parts = parts(candidate, args, &path);
        if parts.is_empty() {
            continue;
        }
        print_wrapped(&format!("{name}: {}\n", parts.join("; ")))?;
        for advice in advice(candidate, args) {
            print_wrapped(&format!("{name}: {advice}\n"))?;
        }
        names.push(shell_word(name));
    }
    if !names.is_empty() && !args.dry_run {
        let names = names.join(" ");
        print_wrapped(&format!(
            "run `pouch check {names}`, then `pouch plan {names}`\n"
        ))?;
    }
    Ok(())
}

/// Returns a description of what was done for an account. `config` is the path of the config.
fn parts(candidate: &Candidate, args: &Args, config: &str) -> Vec<String> {
    let would = if args.dry_run { "would be " } else { "" };
    let mut parts = Vec::new();
    if candidate.is_added || (args.dry_run && args.write && candidate.is_new()) {
        parts.push(format!("{would}added to {config}"));
    }
    if let Some(outcome) = candidate.outcome {
        parts.push(format!(
            "{} of {} on the server are known",
            outcome.known,
            count(outcome.listed, "message")
        ));
        parts.push(match outcome.recorded {
            0 => "nothing new to record".to_owned(),
            recorded => format!("{} {would}recorded", count(recorded, "message")),
        });
    }
    if args.passwords && candidate.keeps_password() {
        parts.push(
            "its password was not stored, because the account was already in the config".into(),
        );
    }
    parts
}

/// Returns advice about an account for the time before the next run.
fn advice(candidate: &Candidate, args: &Args) -> Vec<String> {
    let name = shell_word(candidate.name());
    let mut advice = Vec::new();
    let has_no_record = !candidate.has_record() && !candidate.account.was_deleting;
    if candidate.existing.is_none() && has_no_record {
        advice.push(format!(
            "no record of fetched messages was found; to skip those on the server, run \
             `pouch ledger catchup {name}` before the first fetch"
        ));
    }
    let is_prompted = |existing: &config::Account| existing.secret == SecretSource::Prompt;
    if args.passwords
        && candidate.keeps_password()
        && candidate.existing.as_ref().is_some_and(is_prompted)
    {
        advice.push(
            "to stop pouch from asking for the password, write it to a file that only you can \
             read, and set `password-file` to that file"
                .into(),
        );
    }
    let due = candidate.outcome.map_or(0, |outcome| outcome.due);
    if due > 0 {
        advice.push(format!(
            "the next fetch deletes {} from the server, because of `keep`; to keep them, change \
             `keep` first",
            count(due, "known message")
        ));
    }
    advice
}
