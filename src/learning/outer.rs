//! Sums of outer products of rows: what gradients with respect to a metric's matrix are made of.

/// Rows of a block, so that products are of matrices.
pub const BLOCK: usize = 256;
/// Parts of the work: fixed, so that the answer does not depend on the number of threads.
pub const PARTS: usize = 16;

/// A sum `T = Σ a bᵀ`, `(d, d)`.
#[derive(Debug, Clone)]
pub struct Outer {
    d: usize,
    values: Vec<f64>,
}

impl Outer {
    #[must_use]
    pub fn new(d: usize) -> Self {
        Self { d, values: vec![0.0; d * d] }
    }

    /// Adds the products of the rows of `a` with those of `b`.
    pub fn add(&mut self, a: &[f64], b: &[f64]) {
        add_product_tn(a, self.d, b, self.d, &mut self.values);
    }

    /// `T + Tᵀ` for the sum `T` of parts, in their order.
    #[must_use]
    pub fn symmetric(d: usize, parts: impl Iterator<Item = Self>) -> Vec<f64> {
        let mut total = vec![0.0; d * d];
        for part in parts {
            total.iter_mut().zip(&part.values).for_each(|(t, x)| *t += x);
        }
        let mut symmetric = vec![0.0; d * d];
        for a in 0..d {
            for b in 0..d {
                symmetric[a * d + b] = total[a * d + b] + total[b * d + a];
            }
        }
        symmetric
    }
}

/// `C += Aᵀ B` for row-major `A (k, m)`, `B (k, n)`, `C (m, n)`.
pub fn add_product_tn(a: &[f64], m: usize, b: &[f64], n: usize, c: &mut [f64]) {
    let k = a.len() / m;
    assert!(a.len() == k * m && b.len() == k * n && c.len() == m * n);
    // SAFETY: the three pointers, with these strides, stay inside the slices checked above, and `c` is borrowed
    // mutably, so it overlaps neither of the others.
    unsafe {
        matrixmultiply::dgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            1,
            m as isize,
            b.as_ptr(),
            n as isize,
            1,
            1.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

#[cfg(test)]
pub mod tests {
    /// Numbers in [−1, 1), the same ones for a seed.
    pub fn noise(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..count).map(|_| draw()).collect()
    }

    /// `Σ w (x_a − x_b)(x_a − x_b)ᵀ` as it is written.
    pub fn outer_by_hand(
        rows: &[f64],
        d: usize,
        terms: impl Iterator<Item = (usize, usize, f64)>,
    ) -> Vec<f64> {
        let mut sum = vec![0.0; d * d];
        for (a, b, weight) in terms {
            let gap: Vec<f64> = (0..d).map(|f| rows[a * d + f] - rows[b * d + f]).collect();
            for (k, entry) in sum.iter_mut().enumerate() {
                *entry += weight * gap[k / d] * gap[k % d];
            }
        }
        sum
    }
}
