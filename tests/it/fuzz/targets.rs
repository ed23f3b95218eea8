//! The fuzz targets and the properties that they check. Each target takes bytes from an untrusted
//! source. libFuzzer calls them (`fuzz_targets/`), and so does an ordinary test for a short time
//! (`tests/it/fuzz.rs`).

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use pouch::{
    config::{
        Account, provenance,
        resolve::{ConfigDefaults, resolve},
        toml::File,
    },
    discovery::{self, Record, RecordType},
    domain::{
        auth::{Auth, Mechanism},
        mail_address::{MailAddress, is_domain},
        message::{Head, fingerprint, summarize},
    },
    import::{self, Context, Program, render, seen},
    pop3::{
        body::Decoder,
        login::{Authorization, ConnectionOptions},
        reply::{self, Capabilities, Reply},
        retrieval::{RetrRequest, RetrResponse, Window},
        sasl::{Credentials, Secret},
        transaction::Transaction,
    },
    text::sanitize,
};

/// A target: the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 8] = [
    ("reply", reply),
    ("body", body),
    ("session", session),
    ("config", config),
    ("header", header),
    ("import", import),
    ("autoconfig", autoconfig),
    ("dns", dns),
];

/// Parses single lines: status lines, listings, capabilities.
pub fn reply(data: &[u8]) {
    let mut known = Capabilities::default();
    for line in data.split(|octet| *octet == b'\n') {
        if let Some(Reply::Ok(text)) = Reply::parse(line) {
            assert!(text.len() < line.len());
            reply::stat(&text);
        }
        reply::stat(line);
        if let Some((num, _)) = reply::list_line(line) {
            assert!(num.0 > 0);
        }
        if let Some((num, uid)) = reply::uidl_line(line) {
            assert!(num.0 > 0 && !uid.text().is_empty() && line.ends_with(&uid.text()));
        }
        known.add(line);
        assert_safe(&sanitize(line));
    }
    for tag in ["SASL", "PIPELINING", ""] {
        assert!(!known.has(tag) || known.arguments(tag).is_some());
    }
    known.offers("PLAIN");
}

/// Parses a multi-line response. Any split into reads gives the same content, and stuffing the
/// content again gives the response. The first two bytes determine the split.
pub fn body(data: &[u8]) {
    let Some((cut, wire)) = data.split_at_checked(2) else {
        return;
    };
    let whole = decoded(wire, usize::MAX, 0);
    assert_eq!(
        decoded(wire, usize::from(cut[0]) + 1, usize::from(cut[1])),
        whole
    );
    let (content, used) = whole;
    assert!(content.len() <= wire.len());
    if let Some(used) = used {
        assert!(wire[..used].ends_with(b".\r\n"));
        assert!(used == 3 || wire[..used].ends_with(b"\r\n.\r\n"));
    }
}

/// Returns the content of a multi-line response that arrives in a read of `first` bytes and reads
/// of `piece` bytes, and the position of its end.
fn decoded(wire: &[u8], piece: usize, first: usize) -> (Vec<u8>, Option<usize>) {
    let (mut decoder, mut content, mut buffer, mut at) =
        (Decoder::default(), Vec::new(), Vec::new(), 0);
    let mut next = if first == 0 { piece } else { first };
    while at < wire.len() {
        let to = at.saturating_add(next).min(wire.len());
        next = piece;
        buffer.extend_from_slice(&wire[at..to]);
        at = to;
        let decoded = decoder.decode(&mut buffer);
        content.extend_from_slice(&buffer[..decoded.content]);
        buffer.drain(..decoded.used);
        if decoded.end {
            return (content, Some(at - buffer.len()));
        }
        assert!(buffer.len() <= 2);
    }
    (content, None)
}

