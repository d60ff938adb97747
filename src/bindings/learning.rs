//! What learners of metrics ask of the data.

use super::arrays::{into_matrix, into_vector, matrix};
use super::enter::{Call, enter};
use crate::learning::adam::{MANY, Moved, Step};
use crate::learning::bregman::Bounded;
use crate::learning::components_analysis::Classes;
use crate::learning::envelope::{self, Anchors, Wanted, Worth};
use crate::learning::impostors::{Impostors as Searched, Scene, Sum};
use crate::learning::neighborhood::Neighborhood as Core;
use crate::learning::objective::{Loss, Triplets};
use crate::learning::pairs::{Pairs, Weighted, outer};
use crate::learning::reference::Labelled;
use numpy::{
    PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyUntypedArrayMethods,
};
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

fn are_rows(rows: &[i64], n: usize) -> bool {
    rows.iter().all(|&row| usize::try_from(row).is_ok_and(|row| row < n))
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
    if same.len() != anchors.len()
        || other.len() != anchors.len()
        || ![anchors, same, other].into_iter().all(|rows| are_rows(rows, n))
    {
        return Err(PyValueError::new_err("anchors, same and other are not rows, one of each for a triplet"));
    }
    let loss = match loss.0.as_str() {
        "negative" => Loss::Negative,
        "hinge" => Loss::Hinge(loss.1),
        "exponential" => Loss::Exponential,
        "logistic" => Loss::Logistic,
        "perturbation" => Loss::Perturbation(loss.1),
        _ => return Err(PyValueError::new_err("loss is not known")),
    };
    let triplets = Triplets { rows: values, features: d, anchors, same, other };
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let found = enter(py, &call, |team, control| triplets.objective(g, loss, team, control))?;
    Ok((found.loss, into_matrix(py, found.gradient, d), into_vector(py, found.margins)))
}

#[pyfunction]
#[pyo3(signature = (rows, codes, components, n_jobs = 1))]
pub fn neighbor_chances<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f64>,
    codes: PyReadonlyArray1<'py, i64>,
    components: PyReadonlyArray2<'py, f64>,
    n_jobs: usize,
) -> PyResult<(f64, Bound<'py, PyArray2<f64>>)> {
    let [n, d] = [rows.shape()[0], rows.shape()[1]];
    let (values, g) = (matrix("rows", &rows, d)?, matrix("components", &components, d)?);
    let codes = codes.as_slice()?;
    if codes.len() != n || n < 2 || g.is_empty() || !values.iter().all(|x| x.abs() <= 1.0) {
        return Err(PyValueError::new_err("rows are not two or more of magnitude 1, with a class for each"));
    }
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let classes = Classes { rows: values, features: d, codes };
    let found = enter(py, &call, |team, control| classes.chances(g, team, control))?;
    Ok((found.sum, into_matrix(py, found.gradient, d)))
}

fn pairs<'a>(first: &'a [i64], second: &'a [i64], n: usize) -> PyResult<Pairs<'a>> {
    if first.len() != second.len() || !first.is_sorted() || !are_rows(first, n) || !are_rows(second, n) {
        return Err(PyValueError::new_err("first and second are not rows, the first ones in order"));
    }
    Ok(Pairs { first, second })
}

#[pyfunction]
#[pyo3(signature = (images, first, second, n_jobs = 1))]
pub fn pair_squares<'py>(
    py: Python<'py>,
    images: PyReadonlyArray2<'py, f64>,
    first: PyReadonlyArray1<'py, i64>,
    second: PyReadonlyArray1<'py, i64>,
    n_jobs: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let [n, p] = [images.shape()[0], images.shape()[1]];
    let (values, pairs) = (matrix("images", &images, p)?, pairs(first.as_slice()?, second.as_slice()?, n)?);
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let squares = enter(py, &call, |team, control| pairs.squares(values, p, team, control))?;
    Ok(into_vector(py, squares))
}

type List<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, f64>);

