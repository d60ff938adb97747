//! The Python module `certimetric._native`: thin adapters, one file per core module.
//!
//! The Python layer validates and makes arrays contiguous; here they are borrowed, and results move out.

// A Python function's keyword arguments are the arguments of its adapter.
#![allow(clippy::too_many_arguments)]

mod arrays;
mod certify;
mod enter;
mod index;
mod learning;
mod metric;
mod proof;
mod search;

use mimalloc::MiMalloc;
use pyo3::prelude::*;
use std::collections::BTreeMap;

/// Nodes of a search are made by one thread and dropped by another, which makes the threads of many allocators wait.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Facts about this build, for `show_versions` and for the warning about debug builds.
#[pyfunction]
fn build_info() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
        ("simd", crate::geometry::simd::Kernels::best().name().to_owned()),
    ])
}

#[pymodule(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<index::Index>()?;
    module.add_class::<learning::Neighborhood>()?;
    module.add_class::<learning::Impostors>()?;
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    module.add_function(wrap_pyfunction!(enter::standardise_arithmetic, module)?)?;
    module.add_function(wrap_pyfunction!(search::pairwise_distances, module)?)?;
    module.add_function(wrap_pyfunction!(search::triplet_radius, module)?)?;
    module.add_function(wrap_pyfunction!(search::average_precision, module)?)?;
    module.add_function(wrap_pyfunction!(learning::neighbor_chances, module)?)?;
    module.add_function(wrap_pyfunction!(learning::triplet_objective, module)?)?;
    module.add_function(wrap_pyfunction!(learning::pair_squares, module)?)?;
    module.add_function(wrap_pyfunction!(learning::pair_outer, module)?)?;
    module.add_function(wrap_pyfunction!(learning::adam_step, module)?)?;
    module.add_function(wrap_pyfunction!(learning::bregman_sweep, module)?)?;
    module.add_function(wrap_pyfunction!(learning::radius_objective, module)?)?;
    module.add_function(wrap_pyfunction!(search::spectral_norm_bound, module)?)?;
    let names = |names| pyo3::types::PyTuple::new(module.py(), names);
    module.add("STATUSES", names(crate::certify::Status::NAMES.as_slice())?)?;
    module.add("DIGITS", names(crate::geometry::predicates::Digits::NAMES.as_slice())?)?;
    Ok(())
}
