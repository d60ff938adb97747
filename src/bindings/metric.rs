//! Metrics as the Python layer hands them over.

use super::arrays::matrix;
use crate::metric::Metric;
use crate::parallel::Control;
use numpy::PyReadonlyArray2;
use pyo3::prelude::*;

/// `None` is the Euclidean metric; else components, or with a stored matrix a factor of it, and that matrix.
pub type Given<'py> = Option<(PyReadonlyArray2<'py, f64>, Option<PyReadonlyArray2<'py, f64>>)>;

/// The same, borrowed.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    features: usize,
    components: Option<&'a [f64]>,
    matrix: Option<&'a [f64]>,
}

impl<'a> Source<'a> {
    /// Of a metric on so many features.
    pub fn new(given: &'a Given<'_>, features: usize) -> PyResult<Self> {
        let of = |name, array| matrix(name, array, features);
        let components = given.as_ref().map(|(g, _)| of("components", g)).transpose()?;
        let whole = given.as_ref().and_then(|(_, m)| m.as_ref()).map(|m| of("matrix", m)).transpose()?;
        Ok(Self { features, components, matrix: whole })
    }

    /// The metric; of no use once interrupted.
    pub fn metric(self, control: &Control) -> Metric {
        let stop = || control.is_interrupted();
        match (self.components, self.matrix) {
            (None, _) => Metric::euclidean(self.features),
            (Some(g), None) => Metric::from_components_until(self.features, g, &stop),
            (Some(g), Some(m)) => Metric::from_matrix_until(self.features, m, g, &stop),
        }
    }
}
