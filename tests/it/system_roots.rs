//! Trusted CAs: those of the system, wherever they are installed, or only those of `tls-ca-file`.
//! pouch changes `SSL_CERT_FILE` for itself only.

use std::{os::unix::fs::symlink, path::PathBuf};

use insta::assert_snapshot;
use openssl::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use crate::{
    fixture::Desk,
    server::{Server, corpus},
    support::{Home, run::Run, trace},
};

/// The usual path of the bundle.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Creates an account with these lines on a server with TLS.
fn desk(lines: &str) -> Desk {
    let desk = Desk {
        home: Home::new(),
        server: Server::implicit_tls().messages(corpus::messages(1)).start(),
    };
    configure(&desk, &format!("maildir = \"~/Mail/work\"\n{lines}"));
    desk
}

/// Replaces the lines of the account.
fn configure(desk: &Desk, lines: &str) {
    desk.home.write("password", "secret\n", 0o600);
    desk.home.config(&format!(
        "[account.work]\nhost = \"localhost\"\nport = {}\nuser = \"ann\"\n\
         password-file = \"~/password\"\nretries = 0\n{lines}\n",
        desk.server.port()
    ));
}

/// Returns a CA of this name that has signed no certificate.
fn authority(name: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

/// Adds `pem` to the hashed directory `dir`, which is created if it does not exist; returns its
/// path.
fn add_hashed(home: &Home, dir: &str, pem: &str) -> PathBuf {
    let hash = X509::from_pem(pem.as_bytes()).unwrap().subject_name_hash();
    home.write(format!("{dir}/{hash:08x}.pem"), pem, 0o644);
    let link = home.join(format!("{dir}/{hash:08x}.0"));
    symlink(format!("{hash:08x}.pem"), link).unwrap();
    home.join(dir)
}

/// Returns a run of pouch on a machine whose `/etc/ssl/certs` is `~/certs`.
fn with_system_roots(desk: &Desk, args: &[&str]) -> Run {
    let mut words = vec![
        "-m",
        "sh",
        "-c",
        "mount --bind certs /etc/ssl/certs && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_pouch"),
    ];
    words.extend(args);
    desk.home.system_command("unshare", &words)
}

#[track_caller]
fn assert_untrusted(run: Run) {
    run.run()
        .assert_code(77)
        .assert_stderr("the certificate of localhost is not trusted");
}

#[test]
fn authority_in_hashed_directory_is_trusted() {
    let desk = desk("");
    add_hashed(&desk.home, "certs", &authority("other"));
    desk.home.write("certs/ca-certificates.crt", "", 0o644);
    assert_untrusted(with_system_roots(&desk, &["fetch", "-v"]));
    add_hashed(&desk.home, "certs", desk.server.ca_pem());
    with_system_roots(&desk, &["fetch", "-v"])
        .run()
        .assert_code(0);
    desk.assert_arrived([1]);
}

#[test]
fn authority_in_bundle_alone_is_trusted() {
    let desk = desk("");
    let bundle = authority("other") + desk.server.ca_pem();
    desk.home.write("certs/ca-certificates.crt", bundle, 0o644);
    with_system_roots(&desk, &["fetch", "-v"])
        .run()
        .assert_code(0);
    desk.assert_arrived([1]);
}

#[test]
fn authority_appended_to_bundle_is_trusted() {
    let desk = desk("");
    let (first, second) = (authority("first"), authority("second"));
    add_hashed(&desk.home, "certs", &first);
    add_hashed(&desk.home, "certs", &second);
    let bundle = first + desk.server.ca_pem();
    desk.home.write("certs/ca-certificates.crt", bundle, 0o644);
    with_system_roots(&desk, &["fetch", "-v"])
        .run()
        .assert_code(0);
    desk.assert_arrived([1]);
}

