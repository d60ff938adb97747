//! What a Gram matrix lacks of another one, or of a stored matrix, with a bound that is tight where they nearly agree.
//!
//! Each row is cut into three slices of so few bits that the products of slices are exact in binary64, in
//! any order of summation (Ozaki et al., 2012). The leading products are subtracted before anything rounds, so what
//! rounds is as small as the difference itself.

use super::matrix::{Slices, Stop, exact_bits, frobenius_up, product_nt, slices, spectral_norm_up};
use super::rounding::{exponent, up};

/// Products of slices; what the others add is counted as an error.
const PRODUCTS: [(usize, usize); 5] = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2)];

/// An upper bound on `‖AAᵀ − BBᵀ‖₂` for row-major `A (m, p)`, `B (m, q)`.
#[must_use]
pub fn gram_difference_up(a: &[f64], p: usize, b: &[f64], q: usize, m: usize, stop: Stop) -> f64 {
    let bits = exact_bits(p.max(q));
    let exponents: Vec<i32> =
        largest(a, p).zip(largest(b, q)).map(|(a, b)| exponent(a.max(b)).unwrap_or(0)).collect();
    let (a_slices, b_slices) = (slices(a, p, &exponents, bits), slices(b, q, &exponents, bits));
    let mut sum = Sum::of(m);
    let (mut left, mut right) = (vec![0.0; m * m], vec![0.0; m * m]);
    for (first, second) in PRODUCTS {
        if stop() {
            return f64::INFINITY;
        }
        product_nt(&a_slices.parts[first], &a_slices.parts[second], p, &mut left);
        product_nt(&b_slices.parts[first], &b_slices.parts[second], q, &mut right);
        left.iter_mut().zip(&right).for_each(|(x, y)| *x -= y);
        sum.add(&left, first != second);
    }
    sum.remainder(left_out(a, &a_slices) + left_out(b, &b_slices)).norm_up(m, stop)
}

/// A symmetric matrix, row-major, known up to an error in the spectral norm.
#[derive(Debug, Clone)]
pub struct Remainder {
    pub entries: Vec<f64>,
    pub error: f64,
}

impl Remainder {
    /// `M − BBᵀ` for a symmetric `M (m, m)` and `B (m, q)`, row-major. The error is as much smaller than the entries as
    /// these are than `M`, or nearly so. Of no use once stopped.
    #[must_use]
    pub fn of(matrix: &[f64], b: &[f64], q: usize, m: usize, stop: Stop) -> Self {
        let exponents: Vec<i32> = largest(b, q).map(|x| exponent(x).unwrap_or(0)).collect();
        let parts = slices(b, q, &exponents, exact_bits(q));
        let mut sum = Sum::of(m);
        let mut term = vec![0.0; m * m];
        for (first, second) in PRODUCTS {
            if stop() {
                return Self { entries: term, error: f64::INFINITY };
            }
            product_nt(&parts.parts[first], &parts.parts[second], q, &mut term);
            term.iter_mut().for_each(|x| *x = -*x);
            if (first, second) == PRODUCTS[0] {
                term.iter_mut().zip(matrix).for_each(|(x, m)| *x += m);
            }
            sum.add(&term, first != second);
        }
        sum.remainder(left_out(b, &parts))
    }

    /// An upper bound on its spectral norm.
    #[must_use]
    pub fn norm_up(&self, m: usize, stop: Stop) -> f64 {
        up(spectral_norm_up(&self.entries, m, stop) + self.error)
    }
}

/// The largest magnitude of each row.
fn largest(a: &[f64], width: usize) -> impl Iterator<Item = f64> {
    a.chunks_exact(width.max(1)).map(|row| row.iter().fold(0.0f64, |largest, x| largest.max(x.abs())))
}

/// Bounds the product of the last slices, and of what lies below them.
fn left_out(x: &[f64], slices: &Slices) -> f64 {
    let below = frobenius_up(&slices.below);
    frobenius_up(&slices.parts[2]).powi(2) + 2.0 * below * (frobenius_up(x) + below)
}

/// A sum of symmetric terms, and of the magnitudes that its rounding is relative to.
struct Sum {
    side: usize,
    entries: Vec<f64>,
    rounding: Vec<f64>,
}

impl Sum {
    fn of(side: usize) -> Self {
        Self { side, entries: vec![0.0; side * side], rounding: vec![0.0; side * side] }
    }

    /// Adds a term, or with `both` a term and its transpose.
    fn add(&mut self, term: &[f64], both: bool) {
        for i in 0..self.side {
            for j in 0..self.side {
                let at = i * self.side + j;
                let term = if both { term[at] + term[j * self.side + i] } else { term[at] };
                self.entries[at] += term;
                self.rounding[at] += term.abs() + self.entries[at].abs();
            }
        }
    }

    fn remainder(self, dropped: f64) -> Remainder {
        let error = up(4.0 * f64::EPSILON * frobenius_up(&self.rounding) + dropped);
        Remainder { entries: self.entries, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gram_difference_is_tight_where_two_factors_nearly_agree() {
        let a: Vec<f64> = (0..40 * 30).map(|i| f64::from(i * 37 % 101 - 50) / 7.0).collect();
        let mut b = a.clone();
        assert!(gram_difference_up(&a, 30, &b, 30, 40, &|| false) < 1e-12);
        b[17] += 1e-9;
        // ‖AAᵀ − BBᵀ‖ is 10⁻⁹ times the norm of the other rows' column, nearly.
        let column: f64 = (0..40).map(|i| a[i * 30 + 17].powi(2)).sum::<f64>().sqrt();
        let bound = gram_difference_up(&a, 30, &b, 30, 40, &|| false);
        assert!(bound >= 0.95e-9 * column && bound <= 1.5e-9 * column, "{bound} {column}");
    }

    #[test]
    fn gram_difference_of_tiny_numbers_is_tiny() {
        let b = [1.0, 0.0, 0.0, 1e-305];
        assert!(gram_difference_up(&b, 2, &b, 2, 2, &|| false) < 1e-15);
    }

    proptest! {
        #[test]
        fn remainder_is_within_its_error_and_far_below_the_matrix(
            factor in prop::collection::vec(-(1i64 << 52)..1i64 << 52, 6), nudges in prop::collection::vec(-3i64..=3, 4),
        ) {
            let b: Vec<f64> = factor.iter().map(|&x| x as f64).collect();
            let gram = |i: usize, j: usize| -> i128 {
                (0..3).map(|k| i128::from(factor[i * 3 + k]) * i128::from(factor[j * 3 + k])).sum()
            };
            // The rounded Gram matrix, and a few units in the last place.
            let near = |i: usize, j: usize| {
                let rounded = gram(i, j) as f64;
                rounded + nudges[i * 2 + j] as f64 * (rounded.next_up() - rounded)
            };
            let matrix = [near(0, 0), near(0, 1), near(0, 1), near(1, 1)];
            let found = Remainder::of(&matrix, &b, 3, 2, &|| false);
            for (at, &entry) in found.entries.iter().enumerate() {
                let exact = matrix[at] as i128 - gram(at / 2, at % 2);
                prop_assert!((entry - exact as f64).abs() <= found.error + 1e-15 * (exact as f64).abs());
            }
            let size = frobenius_up(&matrix);
            prop_assert!(found.error <= 1e-19 * size && found.norm_up(2, &|| false) <= 1e-14 * size);
        }
    }
}
