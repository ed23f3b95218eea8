//! Authentication methods.

/// A method to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// SASL PLAIN if the server offers it, otherwise USER and PASS.
    Auto,
    /// SASL PLAIN (RFC 4616, RFC 5034).
    Plain,
    /// USER and PASS (RFC 1939 §7).
    User,
}
