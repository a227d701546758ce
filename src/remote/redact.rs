//! The secrets that a host was sent, or may have been sent before, and may therefore repeat. Nothing is looked up or hashed
//! until something that it said needs judging.
//!
//! Why pieces of 8: a token has 32 hex digits, so 25 pieces, and a chance word of 8 hex digits is one of them once in 1.7e8
//! times, a digest (57 pieces) once in 3e6. With token.csv of 10,000 rows, which control-plane hosts alone hold: once in
//! 17,000 and once in 300. So a hit may only decide what is shown, never what is done: a word that is hit is as if the host
//! had not said it, and the digests and fingerprints that we know ourselves are never judged.

use super::{Error, Remote};
use crate::{
    bundle::{FileKind, HostFile},
    digest::Digest,
    foreign::{Pieces, SHORTEST},
    inventory::{Connection, Host},
    kubeconfig::Kubeconfig,
    secret::{ExposeSecret, Secret},
    token::TokenFile,
};
use std::{
    cell::{OnceCell, RefCell},
    collections::HashSet,
};

/// A field of a row that is no token counts as a whole, from this length on: shorter ones are users and groups that
/// error messages name.
const SHORTEST_FIELD: usize = 8;
pub(super) const INSTEAD: &str = "[not shown: it repeats a credential]";

/// The secrets of one host.
pub(super) struct Redactor<'a> {
    remote: &'a dyn Remote,
    host: &'a Host,
    files: &'a [HostFile],
    /// What the host was given beside the script.
    passwords: RefCell<Vec<Secret>>,
    /// Digests that an honest host says.
    expected: HashSet<String>,
    pieces: OnceCell<Pieces>,
    /// Not secrets as far as we know: looked for as they are.
    fields: OnceCell<Vec<Secret>>,
}

impl<'a> Redactor<'a> {
    /// Of `host`, which was sent `files`, or is asked for them.
    pub fn new(remote: &'a dyn Remote, host: &'a Host, files: &'a [HostFile]) -> Self {
        let expected = files.iter().map(|file| file.sha256.to_string()).collect();
        let (passwords, pieces, fields) = (RefCell::default(), OnceCell::new(), OnceCell::new());
        Self { remote, host, files, passwords, expected, pieces, fields }
    }

    /// The same with more digests that are no secrets.
    pub fn expecting(mut self, digests: impl IntoIterator<Item = Digest>) -> Self {
        self.expected.extend(digests.into_iter().map(|digest| digest.to_string()));
        self
    }

    /// Takes in passwords, before anything is judged.
    pub fn know(&self, passwords: Vec<Secret>) {
        self.passwords.borrow_mut().extend(passwords);
    }

    pub fn expects(&self, word: &str) -> bool {
        self.expected.contains(word)
    }

    pub fn pieces(&self) -> &Pieces {
        self.pieces.get_or_init(|| {
            let sent_before = self.remote.sent_to(self.host);
            let secrets = self.files.iter().chain(&sent_before).flat_map(secrets_in);
            Pieces::of(secrets.chain(self.passwords.borrow().iter().cloned()))
        })
    }

    /// Whether a text repeats a secret, or a field of token.csv that may be one.
    pub fn is_repeated_in(&self, text: &[u8]) -> bool {
        let fields = self.fields.get_or_init(|| self.files.iter().flat_map(other_fields).collect());
        let holds = |text: &str| fields.iter().any(|field| text.contains(field.expose_secret()));
        self.pieces().stand_in(text) || std::str::from_utf8(text).is_ok_and(holds)
    }

    #[cfg(test)]
    pub fn has_hashed(&self) -> bool {
        self.pieces.get().is_some()
    }

    /// An error of the way to the host, with nothing in it that repeats a secret of the host or, where jump hosts may have
    /// said it, of any.
    pub fn error(&self, error: Error) -> Error {
        let mut error = match &self.host.connection {
            Connection::Ssh(target) if target.settings.has_jump() => error_of_jump(self.remote, error),
            _ => error,
        };
        error.for_each_foreign(&mut |text| {
            if text.len() >= SHORTEST && self.is_repeated_in(text.as_bytes()) {
                *text = INSTEAD.into();
            }
        });
        error
    }
}

/// An error of the way to a jump host, with nothing in it that repeats a secret of any host.
pub(super) fn error_of_jump(remote: &dyn Remote, mut error: Error) -> Error {
    let all = OnceCell::new();
    error.for_each_foreign(&mut |text| {
        let all = || all.get_or_init(|| remote.secrets_of_all()).as_ref();
        if text.len() >= SHORTEST && all().is_some_and(|all| all.stand_in(text.as_bytes())) {
            *text = INSTEAD.into();
        }
    });
    error
}

/// The secrets in `files`.
#[must_use]
pub fn pieces_of(files: &[HostFile]) -> Pieces {
    Pieces::of(files.iter().flat_map(secrets_in))
}

/// Tokens, and private keys in base64 and, line by line, as PEM.
fn secrets_in(file: &HostFile) -> Vec<Secret> {
    match file.kind {
        FileKind::TokenCsv => match TokenFile::from_secret(&file.content) {
            Ok(file) => file.rows().iter().map(|row| row.token.clone()).collect(),
            // Not even we can read it: any part of it may be a token.
            Err(_) => file.content.expose_secret().split([',', '"', '\n', '\r']).map(Secret::from).collect(),
        },
        FileKind::BootstrapKubeconfig | FileKind::KubeProxyKubeconfig => {
            let Ok(config) = Kubeconfig::from_secret(&file.content) else { return Vec::new() };
            let mut secrets: Vec<Secret> = Vec::new();
            for user in &config.users {
                secrets.extend(user.entry.token.iter().chain(&user.entry.client_key_data).cloned());
            }
            if let Some((_, key)) = config.client_pair_of_current_user() {
                secrets.extend(key.expose_secret().lines().filter(|line| !line.starts_with("--")).map(Secret::from));
            }
            secrets
        }
        FileKind::CaCertificate => Vec::new(),
    }
}

/// Users, uids and groups of token.csv: in a row that somebody else wrote, one of them may be what should be a secret.
fn other_fields(file: &HostFile) -> Vec<Secret> {
    let FileKind::TokenCsv = file.kind else { return Vec::new() };
    let Ok(file) = TokenFile::from_secret(&file.content) else { return Vec::new() };
    let fields = file.rows().iter().flat_map(|row| [&row.user, &row.uid].into_iter().chain(&row.groups));
    fields.filter(|field| field.len() >= SHORTEST_FIELD).map(|field| Secret::from(field.as_str())).collect()
}
