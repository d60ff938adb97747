//! One error type for the whole core: fields instead of strings, so that a caller can match on them.

use std::fmt;

/// What can be wrong with a request. Nothing has been computed when one of these is returned,
/// except for [`Error::Interrupted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An array has another length than the shape says or than its partner has.
    Shape { argument: &'static str, expected: usize, found: usize },
    /// An array is empty where at least one entry is needed.
    Empty { argument: &'static str },
    /// A value is NaN, infinite, or larger than [`crate::geometry::rounding::LARGEST_MAGNITUDE`].
    Value { argument: &'static str, row: usize },
    /// A count lies outside its range.
    Range { argument: &'static str, low: usize, high: usize, found: usize },
    /// A class code is not below the number of classes.
    Code { row: usize, code: i64 },
    /// The caller asked to stop (Ctrl-C or a callback that raised).
    Interrupted,
    /// The threads do not compute as IEEE 754 has it, and it is not known how to make them.
    Arithmetic,
    /// The thread pool could not be started.
    Threads { reason: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { argument, expected, found } => {
                write!(f, "{argument} has {found} entries; expected {expected}")
            }
            Self::Empty { argument } => write!(f, "{argument} is empty"),
            Self::Value { argument, row } => write!(
                f,
                "row {row} of {argument} has a value that is NaN, infinite or above 1e150 in magnitude"
            ),
            Self::Range { argument, low, high, found } => {
                write!(f, "{argument} is {found}; expected a number from {low} to {high}")
            }
            Self::Code { row, code } => {
                write!(f, "row {row} has class code {code}, which is not a class")
            }
            Self::Arithmetic => write!(
                f,
                "the floating-point unit does not round to nearest or takes subnormal numbers for zero; some \
                 library of this process has set it so, as those built with -ffast-math do"
            ),
            Self::Interrupted => write!(f, "interrupted"),
            Self::Threads { reason } => write!(f, "the thread pool could not be started: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Result of the core's fallible calls.
pub type Result<T> = std::result::Result<T, Error>;
