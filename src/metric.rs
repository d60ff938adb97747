//! The Mahalanobis metric `d(u, v) = ‖G(u − v)‖` and its embedding.
//!
//! The metric is *defined* by the stored binary64 components `G`. Everything computed from them carries a
//! bound: `σ ≥ ‖G‖₂`, and for the rotated components `B ≈ QG` of the embedding a defect
//! `κ ≥ ‖GᵀG − BᵀB‖₂`, so that any `B`, however it was found, is safe to use.

use crate::geometry::dot::depth;
use crate::geometry::matrix::{
    SplitFactor, Stop, absolute_norm_up, frobenius_up, gram_difference_up, orthonormalised, product_depth,
    product_nt, product_nt_accurate, product_nt_fast, spectral_norm_up, transposed,
};
use crate::geometry::rounding::{U64, exponent, gamma, scale_by, scale_up, up};

/// A Mahalanobis metric on `d` features, scaled by a power of two so that `max |G| < 1`.
///
/// Radii measured in input space do not change when the metric is scaled; distances are scaled back by
/// `2^exponent`.
#[derive(Debug, Clone)]
pub struct Metric {
    features: usize,
    components: Option<Components>,
}

#[derive(Debug, Clone)]
struct Components {
    /// As given: what exact comparisons use.
    original: Vec<f64>,
    entries: Vec<f64>,
    exponent: i32,
    norm: f64,
    /// An upper bound on `‖|G|‖₂`.
    absolute_norm: f64,
}

impl Metric {
    /// `G = I`.
    #[must_use]
    pub fn euclidean(features: usize) -> Self {
        Self { features, components: None }
    }

    /// `G` row-major `(p, features)`, finite.
    #[must_use]
    pub fn from_components(features: usize, components: &[f64]) -> Self {
        Self::from_components_until(features, components, &|| false)
    }

    /// The same for work that may be stopped: what comes back then is of no use.
    #[must_use]
    pub fn from_components_until(features: usize, components: &[f64], stop: Stop) -> Self {
        let largest = components.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let exponent = exponent(largest).unwrap_or(0);
        // An entry 2^1000 times smaller than the largest may lose bits here: far below every bound's floor.
        let entries: Vec<f64> = components.iter().map(|&x| scale_by(x, -exponent)).collect();
        let norm = spectral_norm_up(&entries, features, stop);
        let absolute_norm = absolute_norm_up(&entries, features);
        let original = components.to_vec();
        Self { features, components: Some(Components { original, entries, exponent, norm, absolute_norm }) }
    }

    /// Number of input features, `d`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of components, `p`.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.components.as_ref().map_or(self.features, |c| c.entries.len() / self.features)
    }

    /// Whether `G = I`.
    #[must_use]
    pub fn is_euclidean(&self) -> bool {
        self.components.is_none()
    }

    /// The scaled components, row-major `(p, d)`; `None` for the identity.
    #[must_use]
    pub fn scaled_components(&self) -> Option<&[f64]> {
        self.components.as_ref().map(|c| c.entries.as_slice())
    }

    /// The components as given; `None` for the identity.
    #[must_use]
    pub fn components(&self) -> Option<&[f64]> {
        self.components.as_ref().map(|c| c.original.as_slice())
    }

    /// Whether distances depend on a feature at all.
    #[must_use]
    pub fn sees(&self, feature: usize) -> bool {
        self.components().is_none_or(|g| g.chunks_exact(self.features).any(|row| row[feature] != 0.0))
    }

    /// The power of two taken out of the components.
    #[must_use]
    pub fn exponent(&self) -> i32 {
        self.components.as_ref().map_or(0, |c| c.exponent)
    }

    /// `σ ≥ ‖G‖₂` of the scaled components.
    #[must_use]
    pub fn scaled_norm_up(&self) -> f64 {
        self.components.as_ref().map_or(1.0, |c| c.norm)
    }

    /// An upper bound on `‖|G|‖₂` of the scaled components, for the rounding of products with them.
    #[must_use]
    pub fn absolute_norm(&self) -> f64 {
        self.components.as_ref().map_or(1.0, |c| c.absolute_norm)
    }

    /// The plain product of the scaled components with a difference of two rows is within this times its norm of
    /// the true one.
    #[must_use]
    pub fn difference_error(&self) -> f64 {
        // Up to three roundings make the difference, or a sum of two.
        up(gamma(depth(self.features) + 3) * self.absolute_norm())
    }

    /// An upper bound on `‖G‖₂`.
    #[must_use]
    pub fn spectral_norm_up(&self) -> f64 {
        scale_up(self.scaled_norm_up(), self.exponent())
    }
}

