//! Looks at pairs of images before they are compared in full: rows that are no farther apart than the images.
//!
//! Along the few axes on which images differ most two of them are nearly as far apart as they are, and a product takes a
//! fraction of the time.

use crate::error::Result;
use crate::geometry::dot::{axpy, dot, squared_norm};
use crate::geometry::matrix::{product_nt32, transposed};
use crate::learning::scan::TILE;
use crate::learning::single::Single;
use crate::parallel::{Control, Team};
use std::borrow::Cow;
use std::ops::Range;

/// Axes of a first look, and coordinates of images from which there is one.
const AXES: usize = 128;
const LONG: usize = 2 * AXES;
/// Images that the axes are those of, at least and at most, and steps towards them.
const FEWEST: usize = 4 * AXES;
const SAMPLE: usize = 4096;
const STEPS: usize = 3;
/// One pair of so many may pass the first look.
const OPEN: usize = 8;

impl Single {
    /// All of the images.
    #[must_use]
    pub fn whole(&self) -> Look<'_> {
        let shrink = 1.0 - self.off();
        let squares = self.squares.iter().map(|square| square * shrink).collect();
        Look { values: Cow::Borrowed(&self.images), squares, width: self.dimensions }
    }

    /// Where they are along a few axes; none for short ones and for few.
    pub fn along_axes(&self, team: &Team, control: &Control) -> Result<Option<Look<'_>>> {
        let (n, p) = (self.squares.len(), self.dimensions);
        if p < LONG || n < FEWEST {
            return Ok(None);
        }
        let axes = self.axes();
        let mut values = vec![0.0; n * AXES];
        team.fill(&mut values, AXES, TILE, control, |part, along| {
            product_nt32(self.rows(&part), &axes, p, along);
        })?;
        // Each of these products is off by p ε ‖x‖ / 2 at most, so that the square of a difference is by 44 p ε / 2
        // times the two squares of the images; the axes, rounded, make it longer by less than that.
        let off = (AXES as f32 + 8.0) * 6.0 * f32::EPSILON;
        let by_axes = 30.0 * (p as f32 + 8.0) * f32::EPSILON;
        let square = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        let squares = values.chunks_exact(AXES).zip(&self.squares);
        let squares = squares.map(|(x, whole)| square(x) * (1.0 - off) - by_axes * whole).collect();
        Ok(Some(Look { values: Cow::Owned(values), squares, width: AXES }))
    }

    /// Orthonormal rows `(AXES, p)`, or zeros, near the principal axes of a sample: by subspace iteration.
    fn axes(&self) -> Vec<f32> {
        let (n, p) = (self.squares.len(), self.dimensions);
        let count = n.min(SAMPLE);
        let sample: Vec<&[f32]> = (0..count).map(|k| &self.images[k * n / count * p..][..p]).collect();
        let mut mean = vec![0.0; p];
        sample.iter().for_each(|row| mean.iter_mut().zip(*row).for_each(|(m, x)| *m += x / count as f32));
        let rows: Vec<f32> =
            sample.iter().flat_map(|row| row.iter().zip(&mean).map(|(x, m)| x - m)).collect();
        let columns = transposed(&rows, p);
        let mut axes = orthonormal(rows[..AXES * p].iter().map(|&x| f64::from(x)).collect(), p);
        for _ in 0..STEPS {
            let (mut along, mut turned) = (vec![0.0; AXES * count], vec![0.0; AXES * p]);
            product_nt32(&axes, &rows, p, &mut along);
            product_nt32(&along, &columns, count, &mut turned);
            axes = orthonormal(turned.into_iter().map(f64::from).collect(), p);
        }
        axes
    }
}

/// Rows made orthonormal one after the other, twice so that they are; zeros for those that depend on others.
fn orthonormal(mut rows: Vec<f64>, p: usize) -> Vec<f32> {
    for at in 0..rows.len() / p {
        let (before, rest) = rows.split_at_mut(at * p);
        let row = &mut rest[..p];
        let length = squared_norm(row).sqrt();
        for _ in 0..2 {
            before.chunks_exact(p).for_each(|other| axpy(row, -dot(row, other), other));
        }
        let left = squared_norm(row).sqrt();
        // What rounding has left of it is no direction.
        let scale = if left > 1e-6 * length { 1.0 / left } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
    }
    rows.into_iter().map(|x| x as f32).collect()
}

/// What pairs are compared by: rows `(n, width)` that are no farther apart than the images, and their squares, made
/// smaller by what binary32 may be off by.
pub struct Look<'a> {
    values: Cow<'a, [f32]>,
    pub squares: Vec<f32>,
    width: usize,
}

impl Look<'_> {
    /// Products of rows with others, `(rows, others)`.
    pub fn products(&self, own: &Range<usize>, others: &Range<usize>, products: &mut [f32]) {
        let [left, right] =
            [own, others].map(|range| &self.values[range.start * self.width..range.end * self.width]);
        product_nt32(left, right, self.width, products);
    }
}

/// Whether it pays to compare the pairs that have passed one by one.
#[must_use]
pub fn are_few(passed: usize, pairs: usize) -> bool {
    passed <= pairs / OPEN
}
