//! One test that tells which other-class rows can still beat a threshold.
//!
//! Weak duality with fixed weights `λ` on class-c rows (`Σλ = 1`, `x̄ = Σ λ_i x_i`, `b̄ = Σ λ_i d_i²`) bounds the cell of
//! *every* row: `r_j ≥ (d_j² − b̄) / (2 ‖M(x_j − x̄)‖)`. With the tangent `n ≤ (n²/V + V)/2`, which holds for any
//! `V > 0`, the rows for which this is not yet at least `T` satisfy
//!
//! `d_j² − α ‖M(x_j − x̄)‖² < b̄ + TV,   α = T/V`.
//!
//! Both squares are quadratic in the image `t_j`, and the second one's quadratic part is a number that does
//! not depend on the query, `s_j = ‖Mx_j‖²`. Completing the square of the rest gives
//!
//! `‖t_j − y‖² < R² + α s_j,   y = t_z − α BBᵀx̄`:
//!
//! one more lower bound on a distance, for which the ladder exists, with a limit for each row. Against the
//! ball about `z` that the triangle inequality gives (radius `d₁ + 2σT`) it keeps many times fewer rows: rows
//! beyond the boundary mostly lie across from `x̄`, not behind it, and few normals are as long as `σ` allows.

use crate::geometry::dot::{axpy, dot, norm_up, squared_norm};
use crate::geometry::rounding::up;
use crate::search::embed::Query;
use crate::search::index::Index;
use crate::search::ladder::{Point, RowLimit};

/// `(1 − θ)a² − e²/θ ≤ (a − e)²` takes the errors of the images out of the squares.
const THETA: f64 = 1.0 / (1u64 << 20) as f64;
/// Coordinates from here on are not looked at: their squares may overflow, also in binary32.
const FARTHEST: f64 = 1e18;

/// What the rows that a test is made of are to have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Their weighted mean constraint alone puts other rows at least `T` away.
    Mean,
    /// The constraint of each of them does.
    Each,
}

/// The test: rows beyond the limit around `y` are proven to have `r_j ≥ T`.
#[derive(Debug, Default)]
pub struct Screen {
    /// `y`, in the coordinates of the ladder.
    pub centre: Point,
    pub limit: RowLimit,
    mean: Vec<f64>,
    mean_dual: Vec<f64>,
    image: Vec<f64>,
    row: Vec<f64>,
    difference: Vec<f64>,
}

impl Screen {
    /// The test for the threshold `target`, from positions of class-c rows and their weights, and one rival
    /// at the boundary, whose normal is a good guess at `V`.
    pub fn aim(&mut self, index: &Index, query: &Query, weights: &[(usize, f64)], rival: usize, target: f64) {
        self.aim_at(index, query, (weights, Claim::Mean), rival, target);
    }

    /// The same for one of two claims.
    ///
    /// For each row `i` that `x̄` is the mean of, `‖M(x_j − x_i)‖ ≤ ‖M(x_j − x̄)‖ + ρ` with the largest of their
    /// `ρ_i = ‖M(x_i − x̄)‖`: `b̄ = max d_i² + 2Tρ` makes one test of all.
    pub fn aim_at(
        &mut self,
        index: &Index,
        query: &Query,
        (weights, claim): (&[(usize, f64)], Claim),
        rival: usize,
        target: f64,
    ) {
        let ladder = index.ladder();
        let p = index.embedding().dimensions();
        let total: f64 = weights.iter().map(|w| w.1).sum();
        for buffer in
            [&mut self.image, &mut self.mean, &mut self.mean_dual, &mut self.row, &mut self.difference]
        {
            buffer.clear();
            buffer.resize(p, 0.0);
        }
        match index.fine(rival) {
            None => ladder.decode_point(query.point, &mut self.image),
            Some(_) => self.image.copy_from_slice(query.image),
        }
        let (mut mean_square, mut largest_square, mut error) = (0.0, 0.0f64, 0.0f64);
        for &(position, weight) in weights {
            let share = weight / total;
            self.load(index, position);
            axpy(&mut self.mean, share, &self.row);
            axpy(&mut self.mean_dual, share, index.fine(position).map_or(&self.row, |fine| fine.1));
            self.difference.clone_from(&self.row);
            axpy(&mut self.difference, -1.0, &self.image);
            let own = ladder.error(position);
            let square = (norm_up(&self.difference) + own + query.point.error).powi(2);
            mean_square += share * square;
            largest_square = largest_square.max(square);
            error = error.max(own);
        }
        let error = up(ladder.largest_error() + query.point.error.max(error));
        let norm = index.embedding().norm;
        // ‖M v‖ ≤ ‖Bᵀv̂‖ + 2‖B‖e: what embedding, defect and rounding can add to a normal.
        let reach = target / (1.0 - THETA);
        let own_square = match claim {
            Claim::Mean => mean_square,
            Claim::Each => largest_square + 2.0 * target * norm * (self.spread(index, weights) + 4.0 * error),
        };
        let base = up((up(own_square) + error * error / THETA) / (1.0 - THETA) + 4.0 * reach * norm * error);
        let normal = self.normal_of(index, rival).max(0.5 * reach * norm * norm).max(f64::MIN_POSITIVE);
        let alpha = reach / normal;
        let start = squared_norm(&self.image);
        axpy(&mut self.image, -alpha, &self.mean_dual);
        let (end, spread) = (squared_norm(&self.image), alpha * dot(&self.mean, &self.mean_dual));
        // Means, duals and squares round in binary64; scaled rows are no longer than √d.
        let largest = start + end + spread.abs() + norm * norm * index.features() as f64;
        let rounding = (1e-13 + 2.0 * alpha * index.dual_error()) * largest;
        let base = base + reach * normal + (end - start) + spread + rounding;
        // Of test points so far away that squares overflow nothing is known.
        let is_known = base.is_finite() && self.image.iter().all(|x| x.abs() < FARTHEST);
        self.limit = RowLimit { base, slope: up(alpha) };
        if !is_known {
            self.limit = RowLimit { base: f64::INFINITY, slope: 0.0 };
            self.image.fill(0.0);
        }
        ladder.encode(&self.image, 0.0, &mut self.centre);
    }

