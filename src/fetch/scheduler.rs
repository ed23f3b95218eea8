//! Several accounts at once: hosts side by side, the accounts of one host one after another.

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

/// Fetches all `accounts`, `jobs` hosts at a time; gives the summaries in the order of `accounts`.
pub fn fetch_all(accounts: &[Account], jobs: usize, env: &RunEnv) -> Vec<Summary> {
    let hosts = Mutex::new(by_host(accounts));
    let done = Mutex::new(Vec::new());
    let work = || {
        // a lock that another thread poisoned guards nothing but a list
        while let Some(host) = {
            hosts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        } {
            for place in host {
                if env.stop.signal().is_some() {
                    return;
                }
                let summary = fetch(&accounts[place], env);
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((place, summary));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(accounts.len()) {
            // where the system starts no more threads, fewer hosts go side by side
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, summary)| summary).collect()
}

/// The places of the accounts, one list a host.
fn by_host(accounts: &[Account]) -> VecDeque<Vec<usize>> {
    let mut hosts: VecDeque<(String, Vec<usize>)> = VecDeque::new();
    for (place, account) in accounts.iter().enumerate() {
        let host = account.identity().host;
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, places)) => places.push(place),
            None => hosts.push_back((host, vec![place])),
        }
    }
    hosts.into_iter().map(|(_, places)| places).collect()
}
