//! kubectl, and so Go's crypto/x509, as the judge of a CA: whether it talks to a server whose certificate is from that CA.
#![allow(dead_code, clippy::unwrap_used)]

use super::der::{Certificate, Key};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What kubectl made of a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Verified,
    /// With its own words.
    Refused(String),
}

/// A server certificate with its key.
pub struct Served {
    pub certificate: Vec<u8>,
    pub pkcs8: Vec<u8>,
}

impl Served {
    pub fn under(ca: &Certificate, ca_key: &Key, key: &Key) -> Self {
        Self { certificate: Certificate::server(ca, ca_key, key).der(ca_key), pkcs8: key.pkcs8().to_vec() }
    }
}

/// Has kubectl ask a server at 127.0.0.1, which shows `served`, with `ca_file` as certificate-authority-data.
pub fn judge(ca_file: &[u8], served: &Served) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let output = while_serving(&listener, served, || ask(ca_file, port));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Verdict::Verified;
    }
    let is_refusal = said.contains("x509: ") || said.contains("unable to load root certificates");
    assert!(is_refusal, "kubectl did not get as far as to judge: {said}");
    Verdict::Refused(said.trim().to_owned())
}

fn ask(ca_file: &[u8], port: u16) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:{port}\n    \
         certificate-authority-data: {}\ncontexts:\n- name: c\n  context: {{cluster: c, user: c}}\nusers:\n- name: c\n  user: {{token: x}}\n",
        BASE64_STANDARD.encode(ca_file)
    );
    let file = dir.path().join("config");
    std::fs::write(&file, config).unwrap();
    let program = std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
    let mut command = Command::new(program);
    command.args(["--request-timeout=20s", "get", "--raw", "/", "--kubeconfig"]).arg(file).env_clear();
    command.env("HOME", dir.path()).env("NO_PROXY", "*").env("GOMAXPROCS", "1").env("GOGC", "off");
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (is it installed?)"))
}

/// One connection at a time, until `work` is done.
fn while_serving<T>(listener: &TcpListener, served: &Served, work: impl FnOnce() -> T) -> T {
    // Without a look at the certificate: that is for the judge.
    let key = PrivateKeyDer::Pkcs8(served.pkcs8.clone().into());
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![served.certificate.clone().into()], key));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    let config = Arc::new(config);
    let done = AtomicBool::new(false);
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for socket in listener.incoming() {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                let mut socket = socket.unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = Stream::new(&mut connection, &mut socket);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0; 512];
                    match stream.read(&mut byte) {
                        Ok(n @ 1..) => request.extend(&byte[..n]),
                        Err(e) if e.kind() == ErrorKind::Interrupted => {}
                        // The client did not like us.
                        Ok(_) | Err(_) => break,
                    }
                }
                if request.ends_with(b"\r\n\r\n") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        let result = work();
        done.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(address);
        result
    })
}
