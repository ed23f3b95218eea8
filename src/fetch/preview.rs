//! `pouch plan`: what a run would do.

use super::{
    basis::{Basis, Criteria},
    connect::{connect, with_access_hint},
    describe::{Describer, Detail, MessageDetails},
    destinations,
    env::{RunEnv, check_not_exported, without_wait},
    hooks,
    identify::{self, UnreadableHeaders},
    recover::{self, Recovery},
    survey::{Survey, SurveyMemory, Surveyed, decide, survey},
};
use crate::{
    config::Account,
    delivery::Router,
    domain::plan::{Mailbox, Plan, plan},
    error::{Error, Kind, Result},
    ledger::{LedgerFile, MaildirState, Reader},
    net::Stream,
    pop3::transaction::Transaction,
    sys::lock::Lock,
};

/// A plan that is not carried out.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The mailbox that the plan is for.
    pub mailbox: Mailbox,
    /// The description of each message, in the order of the listing. Empty with [`Detail::None`].
    pub messages: Vec<MessageDetails>,
    /// A problem that is reported with the plan.
    pub warning: Option<Error>,
}

/// Returns what [`fetch`](super::fetch) would do now.
///
/// Neither the ledger nor the mailbox can be changed: the ledger is opened read-only, and the
/// session ends without DELE. Running the code that writes on a copy of the ledger was rejected:
/// that nothing changes would depend on tests instead of on types.
///
/// # Errors
/// As for a real run.
pub fn preview(account: &Account, env: &RunEnv, detail: Detail) -> Result<Preview> {
    let (_lock, file) = env.lock_to_read(account).map_err(without_wait)?;
    let view = View::open(account, env, file)?;
    hooks::before(account, env)?;
    let secret = env.secret(account)?;
    let now = env.clock.now();
    let history = view
        .reader
        .as_ref()
        .map(Reader::login_history)
        .transpose()?;
    let remembered = history.and_then(|history| history.remembered(now));
    let mut session = connect(account, env, (&secret, remembered), &mut |_| {})?;
    let now = env.clock.now();
    let mut memory = SurveyMemory::default();
    let (view, survey) = view
        .survey(&mut session, account, env, &mut memory.unreadable)
        .map_err(|error| with_access_hint(error, account, env))?;
    let (listing, mut reconciled) = (survey.listing, survey.reconciled);
    // nothing will be recorded
    drop(survey.lock);
    let moved = survey.findings.recognized.moved.len();
    let warning = survey
        .warning
        .or(view.notice)
        .or(restored_notice(view.reader.as_ref())?)
        .or((moved > 0).then(|| identify::moved_notice(moved)));
    let criteria = Criteria {
        rules: &account.routing.rules,
        policy: account.policy,
        now,
    };
    let rules = &mut memory.rules;
    let decided = decide(&mut session, &criteria, &listing, &mut reconciled, rules);
    let mailbox = reconciled.mailbox;
    let (plan, warning, detail) = match decided {
        Ok(plan) => (plan, warning, detail),
        Err(error) => {
            let error = error.with_fact("the rules were not evaluated for the remaining messages");
            (
                plan(&account.policy, &mailbox, now),
                Some(error),
                detail.min(Detail::Known),
            )
        }
    };
    let describer = Describer {
        account,
        env,
        mailbox: &mailbox,
        rules: &memory.rules,
        listed: &listing.messages,
        messages: Vec::new(),
    };
    let (messages, problem) = describer.describe(view.reader.as_ref(), &mut session, detail)?;
    session.leave();
    Ok(Preview {
        plan,
        mailbox,
        messages,
        warning: warning.or(problem),
    })
}

/// Returns the notice about a ledger from a backup, which the next run completes.
fn restored_notice(reader: Option<&Reader>) -> Result<Option<Error>> {
    let restored = reader.map_or(Ok(None), Reader::restored_at)?;
    Ok(restored.map(|_| {
        Error::new(Kind::Unavailable, "the ledger was restored from a backup")
            .with_fact("the next run first looks for newer messages in the Maildirs of the account")
    }))
}

/// A mailbox as a preview reads it.
pub(super) struct View {
    file: LedgerFile,
    /// The ledger, or `None` if there is none yet.
    reader: Option<Reader>,
    router: Router,
    maildirs: Vec<MaildirState>,
    recovery: Recovery,
    /// The report that an address leads to a known mailbox.
    notice: Option<Error>,
    /// The lock of that mailbox.
    mailbox_lock: Option<Lock>,
}

impl View {
    /// Opens the ledger and the destinations without changing anything.
    pub(super) fn open(account: &Account, env: &RunEnv, file: LedgerFile) -> Result<Self> {
        let reader = Reader::open(&file, &account.identity().address)?;
        if let Some(reader) = &reader {
            check_not_exported(account, reader)?;
        }
        let router = destinations::open_existing(account, env, &file)?;
        let recovery = match &reader {
            Some(reader) if reader.was_interrupted()? => {
                recover::find_delivered(reader, &router, account)?
            }
            _ => Recovery::default(),
        };
        Ok(Self {
            file,
            reader,
            router,
            maildirs: destinations::maildirs(account),
            recovery,
            notice: None,
            mailbox_lock: None,
        })
    }

    /// Surveys the mailbox. If the address leads to a known one, the view becomes one of that.
    fn survey(
        mut self,
        session: &mut Transaction<Stream>,
        account: &Account,
        env: &RunEnv,
        unreadable: &mut UnreadableHeaders,
    ) -> Result<(Self, Box<Survey>)> {
        loop {
            match survey(session, &self.basis(account, env), unreadable)? {
                Surveyed::Mailbox(survey) => return Ok((self, survey)),
                // once, since it is not compared with others then
                Surveyed::Elsewhere(recognised) => {
                    let file = recognised.mailbox.file.clone();
                    let lock = env.lock_key(file.key(), env.patience);
                    self = Self {
                        mailbox_lock: Some(lock.map_err(without_wait)?),
                        notice: Some(recognised.notice(account)),
                        ..Self::open(account, env, file)?
                    };
                }
            }
        }
    }

    pub(super) fn basis<'a>(&'a self, account: &'a Account, env: &'a RunEnv) -> Basis<'a> {
        Basis {
            account,
            env,
            file: &self.file,
            reader: self.reader.as_ref(),
            router: &self.router,
            maildirs: &self.maildirs,
            recovered: &self.recovery.delivered,
            is_recognised: self.mailbox_lock.is_some(),
            now: env.clock.now(),
        }
    }
}
