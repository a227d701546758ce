//! A small HTTPS client for an apiserver: one kept connection, made anew after a failure. It shares nothing with what it
//! judges.

use super::patience;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

/// How long connecting and each read may take.
fn time_limit() -> Duration {
    patience() / 4
}

pub struct Api {
    /// HOST:PORT.
    pub address: String,
    config: Arc<ClientConfig>,
    stream: Option<BufReader<StreamOwned<ClientConnection, TcpStream>>>,
}

impl Api {
    /// `ca` is PEM; `identity` a client certificate with its key in one PEM.
    pub fn new(address: &str, ca: &str, identity: Option<&str>) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match identity {
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self { address: address.to_owned(), config: Arc::new(config), stream: None }
    }

    /// Status and body; a body that is no JSON is given as a string.
    ///
    /// # Errors
    /// Where there is no answer: the connection is refused, cut, or silent for five seconds.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> io::Result<(u16, Value)> {
        let answer = self.exchange(method, path, token, body);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    /// Whom the apiserver takes the bearer of `token` for: the status and, with 201, the user's name.
    pub fn whoami(&mut self, token: Option<&str>) -> io::Result<(u16, String)> {
        let review = serde_json::json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
        let (status, body) =
            self.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", token, Some(&review))?;
        Ok((status, body["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned()))
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> io::Result<(u16, Value)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nContent-Type: {kind}\r\n{bearer}\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().flush()?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap_or(0);
                }
                Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => is_chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = Vec::new();
        if is_chunked {
            read_chunks(&mut stream, &mut answer)?;
        } else {
            answer.resize(length, 0);
            stream.read_exact(&mut answer)?;
        }
        self.stream = Some(stream);
        let text = String::from_utf8_lossy(&answer).into_owned();
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn connect(&self) -> io::Result<BufReader<StreamOwned<ClientConnection, TcpStream>>> {
        let address = self.address.parse().unwrap();
        let socket = TcpStream::connect_timeout(&address, time_limit())?;
        socket.set_read_timeout(Some(time_limit()))?;
        socket.set_write_timeout(Some(time_limit()))?;
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(BufReader::new(StreamOwned::new(session, socket)))
    }
}

/// RFC 9112, 7.1, without trailers.
fn read_chunks(stream: &mut impl BufRead, answer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(());
        }
        answer.extend(&chunk[..size]);
    }
}