/// Runs a session with a server that sends these bytes, whatever the commands are. The last byte
/// determines the split into reads and the commands.
pub fn session(data: &[u8]) {
    let Some((choice, said)) = data.split_last() else {
        return;
    };
    let pieces = [
        Pieces::Lines,
        Pieces::Octets(1),
        Pieces::Octets(1000),
        Pieces::Octets(usize::MAX),
    ];
    let pieces = pieces[usize::from(choice >> 6)];
    let heads = choice & 1 == 1;
    if let Err(error) = run(Server { said, pieces }, Auth::Auto, heads) {
        assert_safe(&error.to_string().replace('\n', " "));
    }
}

/// Runs a session with USER and PASS that fetches all messages, deletes them and quits. The server
/// sends `said`, whatever the commands are.
///
/// # Errors
/// The session fails.
pub fn talk(said: &[u8]) -> pouch::error::Result<()> {
    run(
        Server {
            said,
            pieces: Pieces::Lines,
        },
        Auth::Only(Mechanism::User),
        false,
    )
}

fn run(server: Server<'_>, auth: Auth, heads: bool) -> pouch::error::Result<()> {
    let terms = ConnectionOptions {
        peer: "pop.example.org".into(),
        time_limit: Duration::from_mins(1),
        trace: None,
    };
    let authorization = Authorization::greet(server, terms)?;
    let who = Credentials {
        user: "ann",
        secret: Secret::Password(b"secret"),
        auth,
        host: "pop.example.org",
        port: 995,
        is_encrypted: true,
        allow_unencrypted: false,
        remembered: None,
    };
    let mut session = authorization.login(&who).map_err(|failure| failure.error)?;
    let (listing, ()) = session.list(|| ())?;
    assert!(
        listing
            .messages
            .is_sorted_by(|one, other| one.num < other.num),
        "numbers are unique and in order"
    );
    let nums: Vec<_> = listing.messages.iter().map(|message| message.num).collect();
    if heads {
        session.tops(&nums, drop)?;
    } else {
        let wanted: Vec<_> = listing
            .messages
            .iter()
            .map(|message| RetrRequest {
                num: message.num,
                octets: message.octets,
            })
            .collect();
        fetch(&mut session, &wanted)?;
    }
    let deleted = session.delete(&nums);
    if let Some(error) = deleted.lost {
        return Err(error);
    }
    assert_eq!(deleted.responses.len(), nums.len());
    session.quit()
}

fn fetch(
    session: &mut Transaction<Server<'_>>,
    wanted: &[RetrRequest],
) -> pouch::error::Result<()> {
    let mut retrieval = session.retrieve(
        wanted,
        Window {
            count: 16,
            cautious: 16,
            octets: 100_000,
        },
    );
    for _ in wanted {
        match retrieval.next()? {
            Some(RetrResponse::Message(mut body)) => {
                while let Some(content) = body.chunk()? {
                    assert!(!content.is_empty());
                }
            }
            Some(RetrResponse::Refused(_)) => {}
            None => panic!("an answer for each message"),
        }
    }
    assert!(retrieval.next()?.is_none());
    Ok(())
}

/// A server that sends data and ignores commands.
struct Server<'a> {
    said: &'a [u8],
    pieces: Pieces,
}

/// The amount of data that each read returns.
#[derive(Clone, Copy)]
enum Pieces {
    /// One line, and only after everything was read.
    Lines,
    /// This number of bytes.
    Octets(usize),
}

impl Read for Server<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = match self.pieces {
            Pieces::Lines => self
                .said
                .iter()
                .position(|octet| *octet == b'\n')
                .map_or(usize::MAX, |at| at + 1),
            Pieces::Octets(piece) => piece,
        };
        let (now, later) = self
            .said
            .split_at(piece.min(buffer.len()).min(self.said.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.said = later;
        Ok(now.len())
    }
}

