//! How a login proves who the user is.

/// The ways to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// SASL PLAIN where the server offers it, else USER and PASS.
    Auto,
    /// SASL PLAIN (RFC 4616, RFC 5034).
    Plain,
    /// USER and PASS (RFC 1939 §7).
    User,
}
