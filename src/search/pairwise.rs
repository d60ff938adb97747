//! All distances between two sets of rows, and batches of triplets.

use crate::embedding::Embedding;
use crate::error::Result;
use crate::geometry::dot::{dot, squared_distance, squared_norm, two_sum};
use crate::geometry::rounding::{exponent, power_of_two};
use crate::geometry::triplet::{ROWS, TripletEvaluator};
use crate::metric::Metric;
use crate::parallel::{Control, Team};
use crate::search::neighbors::distance;

/// `d(a_i, b_j)`, row-major `(m, n)`. Differences are taken before squares, so the result is accurate wherever
/// the origin lies, and identical rows are at distance 0. Cost `m n p`, plus `(m + n) p d` for a metric, and
/// `p d` for each pair that nearly coincides in it.
pub fn pairwise_distances(
    a: &[f64],
    b: &[f64],
    metric: &Metric,
    squared: bool,
    team: &Team,
    control: &Control,
) -> Result<Vec<f64>> {
    const TILE: usize = 32;
    let d = metric.features();
    let (m, n) = (a.len() / d, b.len() / d);
    let units = Units::of(a, b, d);
    let p = metric.dimensions();
    let (a_images, b_images) = (units.embed(a, metric), units.embed(b, metric));
    let (left, right) = (a_images.as_deref().unwrap_or(a), b_images.as_deref().unwrap_or(b));
    let scale = if a_images.is_some() { 1.0 } else { units.scale };
    let share = 2.0 * metric.defect() / (NEAR * FINE);
    let squares = |images: &Option<Vec<f64>>, rows: &[f64]| -> Vec<f64> {
        let images = images.iter().flat_map(|images| images.chunks_exact(p));
        let pairs = images.zip(rows.chunks_exact(d));
        pairs.map(|(image, row)| squared_norm(image) + share * units.square(row)).collect()
    };
    let (a_squares, b_squares) = (squares(&a_images, a), squares(&b_images, b));
    let shift = units.exponent + metric.exponent();
    let mut out = vec![0.0; m * n];
    control.expect(m);
    team.for_chunks(
        m,
        TILE,
        control,
        || (),
        |(), rows| {
            let mut part = vec![0.0; rows.len() * n];
            for start in (0..n).step_by(TILE) {
                if control.is_interrupted() {
                    break;
                }
                for (i, row) in rows.clone().enumerate() {
                    for j in start..n.min(start + TILE) {
                        let mut square = squared_distance(&left[row * p..][..p], &right[j * p..][..p], scale);
                        if a_images.is_some() && square < NEAR * (a_squares[row] + b_squares[j]) {
                            square = units.square_of_difference(&a[row * d..][..d], &b[j * d..][..d], metric);
                        }
                        part[i * n + j] = distance(square, squared, shift);
                    }
                }
            }
            control.advance(rows.len());
            part
        },
        |rows, part: Vec<f64>| out[rows.start * n..rows.end * n].copy_from_slice(&part),
    )?;
    Ok(out)
}

/// Images below this share of their own squared lengths apart have lost digits to the centre.
const NEAR: f64 = 1e-4;
/// The share of a squared distance that what a stored `M` has besides `GᵀG` may be.
const FINE: f64 = 1e-8;

/// The units and the centre in which two sets of rows are compared.
struct Units {
    centre: Vec<f64>,
    exponent: i32,
    scale: f64,
}

impl Units {
    /// Centred at the middle row of `b`; scaled to magnitude one.
    fn of(a: &[f64], b: &[f64], d: usize) -> Self {
        let middle = b.len() / d / 2;
        let centre = b[middle * d..][..d].to_vec();
        let largest = a.chunks_exact(d).chain(b.chunks_exact(d)).fold(0.0f64, |largest, row| {
            row.iter().zip(&centre).fold(largest, |m, (x, c)| m.max((x - c).abs()))
        });
        let exponent = exponent(largest).unwrap_or(0).clamp(-1000, 1000);
        Self { centre, exponent, scale: power_of_two(-exponent) }
    }

    /// The squared distance of a row from the centre.
    fn square(&self, row: &[f64]) -> f64 {
        squared_distance(row, &self.centre, self.scale)
    }

    /// `d²(a, b)` from the difference itself.
    fn square_of_difference(&self, a: &[f64], b: &[f64], metric: &Metric) -> f64 {
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b) * self.scale).collect();
        let factor = metric.scaled_factor().unwrap_or_default();
        let square: f64 = factor.chunks_exact(a.len()).map(|row| dot(row, &difference).powi(2)).sum();
        (square + metric.rest().map_or(0.0, |rest| rest.form(&difference, &difference))).max(0.0)
    }

    fn embed(&self, rows: &[f64], metric: &Metric) -> Option<Vec<f64>> {
        let d = metric.features();
        metric.scaled_factor()?;
        let embedding = Embedding::new(metric, None, &|| false);
        let mut images = Vec::with_capacity(rows.len() / d * metric.dimensions());
        for chunk in rows.chunks(ROWS * d) {
            let parts = chunk.chunks_exact(d).flat_map(|row| {
                row.iter().zip(&self.centre).map(|(&x, &c)| {
                    let (difference, lost) = two_sum(x, -c);
                    (difference * self.scale, lost * self.scale)
                })
            });
            let (centred, lost): (Vec<f64>, Vec<f64>) = parts.unzip();
            let start = images.len();
            images.resize(start + chunk.len() / d * metric.dimensions(), 0.0);
            embedding.apply(&centred, &lost, &mut images[start..]);
        }
        Some(images)
    }
}

/// Signed radii of triplets, and perturbations where asked for; see [`TripletEvaluator`].
pub fn triplet_radii(
    queries: &[f64],
    same: &[f64],
    other: &[f64],
    metric: &Metric,
    perturbations: bool,
    team: &Team,
    control: &Control,
) -> Result<(Vec<f64>, Option<Vec<f64>>)> {
    let d = metric.features();
    let evaluator = TripletEvaluator::new(metric);
    let total = queries.len() / d;
    let mut radii = vec![0.0; total];
    let mut deltas = perturbations.then(|| vec![0.0; total * d]);
    control.expect(total);
    team.for_chunks(
        total,
        ROWS,
        control,
        || (),
        |(), rows| {
            let slice = rows.start * d..rows.end * d;
            let mut radii = vec![0.0; rows.len()];
            let mut deltas = perturbations.then(|| vec![0.0; rows.len() * d]);
            let (z, p, q) = (&queries[slice.clone()], &same[slice.clone()], &other[slice]);
            evaluator.evaluate(z, p, q, &mut radii, deltas.as_deref_mut());
            control.advance(rows.len());
            (radii, deltas)
        },
        |rows, (part, part_deltas): (Vec<f64>, Option<Vec<f64>>)| {
            radii[rows.clone()].copy_from_slice(&part);
            if let (Some(deltas), Some(part)) = (&mut deltas, part_deltas) {
                deltas[rows.start * d..rows.end * d].copy_from_slice(&part);
            }
        },
    )?;
    Ok((radii, deltas))
}
