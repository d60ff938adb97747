//! What weights on the rows of a field prove: lower bounds on `‖δ‖²`, with all rounding.

use crate::certify::bound::{Normal, quotient_down};
use crate::certify::frame::Space;
use crate::certify::vote::field::{Entry, Field, Weight};
use crate::geometry::dot::{axpy, depth, dot, norm_up};
use crate::geometry::matrix::product_depth;
use crate::geometry::rounding::{TINY, gamma, square_down, up};

/// Bounds by inner products below this share of the target are not worth a second look.
const DOUBTFUL: f64 = 1.0 - 1e-6;

impl Field<'_> {
    /// A proven lower bound on `‖δ‖²` for every `δ` that puts each row with a positive weight at least as near as each
    /// with a negative one: `(Σ s_k d_k²)² / (4 ‖Σ s_k M x_k‖²)`, rounded down. What the weights lack of a sum of
    /// zero is taken from the largest. Where inner products leave a doubt about `target`, rows are summed.
    #[must_use]
    pub fn bound(&self, weights: &[Weight], target: f64) -> f64 {
        let quick = self.bound_by(weights, Self::norm_by_products);
        if quick >= target || quick < target * DOUBTFUL { quick } else { self.fine_bound(weights) }
    }

    /// The same to the last digits.
    #[must_use]
    pub fn fine_bound(&self, weights: &[Weight]) -> f64 {
        self.bound_by(weights, Self::norm_by_rows)
    }

    fn bound_by(&self, weights: &[Weight], norm: fn(&Self, &[Weight]) -> f64) -> f64 {
        let Some(mended) = balanced(weights) else { return 0.0 };
        let numerator = self.numerator_down(&mended);
        if numerator <= 0.0 {
            return 0.0;
        }
        square_down(quotient_down(2.0 * numerator, norm(self, &mended)))
    }

    /// A proven lower bound on `‖δ‖²` for every `δ` that puts row `j` at least as near as row `i`: the triplet's,
    /// `(d²(z, x_j) − d²(z, x_i))² / (4 ‖M(x_j − x_i)‖²)`.
    #[must_use]
    pub fn triplet_bound(&self, j: usize, i: usize) -> f64 {
        self.triplet_bound_above(j, i, 0.0)
    }

    /// The same, or 0 where it is not above `least`.
    #[must_use]
    pub fn triplet_bound_above(&self, j: usize, i: usize, least: f64) -> f64 {
        let (first, second) = (&self.entries[j], &self.entries[i]);
        let gap = first.half.value - second.half.value;
        let numerator = gap - up(first.half.error + second.half.error + f64::EPSILON * gap.abs());
        if numerator <= 0.0 {
            return 0.0;
        }
        let apart = self.apart(j, i);
        // What follows only rounds the quotient down.
        if gap * gap <= least * apart {
            return 0.0;
        }
        let (norms, duals) = (first.norm + second.norm, first.dual_norm + second.dual_norm);
        let rounding = gamma(self.depth() + 8) * norms * duals;
        let product = up(apart + rounding);
        // Of ⟨t_j, w_i⟩ and ⟨t_i, w_j⟩ one is kept for both: the error of the duals counts twice.
        let length = 2.0 * norms;
        let norm = if self.frame.space() == Space::Rows {
            up(product.sqrt() + gamma(4) * norms)
        } else {
            let rates = self.rates;
            let reach = first.reach + second.reach;
            let normal = Normal {
                product,
                length,
                dual_length: duals,
                image_error: rates.image * reach + gamma(4) * norms,
                dual_error: rates.dual * reach + gamma(4) * duals,
                defect: rates.defect * reach,
            };
            normal.norm_up(self.index.embedding())
        };
        square_down(quotient_down(2.0 * numerator, norm))
    }

    /// A number not above `Σ s_k d_k²/2`.
    fn numerator_down(&self, weights: &[Weight]) -> f64 {
        let (mut sum, mut error, mut size) = (0.0, 0.0, 0.0f64);
        for &(k, s) in weights {
            let half = self.entries[k].half;
            sum += s * half.value;
            error += s.abs() * half.error;
            size += s.abs() * half.value.abs();
        }
        let total: f64 = weights.iter().map(|w| w.1.abs()).sum();
        let largest = weights.iter().fold(0.0f64, |most, w| most.max(self.entries[w.0].half.value.abs()));
        sum - up(error + gamma(weights.len() + 4) * (size + total * largest))
    }

    /// `Σ |s_k| f(x_k)`, rounded up; the weights' own rounding included.
    fn weigh(&self, weights: &[Weight], of: impl Fn(&Entry) -> f64) -> f64 {
        up(weights.iter().map(|&(k, s)| s.abs() * of(&self.entries[k])).sum())
    }

    /// `‖M Σ s_k x_k‖`, rounded up; `product` is its square, and `euclidean` itself in the Euclidean metric.
    fn normal_up(
        &self,
        weights: &[Weight],
        (euclidean, product): (f64, f64),
        (length, dual_length): (f64, f64),
    ) -> f64 {
        let rounding = gamma(2 * weights.len() + 8);
        let total: f64 = weights.iter().map(|w| w.1.abs()).sum();
        let largest =
            |of: fn(&Entry) -> f64| weights.iter().fold(0.0f64, |most, w| most.max(of(&self.entries[w.0])));
        let norms = self.weigh(weights, |e| e.norm) + total * largest(|e| e.norm);
        let duals = self.weigh(weights, |e| e.dual_norm) + total * largest(|e| e.dual_norm);
        if self.frame.space() == Space::Rows {
            return up(euclidean + rounding * norms);
        }
        let rates = self.rates;
        let reach = self.weigh(weights, |e| e.reach) * (1.0 + rounding);
        let normal = Normal {
            product,
            length,
            dual_length,
            image_error: rates.image * reach + rounding * norms,
            dual_error: rates.dual * reach + rounding * duals,
            defect: rates.defect * reach,
        };
        normal.norm_up(self.index.embedding())
    }

    fn norm_by_products(&self, weights: &[Weight]) -> f64 {
        let mut square = 0.0;
        for (i, &(k, s)) in weights.iter().enumerate() {
            let cross: f64 = weights[..i].iter().map(|&(l, t)| t * self.product(k, l)).sum();
            square += s * (s * self.squares[k] + 2.0 * cross);
        }
        let (norms, duals) = (self.weigh(weights, |e| e.norm), self.weigh(weights, |e| e.dual_norm));
        let rounding = gamma(self.depth() + weights.len() * weights.len() + 8) * norms * duals;
        let total: f64 = weights.iter().map(|w| w.1.abs()).sum();
        let underflow = total * total * TINY;
        // Neither do squares that overflow prove anything.
        if underflow > f64::EPSILON * square || square.is_nan() {
            return self.norm_by_rows(weights);
        }
        let square = up(square.max(0.0) + rounding + underflow);
        // One of two products is kept for both: the error of the duals counts twice.
        self.normal_up(weights, (square.sqrt(), square), (2.0 * norms, duals))
    }

    fn norm_by_rows(&self, weights: &[Weight]) -> f64 {
        let (row, dual) = self.combine(weights);
        let (length, dual_length) = (norm_up(&row), norm_up(&dual));
        self.normal_up(weights, (length, dot(&row, &dual)), (length, dual_length))
    }

    /// `Σ s_k (t_k − t_o)` and its dual.
    #[must_use]
    pub fn combine(&self, weights: &[Weight]) -> (Vec<f64>, Vec<f64>) {
        let (mut row, mut dual) = (vec![0.0; self.dimensions()], vec![0.0; self.dimensions()]);
        for &(k, s) in weights {
            axpy(&mut row, s, self.row(k));
            axpy(&mut dual, s, self.dual(k));
        }
        (row, dual)
    }

    /// What the sum of the rows' images in the ladder, relative to the origin, is off at most from the image of the
    /// combined row, in the Euclidean metric.
    #[must_use]
    pub fn ladder_error(&self, weights: &[Weight]) -> f64 {
        let (index, origin) = (self.index, self.frame.origin());
        let rounding = gamma(2 * weights.len() + 6);
        let error =
            |position: usize| index.ladder().error(position) * 1.001 + 4.0 * rounding * index.norm(position);
        self.weigh(weights, |e| error(e.position) + error(origin) + 2.0 * rounding * e.norm)
    }

    /// What rounding can take from the comparison of a row with another at a moved point that is `place` from
    /// where it should be.
    #[must_use]
    pub fn margin(&self, k: usize, place: f64) -> f64 {
        let entry = &self.entries[k];
        4.0 * entry.half.error + place * self.squares[k].max(0.0).sqrt()
    }

    /// Roundings on the way of a term of an inner product, however it was made.
    fn depth(&self) -> usize {
        depth(self.dimensions()).max(product_depth(self.dimensions()))
    }
}

/// The weights with a sum of zero, up to the rounding of the sum; `None` where they are far from it.
fn balanced(weights: &[Weight]) -> Option<Vec<Weight>> {
    let sum: f64 = weights.iter().map(|w| w.1).sum();
    let largest = (0..weights.len()).max_by(|&a, &b| weights[a].1.abs().total_cmp(&weights[b].1.abs()))?;
    let weight = weights[largest].1;
    if !(weight.is_normal() && sum.abs() <= 1e-6 * weight.abs()) {
        return None;
    }
    let mut mended = weights.to_vec();
    mended[largest].1 = weight - sum;
    Some(mended)
}
