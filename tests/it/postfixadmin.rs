//! `contrib/postfixadmin`, with a real database server. These tests need root: the server does not
//! run as root, and is started as another user.

use std::{fs, path::PathBuf};

use insta::assert_snapshot;

use crate::{
    server::{Server, corpus},
    support::{Home, run::Output},
};

/// The table `fetchmail`, with the columns of version 3.
const TABLE: &str = "
CREATE TABLE fetchmail (
  id serial PRIMARY KEY,
  domain varchar(255) DEFAULT '',
  mailbox varchar(255) NOT NULL DEFAULT '',
  src_server varchar(255) NOT NULL DEFAULT '',
  src_auth varchar(15) NOT NULL DEFAULT 'password',
  src_user varchar(255) NOT NULL DEFAULT '',
  src_password varchar(255) NOT NULL DEFAULT '',
  src_folder varchar(255) NOT NULL DEFAULT '',
  src_port integer NOT NULL DEFAULT 0,
  poll_time integer NOT NULL DEFAULT 10,
  fetchall boolean NOT NULL DEFAULT false,
  keep boolean NOT NULL DEFAULT false,
  protocol varchar(15) NOT NULL DEFAULT 'POP3',
  usessl boolean NOT NULL DEFAULT false,
  sslcertck boolean NOT NULL DEFAULT false,
  sslcertpath varchar(255) DEFAULT '',
  sslfingerprint varchar(255) DEFAULT '',
  extra_options text,
  returned_text text,
  mda varchar(255) NOT NULL DEFAULT '',
  date timestamptz DEFAULT now(),
  active boolean NOT NULL DEFAULT true
);
";

/// A database server on a Unix socket, and a config that reads its table `fetchmail`.
struct Database {
    home: Home,
    server: Server,
}

impl Database {
    fn new() -> Self {
        let setup = Server::implicit_tls()
            .user("ann", "päss word")
            .message("uid-1", corpus::message(1))
            .another_user("ben", "secret")
            .message("uid-2", corpus::message(2));
        let database = Self {
            home: Home::new(),
            server: setup.start(),
        };
        database.home.make_dir("", 0o711);
        let dir = database.home.make_dir("postgres", 0o700);
        let own = database
            .home
            .system_command("chown", &["postgres", &dir.display().to_string()]);
        own.run().assert_code(0);
        let (bin, dir) = (bin().display().to_string(), dir.display().to_string());
        database.as_postgres(&format!(
            "{bin}/initdb -D {dir}/data -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null &&
             {bin}/pg_ctl -D {dir}/data -w -l {dir}/log \
             -o \"-k {dir} -c listen_addresses= -c fsync=off\" start >/dev/null"
        ));
        database.query(TABLE);
        let ca = database.server.ca_file(database.home.path());
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/contrib/postfixadmin/pouch-postfixadmin"
        );
        database.home.config(&format!(
            "accounts-command = [\"{script}\", \"--pipe\", \"{} {{mailbox}}\",\n  \
             \"-h\", \"{dir}\", \"-U\", \"postgres\", \"-d\", \"postgres\"]\n\
             [defaults]\ntls-ca-file = \"{}\"\n",
            database.home.join("deliver").display(),
            ca.display()
        ));
        let deliver = "#!/bin/sh\nmkdir -p ~/got\ncat >~/got/\"$1\"\n";
        database.home.write("deliver", deliver, 0o700);
        database
    }

    /// Runs a script as the user `postgres`.
    #[track_caller]
    fn as_postgres(&self, script: &str) {
        let args = ["-u", "postgres", "--", "sh", "-c", script];
        let run = self.home.system_command("runuser", &args).dir("/");
        run.run().assert_code(0);
    }

    #[track_caller]
    fn query(&self, sql: &str) {
        let dir = self.home.join("postgres").display().to_string();
        let args = [
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &dir,
            "-U",
            "postgres",
            "-c",
            sql,
        ];
        self.home.system_command("psql", &args).run().assert_code(0);
    }

    /// Adds a row for the mailbox of a user, with further columns and their values.
    fn add(&self, user: &str, password: &str, (columns, values): (&str, &str)) {
        self.query(&format!(
            "INSERT INTO fetchmail (mailbox, src_server, src_port, src_user, src_password, usessl{columns})
             VALUES ('{user}@example.org', 'localhost', {}, '{user}',
                     encode(convert_to('{password}', 'UTF8'), 'base64'), true{values})",
            self.server.port()
        ));
    }

    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> Output {
        let output = self.home.pouch(args).run();
        output.assert_code(code);
        output
    }

    fn stop(&self) {
        let dir = self.home.join("postgres/data").display().to_string();
        let bin = bin().display().to_string();
        self.as_postgres(&format!(
            "{bin}/pg_ctl -D {dir} -m immediate stop >/dev/null"
        ));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.home.join("postgres/data/postmaster.pid").exists() {
            self.stop();
        }
    }
}

