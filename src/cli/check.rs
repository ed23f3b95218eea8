//! `pouch check`: each step of a real run, told as it succeeds, on the same code path.

use std::{path::Path, time::Instant};

use serde_json::{Value, json};

use super::{Context, Outcome, args::Accounts, fetch, print_json};
use crate::{
    config::{Account, Place, Tls, resolve::Overrides},
    delivery::Maildir,
    error::{Error, Exit, Kind, Result},
    fetch::{
        World,
        connect::{Milestone, connect, show_certificate},
        place,
    },
    pop3::reply::Capabilities,
    report::{complain, form, json, print},
    secret,
    text::{count, day, shown, tilde},
    units::Size,
};

pub(super) fn run(context: &Context, accounts: &Accounts) -> Outcome {
    let accounts = context.setup.accounts(&accounts.accounts, &Overrides { nowhere: true, ..Overrides::default() })?;
    let world = fetch::world(context, &accounts);
    let mut exit = Exit::OK;
    let mut documents = Vec::new();
    for account in &accounts {
        if accounts.len() > 1 && !context.global.json {
            print(&format!("{}\n", account.name))?;
        }
        let mut steps = Steps { context, done: Vec::new() };
        let result = check(account, &world, &mut steps);
        let mut document = json!({ "account": account.name, "steps": steps.done });
        if let Err((step, error)) = result {
            exit = exit.worst(error.kind().exit());
            if context.global.json {
                document["failed"] = step.into();
                document["problem"] = json::error(&error);
            } else {
                print(&format!("  {step:8} {}\n", context.colour.alarm("failed")))?;
                complain(&form(Some(&account.name), &error, context.colour));
            }
        }
        documents.push(document);
    }
    if context.global.json {
        print_json(&json!({ "accounts": documents }))?;
    }
    Ok(exit)
}

/// The steps that succeeded, shown as they do.
struct Steps<'a> {
    context: &'a Context,
    done: Vec<Value>,
}

impl Steps<'_> {
    fn ok(&mut self, step: &str, what: &str) {
        if !self.context.global.json {
            // where nobody reads it any more, the exit code still tells
            let _ = print(&format!("  {step:8} {}    {what}\n", self.context.colour.good("ok")));
        }
        self.done.push(json!({ "step": step, "what": what }));
    }
}

type Step = &'static str;

/// Goes through the steps; the first that fails is named.
fn check(account: &Account, world: &World, steps: &mut Steps<'_>) -> std::result::Result<(), (Step, Error)> {
    world.ledger(account).map_err(|error| ("ledger", error))?;
    let began = Instant::now();
    let secret = world.secret(account).map_err(|error| ("secret", error))?;
    steps.ok("secret", &format!("{}, {}", secret::described(&account.secret, &world.home), tenths(began)));
    let began = Instant::now();
    let mut reached = "connect";
    let session = connect(account, world, &secret, &mut |milestone| match milestone {
        Milestone::Connected(address) => {
            steps.ok("connect", &format!("{} ({address}), {} ms", account.address(), began.elapsed().as_millis()));
            reached = if account.tls == Tls::Off { "login" } else { "tls" };
        }
        Milestone::Secured(certificate) => {
            let certificate = certificate.map_or_else(
                || "trusted certificate".into(),
                |certificate| {
                    let until = certificate.until.map(|until| format!(", until {}", day(until))).unwrap_or_default();
                    format!("trusted certificate{until}, {}", certificate.pin())
                },
            );
            steps.ok("tls", &certificate);
            reached = "login";
        }
        Milestone::LoggedIn(mechanism) => {
            steps.ok("login", &mechanism.to_string());
            reached = "server";
        }
    });
    let mut session = session.map_err(|error| (reached, certificate_shown(reached, error, account, world)))?;
    let listing = session.list().map_err(|error| ("server", error))?;
    let total = count((listing.messages.len() + listing.nameless.len()) as u64, "message");
    steps.ok("server", &format!("{}; {total}", abilities(session.capabilities())));
    // nothing is marked: QUIT changes nothing
    session.leave();
    let place = deliverable(account, world).map_err(|error| ("deliver", error))?;
    steps.ok("deliver", &place);
    Ok(())
}

