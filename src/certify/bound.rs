//! What multipliers prove of one cell, by weak duality: for any `λ ≥ 0`
//!
//! `r_j ≥ Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖)`.

use crate::embedding::Embedding;
use crate::geometry::dot::depth;
use crate::geometry::rounding::{gamma, up};

/// `numerator / (2 norm)` for positive numbers, rounded down. A vanishing normal with a positive numerator
/// would mean an empty cell; rounding gets no such say.
#[must_use]
pub fn quotient_down(numerator: f64, norm: f64) -> f64 {
    let bound = numerator / (2.0 * norm) * (1.0 - 4.0 * f64::EPSILON);
    if bound.is_finite() { bound } else { 0.0 }
}

/// A sum of rows `v` as it was computed: its image `t ≈ Bv` and dual image `w ≈ BBᵀt`.
#[derive(Debug, Clone, Copy)]
pub struct Normal {
    /// `⟨t, w⟩`, and upper bounds on `‖t‖` and `‖w‖`.
    pub product: f64,
    pub length: f64,
    pub dual_length: f64,
    /// `‖t − t'‖ + ‖t' − Bv‖` at most, where `t'` is what `t` was rounded from, and `‖w − BBᵀt'‖`.
    pub image_error: f64,
    pub dual_error: f64,
    /// An upper bound on `‖(M − BᵀB)v‖`.
    pub defect: f64,
}

impl Normal {
    /// An upper bound on `‖Mv‖`.
    ///
    /// With `a = ‖Bᵀt'‖`, `ρ = ‖t − t'‖` and `e = ‖w − BBᵀt'‖`:
    /// `a² = ⟨t', BBᵀt'⟩ ≤ ⟨t, w⟩ + ‖t‖e + ρ‖B‖a`, so that `a ≤ √(⟨t, w⟩ + ‖t‖e) + ‖B‖ρ`; and
    /// `‖Mv‖ ≤ a + ‖B‖‖t' − Bv‖ + ‖(M − BᵀB)v‖`.
    #[must_use]
    pub fn norm_up(&self, embedding: &Embedding) -> f64 {
        let rounding = gamma(depth(embedding.dimensions()) + 4) * self.length * self.dual_length;
        let square = up(self.product.max(0.0) + rounding + self.length * self.dual_error);
        up(square.sqrt() + embedding.norm * self.image_error + self.defect)
    }
}
