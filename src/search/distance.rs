//! Distances to training rows, and differences of two of them, each with a bound on its error.

use crate::geometry::dot::{axpy, depth, dot, norm_up, square_gap, squared_distance};
use crate::geometry::predicates::compare_distances;
use crate::geometry::rounding::{TINY, gamma, up};
use crate::search::embed::Query;
use crate::search::index::Index;
use std::cmp::Ordering;

/// A squared distance, or a difference of two, in scaled units and a bound on its error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub value: f64,
    pub error: f64,
}

/// Squares whose error is a larger share than this are worth a product with `G`.
const NEAR: f64 = 1e-10;

/// Work space for images of differences.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    difference: Vec<f64>,
    sum: Vec<f64>,
    image: Vec<f64>,
    sum_image: Vec<f64>,
}

impl Index {
    /// `d²(z, x)` for the row at a position, in scaled units. Images of near rows lose digits: those are measured by
    /// their difference.
    #[must_use]
    pub fn squared_distance(&self, position: usize, query: &Query) -> Measured {
        match self.fine(position) {
            None => {
                let value = squared_distance(self.row(position), query.row, self.scale());
                Measured { value, error: up(gamma(depth(self.features())) * value) }
            }
            Some((image, _)) => {
                let value = squared_distance(image, query.image, 1.0);
                let error = self.image_square_error(value, self.norm(position) + query.norm);
                if error <= NEAR * value {
                    return Measured { value, error };
                }
                self.squared_distance_to(position, query.row, &mut Scratch::default())
            }
        }
    }

    /// Error of a squared distance between two computed images whose centred norms sum to `norms`.
    #[must_use]
    pub fn image_square_error(&self, value: f64, norms: f64) -> f64 {
        let embedding = self.embedding();
        let offset = embedding.relative_error * norms;
        up(gamma(depth(embedding.dimensions())) * value
            + offset * (2.0 * value.sqrt() + offset)
            + embedding.defect * norms * norms
            + TINY)
    }

    /// `d²(u, x)` between the row at a position and any point `u` of input space, from their difference: the error is
    /// relative to `‖u − x‖`, wherever the rows lie. Under a metric it costs a product with `G`.
    #[must_use]
    pub fn squared_distance_to(&self, position: usize, point: &[f64], scratch: &mut Scratch) -> Measured {
        let Some(factor) = self.metric().scaled_factor() else {
            let value = squared_distance(self.row(position), point, self.scale());
            return Measured { value, error: up(gamma(depth(self.features())) * value + TINY) };
        };
        let Scratch { difference, image, .. } = scratch;
        let reach = self.difference(self.row(position), point, difference);
        multiply(factor, difference, image);
        let value = dot(image, image);
        let offset = self.metric().difference_error() * reach;
        let rounding = gamma(depth(image.len())) * value + offset * (2.0 * value.sqrt() + offset);
        let product = Measured { value, error: up(rounding + TINY) };
        self.with_rest(product, (difference, reach), (difference, reach))
    }

    /// `uᵀMv` from `⟨Gu, Gv⟩`, for differences with upper bounds on what their errors are relative to.
    fn with_rest(
        &self,
        product: Measured,
        (u, u_norm): (&[f64], f64),
        (v, v_norm): (&[f64], f64),
    ) -> Measured {
        let Some(rest) = self.metric().rest() else { return product };
        let value = product.value + rest.form(u, v);
        let error = product.error + rest.error * u_norm * v_norm + f64::EPSILON * value.abs();
        Measured { value, error: up(error) }
    }

    /// `d²(u, x) − d²(u, o)` for the rows `x`, `o` at two positions and any point `u` of input space, as the product
    /// `⟨G(x − o), G((x − u) + (o − u))⟩`: of rows that nearly coincide it keeps the digits that the
    /// difference of two squares loses. Under a metric it costs two products with `G`.
    #[must_use]
    pub fn gap(&self, position: usize, origin: usize, point: &[f64], scratch: &mut Scratch) -> Measured {
        let (row, other) = (self.row(position), self.row(origin));
        let Some(factor) = self.metric().scaled_factor() else {
            let (value, size) = square_gap(row, other, point, self.scale());
            return Measured { value, error: up(gamma(depth(row.len()) + 6) * size + TINY) };
        };
        let Scratch { difference, sum, image, sum_image } = scratch;
        let reach = self.difference(row, other, difference);
        let mut around = self.difference(other, point, image);
        around += self.difference(row, point, sum);
        sum.iter_mut().zip(&*image).for_each(|(x, o)| *x += o);
        multiply(factor, difference, image);
        multiply(factor, sum, sum_image);
        let (length, sum_length) = (norm_up(image), norm_up(sum_image));
        let rate = self.metric().difference_error();
        let (own, about) = (rate * reach, rate * around);
        let error =
            own * (sum_length + about) + length * about + gamma(depth(image.len())) * length * sum_length;
        let product = Measured { value: dot(image, sum_image), error: up(error + TINY) };
        self.with_rest(product, (difference, reach), (sum, around))
    }

