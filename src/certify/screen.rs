//! One ball that tells which other-class rows can still beat a threshold.
//!
//! Weak duality with fixed weights `λ` on class-c rows (`Σλ = 1`, `x̄ = Σ λ_i x_i`, `b̄ = Σ λ_i d_i²`) bounds the cell of
//! *every* row: `r_j ≥ (d_j² − b̄) / (2 ‖M(x_j − x̄)‖)`. With `‖M v‖ ≤ σ‖Gv‖` and, for any `V > 0`, the tangent
//! `v ≤ (v²/V + V)/2`, the rows for which this is not yet at least `T` satisfy
//!
//! `d_j² − α ‖G(x_j − x̄)‖² < b̄ + σTV,   α = σT/V`,
//!
//! and completing the square makes that a ball about `y = z − α(x̄ − z)/(1 − α)`. So the test is one more lower
//! bound on a distance, for which the ladder exists. Against the ball about `z` that the triangle
//! inequality gives (radius `d₁ + 2σT`) it holds several times fewer rows: rows beyond the boundary
//! mostly lie across from `x̄`, not behind it.

use crate::geometry::dot::{axpy, norm_up, squared_norm};
use crate::geometry::rounding::up;
use crate::search::index::{Index, Query};
use crate::search::ladder::Point;

/// `(1 − θ)a² − e²/θ ≤ (a − e)²` takes the errors of the images out of the squares.
const THETA: f64 = 1.0 / (1u64 << 20) as f64;

/// A ball in the coordinates of the ladder: rows proven to lie outside have `r_j ≥ T`.
#[derive(Debug, Default)]
pub struct Ball {
    pub centre: Point,
    pub radius: f64,
    /// Every row inside is within this distance of the test point.
    pub reach: f64,
    shift: Vec<f64>,
    image: Vec<f64>,
}

impl Ball {
    /// The ball for the threshold `target`, from positions of class-c rows and their weights.
    /// `spread` is a guess at `‖G(x_j − x̄)‖` for the rows at the boundary; any positive value is valid.
    pub fn aim(
        &mut self,
        index: &Index,
        query: &Query,
        weights: &[(usize, f64)],
        target: f64,
        spread: f64,
    ) {
        let ladder = index.ladder();
        let p = index.embedding().dimensions();
        let total: f64 = weights.iter().map(|w| w.1).sum();
        self.image.resize(p, 0.0);
        ladder.decode_point(query.point, &mut self.image);
        self.shift.clear();
        self.shift.resize(p, 0.0);
        let (mut mean_square, mut own_error, mut row) = (0.0, 0.0f64, vec![0.0; p]);
        for &(position, weight) in weights {
            ladder.decode(position, &mut row);
            axpy(&mut row, -1.0, &self.image);
            axpy(&mut self.shift, weight / total, &row);
            let error = ladder.error(position) + query.point.error;
            mean_square += weight / total * (norm_up(&row) + error).powi(2);
            own_error = own_error.max(ladder.error(position));
        }
        let reach = target * index.metric().scaled_norm_up() / (1.0 - THETA);
        let error = ladder.largest_error() + query.point.error.max(own_error);
        let base =
            up((up(mean_square) + error * error / THETA) / (1.0 - THETA) + 2.0 * reach * error);
        let spread = spread.max(2.0 * reach).max(f64::MIN_POSITIVE);
        let alpha = reach / spread;
        let square = alpha * squared_norm(&self.shift) / (1.0 - alpha).powi(2)
            + (base + reach * spread) / (1.0 - alpha);
        // The relative margin covers the rounding of the mean and of the centre by orders of magnitude.
        self.radius = square.sqrt() * (1.0 + 1e-9);
        let away = -alpha / (1.0 - alpha);
        self.reach = up(
            (self.radius + away.abs() * norm_up(&self.shift)) * (1.0 + 1e-9)
                + ladder.largest_error()
                + query.point.error,
        );
        axpy(&mut self.image, away, &self.shift);
        ladder.encode(&self.image, 0.0, &mut self.centre);
    }
}
