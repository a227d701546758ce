//! The SSH agent (draft-miller-ssh-agent). libssh2 waits for it without end, and holds the session while it does; so it
//! is first asked by ourselves whether it answers, once per run, and whatever libssh2 does with it has a deadline.

use super::{connect::Link, keys::take_string};
use crate::secret::scrub;
use ssh2::{Agent, PublicKey};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

/// How long the agent may take to list what it holds. The handshake deadline where that is shorter.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
/// What libssh2 takes at most (agent.c).
const LONGEST_ANSWER: u64 = 256 << 10;

/// The agent of this run, and whether it answers.
#[derive(Debug)]
pub(super) struct AgentSocket {
    path: PathBuf,
    patience: Duration,
    state: OnceLock<AgentState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AgentState {
    Answers(Held),
    /// Nobody is there, or it speaks another language.
    Absent(String),
    Silent {
        seconds: u64,
    },
}

/// The public keys and certificates it listed when it was first asked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Held(Vec<Vec<u8>>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl AgentSocket {
    pub fn new(path: &Path, patience: Duration) -> Self {
        Self { path: path.to_owned(), patience, state: OnceLock::new() }
    }

    /// Asks when first called; everybody else waits for that answer.
    pub fn state(&self) -> &AgentState {
        self.state.get_or_init(|| {
            let (path, patience) = (self.path.clone(), self.patience);
            let state = match within(patience, move || probe_agent(&path, patience)) {
                Some(Ok(held)) => AgentState::Answers(held),
                // How a read or write that took too long ends.
                Some(Err(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    AgentState::Silent { seconds: patience.as_secs() }
                }
                Some(Err(e)) => AgentState::Absent(e.to_string()),
                None => AgentState::Silent { seconds: patience.as_secs() },
            };
            tracing::debug!("agent at {}: {state:?}", self.path.display());
            state
        })
    }

    /// What it held when it was first asked.
    pub fn held(&self) -> &[Vec<u8>] {
        match self.state() {
            AgentState::Answers(Held(keys)) => keys,
            AgentState::Absent(_) | AgentState::Silent { .. } => &[],
        }
    }
}

fn probe_agent(path: &Path, patience: Duration) -> io::Result<Held> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES])?;
    let mut start = [0; 5];
    stream.read_exact(&mut start)?;
    let [a, b, c, d, kind] = start;
    let length = u64::from(u32::from_be_bytes([a, b, c, d]));
    if kind != IDENTITIES_ANSWER || !(5..=LONGEST_ANSWER).contains(&length) {
        return Err(io::Error::other("it does not list its identities"));
    }
    let mut list = Vec::new();
    if stream.take(length - 1).read_to_end(&mut list)? as u64 + 1 < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Held(parse_list(&list).unwrap_or_default()))
}

/// A number, then for each key its public half and a comment.
fn parse_list(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (number, mut rest) = list.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*number) {
        keys.push(take_string(&mut rest)?.to_vec());
        take_string(&mut rest)?;
    }
    Some(keys)
}

/// Runs `work` in a thread of its own and waits for it until `limit`. A thread that hangs is left behind: nothing can
/// end it, and it ends with the program. `None` also where no thread could be started.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = mpsc::sync_channel(1);
    let _ = thread::Builder::new().name("ssh-agent".into()).spawn(move || send.send(work())).ok()?;
    receive.recv_timeout(limit).ok()
}

/// The agent as one connection uses it: opened when first needed.
pub(super) struct AgentKeys<'a> {
    socket: Option<&'a AgentSocket>,
    opened: Option<Vec<Identity>>,
}

/// One key that the agent holds.
#[derive(Clone)]
pub(super) struct Identity {
    agent: Arc<Agent>,
    key: Arc<PublicKey>,
}

/// The agent took too long. libssh2 still holds the session in the thread that was left: it must not be touched again.
pub(super) struct Hangs {
    /// What it has not done, and for how long.
    pub reason: String,
}

impl Hangs {
    fn after(what: &str, limit: Duration) -> Self {
        Self { reason: format!("the agent has not {what} after {} s", limit.as_secs()) }
    }
}

impl<'a> AgentKeys<'a> {
    pub fn new(socket: Option<&'a AgentSocket>) -> Self {
        Self { socket, opened: None }
    }

    /// What it holds: nothing where there is no agent, or it does not answer.
    ///
    /// # Errors
    /// [`Hangs`] when it has answered before, and does no longer.
    pub fn identities(&mut self, link: &Link) -> Result<&[Identity], Hangs> {
        if self.opened.is_none() {
            self.opened = Some(self.list(link)?);
        }
        Ok(self.opened.as_deref().unwrap_or_default())
    }

