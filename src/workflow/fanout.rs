//! Many hosts at a time: a fixed number of threads take hosts from a common queue; results come back to the caller's
//! thread as they are ready, so that journal and progress need no locks. One host's failure is a value like any other.

use crossbeam_channel::RecvTimeoutError;
use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Enough for one SSH session with its buffers; the default of 2 MiB would be most of the memory of a large run.
const STACK_BYTES: usize = 512 * 1024;

/// A request to start no more hosts (SIGINT, SIGTERM); shared with the signal handler.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(pub Arc<AtomicBool>);

impl Interrupt {
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Told when an interrupt is first seen: so many are still being worked on. Called on one thread.
pub trait InterruptObserver {
    fn interrupted(&self, in_flight: usize);
}

/// Says that no further item may be begun. Asked by every thread before each item.
pub(super) trait Brake: Sync {
    fn is_on(&self) -> bool;

    /// Whether it was somebody's request.
    fn is_interrupted(&self) -> bool;
}

impl Brake for Interrupt {
    fn is_on(&self) -> bool {
        self.is_requested()
    }

    fn is_interrupted(&self) -> bool {
        self.is_requested()
    }
}

/// What the threads report back.
pub(super) enum Progress<T> {
    Started(usize),
    Done(usize, T),
    /// Somebody interrupts, while so many items are worked on. At most once.
    Interrupted(usize),
}

/// What `work` gives, or, where it panics, what `lost` gives: a bug that one host uncovers costs that host, not the run.
pub(super) fn guarded<T>(work: impl FnOnce() -> T, lost: impl FnOnce() -> T) -> T {
    // What a panic may have left half done is that host's own; locks that are shared are taken whatever befell them.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| lost())
}

/// How often an interrupt is looked for while nothing else happens.
const LOOK_FOR_INTERRUPT: Duration = Duration::from_millis(100);

/// Runs `work` on every item, at most `concurrency` at a time, and hands each beginning and end to `observe` on this
/// thread. Returns the results in the order of `items`; `None` for an item that was not begun, because of the brake.
pub(super) fn run_on_each<I: Sync, T: Send>(
    items: &[I],
    concurrency: usize,
    brake: &dyn Brake,
    work: impl Fn(&I) -> T + Sync,
    mut observe: impl FnMut(&Progress<T>),
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = crossbeam_channel::unbounded();
    let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let worker = |sender: crossbeam_channel::Sender<Progress<T>>| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            if brake.is_on() || sender.send(Progress::Started(index)).is_err() {
                return;
            }
            let _ = sender.send(Progress::Done(index, work(item)));
        }
    };
    let worker = &worker;
    std::thread::scope(|scope| {
        for number in 0..concurrency.min(items.len()) {
            let own = sender.clone();
            let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || worker(own));
            if spawned.is_err() && number == 0 {
                // Not even one thread could be had: do the work here, one after the other.
                worker(sender.clone());
            }
        }
        drop(sender);
        let (mut in_flight, mut is_told) = (0_usize, false);
        loop {
            if !is_told && in_flight > 0 && receiver.is_empty() && brake.is_interrupted() {
                is_told = true;
                observe(&Progress::Interrupted(in_flight));
            }
            let progress = match receiver.recv_timeout(LOOK_FOR_INTERRUPT) {
                Ok(progress) => progress,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            observe(&progress);
            match progress {
                Progress::Started(_) => in_flight += 1,
                Progress::Done(index, result) => {
                    in_flight -= 1;
                    results[index] = Some(result);
                }
                Progress::Interrupted(_) => {}
            }
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_item_is_done_once_and_results_keep_their_order() {
        let items: Vec<usize> = (0..500).collect();
        let seen = Mutex::new(Vec::new());
        let results = run_on_each(
            &items,
            8,
            &Interrupt::default(),
            |item| {
                seen.lock().unwrap().push(*item);
                item * 2
            },
            |_| {},
        );
        assert_eq!(results, items.iter().map(|i| Some(i * 2)).collect::<Vec<_>>());
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, items);
    }

    #[test]
    fn never_more_than_the_limit_at_a_time() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        run_on_each(
            &[(); 64],
            4,
            &Interrupt::default(),
            |()| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            },
            |_| {},
        );
        assert!((1..=4).contains(&most.into_inner()));
    }

    #[test]
    fn an_interrupt_starts_no_new_item_and_finishes_those_begun() {
        let interrupt = Interrupt::default();
        let results = run_on_each(
            &(0..100).collect::<Vec<_>>(),
            1,
            &interrupt,
            |item| {
                if *item == 2 {
                    interrupt.0.store(true, Ordering::Relaxed);
                }
            },
            |_| {},
        );
        assert_eq!(results.iter().filter(|r| r.is_some()).count(), 3);
        assert!(results[3].is_none());
    }

    #[test]
    fn an_interrupt_is_told_once_while_items_are_worked_on() {
        let (interrupt, told, open) = (Interrupt::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let begun = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begun.wait();
                interrupt.0.store(true, Ordering::Relaxed);
            });
            let work = |_: &i32| {
                begun.wait();
                // Each goes on until the interrupt has been told.
                while !open.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            };
            let results = run_on_each(&[1, 2, 3, 4], 2, &interrupt, work, |progress| {
                if let Progress::Interrupted(in_flight) = progress {
                    assert_eq!((*in_flight, told.fetch_add(1, Ordering::SeqCst)), (2, 0));
                    open.store(true, Ordering::SeqCst);
                }
            });
            assert_eq!(results.iter().flatten().count(), 2);
        });
        assert_eq!(told.into_inner(), 1);
    }

    #[test]
    fn no_items_is_no_work() {
        assert!(run_on_each::<(), ()>(&[], 4, &Interrupt::default(), |()| (), |_| {}).is_empty());
    }
}
