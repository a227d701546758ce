//! A CA file with several certificates: one twice, old and new, an intermediate with its root, renewed with the same key.
//! All are trusted, the one that the key belongs to signs, and every command agrees; kubectl is the judge.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod pki_support;
mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use kubemint::pki::Authority;
use pki_support::{
    der::{Certificate, Key, UTC, extension, seq, times},
    kubectl::{Served, Verdict, judge},
};
use support::{
    TestEnv,
    openssl::{ElsewhereCa, openssl_ok},
};

/// A CA with its key.
struct Ca {
    certificate: Certificate,
    key: Key,
    /// Signed once: a signature of ECDSA is another each time.
    pem: String,
}

impl Ca {
    fn new(common_name: &str) -> Self {
        let key = Key::p256();
        let certificate = Certificate::ca(&key, common_name);
        Self { pem: certificate.pem(&key), certificate, key }
    }

    fn pem(&self) -> String {
        self.pem.clone()
    }

    /// The same CA until the end of `year`.
    fn until(&self, year: u8) -> String {
        let end = format!("{year}1231235959Z");
        let validity = times((UTC, b"200101000000Z"), (UTC, end.as_bytes()));
        Certificate { validity, serial: vec![year], ..self.certificate.clone() }.pem(&self.key)
    }
}

/// A control plane that is a node too, with the files of `ca.pem` and `ca-key.pem`.
fn world(certificates: &str, key: Option<&Key>) -> TestEnv {
    let line = if key.is_some() { "key = \"ca-key.pem\"\n" } else { "" };
    let env = TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://127.0.0.1:6443\"\n[ca]\ncert = \"ca.pem\"\n{line}\
         [distribute]\ninstall_ca = true\n[[hosts]]\nname = \"cp-1\"\nconnection = \"local\"\nroot = \"cp-1\"\n\
         roles = [\"control-plane\", \"node\"]\n"
    ));
    env.write("ca.pem", certificates);
    if let Some(key) = key {
        env.write("ca-key.pem", key.pem());
        env.set_mode("ca-key.pem", 0o600);
    }
    env
}

const KUBECONFIGS: [&str; 2] = ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"];

/// What a kubeconfig embeds.
fn embedded(env: &TestEnv, path: &str) -> String {
    let text = env.read(path);
    let data = text.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data: ")).unwrap();
    String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap()
}

/// That everything here and on the host holds exactly this bundle, and every command is content with it.
#[track_caller]
fn assert_everywhere(env: &TestEnv, bundle: &str) {
    assert_eq!(env.read("state/ca.pem"), bundle);
    for file in KUBECONFIGS {
        assert_eq!(embedded(env, &format!("state/kubeconfigs/{file}")), bundle, "{file}");
        assert_eq!(embedded(env, &format!("cp-1/etc/kubernetes/{file}")), bundle, "{file} on the host");
    }
    assert_eq!(env.read("cp-1/etc/kubernetes/ssl/ca.pem"), bundle);
    env.ok(&["plan"]).says(&["0 to change"]);
    env.ok(&["status", "--exit-code"]);
    env.ok(&["verify"]);
    env.ok(&["cert", "list"]);
    env.ok(&["generate"]);
    assert_eq!(env.read("state/ca.pem"), bundle, "a second run changes nothing");
}

#[test]
fn the_same_certificate_twice_is_one() {
    let ca = Ca::new("once");
    for file in [ca.pem().repeat(2), format!("{}# a copy\n{}", ca.pem(), ca.pem().replace('\n', "\r\n"))] {
        let env = world(&file, Some(&ca.key));
        env.ok(&["apply", "--yes"]);
        assert_everywhere(&env, &ca.pem());
    }
}

