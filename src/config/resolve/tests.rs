use super::{
    super::testing::{config, parse, setting, with},
    *,
};
use crate::domain::{destination::LmtpServer, plan::Keep, time::TimeSpan};

#[test]
fn keys_that_are_not_set_have_their_defaults() {
    let account = with("").unwrap();
    assert_eq!((account.port, account.tls), (995, Tls::Implicit));
    assert_eq!(account.trust, Trust::System);
    assert_eq!((account.retries, account.attempts), (2, 3));
    assert!(account.notice && account.enabled);
    assert_eq!(account.policy, Policy::default());
    assert_eq!(account.secret, SecretSource::Prompt);
    let maildir = Destination::Maildir(PathBuf::from("/home/ann/Mail"));
    assert_eq!(account.routing.default, maildir);
}

#[test]
fn keys_that_are_not_set_are_shown_with_their_defaults() {
    let account = with("").unwrap();
    let shown: Vec<_> = account
        .all_settings()
        .iter()
        .map(|setting| format!("{} = {}  # {}", setting.key, setting.value, setting.source))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    host = "pop.example.org"  # ~/.config/pouch/config.toml:2
    port = 995  # default
    tls = "implicit"  # default
    tls-server-name = unset  # default
    tls-ca-file = unset  # default
    tls-pin = unset  # default
    tls-client-cert = unset  # default
    tls-client-key = unset  # default
    allow-plaintext-password = false  # default
    proxy = unset  # default
    proxy-password-command = unset  # default
    connect-command = unset  # default
    before = unset  # default
    timeout = "1m"  # default
    connect-timeout = "20s"  # default
    retries = 2  # default
    jobs-per-host = 1  # default
    request-ahead = "auto"  # default
    user = "ann"  # ~/.config/pouch/config.toml:3
    mailbox = unset  # default
    auth = "auto"  # default
    password-command = unset  # default
    token-command = unset  # default
    password-command-timeout = "1m"  # default
    password-file = unset  # default
    password-credential = unset  # default
    oauth = unset  # default
    maildir = "~/Mail"  # ~/.config/pouch/config.toml:4
    mbox = unset  # default
    pipe = unset  # default
    lmtp = unset  # default
    lmtp-recipients = unset  # default
    deliver-as = unset  # default
    pipe-timeout = "10m"  # default
    filter = []  # default
    add-headers = []  # default
    after = unset  # default
    alert = unset  # default
    keep = "forever"  # default
    keep-newest = unset  # default
    keep-total = unset  # default
    sync-deletions = false  # default
    max-size = unset  # default
    limit = 0  # default
    attempts = 3  # default
    notice = true  # default
    quirks = []  # default
    enabled = true  # default
    allow-delete-unread = false  # default
    "#);
}

#[test]
fn top_level_keys_have_their_defaults() {
    let text = "[account.a]\nhost = \"a\"\nuser = \"ann\"\nmaildir = \"m\"\n";
    let plain = config(text).unwrap();
    assert_eq!((plain.jobs, plain.state_dir), (4, PathBuf::from("/state")));
    let set = config(&format!("jobs = 2\nstate-dir = \"state\"\n{text}")).unwrap();
    assert_eq!(set.jobs, 2);
    assert_eq!(
        set.state_dir,
        PathBuf::from("/home/ann/.config/pouch/state")
    );
}

#[test]
fn the_port_depends_on_tls() {
    let clear = "tls = \"off\"\nallow-plaintext-password = true";
    for (lines, port, shown) in [
        ("tls = \"implicit\"", 995, "995 default"),
        ("tls = \"starttls\"", 110, "110 default"),
        (clear, 110, "110 default"),
        (
            "port = 7\ntls = \"starttls\"",
            7,
            "7 ~/.config/pouch/config.toml:5",
        ),
    ] {
        let account = with(lines).unwrap();
        assert_eq!(account.port, port, "{lines}");
        assert_eq!(setting(&account, "port"), shown);
    }
}