#[pyfunction]
#[pyo3(signature = (rows, lists, n_jobs = 1))]
pub fn pair_outer<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f64>,
    lists: Vec<List<'py>>,
    n_jobs: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let [n, d] = [rows.shape()[0], rows.shape()[1]];
    let values = matrix("rows", &rows, d)?;
    let mut weighted = Vec::new();
    for (first, second, weights) in &lists {
        let (pairs, weights) = (pairs(first.as_slice()?, second.as_slice()?, n)?, weights.as_slice()?);
        if weights.len() != pairs.first.len() || values.is_empty() {
            return Err(PyValueError::new_err("weights are not one for each pair, or there are no rows"));
        }
        weighted.push(Weighted { pairs, weights });
    }
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let sum = enter(py, &call, |team, control| outer(&weighted, values, d, team, control))?;
    Ok(into_matrix(py, sum, d))
}

type Pushed<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>, f64);
type Found<'py> = (Bound<'py, PyArray2<i64>>, Option<Pushed<'py>>, Option<Bound<'py, PyArray2<f64>>>);

/// Rows of other classes within limits, in a metric that changes.
#[pyclass(frozen, module = "certimetric._native")]
#[derive(Default)]
pub struct Impostors {
    core: Mutex<Searched>,
}

#[pymethods]
impl Impostors {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[pyo3(signature = (rows, images, codes, limits, n_jobs = 1))]
    fn find<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f64>,
        images: PyReadonlyArray2<'py, f64>,
        codes: PyReadonlyArray1<'py, i64>,
        limits: PyReadonlyArray2<'py, f64>,
        n_jobs: usize,
    ) -> PyResult<Found<'py>> {
        let (n, [d, p, k]) = (rows.shape()[0], [&rows, &images, &limits].map(|array| array.shape()[1]));
        let scene = Scene {
            rows: matrix("rows", &rows, d)?,
            images: matrix("images", &images, p)?,
            codes: codes.as_slice()?,
            limits: matrix("limits", &limits, k)?,
        };
        let lengths = [images.shape()[0], limits.shape()[0], scene.codes.len()];
        if lengths != [n; 3] || [n, d, p, k].contains(&0) {
            return Err(PyValueError::new_err(
                "images, codes and limits are not one for each row, or there is nothing",
            ));
        }
        let call = Call { jobs: n_jobs, time_limit: None, progress: None };
        let found = enter(py, &call, |team, control| {
            self.core.lock().unwrap_or_else(PoisonError::into_inner).find(&scene, team, control)
        })?;
        let counts = into_matrix(py, found.counts, k);
        Ok(match found.sum {
            Sum::Outer(outer) => (counts, None, Some(into_matrix(py, outer, d))),
            Sum::Pairs(pushed) => {
                let rows = [pushed.first, pushed.second].map(|rows| into_vector(py, rows));
                let [first, second] = rows;
                (counts, Some((first, second, into_vector(py, pushed.times), pushed.total)), None)
            }
        })
    }
}

type Swept<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

#[pyfunction]
#[pyo3(signature = (metric, differences, signs, bounds, multipliers, gamma))]
pub fn bregman_sweep<'py>(
    py: Python<'py>,
    metric: PyReadonlyArray2<'py, f64>,
    differences: PyReadonlyArray2<'py, f64>,
    signs: PyReadonlyArray1<'py, f64>,
    bounds: PyReadonlyArray1<'py, f64>,
    multipliers: PyReadonlyArray1<'py, f64>,
    gamma: f64,
) -> PyResult<Swept<'py>> {
    let [m, d] = [differences.shape()[0], differences.shape()[1]];
    let (differences, signs) = (matrix("differences", &differences, d)?, signs.as_slice()?);
    let mut metric = matrix("metric", &metric, d)?.to_vec();
    let (mut bounds, mut multipliers) = (bounds.as_slice()?.to_vec(), multipliers.as_slice()?.to_vec());
    if [signs.len(), bounds.len(), multipliers.len()] != [m; 3] || metric.len() != d * d || m * d == 0 {
        return Err(PyValueError::new_err("signs, bounds and multipliers are not one for each difference"));
    }
    let call = Call { jobs: 1, time_limit: None, progress: None };
    enter(py, &call, |_, _| {
        let (bounds, multipliers) = (&mut bounds, &mut multipliers);
        Bounded { differences, signs, bounds, multipliers }.sweep(&mut metric, gamma);
        Ok(())
    })?;
    Ok((into_matrix(py, metric, d), into_vector(py, bounds), into_vector(py, multipliers)))
}

