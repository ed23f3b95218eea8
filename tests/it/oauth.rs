//! Signing in with OAuth 2.0, against a real issuer and a Dovecot that accepts its tokens.

pub mod browser;
mod endpoint;
mod flows;
mod proxied;
mod renewal;
mod root;

use std::fs;

use url::Url;

use crate::{
    real::{ALICE, RealServer},
    server::corpus,
    support::{
        Home,
        run::{Child, Output, Run},
    },
};
use browser::Browser;

/// An account that signs in at an issuer, and its servers.
struct Bench {
    home: Home,
    issuer: RealServer,
    dovecot: RealServer,
}

impl Bench {
    /// Starts an issuer with these options, and a Dovecot with the messages 1 to 3.
    fn new(options: &[&str]) -> Self {
        let issuer = RealServer::start("oauth", options);
        let introspection = format!("oauth={}", issuer.value("introspection_url"));
        let bench = Self {
            home: Home::new(),
            dovecot: RealServer::start("dovecot", &[&introspection]),
            issuer,
        };
        let messages = [1, 2, 3].map(corpus::message);
        bench.dovecot.inject(ALICE, &messages);
        bench.configure("client-id = \"pop-client\"");
        bench
    }

    /// Writes a config with an account, and these keys in its table `oauth`.
    fn configure(&self, keys: &str) {
        self.home.config(&self.account_at_issuer("work", keys));
    }

    /// Returns the table of an account that signs in at the issuer, with further keys of `oauth`.
    fn account_at_issuer(&self, name: &str, keys: &str) -> String {
        let issuer = self.issuer.value("issuer");
        let keys = format!("issuer = \"{issuer}\", scope = [\"mail\", \"offline_access\"], {keys}");
        self.account(name, &keys)
    }

    /// Returns the table of an account with these keys of `oauth`.
    fn account(&self, name: &str, keys: &str) -> String {
        format!(
            "[account.{name}]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"{ALICE}\"\n\
             tls-ca-file = \"{}\"\nmaildir = \"~/Mail/{name}\"\noauth = {{ {keys} }}\n",
            self.dovecot.port("pop3s"),
            self.dovecot.value("ca_file"),
        )
    }

    /// Returns a run of pouch.
    fn pouch(&self, args: &[&str]) -> Run {
        self.home.pouch(args)
    }

    /// Starts `pouch login`, and returns it with the address for the browser.
    fn begin_login(&self, args: &[&str]) -> (Child, String) {
        let mut all = vec!["login", "--no-browser"];
        all.extend(args);
        let mut login = self.pouch(&all).spawn();
        login.wait_for("waiting for the browser");
        let url = address(&login.stdout());
        (login, url)
    }

    /// Signs in by the browser.
    fn sign_in(&self) -> Output {
        let (login, url) = self.begin_login(&[]);
        let redirect = Browser::new().sign_in(&url, ALICE);
        assert_eq!(Browser::get(&redirect).0, 200);
        let output = login.wait();
        output.assert_code(0);
        output
    }

    /// Returns the file with the tokens.
    fn tokens(&self) -> std::path::PathBuf {
        let folder = self.home.state().join("oauth");
        let mut files = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        files
            .find(|file| file.extension().is_some_and(|end| end == "json"))
            .unwrap()
    }

    /// Returns a value of the file with the tokens.
    fn stored(&self, key: &str) -> serde_json::Value {
        let bytes = fs::read(self.tokens()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()[key].clone()
    }

    /// Changes a value of the file with the tokens.
    fn store(&self, key: &str, value: serde_json::Value) {
        let path = self.tokens();
        let mut all: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        all[key] = value;
        fs::write(path, all.to_string()).unwrap();
    }

    /// Makes the access token expire.
    fn expire(&self) {
        self.store("expires", 1.into());
    }

    /// Returns the requests to the token endpoint, as lines of the issuer's log.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(format!("{}/oauth.log", self.issuer.value("log"))).unwrap();
        let token = log.lines().filter(|line| line.contains(" token "));
        token.map(str::to_owned).collect()
    }

    /// Returns the number of requests to the token endpoint that the issuer refused.
    fn refused(&self) -> usize {
        let is_refused = |line: &&String| line.contains("invalid_grant");
        self.requests().iter().filter(is_refused).count()
    }
}

/// Returns the address that `pouch login` printed.
fn address(output: &str) -> String {
    let mut words = output.split_whitespace();
    let url = words.find(|word| Url::parse(word).is_ok_and(|url| url.has_host()));
    url.unwrap().to_owned()
}