/// The linear map `x ↦ B(x − μ)s` into `p` coordinates, leading (most varying) first, with its errors.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// `B`, row-major `(p, d)`; `None` for the identity.
    map: Option<Vec<f64>>,
    /// `B` again, for images that are answers and not just bounds (other metrics than the Euclidean).
    split: Option<SplitFactor>,
    /// `Bᵀ`, row-major `(d, p)`; likewise.
    columns: Vec<f64>,
    features: usize,
    dimensions: usize,
    /// `η`: the computed image of `x` is within `η‖x − μ‖s` of `B(x − μ)s`.
    pub relative_error: f64,
    /// `κ ≥ ‖GᵀG − BᵀB‖₂`.
    pub defect: f64,
    /// An upper bound on `‖B‖₂`.
    pub norm: f64,
    /// An upper bound on `‖|B|‖₂`, for the rounding of products with `Bᵀ`.
    pub absolute_norm: f64,
}

impl Embedding {
    /// Applies the rotation hint `Q (p, p)` to the components, unless it is so far from orthonormal that
    /// it would weaken every bound; then the components stay as they are. Of no use once stopped.
    #[must_use]
    pub fn new(metric: &Metric, rotation: Option<&[f64]>, stop: Stop) -> Self {
        let usable = rotation.filter(|q| q.iter().all(|x| x.abs() <= 2.0));
        usable
            .map(|q| Self::rotated(metric, q, stop))
            .filter(|e| e.defect <= 1e-9 * metric.scaled_norm_up().powi(2))
            .unwrap_or_else(|| Self::plain(metric))
    }

    fn plain(metric: &Metric) -> Self {
        match metric.scaled_components() {
            Some(g) => Self::with_map(metric, g.to_vec(), 0.0),
            None => Self {
                map: None,
                split: None,
                columns: Vec::new(),
                features: metric.features(),
                dimensions: metric.features(),
                relative_error: 2.0 * U64,
                defect: 0.0,
                norm: 1.0,
                absolute_norm: 1.0,
            },
        }
    }

    fn rotated(metric: &Metric, rotation: &[f64], stop: Stop) -> Self {
        let d = metric.features();
        let map = match metric.scaled_components() {
            Some(g) => {
                let p = metric.dimensions();
                let mut map = vec![0.0; p * d];
                product_nt(&orthonormalised(rotation, p), &transposed(g, d), p, &mut map);
                map
            }
            None => rotation.to_vec(),
        };
        let defect = gram_defect(metric, &map, stop);
        Self::with_map(metric, map, defect)
    }

    fn with_map(metric: &Metric, map: Vec<f64>, defect: f64) -> Self {
        let d = metric.features();
        let absolute_norm = absolute_norm_up(&map, d);
        let norm = up((metric.scaled_norm_up().powi(2) + defect).sqrt());
        let split = (!metric.is_euclidean()).then(|| SplitFactor::new(&map, d));
        // The centring and the scaling of a row round too, but for what the accurate product is told.
        let relative_error = split.as_ref().map_or_else(
            || gamma(d + 3) * absolute_norm,
            |factor| factor.error + 4.0 * U64 * norm + 8.0 * U64 * U64 * absolute_norm,
        );
        Self {
            features: d,
            dimensions: map.len() / d,
            relative_error: up(relative_error),
            defect,
            norm,
            absolute_norm,
            columns: if split.is_some() { transposed(&map, d) } else { Vec::new() },
            split,
            map: Some(map),
        }
    }

