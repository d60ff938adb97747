//! The one doorway from Python to the core: GIL, threads and their arithmetic, progress, Ctrl-C, errors.
//!
//! The work runs on a thread of its own. The calling thread waits without the GIL and wakes up ten times a
//! second and more to look for signals and to report progress; a signal or a callback that raises stops
//! the workers at their next row.

use crate::environment::standardise;
use crate::error::{Error, Result};
use crate::parallel::{Control, Team};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(30);
const REPORT: Duration = Duration::from_millis(100);

/// How a call is to be run.
pub struct Call<'py> {
    pub jobs: usize,
    pub time_limit: Option<f64>,
    pub progress: Option<Bound<'py, PyAny>>,
}

/// Runs `work` without the GIL, and comes back with its result or with a Python exception.
pub fn enter<R: Send>(
    py: Python<'_>,
    call: &Call<'_>,
    work: impl FnOnce(&Team, &Control) -> Result<R> + Send,
) -> PyResult<R> {
    let limit = call.time_limit.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    let control = Control::new(limit);
    let mut reporter = Reporter { progress: call.progress.as_ref(), last: Instant::now() };
    let jobs = call.jobs;
    std::thread::scope(|scope| {
        let (sender, mut receiver) = channel();
        let shared = &control;
        scope.spawn(move || {
            let result = standardise().and_then(|()| Team::new(jobs)).and_then(|team| work(&team, shared));
            // The receiver is dropped only after a panic in the calling thread.
            drop(sender.send(result));
        });
        let mut raised = None;
        loop {
            let (received, back) = py.detach(|| (receiver.recv_timeout(POLL), receiver));
            receiver = back;
            match received {
                Ok(result) => {
                    if raised.is_none() {
                        reporter.finish(shared)?;
                    }
                    return raised.map_or_else(|| result.map_err(to_python), Err);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err(
                        "the computation panicked; this is a bug in certimetric",
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if raised.is_none()
                && let Err(error) = py.check_signals().and_then(|()| reporter.report(shared))
            {
                control.interrupt();
                raised = Some(error);
            }
        }
    })
}

/// Gives the calling thread the standard mode, which it keeps: for threads that the Python layer makes.
#[pyfunction]
pub fn standardise_arithmetic() -> PyResult<()> {
    standardise().map_err(to_python)
}

/// Calls the progress callback, not too often.
struct Reporter<'a, 'py> {
    progress: Option<&'a Bound<'py, PyAny>>,
    last: Instant,
}

impl Reporter<'_, '_> {
    fn report(&mut self, control: &Control) -> PyResult<()> {
        if self.last.elapsed() < REPORT {
            return Ok(());
        }
        self.last = Instant::now();
        self.finish(control)
    }

    fn finish(&self, control: &Control) -> PyResult<()> {
        self.progress.map_or(Ok(()), |progress| progress.call1(control.progress()).map(drop))
    }
}

fn to_python(error: Error) -> PyErr {
    match error {
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        Error::Threads { .. } | Error::Arithmetic => PyRuntimeError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}
