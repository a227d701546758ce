//! CAs and certificates as other tools make them, through the real openssl in a directory of their own, and openssl
//! again as the judge of ours. Nothing is kept: every key here lives as long as its test.
#![allow(dead_code, clippy::unwrap_used)]

pub mod cas;
pub mod der;
pub mod kubectl;

use jiff::Timestamp;
use kubemint::{
    entropy::SeededEntropy,
    pki::{self, Algorithm, Authority, ClientSettings, Issued, NewAuthority},
    secret::{ExposeSecret, Secret},
};
use std::{path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The configuration `openssl req` gets: every CA in the tests is one section of it.
const CONFIG: &str = "
[req]
distinguished_name = dn
string_mask = utf8only
utf8 = yes
[dn]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[cfssl]
basicConstraints = critical,CA:TRUE,pathlen:2
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[odd_ski]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = 0102030405
[no_ski]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = none
[no_key_usage]
basicConstraints = CA:TRUE
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[no_basic_constraints]
keyUsage = critical,keyCertSign
[no_cert_sign]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,cRLSign
[server_only]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
extendedKeyUsage = serverAuth
[server_and_client]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
extendedKeyUsage = serverAuth,clientAuth
[directory_constraints]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
nameConstraints = critical,permitted;dirName:only
[only]
O = somebody
[dns_constraints]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
nameConstraints = critical,permitted;DNS:.example.net
";

/// A directory that openssl works in.
pub struct Workshop {
    dir: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("openssl.cnf"), CONFIG).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs openssl with the words of `line`; its standard output.
    pub fn openssl(&self, line: &str) -> String {
        self.try_openssl(line).unwrap_or_else(|said| panic!("openssl {line}: {said}"))
    }

    /// As `openssl`, with the failure as a value.
    pub fn try_openssl(&self, line: &str) -> Result<String, String> {
        let words = line.split_ascii_whitespace().map(|word| word.replace('\u{a0}', " "));
        let output = Command::new("openssl").args(words).current_dir(self.dir.path()).output().expect("openssl");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(out) } else { Err(out + &String::from_utf8_lossy(&output.stderr)) }
    }

    /// A self-signed certificate with the extensions of `section`, in ca.pem and ca-key.pem. `key` is what follows
    /// `genpkey` (PKCS#8); `subject` is in openssl's form with no-break spaces for blanks.
    pub fn ca_with(&self, key: &str, subject: &str, section: &str, more: &str) -> Pair {
        self.openssl(&format!("genpkey {key} -out ca-key.pem"));
        self.self_sign(subject, section, more)
    }

    pub fn self_sign(&self, subject: &str, section: &str, more: &str) -> Pair {
        self.openssl(&format!(
            "req -x509 -new -config openssl.cnf -key ca-key.pem -subj {subject} -extensions {section} -days 3650 \
             -out ca.pem {more}"
        ));
        self.pair()
    }

    pub fn pair(&self) -> Pair {
        Pair { certificate: self.read("ca.pem"), key: self.read("ca-key.pem") }
    }
}

/// A CA's two files.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    pub fn import(&self) -> Result<Authority, pki::ImportError> {
        self.import_at(Timestamp::now())
    }

    pub fn import_at(&self, now: Timestamp) -> Result<Authority, pki::ImportError> {
        Authority::import(&self.certificate, &Secret::from(self.key.as_str()), now)
    }
}

/// The keys that people's CAs have, as arguments of genpkey.
pub const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
pub const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
pub const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
pub const P521: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
pub const ED25519: &str = "-algorithm ED25519";

/// As `cfssl gencert -initca` with the handbook's ca-csr.json: RSA-2048, PKCS#1 key, pathlen 2.
pub fn cfssl_like(shop: &Workshop) -> Pair {
    shop.openssl("genrsa -traditional -out ca-key.pem 2048");
    shop.self_sign("/C=CN/ST=BeiJing/L=BeiJing/O=k8s/OU=System/CN=kubernetes", "cfssl", "")
}

/// A SEC1 key behind its EC PARAMETERS block, as `openssl ecparam -genkey` writes it.
pub fn sec1(shop: &Workshop) -> Pair {
    shop.openssl("ecparam -name prime256v1 -genkey -out ca-key.pem");
    assert!(shop.read("ca-key.pem").starts_with("-----BEGIN EC PARAMETERS-----"));
    shop.self_sign("/CN=sec1", "ca", "")
}

pub fn new_authority(algorithm: Algorithm) -> Authority {
    let new = NewAuthority { common_name: "kubernetes".to_owned(), algorithm, validity: 3650 * DAY };
    Authority::issue_self_signed(&new, Timestamp::now(), &SeededEntropy::new(7)).unwrap()
}

pub fn settings(algorithm: Algorithm) -> ClientSettings {
    ClientSettings { algorithm, validity: 365 * DAY, organization: "system:node-proxier".to_owned() }
}

pub fn issue(authority: &Authority, algorithm: Algorithm) -> Issued {
    let entropy = kubemint::entropy::OsEntropy;
    pki::issue_client(authority, &pki::KUBE_PROXY, &settings(algorithm), Timestamp::now(), &entropy).unwrap()
}

/// openssl's strictest verdict on a client certificate, and that its key is readable and belongs to it.
pub fn assert_openssl_accepts(shop: &Workshop, authority: &Authority, issued: &Issued) {
    shop.write("judge-ca.pem", authority.certificate_pem());
    shop.write("leaf.pem", &issued.certificate_pem);
    shop.write("leaf-key.pem", issued.key_pem.expose_secret());
    shop.openssl("verify -purpose sslclient -x509_strict -CAfile judge-ca.pem leaf.pem");
    assert_eq!(
        shop.openssl("pkey -in leaf-key.pem -pubout"),
        shop.openssl("x509 -in leaf.pem -noout -pubkey"),
        "key and certificate differ"
    );
}

/// rustls-webpki's verdict: a client certificate under this CA.
pub fn assert_webpki_accepts(authority: &Authority, issued: &Issued) {
    use rustls_pki_types::{CertificateDer, UnixTime};
    let leaf = CertificateDer::from(der(&issued.certificate_pem));
    let ca = CertificateDer::from(der(authority.certificate_pem()));
    let anchor = webpki::anchor_from_trusted_cert(&ca).unwrap();
    let certificate = webpki::EndEntityCert::try_from(&leaf).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(Timestamp::now().as_second() as u64));
    let verify = |usage| {
        certificate
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, std::slice::from_ref(&anchor), &[], now, usage, None, None)
            .map(|_| ())
    };
    verify(webpki::KeyUsage::client_auth()).unwrap();
    assert!(verify(webpki::KeyUsage::server_auth()).is_err(), "accepted as a server");
}

/// The DER of the one PEM block in `text`.
pub fn der(text: &str) -> Vec<u8> {
    pem::parse(text).unwrap().into_contents()
}
