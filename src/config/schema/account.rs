//! The keys above all tables, and those of `[defaults]` and `[account.NAME]`.

use std::num::NonZero;

use super::{
    key::{Choice, Group, Key, Scope},
    table::{Field, Slot, Table, keys},
};
use crate::{
    config::{
        account::{Quirk, RequestAhead, Tls},
        provenance::{Located, Source},
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

    /// How many servers to connect to at the same time.
    /// Accounts on the same host are fetched one after another.
    jobs: NonZero<usize> = const { NonZero::new(4).expect("not zero") } =>
        Key::new("jobs", Group::Top, "servers to connect to at the same time");

    /// The directory of the ledger and the locks.
    /// On a network file system, only one machine at a time should fetch, since its locks may not
    /// reach other machines; `pouch check` warns about such a directory.
    state_dir: Option<FilePath> =>
        Key::new("state-dir", Group::Top, "directory of the ledger and the locks")
            .default_words("`~/.local/state/pouch`")
            .example("\"~/.local/state/pouch\"");
}

keys! {
    /// The keys of `[defaults]` or `[account.NAME]`, as written.
    AccountTable in Scope::Account,
    /// The keys of an account.
    AccountValues:

    /// The server's name or address.
    /// Certificates are checked against it.
    /// Together with `user`, it identifies the account in the ledger.
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
    /// TLS by the STLS command, and an error if the server lacks it; `"off"` is no encryption.
    tls: Tls = Tls::Implicit =>
        Key::new("tls", Group::Server, "or \"starttls\"; \"off\" is unencrypted");

    /// A PEM file with the certificate authorities to trust instead of the system's.
    /// As always, the certificate must name the host in its subjectAltName.
    tls_ca_file: Option<FilePath> =>
        Key::new("tls-ca-file", Group::Server, "trust these authorities, not the system's")
            .example("\"~/.config/pouch/ca.pem\"")
            .one_of(Choice::Trust)
            .needs_tls();

    /// Trust exactly one certificate, whatever its issuer, its name and its dates: the SHA-256
    /// fingerprint that `pouch check` shows.
    /// The prefix `sha256:` and colons between the bytes are optional.
    tls_pin: Option<Pin> =>
        Key::new("tls-pin", Group::Server, "trust exactly this certificate; not with tls-ca-file")
            .example("\"sha256:5f6e04c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d\"")
            .one_of(Choice::Trust)
            .needs_tls();

    /// A PEM file with a client certificate, for servers that require one.
    /// Needs `tls-client-key`.
    tls_client_cert: Option<FilePath> =>
        Key::new("tls-client-cert", Group::Server, "client certificate, if the server requires one")
            .example("\"~/.config/pouch/work.pem\"")
            .needs_tls();

    /// A PEM file with the private key of the client certificate (PKCS #8).
    tls_client_key: Option<FilePath> =>
        Key::new("tls-client-key", Group::Server, "its private key; both or neither")
            .example("\"~/.config/pouch/work.key\"")
            .needs_tls();

    /// Required, as a confirmation, for `tls = "off"`, which sends the password and the mail
    /// unencrypted.
    allow_plaintext_password: bool = false =>
        Key::new("allow-plaintext-password", Group::Server, "required for tls = \"off\"");

    /// The longest time without a byte from the server.
    /// A whole response may take ten times as long, plus a second for each 100 bytes.
    timeout: TimeSpan = TimeSpan::from_seconds(60) =>
        Key::new("timeout", Group::Server, "longest time without a byte from the server");

    /// How long connecting may take, over all addresses of the host.
    connect_timeout: TimeSpan = TimeSpan::from_seconds(20) =>
        Key::new("connect-timeout", Group::Server, "longest time for connecting");

    /// How often to reconnect after a transient error before the run gives up.
    retries: u32 = 2 =>
        Key::new("retries", Group::Server, "reconnections after transient errors in a run");

    /// How many messages to request ahead of the one that is being received, if the server
    /// supports PIPELINING and TOP: a number, or `"auto"`.
    /// 1 disables pipelining.
    request_ahead: RequestAhead = RequestAhead::Auto =>
        Key::new("request-ahead", Group::Server, "or a number of messages; 1 disables pipelining")
            .instead_of_zero("1 disables pipelining: each message is requested after the last");

    /// The login name, often the whole mail address.
    user: String =>
        Key::new("user", Group::Login, "required")
            .required("add its login name: user = \"ann@example.org\"")
            .set_in_sample("\"ann@example.org\"");

    /// How to send the password: `"plain"` (SASL PLAIN), `"user"` (USER and PASS), or `"auto"`,
    /// the first of these that the server offers.
    auth: Auth = Auth::Auto =>
        Key::new("auth", Group::Login, "or \"plain\", \"user\": how to send the password");

    /// A command; the first line that it prints is the password.
    password_command: Option<Vec<String>> =>
        Key::new("password-command", Group::Login, "the first line that it prints")
            .set_in_sample("[\"pass\", \"show\", \"mail/work\"]")
            .one_of(Choice::Password);

    /// A file; its first line is the password.
    /// It must not be readable by other users.
    password_file: Option<FilePath> =>
        Key::new("password-file", Group::Login, "its first line; readable only by you")
            .example("\"~/.secrets/work\"")
            .one_of(Choice::Password);

    /// The name of a credential that systemd(1) provides (`LoadCredential=`).
    password_credential: Option<String> =>
        Key::new("password-credential", Group::Login, "systemd credential (LoadCredential=)")
            .example("\"work\"")
            .one_of(Choice::Password);

    /// A Maildir.
    /// It is created if it does not exist.
    maildir: Option<FilePath> =>
        Key::new("maildir", Group::Destination, "created if missing")
            .set_in_sample("\"~/Mail/work\"")
            .one_of(Choice::Destination);

    /// A mailbox file.
    /// It is created if it does not exist.
    /// Messages are appended as in RFC 4155.
    /// Lines that begin with `From ` after any number of `>` get one more `>` (mboxrd).
    ///
    /// Other programs are kept out by the locks that Debian requires: fcntl, and a file
    /// `FILE.lock`.
    /// pouch waits up to half a minute for a lock.
    /// It removes a lock file whose process has ended, or one that names no process and is five
    /// minutes old.
    /// In a directory where you cannot create files, pouch uses fcntl alone; `pouch check` warns
    /// about that.
    mbox: Option<FilePath> =>
        Key::new("mbox", Group::Destination, "one file for all messages; created if missing")
            .example("\"~/Mail/inbox\"")
            .one_of(Choice::Destination);

    /// A command that reads each message on standard input, once it has been received completely.
    /// Exit status 0 accepts the message.
    /// 75, 69 to 74, death by a signal and `pipe-timeout` defer it to a later run; after three
    /// deferred messages in a row, the account is left alone until the next run.
    /// Any other status rejects the message: it stays on the server, and that counts as a failed
    /// attempt.
    pipe: Option<Vec<String>> =>
        Key::new("pipe", Group::Destination, "command that reads each message on standard input")
            .example("[\"procmail\", \"-d\", \"ann\"]")
            .one_of(Choice::Destination);

    /// An LMTP server, such as Dovecot's: `"unix:/run/dovecot/lmtp"` is a Unix socket,
    /// `"host:port"` an unencrypted TCP connection, for this machine or a trusted network.
    /// Bounces are sent to the `Return-Path` of the message.
    /// A 4xx reply defers the message to a later run, as status 75 of a command does; a 5xx reply
    /// rejects it.
    /// If only some of several recipients accepted a message, only the others get it again.
    lmtp: Option<Lmtp> =>
        Key::new("lmtp", Group::Destination, "or \"host:port\": an LMTP server")
            .example("\"unix:/run/dovecot/lmtp\"")
            .one_of(Choice::Destination);

    /// A list of the recipients' addresses, as the LMTP server knows them.
    lmtp_recipients: Option<Recipients> =>
        Key::new("lmtp-recipients", Group::Destination, "the recipients there; default: the user")
            .default_words("the `user`")
            .example("[\"ann@example.org\"]");

    /// How long a command (`pipe` or a filter) may take for one message, and how long the LMTP
    /// server may be silent.
    pipe_timeout: TimeSpan = TimeSpan::from_seconds(600) =>
        Key::new("pipe-timeout", Group::Destination,
            "longest time for pipe, a filter or lmtp");

    /// A list of commands, each a list: `[["bogofilter", "-p", "-e"]]`.
    /// Every message is piped through them, one after the other, before it is delivered.
    /// Each reads the message on standard input, once it has been received completely, and writes
    /// it to standard output, changed or not.
    ///
    /// Exit status 0 means that the output is the message; an empty output is an error.
    /// 99 drops the message: it is skipped, as by a rule, and stays on the server; `pouch ledger
    /// retry` with its number fetches it again.
    /// All other codes, and `pipe-timeout`, mean the same as for `pipe`.
    ///
    /// Destinations in rules, and multidrop, use the header that the last filter wrote: a rule may
    /// sort by the result of a spam filter.
    /// Rules that skip or delete are evaluated before the filters run.
    /// With filters, messages are not requested ahead.
    filter: Vec<Vec<String>> = Vec::new() =>
        Key::new("filter", Group::Destination,
            "commands to pipe through: [[\"bogofilter\", \"-p\", \"-e\"]]");

    /// A list of header fields to add on top of each message, as mail systems do (RFC 5321,
    /// section 4.4).
    /// `"return-path"` adds `Return-Path: <>` to a message without one, since POP3 does not
    /// transmit the address for bounces.
    /// `"delivered-to"` adds `Delivered-To` with the `user`; a mail system that gets such a
    /// message for the same user may treat it as a loop.
    /// `"received"` adds `Received` with the server, this machine, the account, the UID and the
    /// time.
    ///
    /// The fields are written in this order, whatever the order of the list, above what the filters
    /// wrote.
    /// Rules and multidrop do not see them.
    add_headers: Vec<TraceField> = Vec::new() =>
        Key::new("add-headers", Group::Destination,
            "or fields: [\"received\", \"return-path\", \"delivered-to\"]");

    /// A command that is run once after a run that delivered something.
    after: Option<Vec<String>> =>
        Key::new("after", Group::Destination, "run once if anything was delivered")
            .example("[\"notmuch\", \"new\"]");

    /// How long messages stay on the server after they were fetched: `"forever"`, `"none"`, or a
    /// number of days, weeks, months or years (`"30d"`, `"8w"`, `"6mo"`, `"1y"`).
    /// A month is 30 days, a year 365.
    keep: Keep = Keep::Forever =>
        Key::new("keep", Group::Retention, "\"forever\", \"none\", or a time since the fetch")
            .example("\"30d\"")
            .instead_of_zero(KEEP_NONE);

    /// Keep at most this many delivered messages on the server, the newest ones.
    keep_newest: Option<NonZero<u64>> =>
        Key::new("keep-newest", Group::Retention, "and at most this many messages")
            .example("500")
            .instead_of_zero(KEEP_NONE);

    /// Keep at most this much delivered mail on the server, the newest.
    keep_total: Option<ByteSize> =>
        Key::new("keep-total", Group::Retention, "and at most this much mail")
            .example("\"1GB\"")
            .instead_of_zero(KEEP_NONE);

    /// Delete a message from the server when you delete it from the Maildir.
    /// Deleted means gone from the Maildir and all its folders, under any name and with any flags.
    /// A message that you move out of the Maildir counts as deleted.
    ///
    /// Nothing is deleted, and pouch reports that, if the Maildir is missing or empty, if more than
    /// half of the delivered mail is missing, or if the Maildir was replaced by another one: an
    /// unmounted disk or a restored backup looks like that.
    /// Messages that were missing at that time stay on the server until they have been seen in the
    /// Maildir again.
    sync_deletions: bool = false =>
        Key::new("sync-deletions", Group::Retention,
            "delete on the server what you delete in the Maildir");

    /// Leave larger messages on the server, and report each once.
    max_size: Option<ByteSize> =>
        Key::new("max-size", Group::Fetching, "leave larger messages on the server")
            .example("\"100MB\"")
            .instead_of_zero("remove `max-size` to fetch messages of any size");

    /// The maximum number of messages per run; 0 is no limit.
    /// Rules are not evaluated for messages beyond the limit.
    limit: u64 = 0 =>
        Key::new("limit", Group::Fetching, "messages per run; 0 is no limit");

    /// After this many failed attempts, in as many runs, a message is quarantined.
    attempts: NonZero<u32> = const { NonZero::new(3).expect("not zero") } =>
        Key::new("attempts", Group::Fetching, "failed attempts until a message is quarantined");

    /// Whether to deliver a notice, which is a mail, for each quarantined message.
    notice: bool = true =>
        Key::new("notice", Group::Fetching, "deliver a notice for each quarantined message");

    /// A list of workarounds for this server.
    /// `"no-uidl"` is for a server with no UIDL, or with unreliable UIDs: messages are identified
    /// by their headers (Message-ID, Date, From, Subject, else Received) and by their size.
    ///
    /// That requests the header of every message in every run (TOP, pipelined if the server
    /// allows that).
    /// Of two messages with the same header and size, one that is listed after the other is gone
    /// counts as fetched; and all messages are fetched again if the server ever lists other sizes.
    /// A single message without a UID, among others that have one, is identified in this way
    /// without `quirks`.
    quirks: Vec<Quirk> = Vec::new() =>
        Key::new("quirks", Group::Fetching, "[\"no-uidl\"]: identify messages by their headers (TOP)");

    /// Whether `pouch fetch` without names includes the account.
    enabled: bool = true =>
        Key::new("enabled", Group::Fetching, "false: fetched only if named on the command line");

    /// Required, as a confirmation, for a rule that deletes.
    allow_delete_unread: bool = false =>
        Key::new("allow-delete-unread", Group::Fetching,
            "required for a rule with action = \"delete\"");
}
