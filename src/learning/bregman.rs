//! Bregman projections of a metric's matrix onto bounds for pairs (Davis et al., ICML 2007, algorithm 1).
//!
//! A pair with difference `v` is to have `vᵀAv ≤ ξ` if it is near and `vᵀAv ≥ ξ` if it is far, with slack that costs `γ`.
//! With `δ = ±1`, `p = vᵀAv` and the multiplier `λ ≥ 0` of the pair, a projection is
//!
//! ```text
//! α = min(λ, γ/(γ+1) · δ (1/p − 1/ξ)),   λ ← λ − α,   ξ ← 1/(1/ξ + δα/γ),   A ← A + β A v vᵀ A,   β = δα / (1 − δαp).
//! ```

use crate::geometry::dot::dot;

/// Pairs with their bounds and multipliers, which a sweep changes.
#[derive(Debug)]
pub struct Bounded<'a> {
    /// `(m, d)`.
    pub differences: &'a [f64],
    /// 1 for a near pair, −1 for a far one.
    pub signs: &'a [f64],
    pub bounds: &'a mut [f64],
    pub multipliers: &'a mut [f64],
}

impl Bounded<'_> {
    /// Projects `matrix (d, d)` onto the bound of each pair, one after the other. A pair without a length binds nothing.
    /// Cost: `2 d²` for a pair.
    pub fn sweep(&mut self, matrix: &mut [f64], gamma: f64) {
        let d = self.differences.len() / self.signs.len();
        let share = if gamma.is_finite() { gamma / (gamma + 1.0) } else { 1.0 };
        let mut image = vec![0.0; d];
        for (k, v) in self.differences.chunks_exact(d).enumerate() {
            image.iter_mut().zip(matrix.chunks_exact(d)).for_each(|(out, row)| *out = dot(row, v));
            let (square, sign) = (dot(v, &image), self.signs[k]);
            if square > 0.0 {
                let (bound, multiplier) = (&mut self.bounds[k], &mut self.multipliers[k]);
                let step = multiplier.min(share * sign * (1.0 / square - 1.0 / *bound));
                *multiplier -= step;
                *bound = 1.0 / (1.0 / *bound + sign * step / gamma);
                let factor = sign * step / (1.0 - sign * step * square);
                for (row, &left) in matrix.chunks_exact_mut(d).zip(&image) {
                    row.iter_mut().zip(&image).for_each(|(x, right)| *x += factor * (left * right));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::outer::tests::noise;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_projection_without_slack_meets_its_bound(seed in any::<u32>(), bound in 0.01..10.0f64, near in any::<bool>()) {
            let d = 4;
            let v = noise(d, seed.into());
            let mut matrix = vec![0.0; d * d];
            (0..d).for_each(|k| matrix[k * d + k] = 1.0);
            let square = |matrix: &[f64]| -> f64 {
                (0..d * d).map(|k| v[k / d] * matrix[k] * v[k % d]).sum()
            };
            let before = square(&matrix);
            let (mut bounds, mut multipliers) = ([bound], [0.0]);
            let signs = [if near { 1.0 } else { -1.0 }];
            Bounded { differences: &v, signs: &signs, bounds: &mut bounds, multipliers: &mut multipliers }
                .sweep(&mut matrix, f64::INFINITY);
            let expected = if near { before.min(bound) } else { before.max(bound) };
            prop_assert!((square(&matrix) - expected).abs() < 1e-9 * (1.0 + expected));
            prop_assert!((0..d * d).all(|k| matrix[k] == matrix[k % d * d + k / d]));
            prop_assert!(multipliers[0] >= 0.0);
        }
    }

    #[test]
    fn coincident_rows_bind_nothing() {
        let (mut bounds, mut multipliers, mut matrix) = ([1.0], [0.0], [1.0]);
        Bounded { differences: &[0.0], signs: &[-1.0], bounds: &mut bounds, multipliers: &mut multipliers }
            .sweep(&mut matrix, 1.0);
        assert_eq!((bounds, multipliers, matrix), ([1.0], [0.0], [1.0]));
    }
}