const LAYERS: &str = "[defaults]
user = \"ann\"
keep = \"30d\"
limit = 10
maildir = \"~/Mail\"
sync-deletions = true
password-command = [\"pass\", \"mail\"]
tls-ca-file = \"ca.pem\"
[account.a]
host = \"a\"
keep = \"none\"
limit = 0
[account.b]
host = \"b\"
pipe = [\"procmail\"]
password-file = \"b\"
tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"
[account.c]
host = \"c\"
tls = \"off\"
allow-plaintext-password = true
[account.d]
host = \"d\"
lmtp = \"unix:lmtp\"
";

#[test]
fn keys_of_an_account_replace_those_of_defaults() {
    let a = config(LAYERS).unwrap().accounts.remove(0);
    assert_eq!((a.policy.keep, a.policy.limit), (Keep::None, None));
    assert!(a.policy.sync_deletions);
    let ca_file = PathBuf::from("/home/ann/.config/pouch/ca.pem");
    assert_eq!(a.trust, Trust::CaFile(ca_file));
    let command = ["pass", "mail"].map(str::to_owned).to_vec();
    assert_eq!(a.secret, SecretSource::Command(command));
    let path = "~/.config/pouch/config.toml";
    assert_eq!(setting(&a, "keep"), format!("\"none\" {path}:11"));
    assert_eq!(setting(&a, "maildir"), format!("\"~/Mail\" {path}:5"));
}

#[test]
fn keys_of_an_account_remove_the_defaults_that_they_exclude() {
    let config = config(LAYERS).unwrap();
    let [_, b, c, d] = &config.accounts[..] else {
        panic!()
    };
    assert_eq!((b.policy.limit, b.policy.sync_deletions), (Some(10), false));
    let procmail = Destination::Pipe(vec!["procmail".to_owned()]);
    assert_eq!(b.routing.default, procmail);
    let file = PathBuf::from("/home/ann/.config/pouch/b");
    assert_eq!(b.secret, SecretSource::File(file));
    assert!(matches!(b.trust, Trust::Pin(pin) if pin[0] == 0x5f));
    assert_eq!(setting(b, "maildir"), "unset default");
    assert_eq!((c.port, c.tls, &c.trust), (110, Tls::Off, &Trust::System));
    let server = LmtpServer::Unix("/home/ann/.config/pouch/lmtp".into());
    let lmtp = Destination::Lmtp(server, vec!["ann".to_owned()]);
    assert_eq!(d.routing.default, lmtp);
    assert!(!d.policy.sync_deletions);
}

#[test]
fn retention_is_in_days() {
    for (text, days) in [("30d", 30), ("8w", 56), ("6mo", 180), ("1y", 365)] {
        let account = with(&format!("keep = \"{text}\"")).unwrap();
        assert_eq!(account.policy.keep, Keep::For(TimeSpan::from_days(days)));
        assert!(setting(&account, "keep").starts_with(&format!("\"{days}d\"")));
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    for line in [
        "host = \"2001:db8::1\"",
        "port = 995",
        "tls = \"starttls\"",
        "tls-pin = \"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"",
        "keep = \"30d\"",
        "keep = \"none\"",
        "keep-total = \"1GB\"",
        "request-ahead = \"auto\"",
        "request-ahead = 7",
        "pipe = [\"sh\", \"-c\", \"\"]",
        "filter = [[\"a\"], [\"b\", \"c\"]]",
        "add-headers = [\"return-path\", \"received\"]",
        "quirks = [\"no-uidl\"]",
        "lmtp = \"unix:/run/dovecot/lmtp\"",
        "lmtp = \"[::1]:24\"",
        "lmtp-recipients = [\"ann@example.org\", \"ben\"]",
        "notice = false",
    ] {
        let (key, value) = line.split_once(" = ").unwrap();
        let table = parse(&format!("[defaults]\n{line}"))
            .unwrap()
            .defaults
            .table;
        let settings = table.settings();
        let setting = settings.iter().find(|setting| setting.key == key);
        assert_eq!(setting.unwrap().value, value, "{key}");
    }
}

#[test]
fn proxy_of_an_account_replaces_the_one_of_the_defaults() {
    let defaults = "[defaults]\nproxy = \"http://ann@gate:3128\"\n\
                    proxy-password-command = [\"pass\", \"proxy\"]\n";
    let shown = |lines: &str| {
        let account = with(&format!("{lines}\n{defaults}")).unwrap();
        ["proxy", "proxy-password-command", "connect-command"].map(|key| {
            let shown = setting(&account, key);
            shown.split(' ').next().unwrap().to_owned()
        })
    };
    assert_eq!(
        shown(""),
        ["\"http://ann@gate:3128\"", "[\"pass\",", "unset"]
    );
    assert_eq!(shown("proxy = \"none\""), ["\"none\"", "unset", "unset"]);
    assert_eq!(
        shown("connect-command = [\"nc\"]"),
        ["unset", "unset", "[\"nc\"]"]
    );
    let account = with("proxy = \"none\"").unwrap();
    assert_eq!(
        (account.proxy_server(), account.server_name()),
        (None, "pop.example.org")
    );
    let account = with("tls-server-name = \"münchen.example\"").unwrap();
    assert_eq!(account.server_name(), "xn--mnchen-3ya.example");
}
