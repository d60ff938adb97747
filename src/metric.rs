//! The Mahalanobis metric `d²(u, v) = (u − v)ᵀM(u − v)`.
//!
//! It is *defined* by what is stored in binary64: by components `G`, with `M = GᵀG`, or by a symmetric matrix `M`. Of a
//! stored `M` a factor `G` with `GᵀG ≈ M` is a hint: `E ≈ M − GᵀG` is computed to twice as many digits, so that
//! `uᵀMv = ⟨Gu, Gv⟩ + uᵀEv` keeps the digits of differences as components do. Nothing asks for an `M` that is
//! semidefinite to the last bit: the difference of two squared distances is linear in the point whatever `M` is, and
//! where a squared distance is taken for that of a distance, one below zero is 0.

use crate::geometry::dot::{depth, dot};
use crate::geometry::gram::Remainder;
use crate::geometry::matrix::{Stop, absolute_norm_up, spectral_norm_up, transposed};
use crate::geometry::predicates::Form;
use crate::geometry::rounding::{exponent, gamma, scale_by, scale_up, up};

/// A Mahalanobis metric on `d` features, scaled by a power of two so that `max |G| < 1`, or `max |M| < 1`.
///
/// Radii measured in input space do not change when the metric is scaled; distances are scaled back by
/// `2^exponent`.
#[derive(Debug, Clone)]
pub struct Metric {
    features: usize,
    linear: Option<Linear>,
}

#[derive(Debug, Clone)]
struct Linear {
    /// As given: what exact comparisons use.
    stored: Stored,
    factor: Vec<f64>,
    exponent: i32,
    norm: f64,
    /// An upper bound on `‖|G|‖₂`.
    absolute_norm: f64,
    rest: Option<Rest>,
}

#[derive(Debug, Clone)]
enum Stored {
    Components(Vec<f64>),
    Matrix(Vec<f64>),
}

/// What a stored `M` has besides `GᵀG`, scaled.
#[derive(Debug, Clone)]
pub struct Rest {
    entries: Vec<f64>,
    /// An upper bound on `‖M − GᵀG‖₂`.
    norm: f64,
    /// `uᵀ(M − GᵀG)v` is within this times `‖u‖‖v‖` of [`Rest::form`], for `u` and `v` of up to three roundings each.
    pub error: f64,
}

impl Rest {
    fn new(remainder: Remainder, features: usize, stop: Stop) -> Self {
        let rounding = gamma(features + depth(features) + 8) * absolute_norm_up(&remainder.entries, features);
        let norm = remainder.norm_up(features, stop);
        Self { norm, error: up(rounding + remainder.error), entries: remainder.entries }
    }

    /// `uᵀEv`.
    #[must_use]
    pub fn form(&self, u: &[f64], v: &[f64]) -> f64 {
        self.entries.chunks_exact(v.len()).zip(u).map(|(row, u)| u * dot(row, v)).sum()
    }

    /// `E`, row-major `(d, d)`.
    #[must_use]
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }
}

impl Metric {
    /// `G = I`.
    #[must_use]
    pub fn euclidean(features: usize) -> Self {
        Self { features, linear: None }
    }

    /// `G` row-major `(p, features)`, finite.
    #[must_use]
    pub fn from_components(features: usize, components: &[f64]) -> Self {
        Self::from_components_until(features, components, &|| false)
    }

    /// The same for work that may be stopped: what comes back then is of no use.
    #[must_use]
    pub fn from_components_until(features: usize, components: &[f64], stop: Stop) -> Self {
        let exponent = largest_exponent(components);
        let factor = scaled(components, -exponent);
        let norm = spectral_norm_up(&factor, features, stop);
        let absolute_norm = absolute_norm_up(&factor, features);
        let stored = Stored::Components(components.to_vec());
        Self { features, linear: Some(Linear { stored, factor, exponent, norm, absolute_norm, rest: None }) }
    }

