//! The coordinates in which rows are searched: images under `B ≈ QG`, rotated so that the leading coordinates vary most.
//!
//! Everything computed from `B` carries a bound, the defect `κ ≥ ‖M − BᵀB‖₂` above all, so that any `B`, however it was
//! found, is safe to use.

use crate::geometry::gram::gram_difference_up;
use crate::geometry::matrix::{
    SplitFactor, Stop, absolute_norm_up, frobenius_up, orthonormalised, product_depth, product_nt,
    product_nt_accurate, product_nt_fast, transposed,
};
use crate::geometry::rounding::{U64, gamma, up};
use crate::metric::Metric;

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
    /// `κ ≥ ‖M − BᵀB‖₂`.
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
        match metric.scaled_factor() {
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
        let map = match metric.scaled_factor() {
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

    /// `defect` is that of `BᵀB` from `GᵀG`.
    fn with_map(metric: &Metric, map: Vec<f64>, defect: f64) -> Self {
        let d = metric.features();
        let defect = metric.rest().map_or(defect, |_| up(defect + metric.defect()));
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

    /// `|d(u, v) − ‖B(u − v)‖|` is at most this times `‖u − v‖`; of a `d²` that rounding made negative, `d` is 0.
    #[must_use]
    pub fn distance_defect(&self) -> f64 {
        // In the Euclidean case |d² − ‖Bv‖²| ≤ κd². Otherwise |d² − ‖Bv‖²| ≤ κ‖v‖², so d is off by at most √κ‖v‖.
        if self.split.is_none() { self.defect } else { self.defect.sqrt() }
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
    if let Some(g) = metric.scaled_factor() {
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
        let g = metric.scaled_factor().unwrap();
        let exact = (g[0] * 0.3 - g[1] * 0.8).powi(2) + (g[2] * 0.3 - g[3] * 0.8).powi(2);
        assert!((image[0].powi(2) + image[1].powi(2) - exact).abs() < 1e-14);
    }
}
