//! Exact robustness radii of nearest-neighbour classifiers.
//!
//! Training rows `x_i` with labels `y_i`, a Mahalanobis metric `d²(u, v) = (u − v)ᵀM(u − v)`, often `M = GᵀG`, a test point `z` of
//! predicted class `c`. The radius is the ℓ2 distance in input space to the nearest point that is classified
//! otherwise:
//!
//! ```text
//! r*(z) = inf { ‖δ‖₂ : the class at z + δ is not c }
//!       = min over j with y_j ≠ c of  r_j,
//! r_j   = min ‖δ‖₂   subject to   d(z + δ, x_j) ≤ d(z + δ, x_i)  for every i with y_i = c
//!       = max over λ ≥ 0 of  Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖₂).
//! ```
//!
//! Each answer is an interval that holds in real arithmetic on the stored binary64 numbers: its lower end is a
//! value of the maximum above, rounded down; its upper end is the norm of a perturbation after which the
//! exact classifier was seen to answer otherwise.
//!
//! The modules, each importing only from those before it:
//!
//! * [`error`], [`environment`], [`parallel`]: errors as data; the mode of floating-point arithmetic; chunks of
//!   work, progress, cancellation.
//! * [`geometry`]: slices in, numbers out: rounding, products, the closed-form triplet, the least-norm
//!   program, exact comparisons.
//! * [`metric`]: what defines it, components or a matrix, and bounds on its norm.
//! * [`embedding`]: the coordinates of the search, and their errors.
//! * [`search`]: the prepared rows, lower bounds that skip most of them, exact neighbours, places in
//!   rankings.
//! * [`certify`]: the radius of 1-NN, from screening to the proven interval.
//! * [`learning`]: near rows, margins of triplets, distances of pairs and radii with their gradients, for learners.

pub mod certify;
pub mod embedding;
pub mod environment;
pub mod error;
pub mod geometry;
pub mod learning;
pub mod metric;
pub mod parallel;
pub mod search;

#[cfg(feature = "python")]
mod bindings;
