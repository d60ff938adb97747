pub mod certify;
pub mod error;
pub mod geometry;
pub mod metric;
pub mod parallel;
pub mod search;

#[cfg(feature = "python")]
mod bindings;
