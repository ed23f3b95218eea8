//! The failures of a tunnel that only a person can resolve. The tunnel is a `connect-command` or is
//! started by `before`.
//!
//! Most failures are reported only once they have lasted a day, since a tunnel fails whenever the
//! network is down. But ssh(1) also fails if the host key of its server is unknown or has changed,
//! or if the server accepts none of the user's keys. Later runs would fail as well, so these
//! failures are reported at once. The exit status of ssh is 255 in all cases, so only the text on
//! standard error distinguishes them. OpenSSH does not translate its texts.

/// Texts that ssh prints, each with a hint.
const TEXTS: [(&str, &str); 2] = [
    (
        "Host key verification failed",
        "verify the host key of the SSH server, then add it to ~/.ssh/known_hosts of the user who \
         runs pouch",
    ),
    (
        "Permission denied (",
        "check that the SSH server accepts the key of the user who runs pouch, and that the key \
         needs no passphrase",
    ),
];

/// Returns the hint for a failure that only a person can resolve, given the lines that the command
/// printed, or `None` if the failure may be transient.
pub fn hint<'t>(printed: impl IntoIterator<Item = &'t str>) -> Option<&'static str> {
    printed.into_iter().find_map(|line| {
        let known = TEXTS.iter().find(|(text, _)| line.contains(text));
        known.map(|(_, hint)| *hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_by_ssh_is_not_transient() {
        for text in [
            "Host key verification failed.",
            "ann@gate: Permission denied (publickey,password,keyboard-interactive).",
        ] {
            assert!(hint([text]).is_some(), "{text}");
        }
    }

    #[test]
    fn failures_of_the_network_may_be_transient() {
        for text in [
            "ssh: connect to host gate port 22: Connection refused",
            "ssh: connect to host gate port 22: No route to host",
            "ssh: Could not resolve hostname gate: Name or service not known",
            "kex_exchange_identification: Connection closed by remote host",
            "channel 0: open failed: connect failed: Connection refused",
            "nc: connect to pop.example.org port 995 (tcp) failed: Permission denied",
        ] {
            assert_eq!(hint([text]), None, "{text}");
        }
    }
}
