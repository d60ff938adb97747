//! `Index`: the prepared training rows.

use super::arrays::{BorrowedRows, into_matrix, matrix};
use super::certify::certificates;
use super::enter::{Call, enter};
use super::metric::{Given, Source};
use crate::certify::vote::Rule;
use crate::certify::vote::case::{Method, Question};
use crate::certify::{self, Points, Radius, Wanted};
use crate::error::Result;
use crate::parallel::{Control, Team};
use crate::search::index::{Index as Core, Training};
use crate::search::neighbors::{NeighborRequest, Neighbors, kneighbors};
use numpy::{PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;
use std::time::Duration;

/// Training rows, prepared once.
#[pyclass(frozen, module = "certimetric._native")]
pub struct Index {
    core: Core,
}

type Pair<'py, A, B> = (Bound<'py, A>, Bound<'py, B>);

#[pymethods]
impl Index {
    #[new]
    #[pyo3(signature = (rows, codes, n_classes, metric, rotation, n_jobs = 1, progress = None))]
    fn new(
        py: Python<'_>,
        rows: &Bound<'_, PyArray2<f64>>,
        codes: PyReadonlyArray1<'_, i64>,
        n_classes: usize,
        metric: Given<'_>,
        rotation: Option<PyReadonlyArray2<'_, f64>>,
        n_jobs: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let features = rows.shape()[1];
        let store = Arc::new(BorrowedRows::new(rows)?);
        let codes = codes.as_slice()?;
        let source = Source::new(&metric, features)?;
        let rotation = rotation.as_ref().map(PyReadonlyArray2::as_slice).transpose()?;
        let call = Call { jobs: n_jobs, time_limit: None, progress };
        let core = enter(py, &call, |team, control| {
            let metric = source.metric(control);
            Core::build(Training { rows: store, codes, classes: n_classes, metric, rotation }, team, control)
        })?;
        Ok(Self { core })
    }

    #[getter]
    fn n_samples(&self) -> usize {
        self.core.len()
    }

    #[getter]
    fn n_features(&self) -> usize {
        self.core.features()
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.core.memory_bytes()
    }

    #[pyo3(signature = (queries, k, squared = false, n_jobs = 1, progress = None))]
    fn kneighbors<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f64>,
        k: usize,
        squared: bool,
        n_jobs: usize,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Pair<'py, PyArray2<f64>, PyArray2<i64>>> {
        let request = NeighborRequest { k, per_class: false, squared };
        let found = self.search(py, &queries, request, n_jobs, progress)?;
        Ok((into_matrix(py, found.distances, k), into_matrix(py, found.rows, k)))
    }

    #[pyo3(signature = (queries, k, squared = false, n_jobs = 1, progress = None))]
    fn kneighbors_per_class<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f64>,
        k: usize,
        squared: bool,
        n_jobs: usize,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Pair<'py, PyArray3<f64>, PyArray3<i64>>> {
        let request = NeighborRequest { k, per_class: true, squared };
        let found = self.search(py, &queries, request, n_jobs, progress)?;
        let shape = [queries.shape()[0], self.core.classes(), k];
        let distances = into_matrix(py, found.distances, k).reshape(shape)?;
        Ok((distances, into_matrix(py, found.rows, k).reshape(shape)?))
    }

    #[pyo3(signature = (
        queries, codes, adversarial = false, proofs = false, time_limit = None, n_jobs = 1, progress = None
    ))]
    fn certify<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f64>,
        codes: Option<PyReadonlyArray1<'py, i64>>,
        adversarial: bool,
        proofs: bool,
        time_limit: Option<f64>,
        n_jobs: usize,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let call = Call { jobs: n_jobs, time_limit, progress };
        let wanted = Wanted { adversarial, proof: proofs };
        self.radii(py, (&queries, codes.as_ref(), wanted), &call, |points, team, control| {
            certify::certify(&self.core, points, team, control)
        })
    }

    #[pyo3(signature = (
        queries, codes, k, majority, method, beyond = None, point_node_limit = None, max_memory = None,
        point_time_limit = None, adversarial = false, proofs = false, node_limit = None, time_limit = None, n_jobs = 1, progress = None
    ))]
    fn certify_votes<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f64>,
        codes: Option<PyReadonlyArray1<'py, i64>>,
        k: usize,
        majority: bool,
        method: &str,
        beyond: Option<f64>,
        point_node_limit: Option<u64>,
        max_memory: Option<usize>,
        point_time_limit: Option<f64>,
        adversarial: bool,
        proofs: bool,
        node_limit: Option<u64>,
        time_limit: Option<f64>,
        n_jobs: usize,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let call = Call { jobs: n_jobs, time_limit, progress };
        let seconds = |limit: f64| Duration::try_from_secs_f64(limit).unwrap_or(Duration::MAX);
        let question = Question {
            k,
            rule: if majority { Rule::Majority } else { Rule::Plurality },
            method: match method {
                "exact" => Method::Exact,
                "bound" => Method::Bound,
                "attack" => Method::Attack,
                _ => return Err(PyValueError::new_err("method is neither exact nor bound nor attack")),
            },
            beyond,
            node_limit: point_node_limit.unwrap_or(u64::MAX),
            call_node_limit: node_limit,
            max_memory: max_memory.unwrap_or(usize::MAX),
            time_limit: point_time_limit.map(seconds),
            proof: proofs,
        };
        let wanted = Wanted { adversarial, proof: proofs };
        self.radii(py, (&queries, codes.as_ref(), wanted), &call, |points, team, control| {
            certify::certify_votes(&self.core, points, question, team, control)
        })
    }
}

impl Index {
    fn radii<'py>(
        &self,
        py: Python<'py>,
        (queries, codes, wanted): (&PyReadonlyArray2<'py, f64>, Option<&PyReadonlyArray1<'py, i64>>, Wanted),
        call: &Call<'py>,
        work: impl FnOnce(Points, &Team, &Control) -> Result<Vec<Radius>> + Send,
    ) -> PyResult<Bound<'py, PyDict>> {
        let queries = matrix("queries", queries, self.core.features())?;
        let codes = codes.map(PyReadonlyArray1::as_slice).transpose()?;
        let points = Points { queries, codes, wanted };
        let radii = enter(py, call, |team, control| work(points, team, control))?;
        certificates(py, radii, wanted, self.core.features())
    }

    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &PyReadonlyArray2<'py, f64>,
        request: NeighborRequest,
        jobs: usize,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Neighbors> {
        if request.k == 0 {
            return Err(PyValueError::new_err("k is 0; expected at least 1"));
        }
        let values = matrix("queries", queries, self.core.features())?;
        let call = Call { jobs, time_limit: None, progress };
        enter(py, &call, |team, control| kneighbors(&self.core, values, request, team, control))
    }
}
