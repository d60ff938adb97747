//! Proofs as Python's lists and dictionaries, in the form that certificates have.

use crate::certify::vote::State;
use crate::certify::vote::record::{Child, End, Fixed, Ground, Reason, Step, Weights};
use crate::certify::witness::Proof;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The lower end that is proven, the rows and weights of each witness, and under a vote what there is instead.
pub type Parts<'py> = (f64, Bound<'py, PyList>, Option<Bound<'py, PyDict>>);

/// A proof; none where the point was not reached.
pub fn proof<'py>(py: Python<'py>, proof: Option<&Proof>) -> PyResult<Parts<'py>> {
    let Some(proof) = proof else { return Ok((0.0, PyList::empty(py), None)) };
    let witnesses = PyList::new(py, proof.witnesses.iter().map(apart))?;
    Ok((proof.lower, witnesses, proof.ground.as_ref().map(|ground| votes(py, ground)).transpose()?))
}

fn apart(weights: &Weights) -> (Vec<usize>, Vec<f64>) {
    weights.iter().copied().unzip()
}

fn side(state: State) -> &'static str {
    if state == State::Inside { "in" } else { "out" }
}

fn votes<'py>(py: Python<'py>, ground: &Ground) -> PyResult<Bound<'py, PyDict>> {
    let ways = PyList::empty(py);
    for (pair, steps) in &ground.ways {
        let way = PyDict::new(py);
        way.set_item("rival", pair.rival)?;
        way.set_item("own", pair.own)?;
        way.set_item("nodes", steps.iter().map(|step| node(py, step)).collect::<PyResult<Vec<_>>>()?)?;
        ways.append(way)?;
    }
    let tree = PyDict::new(py);
    tree.set_item("judges", &ground.judges)?;
    tree.set_item("ways", ways)?;
    Ok(tree)
}

fn node<'py>(py: Python<'py>, step: &Step) -> PyResult<Bound<'py, PyDict>> {
    let node = PyDict::new(py);
    let fixed = PyList::empty(py);
    for Fixed { row, state, reason } in &step.fixed {
        match reason {
            Reason::Weights(weights) => fixed.append((row, side(*state), apart(weights)))?,
            Reason::OneOf(rows) => {
                let rows: Vec<_> = rows.iter().map(|(row, weights)| (*row, apart(weights))).collect();
                let by = PyDict::new(py);
                by.set_item("one_of", rows)?;
                fixed.append((row, side(*state), by))?;
            }
            // Whoever knows the judges knows that.
            Reason::Excluded => (),
        }
    }
    if !fixed.is_empty() {
        node.set_item("fixed", fixed)?;
    }
    match &step.end {
        End::Contradiction => (),
        End::Closed(weights) => node.set_item("closed", apart(weights))?,
        End::Split { rows, before, children } => {
            node.set_item("rows", rows)?;
            node.set_item("before", side(*before))?;
            let list = PyList::empty(py);
            for child in children {
                match child {
                    Child::Node(number) => list.append(number)?,
                    Child::Closed(weights) => list.append(apart(weights))?,
                    Child::Excluded => list.append(py.None())?,
                }
            }
            node.set_item("children", list)?;
        }
    }
    Ok(node)
}
