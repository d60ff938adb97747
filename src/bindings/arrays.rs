//! NumPy arrays as slices, and back.

use crate::search::index::RowStore;
use ndarray::Array2;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A C-contiguous `(rows, columns)` array as a slice.
pub fn matrix<'a>(name: &str, array: &'a PyReadonlyArray2<'_, f64>, columns: usize) -> PyResult<&'a [f64]> {
    if array.shape()[1] != columns {
        return Err(PyValueError::new_err(format!(
            "{name} has {} columns; expected {columns}",
            array.shape()[1]
        )));
    }
    array.as_slice().map_err(|_| PyValueError::new_err(format!("{name} must be C-contiguous")))
}

/// A row-major vector as a `(rows, columns)` array.
pub fn into_matrix<T: numpy::Element>(
    py: Python<'_>,
    values: Vec<T>,
    columns: usize,
) -> Bound<'_, PyArray2<T>> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let array = Array2::from_shape_vec((rows, columns), values).expect("the length is rows times columns");
    PyArray2::from_owned_array(py, array)
}

/// A vector as an array.
pub fn into_vector<T: numpy::Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyArray1<T>> {
    PyArray1::from_vec(py, values)
}

/// The caller's array, kept alive and read in place.
pub struct BorrowedRows {
    _array: Py<PyArray2<f64>>,
    start: *const f64,
    length: usize,
}

// SAFETY: the array's memory is only read, and lives as long as the reference that is held here. The
// Python layer owns the array that it hands in and does not write to it.
unsafe impl Send for BorrowedRows {}
// SAFETY: as above.
unsafe impl Sync for BorrowedRows {}

impl BorrowedRows {
    pub fn new(array: &Bound<'_, PyArray2<f64>>) -> PyResult<Self> {
        let view = array.readonly();
        let values = view.as_slice().map_err(|_| PyValueError::new_err("rows must be C-contiguous"))?;
        let (start, length) = (values.as_ptr(), values.len());
        Ok(Self { _array: array.clone().unbind(), start, length })
    }
}

impl RowStore for BorrowedRows {
    fn values(&self) -> &[f64] {
        // SAFETY: `start` and `length` describe the array that `_array` keeps alive.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}