    /// How far the images of some rows lie from the mean at most.
    fn spread(&mut self, index: &Index, weights: &[(usize, f64)]) -> f64 {
        let length = |&(position, _): &(usize, f64)| {
            self.load(index, position);
            self.difference.clone_from(&self.row);
            axpy(&mut self.difference, -1.0, &self.mean);
            norm_up(&self.difference)
        };
        weights.iter().map(length).fold(0.0, f64::max)
    }

    fn load(&mut self, index: &Index, position: usize) {
        match index.fine(position) {
            None => index.ladder().decode(position, &mut self.row),
            Some((image, _)) => self.row.copy_from_slice(image),
        }
    }

    /// `‖M(x_j − x̄)‖`, nearly.
    fn normal_of(&mut self, index: &Index, position: usize) -> f64 {
        self.load(index, position);
        self.difference.clone_from(&self.row);
        axpy(&mut self.difference, -1.0, &self.mean);
        if let Some((_, dual)) = index.fine(position) {
            self.row.copy_from_slice(dual);
        }
        axpy(&mut self.row, -1.0, &self.mean_dual);
        dot(&self.difference, &self.row).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::simd::Kernels;
    use crate::metric::Metric;
    use crate::parallel::{Control, Team};
    use crate::search::index::Training;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// `(d_j² − d_i²) / (2 ‖M(x_j − x_i)‖)` for a diagonal `G`.
    fn triplet(g: &[f64], z: &[f64], own: &[f64], other: &[f64]) -> f64 {
        let square = |power: i32, a: &[f64], b: &[f64]| -> f64 {
            (0..3).map(|k| (g[k].powi(power) * (a[k] - b[k])).powi(2)).sum()
        };
        (square(1, z, other) - square(1, z, own)) / (2.0 * square(2, own, other).sqrt())
    }

    proptest! {
        #[test]
        fn rows_beyond_a_test_of_each_are_as_far_behind_every_one(
            rows in prop::collection::vec(-100i32..100, 3 * 40), z in prop::collection::vec(-100i32..100, 3),
            g in prop::array::uniform3(0.25..2.0f64), is_euclidean in any::<bool>(), target in 0.0..0.5f64,
        ) {
            let [values, z] = [rows, z].map(|list| list.into_iter().map(f64::from).collect::<Vec<_>>());
            // The first class gathers near the test point.
            let near = |k: usize, x: f64| if k < 12 { z[k % 3] + (x - z[k % 3]) / 8.0 } else { x };
            let values: Vec<f64> = values.iter().enumerate().map(|(k, &x)| near(k, x)).collect();
            let codes: Vec<i64> = (0..40).map(|row| i64::from(row >= 4)).collect();
            let g = if is_euclidean { [1.0; 3] } else { g };
            let metric = if is_euclidean {
                Metric::euclidean(3)
            } else {
                Metric::from_components(3, &[g[0], 0.0, 0.0, 0.0, g[1], 0.0, 0.0, 0.0, g[2]])
            };
            let training =
                Training { rows: Arc::new(values), codes: &codes, classes: 2, metric, rotation: None };
            let index = Index::build(training, &Team::new(1).unwrap(), &Control::default()).unwrap();
            let embedded = index.embed_queries(&z);
            let (query, kernels) = (embedded.query(0, &z), Kernels::best());
            let own: Vec<_> = (0..4).map(|position| (position, 1.0)).collect();
            let mut screen = Screen::default();
            screen.aim_at(&index, &query, (&own, Claim::Each), 4, target);
            for other in 4..40 {
                let limit = screen.limit.of(index.normal_squares()[other]);
                if index.ladder().within(kernels, other, &screen.centre, limit).is_none() {
                    for (own, _) in &own {
                        let bound = triplet(&g, &z, index.row(*own), index.row(other)) * index.scale();
                        prop_assert!(bound >= target * (1.0 - 1e-12));
                    }
                }
            }
        }
    }

    #[test]
    fn of_points_whose_squares_overflow_nothing_is_dropped() {
        let values: Vec<f64> = (0..120).map(|at| f64::from(at * 37 % 101) - 50.0).collect();
        let codes: Vec<i64> = (0..40).map(|row| i64::from(row >= 4)).collect();
        let metric = Metric::from_components(3, &[1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 2.0]);
        let training = Training { rows: Arc::new(values), codes: &codes, classes: 2, metric, rotation: None };
        let index = Index::build(training, &Team::new(1).unwrap(), &Control::default()).unwrap();
        let own: Vec<_> = (0..4).map(|position| (position, 1.0)).collect();
        for far in [1e20, 1e149] {
            let z = [far; 3];
            let embedded = index.embed_queries(&z);
            let (query, kernels) = (embedded.query(0, &z), Kernels::best());
            let mut screen = Screen::default();
            for target in [1e-3, far * index.scale()] {
                screen.aim_at(&index, &query, (&own, Claim::Each), 4, target);
                let passes = |&other: &usize| {
                    let limit = screen.limit.of(index.normal_squares()[other]);
                    index.ladder().within(kernels, other, &screen.centre, limit).is_some()
                };
                assert_eq!((4..40).filter(passes).count(), 36, "{far} {target}");
            }
        }
    }
}
