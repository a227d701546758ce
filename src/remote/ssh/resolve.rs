//! Names to addresses. getaddrinfo(3) knows no deadline: it runs in a thread of its own, which is left behind when it takes
//! too long. Those who ask for a name that is being looked up wait for that answer.

use crate::remote::Resource;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

/// The system's resolver, or a test's.
type LookUp = fn(&str) -> Result<Vec<IpAddr>, Unresolved>;

/// One call into the C library.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Resolver {
    look_up: LookUp,
    under_way: Arc<Mutex<HashMap<String, Arc<Answer>>>>,
}

#[derive(Debug, Default)]
struct Answer {
    value: Mutex<Option<Result<Vec<IpAddr>, Unresolved>>>,
    is_there: Condvar,
}

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// As the resolver says it.
    Failed(String),
    /// It says that another time may be better.
    Busy(String),
    TooSlow,
    /// No thread could be started to ask it.
    Exhausted(Resource),
}

impl Default for Resolver {
    fn default() -> Self {
        Self { look_up: ask_system, under_way: Arc::default() }
    }
}

fn ask_system(name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|e| {
        let is_busy = matches!(e.kind(), LookupErrorKind::Again);
        let reason = io::Error::from(e).to_string();
        if is_busy { Unresolved::Busy(reason) } else { Unresolved::Failed(reason) }
    })?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for info in found.flatten() {
        let address = info.sockaddr.ip();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

impl Resolver {
    /// The addresses of `name`, which may be one itself; not empty.
    ///
    /// # Errors
    /// [`Unresolved`]: what the resolver said, or that `end` came first.
    pub fn addresses(&self, name: &str, end: Instant) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let answer = self.ask(name).map_err(|e| match Resource::of(&e) {
            Some(resource) => Unresolved::Exhausted(resource),
            None => Unresolved::Failed(e.to_string()),
        })?;
        let left = end.saturating_duration_since(Instant::now());
        let waited = answer.is_there.wait_timeout_while(lock(&answer.value), left, |value| value.is_none());
        match waited.unwrap_or_else(PoisonError::into_inner).0.clone() {
            Some(Ok(found)) if found.is_empty() => Err(Unresolved::Failed("the name has no address".to_owned())),
            Some(answer) => answer,
            None => Err(Unresolved::TooSlow),
        }
    }

    fn ask(&self, name: &str) -> io::Result<Arc<Answer>> {
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(name) {
            return Ok(Arc::clone(answer));
        }
        let answer = Arc::new(Answer::default());
        let (look_up, name, table) = (self.look_up, name.to_owned(), Arc::clone(&self.under_way));
        let (key, own) = (name.clone(), Arc::clone(&answer));
        thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(move || {
            let found = look_up(&name);
            lock(&table).remove(&name);
            *lock(&own.value) = Some(found);
            own.is_there.notify_all();
        })?;
        under_way.insert(key, Arc::clone(&answer));
        Ok(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn hang(_: &str) -> Result<Vec<IpAddr>, Unresolved> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_resolver_that_hangs_costs_the_deadline_and_is_asked_once() {
        let resolver = Resolver { look_up: hang, under_way: Arc::default() };
        let end = Instant::now() + Duration::from_millis(200);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(resolver.addresses("slow.example", end), Err(Unresolved::TooSlow)));
            }
        });
        assert!(Instant::now() >= end);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_address_is_not_looked_up() {
        let resolver = Resolver { look_up: |_| unreachable!(), under_way: Arc::default() };
        for text in ["10.0.0.1", "fd00::1"] {
            assert_eq!(resolver.addresses(text, Instant::now()), Ok(vec![text.parse().unwrap()]));
        }
    }

    #[test]
    fn a_name_is_asked_for_again_after_it_failed() {
        let resolver = Resolver::default();
        let end = Instant::now() + Duration::from_secs(20);
        for _ in 0..2 {
            assert!(matches!(resolver.addresses("kubemint-test.invalid", end), Err(Unresolved::Failed(_))));
            assert!(lock(&resolver.under_way).is_empty());
        }
        let local = resolver.addresses("localhost", end).unwrap();
        let mut once = local.clone();
        once.dedup();
        assert!(local.iter().all(IpAddr::is_loopback) && once == local, "{local:?}");
    }
}
