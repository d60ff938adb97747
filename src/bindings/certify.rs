//! Radii as a dictionary of arrays.

use super::arrays::{into_matrix, into_vector};
use super::proof::proof;
use crate::certify::{Radius, Wanted};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Columns of the radii, and what was wanted besides.
pub fn certificates(
    py: Python<'_>,
    radii: Vec<Radius>,
    wanted: Wanted,
    features: usize,
) -> PyResult<Bound<'_, PyDict>> {
    let columns = PyDict::new(py);
    let floats = |of: fn(&Radius) -> f64| into_vector(py, radii.iter().map(of).collect());
    let integers = |of: fn(&Radius) -> i64| into_vector(py, radii.iter().map(of).collect());
    let counts = |of: fn(&Radius) -> u32| into_vector(py, radii.iter().map(of).collect());
    columns.set_item("lower", floats(|r| r.lower))?;
    columns.set_item("upper", floats(|r| r.upper))?;
    columns.set_item("status", into_vector(py, radii.iter().map(|r| r.status as u8).collect()))?;
    columns.set_item("predicted", integers(|r| r.predicted))?;
    columns.set_item("rival", integers(|r| r.rival))?;
    columns.set_item("seconds", floats(|r| r.seconds))?;
    columns.set_item("programs", counts(|r| r.programs))?;
    columns.set_item("steps", counts(|r| r.steps))?;
    columns.set_item("nodes", into_vector(py, radii.iter().map(|r| r.nodes as i64).collect()))?;
    columns.set_item("digits", into_vector(py, radii.iter().map(|r| r.digits as u8).collect()))?;
    let proof = |r: &Radius| proof(py, r.proof.as_deref());
    let proofs = wanted.proof.then(|| radii.iter().map(proof).collect::<PyResult<Vec<_>>>()).transpose()?;
    columns.set_item("proofs", proofs)?;
    let points = wanted.adversarial.then(|| {
        let values: Vec<f64> = radii.into_iter().flat_map(|r| r.adversarial.unwrap_or_default()).collect();
        into_matrix(py, values, features)
    });
    columns.set_item("adversarial", points)?;
    Ok(columns)
}
