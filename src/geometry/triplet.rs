//! The closed form: how far must `z` move until `x⁻` is as close as `x⁺`.
//!
//! `ε̃ = ⟨G(x⁻ − x⁺), G(x⁻ + x⁺ − 2z)⟩ / (2 ‖M(x⁺ − x⁻)‖₂)`, signed: negative where `x⁻` is already closer. The
//! numerator is the difference of the two squared distances, without its cancellation. Attained at
//! `δ = ε̃ M(x⁻ − x⁺) / ‖M(x⁻ − x⁺)‖`. Yang et al., NeurIPS 2020, Theorem 1.

use super::dot::{depth, dot, squared_norm};
use super::matrix::{absolute_norm_up, product_depth, product_nt, transposed};
use super::rounding::{exponent, gamma, scale_by};
use crate::metric::Metric;

/// Rows handled at once, so that the products with `G` are matrix products.
pub const ROWS: usize = 64;

/// Evaluates triplets under one metric; holds the transposed components and scratch space.
pub struct TripletEvaluator<'a> {
    metric: &'a Metric,
    columns: Vec<f64>,
    /// `‖M v‖` below this share of `‖v‖` is rounding: the two points coincide in the metric.
    resolution: f64,
}

impl<'a> TripletEvaluator<'a> {
    #[must_use]
    pub fn new(metric: &'a Metric) -> Self {
        let d = metric.features();
        let (columns, resolution) =
            metric.scaled_factor().map_or((Vec::new(), 0.0), |g| (transposed(g, d), resolution_of(g, d)));
        Self { metric, columns, resolution }
    }

    /// Signed radii of up to [`ROWS`] triplets (row-major, `d` features); perturbations where asked for.
    pub fn evaluate(
        &self,
        queries: &[f64],
        same: &[f64],
        other: &[f64],
        radii: &mut [f64],
        mut perturbations: Option<&mut [f64]>,
    ) {
        let d = self.metric.features();
        let mut sides = Sides::new(queries, same, other, d);
        let (mut images, mut sums, mut normals, mut rests) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        if let Some(g) = self.metric.scaled_factor() {
            let p = self.metric.dimensions();
            images.resize(radii.len() * p, 0.0);
            sums.resize(radii.len() * p, 0.0);
            normals.resize(radii.len() * d, 0.0);
            product_nt(&sides.differences, g, d, &mut images);
            product_nt(&sides.sums, g, d, &mut sums);
            product_nt(&images, &self.columns, p, &mut normals);
            if let Some(rest) = self.metric.rest() {
                rests.resize(radii.len() * d, 0.0);
                product_nt(&sides.differences, rest.entries(), d, &mut rests);
                normals.iter_mut().zip(&rests).for_each(|(x, rest)| *x += rest);
            }
        } else {
            normals.clone_from(&sides.differences);
            images.clone_from(&sides.differences);
            std::mem::swap(&mut sums, &mut sides.sums);
        }
        let p = self.metric.dimensions();
        for (row, radius) in radii.iter_mut().enumerate() {
            let normal = &normals[row * d..][..d];
            let length = squared_norm(normal).sqrt();
            let floor = self.resolution * squared_norm(&sides.differences[row * d..][..d]).sqrt();
            let mut numerator = dot(&images[row * p..][..p], &sums[row * p..][..p]);
            if !rests.is_empty() {
                numerator += dot(&rests[row * d..][..d], &sides.sums[row * d..][..d]);
            }
            let scaled = if length <= floor { 0.0 } else { numerator / (2.0 * length) };
            *radius = scale_by(scaled, sides.exponents[row]);
            if let Some(out) = perturbations.as_deref_mut() {
                let share = if scaled > 0.0 { scaled / length } else { 0.0 };
                for (out, n) in out[row * d..][..d].iter_mut().zip(normal) {
                    *out = scale_by(share * n, sides.exponents[row]);
                }
            }
        }
    }

    /// Relative accuracy of the numerator with respect to `‖G v‖‖G s‖`, for documentation and tests.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        gamma(depth(self.metric.dimensions()) + 4) + self.resolution
    }
}

