//! Inner products and squared distances in binary64, in one fixed order.
//!
//! Eight partial sums, combined pairwise: a term passes through at most `len/8 + 4` additions, so the
//! relative error of a sum of `len` rounded products is `γ` of [`depth`]. No fused operations: every
//! processor gives the same bits.

use super::rounding::{SLACK, exponent, gamma, scale_by, scale_up, up};

/// Partial sums.
pub const LANES: usize = 8;
const HALF: usize = LANES / 2;

/// Roundings on the way of any single term of [`dot`] or [`squared_distance`] over `len` entries.
#[must_use]
pub fn depth(len: usize) -> usize {
    len / LANES + 9
}

/// `Σ term(a_k, b_k)` with the fixed order of summation.
#[inline(always)]
fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    sum_of_three((a, b, b), |x, y, _| term(x, y))
}

/// The same for three rows.
#[inline(always)]
fn sum_of_three((a, b, c): (&[f64], &[f64], &[f64]), term: impl Fn(f64, f64, f64) -> f64) -> f64 {
    assert!(a.len() == b.len() && a.len() == c.len());
    let mut lanes = [0.0; LANES];
    let [(a, a_rest), (b, b_rest), (c, c_rest)] = [a, b, c].map(|row| row.as_chunks::<LANES>());
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane], c[lane]);
        }
    }
    // Half of the lanes at once, if there are as many left.
    let [(a, a_rest), (b, b_rest), (c, c_rest)] = [a_rest, b_rest, c_rest].map(|row| row.as_chunks::<HALF>());
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for lane in 0..HALF {
            lanes[lane] += term(a[lane], b[lane], c[lane]);
        }
    }
    let first = HALF * a.len();
    for (lane, ((&a, &b), &c)) in (first..).zip(a_rest.iter().zip(b_rest).zip(c_rest)) {
        lanes[lane] += term(a, b, c);
    }
    sum_of_lanes(lanes)
}

/// The partial sums together, pairwise.
#[must_use]
pub fn sum_of_lanes(lanes: [f64; LANES]) -> f64 {
    let half = [lanes[0] + lanes[4], lanes[1] + lanes[5], lanes[2] + lanes[6], lanes[3] + lanes[7]];
    (half[0] + half[2]) + (half[1] + half[3])
}

/// `⟨a, b⟩`, with an error of at most `γ_depth Σ|a_k b_k|`.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { dot_avx2(a, b) };
    }
    sum_of(a, b, |x, y| x * y)
}

/// The same sums in the same order, four lanes at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[f64], b: &[f64]) -> f64 {
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

/// `s²(‖a − u‖² − ‖b − u‖²)` for a power of two `s`, as `Σ (a_k − b_k)((a_k − u_k) + (b_k − u_k))`, and the sum
/// `S` of `|a_k − b_k|(|a_k − u_k| + |b_k − u_k|)`: the error is at most `γ_(depth + 6) S`.
#[must_use]
pub fn square_gap(a: &[f64], b: &[f64], u: &[f64], s: f64) -> (f64, f64) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { square_gap_avx2(a, b, u, s) };
    }
    gap_of(a, b, u, s)
}

/// The same sums in the same order, four lanes at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn square_gap_avx2(a: &[f64], b: &[f64], u: &[f64], s: f64) -> (f64, f64) {
    gap_of(a, b, u, s)
}

#[inline(always)]
fn gap_of(a: &[f64], b: &[f64], u: &[f64], s: f64) -> (f64, f64) {
    let rows = (a, b, u);
    // Two sums side by side are not vectorised.
    let value = sum_of_three(rows, |a, b, u| ((a - b) * s) * ((a - u) * s + (b - u) * s));
    let size =
        sum_of_three(rows, |a, b, u| ((a - b) * s).abs() * (((a - u) * s).abs() + ((b - u) * s).abs()));
    (value, size)
}

/// `a + b` and its rounding error (Knuth).
#[must_use]
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
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
        fn gap_is_within_its_bound(
            rows in prop::collection::vec((-1000i64..1000, -3i64..3, -1000i64..1000), 0..70), place in -40i32..1,
        ) {
            // b is near a: what a difference of squares would lose, the product keeps.
            let unit = 2f64.powi(place);
            let a: Vec<f64> = rows.iter().map(|r| r.0 as f64).collect();
            let b: Vec<f64> = rows.iter().map(|r| r.0 as f64 + r.1 as f64 * unit).collect();
            let u: Vec<f64> = rows.iter().map(|r| r.2 as f64).collect();
            // (a − b)(a + b − 2u) = −r·unit·(2(a − u) + r·unit), in integers times unit².
            let inverse = 1i128 << -place;
            let exact: i128 = rows.iter().map(|r| {
                let (a, r, u) = (i128::from(r.0), i128::from(r.1), i128::from(r.2));
                -r * (2 * (a - u) * inverse + r)
            }).sum();
            let (value, size) = square_gap(&a, &b, &u, 1.0);
            let exact = exact as f64 * unit * unit;
            prop_assert!((value - exact).abs() <= gamma(depth(a.len()) + 6) * size);
        }

        #[test]
        fn identical_rows_are_at_distance_zero(a in prop::collection::vec(-1e100..1e100f64, 0..40)) {
            prop_assert_eq!(squared_distance(&a, &a, 1.0), 0.0);
        }
    }
}
