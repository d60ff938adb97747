//! The one place for rounding: unit roundoffs, Higham's γ, and directed steps.
//!
//! A float operation returns `(a ∘ b)(1 + e)` with `|e| ≤ u`. A sum of `k` rounded terms then has a
//! relative error (with respect to the sum of magnitudes) of at most `γ_k = ku / (1 − ku)`, in any order
//! of summation (Higham, *Accuracy and Stability of Numerical Algorithms*, §3.1, §4.2). All bounds here
//! are themselves evaluated in binary64; [`SLACK`] covers the handful of operations that takes.

/// Unit roundoff of binary64, 2⁻⁵³.
pub const U64: f64 = f64::EPSILON / 2.0;
/// Unit roundoff of binary32, 2⁻²⁴.
pub const U32: f64 = f32::EPSILON as f64 / 2.0;
/// Covers the rounding of up to a thousand binary64 operations on positive numbers.
pub const SLACK: f64 = 1.0 + 1.0 / (1u64 << 42) as f64;
/// Larger than any error that underflow causes in data scaled to magnitude one (squares included).
pub const TINY: f64 = 1e-290;
/// Input beyond this magnitude is rejected: squares and sums of squares stay finite below it.
pub const LARGEST_MAGNITUDE: f64 = 1e150;

/// `γ_k` in binary64, rounded up.
#[must_use]
pub fn gamma(k: usize) -> f64 {
    let ku = k as f64 * U64;
    ku / (1.0 - ku) * SLACK
}

/// `γ_k` in binary32, rounded up.
#[must_use]
pub fn gamma32(k: usize) -> f64 {
    let ku = k as f64 * U32;
    ku / (1.0 - ku) * SLACK
}

/// A non-negative number a little above `x`, which is allowed to be the result of several operations.
#[must_use]
pub fn up(x: f64) -> f64 {
    x * SLACK + TINY
}

/// A number a little below `x ≥ 0`, and never below zero.
#[must_use]
pub fn down(x: f64) -> f64 {
    (x / SLACK - TINY).max(0.0)
}

/// A number not above `x²` for `x ≥ 0`, close where the square is neither too large nor too small for binary64.
#[must_use]
pub fn square_down(x: f64) -> f64 {
    let square = x * x;
    if square.is_normal() {
        square * (1.0 - f64::EPSILON)
    } else if square > 1.0 {
        f64::MAX
    } else {
        0.0
    }
}

/// The least binary32 number that is not below `x`.
#[must_use]
pub fn up32(x: f64) -> f32 {
    let y = x as f32;
    if f64::from(y) < x { y.next_up() } else { y }
}

/// The largest binary32 number that is not above `x`.
#[must_use]
pub fn down32(x: f64) -> f32 {
    let y = x as f32;
    if f64::from(y) > x { y.next_down() } else { y }
}

/// `x · 2^exponent`, in steps that neither overflow nor underflow before the end.
#[must_use]
pub fn scale_by(x: f64, exponent: i32) -> f64 {
    let (mut y, mut left) = (x, exponent);
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        y *= power_of_two(step);
        left -= step;
    }
    y
}

/// A number not above `x · 2^exponent`.
#[must_use]
pub fn scale_down(x: f64, exponent: i32) -> f64 {
    directed(x, exponent, f64::next_down).max(0.0)
}

/// A number not below `x · 2^exponent`.
#[must_use]
pub fn scale_up(x: f64, exponent: i32) -> f64 {
    directed(x, exponent, f64::next_up)
}

/// Multiplying by a power of two is exact unless the result is subnormal or infinite.
fn directed(x: f64, exponent: i32, step: fn(f64) -> f64) -> f64 {
    let y = scale_by(x, exponent);
    if x == 0.0 || x.is_infinite() || y.is_normal() { y } else { step(y) }
}

/// `2^exponent` for `−1022 ≤ exponent ≤ 1023`.
#[must_use]
pub fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The least `e` with `|x| < 2^e`; `None` for zero.
#[must_use]
pub fn exponent(x: f64) -> Option<i32> {
    if x == 0.0 {
        return None;
    }
    let field = ((x.to_bits() >> 52) & 0x7ff) as i32;
    Some(if field > 0 {
        field - 1022
    } else {
        let fraction = x.to_bits() & ((1 << 52) - 1);
        -1010 - fraction.leading_zeros() as i32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exponent_is_the_least_power_of_two_above(x in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
            let e = exponent(x).unwrap();
            prop_assert!(scale_by(x.abs(), -e) < 1.0);
            prop_assert!(scale_by(x.abs(), -e) >= 0.5);
        }

        #[test]
        fn scaling_down_and_up_encloses(x in 0.0..1e300f64, e in -1100..900i32) {
            let (low, high) = (scale_down(x, e), scale_up(x, e));
            prop_assert!(low <= high);
            prop_assert!(low == high || !scale_by(x, e).is_normal());
        }

        #[test]
        fn binary32_steps_enclose(x in -1e30..1e30f64) {
            prop_assert!(f64::from(down32(x)) <= x && x <= f64::from(up32(x)));
        }
    }

    #[test]
    fn squares_out_of_range_are_rounded_down() {
        assert_eq!([0.0, 1e-160, 1e-200].map(square_down), [0.0; 3]);
        assert_eq!([1e160, f64::MAX].map(square_down), [f64::MAX; 2]);
        assert!(square_down(0.1) <= 0.01 && square_down(0.1) > 0.01 * (1.0 - 4.0 * f64::EPSILON));
    }

    #[test]
    fn zero_has_no_exponent() {
        assert_eq!(exponent(0.0), None);
        assert_eq!(exponent(1.0), Some(1));
        assert_eq!(exponent(5e-324), Some(-1073));
    }
}
