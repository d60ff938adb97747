//! What learners of metrics ask of the data.

use super::arrays::{into_matrix, into_vector, matrix};
use super::enter::{Call, enter};
use crate::learning::neighborhood::Neighborhood as Core;
use crate::learning::objective::{Loss, Triplets};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Near rows of the own class and of the others, in a metric that changes.
#[pyclass(frozen, module = "certimetric._native")]
pub struct Neighborhood {
    core: Mutex<Core>,
    shape: [usize; 2],
    k: usize,
}

type Pair<'py> = (Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<i64>>);

#[pymethods]
impl Neighborhood {
    #[new]
    fn new(
        rows: PyReadonlyArray2<'_, f64>,
        codes: PyReadonlyArray1<'_, i64>,
        n_classes: usize,
        k: usize,
    ) -> PyResult<Self> {
        let [n, d] = [rows.shape()[0], rows.shape()[1]];
        let (values, codes) = (matrix("rows", &rows, d)?, codes.as_slice()?);
        let known = |&code: &i64| usize::try_from(code).is_ok_and(|code| code < n_classes);
        if codes.len() != n || !codes.iter().all(known) || k == 0 || n == 0 || d == 0 {
            return Err(PyValueError::new_err("codes are not one class for each row, or k is 0"));
        }
        Ok(Self { core: Mutex::new(Core::new(values, d, codes, n_classes, k)), shape: [n, d], k })
    }

    #[pyo3(signature = (rows, components, n_jobs = 1))]
    fn find<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f64>,
        components: PyReadonlyArray2<'py, f64>,
        n_jobs: usize,
    ) -> PyResult<Pair<'py>> {
        let [n, d] = self.shape;
        let (values, components) = (matrix("rows", &rows, d)?, matrix("components", &components, d)?);
        if values.len() != n * d || components.is_empty() {
            return Err(PyValueError::new_err(
                "rows are not those of the neighbourhood, or components is empty",
            ));
        }
        let call = Call { jobs: n_jobs, time_limit: None, progress: None };
        let found = enter(py, &call, |team, control| {
            self.core.lock().unwrap_or_else(PoisonError::into_inner).find(values, components, team, control)
        })?;
        Ok((into_matrix(py, found.same, self.k), into_matrix(py, found.other, self.k)))
    }
}

type Objective<'py> = (f64, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

#[pyfunction]
#[pyo3(signature = (rows, components, anchors, same, other, loss, n_jobs = 1))]
pub fn triplet_objective<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f64>,
    components: PyReadonlyArray2<'py, f64>,
    anchors: PyReadonlyArray1<'py, i64>,
    same: PyReadonlyArray1<'py, i64>,
    other: PyReadonlyArray1<'py, i64>,
    loss: (String, f64),
    n_jobs: usize,
) -> PyResult<Objective<'py>> {
    let [n, d] = [rows.shape()[0], rows.shape()[1]];
    let (values, g) = (matrix("rows", &rows, d)?, matrix("components", &components, d)?);
    let (anchors, same, other) = (anchors.as_slice()?, same.as_slice()?, other.as_slice()?);
    let known = |rows: &[i64]| rows.iter().all(|&row| usize::try_from(row).is_ok_and(|row| row < n));
    if same.len() != anchors.len()
        || other.len() != anchors.len()
        || ![anchors, same, other].into_iter().all(known)
    {
        return Err(PyValueError::new_err("anchors, same and other are not rows, one of each for a triplet"));
    }
    let loss = match loss.0.as_str() {
        "negative" => Loss::Negative,
        "hinge" => Loss::Hinge(loss.1),
        "exponential" => Loss::Exponential,
        "logistic" => Loss::Logistic,
        _ => return Err(PyValueError::new_err("loss is not known")),
    };
    let triplets = Triplets { rows: values, features: d, anchors, same, other };
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let found = enter(py, &call, |team, control| triplets.objective(g, loss, team, control))?;
    Ok((found.loss, into_matrix(py, found.gradient, d), into_vector(py, found.margins)))
}
