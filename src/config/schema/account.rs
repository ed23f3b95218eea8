//! The keys above all tables, and those of `[defaults]` and `[account.NAME]`.

use std::{num::NonZero, sync::Arc};

use super::{
    key::{Choice, Group, Key, Scope},
    table::{Field, Slot, Table, keys},
};
use crate::{
    config::{
        account::{Quirk, RequestAhead, Tls},
        oauth::OAuth,
        provenance::{Located, Source},
        route::{ConnectCommand, Proxy},
        syntax::{FilePath, Host, Lmtp, Pin},
        value::{Recipients, Value},
    },
    domain::{auth::Auth, plan::Keep, size::ByteSize, time::TimeSpan, trace_fields::TraceField},
};

/// What to do instead of keeping nothing.
const KEEP_NONE: &str =
    "`keep = \"none\"` deletes every message from the server once it is safe on disk";

keys! {
    /// The keys above all tables, as written.
    TopTable in Scope::Top,
    /// The keys above all tables.
    TopValues:

    /// How many accounts to fetch at the same time.
    /// `jobs-per-host` also limits their number on each host.
    jobs: NonZero<usize> = const { NonZero::new(4).expect("not zero") } =>
        Key::new("jobs", Group::Top, "accounts to fetch at the same time");

    /// The period over which a run distributes the starts of its accounts evenly, so that thousands
    /// of accounts do not log in within seconds.
    /// With `--every`, it is at most the interval.
    /// Without this key, accounts start as soon as `jobs` and `jobs-per-host` allow.
    spread: Option<TimeSpan> =>
        Key::new("spread", Group::Top, "distribute the starts over this time")
            .example("\"10m\"");

    /// The directory of the ledger and the locks.
    /// It has mode 0700, and the files in it 0600; other users must not be able to write to it.
    /// On a network file system, only one machine at a time should fetch, since its locks may not
    /// reach other machines; `pouch check` warns about such a directory.
    /// Do not synchronise it between machines (Syncthing, Dropbox): each would fetch what the other
    /// has fetched, and a ledger that is replaced during a run is damaged.
    /// Several machines can fetch the same mailbox if each has a directory of its own, and does not
    /// delete messages before the others have fetched them.
    state_dir: Option<FilePath> =>
        Key::new("state-dir", Group::Top, "directory of the ledger and the locks")
            .default_words("`~/.local/state/pouch`")
            .example("\"~/.local/state/pouch\"");

    /// Whether a run is confined to the files and ports of its accounts (Landlock, Linux 5.19).
    /// It writes the state directory, its Maildirs and the directories of its mbox files, reads
    /// passwords, certificates and files of the system, and starts no program.
    /// A run in which an account has `password-command`, `token-command`, `proxy-password-command`,
    /// `connect-command`, `before`, `pipe`, `filter`, `after` or `alert` is not confined.
    /// `pouch check` prints whether the rules are in force.
    /// Set `false` if a library of the system needs other files or ports, such as host names in
    /// LDAP.
    sandbox: bool = true =>
        Key::new("sandbox", Group::Top, "confine a run to its files and ports");

    /// A command that prints further accounts as TOML or JSON, such as those of a database; see
    /// ACCOUNTS OF A COMMAND below.
    /// It is run without a shell, when a command needs the accounts, and again before each round of
    /// `--every`.
    accounts_command: Option<Vec<String>> =>
        Key::new("accounts-command", Group::Top, "command that prints more accounts")
            .example("[\"/usr/local/bin/list-accounts\"]");

    /// A file to which every run writes metrics of all accounts for Prometheus; `fetch --metrics`
    /// overrides it.
    /// Its directory must exist, and should have no other purpose, since the sandbox allows a run
    /// to write there.
    /// For the node exporter, use the directory in its option `--collector.textfile.directory`, and
    /// a file name that ends in `.prom`.
    metrics: Option<FilePath> =>
        Key::new("metrics", Group::Top, "file with metrics for Prometheus")
            .example("\"/var/lib/prometheus/node-exporter/pouch.prom\"");
}

