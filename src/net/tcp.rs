//! TCP: the look-up of a host name, and its addresses one after another, within one time limit.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use crate::{
    error::{Error, Kind, Result},
    text::count,
};

/// The hint about the address of an account that is given as a URL.
pub(super) const URL_HINT: &str = "check the host and the port in the URL: pops:// is for TLS \
                                   (port 995), pop:// for STARTTLS (port 110)";

/// Connects to one of the addresses of `host`.
pub(super) fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream> {
    let budget = deadline.saturating_duration_since(Instant::now());
    let addresses = resolve(host, port)?;
    let mut failures = Vec::new();
    let mut any_timed_out = false;
    let mut unreachable = 0;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            any_timed_out = true;
            failures.push(format!("{address}: not tried: connect-timeout used up"));
            continue;
        }
        match TcpStream::connect_timeout(address, share(left, addresses.len() - tried)) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => {
                any_timed_out |= error.kind() == ErrorKind::TimedOut;
                if matches!(
                    error.kind(),
                    ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
                ) {
                    unreachable += 1;
                }
                failures.push(format!("{address}: {error}"));
            }
        }
    }
    let error = if addresses.is_empty() {
        Error::new(Kind::NoHost, format!("{host} has no address"))
    } else if unreachable == addresses.len() {
        Error::new(
            Kind::TimedOut,
            format!("cannot reach {host}: the network is unreachable"),
        )
    } else if any_timed_out {
        timed_out(host, budget).with_fact(format!(
            "{} tried",
            count(addresses.len() as u64, "address")
        ))
    } else {
        Error::new(
            Kind::Refused,
            format!("{host} refused the connection on port {port}"),
        )
        .with_hint(
            "check `host`, `port` and `tls`; 995 is for tls = \"implicit\", 110 for \"starttls\"",
        )
        .with_url_hint(URL_HINT)
    };
    Err(failures.into_iter().fold(error, Error::with_fact))
}

/// Returns the addresses of `host`, in the order in which the system prefers them.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found =
        getaddrinfo(Some(host), None, Some(hints)).map_err(|error| unresolved(host, error))?;
    Ok(found
        .flatten()
        .map(|found| {
            let mut address = found.sockaddr;
            address.set_port(port);
            address
        })
        .collect())
}

/// Returns the error about a name that was not resolved. The resolver's code tells whether the name
/// is wrong: `EAI_AGAIN` means that no name server answered, `EAI_SYSTEM` and `EAI_MEMORY` that
/// this machine lacks something.
fn unresolved(host: &str, error: LookupError) -> Error {
    let temporary = matches!(
        error.kind(),
        LookupErrorKind::Again | LookupErrorKind::System | LookupErrorKind::Memory
    );
    let said = io::Error::from(error).to_string();
    let words = said
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&said);
    let fact = format!("resolver: {words}");
    if temporary {
        Error::new(Kind::Offline, format!("temporary failure resolving {host}")).with_fact(fact)
    } else {
        Error::new(Kind::NoHost, format!("host {host} not found"))
            .with_fact(fact)
            .with_hint("check `host` in the config")
            .with_url_hint("check the host name in the URL")
    }
}

/// Returns the time for the next of `addresses_left` addresses.
///
/// All but the last get half of the remaining time: a dead first address (IPv6 without a route)
/// leaves enough for the others, a slow one gets more than an equal share.
fn share(left: Duration, addresses_left: usize) -> Duration {
    if addresses_left > 1 { left / 2 } else { left }
}

/// Returns the error for a connection that was not established in time.
pub(super) fn timed_out(host: &str, budget: Duration) -> Error {
    // part of the budget may have been used by then
    let seconds = budget.as_secs_f64().round();
    Error::new(
        Kind::TimedOut,
        format!("connecting to {host} timed out after {seconds} s"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of glibc and musl.
    const EAI_NONAME: i32 = -2;
    const EAI_AGAIN: i32 = -3;
    const EAI_NODATA: i32 = -5;
    const EAI_SYSTEM: i32 = -11;

    #[test]
    fn resolver_codes_separate_temporary_from_unknown() {
        for (code, kind) in [
            (EAI_AGAIN, Kind::Offline),
            (EAI_SYSTEM, Kind::Offline),
            (EAI_NONAME, Kind::NoHost),
            (EAI_NODATA, Kind::NoHost),
        ] {
            let error = unresolved("pop.example.org", LookupError::new(code));
            assert_eq!(error.kind(), kind, "{code}");
        }
    }

    #[test]
    fn invalid_names_are_not_found() {
        for name in ["-invalid-", "two words", "nul\0"] {
            assert_eq!(resolve(name, 995).unwrap_err().kind(), Kind::NoHost);
        }
    }

    #[test]
    fn addresses_need_no_resolver() {
        for (host, address) in [("127.0.0.1", "127.0.0.1:995"), ("::1", "[::1]:995")] {
            assert_eq!(resolve(host, 995).unwrap(), [address.parse().unwrap()]);
        }
    }
}
