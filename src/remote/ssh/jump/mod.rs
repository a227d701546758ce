//! Jump hosts. Each has a [`Door`]: one login for all the hosts behind it, however many threads ask at once, and one thread
//! that serves it. A door that could not be opened is not tried again in the same run; one that broke is tried once more,
//! by one thread for all. The hosts' own sessions run end to end through it: the jump host sees none of their content.

mod opening;
mod pipe;
mod pump;

use super::{
    access::{Access, Place},
    connect::{Failure, display_endpoint},
    destination::{Destination, Hop},
    line::Line,
    retry::with_retries,
};
use crate::{foreign::ForeignText, remote::Error};
use opening::{Opening, Refusal};
use pump::{Pump, PumpHandle};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc::RecvTimeoutError},
    thread,
    time::Instant,
};

/// One session with its channels.
const STACK_BYTES: usize = 512 * 1024;
/// A jump host that is lost more often than this is left alone.
const MOST_LOSSES: u32 = 3;
const REACHING: &str = "while the jump host was reached";

/// The doors of this run, by the logins that lead to them, nearest first.
#[derive(Debug, Default)]
pub(in crate::remote::ssh) struct Doors(Mutex<HashMap<Vec<Destination>, Arc<Door>>>);

impl Doors {
    /// The door at the end of the way; `None` where there are no jump hosts.
    pub fn last_of(&self, hops: &[Hop]) -> Option<Arc<Door>> {
        let mut doors = lock(&self.0);
        let mut before: Option<Arc<Door>> = None;
        for n in 1..=hops.len() {
            let way = hops[..n].iter().map(|hop| hop.destination.clone()).collect();
            let door = doors.entry(way).or_insert_with(|| Arc::new(Door::new(&hops[n - 1], before.take())));
            before = Some(Arc::clone(door));
        }
        before
    }
}

/// One jump host.
#[derive(Debug)]
pub(in crate::remote::ssh) struct Door {
    name: String,
    destination: Destination,
    before: Option<Arc<Door>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Untried,
    /// A thread is logging in.
    Opening,
    /// After that many losses.
    Open(PumpHandle, u32),
    /// It was open, and broke: why, and how often so far.
    Lost(Arc<Error>, u32),
    /// For the rest of the run.
    Failed(Arc<Error>),
}

impl Door {
    fn new(hop: &Hop, before: Option<Arc<Self>>) -> Self {
        let (name, destination) = (hop.name.clone(), hop.destination.clone());
        Self { name, destination, before, state: Mutex::new(State::Untried), changed: Condvar::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why the way through here broke, if it has.
    pub fn loss(&self) -> Option<Arc<Error>> {
        let own = match &*lock(&self.state) {
            State::Lost(why, _) | State::Failed(why) => Some(Arc::clone(why)),
            _ => None,
        };
        own.or_else(|| self.before.as_ref()?.loss())
    }

    /// A line to a host behind this one.
    ///
    /// # Errors
    /// [`Error::JumpFailed`] when the fault is the jump host's; [`Error::ForwardingRefused`],
    /// [`Error::UnreachableFromJump`], [`Error::ConnectTimeout`]; [`Error::TimedOut`] at `end`.
    pub fn line_to(
        self: &Arc<Self>,
        access: &Arc<Access>,
        address: &str,
        port: u16,
        end: Instant,
    ) -> Result<Line, Failure> {
        let endpoint = || format!("{} behind {}", display_endpoint(address, port), self.name);
        let limit = access.deadlines().connect;
        loop {
            let answer = self.with_pump(access, end, |pump| pump.open(address, port, limit, end))?;
            let left = end.saturating_duration_since(Instant::now());
            let error = match answer.recv_timeout(left) {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(Refusal::Prohibited)) => {
                    Error::ForwardingRefused { jump: self.name.clone(), endpoint: display_endpoint(address, port) }
                }
                Ok(Err(Refusal::NoConnection(reason))) => Error::UnreachableFromJump {
                    jump: self.name.clone(),
                    endpoint: display_endpoint(address, port),
                    reason: ForeignText::message(&reason),
                },
                Ok(Err(Refusal::NoAnswer)) => Error::ConnectTimeout { endpoint: endpoint(), seconds: limit.as_secs() },
                // The jump host went away before it answered; whether there is another try is for the door to say.
                Err(RecvTimeoutError::Disconnected) => {
                    self.note_loss();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => self.not_in_time(access),
            };
            return Err(Failure::Final(error));
        }
    }

    fn not_in_time(&self, access: &Access) -> Error {
        let seconds = access.deadlines().host.as_secs();
        Error::TimedOut {
            during: REACHING,
            reason: ForeignText::name(format!("{}: not done after {seconds} s", self.name)),
        }
    }

    fn failed(&self, cause: &Arc<Error>) -> Failure {
        // Where it is behind another that failed, that one's name is what counts.
        let (jump, cause) = match &**cause {
            Error::JumpFailed { jump, cause } => (jump, cause),
            _ => (&self.name, cause),
        };
        Failure::Final(Error::JumpFailed { jump: jump.clone(), cause: Arc::clone(cause) })
    }

    /// Waits until the door is open, and opens it where nobody else does.
    fn with_pump<T>(
        self: &Arc<Self>,
        access: &Arc<Access>,
        end: Instant,
        use_it: impl Fn(&PumpHandle) -> T,
    ) -> Result<T, Failure> {
        let mut state = lock(&self.state);
        loop {
            let losses = match &*state {
                State::Open(pump, _) => return Ok(use_it(pump)),
                State::Failed(why) => return Err(self.failed(why)),
                State::Opening => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Failure::Final(self.not_in_time(access)));
                    }
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                State::Untried => 0,
                State::Lost(_, losses) => *losses,
            };
            *state = State::Opening;
            let (this, access) = (Arc::downgrade(self), Arc::clone(access));
            let thread = thread::Builder::new().name("ssh-jump".into()).stack_size(STACK_BYTES);
            if let Err(e) = thread.spawn(move || serve(&this, &access, losses)) {
                let reason = ForeignText::message(&format!("no thread could be started: {e}"));
                let error = Error::exhausted(&e, "to reach the jump host with");
                let error = error.unwrap_or_else(|| Error::HandshakeFailed { endpoint: self.name.clone(), reason });
                *state = State::Failed(Arc::new(error));
            }
        }
    }

