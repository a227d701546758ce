//! Cuts connections whose time is over. libssh2's own timeout runs only while it waits for data: against a peer that
//! sends without end it never looks at the clock. One thread for all connections, there while any is watched.

use super::line::Line;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Instant,
};

/// When, and a number that tells apart what falls on the same moment.
type Key = (Instant, u64);

#[derive(Debug, Default)]
pub(super) struct Watchdog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: BTreeMap<Key, Weak<Line>>,
    next: u64,
    is_running: bool,
}

/// One connection's deadline; dropping it calls the dog off.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    key: Key,
}

impl Watchdog {
    /// Cuts `line` at `deadline`, unless the [`Watch`] is dropped before.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch(&self, line: &Arc<Line>, deadline: Instant) -> io::Result<Watch> {
        let mut state = self.0.lock();
        if !state.is_running {
            let shared = Arc::clone(&self.0);
            thread::Builder::new().name("ssh-watchdog".into()).spawn(move || shared.run())?;
            state.is_running = true;
        }
        let key = (deadline, state.next);
        state.next += 1;
        state.watched.insert(key, Arc::downgrade(line));
        self.0.changed.notify_one();
        Ok(Watch { shared: Arc::clone(&self.0), key })
    }
}

impl Watch {
    /// Whether the time was over, and the line was cut for it.
    pub fn has_bitten(&self) -> bool {
        !self.shared.lock().watched.contains_key(&self.key)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.watched.remove(&self.key);
        if state.watched.is_empty() {
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while let Some((&(deadline, _), _)) = state.watched.first_key_value() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let line = state.watched.pop_first().and_then(|(_, line)| line.upgrade());
            drop(state);
            if let Some(line) = line {
                line.cut();
            }
            state = self.lock();
        }
        state.is_running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    fn pair() -> (Arc<Line>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(stream.into()), listener.accept().unwrap().0)
    }

    fn is_running(dog: &Watchdog) -> bool {
        dog.0.lock().is_running
    }

    fn eventually(mut check: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !check() {
            assert!(Instant::now() < end, "waited in vain");
            thread::yield_now();
        }
    }

    #[test]
    fn each_connection_is_cut_at_its_own_deadline_in_whatever_order_they_came() {
        let dog = Watchdog::default();
        let (late, soon, never) = (pair(), pair(), pair());
        let start = Instant::now();
        let in_ms = |n| start + Duration::from_millis(n);
        let late_watch = dog.watch(&late.0, in_ms(300)).unwrap();
        let never_watch = dog.watch(&never.0, in_ms(600_000)).unwrap();
        let soon_watch = dog.watch(&soon.0, in_ms(100)).unwrap();
        assert_eq!(rustix::io::read(&*soon.0, &mut [0][..]).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(100) && soon_watch.has_bitten());
        assert_eq!(rustix::io::read(&*late.0, &mut [0][..]).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(300) && late_watch.has_bitten());
        assert!(!never_watch.has_bitten());
    }

    #[test]
    fn a_watch_that_is_dropped_cuts_nothing_and_the_thread_ends_with_the_last_one() {
        let dog = Watchdog::default();
        let (stream, mut peer) = pair();
        for _ in 0..2 {
            drop(dog.watch(&stream, Instant::now() + Duration::from_millis(50)).unwrap());
            let other = dog.watch(&stream, Instant::now() + Duration::from_secs(600)).unwrap();
            peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            assert!(peer.read(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
            assert!(is_running(&dog) && !other.has_bitten());
            drop(other);
            eventually(|| !is_running(&dog));
        }
    }

    #[test]
    fn many_watches_of_one_moment_are_told_apart() {
        let dog = Watchdog::default();
        let moment = Instant::now() + Duration::from_millis(50);
        let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
        let watches: Vec<_> = pairs.iter().map(|(stream, _)| dog.watch(stream, moment).unwrap()).collect();
        eventually(|| watches.iter().all(Watch::has_bitten));
    }
}