    fn list(&self, link: &Link) -> Result<Vec<Identity>, Hangs> {
        let Some(socket) = self.socket.filter(|socket| matches!(socket.state(), AgentState::Answers(_))) else {
            return Ok(Vec::new());
        };
        let (session, path) = (link.session.clone(), socket.path.clone());
        let list = move || {
            let mut agent = session.agent().ok()?;
            agent.set_identity_path(&path).ok()?;
            agent.connect().ok()?;
            agent.list_identities().ok()?;
            let keys = agent.identities().ok()?;
            let agent = Arc::new(agent);
            Some(keys.into_iter().map(|key| Identity { agent: Arc::clone(&agent), key: Arc::new(key) }).collect())
        };
        let limit = socket.patience.min(link.time_left());
        let keys: Vec<_> =
            within(limit, list).ok_or_else(|| Hangs::after("listed its keys", limit))?.unwrap_or_default();
        tracing::debug!("{}: the agent holds {} keys", link.endpoint, keys.len());
        Ok(keys)
    }

    /// For the list of what was tried, where it gave nothing.
    pub fn absence(&self) -> Option<String> {
        match self.socket?.state() {
            AgentState::Answers(_) => None,
            AgentState::Absent(reason) => Some(format!("agent: {reason}")),
            AgentState::Silent { seconds } => Some(format!("agent: no answer within {seconds} s")),
        }
    }

    /// Whether there is an agent that does not answer.
    pub fn is_silent(&self) -> bool {
        self.socket.is_some_and(|socket| matches!(socket.state(), AgentState::Silent { .. }))
    }
}

impl Identity {
    /// The public key, as it travels (RFC 4253, 6.6).
    pub fn blob(&self) -> &[u8] {
        self.key.blob()
    }

    pub fn comment(&self) -> String {
        scrub(self.key.comment())
    }

    /// Logs in with this key. `limit` is what [`Link::allow`] gave: libssh2 keeps to it with the host.
    ///
    /// # Errors
    /// [`Hangs`] when the agent does not sign in that time.
    pub fn log_in(&self, user: &str, limit: Duration) -> Result<Result<(), ssh2::Error>, Hangs> {
        let (this, user) = (self.clone(), user.to_owned());
        let login = move || this.agent.userauth(&user, &this.key);
        // A host that is silent is libssh2's to notice, which takes a moment longer.
        within(limit + Duration::from_millis(250), login).ok_or_else(|| Hangs::after("signed", limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixListener, time::Instant};

    fn state_with(answer: &'static [u8], patience: Duration) -> AgentState {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = [0; 5];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request, [0, 0, 0, 1, 11]);
            stream.write_all(answer).unwrap();
            // Held open until the asker leaves.
            let _ = stream.read(&mut request);
        });
        AgentSocket::new(&path, patience).state().clone()
    }

    #[test]
    fn an_agent_answers_or_is_silent_or_is_none() {
        let long = Duration::from_secs(20);
        assert_eq!(state_with(&[0, 0, 0, 5, 12, 0, 0, 0, 0], long), AgentState::Answers(Held(Vec::new())));
        let one = [&[0, 0, 0, 17, 12, 0, 0, 0, 1, 0, 0, 0, 1][..], b"k", &[0, 0, 0, 3], b"abc"].concat();
        assert_eq!(state_with(one.leak(), long), AgentState::Answers(Held(vec![b"k".to_vec()])));
        // SSH_AGENT_FAILURE; a length that is none.
        for answer in [&[0, 0, 0, 5, 5, 0, 0, 0, 0][..], &[255, 255, 255, 255, 12], &[0, 0, 0, 0, 12]] {
            assert!(matches!(state_with(answer, long), AgentState::Absent(_)), "{answer:?}");
        }
        // Nothing, and an answer that stops in the middle.
        for answer in [&[][..], &[0, 0, 0, 9, 12, 0]] {
            assert_eq!(state_with(answer, Duration::from_millis(300)), AgentState::Silent { seconds: 0 }, "{answer:?}");
        }
        let none = AgentSocket::new(Path::new("/nonexistent/agent"), long);
        assert!(matches!(none.state(), AgentState::Absent(_)));
    }

    #[test]
    fn an_agent_that_does_not_even_accept_is_silent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // Fills the backlog: the next connect waits.
        let _held = UnixStream::connect(&path).unwrap();
        let started = Instant::now();
        let agent = AgentSocket::new(&path, Duration::from_millis(300));
        assert_eq!(*agent.state(), AgentState::Silent { seconds: 0 });
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
