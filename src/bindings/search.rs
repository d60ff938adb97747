//! Distances, triplets and retrieval between arrays, without an index.

use super::arrays::{into_matrix, into_vector, matrix};
use super::enter::{Call, enter};
use super::metric::{Given, Source};
use crate::search::pairwise;
use crate::search::retrieval::{Coded, precisions};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
#[pyo3(signature = (a, b, metric, squared = false, n_jobs = 1, progress = None))]
pub fn pairwise_distances<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f64>,
    b: PyReadonlyArray2<'py, f64>,
    metric: Given<'py>,
    squared: bool,
    n_jobs: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let features = a.shape()[1];
    let (left, right) = (matrix("a", &a, features)?, matrix("b", &b, features)?);
    if right.is_empty() {
        return Err(PyValueError::new_err("b is empty"));
    }
    let source = Source::new(&metric, features)?;
    let call = Call { jobs: n_jobs, time_limit: None, progress };
    let distances = enter(py, &call, |team, control| {
        let metric = source.metric(control);
        pairwise::pairwise_distances(left, right, &metric, squared, team, control)
    })?;
    Ok(into_matrix(py, distances, b.shape()[0]))
}

type Radii<'py> = (Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray2<f64>>>);

#[pyfunction]
#[pyo3(signature = (queries, same, other, metric, perturbation = false, n_jobs = 1, progress = None))]
pub fn triplet_radius<'py>(
    py: Python<'py>,
    queries: PyReadonlyArray2<'py, f64>,
    same: PyReadonlyArray2<'py, f64>,
    other: PyReadonlyArray2<'py, f64>,
    metric: Given<'py>,
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
    let source = Source::new(&metric, features)?;
    let call = Call { jobs: n_jobs, time_limit: None, progress };
    let (radii, deltas) = enter(py, &call, |team, control| {
        let metric = source.metric(control);
        pairwise::triplet_radii(z, p, q, &metric, perturbation, team, control)
    })?;
    Ok((into_vector(py, radii), deltas.map(|deltas| into_matrix(py, deltas, features))))
}

type Precisions<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

#[pyfunction]
#[pyo3(signature = (rows, codes, n_classes, queries, own, n_jobs = 1, progress = None))]
pub fn average_precision<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f64>,
    codes: PyReadonlyArray1<'py, i64>,
    n_classes: usize,
    queries: PyReadonlyArray2<'py, f64>,
    own: PyReadonlyArray1<'py, i64>,
    n_jobs: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Precisions<'py>> {
    let [n, features] = [rows.shape()[0], rows.shape()[1]];
    let (values, asked) = (matrix("rows", &rows, features)?, matrix("queries", &queries, features)?);
    let (codes, own) = (codes.as_slice()?, own.as_slice()?);
    if codes.len() != n || own.len() != queries.shape()[0] || features == 0 {
        return Err(PyValueError::new_err("rows and codes, or queries and own, are not as many"));
    }
    let mut sizes = vec![0; n_classes];
    for &code in codes {
        let size = usize::try_from(code).ok().and_then(|code| sizes.get_mut(code));
        *size.ok_or_else(|| PyValueError::new_err("codes are not those of n_classes classes"))? += 1;
    }
    let code_of = |&row: &i64| usize::try_from(row).ok().and_then(|row| codes.get(row));
    if !own.iter().all(|row| code_of(row).is_some_and(|&code| sizes[code as usize] > 1)) {
        return Err(PyValueError::new_err("own are not rows of classes of two or more"));
    }
    let gallery = Coded { rows: values, codes, classes: n_classes, features };
    let call = Call { jobs: n_jobs, time_limit: None, progress };
    let found = enter(py, &call, |team, control| precisions(&gallery, asked, own, team, control))?;
    Ok((
        into_vector(py, found.iter().map(|one| one.average).collect()),
        into_vector(py, found.iter().map(|one| one.average_at_r).collect()),
        into_vector(py, found.iter().map(|one| one.first as i64).collect()),
    ))
}

/// An upper bound on `√‖M‖₂`.
#[pyfunction]
pub fn spectral_norm_bound(py: Python<'_>, metric: Given<'_>, features: usize) -> PyResult<f64> {
    let source = Source::new(&metric, features)?;
    let call = Call { jobs: 1, time_limit: None, progress: None };
    enter(py, &call, |_, control| Ok(source.metric(control).spectral_norm_up()))
}
