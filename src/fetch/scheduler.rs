//! The scheduler, which fetches several accounts at once.
//!
//! Accounts on different hosts run in parallel, and accounts on one host one after the other. A
//! provider may limit logins or connections per client, and answers a second connection with a
//! refusal that looks like a wrong password. Parallel sessions with one server were therefore
//! rejected, even though they would be faster on some. The unit of work is the host, not the
//! account, so that a thread takes the next host as soon as it is free.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{
    config::Account,
    event::Summary,
    fetch::{env::RunEnv, fetch},
};

/// Fetches all `accounts`, from up to `jobs` hosts at a time. Returns the summaries in the order of
/// `accounts`; after a signal, those of the accounts that were run.
pub fn fetch_all(accounts: &[Account], jobs: usize, env: &RunEnv) -> Vec<Summary> {
    let hosts = Mutex::new(by_host(accounts));
    let done = Mutex::new(Vec::new());
    let work = || {
        // a poisoned lock is safe to use: the list is complete between two calls
        while let Some(host) = {
            hosts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        } {
            for index in host {
                if env.stop.signal().is_some() {
                    return;
                }
                let summary = fetch(&accounts[index], env);
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((index, summary));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(accounts.len()) {
            // without another thread, fewer hosts run in parallel
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, summary)| summary).collect()
}

/// Returns the indices of the accounts, in one list per host.
fn by_host(accounts: &[Account]) -> VecDeque<Vec<usize>> {
    let mut hosts: VecDeque<(String, Vec<usize>)> = VecDeque::new();
    for (index, account) in accounts.iter().enumerate() {
        let host = account.identity().address.host;
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, indices)) => indices.push(index),
            None => hosts.push_back((host, vec![index])),
        }
    }
    hosts.into_iter().map(|(_, indices)| indices).collect()
}
