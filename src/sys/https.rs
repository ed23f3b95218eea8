//! Clients for HTTPS.
//!
//! ureq with OpenSSL, so that certificates are checked by the same library and with the same
//! authorities as those of POP3 servers. Redirects are never followed here: the caller decides
//! whether a request may be sent to another host.

use std::{fs, path::Path, time::Duration};

use openssl::x509::X509;
use ureq::{
    Agent, Proxy, ProxyProtocol,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Kind, Result},
    text::tilde,
};

/// The certificate authorities to trust.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those that OpenSSL finds on this system.
    System,
    /// Only these certificates (DER).
    Only(Vec<Vec<u8>>),
}

impl Roots {
    /// Reads the authorities from a PEM file.
    ///
    /// # Errors
    /// [`Kind::Config`] if the file cannot be read or has no certificate.
    pub fn from_file(path: &Path, home: &Path) -> Result<Self> {
        let unusable = |fact: String| {
            let what = format!("cannot use `ca-file` {}", tilde(path, home));
            Error::new(Kind::Config, what).with_fact(fact)
        };
        let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let stack = X509::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        if stack.is_empty() {
            return Err(unusable("it contains no certificate".into()));
        }
        let der: std::result::Result<_, _> = stack.iter().map(|root| root.to_der()).collect();
        der.map(Self::Only)
            .map_err(|error| unusable(error.to_string()))
    }
}

/// The route to a web server.
#[derive(Clone, Debug)]
pub enum Via {
    /// The proxy that the environment names (`https_proxy`, `no_proxy`), or none.
    Environment,
    /// No proxy.
    Direct,
    /// This proxy, which resolves the host name.
    Proxy {
        /// `true` for SOCKS 5, `false` for CONNECT.
        socks: bool,
        /// The proxy's name or address.
        host: String,
        /// The proxy's port.
        port: u16,
        /// The user name and the password for the proxy, if it requires them.
        login: Option<(String, Zeroizing<String>)>,
    },
}

impl Via {
    /// Returns the proxy.
    ///
    /// # Errors
    /// [`Kind::Config`] if it cannot be used.
    fn proxy(&self) -> Result<Option<Proxy>> {
        let (socks, host, port, login) = match self {
            Self::Environment => return Ok(Proxy::try_from_env()),
            Self::Direct => return Ok(None),
            Self::Proxy {
                socks,
                host,
                port,
                login,
            } => (*socks, host, *port, login),
        };
        let protocol = if socks {
            ProxyProtocol::Socks5
        } else {
            ProxyProtocol::Http
        };
        let mut proxy = Proxy::builder(protocol)
            .host(host)
            .port(port)
            .resolve_target(false);
        if let Some((user, password)) = login {
            proxy = proxy.username(user).password(password);
        }
        proxy.build().map(Some).map_err(|error| {
            let what = format!("cannot use the proxy {host}:{port} for HTTPS");
            Error::new(Kind::Config, what).with_fact(error.to_string())
        })
    }
}

/// Returns a client that trusts `roots`, connects `via` a proxy, and accepts the media type
/// `accept`. A request has to be answered within `time_limit`.
///
/// # Errors
/// [`Kind::Config`] if the proxy cannot be used.
pub fn agent(roots: Roots, via: &Via, time_limit: Duration, accept: &str) -> Result<Agent> {
    let roots = match roots {
        Roots::System => RootCerts::PlatformVerifier,
        Roots::Only(der) => {
            let certificates: Vec<_> = der
                .iter()
                .map(|der| Certificate::from_der(der).to_owned())
                .collect();
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::NativeTls)
        .root_certs(roots)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .proxy(via.proxy()?)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(time_limit))
        .max_idle_connections(0)
        .user_agent(concat!("pouch/", env!("CARGO_PKG_VERSION")))
        .accept(accept)
        .build();
    Ok(config.new_agent())
}

/// Returns the port of the proxy that the environment names for HTTPS.
pub fn proxy_port() -> Option<u16> {
    Proxy::try_from_env().map(|proxy| proxy.port())
}
