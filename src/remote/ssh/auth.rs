//! The login: key files in their order, each after its certificate, then every identity of the agent, then the password.
//! No `none` probe first: it costs a round trip. A locked key file stands for the identity that the agent holds of it.
//! Knows nothing of what is run afterwards.

use super::{
    agent::{AgentKeys, AgentSocket, Hangs, Identity},
    certificate::{Certificate, certified_key},
    connect::{Failure, Link, is_hang_up, session_code},
    destination::Offered,
    keys::{KeyContent, KeyFile},
};
use crate::{
    foreign::ForeignText,
    remote::{Error, Password, PasswordFate},
    secret::{ExposeSecret, Secret, printable},
};
use libssh2_sys as raw;
use std::sync::Arc;

pub(super) const DURING: &str = "during the login";

/// libssh2 has the agent sign for these with SHA-1, which no server of today takes: offered, they only cost a try.
const RSA_CERTIFICATE: &[u8] = b"ssh-rsa-cert-v01@openssh.com";
const NO_RSA_CERTIFICATES: &str =
    "not usable: libssh2 cannot use RSA certificates of an agent, only those beside an identity file";

/// What came of offering one key.
pub(super) enum Answer {
    Accepted,
    Refused,
    /// The key itself could not be used.
    Unusable(String),
}

pub(super) struct Login<'a> {
    pub link: &'a mut Link,
    pub user: &'a str,
    /// For the message when nothing helps.
    pub tried: Vec<String>,
    refusals: usize,
    offered: Vec<Vec<u8>>,
    pub fate: PasswordFate,
}

/// What there is to log in with.
pub(super) struct Means<'a> {
    pub keys: Vec<Arc<KeyFile>>,
    /// Beside those that lie next to their key.
    pub certificates: Vec<Arc<Certificate>>,
    pub agent: Option<&'a AgentSocket>,
    pub offered: Offered,
    pub password: Option<&'a Password>,
}

impl Means<'_> {
    /// Whether an identity of the agent, or the key in it, is one of the identity files' or named certificates'.
    fn lists(&self, blob: &[u8]) -> bool {
        let certified = certified_key(blob);
        let is_of = |public: &Vec<u8>| public == blob || certified.as_ref() == Some(public);
        self.keys.iter().any(|key| key.public.as_ref().is_some_and(is_of))
            || self.certificates.iter().any(|certificate| certificate.blob == blob)
    }
}

/// Logs `user` in, or says what was tried.
///
/// # Errors
/// [`Error::AuthFailed`], [`Error::PasswordExpired`], [`Error::KeyEncrypted`], [`Error::KeyUnreadable`], [`Error::KeyOpenToOthers`], or that the
/// connection broke.
pub(super) fn log_in(link: &mut Link, user: &str, means: &Means) -> Result<(), Failure> {
    let fate = PasswordFate::NotGiven;
    let mut login = Login { link, user, tried: Vec::new(), refusals: 0, offered: Vec::new(), fate };
    let mut agent = AgentKeys::new(means.agent);
    for key in &means.keys {
        if login.offer_file(key, &means.certificates, &mut agent)? {
            return Ok(());
        }
    }
    let mut held = login.held_by(&mut agent)?;
    if means.offered == Offered::Listed {
        held.retain(|identity| means.lists(identity.blob()));
    }
    for identity in &held {
        if !login.offered.iter().any(|blob| blob == identity.blob()) && login.offer_identity(identity)? {
            return Ok(());
        }
    }
    if let Some(password) = means.password
        && login.offer_password(password)?
    {
        return Ok(());
    }
    Err(Failure::Final(login.give_up(&means.keys, held.len(), &agent)))
}

