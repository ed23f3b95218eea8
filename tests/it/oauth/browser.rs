//! A browser for the pages of the issuer: it fills forms, keeps cookies and follows redirects.

use std::{collections::BTreeMap, time::Duration};

use ureq::{
    Agent,
    http::header,
    tls::{TlsConfig, TlsProvider},
};
use url::{Url, form_urlencoded};

/// The maximum number of pages of a sign-in.
const MOST_PAGES: usize = 20;

/// The user's choice on a page that asks for consent to a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    Approve,
    Deny,
}

/// A browser with its cookies.
pub struct Browser {
    agent: Agent,
    cookies: BTreeMap<String, String>,
}

/// A page: its address and content, or the address to which it redirects.
struct Page {
    url: Url,
    redirect: Option<Url>,
    text: String,
}

impl Browser {
    pub fn new() -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .disable_verification(true)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .proxy(None)
            .build();
        Self {
            agent: config.new_agent(),
            cookies: BTreeMap::new(),
        }
    }

    /// Requests a page, without following a redirect. Returns its status and content.
    pub fn get(url: &str) -> (u16, String) {
        let mut response = Self::new().agent.get(url).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), text)
    }

    /// Signs in as `user` at an authorization URL. Returns the address of another host to which the
    /// issuer redirects, without visiting it.
    #[track_caller]
    pub fn sign_in(&mut self, address: &str, user: &str) -> String {
        let start = Url::parse(address).unwrap();
        let mut page = self.request(&start, None);
        for _ in 0..MOST_PAGES {
            if let Some(redirect) = &page.redirect {
                if redirect.origin() != start.origin() {
                    return redirect.to_string();
                }
                page = self.request(&redirect.clone(), None);
                continue;
            }
            let mut form = page.form();
            if form.fields.contains_key("login") {
                form.set("login", user);
                form.set("password", "any");
            }
            page = self.request(&form.action, Some(&form.fields));
        }
        panic!("the issuer's pages do not end:\n{}", page.text);
    }

    /// Enters the code of a device as `user`, at the page at `address`.
    #[track_caller]
    pub fn enter_code(&mut self, address: &str, code: &str, user: &str, choice: Choice) {
        let mut page = self.request(&Url::parse(address).unwrap(), None);
        for _ in 0..MOST_PAGES {
            if let Some(redirect) = page.redirect.take() {
                page = self.request(&redirect, None);
                continue;
            }
            if page.text.contains("Sign-in Success") {
                return;
            }
            let mut form = page.form();
            let asks_for_consent = page.text.contains("confirm");
            if form.fields.contains_key("user_code") || !asks_for_consent {
                form.set("user_code", code);
            }
            if form.fields.contains_key("login") {
                form.set("login", user);
                form.set("password", "any");
            }
            if asks_for_consent && choice == Choice::Deny {
                form.set("abort", "yes");
                self.request(&form.action, Some(&form.fields));
                return;
            }
            if asks_for_consent {
                form.set("confirm", "yes");
            }
            page = self.request(&form.action, Some(&form.fields));
        }
        panic!("the issuer's pages do not end:\n{}", page.text);
    }

    #[track_caller]
    fn request(&mut self, url: &Url, form: Option<&BTreeMap<String, String>>) -> Page {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let response = match form {
            None => self
                .agent
                .get(url.as_str())
                .header(header::COOKIE, &cookies)
                .call(),
            Some(fields) => {
                let body: String = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                self.agent
                    .post(url.as_str())
                    .header(header::COOKIE, &cookies)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .send(body.as_str())
            }
        };
        let mut response = response.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let redirect = response.headers().get(header::LOCATION);
        let redirect = redirect.map(|to| url.join(to.to_str().unwrap()).unwrap());
        Page {
            url: url.clone(),
            redirect,
            text: response.body_mut().read_to_string().unwrap(),
        }
    }
}

/// A form of a page.
struct Form {
    action: Url,
    fields: BTreeMap<String, String>,
}

impl Form {
    fn set(&mut self, name: &str, value: &str) {
        self.fields.insert(name.to_owned(), value.to_owned());
    }
}

impl Page {
    /// Returns the first form, with its fields.
    #[track_caller]
    fn form(&self) -> Form {
        let form = tags(&self.text, "form").next();
        let form = form.unwrap_or_else(|| panic!("{} has no form:\n{}", self.url, self.text));
        let action = attribute(form, "action").unwrap_or_default();
        let fields = tags(&self.text, "input").filter_map(|input| {
            let value = attribute(input, "value").unwrap_or_default();
            Some((attribute(input, "name")?, value))
        });
        Form {
            action: self.url.join(&action).unwrap(),
            fields: fields.collect(),
        }
    }
}

/// Returns the text of each tag of this name.
fn tags<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("<{name} ");
    let parts: Vec<_> = text.split(&begin).skip(1).collect();
    parts
        .into_iter()
        .map(|part| part.split('>').next().unwrap_or_default())
}

/// Returns the value of an attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(rest.split('"').next()?.to_owned())
}
