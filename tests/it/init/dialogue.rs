//! The dialogue on a terminal.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use insta::assert_snapshot;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use url::Url;

use super::{
    name_server::{NameServer, Reply},
    web::{Page, Web},
};
use crate::{
    oauth::browser::Browser,
    real::{ALICE, RealServer},
    server::{Server, corpus},
    support::{Home, mount::Mounted, redact::redact},
};

const CONFIG: &str = ".config/pouch/config.toml";

/// Options that answer all questions except the one about a timer.
const UNATTENDED: &str = "--password-command 'printf secret' --maildir Mail/x --keep none";

/// Runs a program, prints its exit code and waits for a line: the system discards what is in the
/// terminal when the leader of its session ends.
const SHELL: &str = "trap : INT; \"$@\"; echo \"[code $?]\"; read line";

/// The time limit for an expected line, and for the end of the program.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that the program printed, and whether it has closed the terminal.
#[derive(Default)]
struct Printed {
    text: Vec<u8>,
    is_closed: bool,
}

/// pouch on a terminal of its own, which is also its controlling terminal.
struct Session {
    child: Child,
    /// The other end of the terminal; closing it hangs up.
    keyboard: Option<File>,
    printed: Arc<(Mutex<Printed>, Condvar)>,
    /// The length of the text that was expected so far.
    seen: usize,
}

impl Session {
    fn start(mut command: Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().unwrap();
        // the terminal is closed when the program ends
        drop(command);
        drop(terminal);
        let keyboard = File::from(keyboard);
        let printed = Arc::<(Mutex<Printed>, Condvar)>::default();
        let (mut screen, own) = (keyboard.try_clone().unwrap(), Arc::clone(&printed));
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let bytes = screen.read(&mut chunk).unwrap_or(0);
                let mut printed = own.0.lock().unwrap();
                printed.text.extend_from_slice(&chunk[..bytes]);
                printed.is_closed = bytes == 0;
                own.1.notify_all();
                if bytes == 0 {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard: Some(keyboard),
            printed,
            seen: 0,
        }
    }

