//! Comparisons of distances in exact arithmetic, for the cases that binary64 cannot decide.
//!
//! Every binary64 number is an integer times a power of two. Where the numbers of one comparison span few
//! enough binary places, as pixels and scaled tables do, 64-bit integers with 128-bit sums are exact;
//! otherwise big integers are. There is no tolerance anywhere.

use crate::geometry::dot::two_sum;
use crate::geometry::rounding::{gamma, up};
use num_bigint::BigInt;
use std::cell::Cell;
use std::cmp::Ordering;

/// A metric as it is stored.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    /// `d(u, v) = ‖u − v‖`.
    Euclidean,
    /// `d(u, v) = ‖G(u − v)‖` with `G (p, d)`.
    Components(&'a [f64]),
    /// `d²(u, v) = (u − v)ᵀM(u − v)` with a symmetric `M (d, d)`.
    Matrix(&'a [f64]),
}

/// With how many digits a comparison was decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Digits {
    /// Binary64 and a bound on its error.
    #[default]
    Binary64,
    /// Twice as many, and a bound on the error.
    Doubled,
    /// All: integers.
    Integers,
}

impl Digits {
    /// Names, in the order of the discriminants.
    pub const NAMES: [&'static str; 3] = ["binary64", "doubled", "integers"];
}

thread_local! {
    /// The most digits that a comparison on this thread has needed; written where one leaves binary64, which is rare.
    static MOST: Cell<Digits> = const { Cell::new(Digits::Binary64) };
}

fn note(digits: Digits) {
    MOST.set(MOST.get().max(digits));
}

/// What the work returns, and the most digits that one of its comparisons needed.
pub fn digits_of<T>(work: impl FnOnce() -> T) -> (T, Digits) {
    MOST.set(Digits::Binary64);
    (work(), MOST.get())
}

/// Orders `d²(z, a)` and `d²(z, b)` exactly.
#[must_use]
pub fn compare_distances(z: &[f64], a: &[f64], b: &[f64], form: Form) -> Ordering {
    if matches!(form, Form::Euclidean)
        && let Some(order) = compare_doubled(z, a, b)
    {
        note(Digits::Doubled);
        return order;
    }
    note(Digits::Integers);
    let lowest = lowest_place([z, a, b]);
    match form {
        Form::Euclidean => match (narrow(z, lowest), narrow(a, lowest), narrow(b, lowest)) {
            (Some(z), Some(a), Some(b)) => narrow_square(&z, &a).cmp(&narrow_square(&z, &b)),
            _ => {
                let (z, a, b) = (wide(z, lowest), wide(a, lowest), wide(b, lowest));
                sum_of_squares(differences(&z, &a)).cmp(&sum_of_squares(differences(&z, &b)))
            }
        },
        Form::Components(g) => {
            let (z, a, b) = (wide(z, lowest), wide(a, lowest), wide(b, lowest));
            let g = wide(g, lowest_place([g]));
            let square = |x: &[BigInt]| sum_of_squares(image(&g, &differences(&z, x)));
            square(&a).cmp(&square(&b))
        }
        Form::Matrix(m) => {
            let (z, a, b) = (wide(z, lowest), wide(a, lowest), wide(b, lowest));
            let normal = image(&wide(m, lowest_place([m])), &differences(&a, &b));
            // d²(z, a) − d²(z, b) = ⟨M(a − b), (a − z) + (b − z)⟩.
            let around = differences(&a, &z).into_iter().zip(differences(&b, &z)).map(|(a, b)| a + b);
            let gap: BigInt = normal.iter().zip(around).map(|(n, x)| n * x).sum();
            gap.cmp(&BigInt::ZERO)
        }
    }
}

/// The same in about twice the digits of binary64, where these decide.
///
/// With `a_k − z_k = u + v` exactly, `v` the rounding of `u`, and likewise for `b`, what is left out of
/// `Σ ±(u² + 2uv)` is `Σ ±v²`. The squares are summed by Dot2 (Ogita, Rump, Oishi: Accurate Sum and Dot Product, 2005,
/// Proposition 5.5: an error of `γ²` of the sum of magnitudes, besides one of the result that leaves its sign alone).
fn compare_doubled(z: &[f64], a: &[f64], b: &[f64]) -> Option<Ordering> {
    let (mut sum, mut lost) = (0.0, 0.0);
    let (mut cross, mut size, mut cross_size, mut rest) = (0.0, 0.0, 0.0, 0.0);
    for (&z, (&a, &b)) in z.iter().zip(a.iter().zip(b)) {
        for (x, sign) in [(a, 1.0), (b, -1.0)] {
            let (u, v) = two_sum(x, -z);
            let (square, low) = two_square(u);
            let (total, rounding) = two_sum(sum, sign * square);
            sum = total;
            lost += rounding + sign * low;
            cross += sign * (2.0 * u * v);
            size += square;
            cross_size += (2.0 * u * v).abs();
            rest += v * v;
        }
    }
    let terms = 2 * z.len();
    let underflow = terms as f64 * 1e-300;
    let error =
        up(2.0 * gamma(terms + 4).powi(2) * size + gamma(terms + 8) * cross_size + 2.0 * rest + underflow);
    let value: f64 = sum + (lost + cross);
    (value.is_finite() && value.abs() > error).then(|| value.total_cmp(&0.0))
}

/// `u²` as the sum of two numbers, where nothing underflows (Dekker).
fn two_square(u: f64) -> (f64, f64) {
    let square = u * u;
    let shifted = u * ((1u64 << 27) + 1) as f64;
    let high = shifted - (shifted - u);
    let low = u - high;
    (square, ((high * high - square) + 2.0 * high * low) + low * low)
}

/// Whether two rows are equally far from every point, exactly: `G(a − b) = 0`, or `M(a − b) = 0`.
#[must_use]
pub fn coincide(a: &[f64], b: &[f64], form: Form) -> bool {
    if a.iter().zip(b).all(|(x, y)| x == y) {
        return true;
    }
    let (Form::Components(map) | Form::Matrix(map)) = form else { return false };
    if is_apart(a, b, map) {
        return false;
    }
    let lowest = lowest_place([a, b]);
    let difference = differences(&wide(a, lowest), &wide(b, lowest));
    let map = wide(map, lowest_place([map]));
    image(&map, &difference).iter().all(|x| *x == BigInt::ZERO)
}

/// Whether the image of `a − b` shows in binary64 already that it is not 0.
fn is_apart(a: &[f64], b: &[f64], map: &[f64]) -> bool {
    let rounding = gamma(a.len() + 2);
    map.chunks(a.len().max(1)).any(|g| {
        let (mut value, mut size) = (0.0f64, 0.0);
        for ((x, y), g) in a.iter().zip(b).zip(g) {
            let term = (x - y) * g;
            value += term;
            size += term.abs();
        }
        value.is_finite() && value.abs() > up(rounding * size)
    })
}

/// `x = mantissa · 2^place` with an odd mantissa; zero has place `i32::MAX`.
fn split(x: f64) -> (i64, i32) {
    if x == 0.0 {
        return (0, i32::MAX);
    }
    let bits = x.to_bits();
    let field = ((bits >> 52) & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (mantissa, place) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    let shift = mantissa.trailing_zeros();
    let magnitude = mantissa >> shift;
    (if x < 0.0 { -magnitude } else { magnitude }, place + shift as i32)
}

fn lowest_place<const N: usize>(rows: [&[f64]; N]) -> i32 {
    rows.iter().flat_map(|row| row.iter()).map(|&x| split(x).1).min().unwrap_or(0)
}

/// The row as integers times `2^lowest`, where each is below 2^61 in magnitude.
fn narrow(row: &[f64], lowest: i32) -> Option<Vec<i64>> {
    row.iter()
        .map(|&x| {
            let (mantissa, place) = split(x);
            let shift = if mantissa == 0 { 0 } else { place - lowest };
            let bits = 64 - mantissa.unsigned_abs().leading_zeros() as i32;
            (shift + bits <= 61).then(|| mantissa << shift)
        })
        .collect()
}

/// `Σ (z_k − x_k)²` as (multiples of 2^64, remainder).
fn narrow_square(z: &[i64], x: &[i64]) -> (u128, u64) {
    let (mut high, mut low) = (0u128, 0u128);
    for (z, x) in z.iter().zip(x) {
        let difference = u128::from((z - x).unsigned_abs());
        let square = difference * difference;
        high += square >> 64;
        low += square & u128::from(u64::MAX);
    }
    (high + (low >> 64), low as u64)
}

fn wide(row: &[f64], lowest: i32) -> Vec<BigInt> {
    row.iter()
        .map(|&x| {
            let (mantissa, place) = split(x);
            if mantissa == 0 { BigInt::ZERO } else { BigInt::from(mantissa) << (place - lowest) as usize }
        })
        .collect()
}

fn differences(z: &[BigInt], x: &[BigInt]) -> Vec<BigInt> {
    z.iter().zip(x).map(|(z, x)| z - x).collect()
}

fn image(map: &[BigInt], x: &[BigInt]) -> Vec<BigInt> {
    map.chunks(x.len().max(1)).map(|row| row.iter().zip(x).map(|(g, x)| g * x).sum()).collect()
}

fn sum_of_squares(x: Vec<BigInt>) -> BigInt {
    x.into_iter().map(|x| &x * &x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wild() -> impl Strategy<Value = f64> {
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
            .prop_filter("in range", |x| x.abs() < 1e150)
    }

    proptest! {
        #[test]
        fn order_agrees_with_integers(
            z in prop::collection::vec(-9i64..9, 3), a in prop::collection::vec(-9i64..9, 3),
            b in prop::collection::vec(-9i64..9, 3), place in -900i32..400,
        ) {
            let square = |x: &[i64]| -> i64 { z.iter().zip(x).map(|(z, x)| (z - x) * (z - x)).sum() };
            let row = |x: &[i64]| -> Vec<f64> { x.iter().map(|&v| v as f64 * 2f64.powi(place)).collect() };
            let expected = square(&a).cmp(&square(&b));
            let twice = [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0];
            for form in [Form::Euclidean, Form::Components(&twice), Form::Matrix(&twice)] {
                prop_assert_eq!(compare_distances(&row(&z), &row(&a), &row(&b), form), expected);
            }
        }

        #[test]
        fn narrow_and_wide_paths_agree(
            z in prop::collection::vec(-1.0..1.0f64, 4), a in prop::collection::vec(0.5..1.0f64, 4),
        ) {
            let mut b: Vec<f64> = z.iter().zip(&a).map(|(z, a)| z + (z - a)).collect();
            b[0] = b[0].next_up();
            let identity: Vec<f64> = (0..16).map(|k| f64::from(k % 5 == 0)).collect();
            let of = |form| compare_distances(&z, &a, &b, form);
            prop_assert_eq!(of(Form::Euclidean), of(Form::Components(&identity)));
            prop_assert_eq!(of(Form::Euclidean), of(Form::Matrix(&identity)));
        }

        #[test]
        fn any_numbers_are_ordered_consistently(z in wild(), a in wild(), b in wild()) {
            let forth = compare_distances(&[z], &[a], &[b], Form::Euclidean);
            prop_assert_eq!(forth, compare_distances(&[z], &[b], &[a], Form::Euclidean).reverse());
            prop_assert_eq!(compare_distances(&[a], &[a], &[b], Form::Euclidean) == Ordering::Equal, a == b);
        }
    }

    proptest! {
        #[test]
        fn twice_the_digits_decide_as_all_of_them_do(
            z in prop::collection::vec(-1.0..1.0f64, 1..20), turns in 0usize..60, place in -480i32..480,
            swapped: bool, steps in prop::collection::vec(-2i64..=2, 20),
        ) {
            // The same differences in another order, and a few units in the last place.
            let scale = 2f64.powi(place);
            let z: Vec<f64> = z.iter().map(|x| x * scale).collect();
            let a: Vec<f64> = (0..z.len()).map(|k| z[k] + (k as f64 - 7.3) * scale / 64.0).collect();
            let n = z.len();
            let b: Vec<f64> = (0..n)
                .map(|k| z[k] + if swapped { 1.0 } else { -1.0 } * (a[(k + turns) % n] - z[(k + turns) % n]))
                .zip(&steps)
                .map(|(x, &step)| f64::from_bits((x.to_bits() as i64 + step) as u64))
                .collect();
            let identity: Vec<f64> = (0..n * n).map(|k| f64::from(k % (n + 1) == 0)).collect();
            let exact = compare_distances(&z, &a, &b, Form::Components(&identity));
            prop_assert_eq!(compare_distances(&z, &a, &b, Form::Euclidean), exact);
            if let Some(order) = compare_doubled(&z, &a, &b) {
                prop_assert_eq!(order, exact);
            }
        }
    }

    #[test]
    fn one_unit_in_the_last_place_decides() {
        let (a, b) = (1.0, 3.0f64.next_down());
        assert_eq!(compare_distances(&[2.0], &[a], &[b], Form::Euclidean), Ordering::Greater);
        assert_eq!(compare_doubled(&[2.0], &[a], &[b]), Some(Ordering::Greater));
        assert_eq!(compare_distances(&[2.0], &[a], &[3.0], Form::Euclidean), Ordering::Equal);
        assert_eq!(compare_doubled(&[2.0], &[a], &[3.0]), None);
    }

    #[test]
    fn work_knows_the_most_digits_that_it_needed() {
        let far = || compare_distances(&[0.0], &[1.0], &[3.0], Form::Euclidean);
        let tie = || compare_distances(&[0.0], &[1.0], &[-1.0], Form::Euclidean);
        assert_eq!(digits_of(|| 7), (7, Digits::Binary64));
        assert_eq!(digits_of(far), (Ordering::Less, Digits::Doubled));
        assert_eq!(digits_of(|| (tie(), far()).0), (Ordering::Equal, Digits::Integers));
        assert_eq!(digits_of(|| 7).1, Digits::Binary64);
    }

    proptest! {
        #[test]
        fn a_matrix_orders_as_its_quadratic_form_does(
            rows in prop::collection::vec(-99i64..99, 9), m in prop::collection::vec(-9i64..9, 6), place in -400i32..400,
            nudge in -2i64..=2,
        ) {
            // Any symmetric matrix, indefinite ones too; the last digit of an entry may differ.
            let mut whole = [0, 1, 3, 1, 2, 4, 3, 4, 5].map(|k| i128::from(m[k]) << 48);
            whole[0] += i128::from(nudge);
            let (z, a, b) = (&rows[..3], &rows[3..6], &rows[6..]);
            let square = |x: &[i64]| -> i128 {
                let u: Vec<i128> = z.iter().zip(x).map(|(z, x)| i128::from(z - x)).collect();
                (0..9).map(|k| whole[k] * u[k / 3] * u[k % 3]).sum()
            };
            let expected = square(a).cmp(&square(b));
            let matrix = whole.map(|x| x as f64 * 2f64.powi(place));
            let [z, a, b] = [z, a, b].map(|x| x.iter().map(|&x| x as f64 / 1024.0).collect::<Vec<_>>());
            prop_assert_eq!(compare_distances(&z, &a, &b, Form::Matrix(&matrix)), expected);
        }

        #[test]
        fn rows_coincide_in_a_matrix_where_no_point_tells_them_apart(
            v in prop::collection::vec(-9i64..9, 3), m in prop::collection::vec(-3i64..3, 6),
        ) {
            let whole = [0, 1, 3, 1, 2, 4, 3, 4, 5].map(|k| m[k]);
            let is_zero = whole.chunks(3).all(|row| row.iter().zip(&v).map(|(m, v)| m * v).sum::<i64>() == 0);
            let (matrix, b) = (whole.map(|x| x as f64), v.iter().map(|&v| 0.5 + v as f64).collect::<Vec<_>>());
            prop_assert_eq!(coincide(&[0.5; 3], &b, Form::Matrix(&matrix)), is_zero);
        }
    }

    #[test]
    fn points_can_coincide_in_a_metric_of_low_rank() {
        assert!(coincide(&[1.0, 5.0], &[2.0, 4.0], Form::Components(&[0.1, 0.1])));
        assert!(!coincide(&[1.0, 5.0], &[2.0, 4.0], Form::Components(&[0.1, 0.1f64.next_up()])));
        assert!(!coincide(&[1.0], &[2.0], Form::Euclidean));
        assert!(coincide(&[0.0], &[-0.0], Form::Euclidean));
    }
}
