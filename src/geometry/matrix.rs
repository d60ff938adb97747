//! Dense products in binary64 with an error bound that does not depend on how the kernel sums.
//!
//! The inner dimension is cut into chunks of [`CHUNK`]; within a chunk any order of summation has at most
//! `CHUNK` roundings on the way of a term, and the chunks are added one after the other. Without the cut
//! the only bound that holds for an unknown order is `γ_k`, ten times larger at `k = 784`.

use super::dot::norm_up;
use super::rounding::{exponent, gamma, scale_by, up};

const CHUNK: usize = 64;

/// Asked between products: once it says so, a bound is given up and infinity, which is one too, comes back.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// Roundings on the way of any single term of [`product_nt`] over an inner dimension `k`.
#[must_use]
pub fn product_depth(k: usize) -> usize {
    CHUNK.min(k) + k.div_ceil(CHUNK) + 1
}

/// `C = A Bᵀ` for row-major `A (m, k)`, `B (n, k)`, `C (m, n)`: `|C − ABᵀ| ≤ γ |A||B|ᵀ` with `γ` of
/// [`product_depth`].
pub fn product_nt(a: &[f64], b: &[f64], k: usize, c: &mut [f64]) {
    product_in_chunks(a, b, k, CHUNK, c);
}

/// The same in one piece: half as slow again is saved, and `γ` is that of `k + 1`.
pub fn product_nt_fast(a: &[f64], b: &[f64], k: usize, c: &mut [f64]) {
    product_in_chunks(a, b, k, k.max(1), c);
}