#[test]
fn a_bundle_is_trusted_whole_and_the_one_of_the_key_signs() {
    let (old, new, server) = (Ca::new("old"), Ca::new("new"), Key::p256());
    for file in [old.pem() + &new.pem(), new.pem() + &old.pem(), old.pem() + &new.pem() + &old.pem()] {
        let env = world(&file, Some(&new.key));
        env.ok(&["apply", "--yes"]).says(&["2 certificates are trusted"]);
        let bundle = new.pem() + &old.pem();
        assert_everywhere(&env, &bundle);
        env.write("new.pem", new.pem());
        openssl_ok(&env, &["verify", "-purpose", "sslclient", "-CAfile", "new.pem", "state/certs/kube-proxy.pem"]);
        let (_, state) = (0, env.read("state/state.json"));
        assert!(state.contains("CN=new") && !state.contains("CN=old"), "{state}");
        for ca in [&old, &new] {
            let served = Served::under(&ca.certificate, &ca.key, &server);
            let data = embedded(&env, "cp-1/etc/kubernetes/kube-proxy.kubeconfig");
            assert_eq!(judge(data.as_bytes(), &served), Verdict::Verified);
        }
    }
}

#[test]
fn a_certificate_that_comes_later_is_taken_into_the_bundle() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let env = world(&new.pem(), Some(&new.key));
    env.ok(&["generate"]);
    let leaf = env.read("state/certs/kube-proxy.pem");
    env.write("ca.pem", old.pem() + &new.pem());
    env.ok(&["apply", "--yes"]);
    assert_everywhere(&env, &(new.pem() + &old.pem()));
    assert_eq!(env.read("state/certs/kube-proxy.pem"), leaf, "it holds as before");
    // Without the inventory's files the stored bundle stands for them.
    env.write(
        "inventory.toml",
        env.read("inventory.toml").replace("[ca]\ncert = \"ca.pem\"\nkey = \"ca-key.pem\"\n", ""),
    );
    env.ok(&["generate"]);
    assert_eq!(env.read("state/ca.pem"), new.pem() + &old.pem());
}

#[test]
fn of_two_with_the_same_key_the_one_that_holds_longest_signs_and_that_is_said() {
    let ca = Ca::new("renewed");
    let (short, long) = (ca.until(40), ca.until(49));
    for file in [short.clone() + &long, long.clone() + &short] {
        let env = world(&file, Some(&ca.key));
        env.ok(&["apply", "--yes"]).says(&["valid until 2049-12-31", "the latest of 2 with its key"]);
        assert_everywhere(&env, &(long.clone() + &short));
    }
    // One that has ended, or is none of a CA, never signs.
    let past = ca.until(21);
    let env = world(&(past.clone() + &short), Some(&ca.key));
    env.ok(&["generate"]).says(&["valid until 2040-12-31"]);
    assert_eq!(env.read("state/ca.pem"), short.clone() + &past);
    // A renewed certificate of the CA in use is the same CA; another CA of its name is not.
    let env = world(&short, Some(&ca.key));
    env.ok(&["generate"]);
    let leaf = env.read("state/certs/kube-proxy.pem");
    env.write("ca.pem", &long);
    env.ok(&["generate"]).says(&["valid until 2049-12-31"]);
    assert_eq!((env.read("state/ca.pem"), env.read("state/certs/kube-proxy.pem")), (long, leaf));
    let other = Ca::new("renewed");
    env.write("ca.pem", other.pem());
    env.write("ca-key.pem", other.key.pem());
    env.run(&["generate"]).expect(4).says(&["another CA"]);
}

/// A renewed certificate is put beside the old one before its time has come, and the old one stays after its end.
#[test]
fn of_two_with_the_same_key_one_that_is_in_date_signs_before_any_other() {
    let ca = Ca::new("kubernetes");
    let early =
        Certificate { validity: times((UTC, b"480101000000Z"), (UTC, b"491231235959Z")), ..ca.certificate.clone() };
    let (early, ended, valid) = (early.pem(&ca.key), ca.until(21), ca.until(45));
    for bundle in [[&early, &valid], [&valid, &early], [&ended, &valid], [&valid, &ended]] {
        let bundle = bundle.map(String::as_str).concat();
        world(&bundle, Some(&ca.key)).ok(&["plan"]).says(&["valid until 2045-12-31"]);
        let known = Authority::from_certificate(&bundle, jiff::Timestamp::now()).unwrap();
        assert_eq!(known.certificate().not_after.strftime("%Y").to_string(), "2045");
    }
    let env = world(&[early, ended].concat(), Some(&ca.key));
    env.run(&["generate"]).expect(2);
}