    /// Makes sure that a pump that has ended is not asked again before its thread has said so itself.
    fn note_loss(&self) {
        let mut state = lock(&self.state);
        if let State::Open(pump, losses) = &*state
            && pump.has_ended()
        {
            *state = self.lost(*losses, "it went away");
        }
    }

    fn lost(&self, losses: u32, reason: &str) -> State {
        let reason = ForeignText::message(reason);
        let why = Arc::new(Error::ConnectionLost { during: "while hosts were reached through it", reason });
        tracing::info!(code = why.code(), "jump host {} was lost", self.name);
        match losses + 1 {
            losses if losses > MOST_LOSSES => State::Failed(why),
            losses => State::Lost(why, losses),
        }
    }

    fn change(&self, new: State) {
        *lock(&self.state) = new;
        self.changed.notify_all();
    }
}

/// The thread of a door: logs in, and serves until nobody needs it any more or the jump host is lost.
fn serve(door: &Weak<Door>, access: &Arc<Access>, losses: u32) {
    let Some(this) = door.upgrade() else { return };
    let deadlines = access.deadlines();
    let end = Instant::now() + deadlines.host.min(deadlines.connect + deadlines.handshake + deadlines.idle);
    let login = with_retries(&this.name, deadlines, end, || {
        access.log_in(&this.destination, Place::Jump, this.before.as_ref(), end)
    });
    let started = login.and_then(|((link, _), _)| {
        let endpoint = link.endpoint.clone();
        let refused = |reason: String| Error::HandshakeFailed { endpoint, reason: ForeignText::message(&reason) };
        Pump::start(link, deadlines).map_err(refused)
    });
    let (mut pump, handle) = match started {
        Ok(both) => both,
        Err(error) => {
            tracing::info!(code = error.code(), "jump host {} cannot be used", this.name);
            return this.change(State::Failed(Arc::new(error)));
        }
    };
    tracing::info!("jump host {} is open", this.name);
    this.change(State::Open(handle, losses));
    // From here on the door keeps the pump, not the other way round.
    drop(this);
    let ended = pump.run();
    // Said before the connections through it break, so that they can say why.
    if let (Err(reason), Some(this)) = (ended, door.upgrade()) {
        let mut state = lock(&this.state);
        if matches!(*state, State::Open(..)) {
            *state = this.lost(losses, &reason);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