    /// `G(x − o)s` for the rows at two positions, from their difference: within `difference_error` times the
    /// result, an upper bound on `‖x − o‖s`. For metrics other than the Euclidean.
    pub fn image_of_difference(
        &self,
        position: usize,
        origin: usize,
        image: &mut Vec<f64>,
        scratch: &mut Scratch,
    ) -> f64 {
        let factor = self.metric().scaled_factor().unwrap_or_default();
        let reach = self.difference(self.row(position), self.row(origin), &mut scratch.difference);
        multiply(factor, &scratch.difference, image);
        reach
    }

    /// `(a − b)s` over the features that the metric sees; returns an upper bound on its norm.
    fn difference(&self, a: &[f64], b: &[f64], out: &mut Vec<f64>) -> f64 {
        out.clear();
        out.extend(a.iter().zip(b).zip(self.scales()).map(|((a, b), s)| (a - b) * s));
        up(norm_up(out))
    }

    /// A row that is farther than this from the query is farther from `z + δ`, for all `‖δ‖ ≤ radius`, than a row at most
    /// `distance` from the query whose [`norm`](Self::norm) is given. Meant for the ladder's thresholds.
    ///
    /// `d_j² − d_i² ≤ 2⟨δ, M(x_j − x_i)⟩` there. With `a = ‖B(x_j − z)‖`, `n = ‖x − z‖` and the defect `κ` of `B`, that is
    /// `a² − κn_j² ≤ d_i² + 2r(‖B‖(a + d_i + √κ n_i) + κ(n_j + n_i))`, so that `a ≤ d_i + 2r‖B‖ + √κ(n_j + 2n_i)`. No triangle
    /// inequality is needed, which an `M` that rounding made indefinite lacks; `√κ n_j` is part of the ladder's errors.
    #[must_use]
    pub fn reach(&self, query: &Query, (distance, norm): (f64, f64), radius: f64) -> f64 {
        let embedding = self.embedding();
        let slack = 2.0 * embedding.distance_defect() * (norm + query.norm);
        up(distance + 2.0 * embedding.norm * radius + slack)
    }

    /// The row at a position as far as the metric can see it, and `z` where it cannot.
    #[must_use]
    pub fn seen_row(&self, position: usize, z: &[f64]) -> Vec<f64> {
        let features = self.row(position).iter().zip(z).zip(self.scales());
        features.map(|((&x, &z), &scale)| if scale == 0.0 { z } else { x }).collect()
    }

    /// What binary64 can round `z + δ` by, scaled, in the features that the metric sees.
    #[must_use]
    pub fn place_rounding(&self, z: &[f64]) -> f64 {
        let scaled: Vec<f64> = z.iter().zip(self.scales()).map(|(z, s)| z * s).collect();
        f64::EPSILON * norm_up(&scaled)
    }

    /// Orders two positions by their exact distance from the query, ties by the caller's index.
    #[must_use]
    pub fn compare(&self, a: (usize, Measured), b: (usize, Measured), query: &Query) -> Ordering {
        let difference = a.1.value - b.1.value;
        if difference.abs() > up(a.1.error + b.1.error) {
            return difference.total_cmp(&0.0);
        }
        let (row_a, row_b) = (self.row(a.0), self.row(b.0));
        let gap = self.gap(a.0, b.0, query.row, &mut Scratch::default());
        let by_distance = if row_a == row_b {
            Ordering::Equal
        } else if gap.value.abs() > gap.error {
            gap.value.total_cmp(&0.0)
        } else {
            compare_distances(query.row, row_a, row_b, self.metric().form())
        };
        by_distance.then_with(|| self.row_index(a.0).cmp(&self.row_index(b.0)))
    }
}

/// An upper bound on `‖p − z‖` in the caller's units, where nothing underflows.
#[must_use]
pub fn length_up(p: &[f64], z: &[f64]) -> f64 {
    let moved: Vec<f64> = p.iter().zip(z).map(|(p, z)| p - z).collect();
    (norm_up(&moved) * (1.0 + 4.0 * f64::EPSILON)).next_up()
}

/// `mapᵀ · x`, with `map` row-major in rows of the given width.
pub fn multiply_transposed(map: &[f64], x: &[f64], width: usize, out: &mut Vec<f64>) {
    out.clear();
    out.resize(width, 0.0);
    map.chunks_exact(width).zip(x).for_each(|(row, &x)| axpy(out, x, row));
}

/// `map · x`, with `map` row-major.
pub fn multiply(map: &[f64], x: &[f64], out: &mut Vec<f64>) {
    out.clear();
    out.extend(map.chunks_exact(x.len()).map(|row| dot(row, x)));
}