/// `C = A Bᵀ` in binary32, without a bound of its own, for row-major `A (m, k)`, `B (n, k)`, `C (m, n)`.
pub fn product_nt32(a: &[f32], b: &[f32], k: usize, c: &mut [f32]) {
    let (m, n) = (a.len() / k, b.len() / k);
    assert!(a.len() == m * k && b.len() == n * k && c.len() == m * n);
    // SAFETY: the three pointers, with these strides, stay inside the slices checked above, and `c` is borrowed
    // mutably, so it overlaps neither of the others.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            k as isize,
            1,
            b.as_ptr(),
            1,
            k as isize,
            0.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

/// The second factor of [`product_nt_accurate`], cut in two once.
#[derive(Debug, Clone)]
pub struct SplitFactor {
    columns: usize,
    whole: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    bits: i32,
    /// `‖|C − ABᵀ|‖` for a row `a` is at most this times `‖a‖`, and `u` times the length of the result.
    pub error: f64,
}

impl SplitFactor {
    /// `b (n, k)`, row-major.
    #[must_use]
    pub fn new(b: &[f64], k: usize) -> Self {
        let bits = exact_bits(k);
        let n = b.len().checked_div(k).unwrap_or(0);
        let exponents: Vec<i32> = b.chunks_exact(k.max(1)).map(largest_exponent).collect();
        let [high, second, third] = slices(b, k, &exponents, bits).parts;
        let low: Vec<f64> = second.iter().zip(&third).map(|(x, y)| x + y).collect();
        // Both other products have a factor below 2^-bits of the largest entry of its row: `√k` times that
        // bounds the row's length. What the slices leave out is below 2^(-3 bits) and counted twice here.
        let largest: f64 = exponents.iter().map(|&e| scale_by(1.0, 2 * e)).sum();
        let small = scale_by(1.0, -bits) * (k as f64).sqrt();
        let error = gamma(product_depth(k) + 4) * small * (largest.sqrt() * 4.0 + 4.0 * frobenius_up(b))
            + 4.0 * (n as f64).sqrt() * scale_by(1.0, -2 * bits) * small * largest.sqrt();
        Self { columns: k, whole: b.to_vec(), high, low, bits, error: up(error) }
    }
}

/// `C = (A + L) Bᵀ`, nearly correctly rounded: the product of the leading bits is exact in any order of
/// summation (Ozaki et al., 2012), and the two that remain are smaller by a factor of 2^-21 or so. `L` holds
/// what rounding took from `A`. Three products instead of one.
pub fn product_nt_accurate(a: &[f64], lost: &[f64], b: &SplitFactor, c: &mut [f64]) {
    let k = b.columns;
    let exponents: Vec<i32> = a.chunks_exact(k.max(1)).map(largest_exponent).collect();
    let mut high = vec![0.0; a.len()];
    for (row, &e) in exponents.iter().enumerate() {
        let unit = slice_unit(e - b.bits);
        for x in row * k..(row + 1) * k {
            high[x] = (a[x] / unit).round() * unit;
        }
    }
    let low: Vec<f64> = a.iter().zip(&high).zip(lost).map(|((a, h), l)| (a - h) + l).collect();
    let (mut first, mut second) = (vec![0.0; c.len()], vec![0.0; c.len()]);
    product_nt(&high, &b.low, k, &mut first);
    product_nt(&low, &b.whole, k, &mut second);
    product_nt(&high, &b.high, k, c);
    c.iter_mut().zip(first.iter().zip(&second)).for_each(|(c, (x, y))| *c += x + y);
}

/// Bits of a slice such that sums of `k` products of slices are exact.
pub(super) fn exact_bits(k: usize) -> i32 {
    (53 - (k.max(1) as f64).log2().ceil() as i32) / 2
}

/// The unit of a slice. Below 2^-960 nothing is cut off any more: what is left is smaller than any error that
/// is reported, and dividing by the unit stays finite.
fn slice_unit(exponent: i32) -> f64 {
    scale_by(1.0, exponent.max(-960))
}

fn largest_exponent(row: &[f64]) -> i32 {
    exponent(row.iter().fold(0.0f64, |largest, x| largest.max(x.abs()))).unwrap_or(0)
}

fn product_in_chunks(a: &[f64], b: &[f64], k: usize, chunk: usize, c: &mut [f64]) {
    if k == 0 || a.is_empty() || b.is_empty() {
        c.fill(0.0);
        return;
    }
    let (m, n) = (a.len() / k, b.len() / k);
    assert!(a.len() == m * k && b.len() == n * k && c.len() == m * n);
    for start in (0..k).step_by(chunk) {
        let width = chunk.min(k - start);
        let beta = if start == 0 { 0.0 } else { 1.0 };
        // SAFETY: the three pointers, with these strides, stay inside the slices checked above, and
        // `c` is borrowed mutably, so it overlaps neither of the others.
        unsafe {
            matrixmultiply::dgemm(
                m,
                width,
                n,
                1.0,
                a.as_ptr().add(start),
                k as isize,
                1,
                b.as_ptr().add(start),
                1,
                k as isize,
                beta,
                c.as_mut_ptr(),
                n as isize,
                1,
            );
        }
    }
}

/// `Q (p, p)` brought nearer to an orthogonal matrix: `(3I − QQᵀ)Q/2`, which squares the distance (one step of
/// Newton and Schulz). What it cannot mend shows in
/// [`gram_difference_up`](super::gram::gram_difference_up).
#[must_use]
pub fn orthonormalised(q: &[f64], p: usize) -> Vec<f64> {
    let mut gram = vec![0.0; p * p];
    product_nt(q, q, p, &mut gram);
    // (3I − QQᵀ)/2 = I + (I − QQᵀ)/2: the correction is small, so it is computed apart.
    gram.iter_mut().for_each(|x| *x *= -0.5);
    (0..p).for_each(|k| gram[k * p + k] += 0.5);
    let mut correction = vec![0.0; p * p];
    product_nt(&gram, &transposed(q, p), p, &mut correction);
    q.iter().zip(&correction).map(|(x, c)| x + c).collect()
}

/// The transpose of a row-major matrix with `columns` columns.
#[must_use]
pub fn transposed<T: Copy + Default>(a: &[T], columns: usize) -> Vec<T> {
    let rows = a.len().checked_div(columns).unwrap_or(0);
    let mut out = vec![T::default(); a.len()];
    for (i, row) in a.chunks_exact(columns.max(1)).enumerate() {
        for (j, &x) in row.iter().enumerate() {
            out[j * rows + i] = x;
        }
    }
    out
}

/// A matrix cut into three slices of so many bits, and what lies below them; they sum to it exactly.
pub(super) struct Slices {
    pub(super) parts: [Vec<f64>; 3],
    pub(super) below: Vec<f64>,
}

pub(super) fn slices(x: &[f64], width: usize, exponents: &[i32], bits: i32) -> Slices {
    let mut rest = x.to_vec();
    let parts = std::array::from_fn(|slice| {
        let mut part = vec![0.0; x.len()];
        for (row, &e) in exponents.iter().enumerate() {
            let unit = slice_unit(e - (slice as i32 + 1) * bits);
            for k in row * width..(row + 1) * width {
                part[k] = (rest[k] / unit).round() * unit;
                rest[k] -= part[k];
            }
        }
        part
    });
    Slices { parts, below: rest }
}

/// An upper bound on `‖A‖_F`, close even where squares underflow.
#[must_use]
pub fn frobenius_up(a: &[f64]) -> f64 {
    norm_up(a)
}

/// An upper bound on `‖|A|‖₂`, the spectral norm of the absolute values: `√(‖A‖₁ ‖A‖_∞)`.
#[must_use]
pub fn absolute_norm_up(a: &[f64], columns: usize) -> f64 {
    let mut column_sums = vec![0.0; columns];
    let mut largest_row: f64 = 0.0;
    for row in a.chunks_exact(columns.max(1)) {
        largest_row = largest_row.max(row.iter().map(|x| x.abs()).sum());
        for (sum, x) in column_sums.iter_mut().zip(row) {
            *sum += x.abs();
        }
    }
    let largest_column = column_sums.iter().copied().fold(0.0, f64::max);
    // The product of the two might underflow.
    let product = largest_row.sqrt() * largest_column.sqrt();
    up(product * (1.0 + gamma(a.len() / columns.max(1) + columns + 4)))
}

/// An upper bound on the spectral norm `‖A‖₂` of a row-major matrix with `columns` columns.
///
/// `‖A‖₂² = ‖AAᵀ‖₂`, so after `t` squarings `‖A‖₂` is the `2^t`-th root of a norm that the Frobenius norm
/// exceeds by at most a factor `√rank`: the bound is within `rank^(2^−t−1)` of the truth. The rounding
/// error of each product, at most `γ‖A‖_F²`, is added before the root is taken.
#[must_use]
pub fn spectral_norm_up(a: &[f64], columns: usize, stop: Stop) -> f64 {
    const FLOPS: f64 = 1e10;
    if a.iter().all(|&x| x == 0.0) {
        return 0.0;
    }
    let rows = a.len() / columns;
    let mut current = if rows <= columns { a.to_vec() } else { transposed(a, columns) };
    let side = rows.min(columns);
    let mut inner = rows.max(columns);
    let squarings = (FLOPS / (2.0 * (side as f64).powi(3))).clamp(2.0, 8.0) as u32;
    // `undo` holds, for each squaring, the scale that was taken out and the error of the product.
    let mut undo = Vec::new();
    for _ in 0..squarings {
        if stop() {
            return f64::INFINITY;
        }
        let scale = frobenius_up(&current);
        if scale == 0.0 {
            break;
        }
        for x in &mut current {
            *x /= scale;
        }
        let mut square = vec![0.0; side * side];
        product_nt(&current, &current, inner, &mut square);
        // Dividing by `scale` adds one rounding to each factor; the scaled Frobenius norm is at most 1.
        undo.push((scale, gamma(product_depth(inner) + 4)));
        current = square;
        inner = side;
    }
    let last = frobenius_up(&current).min(absolute_norm_up(&current, inner));
    undo.iter().rev().fold(last, |norm, &(scale, error)| up(scale * up((norm + error).sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::rounding::TINY;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spectral_norm_bound_is_above_and_close(entries in prop::collection::vec(-1.0..1.0f64, 12), c in 1usize..=12) {
            prop_assume!(12 % c == 0);
            let bound = spectral_norm_up(&entries, c, &|| false);
            // A power iteration from below.
            let mut v = vec![1.0; c];
            let mut norm = 0.0;
            for _ in 0..300 {
                let av: Vec<f64> = entries.chunks(c).map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
                let mut next = vec![0.0; c];
                for (row, w) in entries.chunks(c).zip(&av) {
                    for (n, x) in next.iter_mut().zip(row) { *n += w * x; }
                }
                let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
                if length == 0.0 { break; }
                norm = length.sqrt();
                v = next.iter().map(|x| x / length).collect();
            }
            prop_assert!(bound >= norm * (1.0 - 1e-13));
            prop_assert!(bound <= frobenius_up(&entries) * (1.0 + 1e-12));
        }

        #[test]
        fn norm_bounds_hold_at_every_scale(entries in prop::collection::vec(-1.0..1.0f64, 12), e in -1040i32..500) {
            let scaled: Vec<f64> = entries.iter().map(|&x| scale_by(x, e)).collect();
            // What rounds to 0 is no more than this.
            let least = f64::from_bits(24);
            for norm in [frobenius_up, |a: &[f64]| absolute_norm_up(a, 4), |a: &[f64]| spectral_norm_up(a, 4, &|| false)] {
                let (plain, bound) = (norm(&entries), norm(&scaled));
                prop_assert!(bound <= scale_by(plain, e) * (1.0 + 1e-9) + 4.0 * TINY, "{bound:e} {plain:e}");
                prop_assert!(bound >= scale_by(plain, e) * (1.0 - 1e-9) - least, "{bound:e} {plain:e}");
            }
        }
    }

    #[test]
    fn spectral_norm_bound_of_known_matrices() {
        assert!((spectral_norm_up(&[3.0, 0.0, 0.0, 4.0], 2, &|| false) - 4.0).abs() < 0.01);
        assert!(spectral_norm_up(&[3.0, 0.0, 0.0, 4.0], 2, &|| false) >= 4.0);
        assert_eq!(spectral_norm_up(&[0.0; 6], 3, &|| false), 0.0);
        let large = spectral_norm_up(&[1e-300, 0.0, 0.0, 1e-300], 2, &|| false);
        assert!(large >= 1e-300);
    }

    #[test]
    fn products_of_tiny_numbers_are_finite() {
        let b = [1.0, 0.0, 0.0, 1e-305];
        let factor = SplitFactor::new(&b, 2);
        let mut c = [f64::NAN; 6];
        product_nt_accurate(&[0.0, 0.0, 1e-318, 0.0, 5e-324, 1e-300], &[0.0; 6], &factor, &mut c);
        assert!(c.iter().all(|x| x.is_finite()) && factor.error.is_finite());
    }

    #[test]
    fn accurate_product_is_good_to_the_last_digits() {
        let (m, n, k) = (3, 5, 150);
        let a: Vec<f64> = (0..m * k).map(|i| f64::from((i * 7 % 31) as i32 - 15) / 3.0).collect();
        let b: Vec<f64> = (0..n * k).map(|i| f64::from((i * 5 % 29) as i32 - 14) / 3.0).collect();
        let factor = SplitFactor::new(&b, k);
        let mut c = vec![0.0; m * n];
        // What dividing by three lost, to first order: 3·fl(x/3) − x is exact.
        let lost = |x: f64| (((x * 3.0).round() - x) - x - x) / 3.0;
        let losses: Vec<f64> = a.iter().map(|&x| lost(x)).collect();
        product_nt_accurate(&a, &losses, &factor, &mut c);
        for (i, row) in a.chunks(k).enumerate() {
            let exact = |j: usize| -> f64 {
                let other = &b[j * k..][..k];
                let main: i64 = row
                    .iter()
                    .zip(other)
                    .map(|(x, y)| (x * 3.0).round() as i64 * (y * 3.0).round() as i64)
                    .sum();
                // b itself is what it is: its entries are not thirds but binary64 numbers.
                main as f64 / 9.0 - row.iter().zip(other).map(|(x, y)| x * lost(*y)).sum::<f64>()
            };
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            let worst = (0..n).map(|j| (c[i * n + j] - exact(j)).abs()).fold(0.0, f64::max);
            assert!(
                worst <= factor.error * length + 4.0 * f64::EPSILON * c[i * n].abs().max(length),
                "{worst:e}"
            );
            assert!(factor.error * length < 1e-12);
        }
    }

    #[test]
    fn product_of_thirds_is_within_its_bound() {
        let (m, n, k) = (3, 5, 150);
        let a: Vec<f64> = (0..m * k).map(|i| f64::from((i * 7 % 31) as i32 - 15) / 3.0).collect();
        let b: Vec<f64> = (0..n * k).map(|i| f64::from((i * 5 % 29) as i32 - 14) / 3.0).collect();
        let mut c = vec![0.0; m * n];
        product_nt(&a, &b, k, &mut c);
        for i in 0..m {
            for j in 0..n {
                let pairs = || a[i * k..][..k].iter().zip(&b[j * k..][..k]);
                let exact: i64 =
                    pairs().map(|(x, y)| (x * 3.0).round() as i64 * (y * 3.0).round() as i64).sum();
                let size: f64 = pairs().map(|(x, y)| (x * y).abs()).sum();
                assert!((c[i * n + j] - exact as f64 / 9.0).abs() <= gamma(product_depth(k) + 3) * size);
            }
        }
    }
}
