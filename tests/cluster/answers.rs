//! An HTTPS server that says what it is told to, one reply after the other, and keeps what it was sent: for the answers
//! that no apiserver should give.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use time::OffsetDateTime;

/// A CA that signs servers' certificates.
pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    OtherName,
    Expired,
    NotYetValid,
    ForClientsOnly,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn server_config(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let now = OffsetDateTime::now_utc();
        let day = time::Duration::DAY;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.subject_alt_names = vec![match flaw {
            Flaw::OtherName => SanType::DnsName("elsewhere.example".try_into().unwrap()),
            _ => SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }];
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        (params.not_before, params.not_after) = match flaw {
            Flaw::Expired => (now - day * 2, now - day),
            Flaw::NotYetValid => (now + day, now + day * 2),
            _ => (now - day, now + day),
        };
        params.extended_key_usages = vec![match flaw {
            Flaw::ForClientsOnly => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

/// One reply, or the lack of it.
#[derive(Clone)]
pub enum Reply {
    /// Sent as it is, after the request was read.
    Raw(Vec<u8>),
    /// The first half, a pause, the rest.
    Slow(Vec<u8>, Duration),
    /// The connection is reset before TLS begins.
    Reset,
    /// The connection is closed once the request was read.
    HangUp,
}

impl Reply {
    pub fn of(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n");
        Self::Raw((head + body).into_bytes())
    }

    pub fn json(body: &str) -> Self {
        Self::of("200 OK", "", body)
    }
}

/// A listening server; it ends with the test process.
pub struct Answers {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Answers {
    /// The last reply is given for ever.
    pub fn start(ca: &Ca, replies: &[Reply]) -> Self {
        Self::with_flaw(ca, Flaw::None, replies)
    }

    pub fn with_flaw(ca: &Ca, flaw: Flaw, replies: &[Reply]) -> Self {
        Self::listening("127.0.0.1:0", ca, flaw, replies)
    }

    pub fn listening(address: &str, ca: &Ca, flaw: Flaw, replies: &[Reply]) -> Self {
        let config = ca.server_config(flaw);
        let socket = TcpListener::bind(address).unwrap();
        let port = socket.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        let replies = replies.to_vec();
        thread::spawn(move || {
            for (turn, stream) in socket.incoming().enumerate() {
                let reply = replies[turn.min(replies.len() - 1)].clone();
                let (config, heard) = (Arc::clone(&config), Arc::clone(&heard));
                thread::spawn(move || serve(stream.unwrap(), config, &reply, &heard));
            }
        });
        Self { port, requests }
    }

    /// What came in, head and body of each; in the order of arrival.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One connection, one request.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, reply: &Reply, heard: &Mutex<Vec<String>>) {
    if matches!(reply, Reply::Reset) {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        return;
    }
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let Some(request) = read_request(&mut tls) else { return };
    heard.lock().unwrap().push(request);
    match reply {
        Reply::Raw(bytes) => {
            let _ = tls.write_all(bytes).and_then(|()| tls.flush());
        }
        Reply::Slow(bytes, pause) => {
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            let _ = tls.write_all(first).and_then(|()| tls.flush());
            // Or until the client goes.
            tls.sock.set_read_timeout(Some(*pause)).unwrap();
            let _ = tls.sock.peek(&mut [0; 1]);
            tls.sock.set_read_timeout(None).unwrap();
            let _ = tls.write_all(rest).and_then(|()| tls.flush());
        }
        Reply::Reset | Reply::HangUp => return,
    }
    tls.conn.send_close_notify();
    let _ = tls.flush();
    // Until the client has gone: closing earlier could reset what is still on its way.
    let _ = tls.sock.read(&mut [0; 1]);
}

/// `None` where TLS does not come about or the client goes.
fn read_request(tls: &mut StreamOwned<ServerConnection, TcpStream>) -> Option<String> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return Some(text);
            }
        }
        match tls.read(&mut buffer) {
            Ok(count) if count > 0 => got.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}