#[test]
fn system_without_authorities_is_reported() {
    let desk = desk("");
    desk.home.write("certs/README", "", 0o644);
    let output = with_system_roots(&desk, &["fetch", "-v"]).run();
    output.assert_code(77);
    assert_snapshot!(output.stderr_text(), @"
    pouch: work: the certificate of localhost is not trusted
      OpenSSL: unable to get local issuer certificate
      this machine has no certificate authorities
    hint: install the certificate authorities of your distribution, usually the package `ca-certificates`
    work   nothing fetched
    ");
}

#[test]
fn broken_bundle_leaves_hashed_directory() {
    let desk = desk("");
    add_hashed(&desk.home, "certs", desk.server.ca_pem());
    let broken = "-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n";
    desk.home.write("certs/ca-certificates.crt", broken, 0o644);
    with_system_roots(&desk, &["fetch", "-v"])
        .run()
        .assert_code(0);
    desk.assert_arrived([1]);
}

#[test]
fn variables_of_openssl_are_respected() {
    let desk = desk("");
    let other = desk.home.write("other.pem", authority("other"), 0o644);
    let own = desk.server.ca_file(desk.home.path());
    let trusted = format!("{}{}", authority("other"), desk.server.ca_pem())
        .replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let trusted = desk.home.write("trusted.pem", trusted, 0o644);
    let hashed = add_hashed(&desk.home, "hashed", desk.server.ca_pem());
    let fetch = |file: &PathBuf, dir: &PathBuf| {
        desk.pouch(&["fetch", "-v"])
            .env("SSL_CERT_FILE", file)
            .env("SSL_CERT_DIR", dir)
    };
    let list = PathBuf::from(format!("/nowhere:{}", hashed.display()));
    let nowhere = PathBuf::from("/nowhere");
    assert_untrusted(fetch(&other, &nowhere));
    assert_untrusted(fetch(&nowhere, &nowhere));
    for (file, dir) in [
        (&own, &nowhere),
        (&trusted, &nowhere),
        (&other, &hashed),
        (&nowhere, &list),
    ] {
        fetch(file, dir).run().assert_code(0);
    }
    desk.assert_arrived([1]);
}

#[test]
fn tls_ca_file_excludes_system_roots() {
    let desk = desk("tls-ca-file = \"~/other.pem\"");
    desk.home.write("other.pem", authority("other"), 0o644);
    let own = desk.server.ca_file(desk.home.path());
    let hashed = add_hashed(&desk.home, "hashed", desk.server.ca_pem());
    assert_untrusted(
        desk.pouch(&["fetch", "-v"])
            .env("SSL_CERT_FILE", own)
            .env("SSL_CERT_DIR", hashed),
    );
    add_hashed(&desk.home, "certs", desk.server.ca_pem());
    desk.home
        .write("certs/ca-certificates.crt", desk.server.ca_pem(), 0o644);
    assert_untrusted(with_system_roots(&desk, &["fetch", "-v"]));
}

/// Returns the number of times that a run opens the file `path` for reading, under any name. The
/// sandbox opens it with `O_PATH`.
fn times_opened(desk: &Desk, path: &str, more: impl Fn(Run) -> Run) -> usize {
    more(trace::traced(&desk.home, "open,openat", None, &["fetch"])).run();
    let calls = trace::calls(&desk.home);
    calls
        .iter()
        .filter(|call| call.opened.as_deref() == Some(path))
        .filter(|call| !call.arguments.contains("O_PATH"))
        .count()
}

#[test]
fn bundle_is_read_for_system_roots_only() {
    let desk = desk("");
    let ca = desk.server.ca_file(desk.home.path());
    let own = desk.home.write("own.pem", authority("other"), 0o644);
    let own = own.to_str().unwrap();
    for (lines, reads) in [
        (format!("tls-ca-file = \"{}\"", ca.display()), 0),
        (format!("tls-pin = \"sha256:{}\"", desk.server.sha256()), 0),
        (String::new(), 1),
    ] {
        configure(&desk, &format!("maildir = \"~/Mail/work\"\n{lines}"));
        assert_eq!(times_opened(&desk, BUNDLE, |run| run), reads, "{lines}");
        // Opened once more to check its content.
        let with_own = times_opened(&desk, own, |run| run.env("SSL_CERT_FILE", own));
        assert_eq!(with_own, 1 + reads, "{lines}");
    }
}

#[test]
fn programs_get_the_environment_of_the_user() {
    let desk = desk("");
    let ca = desk.server.ca_file(desk.home.path());
    let seen = "echo ${SSL_CERT_FILE-unset} >> ~/seen";
    configure(
        &desk,
        &format!(
            "tls-ca-file = \"{}\"\nfilter = [[\"sh\", \"-c\", \"{seen}; cat\"]]\n\
             pipe = [\"sh\", \"-c\", \"cat > mail; {seen}\"]",
            ca.display()
        ),
    );
    desk.server.add("uid-2", "Subject: second\r\n\r\nbody\r\n");
    let fetch = |limit| desk.pouch(&["fetch", "--limit", limit]);
    fetch("1").run().assert_code(0);
    assert_eq!(desk.home.read("seen"), b"unset\nunset\n");
    fetch("1")
        .env("SSL_CERT_FILE", "/own.pem")
        .run()
        .assert_code(0);
    assert_eq!(
        desk.home.read("seen"),
        b"unset\nunset\n/own.pem\n/own.pem\n"
    );
}
