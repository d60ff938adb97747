//! Inner products and squared distances in binary64, in one fixed order.
//!
//! Eight partial sums, combined pairwise: a term passes through at most `len/8 + 4` additions, so the
//! relative error of a sum of `len` rounded products is `γ` of [`depth`]. No fused operations: every
//! processor gives the same bits.

use super::rounding::{SLACK, exponent, gamma, scale_by, scale_up, up};

const LANES: usize = 8;

/// Roundings on the way of any single term of [`dot`] or [`squared_distance`] over `len` entries.
#[must_use]
pub fn depth(len: usize) -> usize {
    len / LANES + 9
}

/// `Σ term(a_k, b_k)` with the fixed order of summation.
#[inline(always)]
fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], y[lane]);
        }
    }
    for (lane, (&x, &y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += term(x, y);
    }
    let half = [lanes[0] + lanes[4], lanes[1] + lanes[5], lanes[2] + lanes[6], lanes[3] + lanes[7]];
    (half[0] + half[2]) + (half[1] + half[3])
}

/// `⟨a, b⟩`, with an error of at most `γ_depth Σ|a_k b_k|`.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_of(a, b, |x, y| x * y)
}

/// `‖s(a − b)‖²` for a power of two `s`, with a relative error of at most `γ_depth`.
#[must_use]
pub fn squared_distance(a: &[f64], b: &[f64], s: f64) -> f64 {
    sum_of(a, b, |x, y| {
        let difference = (x - y) * s;
        difference * difference
    })
}

/// `‖s(a − b)‖²` for a power of two `s`, to two units in the last place: differences, squares and sums are
/// carried with their rounding errors (Dekker 1971). A dozen times slower than [`squared_distance`].
#[must_use]
pub fn squared_distance_precise(a: &[f64], b: &[f64], s: f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let (mut sum, mut rest) = (0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (difference, lost) = two_sum(x * s, -(y * s));
        let (square, square_lost) = two_square(difference);
        let (next, sum_lost) = two_sum(sum, square);
        sum = next;
        rest += sum_lost + (square_lost + 2.0 * difference * lost);
    }
    sum + rest
}

/// `a + b` and its rounding error (Knuth).
#[must_use]
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `a²` and its rounding error (Veltkamp's splitting).
fn two_square(a: f64) -> (f64, f64) {
    let square = a * a;
    let spread = a * 134_217_729.0;
    let high = spread - (spread - a);
    let low = a - high;
    (square, ((high * high - square) + 2.0 * high * low) + low * low)
}

/// `‖a‖²`, with a relative error of at most `γ_depth`.
#[must_use]
pub fn squared_norm(a: &[f64]) -> f64 {
    dot(a, a)
}

/// An upper bound on `‖a‖`, close even where squares underflow.
#[must_use]
pub fn norm_up(a: &[f64]) -> f64 {
    let square = squared_norm(a);
    if square < SAFE_SQUARE {
        return small_norm_up(a);
    }
    up((square * (1.0 + gamma(depth(a.len())))).sqrt())
}

/// Squares that underflow are too small beside a sum of this size to be missed.
const SAFE_SQUARE: f64 = 1e-250;

#[cold]
fn small_norm_up(a: &[f64]) -> f64 {
    let Some(exponent) = exponent(a.iter().fold(0.0f64, |largest, x| largest.max(x.abs()))) else {
        return 0.0;
    };
    let scaled: Vec<f64> = a.iter().map(|&x| scale_by(x, -exponent)).collect();
    scale_up((squared_norm(&scaled) * (1.0 + 2.0 * gamma(depth(a.len())))).sqrt() * SLACK, exponent)
}

/// `y += α x`.
pub fn axpy(y: &mut [f64], alpha: f64, x: &[f64]) {
    assert_eq!(y.len(), x.len());
    for (y, &x) in y.iter_mut().zip(x) {
        *y += alpha * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::rounding::U64;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dot_is_within_its_bound(pairs in prop::collection::vec((-1000i64..1000, -1000i64..1000), 0..70)) {
            // Thirds are not representable, so products and sums do round.
            let a: Vec<f64> = pairs.iter().map(|p| p.0 as f64 / 3.0).collect();
            let b: Vec<f64> = pairs.iter().map(|p| p.1 as f64 / 3.0).collect();
            let exact: i64 = pairs.iter().map(|p| p.0 * p.1).sum();
            let size: f64 = a.iter().zip(&b).map(|(x, y)| (x * y).abs()).sum();
            // Two more roundings for the two divisions by three.
            prop_assert!((dot(&a, &b) - exact as f64 / 9.0).abs() <= gamma(depth(a.len()) + 3) * size);
        }

        #[test]
        fn precise_distance_is_good_to_the_last_digits(pairs in prop::collection::vec((-1e3..1e3f64, -1e3..1e3f64), 1..60)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            // In integers: every number is a multiple of 2^-60 once its last bits are dropped.
            let places = |x: f64| (x * 2f64.powi(20)).round() as i128;
            let rounded = |v: &[f64]| -> Vec<f64> { v.iter().map(|&x| places(x) as f64 / 2f64.powi(20)).collect() };
            let exact: i128 = a.iter().zip(&b).map(|(&x, &y)| (places(x) - places(y)).pow(2)).sum();
            let found = squared_distance_precise(&rounded(&a), &rounded(&b), 1.0);
            prop_assert!((found - exact as f64 / 2f64.powi(40)).abs() <= 4.0 * U64 * found);
        }

        #[test]
        fn identical_rows_are_at_distance_zero(a in prop::collection::vec(-1e100..1e100f64, 0..40)) {
            prop_assert_eq!(squared_distance(&a, &a, 1.0), 0.0);
        }
    }
}