impl Login<'_> {
    /// One identity file; `true` when it let us in.
    fn offer_file(
        &mut self,
        key: &KeyFile,
        named: &[Arc<Certificate>],
        agent: &mut AgentKeys<'_>,
    ) -> Result<bool, Failure> {
        let name = printable(&key.path.display().to_string());
        match &key.content {
            KeyContent::Private(text) => {
                let is_of_key =
                    |certificate: &&Certificate| key.public.is_some() && certified_key(&certificate.blob) == key.public;
                let named = named.iter().map(Arc::as_ref).filter(is_of_key);
                for certificate in key.certificate.iter().chain(named) {
                    if self.offered.contains(&certificate.blob) {
                        continue;
                    }
                    self.offered.push(certificate.blob.clone());
                    let name = printable(&format!("{} [{}]", certificate.path.display(), certificate.terms));
                    if self.offer_private(&name, Some(&certificate.line), text)? {
                        return Ok(true);
                    }
                }
                self.offered.extend(key.public.clone());
                self.offer_private(&name, None, text)
            }
            KeyContent::Encrypted(_) | KeyContent::PublicOnly | KeyContent::OpenToOthers { .. } => {
                let held = self.held_by(agent)?;
                let public = key.public.as_deref();
                let certified =
                    |identity: &&Identity| public.is_some() && certified_key(identity.blob()).as_deref() == public;
                let certificates = held.iter().filter(certified);
                let plain = held.iter().filter(|identity| Some(identity.blob()) == public);
                let mut any = false;
                for identity in certificates.chain(plain) {
                    any = true;
                    self.offered.push(identity.blob().to_vec());
                    if self.offer_identity(identity)? {
                        return Ok(true);
                    }
                }
                if !any {
                    let why = match key.content {
                        KeyContent::OpenToOthers { mode } => format!("other users may use it, mode {mode:04o}"),
                        _ => "the agent does not hold it".to_owned(),
                    };
                    tracing::debug!("{}: {name} is not usable: {why}", self.link.endpoint);
                    self.tried.push(format!("{name} (not usable: {why})"));
                }
                Ok(false)
            }
            KeyContent::Unreadable(reason) | KeyContent::Exhausted(_, reason) => {
                tracing::debug!("{}: {name} is not usable: {reason}", self.link.endpoint);
                self.tried.push(format!("{name} (not usable: {reason})"));
                Ok(false)
            }
        }
    }

    /// A key, or with `public` its certificate in its place.
    fn offer_private(&mut self, name: &str, public: Option<&str>, key: &Secret) -> Result<bool, Failure> {
        self.link.allow(DURING)?;
        let result = self.link.session.userauth_pubkey_memory(self.user, public, key.expose_secret(), None);
        self.take_answer(name, result)
    }

    fn held_by(&self, agent: &mut AgentKeys<'_>) -> Result<Vec<Identity>, Failure> {
        agent.identities(self.link).map(<[Identity]>::to_vec).map_err(|hangs| self.hung(hangs))
    }

    fn offer_identity(&mut self, identity: &Identity) -> Result<bool, Failure> {
        if identity.blob().get(4..).is_some_and(|blob| blob.starts_with(RSA_CERTIFICATE)) {
            self.tried.push(format!("agent identity {} ({NO_RSA_CERTIFICATES})", identity.comment()));
            return Ok(false);
        }
        let limit = self.link.allow(DURING)?;
        let result = identity.log_in(self.user, limit).map_err(|hangs| self.hung(hangs))?;
        self.take_answer(&format!("agent identity {}", identity.comment()), result)
    }

    fn hung(&self, Hangs { reason }: Hangs) -> Failure {
        Failure::Final(match self.link.is_over() {
            true => self.link.timed_out(DURING),
            false => Error::TimedOut { during: DURING, reason: ForeignText::name(reason) },
        })
    }

    pub fn take_answer(&mut self, key: &str, result: Result<(), ssh2::Error>) -> Result<bool, Failure> {
        match self.judge(result)? {
            Answer::Accepted => {
                tracing::info!("logged in to {} as {} with {key}", self.link.endpoint, self.user);
                Ok(true)
            }
            Answer::Refused => {
                self.refusals += 1;
                tracing::debug!("{}: {} is refused with {key}", self.link.endpoint, self.user);
                self.tried.push(format!("{key} (refused)"));
                Ok(false)
            }
            Answer::Unusable(reason) => {
                tracing::debug!("{}: {key} is not usable: {reason}", self.link.endpoint);
                self.tried.push(format!("{key} (not usable: {reason})"));
                Ok(false)
            }
        }
    }

    pub fn judge(&self, result: Result<(), ssh2::Error>) -> Result<Answer, Failure> {
        let Err(error) = result else { return Ok(Answer::Accepted) };
        if self.link.is_over() {
            return Err(Failure::Final(self.link.timed_out(DURING)));
        }
        match session_code(&error) {
            // The server may also have hung up in answer to the key; libssh2 has one code for both.
            Some(raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) if self.link.peer_is_gone() => Err(self.ended()),
            Some(
                raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED
                | raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED
                | raw::LIBSSH2_ERROR_KEYFILE_AUTH_FAILED,
            ) => Ok(Answer::Refused),
            Some(code) if is_hang_up(code) && self.refusals > 0 => Err(self.ended()),
            Some(code) if is_hang_up(code) => Err(Failure::DroppedBeforeLogin(self.link.failed(DURING, &error))),
            Some(raw::LIBSSH2_ERROR_TIMEOUT) => Err(Failure::Final(self.link.failed(DURING, &error))),
            _ => Ok(Answer::Unusable(error.message().to_owned())),
        }
    }

    /// The server has had enough of us: never tried again.
    pub fn ended(&self) -> Failure {
        let mut tried = self.tried.clone();
        tried.push("then the server ended the login (MaxAuthTries?)".to_owned());
        Failure::Final(self.auth_failed(tried.join(", ")))
    }

    fn auth_failed(&self, tried: String) -> Error {
        let (endpoint, user) = (self.link.endpoint.clone(), self.user.to_owned());
        Error::AuthFailed { endpoint, user, tried: ForeignText::name(tried), password: self.fate }
    }

    fn give_up(&self, keys: &[Arc<KeyFile>], held: usize, agent: &AgentKeys<'_>) -> Error {
        // With an agent that hangs, the keys are not what to look at.
        let keys_alone = held == 0 && !agent.is_silent() && self.fate == PasswordFate::NotGiven;
        let encrypted = keys.iter().find(|key| matches!(key.content, KeyContent::Encrypted(_)));
        if let (true, Some(key)) = (keys_alone, encrypted) {
            return Error::KeyEncrypted { path: key.path.clone() };
        }
        if self.refusals == 0 && keys_alone {
            for key in keys {
                let path = key.path.clone();
                match &key.content {
                    KeyContent::Unreadable(reason) => {
                        return Error::KeyUnreadable { path, reason: ForeignText::message(reason) };
                    }
                    KeyContent::OpenToOthers { mode } => return Error::KeyOpenToOthers { path, mode: *mode },
                    KeyContent::Private(_)
                    | KeyContent::Encrypted(_)
                    | KeyContent::PublicOnly
                    | KeyContent::Exhausted(..) => {}
                }
            }
        }
        let mut tried = self.tried.clone();
        if keys.is_empty() {
            tried.push("no key file".to_owned());
        }
        if held == 0 {
            tried.push(agent.absence().unwrap_or_else(|| "no agent identities".to_owned()));
        }
        self.auth_failed(tried.join(", "))
    }
}