    /// `M` row-major `(features, features)`, symmetric and finite. `factor (p, features)` is a hint at `G`; any values are
    /// safe, and a good one has `GᵀG ≈ M`.
    #[must_use]
    pub fn from_matrix(features: usize, matrix: &[f64], factor: &[f64]) -> Self {
        Self::from_matrix_until(features, matrix, factor, &|| false)
    }

    /// The same for work that may be stopped: what comes back then is of no use.
    #[must_use]
    pub fn from_matrix_until(features: usize, matrix: &[f64], factor: &[f64], stop: Stop) -> Self {
        // An even power of two is a square, so that the factor is scaled by a power of two as well.
        let exponent = (largest_exponent(matrix) + 1).div_euclid(2);
        let (whole, mut factor) = (scaled(matrix, -2 * exponent), scaled(factor, -exponent));
        if !factor.iter().all(|x| x.abs() <= 2.0) {
            factor.fill(0.0);
        }
        let stored = Stored::Matrix(matrix.to_vec());
        for feature in (0..features).filter(|&feature| !stored.sees(feature, features)) {
            factor.iter_mut().skip(feature).step_by(features).for_each(|x| *x = 0.0);
        }
        let columns = transposed(&factor, features);
        let remainder = Remainder::of(&whole, &columns, factor.len() / features, features, stop);
        let rest = Rest::new(remainder, features, stop);
        // ‖G‖² ≤ ‖M‖ + ‖M − GᵀG‖: one bound for both.
        let norm = up((spectral_norm_up(&whole, features, stop) + rest.norm).sqrt());
        let absolute_norm = absolute_norm_up(&factor, features);
        Self {
            features,
            linear: Some(Linear { stored, factor, exponent, norm, absolute_norm, rest: Some(rest) }),
        }
    }

    /// Number of input features, `d`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of components, `p`.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.linear.as_ref().map_or(self.features, |linear| linear.factor.len() / self.features)
    }

    /// Whether `G = I`.
    #[must_use]
    pub fn is_euclidean(&self) -> bool {
        self.linear.is_none()
    }

    /// The scaled components, or the factor of a stored matrix, row-major `(p, d)`; `None` for the identity.
    #[must_use]
    pub fn scaled_factor(&self) -> Option<&[f64]> {
        self.linear.as_ref().map(|linear| linear.factor.as_slice())
    }

    /// What a stored matrix has besides; `None` for components, which have nothing.
    #[must_use]
    pub fn rest(&self) -> Option<&Rest> {
        self.linear.as_ref()?.rest.as_ref()
    }

    /// `κ ≥ ‖M − GᵀG‖₂`, scaled.
    #[must_use]
    pub fn defect(&self) -> f64 {
        self.rest().map_or(0.0, |rest| rest.norm)
    }

    /// The metric as given, for exact comparisons.
    #[must_use]
    pub fn form(&self) -> Form<'_> {
        match self.linear.as_ref().map(|linear| &linear.stored) {
            None => Form::Euclidean,
            Some(Stored::Components(components)) => Form::Components(components),
            Some(Stored::Matrix(matrix)) => Form::Matrix(matrix),
        }
    }

    /// Whether distances depend on a feature at all.
    #[must_use]
    pub fn sees(&self, feature: usize) -> bool {
        self.linear.as_ref().is_none_or(|linear| linear.stored.sees(feature, self.features))
    }

    /// The power of two taken out of the components.
    #[must_use]
    pub fn exponent(&self) -> i32 {
        self.linear.as_ref().map_or(0, |linear| linear.exponent)
    }

    /// `σ ≥ √‖M‖₂`, and no less than `‖G‖₂`, scaled.
    #[must_use]
    pub fn scaled_norm_up(&self) -> f64 {
        self.linear.as_ref().map_or(1.0, |linear| linear.norm)
    }

    /// An upper bound on `‖|G|‖₂` of the scaled components, for the rounding of products with them.
    #[must_use]
    pub fn absolute_norm(&self) -> f64 {
        self.linear.as_ref().map_or(1.0, |linear| linear.absolute_norm)
    }

    /// The plain product of the scaled components with a difference of two rows is within this times its norm of
    /// the true one.
    #[must_use]
    pub fn difference_error(&self) -> f64 {
        // Up to three roundings make the difference, or a sum of two.
        up(gamma(depth(self.features) + 3) * self.absolute_norm())
    }

    /// An upper bound on `√‖M‖₂`.
    #[must_use]
    pub fn spectral_norm_up(&self) -> f64 {
        scale_up(self.scaled_norm_up(), self.exponent())
    }
}

