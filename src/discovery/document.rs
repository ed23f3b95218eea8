//! Requests for documents over HTTPS, with limits.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use ureq::{Agent, http::header};
use url::Url;

use crate::{
    error::Result as Checked,
    sys::https::{self, Roots, Via},
};

/// The time limit for a document, with all redirects.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The longest document, in bytes.
const MAX_DOCUMENT: u64 = 256 * 1024;

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Returns a client for documents.
///
/// # Errors
/// The proxy cannot be used.
pub fn agent(roots: Roots, via: &Via) -> Checked<Agent> {
    https::agent(roots, via, TIME_LIMIT, "application/xml, text/xml")
}

/// Requests a document. Redirects are followed to HTTPS only, since an attacker could change the
/// response to an unencrypted request, and name any server.
///
/// # Errors
/// There is no such document. The error is a clause.
pub(super) fn get(agent: &Agent, url: &str) -> Result<Vec<u8>, String> {
    let mut url = Url::parse(url).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + TIME_LIMIT;
    for _ in 0..=MAX_REDIRECTS {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = agent.get(url.as_str()).config();
        // zero would be no limit
        let request = request.timeout_global(Some(left.max(Duration::from_millis(1))));
        let mut reply = request.build().call().map_err(|error| reason(&error))?;
        let status = reply.status();
        if status.is_redirection() {
            let location = reply.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            url = location
                .and_then(|location| url.join(location).ok())
                .filter(|target| target.scheme() == "https" && target.has_host())
                .ok_or("it redirects to an address without HTTPS")?;
            continue;
        }
        if status.as_u16() != 200 {
            return Err(format!("HTTP status {}", status.as_u16()));
        }
        let mut document = Vec::new();
        let body = reply.body_mut().as_reader();
        body.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut document)
            .map_err(|error| reason(&error.into()))?;
        if document.len() as u64 > MAX_DOCUMENT {
            return Err("the document is larger than 256 KiB".into());
        }
        return Ok(document);
    }
    Err(format!("it redirects more than {MAX_REDIRECTS} times"))
}

/// Returns why a request has no response.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "no such host".into(),
        ureq::Error::Timeout(_) => format!("no answer within {} s", TIME_LIMIT.as_secs()),
        ureq::Error::Io(error) => clause(&error.to_string()),
        error => clause(&error.to_string()),
    }
}

/// Returns the part of an error's text for the user. OpenSSL puts the detail in parentheses.
fn clause(text: &str) -> String {
    if text.contains("certificate verify failed") {
        let detail = text.rsplit_once('(').map(|(_, detail)| detail);
        let detail = detail.and_then(|detail| detail.strip_suffix(')'));
        return match detail {
            Some(detail) => format!("its certificate is not trusted: {detail}"),
            None => "its certificate is not trusted".into(),
        };
    }
    if text.contains("failed to lookup address") {
        return "no such host".into();
    }
    text.rsplit_once(" (os error ")
        .map_or(text, |(text, _)| text)
        .to_owned()
}
