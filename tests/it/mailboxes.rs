//! A server with three mailboxes, for accounts that are not in the main config file.

use crate::{
    server::{Server, corpus},
    support::{Home, run::Output},
};

/// The users of the server. Each has one message, with a number of its own.
pub const USERS: [&str; 3] = ["ann", "ben", "cleo"];

/// A home directory, and a server with a mailbox for each of [`USERS`].
pub struct Mailboxes {
    pub home: Home,
    pub server: Server,
}

impl Mailboxes {
    /// Starts the server. `password` returns the password of the user with this number, from 1.
    pub fn new(password: impl Fn(usize) -> String) -> Self {
        let setup = USERS
            .iter()
            .zip(1..)
            .fold(Server::plain(), |setup, (user, n)| {
                let password = password(n);
                let setup = if n == 1 {
                    setup.user(user, &password)
                } else {
                    setup.another_user(user, &password)
                };
                setup.message(format!("uid-{n}"), corpus::message(n))
            });
        Self {
            home: Home::new(),
            server: setup.start(),
        }
    }

    /// Returns the defaults of all accounts, with further lines.
    pub fn defaults(&self, lines: &str) -> String {
        format!(
            "[defaults]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"off\"\n\
             allow-plaintext-password = true\ntimeout = \"5s\"\n{lines}\n",
            self.server.port()
        )
    }

    #[track_caller]
    pub fn run(&self, args: &[&str], code: i32) -> Output {
        let output = self.home.pouch(args).run();
        output.assert_code(code);
        output
    }

    /// Asserts which of [`USERS`] have their mail.
    #[track_caller]
    pub fn assert_arrived(&self, users: &[&str]) {
        for (user, n) in USERS.iter().zip(1..) {
            let dir = format!("Mail/{user}");
            if users.contains(user) {
                let expected = [corpus::on_disk(&corpus::message(n))];
                self.home.maildir(dir).assert_exactly(&expected);
            } else {
                assert!(!self.home.join(dir).exists(), "{user}");
            }
        }
    }
}

/// Returns the table of an account, with further lines.
pub fn account(user: &str, lines: &str) -> String {
    format!("[account.{user}]\nuser = \"{user}\"\n{lines}maildir = \"~/Mail/{user}\"\n")
}
