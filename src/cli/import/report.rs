//! The report of an import, as text and as JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::candidate::{Candidate, SeenMessages};
use crate::{
    import::{Imported, Line, LineKind, Problem, Program, render},
    report::{Colour, complain},
    text::{count, sanitize, shell_word, tilde},
};

/// The number of problems of the files that are shown.
const SHOWN_PROBLEMS: usize = 10;

/// Prints the report of all accounts to standard error.
pub(super) fn print(
    program: Program,
    imported: &Imported,
    candidates: &[Candidate],
    home: &Path,
    colour: Colour,
) {
    for candidate in candidates {
        complain(account(program, candidate, home).trim_end());
    }
    if !imported.general.is_empty() {
        complain("all accounts");
        complain(lines(program, &imported.general).trim_end());
    }
    for problem in imported.problems.iter().take(SHOWN_PROBLEMS) {
        complain(&format!(
            "{} {}: {}",
            colour.alarm("pouch:"),
            place(problem, home),
            sanitize(problem.what.as_bytes())
        ));
    }
    if let Some(more @ 1..) = imported.problems.len().checked_sub(SHOWN_PROBLEMS) {
        complain(&format!("{} {more} more problems", colour.alarm("pouch:")));
    }
    if candidates.is_empty() && imported.problems.is_empty() {
        complain("no accounts were found");
    }
}

/// Returns `FILE:LINE:COLUMN`.
fn place(problem: &Problem, home: &Path) -> String {
    let path = tilde(&problem.path, home);
    match problem.at {
        Some((line, column)) => format!("{path}:{line}:{column}"),
        None => path,
    }
}

fn account(program: Program, candidate: &Candidate, home: &Path) -> String {
    let account = &candidate.account;
    let path = tilde(&account.path, home);
    let mut text = format!("{} ({program}, {path}:{})\n", account.name, account.at);
    if let Some(existing) = &candidate.existing {
        let known = "already in the config as";
        text.push_str(&format!(
            "  {known} `{}`, which is not changed\n",
            existing.name
        ));
    } else if account.is_unusable {
        text.push_str("  not taken over\n");
        let is_reason = |line: &&Line| line.kind == LineKind::LeftOut;
        let reasons: Vec<_> = account.lines.iter().filter(is_reason).cloned().collect();
        text.push_str(&lines(program, &reasons));
    } else {
        text.push_str(&lines(program, &account.lines));
    }
    text.push_str(&seen(program, candidate, home));
    text
}

/// Returns the lines of the report, grouped by their kind.
fn lines(program: Program, lines: &[Line]) -> String {
    let mut text = String::new();
    for kind in LineKind::ALL {
        let mut of_kind: Vec<_> = lines.iter().filter(|line| line.kind == kind).collect();
        of_kind.sort_by_key(|line| line.at.unwrap_or(usize::MAX));
        if of_kind.is_empty() {
            continue;
        }
        text.push_str(&format!("  {}\n", kind.heading()));
        for line in of_kind {
            let at = line.at.map(|at| format!("line {at}: ")).unwrap_or_default();
            let setting = sanitize(line.setting.as_bytes());
            let now = sanitize(line.now.as_bytes());
            text.push_str(&match &line.before {
                Some(before) => {
                    let before = sanitize(before.as_bytes());
                    format!("    {at}{setting}: {program}: {before}; pouch: {now}\n")
                }
                None => format!("    {at}{setting}: {now}\n"),
            });
        }
    }
    text
}

/// Returns the lines about fetched messages.
fn seen(program: Program, candidate: &Candidate, home: &Path) -> String {
    let is_unused = candidate.account.is_unusable && candidate.existing.is_none();
    // a record that cannot be read is printed as an error
    if is_unused || candidate.problem.is_some() {
        return String::new();
    }
    let has_record = |seen: &&SeenMessages| candidate.has_record() || seen.derived > 0;
    let Some(seen) = candidate.seen.as_ref().filter(has_record) else {
        let advice = if candidate.account.was_deleting {
            format!("{program} has no record of fetched messages, and deleted them")
        } else {
            format!(
                "no record of fetched messages was found: `pouch fetch` would fetch all messages; \
                 to skip those on the server, run `pouch ledger catchup {}`",
                shell_word(candidate.name())
            )
        };
        return format!("  fetched messages\n    {advice}\n");
    };
    let path = tilde(&seen.path, home);
    let number = count(seen.messages.len() as u64, "message");
    let mut text = format!("  fetched messages\n    {number} in {path}\n");
    if seen.messages.iter().any(|one| one.at.is_none()) && !seen.messages.is_empty() {
        text.push_str("    some have no date: for these, `keep` counts from the import\n");
    }
    for (number, what) in [
        (
            seen.unfinished,
            "not fetched completely, so pouch will fetch them",
        ),
        (seen.derived, "recorded without a UID, so not taken over"),
    ] {
        if number > 0 {
            text.push_str(&format!("    {}: {what}\n", count(number, "message")));
        }
    }
    text
}

/// Returns the import as a JSON document.
pub(super) fn document(program: Program, imported: &Imported, candidates: &[Candidate]) -> Value {
    let accounts: Vec<_> = candidates.iter().map(account_document).collect();
    let problems: Vec<_> = imported
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.path.to_string_lossy(),
                "line": problem.at.map(|(line, _)| line),
                "column": problem.at.map(|(_, column)| column),
                "problem": sanitize(problem.what.as_bytes()),
            })
        })
        .collect();
    json!({
        "program": program.name(),
        "accounts": accounts,
        "general": line_documents(&imported.general),
        "problems": problems,
    })
}

fn line_documents(lines: &[Line]) -> Vec<Value> {
    let text = |text: &str| sanitize(text.as_bytes());
    let document = |line: &Line| {
        json!({
            "kind": line.kind.name(),
            "line": line.at,
            "setting": text(&line.setting),
            "before": line.before.as_deref().map(text),
            "now": text(&line.now),
        })
    };
    lines.iter().map(document).collect()
}

fn account_document(candidate: &Candidate) -> Value {
    let account = &candidate.account;
    let is_new = candidate.is_new();
    let seen = candidate.seen.as_ref().map(|seen| {
        json!({
            "file": seen.path.to_string_lossy(),
            "messages": seen.messages.len(),
            "unfinished": seen.unfinished,
            "without_uid": seen.derived,
        })
    });
    let server = candidate.outcome.map(|outcome| {
        json!({
            "messages": outcome.listed,
            "known": outcome.known,
            "recorded": outcome.recorded,
            "due": outcome.due,
        })
    });
    json!({
        "account": candidate.name(),
        "file": account.path.to_string_lossy(),
        "line": account.at,
        "usable": !account.is_unusable,
        "exists": candidate.existing.is_some(),
        "added": candidate.is_added,
        "toml": is_new.then(|| render::accounts(&[account])),
        "parity": line_documents(&account.lines),
        "seen": seen,
        "server": server,
        "problem": candidate.problem.as_ref().map(crate::report::json::error),
    })
}