    /// Number of coordinates, `p`.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Images of centred, scaled rows `(m, d)`, into `out (m, p)`; `lost` is what centring rounded away.
    pub fn apply(&self, centred: &[f64], lost: &[f64], out: &mut [f64]) {
        match (&self.map, &self.split) {
            (_, Some(factor)) => product_nt_accurate(centred, lost, factor, out),
            (Some(map), None) => product_nt_fast(centred, map, self.features, out),
            (None, None) => out.copy_from_slice(centred),
        }
    }

    /// The first `kept` coordinates of the images, into `out (m, kept)`.
    pub fn apply_leading(&self, centred: &[f64], kept: usize, out: &mut [f64]) {
        match &self.map {
            Some(map) => product_nt(centred, &map[..kept * self.features], self.features, out),
            None => {
                let rows = centred.chunks_exact(self.features).zip(out.chunks_exact_mut(kept));
                rows.for_each(|(row, out)| out.copy_from_slice(&row[..kept]));
            }
        }
    }

    /// `B`, row-major `(p, d)`; `None` for the identity.
    #[must_use]
    pub fn map(&self) -> Option<&[f64]> {
        self.map.as_deref()
    }

    /// `Bᵀ`, row-major `(d, p)`; empty for the Euclidean metric.
    #[must_use]
    pub fn columns(&self) -> &[f64] {
        &self.columns
    }

    /// `BBᵀ`, for products with it, and a bound on the error of the stored factor, in the spectral norm.
    #[must_use]
    pub fn gram(&self) -> Option<(SplitFactor, f64)> {
        let (map, factor) = (self.map.as_ref()?, self.split.as_ref()?);
        let p = self.dimensions;
        let mut gram = vec![0.0; p * p];
        product_nt_accurate(map, &vec![0.0; map.len()], factor, &mut gram);
        let error = factor.error * frobenius_up(map) + 4.0 * U64 * frobenius_up(&gram);
        let split = SplitFactor::new(&gram, p);
        let product = split.error + 4.0 * U64 * self.norm.powi(2) * 1.001;
        Some((split, up(error + product)))
    }
}

/// An upper bound on `‖GᵀG − BᵀB‖₂`. In the Euclidean case it enters screening bounds only, and one plain
/// product is good enough; elsewhere it limits how far an interval can close.
fn gram_defect(metric: &Metric, map: &[f64], stop: Stop) -> f64 {
    let d = metric.features();
    let columns = transposed(map, d);
    if let Some(g) = metric.scaled_components() {
        let reference = transposed(g, d);
        return gram_difference_up(&columns, map.len() / d, &reference, g.len() / d, d, stop);
    }
    let p = map.len() / d;
    let mut gram = vec![0.0; d * d];
    product_nt(&columns, &columns, p, &mut gram);
    (0..d).for_each(|k| gram[k * d + k] -= 1.0);
    up(frobenius_up(&gram) * (1.0 + 4.0 * U64)
        + gamma(product_depth(p) + 2) * absolute_norm_up(map, d).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(angle: f64) -> Vec<f64> {
        vec![angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    }

    #[test]
    fn defect_of_a_rotation_is_tiny_and_not_zero() {
        let metric = Metric::from_components(2, &[1.0, 0.5, 0.0, 2.0]);
        let embedding = Embedding::new(&metric, Some(&rotation(0.7)), &|| false);
        assert!(embedding.defect > 0.0 && embedding.defect < 1e-13);
    }

    #[test]
    fn a_hint_that_is_no_rotation_is_not_used() {
        let metric = Metric::euclidean(2);
        let embedding = Embedding::new(&metric, Some(&[1.0, 0.3, 0.0, 1.0]), &|| false);
        assert!(embedding.map().is_none());
    }

    #[test]
    fn distances_survive_the_embedding_within_the_defect() {
        let metric = Metric::from_components(2, &[1.0, 0.5, 0.0, 2.0]);
        let embedding = Embedding::new(&metric, Some(&rotation(1.1)), &|| false);
        let mut image = [0.0; 2];
        embedding.apply(&[0.3, -0.8], &[0.0; 2], &mut image);
        let g = metric.scaled_components().unwrap();
        let exact = (g[0] * 0.3 - g[1] * 0.8).powi(2) + (g[2] * 0.3 - g[3] * 0.8).powi(2);
        assert!((image[0].powi(2) + image[1].powi(2) - exact).abs() < 1e-14);
    }
}
