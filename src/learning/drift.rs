//! How much a metric has changed since: what old distances still say about new ones.

use crate::geometry::matrix::{frobenius_up, product_depth, product_nt, spectral_norm_up, transposed};
use crate::geometry::rounding::gamma;

/// Dimensions beyond which nothing is kept: with so many a metric changes too much from one step to the next.
const MOST: usize = 128;

/// A metric `G₀ (d, d)` and its inverse.
pub struct Reference {
    components: Vec<f64>,
    /// Columns of the inverse as computed, and its Frobenius norm.
    columns: Vec<f64>,
    size: f64,
    /// Bounds `‖v − G₀⁻¹ G₀ v‖ / ‖v‖` for it.
    residual: f64,
    d: usize,
}

impl Reference {
    /// None where there is no inverse to speak of.
    #[must_use]
    pub fn new(components: &[f64], d: usize) -> Option<Self> {
        if components.len() != d * d || d > MOST {
            return None;
        }
        let inverse = invert(components, d)?;
        let mut gap = vec![0.0; d * d];
        product_nt(&inverse, &transposed(components, d), d, &mut gap);
        (0..d).for_each(|i| gap[i * (d + 1)] -= 1.0);
        let size = frobenius_up(&inverse);
        let residual = frobenius_up(&gap) + rounding(d) * (size * frobenius_up(components) + 1.0);
        let columns = transposed(&inverse, d);
        (residual < 0.01).then(|| Self { components: components.to_vec(), columns, size, residual, d })
    }

    /// A bound `δ` of the change: `(1 − δ) ‖G₀ v‖ ≤ ‖G v‖ ≤ (1 + δ) ‖G₀ v‖` for all `v`.
    ///
    /// `δ = ‖(G − G₀) G₀⁻¹‖₂`, from above. Cost: nine products `(d, d)`.
    #[must_use]
    pub fn drift(&self, components: &[f64]) -> f64 {
        if components.len() != self.components.len() {
            return f64::INFINITY;
        }
        let step: Vec<f64> = components.iter().zip(&self.components).map(|(new, old)| new - old).collect();
        let mut relative = vec![0.0; step.len()];
        product_nt(&step, &self.columns, self.d, &mut relative);
        // v = (I − R)⁻¹ G₀⁻¹ w for w = G₀ v, with R what the inverse as computed leaves; and the product's rounding.
        let share = self.residual / (1.0 - self.residual) + rounding(self.d);
        let off = frobenius_up(&step) * self.size * share;
        (spectral_norm_up(&relative, self.d, &|| false) + off) * (1.0 + 1e-9)
    }
}

/// What a product of two matrices is off by at most, as a share of their Frobenius norms.
fn rounding(d: usize) -> f64 {
    gamma(product_depth(d) + 2)
}

/// Gauss-Jordan with row exchanges; None where a pivot is 0 or not finite.
fn invert(a: &[f64], d: usize) -> Option<Vec<f64>> {
    let width = 2 * d;
    let mut rows = vec![0.0; d * width];
    for i in 0..d {
        rows[i * width..][..d].copy_from_slice(&a[i * d..][..d]);
        rows[i * width + d + i] = 1.0;
    }
    for column in 0..d {
        let size = |row: usize| rows[row * width + column].abs();
        let best = (column..d).max_by(|&i, &j| size(i).total_cmp(&size(j)))?;
        for k in 0..width {
            rows.swap(column * width + k, best * width + k);
        }
        let factor = 1.0 / rows[column * width + column];
        if !factor.is_finite() {
            return None;
        }
        let pivot: Vec<f64> = rows[column * width..][..width].iter().map(|x| x * factor).collect();
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            let times = row[column];
            if i == column {
                row.copy_from_slice(&pivot);
            } else if times != 0.0 {
                row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= times * p);
            }
        }
    }
    let inverse: Vec<f64> = rows.chunks_exact(width).flat_map(|row| row[d..].to_vec()).collect();
    inverse.iter().all(|x| x.is_finite()).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(g: &[f64], v: &[f64]) -> f64 {
        let image = g.chunks_exact(v.len()).map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>());
        image.map(|x| x * x).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn old_distances_bound_new_ones(
            g in prop::collection::vec(-1.0..1.0f64, 16), step in prop::collection::vec(-0.05..0.05f64, 16),
            v in prop::collection::vec(-1.0..1.0f64, 4),
        ) {
            let new: Vec<f64> = g.iter().zip(&step).map(|(g, s)| g + s).collect();
            if let Some(reference) = Reference::new(&g, 4) {
                let drift = reference.drift(&new);
                let (before, after) = (length(&g, &v), length(&new, &v));
                prop_assert!((1.0 - drift) * before <= after + 1e-12 && after <= (1.0 + drift) * before + 1e-12);
            }
        }
    }

    #[test]
    fn drift_is_nearly_the_largest_change_of_a_length() {
        let identity: Vec<f64> = (0..9).map(|k| if k % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let mut other = identity.clone();
        other[0] = 1.25;
        let drift = Reference::new(&identity, 3).unwrap().drift(&other);
        assert!((0.25..0.25 * 1.04).contains(&drift));
    }

    #[test]
    fn what_has_no_inverse_is_no_reference() {
        assert!(Reference::new(&[1.0, 2.0, 2.0, 4.0], 2).is_none());
        assert!(Reference::new(&[f64::NAN, 0.0, 0.0, 1.0], 2).is_none());
        assert!(Reference::new(&[1.0, 0.0], 2).is_none());
        assert!(Reference::new(&vec![0.0; 200 * 200], 200).is_none());
    }
}
