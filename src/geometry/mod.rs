//! Slices in, numbers out: rounding, inner products, the closed-form triplet, the least-norm program and
//! exact comparisons. Nothing here knows of data sets.

pub mod dot;
pub mod gram;
pub mod matrix;
pub mod min_norm;
pub mod predicates;
pub mod rounding;
pub mod simd;
pub mod triplet;
