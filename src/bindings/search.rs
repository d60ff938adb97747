//! Distances and triplets between arrays, without an index.

use super::arrays::{into_matrix, into_vector, matrix};
use super::enter::{Call, enter};
use crate::metric::Metric;
use crate::search::pairwise;
use numpy::{PyArray1, PyArray2, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
#[pyo3(signature = (a, b, components, squared = false, n_jobs = 1, progress = None))]
pub fn pairwise_distances<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f64>,
    b: PyReadonlyArray2<'py, f64>,
    components: Option<PyReadonlyArray2<'py, f64>>,
    squared: bool,
    n_jobs: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let features = a.shape()[1];
    let (left, right) = (matrix("a", &a, features)?, matrix("b", &b, features)?);
    if right.is_empty() {
        return Err(PyValueError::new_err("b is empty"));
    }
    let components = components.as_ref().map(|g| matrix("components", g, features)).transpose()?;
    let call = Call { jobs: n_jobs, time_limit: None, progress };
    let distances = enter(py, &call, |team, control| {
        let metric = metric(features, components);
        pairwise::pairwise_distances(left, right, &metric, squared, team, control)
    })?;
    Ok(into_matrix(py, distances, b.shape()[0]))
}

type Radii<'py> = (Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray2<f64>>>);

#[pyfunction]
#[pyo3(signature = (queries, same, other, components, perturbation = false, n_jobs = 1, progress = None))]
pub fn triplet_radius<'py>(
    py: Python<'py>,
    queries: PyReadonlyArray2<'py, f64>,
    same: PyReadonlyArray2<'py, f64>,
    other: PyReadonlyArray2<'py, f64>,
    components: Option<PyReadonlyArray2<'py, f64>>,
    perturbation: bool,
    n_jobs: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Radii<'py>> {
    let features = queries.shape()[1];
    let z = matrix("queries", &queries, features)?;
    let (p, q) = (matrix("same", &same, features)?, matrix("other", &other, features)?);
    if p.len() != z.len() || q.len() != z.len() {
        return Err(PyValueError::new_err("queries, same and other must have the same number of rows"));
    }
    let components = components.as_ref().map(|g| matrix("components", g, features)).transpose()?;
    let call = Call { jobs: n_jobs, time_limit: None, progress };
    let (radii, deltas) = enter(py, &call, |team, control| {
        let metric = metric(features, components);
        pairwise::triplet_radii(z, p, q, &metric, perturbation, team, control)
    })?;
    Ok((into_vector(py, radii), deltas.map(|deltas| into_matrix(py, deltas, features))))
}

/// An upper bound on `‖G‖₂`.
#[pyfunction]
pub fn spectral_norm_bound(py: Python<'_>, components: PyReadonlyArray2<'_, f64>) -> PyResult<f64> {
    let features = components.shape()[1];
    let values = matrix("components", &components, features)?;
    let call = Call { jobs: 1, time_limit: None, progress: None };
    enter(py, &call, |_, control| {
        let stop = || control.is_interrupted();
        Ok(Metric::from_components_until(features, values, &stop).spectral_norm_up())
    })
}

fn metric(features: usize, components: Option<&[f64]>) -> Metric {
    components.map_or_else(|| Metric::euclidean(features), |g| Metric::from_components(features, g))
}
