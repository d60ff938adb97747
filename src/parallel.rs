//! Work in fixed chunks on a private thread pool, with progress and cancellation.
//!
//! A pool per call: rayon's global pool would deadlock in a child after `fork`. Chunks are fixed by the
//! caller, never by the number of threads, so the answer cannot depend on it.

use crate::environment::standardise;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What the caller's thread and the workers share: how far the work is, and whether to go on.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    done: AtomicUsize,
    total: AtomicUsize,
    deadline: Option<Instant>,
    /// Steps of searches that are left to all together, where they are counted.
    steps: OnceLock<AtomicU64>,
    /// Threads that take part in what others share out, and how many there may be.
    helpers: AtomicUsize,
    most_helpers: AtomicUsize,
}

impl Control {
    /// Work may go on until `time_limit` has passed.
    #[must_use]
    pub fn new(time_limit: Option<Duration>) -> Self {
        Self { deadline: time_limit.and_then(|limit| Instant::now().checked_add(limit)), ..Self::default() }
    }

    /// Searches may take so many steps in all, if they have not been allowed a number before.
    pub fn allow_steps(&self, most: u64) {
        self.steps.get_or_init(|| AtomicU64::new(most));
    }

    /// Takes one of the steps; `false`: none is left.
    pub fn take_step(&self) -> bool {
        let order = Ordering::Relaxed;
        self.steps.get().is_none_or(|left| left.fetch_update(order, order, |n| n.checked_sub(1)).is_ok())
    }

    /// Whether no step is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.steps.get().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Asks the workers to stop as soon as they can.
    pub fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the time limit has passed.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether to come to an end, for whichever reason.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        self.is_interrupted() || self.is_late()
    }

    /// Rows done, and rows in all.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Says how many rows there will be.
    pub fn expect(&self, rows: usize) {
        self.total.fetch_add(rows, Ordering::Relaxed);
    }

    /// Says that `rows` more are done.
    pub fn advance(&self, rows: usize) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }

    /// Asks for help with long work in so many parts, until what is returned is dropped.
    #[must_use]
    pub fn ask_for_help(&self, parts: usize) -> Request<'_> {
        self.most_helpers.fetch_add(parts - 1, Ordering::Relaxed);
        Request { control: self, helpers: parts - 1 }
    }

    /// Takes part in long work of other threads, as long as some that asked for help has too few of them: what many
    /// wait for comes first, so that no thread is left alone with it in the end. Where time is limited the many points
    /// that are done at once come first.
    pub fn help(&self) {
        if rayon::current_thread_index().is_none() || self.deadline.is_some() {
            return;
        }
        let order = Ordering::Relaxed;
        let most = || self.most_helpers.load(order);
        if self.helpers.fetch_update(order, order, |now| (now < most()).then_some(now + 1)).is_err() {
            return;
        }
        while !self.is_interrupted() {
            // One after the other leaves, until no more are left than are wanted.
            if self.helpers.fetch_update(order, order, |now| (now > most()).then(|| now - 1)).is_ok() {
                return;
            }
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::sleep(BETWEEN_PARTS);
            }
        }
        self.helpers.fetch_sub(1, order);
    }
}

/// What a thread with nothing to take over sleeps before it looks again.
const BETWEEN_PARTS: Duration = Duration::from_micros(50);

/// Long work that other threads may take part in.
pub struct Request<'c> {
    control: &'c Control,
    helpers: usize,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.control.most_helpers.fetch_sub(self.helpers, Ordering::Relaxed);
    }
}

/// The threads of one call.
pub struct Team {
    pool: Option<rayon::ThreadPool>,
    jobs: usize,
}

impl Team {
    /// `jobs` threads, or four per processor if that is fewer; one job works in the caller's own thread.
    pub fn new(jobs: usize) -> Result<Self> {
        // More threads than a few per processor only cost memory.
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = jobs.clamp(1, 4 * processors);
        let build = || {
            rayon::ThreadPoolBuilder::new()
                .num_threads(jobs)
                .thread_name(|i| format!("certimetric-{i}"))
                // Where it fails it has failed in the thread that makes this pool, too, and work has not begun.
                .start_handler(|_| drop(standardise()))
                .build()
                .map_err(|e| Error::Threads { reason: e.to_string() })
        };
        Ok(Self { pool: (jobs > 1).then(build).transpose()?, jobs })
    }