#[test]
fn a_bundle_that_would_stop_an_apiserver_is_refused_by_the_place_of_what_is_wrong() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let env = world(&(other.pem() + &Ca::new("third").pem()), Some(&ca.key));
    env.run(&["generate"]).expect(2).says(&["belongs to none of the 2 certificates", "add the certificate"]);
    let negative = Certificate { serial: vec![0x81], ..other.certificate.clone() }.pem(&other.key);
    env.write("ca.pem", ca.pem() + &negative);
    env.run(&["generate"]).expect(2).says(&[
        "certificate 2 of 2",
        "negative serial number",
        "no kube-apiserver starts",
    ]);
    assert!(!env.path("state").exists());
    // What Go reads and does not trust harms nobody.
    let odd = other.certificate.clone().with(extension("2.5.29.18", Some(0xff), &[0x30, 0])).pem(&other.key);
    env.write("ca.pem", ca.pem() + &odd);
    env.ok(&["generate"]);
}

#[test]
fn a_ca_that_may_not_sign_for_the_server_needs_another_beside_it() {
    let (clients, servers) = (Ca::new("clients"), Ca::new("servers"));
    let only = |network: [u8; 8]| {
        let value = seq(&[&pki_support::der::tlv(0xa0, &[&seq(&[&pki_support::der::tlv(0x87, &[&network])])])]);
        clients.certificate.clone().with(extension("2.5.29.30", Some(0xff), &value)).pem(&clients.key)
    };
    let elsewhere = only([10, 0, 0, 0, 255, 0, 0, 0]);
    let env = world(&elsewhere, Some(&clients.key));
    env.run(&["generate"]).expect(2).says(&["may not sign for 127.0.0.1", "name constraints"]);
    env.write("ca.pem", only([127, 0, 0, 0, 255, 0, 0, 0]));
    env.ok(&["plan"]);
    env.write("ca.pem", elsewhere + &servers.pem());
    env.ok(&["generate"]);
}

#[test]
fn policies_that_only_later_versions_of_go_handle_are_warned_of() {
    let ca = Ca::new("policies");
    for (number, value, name) in [
        ("2.5.29.36", seq(&[&[0x80, 1, 0]]), "policyConstraints"),
        ("2.5.29.54", vec![2, 1, 0], "inhibitAnyPolicy"),
        ("2.5.29.33", seq(&[]), "policyMappings"),
    ] {
        for (critical, warned) in [(Some(0xff), true), (None, false)] {
            let env =
                world(&ca.certificate.clone().with(extension(number, critical, &value)).pem(&ca.key), Some(&ca.key));
            let said = env.ok(&["generate"]).stderr;
            assert_eq!(said.contains(name) && said.contains("Kubernetes 1.33 (Go 1.24)"), warned, "{said}");
        }
    }
}

#[test]
fn any_ca_of_an_external_bundle_may_have_signed() {
    let env = TestEnv::new();
    let cas = ["one", "two"].map(|name| ElsewhereCa::new(&env, name));
    let file = env.read("elsewhere/one.pem") + &env.read("elsewhere/two.pem");
    for ca in &cas {
        let env_of = world(&file, None);
        env_of.ok(&["cert", "csr", "--out", "requests"]);
        env.write("request.csr", env_of.read("requests/kube-proxy.csr"));
        ca.sign("request.csr", "signed.pem");
        // Whoever signs sends his own along.
        env_of.write("signed.pem", env.read("signed.pem") + &file);
        env_of.ok(&["cert", "import", "signed.pem"]);
        env_of.ok(&["apply", "--yes"]);
        assert_everywhere(&env_of, &file);
    }
    let stranger = ElsewhereCa::new(&env, "three");
    let env_of = world(&file, None);
    env_of.ok(&["cert", "csr", "--out", "requests"]);
    env.write("request.csr", env_of.read("requests/kube-proxy.csr"));
    stranger.sign("request.csr", "signed.pem");
    env_of.write("signed.pem", env.read("signed.pem"));
    env_of.run(&["cert", "import", "signed.pem"]).expect(2).says(&["CN=three"]);
}