/// Returns the directory of the server's programs, which Debian keeps out of PATH.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let mut versions: Vec<_> = versions.map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    versions.pop().unwrap().join("bin")
}

#[test]
fn rows_of_postfixadmin_are_fetched() {
    let database = Database::new();
    database.add("ann", "päss word", (", keep, sslcertck", ", true, true"));
    database.add("ben", "secret", ("", ""));
    database.add("cleo", "x", (", protocol", ", 'IMAP'"));
    database.add("dora", "x", (", active", ", false"));
    database.run(&["fetch"], 0).assert_silent();
    for (user, n) in [("ann", 1), ("ben", 2)] {
        let got = database.home.read(format!("got/{user}@example.org"));
        assert_eq!(got, corpus::on_disk(&corpus::message(n)), "{user}");
    }
    let stored = String::from_utf8(database.home.read(".local/state/pouch/accounts.toml")).unwrap();
    assert!(
        !stored.contains("päss") && !stored.contains("secret"),
        "{stored}"
    );
    // only ben's message is deleted
    assert_eq!(database.server.uids(), ["uid-1"]);
    let show = database.run(&["config", "show", "ann.example.org.1"], 0);
    show.assert_stdout("keep                     = \"forever\"");
}

#[test]
fn report_names_what_is_left_out() {
    let database = Database::new();
    database.add(
        "ann",
        "x",
        (
            ", extra_options, mda",
            ", 'preconnect \"touch /tmp/x\"', '/bin/sh'",
        ),
    );
    database.add("ben", "x", (", protocol", ", 'IMAP'"));
    database.add("cleo", "x", (", src_auth", ", 'kerberos'"));
    database.query(
        "INSERT INTO fetchmail (mailbox, src_server, src_user, src_password, src_folder)
                    VALUES ('dora@example.org', 'pop.example.net', 'dora', 'eA==', 'Spam'),
                           ('emil@example.org', 'pop.example.net', 'emil', '%', '')",
    );
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/contrib/postfixadmin/pouch-postfixadmin"
    );
    let dir = database.home.join("postgres").display().to_string();
    let args = ["--report", "-h", &dir, "-U", "postgres", "-d", "postgres"];
    let output = database.home.system_command(script, &args).run();
    output.assert_code(0);
    assert_snapshot!(output.stderr_text(), @"
    ann@example.org from ann at localhost (id 1): sslcertck is off: certificates are verified
    ann@example.org from ann at localhost (id 1): extra_options is ignored
    ann@example.org from ann at localhost (id 1): mda is ignored
    ben@example.org from ben at localhost (id 2): skipped: the protocol is IMAP
    cleo@example.org from cleo at localhost (id 3): skipped: src_auth is kerberos
    dora@example.org from dora at pop.example.net (id 4): usessl is off: STARTTLS is required
    dora@example.org from dora at pop.example.net (id 4): sslcertck is off: certificates are verified
    dora@example.org from dora at pop.example.net (id 4): src_folder: POP3 has no folders
    emil@example.org from emil at pop.example.net (id 5): skipped: src_password is not base64 of UTF-8
    ");
    let list: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_snapshot!(format!("{list:#}").replace(&database.server.port().to_string(), "PORT"), @r#"
    {
      "account": {
        "ann.example.org.1": {
          "auth": null,
          "host": "localhost",
          "keep": "none",
          "lmtp": "unix:/run/dovecot/lmtp",
          "lmtp-recipients": [
            "ann@example.org"
          ],
          "password": "x",
          "port": PORT,
          "tls": "implicit",
          "user": "ann"
        },
        "dora.example.org.4": {
          "auth": null,
          "host": "pop.example.net",
          "keep": "none",
          "lmtp": "unix:/run/dovecot/lmtp",
          "lmtp-recipients": [
            "dora@example.org"
          ],
          "password": "x",
          "port": null,
          "tls": "starttls",
          "user": "dora"
        }
      }
    }
    "#);
}

#[test]
fn database_that_is_stopped_keeps_the_list() {
    let database = Database::new();
    database.add("ann", "päss word", (", keep", ", true"));
    database.run(&["fetch"], 0).assert_silent();
    database.stop();
    let output = database.run(&["fetch"], 78);
    output
        .assert_stderr("the accounts command `")
        .assert_stderr("failed: exit status: 2")
        .assert_stderr("accounts not fetched, since passwords are not stored: 1");
    database
        .run(&["status"], 78)
        .assert_stdout("ann.example.org.1");
}