impl Write for Server<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parses a config. It is resolved, or the error can be shown. The output of `config show` can be
/// parsed again with the same meaning.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let home = Path::new("/home/ann");
    let path = home.join(".config/pouch/config.toml");
    let context = ConfigDefaults {
        home: home.to_owned(),
        state_dir: PathBuf::from("/home/ann/.local/state/pouch"),
    };
    match File::parse(&path, home, text).and_then(|file| resolve(file, &context)) {
        Ok(config) => {
            for account in config.accounts {
                let set = account
                    .settings
                    .iter()
                    .filter(|setting| setting.value != provenance::UNSET);
                let lines: Vec<_> = set
                    .map(|setting| format!("{} = {}\n", setting.key, setting.value))
                    .collect();
                let again = format!("[account.again]\n{}", lines.concat());
                let file = File::parse(&path, home, &again)
                    .unwrap_or_else(|error| panic!("{again}{error}"));
                let config =
                    resolve(file, &context).unwrap_or_else(|error| panic!("{again}{error}"));
                let values = |account: &Account| -> Vec<_> {
                    account
                        .settings
                        .iter()
                        .map(|setting| setting.value.clone())
                        .collect()
                };
                assert_eq!(values(&config.accounts[0]), values(&account));
            }
        }
        Err(error) => assert_safe(&error.to_string().replace('\n', " ")),
    }
}

/// Parses the header of a message. Any split into reads gives the same result, which can be shown.
pub fn header(data: &[u8]) {
    let Some((cut, message)) = data.split_first() else {
        return;
    };
    let mut head = Head::default();
    for piece in message.chunks(usize::from(*cut) + 1) {
        head.push(piece);
    }
    let mut whole = Head::default();
    whole.push(message);
    assert_eq!(head.as_bytes(), whole.as_bytes());
    let glance = summarize(head.as_bytes());
    for text in [glance.sender, glance.address, glance.subject, glance.date]
        .into_iter()
        .flatten()
    {
        assert_safe(&sanitize(text.as_bytes()));
    }
    let print = fingerprint(head.as_bytes());
    assert_eq!(print, fingerprint(head.as_bytes()));
}

/// Asserts that the text has no control sequences.
fn assert_safe(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Reads a file as the config and as the state of each program. The accounts can be written as
/// TOML, and no password is in the report.
pub fn import(data: &[u8]) {
    for program in Program::ALL {
        let context = Context {
            path: Path::new("/home/ann/.rc"),
            home: Path::new("/home/ann"),
            login: "ann",
            read: &|_| None,
        };
        let mut imported = import::parse(program, data, &context);
        imported.rename(&[]);
        let usable: Vec<_> = imported
            .accounts
            .iter()
            .filter(|one| !one.is_unusable)
            .collect();
        let text = render::accounts(&usable);
        assert!(text.parse::<toml::Table>().is_ok(), "{text}");
        let state = seen::read(program, data);
        assert!(
            state
                .blocks
                .iter()
                .flat_map(|block| &block.messages)
                .all(|one| !one.uid.is_empty())
        );
    }
}

/// Parses the document of a mail provider. The values of its servers can be used and displayed, and
/// so can the error.
pub fn autoconfig(data: &[u8]) {
    let address = MailAddress::parse("ann@example.org").unwrap();
    match discovery::parse(data, &address) {
        Ok(servers) => {
            assert!(servers.is_sorted_by_key(|server| server.encryption));
            for server in servers {
                assert!(is_domain(&server.host), "{:?}", server.host);
                assert!(server.port > 0);
                assert!((1..=254).contains(&server.user.len()));
                assert_safe(&server.user);
            }
        }
        Err(reason) => assert_safe(&reason),
    }
}

/// Decodes a packet of a name server. All hosts in it are valid names.
pub fn dns(data: &[u8]) {
    let name = "_pop3s._tcp.example.org";
    let id = data.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for kind in [RecordType::Srv, RecordType::Mx] {
        let Some(discovery::Reply::Records(records)) = discovery::decode(data, id, name, kind)
        else {
            continue;
        };
        for record in records {
            match record {
                Record::Srv(target) => assert!(is_domain(&target.host) && target.port > 0),
                Record::Mx { host, .. } => assert!(is_domain(&host)),
                Record::NoService => {}
            }
        }
    }
}
