//! What the active rows of one cell prove of all others, at two inner products a rival.
//!
//! Neighbouring cells have nearly the same active rows. Merged by their weights `λ` (`Σλ = 1`) into one row
//! `x̄ = Σ λ_i x_i` with `b̄ = Σ λ_i d²(z, x_i)` they bound the cell of any rival by weak duality:
//!
//! `r_j ≥ (d²(z, x_j) − b̄) / (2 ‖M(x_j − x̄)‖)`.
//!
//! The [screen](crate::certify::screen) tests the same bound in the coordinates of the ladder, where normals of
//! very different lengths, which ill-conditioned metrics have, cost it much. This is for what it lets through.

use crate::certify::bound::{Normal, quotient_down};
use crate::geometry::dot::{LANES, axpy, squared_norm, sum_of_lanes};
use crate::geometry::rounding::{gamma, up};
use crate::search::distance::Measured;
use crate::search::embed::Query;
use crate::search::index::Index;

/// The merged row; metrics with images in binary64 only.
#[derive(Debug, Default)]
pub struct Guide {
    /// Image and dual image of `x̄`, and `b̄`.
    image: Vec<f64>,
    dual: Vec<f64>,
    square: Measured,
    /// `Σ λ_i ‖x_i − μ‖`, and what rounding did to the merged images.
    norm: f64,
    image_rounding: f64,
    dual_rounding: f64,
}

impl Guide {
    /// Forgets the merged row: every bound is 0.
    pub fn clear(&mut self) {
        self.image.clear();
    }

    /// Whether there is a merged row.
    #[must_use]
    pub fn is_aimed(&self) -> bool {
        !self.image.is_empty()
    }

    /// Merges rows, given by positions and weights of any positive sum.
    pub fn aim(&mut self, index: &Index, query: &Query, weights: &[(usize, f64)]) {
        self.image.clear();
        let total: f64 = weights.iter().map(|w| w.1).sum();
        if index.metric().is_euclidean() || !(total.is_normal() && total > 0.0) {
            return;
        }
        for merged in [&mut self.image, &mut self.dual] {
            merged.clear();
            merged.resize(index.embedding().dimensions(), 0.0);
        }
        let (mut images, mut duals, mut size) = (0.0, 0.0, 0.0);
        (self.square, self.norm) = Default::default();
        for &(position, weight) in weights {
            let (image, dual) = index.fine(position).expect("images are kept for this metric");
            let share = weight / total;
            axpy(&mut self.image, share, image);
            axpy(&mut self.dual, share, dual);
            let square = index.squared_distance(position, query);
            self.square.value += share * square.value;
            size += share * square.value.abs();
            self.square.error += share * square.error;
            self.norm += share * index.norm(position);
            images += share * squared_norm(image).sqrt();
            duals += share * squared_norm(dual).sqrt();
        }
        // Shares are off by a few units each, and their sum from one by as much.
        let rounding = gamma(4 * weights.len() + 8);
        self.square.error = up(self.square.error + rounding * size);
        (self.image_rounding, self.dual_rounding) = (up(rounding * images), up(rounding * duals));
    }

    /// A proven lower bound on the distance to the cell of the row at a position; 0 where there is none.
    #[must_use]
    pub fn bound(&self, index: &Index, query: &Query, position: usize) -> f64 {
        let Some((image, dual)) = index.fine(position).filter(|(image, _)| image.len() == self.image.len())
        else {
            return 0.0;
        };
        let sums = self.sums(query.image, image, dual);
        let own = index.image_square_error(sums.distance, index.norm(position) + query.norm);
        let error = own + self.square.error + 4.0 * f64::EPSILON * (sums.distance + self.square.value.abs());
        let numerator = sums.distance - self.square.value - up(error);
        if numerator <= 0.0 {
            return 0.0;
        }
        let embedding = index.embedding();
        let norms = index.norm(position) + self.norm;
        let normal = Normal {
            product: sums.product,
            length: up(sums.image.sqrt()),
            dual_length: up(sums.dual.sqrt()),
            image_error: embedding.relative_error * norms + self.image_rounding,
            dual_error: index.dual_error() * embedding.norm * norms * 1.001 + self.dual_rounding,
            defect: embedding.defect * norms,
        };
        quotient_down(numerator, normal.norm_up(embedding))
    }

    fn sums(&self, query: &[f64], image: &[f64], dual: &[f64]) -> Sums {
        let [mut distance, mut own, mut away_dual, mut product] = [[0.0; LANES]; 4];
        let rows = [image, dual, query, &self.image, &self.dual].map(|row| row.as_chunks::<LANES>());
        let ends = rows.map(|(_, end)| {
            let mut padded = [0.0; LANES];
            padded[..end.len()].copy_from_slice(end);
            padded
        });
        let count = rows[0].0.len();
        for i in 0..=count {
            let [t, w, q, mean, mean_dual] = if i < count { rows.map(|(chunks, _)| chunks[i]) } else { ends };
            for k in 0..LANES {
                let (apart, away, away_in_dual) = (t[k] - q[k], t[k] - mean[k], w[k] - mean_dual[k]);
                distance[k] += apart * apart;
                own[k] += away * away;
                away_dual[k] += away_in_dual * away_in_dual;
                product[k] += away * away_in_dual;
            }
        }
        let [distance, image, dual, product] = [distance, own, away_dual, product].map(sum_of_lanes);
        Sums { distance, image, dual, product }
    }
}

/// `‖t_j − q‖²`, `‖t_j − t̄‖²`, `‖w_j − w̄‖²` and `⟨t_j − t̄, w_j − w̄⟩`.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    distance: f64,
    image: f64,
    dual: f64,
    product: f64,
}
