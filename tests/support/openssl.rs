//! openssl as the judge of certificates and requests, and as a CA elsewhere.

use super::{TestEnv, require};
use std::{path::Path, process::Command};

/// Runs openssl in the world's folder; what it said, and whether it was content.
pub fn openssl(env: &TestEnv, arguments: &[&str]) -> (bool, String) {
    let out = Command::new(require("openssl")).args(arguments).current_dir(env.dir()).output().expect("openssl");
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out.status.success(), said.concat())
}

/// The same; it must be content.
#[track_caller]
pub fn openssl_ok(env: &TestEnv, arguments: &[&str]) -> String {
    let (is_content, said) = openssl(env, arguments);
    assert!(is_content, "{arguments:?}\n{said}");
    said
}

/// A field of a certificate below the world's folder, such as `-serial`.
#[track_caller]
pub fn field(env: &TestEnv, file: &str, option: &str) -> String {
    openssl_ok(env, &["x509", "-noout", "-in", file, option]).trim().to_owned()
}

/// That a client certificate holds under a CA, and belongs to a key.
#[track_caller]
pub fn assert_pair(env: &TestEnv, certificate: &str, key: &str, ca: &str) {
    openssl_ok(env, &["verify", "-purpose", "sslclient", "-CAfile", ca, certificate]);
    let of_key = openssl_ok(env, &["pkey", "-in", key, "-pubout"]);
    assert_eq!(field(env, certificate, "-pubkey"), of_key.trim(), "{certificate} and {key}");
}

/// Where a kubelet keeps its own certificate, below its host's root.
pub const KUBELET: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";

/// Gives a local host a kubelet's file, signed by the CA that kubemint made; its halves stay as c.pem and k.pem.
#[track_caller]
pub fn join(env: &TestEnv, host: &str, days: &str) {
    let subject = format!("/O=system:nodes/CN=system:node:{host}");
    let ca = ["-CA", "state/ca.pem", "-CAkey", "state/ca-key.pem", "-set_serial", "4711"];
    openssl_ok(
        env,
        &["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", "k.pem", "-out", "r.pem"],
    );
    openssl_ok(env, &[&["x509", "-req", "-in", "r.pem", "-days", days, "-out", "c.pem"], &ca[..]].concat());
    env.write(format!("hosts/{host}/{KUBELET}"), env.read("c.pem") + &env.read("k.pem"));
}

/// A CA that kubemint has the certificate of, and nothing else: elsewhere/NAME.pem and elsewhere/NAME-key.pem.
pub struct ElsewhereCa<'a> {
    env: &'a TestEnv,
    name: &'static str,
}

impl<'a> ElsewhereCa<'a> {
    pub fn new(env: &'a TestEnv, name: &'static str) -> Self {
        std::fs::create_dir_all(env.path("elsewhere")).expect("a folder");
        let (key, pem) = (format!("elsewhere/{name}-key.pem"), format!("elsewhere/{name}.pem"));
        let key_options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", &key];
        let subject = format!("/CN={name}");
        let options = ["req", "-x509", "-subj", &subject, "-days", "3650", "-out", &pem];
        openssl_ok(env, &[&options[..], &key_options[..]].concat());
        Self { env, name }
    }

    /// One that was made before.
    pub fn existing(env: &'a TestEnv, name: &'static str) -> Self {
        Self { env, name }
    }

    /// Another CA with the name of `of`, and its own key: elsewhere/NAME.pem too.
    pub fn twin(env: &'a TestEnv, of: &str, name: &'static str) -> Self {
        let (key, pem, subject) =
            (format!("elsewhere/{name}-key.pem"), format!("elsewhere/{name}.pem"), format!("/CN={of}"));
        let key_options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", &key];
        // Without key identifiers, which would give it away.
        let plain = ["-addext", "subjectKeyIdentifier=none", "-addext", "authorityKeyIdentifier=none"];
        let options = ["req", "-x509", "-subj", &subject, "-days", "3650", "-out", &pem];
        openssl_ok(env, &[&options[..], &plain[..], &key_options[..]].concat());
        Self { env, name }
    }

    pub fn certificate(&self) -> String {
        format!("elsewhere/{}.pem", self.name)
    }

    /// Signs a request as kubemint asks for it.
    #[track_caller]
    pub fn sign(&self, request: &str, out: &str) {
        self.sign_with(
            request,
            out,
            &["-days", "365"],
            "extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n",
        );
    }

    /// Signs it another way.
    #[track_caller]
    pub fn sign_with(&self, request: &str, out: &str, options: &[&str], extensions: &str) {
        let file = format!("{out}.ext");
        self.env.write(&file, extensions);
        let (ca, key) = (self.certificate(), format!("elsewhere/{}-key.pem", self.name));
        let all = ["x509", "-req", "-in", request, "-CA", &ca, "-CAkey", &key, "-out", out, "-extfile", &file];
        openssl_ok(self.env, &[&all[..], options].concat());
        std::fs::remove_file(self.env.path(Path::new(&file))).expect("it is there");
    }

    /// Signs it for other dates, as `openssl ca` writes them: YYYYMMDDHHMMSSZ.
    #[track_caller]
    pub fn sign_dated(&self, request: &str, out: &str, from: &str, until: &str) {
        let folder = format!("elsewhere/{out}.ca");
        std::fs::create_dir_all(self.env.path(&folder)).expect("a folder");
        self.env.write(format!("{folder}/index.txt"), "");
        let config = format!(
            "[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index.txt\nnew_certs_dir = {folder}\nrand_serial = yes\n\
             default_md = sha256\npolicy = any\nx509_extensions = client\ncertificate = {}\nprivate_key = \
             elsewhere/{}-key.pem\n[any]\norganizationName = optional\ncommonName = supplied\n[client]\n\
             extendedKeyUsage = clientAuth\n",
            self.certificate(),
            self.name
        );
        self.env.write(format!("{folder}/config"), config);
        let file = format!("{folder}/config");
        let all = ["ca", "-config", &file, "-batch", "-notext", "-in", request, "-out", out];
        openssl_ok(self.env, &[&all[..], &["-startdate", from, "-enddate", until]].concat());
    }
}