keys! {
    /// The keys of `[defaults]` or `[account.NAME]`, as written.
    AccountTable in Scope::Account,
    /// The keys of an account.
    AccountValues:

    /// The server's name or address.
    /// An internationalized name is converted to the form of DNS (`xn--…`).
    /// The certificate must be issued for it, or for `tls-server-name`: subjectAltName counts, the
    /// common name does not.
    /// If it changes, or `port` or `user`, the mailbox is recognised by its messages; see pouch(1).
    host: Host =>
        Key::new("host", Group::Server, "required")
            .required("add its server: host = \"pop.example.org\"")
            .set_in_sample("\"pop.example.org\"");

    /// The server's port.
    port: NonZero<u16> =>
        Key::new("port", Group::Server, "995 for tls = \"implicit\", else 110")
            .default_words("995 for implicit TLS, else 110")
            .example("995");

    /// How the connection is encrypted: `"implicit"` is TLS from the first byte; `"starttls"` is
    /// TLS by the STLS command, and an error if the server does not support it; `"off"` is no
    /// encryption.
    tls: Tls = Tls::Implicit =>
        Key::new("tls", Group::Server, "or \"starttls\", or \"off\" (unencrypted)");

    /// The name that the certificate must be issued for, if it is not `host`.
    /// Set it if `host` and `port` are the end of a tunnel on this machine.
    /// It is also sent to the server (SNI).
    tls_server_name: Option<Host> =>
        Key::new("tls-server-name", Group::Server, "name in the certificate, if not the host")
            .example("\"pop.example.org\"")
            .needs_tls();

    /// A PEM file with the certificate authorities to trust instead of the system's.
    /// The certificate must still be issued for the host (subjectAltName).
    tls_ca_file: Option<FilePath> =>
        Key::new("tls-ca-file", Group::Server, "trust these, not the system's authorities")
            .example("\"~/.config/pouch/ca.pem\"")
            .one_of(Choice::Trust)
            .needs_tls();

    /// Trust only the certificate with this fingerprint, whatever its issuer, name and dates: the
    /// SHA-256 fingerprint that `pouch check` shows.
    /// The prefix `sha256:` and colons between the bytes are optional.
    tls_pin: Option<Pin> =>
        Key::new("tls-pin", Group::Server, "trust only the certificate with this fingerprint; not with tls-ca-file")
            .example("\"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"")
            .one_of(Choice::Trust)
            .needs_tls();

    /// A PEM file with a client certificate, for servers that require one.
    /// Requires `tls-client-key`.
    tls_client_cert: Option<FilePath> =>
        Key::new("tls-client-cert", Group::Server, "client certificate, if required")
            .example("\"~/.config/pouch/work.pem\"")
            .needs_tls();

    /// A PEM file with the private key of the client certificate (PKCS #8).
    /// It must belong to the user or root, and not be accessible to other users; the group of a
    /// file of root may read it.
    tls_client_key: Option<FilePath> =>
        Key::new("tls-client-key", Group::Server, "its private key; needs tls-client-cert")
            .example("\"~/.config/pouch/work.key\"")
            .needs_tls();

    /// Whether the password or token may be sent unencrypted.
    /// Without it, `tls = "off"` works only with login methods that do not send the password:
    /// `"auto"` uses SCRAM, and `"cram-md5"` and `"apop"` are possible.
    /// The mail itself is unencrypted in any case.
    allow_plaintext_password: bool = false =>
        Key::new("allow-plaintext-password", Group::Server, "allow it with tls = \"off\"");

    /// A proxy: `"socks5://host:port"` for SOCKS 5, `"http://host:port"` for an HTTP proxy that
    /// supports CONNECT, or `"none"`.
    /// The port is 1080 or 80 by default.
    /// A user name is part of the URL: `"socks5://user@host:port"`, with special characters such as
    /// `@` percent-encoded; `proxy-password-command` prints its password.
    ///
    /// The proxy resolves `host`; pouch makes no DNS query for it.
    /// The connection to the proxy itself is not encrypted, so the proxy's password can be read on
    /// the network.
    /// Requests to OAuth 2.0 providers use the same proxy; destinations (`lmtp`) do not.
    /// Environment variables do not set a proxy for POP3.
    proxy: Option<Proxy> =>
        Key::new("proxy", Group::Server, "or \"http://host:port\", or \"none\"")
            .example("\"socks5://ann@proxy:1080\"")
            .one_of(Choice::Route);

    /// A command that prints the password for the proxy on its first line.
    /// It is run like `password-command`, with the same time limit.
    proxy_password_command: Option<Vec<String>> =>
        Key::new("proxy-password-command", Group::Server, "command that prints its password")
            .example("[\"pass\", \"show\", \"proxy\"]");

    /// A command whose standard input and output are the connection to the server.
    /// In its arguments, `%h` is replaced by `host`, `%p` by `port`, and `%%` by a percent sign.
    /// It is run for every connection, without a shell and with the name of the account in
    /// `POUCH_ACCOUNT`.
    /// TLS and all time limits apply as usual.
    ///
    /// The command must not use the terminal: for ssh(1), add `-oBatchMode=yes` and use a key. Its
    /// standard error is shown if the connection fails. If ssh(1) rejects the host key, or the SSH
    /// server rejects the user's key, the failure is reported at once, with exit status 77. When
    /// the session ends, the command and the programs that it started get SIGTERM, and SIGKILL two
    /// seconds later.
    connect_command: Option<ConnectCommand> =>
        Key::new("connect-command", Group::Server, "its input and output are the connection; not with proxy")
            .example("[\"ssh\", \"-oBatchMode=yes\", \"-W\", \"%h:%p\", \"gate\"]")
            .one_of(Choice::Route);

    /// A command that is run before pouch connects, such as one that starts a VPN.
    /// `POUCH_ACCOUNT` in its environment is the name of the account.
    /// Every command that connects runs it: `fetch`, `plan`, `check`, `ledger catchup` and
    /// `ledger adopt`.
    /// If its exit status is not 0, or it exceeds `pipe-timeout`, the account is not fetched in
    /// this run, and the exit status of pouch is 75, or 77 as for `connect-command`.
    before: Option<Vec<String>> =>
        Key::new("before", Group::Server, "run before connecting")
            .example("[\"nmcli\", \"con\", \"up\", \"vpn\"]");

    /// The longest time to wait for data from the server.
    /// A TLS handshake may not take longer as a whole.
    /// A complete response may take ten times as long, plus one second for every 100 bytes.
    timeout: TimeSpan = TimeSpan::from_seconds(60) =>
        Key::new("timeout", Group::Server, "longest wait for data from the server");

    /// The longest time for connecting, to all addresses of the host together, or through a proxy.
    connect_timeout: TimeSpan = TimeSpan::from_seconds(20) =>
        Key::new("connect-timeout", Group::Server, "longest time for connecting");

    /// How many times to reconnect after a transient error before the run gives up.
    /// If a message may have caused the loss of the connection, the run reconnects at least three
    /// times to fetch the others.
    /// If the server may have lost pipelined commands, the run reconnects once more, without
    /// pipelining.
    retries: u32 = 2 =>
        Key::new("retries", Group::Server, "reconnections after transient errors");

    /// How many accounts on the same host to fetch at the same time.
    /// Many providers limit the number of connections from a client, and some refuse an excess
    /// connection as if the password were wrong.
    /// If accounts on a host have different values, the lowest one applies.
    /// While the server refuses connections or does not respond, fewer accounts are fetched at the
    /// same time; see pouch(1).
    jobs_per_host: NonZero<usize> = NonZero::<usize>::MIN =>
        Key::new("jobs-per-host", Group::Server, "accounts on a host to fetch at the same time");

    /// How many messages to request before the first of them has arrived, if the server supports
    /// PIPELINING: a number, or `"auto"`.
    /// 1 disables pipelining.
    request_ahead: RequestAhead = RequestAhead::Auto =>
        Key::new("request-ahead", Group::Server, "or a number; 1 disables pipelining")
            .instead_of_zero("1 disables pipelining: each message is requested after the last");

    /// The login name, often the whole mail address.
    user: String =>
        Key::new("user", Group::Login, "required")
            .required("add its login name: user = \"ann@example.org\"")
            .set_in_sample("\"ann@example.org\"");

    /// A name for the mailbox, if pouch cannot recognise it by its messages.
    /// A mailbox keeps its ledger as long as it keeps its name, even if `host`, `port` and `user`
    /// change; accounts with different names are different mailboxes.
    /// An earlier address of the mailbox, such as `"ann@pop.example.org:995"`, can be used as its
    /// name.
    /// A name that no ledger has is given to the mailbox of the account.
    mailbox: Option<String> =>
        Key::new("mailbox", Group::Login, "name of the mailbox, if its address is not enough")
            .example("\"private\"");

    /// The login method.
    /// With a password, `"auto"` is SCRAM if the server supports it, which does not send the
    /// password, and otherwise SASL PLAIN or LOGIN, or USER and PASS.
    /// If the server refuses SCRAM for the user, another method is used, and remembered for 30
    /// days.
    /// With a token, `"auto"` is XOAUTH2 or OAUTHBEARER, the first of these that the server
    /// supports.
    ///
    /// The other values are one method each: `"scram-sha-256"`, `"scram-sha-1"`, `"plain"` and
    /// `"login"` (SASL); `"user"` (USER and PASS); `"cram-md5"` and `"apop"`, which do not send the
    /// password, but protect it poorly; `"external"`, which uses `tls-client-cert` instead of a
    /// password; and `"xoauth2"` and `"oauthbearer"`, for tokens.
    auth: Auth = Auth::Auto =>
        Key::new("auth", Group::Login, "the login method, such as \"scram-sha-256\"");

    /// A command that prints the password on its first line.
    /// It is run without a shell; at a terminal it may ask for a passphrase.
    /// Messages name the program without its arguments; `pouch config show` prints them, and other
    /// users of the machine can see them while the command runs.
    password_command: Option<Vec<String>> =>
        Key::new("password-command", Group::Login, "command that prints the password")
            .set_in_sample("[\"pass\", \"show\", \"mail/work\"]")
            .one_of(Choice::Password);

    /// A command that prints an access token of OAuth 2.0 on its first line, such as oama(1) or
    /// `mutt_oauth2.py`.
    /// It is run like `password-command`, with the same time limit.
    /// If the server refuses the token, the command is run once more, and a different token is
    /// tried on a new connection.
    token_command: Option<Vec<String>> =>
        Key::new("token-command", Group::Login, "command that prints an OAuth 2.0 token")
            .example("[\"oama\", \"access\", \"ann@example.org\"]")
            .one_of(Choice::Password);

    /// The longest time that `password-command` or `token-command` may run if standard error is not
    /// a terminal.
    /// After that, it and the programs that it started get SIGTERM, and SIGKILL two seconds later.
    /// At a terminal there is no limit, since the command may be waiting for you.
    password_command_timeout: TimeSpan = TimeSpan::from_seconds(60) =>
        Key::new("password-command-timeout", Group::Login,
            "its longest time, without a terminal");

    /// A file that contains the password on its first line.
    /// It must be a regular file that belongs to the user or root and is not accessible to other
    /// users; the group of a file of root may read it.
    /// The password is sent in the encoding of the file; a UTF-8 byte order mark is not part of it.
    password_file: Option<FilePath> =>
        Key::new("password-file", Group::Login, "file with the password, mode 600")
            .example("\"~/.secrets/work\"")
            .one_of(Choice::Password);

    /// The name of a credential that systemd(1) passes to the service (`LoadCredential=`).
    password_credential: Option<String> =>
        Key::new("password-credential", Group::Login, "systemd credential (LoadCredential=)")
            .example("\"work\"")
            .one_of(Choice::Password);

    /// Use OAuth 2.0 instead of a password.
    /// The value is a provider, `"microsoft"`, `"google"`, `"fastmail"`, `"yahoo"`, `"aol"` or
    /// `"comcast"`, or a table, described under OAUTH below.
    /// `pouch login` signs in once; later runs renew the token.
    oauth: Option<OAuth> =>
        Key::new("oauth", Group::Login, "or \"google\", or a table; see `pouch login`")
            .example("{ provider = \"microsoft\", client-id = \"…\" }")
            .one_of(Choice::Password);

    /// A Maildir.
    /// It is created if it does not exist.
    /// Directories that pouch creates have mode 0700, and files mode 0600.
    maildir: Option<FilePath> =>
        Key::new("maildir", Group::Destination, "created if missing")
            .set_in_sample("\"~/Mail/work\"")
            .one_of(Choice::Destination);

    /// An mbox file.
    /// It is created with mode 0600 if it does not exist; an existing file keeps its mode.
    /// The format is that of RFC 4155; lines that begin with `From `, or with that after any number
    /// of `>`, get one more `>` (mboxrd).
    ///
    /// The file is locked with fcntl and with a lock file `FILE.lock`; pouch waits up to 30 seconds
    /// for both.
    /// A lock file is stale if it names a process of this machine that no longer runs, or one that
    /// was started after the lock file was written.
    /// If you cannot create files in the directory, only fcntl is used; `pouch check` warns about
    /// that.
    mbox: Option<FilePath> =>
        Key::new("mbox", Group::Destination, "mbox file; created if missing")
            .example("\"~/Mail/inbox\"")
            .one_of(Choice::Destination);

    /// A command that reads each message on standard input, once it has been received completely.
    /// The message has no `From ` line: procmail adds one with `-f -` or `-d`.
    /// Exit status 0 accepts the message.
    /// 69 to 75, termination by a signal, and `pipe-timeout` defer it to a later run; after three
    /// deferred messages in a row, the run of the account ends.
    /// Any other status rejects the message: it stays on the server, and the failure counts as an
    /// attempt.
    pipe: Option<Vec<String>> =>
        Key::new("pipe", Group::Destination, "command that reads each message")
            .example("[\"procmail\", \"-d\", \"ann\"]")
            .one_of(Choice::Destination);

    /// An LMTP server, such as Dovecot's: `"unix:/run/dovecot/lmtp"` is a Unix socket,
    /// `"host:port"` an unencrypted TCP connection, for this machine or a trusted network.
    /// The envelope sender is the `Return-Path` of the message.
    /// A 4xx reply defers the message to a later run, a 5xx reply rejects it, as exit statuses of
    /// `pipe` do.
    /// If a message was accepted for some recipients only, it is sent to the others again.
    lmtp: Option<Lmtp> =>
        Key::new("lmtp", Group::Destination, "LMTP server; or \"host:port\"")
            .example("\"unix:/run/dovecot/lmtp\"")
            .one_of(Choice::Destination);

    /// A list of recipients on the LMTP server: user names or addresses.
    lmtp_recipients: Option<Recipients> =>
        Key::new("lmtp-recipients", Group::Destination, "its recipients; default: the user")
            .default_words("the `user`")
            .example("[\"ann@example.org\"]");

    /// The owner of the mail, if root runs pouch.
    /// The account is fetched by a process that has only the rights and groups of this user, with
    /// the user's files, ledger and programs, as if the user had run pouch.
    /// `~` is the home directory of the user.
    /// Only the config, `password-file` and `password-credential` are read by root, once; in
    /// `password-file`, `~` is the home directory of root.
    ///
    /// If `state-dir` or `--state-dir` is set, the ledger is in a subdirectory with the name of the
    /// user, which pouch creates for the user.
    /// If the key is added to an account later, its ledger is empty, and all mail is fetched again.
    /// Accounts of different users are fetched at the same time, even from the same host.
    /// Without this key, root delivers only to directories of root.
    deliver_as: Option<String> =>
        Key::new("deliver-as", Group::Destination, "owner of the mail, if root runs pouch")
            .example("\"ann\"");

    /// The longest time that a command in `pipe`, `filter`, `before`, `after` or `alert` may run,
    /// and the longest time to wait for a response of the LMTP server.
    pipe_timeout: TimeSpan = TimeSpan::from_seconds(600) =>
        Key::new("pipe-timeout", Group::Destination,
            "limit for pipe, filter, before, after, alert, lmtp");

    /// A list of commands, each a list: `[["bogofilter", "-p", "-e"]]`.
    /// Every message is piped through them, in this order, before it is delivered.
    /// Each reads the message on standard input, once it has been received completely, and writes
    /// it to standard output, changed or unchanged.
    ///
    /// Exit status 0 means that the output is the message.
    /// An empty output, and one of more than twice the size of the message and 32 MB, reject the
    /// message.
    /// 99 skips the message, as a rule does.
    /// All other statuses, and `pipe-timeout`, mean the same as for `pipe`.
    ///
    /// Rules with a destination, and multidrop, see the header that the last filter wrote, so a
    /// rule can sort by the result of a spam filter.
    /// Rules that skip or delete are evaluated before the filters run.
    /// With filters, messages are not requested ahead.
    filter: Vec<Vec<String>> = Vec::new() =>
        Key::new("filter", Group::Destination,
            "commands to pipe through: [[\"bogofilter\", \"-p\", \"-e\"]]");

    /// A list of header fields to add at the top of each message, as mail servers do (RFC 5321,
    /// section 4.4).
    /// `"return-path"` adds `Return-Path: <>` to a message that has none, since POP3 does not
    /// transmit the envelope sender.
    /// `"delivered-to"` adds `Delivered-To` with the `user`; a mail server that receives the
    /// message for the same user may treat this as a mail loop.
    /// `"received"` adds `Received` with the server, this machine, the account, the UID and the
    /// time.
    ///
    /// The order in the list has no effect.
    /// Rules and multidrop do not see these fields.
    add_headers: Vec<TraceField> = Vec::new() =>
        Key::new("add-headers", Group::Destination,
            "or [\"received\", \"return-path\", \"delivered-to\"]");

    /// A command that is run once at the end of a run that delivered mail.
    /// `POUCH_ACCOUNT` in its environment is the name of the account.
    after: Option<Vec<String>> =>
        Key::new("after", Group::Destination, "run once if anything was delivered")
            .example("[\"notmuch\", \"new\"]");

    /// A command that is run once when the account starts to need attention, and once when it has
    /// recovered.
    /// In its environment, `POUCH_STATE` is `problem` or `recovered`, `POUCH_MESSAGE` is the reason
    /// in one sentence, and `POUCH_ACCOUNT` is the name of the account.
    ///
    /// An account needs attention if it fails (a transient failure counts once it has lasted a
    /// day), or if messages are quarantined, as in `pouch status --problems`.
    /// The command is run at the end of the run that detects this.
    /// If its exit status is not 0, or it exceeds `pipe-timeout`, pouch reports that at once and
    /// then daily, and the next run tries again.
    /// If the machine stops while the command is running, it is run again.
    alert: Option<Vec<String>> =>
        Key::new("alert", Group::Fetching, "run when the account fails, and when it has recovered")
            .example("[\"/home/ann/bin/mail-alert\"]");

    /// How long messages stay on the server after they were fetched: `"forever"`, `"none"`, or a
    /// number of days, weeks, months or years (`"30d"`, `"8w"`, `"6mo"`, `"1y"`).
    /// A month is 30 days, a year 365.
    keep: Keep = Keep::Forever =>
        Key::new("keep", Group::Retention, "\"forever\", \"none\" or a time")
            .example("\"30d\"")
            .instead_of_zero(KEEP_NONE);

    /// The maximum number of delivered messages on the server; older ones are deleted. Only
    /// delivered messages count. A message that fails, or is larger than `max-size`, stays on the
    /// server in addition to them, and no delivered message is deleted in its place.
    keep_newest: Option<NonZero<u64>> =>
        Key::new("keep-newest", Group::Retention, "and at most this many messages")
            .example("500")
            .instead_of_zero(KEEP_NONE);

    /// The maximum size of all delivered messages on the server; older ones are deleted.
    /// The same messages count as for `keep-newest`.
    keep_total: Option<ByteSize> =>
        Key::new("keep-total", Group::Retention, "and at most this much mail")
            .example("\"1GB\"")
            .instead_of_zero(KEEP_NONE);

    /// Delete a message from the server after you deleted it from the Maildir.
    /// A message counts as deleted if its file is in none of the folders of the Maildir any more,
    /// whatever its flags; this includes a message that you move out of the Maildir.
    ///
    /// Nothing is deleted, and pouch reports that, if the Maildir is missing or empty, if more than
    /// half of the delivered mail is missing, if the Maildir was replaced by another one, as with
    /// an unmounted disk, or restored from a backup, or if a directory or file that may contain a
    /// message cannot be read.
    /// A restored Maildir is recognised by directories that are older than before, or files that
    /// are newer than their messages.
    /// A program that restores a backup by removing newer files, and leaves all others as they are,
    /// cannot be distinguished from you.
    /// Messages that were missing at that time stay on the server until they have been seen in the
    /// Maildir again.
    sync_deletions: bool = false =>
        Key::new("sync-deletions", Group::Retention,
            "also delete what you delete locally");

    /// The maximum size of a message; larger ones stay on the server, and each is reported once.
    /// `pouch ledger retry` with its number fetches one of them; `--max-size` replaces the limit
    /// for one run.
    max_size: Option<ByteSize> =>
        Key::new("max-size", Group::Fetching, "leave larger messages on the server")
            .example("\"100MB\"")
            .instead_of_zero("remove `max-size` to fetch messages of any size");

    /// The maximum number of messages per run; 0 means no limit.
    /// Rules are not evaluated for messages beyond the limit.
    limit: u64 = 0 =>
        Key::new("limit", Group::Fetching, "messages per run; 0 means no limit");

    /// The number of failed attempts, each in a different run, after which a message is
    /// quarantined.
    attempts: NonZero<u32> = const { NonZero::new(3).expect("not zero") } =>
        Key::new("attempts", Group::Fetching, "failed attempts before quarantine");

    /// Whether to deliver a mail about each message that is quarantined.
    notice: bool = true =>
        Key::new("notice", Group::Fetching, "mail about each quarantined message");

    /// A list of workarounds for this server.
    /// `"no-uidl"` is for a server that lacks UIDL or has unreliable UIDs: messages are identified
    /// by their headers (Message-ID, Date, From and Subject, or Received if these are missing) and
    /// by their size.
    ///
    /// This requests the header of every message in every run (TOP).
    /// A new message with the header and the size of one that was fetched and deleted before
    /// counts as fetched.
    /// If the sizes that the server lists change, all messages are fetched again.
    quirks: Vec<Quirk> = Vec::new() =>
        Key::new("quirks", Group::Fetching, "[\"no-uidl\"]: identify by headers (TOP)");

    /// Whether commands include the account if no account is named.
    enabled: bool = true =>
        Key::new("enabled", Group::Fetching, "false: used only if it is named");

    /// Must be `true` if a rule has `action = "delete"`, as a confirmation.
    allow_delete_unread: bool = false =>
        Key::new("allow-delete-unread", Group::Fetching,
            "required for action = \"delete\"");
}