#[pyfunction]
pub fn adam_step(
    py: Python<'_>,
    mut values: PyReadwriteArray1<'_, f64>,
    gradient: PyReadonlyArray1<'_, f64>,
    mut mean: PyReadwriteArray1<'_, f64>,
    mut square: PyReadwriteArray1<'_, f64>,
    decay: (f64, f64),
    pace: f64,
    floor: f64,
    n_jobs: usize,
) -> PyResult<()> {
    let mut moved = Moved {
        values: values.as_slice_mut()?,
        gradient: gradient.as_slice()?,
        mean: mean.as_slice_mut()?,
        square: square.as_slice_mut()?,
    };
    if [moved.gradient.len(), moved.mean.len(), moved.square.len()] != [moved.values.len(); 3] {
        return Err(PyValueError::new_err("values, gradient, mean and square are not as many numbers"));
    }
    let step = Step { decay, pace, floor };
    if moved.values.len() < MANY {
        step.go(&mut moved);
        return Ok(());
    }
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    enter(py, &call, |team, control| step.make(moved, team, control))
}

type Radii<'py> =
    (f64, Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray2<f64>>>, Option<Bound<'py, PyArray2<f64>>>);

#[pyfunction]
#[pyo3(signature = (points, codes, components, anchors, anchor_codes, worth, itself = None, nearest = None, by_components = false, by_points = false, n_jobs = 1))]
pub fn radius_objective<'py>(
    py: Python<'py>,
    points: PyReadonlyArray2<'py, f64>,
    codes: PyReadonlyArray1<'py, i64>,
    components: Option<PyReadonlyArray2<'py, f64>>,
    anchors: PyReadonlyArray2<'py, f64>,
    anchor_codes: PyReadonlyArray1<'py, i64>,
    worth: (f64, f64, f64),
    itself: Option<PyReadonlyArray1<'py, i64>>,
    nearest: Option<usize>,
    by_components: bool,
    by_points: bool,
    n_jobs: usize,
) -> PyResult<Radii<'py>> {
    let [n, d] = [points.shape()[0], points.shape()[1]];
    let g = components.as_ref().map(|g| matrix("components", g, d)).transpose()?;
    let labelled = |name, rows, codes| -> PyResult<Labelled> {
        Ok(Labelled { rows: matrix(name, rows, d)?, codes, features: d })
    };
    let (ours, theirs) = (codes.as_slice()?, anchor_codes.as_slice()?);
    let itself = itself.as_ref().map(|itself| itself.as_slice()).transpose()?;
    let m = anchors.shape()[0];
    let known = |itself: &[i64]| itself.len() == m && itself.iter().all(|k| (-1..n as i64).contains(k));
    if ours.len() != n || theirs.len() != m || n * d == 0 || g.is_some_and(<[f64]>::is_empty) {
        return Err(PyValueError::new_err("codes are not one for each row, or an array is empty"));
    }
    if itself.is_some_and(|itself| !known(itself)) {
        return Err(PyValueError::new_err("itself is not a point, or -1, for each anchor"));
    }
    let points = labelled("points", &points, ours)?;
    let nearest = nearest.unwrap_or(usize::MAX);
    let anchors = Anchors { labelled: labelled("anchors", &anchors, theirs)?, itself, nearest };
    let worth = Worth { low: worth.0, cap: worth.1, decay: worth.2 };
    let wanted = Wanted { components: by_components, points: by_points };
    let call = Call { jobs: n_jobs, time_limit: None, progress: None };
    let found = enter(py, &call, |team, control| {
        envelope::objective(points, g, anchors, worth, wanted, team, control)
    })?;
    let rows = |values: Option<Vec<f64>>| values.map(|values| into_matrix(py, values, d));
    Ok((found.loss, into_vector(py, found.radii), rows(found.components), rows(found.points)))
}