    /// Calls `work` for each chunk of `0..total` and `sink` with each result, in any order, one at a time.
    ///
    /// `make` is called at most once per thread, for its scratch space.
    pub fn for_chunks<W: Send, R: Send>(
        &self,
        total: usize,
        chunk: usize,
        control: &Control,
        make: impl Fn() -> W + Sync,
        work: impl Fn(&mut W, Range<usize>) -> R + Sync,
        sink: impl FnMut(Range<usize>, R) + Send,
    ) -> Result<()> {
        let (next, sink) = (AtomicUsize::new(0), Mutex::new(sink));
        let worker = || {
            let mut scratch = None;
            loop {
                let start = next.fetch_add(chunk, Ordering::Relaxed);
                if start >= total || control.is_interrupted() {
                    break;
                }
                let range = start..total.min(start + chunk);
                let result = work(scratch.get_or_insert_with(&make), range.clone());
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink(range, result);
            }
            // Until the end of the call this thread has nothing else to do than to help.
            control.helpers.fetch_add(1, Ordering::Relaxed);
        };
        match &self.pool {
            Some(pool) if total > chunk => {
                pool.broadcast(|_| worker());
            }
            // A single chunk may still be shared out by what it does.
            Some(pool) => pool.install(worker),
            None => worker(),
        }
        control.helpers.store(0, Ordering::Relaxed);
        if control.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Fills `values`, so many to a row, a chunk of rows at a time.
    pub fn fill<T: Copy + Default + Send>(
        &self,
        values: &mut [T],
        width: usize,
        chunk: usize,
        control: &Control,
        work: impl Fn(Range<usize>, &mut [T]) + Sync,
    ) -> Result<()> {
        self.for_chunks(
            values.len() / width,
            chunk,
            control,
            || (),
            |(), rows| {
                let mut part = vec![T::default(); rows.len() * width];
                work(rows, &mut part);
                part
            },
            |rows, part| values[rows.start * width..rows.end * width].copy_from_slice(&part),
        )
    }

    /// Number of threads.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs
    }
}

/// Calls `work` for each item, with its number. Threads of the caller's team that have nothing else to do take part, and
/// those that [`Control::help`].
pub fn share_out<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    // Outside a team there is only rayon's global pool, which is not ours.
    if rayon::current_thread_index().is_none() {
        return items.iter_mut().enumerate().for_each(|(i, item)| work(i, item));
    }
    let work = &work;
    rayon::scope(|scope| {
        items.iter_mut().enumerate().for_each(|(i, item)| scope.spawn(move |_| work(i, item)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(jobs: usize, total: usize) -> Vec<usize> {
        let mut out = vec![0; total];
        let sink = |range: Range<usize>, part: Vec<usize>| out[range].copy_from_slice(&part);
        let work = |_: &mut (), range: Range<usize>| range.map(|i| i * i).collect();
        Team::new(jobs).unwrap().for_chunks(total, 7, &Control::default(), || (), work, sink).unwrap();
        out
    }

    #[test]
    fn parallel_equals_serial() {
        for total in [0, 1, 6, 7, 8, 1000] {
            assert_eq!(squares(1, total), squares(3, total));
        }
    }

    #[test]
    fn an_interrupted_call_says_so() {
        let control = Control::default();
        control.interrupt();
        let result = Team::new(2).unwrap().for_chunks(100, 1, &control, || (), |(), _| (), |_, ()| ());
        assert_eq!(result, Err(Error::Interrupted));
    }

    /// Waits for another thread, but not for ever.
    fn wait_for(flag: &AtomicBool) {
        let begun = Instant::now();
        while !flag.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_helps_before_it_goes_on() {
        let (control, there, begun) = (Control::default(), AtomicBool::new(false), AtomicBool::new(false));
        let threads = Mutex::new(Vec::new());
        let part = |_: usize, (): &mut ()| {
            begun.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            threads.lock().unwrap().push(rayon::current_thread_index());
        };
        let work = |(): &mut (), range: Range<usize>| {
            if range.start == 0 {
                wait_for(&there);
                let _request = control.ask_for_help(4);
                share_out(&mut [(); 16], part);
            } else {
                there.store(true, Ordering::Relaxed);
                wait_for(&begun);
                control.help();
                assert_eq!(threads.lock().unwrap().len(), 16, "went on before the work was done");
            }
        };
        Team::new(2).unwrap().for_chunks(2, 1, &control, || (), work, |_, ()| ()).unwrap();
        let mut threads = threads.into_inner().unwrap();
        threads.sort_unstable();
        threads.dedup();
        assert_eq!(threads.len(), 2);
    }

    #[test]
    fn nobody_waits_where_no_help_is_asked_for() {
        let help = |control: &Control, jobs: usize| {
            let work = |(): &mut (), _: Range<usize>| control.help();
            Team::new(jobs).unwrap().for_chunks(8, 1, control, || (), work, |_, ()| ()).unwrap();
        };
        let control = Control::default();
        help(&control, 2);
        drop(control.ask_for_help(4));
        help(&control, 2);
        // One thread has nobody to help, and where time is limited everybody goes on.
        let _request = control.ask_for_help(4);
        help(&control, 1);
        let limited = Control::new(Some(Duration::from_secs(3600)));
        let _request = limited.ask_for_help(4);
        help(&limited, 2);
    }

    #[test]
    fn a_time_limit_passes() {
        assert!(Control::new(Some(Duration::ZERO)).is_late());
        assert!(!Control::new(None).is_late());
        assert!(!Control::new(Some(Duration::MAX)).is_late());
    }
}