fn tenths(began: Instant) -> String {
    let millis = began.elapsed().as_millis();
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// Where the certificate was not trusted: which one it is.
fn certificate_shown(step: Step, error: Error, account: &Account, world: &World) -> Error {
    if step != "tls" || error.kind() != Kind::Denied {
        return error;
    }
    match show_certificate(account, world) {
        Some(certificate) => error.fact(format!("its certificate is {}", certificate.pin())),
        None => error,
    }
}

/// What the server can do, as far as it matters to pouch.
fn abilities(capabilities: Option<&Capabilities>) -> String {
    let Some(known) = capabilities else {
        return "does not tell what it can do (no CAPA)".into();
    };
    let mut words: Vec<_> = ["UIDL", "TOP", "PIPELINING"].into_iter().filter(|tag| known.has(tag)).collect();
    if words.is_empty() {
        words.push("nothing beyond RFC 1939");
    }
    let expire = known.arguments("EXPIRE").and_then(|mut arguments| arguments.next());
    let deletes = match expire {
        Some(never) if never.eq_ignore_ascii_case("NEVER") => "; deletes nothing by itself (EXPIRE NEVER)".into(),
        Some("0") => "; may delete what was fetched by itself (EXPIRE 0)".into(),
        Some(days) => format!("; deletes by itself after {} days", shown(days.as_bytes())),
        None => String::new(),
    };
    format!("{}{deletes}", words.join(" "))
}

/// Whether messages can be delivered, without delivering any.
fn deliverable(account: &Account, world: &World) -> Result<String> {
    let place = world.shown(&account.place);
    match &account.place {
        Place::Pipe(argv) => {
            let found = argv.first().is_some_and(|name| executable(Path::new(name), world.path.as_deref()));
            if found {
                Ok(format!("{place}, gets each message on standard input"))
            } else {
                Err(Error::new(Kind::Config, format!("there is no program {place}"))
                    .hint("`pipe` is a list, the program and its arguments"))
            }
        }
        Place::Maildir(path) => {
            if !Maildir::exists(path)? {
                return makeable(path).map(|()| format!("{place}, will be made"));
            }
            for part in ["tmp", "new"] {
                writable(&path.join(part))?;
            }
            Ok(format!("{place}, writable{}", free(path)))
        }
        Place::Mbox(path) => {
            let mbox = place::mbox(path, account, world)?;
            if !path.exists() {
                return makeable(path).map(|()| format!("{place}, will be made"));
            }
            let locks = if mbox.try_locks()? {
                "locked by fcntl and dot lock".into()
            } else {
                format!("locked by fcntl alone: no dot lock can be made in {}", tilde(folder_of(path), &world.home))
            };
            Ok(format!("{place}, writable, {locks}{}", free(path)))
        }
        Place::Lmtp(server, recipients) => {
            let offers = place::lmtp(server, account, world).offers()?;
            Ok(format!("{place}, offers {offers}; for {}", recipients.join(", ")))
        }
        Place::Stdout => Ok(place),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether what is not there yet can be made.
fn makeable(path: &Path) -> Result<()> {
    writable(path.ancestors().find(|parent| parent.is_dir()).unwrap_or(Path::new("/")))
}

/// The room on the disk of `path`, where that can be told.
fn free(path: &Path) -> String {
    let free = rustix::fs::statvfs(path).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    free.map(|octets| format!(", {} free", Size::from_octets(octets).rounded())).unwrap_or_default()
}

fn writable(path: &Path) -> Result<()> {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| Error::file("write to", path, &error.into()))
}

fn executable(name: &Path, path: Option<&std::ffi::OsStr>) -> bool {
    let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if name.components().count() > 1 {
        return runs(name);
    }
    path.is_some_and(|path| std::env::split_paths(path).any(|folder| runs(&folder.join(name))))
}