impl Stored {
    fn sees(&self, feature: usize, features: usize) -> bool {
        let (Self::Components(entries) | Self::Matrix(entries)) = self;
        entries.chunks_exact(features).any(|row| row[feature] != 0.0)
    }
}

/// The least `e` with all magnitudes below `2^e`; 0 where all are 0.
fn largest_exponent(entries: &[f64]) -> i32 {
    exponent(entries.iter().fold(0.0f64, |largest, x| largest.max(x.abs()))).unwrap_or(0)
}

/// An entry 2^1000 times smaller than the largest may lose bits here: far below every bound's floor.
fn scaled(entries: &[f64], exponent: i32) -> Vec<f64> {
    entries.iter().map(|&x| scale_by(x, exponent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::matrix::product_nt;
    use proptest::prelude::*;

    fn square(values: &[f64], p: usize) -> Vec<f64> {
        let columns = transposed(values, values.len() / p);
        let mut out = vec![0.0; (values.len() / p).pow(2)];
        product_nt(&columns, &columns, p, &mut out);
        out
    }

    proptest! {
        #[test]
        fn factor_and_rest_are_the_matrix(
            g in prop::collection::vec(-2.0..2.0f64, 9), hint in prop::collection::vec(-2.0..2.0f64, 9),
            u in prop::collection::vec(-9i64..9, 3), v in prop::collection::vec(-9i64..9, 3), place in -400i32..400,
            is_good: bool,
        ) {
            let matrix: Vec<f64> = square(&g, 3).iter().map(|x| x * 4f64.powi(place)).collect();
            let factor: Vec<f64> = if is_good { g } else { hint }.iter().map(|x| x * 2f64.powi(place)).collect();
            let metric = Metric::from_matrix(3, &matrix, &factor);
            let [u, v] = [u, v].map(|x| x.into_iter().map(|x| x as f64 / 8.0).collect::<Vec<_>>());
            // Of magnitudes below 1 the sums of so few terms are good to some units of 1e-16.
            let whole = scaled(&matrix, -2 * metric.exponent());
            let form = |m: &[f64]| (0..9).map(|k| u[k / 3] * m[k] * v[k % 3]).sum::<f64>();
            let image = |x: &[f64]| -> Vec<f64> {
                metric.scaled_factor().unwrap().chunks(3).map(|row| dot(row, x)).collect()
            };
            let rest = metric.rest().unwrap();
            let found = dot(&image(&u), &image(&v)) + rest.form(&u, &v);
            prop_assert!((found - form(&whole)).abs() <= 1e-13);
            prop_assert!(rest.error <= 1e-13 * rest.norm + 1e-18 && (!is_good || rest.norm < 1e-14));
            prop_assert!(metric.scaled_norm_up().powi(2) >= form(&whole) / (dot(&u, &u) * dot(&v, &v)).sqrt().max(1e-9) - 1e-14);
        }
    }

    #[test]
    fn a_hint_of_no_use_is_not_used() {
        for hint in [f64::NAN, f64::INFINITY, 1e300] {
            let metric = Metric::from_matrix(1, &[4.0], &[hint]);
            assert_eq!(metric.scaled_factor().unwrap(), [0.0]);
            assert!(metric.defect() >= 0.25 && metric.spectral_norm_up() >= 2.0);
        }
    }

    #[test]
    fn a_feature_without_entries_is_not_seen_whatever_the_hint_says() {
        let metric = Metric::from_matrix(2, &[1.0, 0.0, 0.0, 0.0], &[1.0, 1e-9]);
        assert!(metric.sees(0) && !metric.sees(1));
        assert_eq!(metric.scaled_factor().unwrap(), [0.5, 0.0]);
    }
}