    /// Waits until the program has printed `text` after what was expected before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let (printed, change) = &*self.printed;
        let find = |printed: &Printed| {
            let rest = &printed.text[self.seen..];
            memchr::memmem::find(rest, text.as_bytes()).map(|at| at + text.len())
        };
        let (printed, _) = change
            .wait_timeout_while(printed.lock().unwrap(), PATIENCE, |printed| {
                find(printed).is_none() && !printed.is_closed
            })
            .unwrap();
        let Some(length) = find(&printed) else {
            panic!(
                "no {text:?} in:\n{}",
                String::from_utf8_lossy(&printed.text)
            );
        };
        self.seen += length;
    }

    fn send(&mut self, bytes: &[u8]) {
        self.keyboard.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Waits for a question, and answers it with a line.
    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.expect(question);
        self.send(format!("{answer}\n").as_bytes());
    }

    /// Waits for each question and answers it with a line.
    #[track_caller]
    fn answers(&mut self, answers: &[(&str, &str)]) {
        for (question, answer) in answers {
            self.answer(question, answer);
        }
    }

    /// Returns the printed word with this beginning.
    #[track_caller]
    fn word(&self, beginning: &str) -> String {
        let text = String::from_utf8_lossy(&self.printed.0.lock().unwrap().text).into_owned();
        let mut words = text.split_whitespace();
        words
            .find(|word| word.starts_with(beginning))
            .unwrap()
            .to_owned()
    }

    /// Waits for the end, with this exit code. Returns the text for a snapshot.
    #[track_caller]
    fn end(self, code: i32) -> String {
        let text = self.any_end();
        let (text, found) = text.rsplit_once("[code ").unwrap();
        assert!(found == format!("{code}]"), "{text}[code {found}");
        text.to_owned()
    }

    /// Waits for the end. Returns the text for a snapshot, with the exit code.
    #[track_caller]
    fn any_end(mut self) -> String {
        self.expect("[code ");
        self.expect("]");
        self.send(b"\n");
        let printed = self.printed.0.lock().unwrap();
        let text = String::from_utf8_lossy(&printed.text).replace('\r', "");
        let end = text.rfind(']').unwrap();
        redact(&text[..=end])
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A home, and a POP3 server with TLS for `localhost`, whose password is `secret`.
struct Desk {
    home: Home,
    server: Server,
}

impl Desk {
    fn new() -> Self {
        Self::of("ann@example.org")
    }

    fn of(user: &str) -> Self {
        let server = Server::implicit_tls()
            .user(user, "secret")
            .messages(corpus::messages(3))
            .start();
        let home = Home::new();
        home.write("ca.pem", server.ca_pem(), 0o644);
        Self { home, server }
    }

    /// Starts pouch with these words.
    fn session(&self, words: &str) -> Session {
        self.session_with(words, &[])
    }

    fn session_with(&self, words: &str, environment: &[(&str, &str)]) -> Session {
        let mut command = Command::new("/usr/bin/setsid");
        command
            .args([
                "--ctty",
                "sh",
                "-c",
                SHELL,
                "sh",
                env!("CARGO_BIN_EXE_pouch"),
            ])
            .args(shlex::split(words).unwrap())
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", self.programs())
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("TERM", "dumb")
            .env("SSL_CERT_FILE", self.home.join("ca.pem"))
            .envs(environment.iter().copied());
        Session::start(command)
    }

    /// Returns a directory of programs without the password managers and the systemd of the machine
    /// that runs the tests.
    fn programs(&self) -> PathBuf {
        let bin = self.home.make_dir("bin", 0o700);
        for program in ["sh", "cat", "printf"] {
            let link = bin.join(program);
            if !link.exists() {
                symlink(Path::new("/usr/bin").join(program), link).unwrap();
            }
        }
        bin
    }

    /// Starts `pouch init ann@example.org` with the server of the desk, and these words.
    fn init(&self, words: &str) -> Session {
        let port = self.server.port();
        self.session(&format!(
            "init ann@example.org --host localhost:{port} {words}"
        ))
    }

    /// Starts a dialogue that asks only for the source of the secret.
    fn secret(&self) -> Session {
        self.init("--maildir Mail/x --keep none --no-timer")
    }

    fn config(&self) -> String {
        let text = String::from_utf8(self.home.read(CONFIG)).unwrap();
        text.replace(&self.server.port().to_string(), "PORT")
    }

    /// Asserts that there is no config, and no file of a password.
    #[track_caller]
    fn assert_nothing_written(&self) {
        assert!(!self.home.join(".config/pouch").exists());
        assert!(!self.home.join("Mail").exists());
    }

    /// Returns the number of passwords that the server was sent.
    fn logins(&self) -> usize {
        let log = self.server.log();
        let is_login = |line: &&str| line.starts_with("AUTH ") || line.starts_with("PASS");
        log.commands().filter(is_login).count()
    }
}

#[test]
fn account_is_tested_and_then_written() {
    let desk = Desk::new();
    let mut session = desk.init("");
    session.answers(&[
        ("number [1]: ", ""),
        ("(not shown): ", "secret"),
        ("Maildir for the mail", ""),
        ("keep fetched mail", ""),
    ]);
    let text = session.end(0);
    assert!(!text.contains("secret\n"), "{text}");
    assert_snapshot!(text, @"
    ann@example.org: localhost:PORT (from `--host`) with TLS, login name ann@example.org
    how should pouch get the password?
      1  type it now; it is stored in ~/.config/pouch/secrets/example, readable only by you
      2  from a command that prints it
      3  from the first line of a file
      4  type it in every run, at a terminal
    number [1]: 
    password (not shown): 
    Maildir for the mail [~/Mail/example]: 
    keep fetched mail on the server (forever, none or 30d) [forever]: 
      ledger   ok    ~/.local/state/pouch
      secret   ok    prompt, N s
      connect  ok    localhost:PORT (127.0.0.1), N ms
      tls      ok    trusted certificate, valid until 2099-01-01
            sha256:SHA256
      login    ok    PLAIN
      server   ok    UIDL TOP PIPELINING; 3 messages
      deliver  ok    ~/Mail/example, will be created
    added account `example` to ~/.config/pouch/config.toml
    example: 3 messages on the server, 0 known
      fetch      3    1.2 KB   new; kept on the server
    to fetch mail every 5 minutes, add this line with `crontab -e`:
      */5 * * * * pouch fetch
    run `pouch` to fetch the mail; if you already have it, run `pouch ledger catchup example` first
    ");
    assert_snapshot!(desk.config(), @r#"
    [account.example]
    host = "localhost"
    port = PORT
    user = "ann@example.org"
    password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "forever"
    "#);
    let secret = desk.home.join(".config/pouch/secrets/example");
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(secret), 0o600);
    assert_eq!(mode(desk.home.join(CONFIG)), 0o600);
    let run = desk.home.pouch(&["fetch"]);
    run.env("SSL_CERT_FILE", desk.home.join("ca.pem"))
        .run()
        .assert_code(0);
    assert_eq!(desk.home.maildir("Mail/example").len(), 3);
}

#[test]
fn print_asks_nothing_on_a_terminal() {
    let desk = Desk::new();
    let text = desk.init("--print --keep 8w").end(0);
    assert_snapshot!(text, @r#"
    [account.example]
    host = "localhost"
    port = PORT 
    user = "ann@example.org"
    # password-file = "~/.config/pouch/secrets/example"
    maildir = "~/Mail/example"
    keep = "8w"
    set `password-file` or `password-command`: otherwise pouch asks for the password in each run
    "#);
    desk.assert_nothing_written();
    assert_eq!(desk.server.log().connections(), 0);
}

#[test]
fn refused_password_is_sent_once_each_time_it_is_typed() {
    let desk = Desk::new();
    let mut session = desk.secret();
    session.answers(&[
        ("number [1]: ", "1"),
        ("(not shown): ", "wrong"),
        ("does not work yet", ""),
        ("(not shown): ", "wronger"),
        ("does not work yet", ""),
    ]);
    assert_eq!(desk.logins(), 2);
    desk.assert_nothing_written();
    session.answer("(not shown): ", "secret");
    session.end(0);
    // the last password, and the plan
    assert_eq!(desk.logins(), 4);
    let secret = desk.home.read(".config/pouch/secrets/example");
    assert_eq!(secret, b"secret");
}

#[test]
fn user_can_quit_or_add_the_account_as_it_is() {
    let desk = Desk::new();
    let refused = |answer: &str| {
        let mut session = desk.secret();
        session.answers(&[("number [1]: ", "1"), ("(not shown): ", "wrong")]);
        session.expect("does not work yet");
        session.answer("number [1]: ", answer);
        session
    };
    let text = refused("5").end(77);
    let end = text.split("login    failed").nth(1).unwrap();
    assert_snapshot!(end, @"

    pouch: example: localhost rejected the password
      localhost said: -ERR [AUTH] invalid user or password
    hint: check the password and `user`, which is often a full address: ann@example.org
    the account does not work yet:
      1  type the password again
      2  use another login name
      3  get the password in another way
      4  add the account as it is
      5  quit without writing anything
    number [1]: 5
    nothing was written
    ");
    desk.assert_nothing_written();
    let text = refused("4").end(0);
    let end = text.split("number [1]: 4").nth(1).unwrap();
    assert_snapshot!(end, @"

    added account `example` to ~/.config/pouch/config.toml
    run `pouch check example` to test it
    ");
    assert_eq!(desk.home.read(".config/pouch/secrets/example"), b"wrong");
    assert_eq!(desk.logins(), 2);
}

#[test]
fn another_login_name_can_be_used() {
    let desk = Desk::of("ann");
    let mut session = desk.secret();
    session.answers(&[("number [1]: ", "1"), ("(not shown): ", "secret")]);
    session.expect("does not work yet");
    session.answers(&[
        ("number [1]: ", "2"),
        ("login name [ann@example.org]: ", "ann"),
        ("(not shown): ", "secret"),
    ]);
    session.end(0);
    assert!(desk.config().contains("user = \"ann\"\n"));
    // the same mailbox is recognised
    let text = desk.init("").end(64);
    assert_snapshot!(text, @"
    pouch: ann@example.org is already account `example` in ~/.config/pouch/config.toml
    hint: run `pouch check example` to test it, or change it in the config
    ");
}

/// A command or a file is replaced, not typed again.
#[test]
fn source_of_a_refused_password_can_be_replaced() {
    let desk = Desk::new();
    let options = "--password-command 'printf wrong' --maildir Mail/x --keep none --no-timer";
    let mut session = desk.init(options);
    session.expect("localhost rejected the password");
    session.expect("3  get the password in another way");
    session.answers(&[
        ("number [1]: ", "3"),
        ("number [1]: ", "3"),
        ("file: ", "$HOME/x"),
        ("file: ", "missing"),
    ]);
    // the file does not exist
    session.expect("secret   failed");
    session.answers(&[
        ("number [1]: ", "2"),
        ("number [1]: ", "2"),
        ("command: ", "printf secret"),
    ]);
    let text = session.end(0);
    // the first test, the last one and the plan
    assert_eq!(desk.logins(), 3);
    let between = text.split("file: $HOME/x\n").nth(1).unwrap();
    assert_snapshot!(between.split("number [1]: 2").next().unwrap(), @"
    answer with a path, such as ~/.secrets/mail
    file: missing
      ledger   ok    ~/.local/state/pouch
      secret   failed
    pouch: example: cannot read the password file ~/missing
      No such file or directory
    hint: create it with mode 600 and the password as its first line
    the account does not work yet:
      1  try again
      2  get the password in another way
      3  add the account as it is
      4  quit without writing anything
    ");
    assert!(
        desk.config()
            .contains("password-command = [\"printf\", \"secret\"]")
    );
}

#[test]
fn server_and_directory_can_be_replaced() {
    let desk = Desk::new();
    desk.home.write("file", "", 0o600);
    let options = "--password-command 'printf secret' --maildir file --keep none --no-timer";
    let mut session = desk.session(&format!(
        "init ann@example.org --host localhost:1 {options}"
    ));
    let place = format!("localhost:{}", desk.server.port());
    session.expect("connect  failed");
    session.answers(&[
        ("number [1]: ", "2"),
        ("POP3 server (HOST or HOST:PORT): ", "localhost:993"),
        ("port 993 is for IMAP", &place),
    ]);
    session.expect("deliver  failed");
    session.answers(&[
        ("number [1]: ", "2"),
        ("Maildir for the mail [~/file]: ", "Mail/x"),
    ]);
    let text = session.end(0);
    let menus = text.split("the account does not work yet:").skip(1);
    let menus = menus.map(|menu| menu.split("number").next().unwrap());
    assert_snapshot!(menus.collect::<String>(), @"

    1  try again
    2  use another server
    3  add the account as it is
    4  quit without writing anything

    1  try again
    2  use another directory for the mail
    3  add the account as it is
    4  quit without writing anything
    ");
    assert!(desk.config().contains("maildir = \"~/Mail/x\""));
}

/// A login name that is already in the config does not end the dialogue, and no ledger remains of a
/// refused one.
#[test]
fn nothing_remains_of_a_wrong_login_name() {
    let desk = Desk::new();
    let port = desk.server.port();
    desk.home.config(&format!(
        "[account.bob]\nhost = \"localhost\"\nport = {port}\nuser = \"bob\"\nmaildir = \"~/b\"\n"
    ));
    let mut session = desk.init(
        "--user an --password-command 'printf secret' --maildir Mail/x --keep none --no-timer",
    );
    let ledgers = || {
        let entries = fs::read_dir(desk.home.state().join("mailboxes")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "db"));
        let names = paths.iter().filter_map(|path| path.file_stem()?.to_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    session.expect("does not work yet");
    session.expect("number [1]: ");
    assert_eq!(ledgers(), [""; 0]);
    session.send(b"2\n");
    session.answers(&[
        ("login name [an]: ", "bob"),
        ("is already account `bob`", "ann@example.org"),
    ]);
    session.end(0);
    let ledgers = ledgers();
    assert!(
        matches!(&ledgers[..], [name] if name.starts_with("ann@example.org")),
        "{ledgers:?}"
    );
}

/// The user answers no questions in vain.
#[test]
fn unwritable_config_is_reported_before_the_first_question() {
    let desk = Desk::new();
    let home = &desk.home;
    home.write("file", "", 0o600);
    home.make_dir("ro", 0o700);
    home.make_dir("full", 0o700);
    let _read_only = Mounted::read_only(home, home.join("ro"));
    let _full = Mounted::tmpfs(home, home.join("full"), "4k");
    home.write("full/fill", [0; 4096], 0o600);
    symlink("none/c.toml", home.join("link")).unwrap();
    let shown = |config: &str| {
        let text = desk.init(&format!("--config {config}")).any_end();
        format!("{config}: {text}\n")
    };
    let configs = [
        "file/c.toml",
        "ro/c.toml",
        "ro/a/c.toml",
        "full/c.toml",
        "link",
        "ro",
    ];
    assert_snapshot!(configs.map(shown).concat(), @"
    file/c.toml: pouch: cannot create the directory ~/file
      a file of that name already exists
      nothing was written
    [code 73]
    ro/c.toml: pouch: cannot write a file in ~/ro
      Read-only file system
      nothing was written
    hint: remount the file system read-write, or choose another directory
    [code 73]
    ro/a/c.toml: pouch: cannot write a file in ~/ro
      Read-only file system
      nothing was written
    hint: remount the file system read-write, or choose another directory
    [code 73]
    full/c.toml: pouch: cannot write a file in ~/full
      No space left on device
      nothing was written
    hint: free space on that disk, or choose another with `--config`
    [code 74]
    link: pouch: link is a symbolic link to none/c.toml, which does not exist
    hint: create the file that it points to, or remove the link
    [code 78]
    ro: pouch: ro is a directory, not a config file
    [code 78]
    ");
    assert_eq!(desk.server.log().connections(), 0);
}

#[test]
fn blocked_directory_for_passwords_is_reported_at_once() {
    let desk = Desk::new();
    desk.home.write(".config/pouch/secrets", "", 0o600);
    let mut session = desk.secret();
    session.answers(&[
        ("number [1]: ", "1"),
        ("a file of that name already exists", "2"),
        ("command: ", "printf secret"),
    ]);
    session.end(0);
}

/// A local issuer takes the place of Google: the proxy and the browser connect to it.
#[test]
fn sign_in_of_the_dialogue_brings_a_token_and_the_plan() {
    let issuer = RealServer::start("oauth", &[]);
    let introspection = format!("oauth={}", issuer.value("introspection_url"));
    let dovecot = RealServer::start("dovecot", &[&introspection]);
    dovecot.inject(ALICE, &[1, 2, 3].map(corpus::message));
    let token = Page::Forward(issuer.port("http"), "/token");
    let web = Web::start(&[("oauth2.googleapis.com/token", token)], &[]);
    let desk = Desk::new();
    let dovecot_ca = fs::read_to_string(dovecot.value("ca_file")).unwrap();
    desk.home
        .write("ca.pem", format!("{dovecot_ca}{}", web.ca_pem()), 0o644);
    let words = format!(
        "init ann@gmail.com --host localhost:{} --user {ALICE} --oauth google --client-id pop-client \
         --maildir Mail/x --no-timer --keep forever",
        dovecot.port("pop3s")
    );
    let mut session = desk.session_with(&words, &[("https_proxy", &web.proxy())]);
    session.answer("sign in now? [Y/n]: ", "");
    session.expect("that page here");
    let address = session.word("https://accounts.google.com/");
    let query = address.split_once('?').unwrap().1;
    let query = query.replace("https%3A%2F%2Fmail.google.com%2F", "mail%20offline_access");
    let page = format!("{}/auth?{query}", issuer.value("issuer"));
    let redirect = Browser::new().sign_in(&page, ALICE);
    let mut redirect = Url::parse(&redirect).unwrap();
    // Google's redirect does not contain the issuer
    let parameters: Vec<_> = redirect
        .query_pairs()
        .filter(|(key, _)| key != "iss")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    redirect.query_pairs_mut().clear().extend_pairs(parameters);
    assert_eq!(Browser::get(redirect.as_str()).0, 200);
    let text = session.end(0);
    let end = text.split("signed in").nth(1).unwrap();
    assert_snapshot!(end.replace(&dovecot.port("pop3s").to_string(), "PORT"), @"
    ; later runs renew the token
      pop3  ok   localhost: 3 messages
    gmail: 3 messages on the server, 0 known
      fetch      3    1.2 KB   new; kept on the server
    run `pouch` to fetch the mail; if you already have it, run `pouch ledger catchup gmail` first
    ");
    let config = String::from_utf8(desk.home.read(CONFIG)).unwrap();
    assert!(config.contains("oauth = { provider = \"google\", client-id = \"pop-client\" }"));
}

/// The questions of a dialogue in which the server is looked up and the password is wrong, each
/// with its answer.
const QUESTIONS: [(&str, &str); 8] = [
    ("mail address: ", "ann@exámple.org"),
    ("number [1]: ", "1"),
    ("use localhost? [y/N]: ", "y"),
    ("how should pouch get the password?", "1"),
    ("(not shown): ", "wrong"),
    ("Maildir for the mail", ""),
    ("keep fetched mail on the server", ""),
    ("does not work yet", "1"),
];

/// Starts such a dialogue, and answers the first `count` questions. Returns the session, which has
/// asked the next one.
fn dialogue(desk: &Desk, count: usize) -> (Session, NameServer, Web) {
    let port = desk.server.port();
    let names = NameServer::start(move |question| match question {
        "SRV _pop3s._tcp.xn--exmple-qta.org" => Reply::Srv(vec![(1, port, "localhost")]),
        _ => Reply::NoName,
    });
    let web = Web::start(&[], &[]);
    let environment = [
        ("POUCH_RESOLVER", names.address()),
        ("https_proxy", web.proxy()),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut session = desk.session_with("init", &environment);
    session.answers(&QUESTIONS[..count]);
    session.expect(QUESTIONS[count].0);
    (session, names, web)
}

#[test]
fn interrupt_at_each_question_writes_nothing() {
    let desk = Desk::new();
    for count in 0..QUESTIONS.len() {
        let (mut session, ..) = dialogue(&desk, count);
        session.send(b"\x03");
        let text = session.end(130);
        assert!(
            text.ends_with("pouch: interrupted\n  nothing was written\n"),
            "{text}"
        );
        desk.assert_nothing_written();
    }
}

#[test]
fn end_of_input_at_each_question_writes_nothing() {
    let desk = Desk::new();
    for count in 0..QUESTIONS.len() {
        let (mut session, ..) = dialogue(&desk, count);
        session.send(b"\x04");
        let text = session.end(64);
        assert!(
            text.contains("the input ended before all questions were answered"),
            "{text}"
        );
        desk.assert_nothing_written();
    }
}

#[test]
fn closed_terminal_at_each_question_writes_nothing() {
    let desk = Desk::new();
    for count in 0..QUESTIONS.len() {
        let (mut session, ..) = dialogue(&desk, count);
        let pid = session.child.id();
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process_group(pid, rustix::process::Signal::HUP).unwrap();
        session.keyboard = None;
        session.child.wait().unwrap();
        desk.assert_nothing_written();
    }
}

#[test]
fn foreign_server_of_a_record_is_declined_by_default() {
    let desk = Desk::new();
    let (mut session, names, _web) = dialogue(&desk, 2);
    session.send(b"\n");
    session.answers(&[
        ("POP3 server (HOST or HOST:PORT): ", "a b"),
        ("POP3 server (HOST or HOST:PORT): ", "localhost:1"),
        ("use localhost:1 anyway? [y/N]: ", ""),
    ]);
    let place = format!("localhost:{}", desk.server.port());
    session.answer("POP3 server (HOST or HOST:PORT): ", &place);
    session.expect("how should pouch get the password?");
    session.expect("number [1]: ");
    session.send(b"\x03");
    let text = session.end(130);
    assert_snapshot!(text, @"
    mail address: ann@exámple.org
    pouch does not know the POP3 server of exámple.org. Where may it look? The servers that it asks learn the domain, but not the address.
      1  in DNS and at exámple.org
      2  there, and in Thunderbird's provider database (autoconfig.thunderbird.net)
      3  nowhere: I will enter the server
    number [1]: 1
      autoconfig  CONNECT proxy failed: proxy server responded 502/502
      SRV record  localhost:PORT
    The SRV record of exámple.org leads to localhost, which is not part of exámple.org. DNS is not authenticated: a forged answer could lead to a server that collects passwords.
    use localhost? [y/N]: 
    POP3 server (HOST or HOST:PORT): a b
    answer with a host name, such as pop.example.org
    POP3 server (HOST or HOST:PORT): localhost:1
    localhost refused the connection on port 1 (127.0.0.1:1: Connection refused)
    use localhost:1 anyway? [y/N]: 
    POP3 server (HOST or HOST:PORT): localhost:PORT
    ann@exámple.org: localhost:PORT (as entered) with TLS, login name ann@xn--exmple-qta.org
    how should pouch get the password?
      1  type it now; it is stored in ~/.config/pouch/secrets/exámple, readable only by you
      2  from a command that prints it
      3  from the first line of a file
      4  type it in every run, at a terminal
    number [1]: ^C
    pouch: interrupted
      nothing was written
    ");
    assert_eq!(names.questions().len(), 2);
}

#[test]
fn misspelled_domain_is_corrected_and_known_mistakes_are_asked_again() {
    let desk = Desk::new();
    let mut session = desk.session("init --offline --name mine");
    session.answers(&[
        ("mail address: ", "ann"),
        ("not a mail address: it has no `@`", "ann@gmial.com"),
        ("did you mean ann@gmail.com? [y/N]: ", "maybe"),
        ("answer y or n", "y"),
        ("number [1]: ", "0"),
        ("answer with a number from 1 to 5", "2"),
        ("command: ", "pass 'mail"),
        ("the command has an unclosed quote", "printf secret"),
        ("Maildir for the mail [~/Mail/mine]: ", "$HOME/Mail"),
    ]);
    // the terminal shows an answer before the question if it comes earlier
    session.expect("answer with a directory");
    session.answer("[~/Mail/mine]: ", "Mail/mine");
    let text = session.end(0);
    let end = text.split("Mail/mine\n").nth(1).unwrap();
    assert_snapshot!(end, @"
    added account `mine` to ~/.config/pouch/config.toml
    run `pouch check mine` to test it
    ");
    assert_snapshot!(desk.config(), @r#"
    [account.mine]
    host = "pop.gmail.com"
    user = "ann@gmail.com"
    password-command = ["printf", "secret"]
    maildir = "~/Mail/mine"
    keep = "forever"
    "#);
}

#[test]
fn existing_config_keeps_its_comments() {
    let desk = Desk::new();
    let own = "# my mail\n\n[account.home] # at home\nhost = \"pop.example.net\"\nuser = \"ann\"\n\
               maildir = \"~/mail/home\"   # here\n# end";
    desk.home.config(own);
    desk.home.write("password", "secret\n", 0o600);
    let mut session = desk.init("--password-file '~/password' --keep 1y --no-timer");
    session.answer("Maildir for the mail [~/mail/example]: ", "");
    session.end(0);
    let config = desk.config();
    assert!(config.starts_with(own), "{config}");
    assert_snapshot!(&config[own.len()..], @r#"


    [account.example]
    host = "localhost"
    port = PORT
    user = "ann@example.org"
    password-file = "~/password"
    maildir = "~/mail/example"
    keep = "1y"
    "#);
}

/// Another change of the config during the dialogue is kept.
#[test]
fn config_that_changes_during_the_dialogue_is_kept() {
    let desk = Desk::new();
    let mut session = desk.init("--password-command 'printf secret' --no-timer");
    session.expect("Maildir for the mail");
    let other = "[account.home]\nhost = \"pop.example.net\"\nuser = \"x\"\nmaildir = \"~/m\"\n";
    desk.home.config(other);
    session.send(b"\n");
    session.answer("keep fetched mail", "");
    session.end(0);
    let config = desk.config();
    assert!(
        config.starts_with(other) && config.contains("[account.example]"),
        "{config}"
    );
}

#[test]
fn provider_with_oauth_leads_to_login() {
    let desk = Desk::new();
    let mut session = desk.session("init ann@hotmail.com --offline --keep 30d");
    session.answers(&[
        ("number [1]: ", "1"),
        ("OAuth client ID", ""),
        ("Maildir", ""),
    ]);
    let text = session.end(0);
    assert_snapshot!(text, @"
    ann@hotmail.com: outlook.office365.com:995 (known to pouch) with TLS, login name ann@hotmail.com
    before the first login: enable POP3 in Microsoft's web settings
    how should pouch sign in?
      1  sign in with OAuth 2.0: `pouch login`
      2  from a command that prints an access token, such as oama
    number [1]: 1
    OAuth client ID (empty if you have none yet): 
    Maildir for the mail [~/Mail/hotmail]: 
    added account `hotmail` to ~/.config/pouch/config.toml
    now run `pouch login hotmail`, which explains how to get a client ID
    ");
    assert_snapshot!(desk.config(), @r#"
    [account.hotmail]
    host = "outlook.office365.com"
    user = "ann@hotmail.com"
    oauth = "microsoft"
    maildir = "~/Mail/hotmail"
    keep = "30d"
    "#);
}

#[test]
fn sign_in_is_offered_if_there_is_a_client() {
    let desk = Desk::new();
    let mut session = desk.session(
        "init ann@hotmail.com --oauth microsoft --client-id x --maildir Mail/x --keep 30d",
    );
    session.answer("sign in now? [Y/n]: ", "n");
    let text = session.end(0);
    assert_snapshot!(text, @"
    ann@hotmail.com: outlook.office365.com:995 (known to pouch) with TLS, login name ann@hotmail.com
    before the first login: enable POP3 in Microsoft's web settings
    added account `hotmail` to ~/.config/pouch/config.toml
    sign in now? [Y/n]: n
    then run `pouch login hotmail` later
    ");
    assert!(
        desk.config()
            .contains("oauth = { provider = \"microsoft\", client-id = \"x\" }")
    );
}

/// The config names the file of the password in a way that does not depend on where pouch runs.
#[test]
fn config_elsewhere_has_its_password_next_to_it() {
    let desk = Desk::new();
    let mut session = desk.init("--config some/c.toml --maildir Mail/x --keep 30d --no-timer");
    session.answers(&[("number [1]: ", ""), ("(not shown): ", "secret")]);
    session.end(0);
    let config = String::from_utf8(desk.home.read("some/c.toml")).unwrap();
    assert!(
        config.contains("password-file = \"~/some/secrets/example\""),
        "{config}"
    );
    let run = desk.home.pouch(&["--config", "../some/c.toml", "check"]);
    let dir = desk.home.make_dir("else", 0o700);
    let run = run.env("SSL_CERT_FILE", desk.home.join("ca.pem")).dir(dir);
    run.run().assert_code(0);
}

#[test]
fn password_goes_to_the_keyring() {
    let desk = Desk::new();
    let script = "#!/bin/sh\ncase $1 in store) echo \"$@\" >> \"$HOME/calls\"; cat > \"$HOME/ring\";;\n\
                  lookup) cat \"$HOME/ring\";; esac\n";
    desk.home.write("bin/secret-tool", script, 0o755);
    let mut session = desk.secret();
    session.expect("keyring");
    session.answers(&[("number [1]: ", "2"), ("(not shown): ", "secret")]);
    session.end(0);
    assert_eq!(desk.home.read("ring"), b"secret");
    let calls = String::from_utf8(desk.home.read("calls")).unwrap();
    assert_eq!(
        calls,
        "store --label=pouch: ann@example.org service pouch account example\n"
    );
    assert_snapshot!(desk.config(), @r#"
    [account.example]
    host = "localhost"
    port = PORT
    user = "ann@example.org"
    password-command = ["secret-tool", "lookup", "service", "pouch", "account", "example"]
    maildir = "~/Mail/x"
    keep = "none"
    "#);
}

#[test]
fn timer_is_installed_on_request() {
    let desk = Desk::new();
    let script = "#!/bin/sh\necho \"$@\" >> \"$HOME/calls\"\n\
                  case $2 in is-enabled|cat) exit 1;; esac\n";
    desk.home.write("bin/systemctl", script, 0o755);
    let mut session = desk.init(UNATTENDED);
    session.answer("with a systemd timer? [y/N]: ", "y");
    let text = session.end(0);
    let end = text.split("timer? [y/N]: y\n").nth(1).unwrap();
    assert_snapshot!(end, @"
    wrote ~/.config/systemd/user/pouch.service
    wrote ~/.config/systemd/user/pouch.timer
    pouch.timer fetches mail every 5 minutes while you are logged in; run `loginctl enable-linger` to fetch it always
    run `pouch` to fetch the mail; if you already have it, run `pouch ledger catchup example` first
    ");
    let calls = String::from_utf8(desk.home.read("calls")).unwrap();
    assert_snapshot!(calls, @"
    --user show-environment
    --user is-enabled --quiet pouch.timer
    --user cat pouch.timer
    --user daemon-reload
    --user enable --now pouch.timer
    ");
    let units = ".config/systemd/user";
    let service = String::from_utf8(desk.home.read(format!("{units}/pouch.service"))).unwrap();
    let line = format!("ExecStart={} fetch\n", env!("CARGO_BIN_EXE_pouch"));
    assert!(service.contains(&line), "{service}");
    assert!(desk.home.join(units).join("pouch.timer").exists());
}

#[test]
fn interrupt_after_the_account_was_added_keeps_it() {
    let desk = Desk::new();
    desk.home.write(
        "bin/systemctl",
        "#!/bin/sh\n[ \"$2\" = show-environment ]\n",
        0o755,
    );
    for key in [b"\x03", b"\x04"] {
        let mut session = desk.init(UNATTENDED);
        session.expect("with a systemd timer? [y/N]: ");
        session.send(key);
        let text = session.end(if key == b"\x03" { 130 } else { 0 });
        assert!(!text.contains("nothing was written"), "{text}");
        assert!(desk.config().contains("[account.example]"));
        fs::remove_file(desk.home.join(CONFIG)).unwrap();
    }
    assert!(!desk.home.join(".config/systemd").exists());
}