/// `‖M v‖` below this share of `‖v‖` is rounding, for `M = GᵀG` by two products.
#[must_use]
pub fn resolution_of(components: &[f64], features: usize) -> f64 {
    let roundings = product_depth(features) + product_depth(components.len() / features) + 4;
    gamma(roundings) * absolute_norm_up(components, features).powi(2)
}

/// `x⁻ − x⁺` and `(x⁻ − z) + (x⁺ − z)`, each row scaled to magnitude one by powers of two.
pub struct Sides {
    pub differences: Vec<f64>,
    pub sums: Vec<f64>,
    /// What was taken out of the sums, of which alone the radius is a multiple.
    pub exponents: Vec<i32>,
}

impl Sides {
    /// Of row-major rows with `d` features.
    #[must_use]
    pub fn new(queries: &[f64], same: &[f64], other: &[f64], d: usize) -> Self {
        let mut differences: Vec<f64> = other.iter().zip(same).map(|(o, s)| o - s).collect();
        let mut sums: Vec<f64> =
            other.iter().zip(same).zip(queries).map(|((o, s), z)| (o - z) + (s - z)).collect();
        differences.chunks_exact_mut(d).for_each(|row| {
            normalise(row);
        });
        let exponents = sums.chunks_exact_mut(d).map(normalise).collect();
        Self { differences, sums, exponents }
    }
}

/// Scales a row by a power of two to magnitude below one; returns the exponent taken out.
fn normalise(row: &mut [f64]) -> i32 {
    let largest = row.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let taken = exponent(largest).unwrap_or(0);
    row.iter_mut().for_each(|x| *x = scale_by(*x, -taken));
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn perturbed_point_is_equidistant(
            rows in prop::collection::vec(-4.0..4.0f64, 9), g in prop::collection::vec(-2.0..2.0f64, 9),
        ) {
            let metric = Metric::from_components(3, &g);
            let evaluator = TripletEvaluator::new(&metric);
            let (mut radius, mut delta) = ([0.0], [0.0; 3]);
            evaluator.evaluate(&rows[..3], &rows[3..6], &rows[6..], &mut radius, Some(&mut delta));
            prop_assume!(radius[0] > 1e-6 && radius[0] < 1e3);
            let distance2 = |x: &[f64]| -> f64 {
                g.chunks(3).map(|row| (0..3).map(|k| row[k] * (x[k] - rows[k] - delta[k])).sum::<f64>().powi(2)).sum()
            };
            let (same, other) = (distance2(&rows[3..6]), distance2(&rows[6..]));
            prop_assert!((same - other).abs() <= 1e-9 * (1.0 + same));
            prop_assert!((squared_norm(&delta).sqrt() - radius[0]).abs() <= 1e-12 * radius[0]);
        }

        #[test]
        fn radius_does_not_change_with_the_scale_of_the_metric(
            rows in prop::collection::vec(-4.0..4.0f64, 6), g in prop::collection::vec(-2.0..2.0f64, 4), e in -300i32..300,
        ) {
            let scaled: Vec<f64> = g.iter().map(|x| x * 2f64.powi(e)).collect();
            let of = |g: &[f64]| {
                let metric = Metric::from_components(2, g);
                let mut radius = [0.0];
                TripletEvaluator::new(&metric).evaluate(&rows[..2], &rows[2..4], &rows[4..], &mut radius, None);
                radius[0]
            };
            prop_assert_eq!(of(&g), of(&scaled));
        }
    }

    #[test]
    fn coincident_points_have_radius_zero() {
        let metric = Metric::from_components(2, &[1.0, 1.0]);
        let mut radius = [1.0];
        TripletEvaluator::new(&metric).evaluate(&[0.3, 0.4], &[1.0, 2.0], &[2.0, 1.0], &mut radius, None);
        assert_eq!(radius, [0.0]);
        TripletEvaluator::new(&Metric::euclidean(2)).evaluate(
            &[3.0, 4.0],
            &[1.0, 2.0],
            &[1.0, 2.0],
            &mut radius,
            None,
        );
        assert_eq!(radius, [0.0]);
    }
}
