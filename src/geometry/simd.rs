//! The two binary32 kernels, compiled for several instruction sets and chosen at run time.
//!
//! One generic body each; `#[target_feature]` wrappers let the compiler vectorise it for AVX-512 or
//! AVX2 + FMA. Results may differ in the last bits between instruction sets, which is why they are used
//! inside bounds only, never as answers.

use std::sync::OnceLock;

/// Points per panel; the entries of a panel lie coordinate-major, so a coordinate is one wide load or two.
pub const PANEL: usize = 32;
/// Queries per tile must be a multiple of every kernel's register block.
pub const QUERY_BLOCK: usize = 8;

/// The arguments of [`Kernels::scores`]: `queries (q, k)`, `panels (n/32, k, 32)`, `halves (n)`,
/// `scores (q, n)`, `minima (q, n/32)`.
pub struct ScoreTile<'a> {
    pub k: usize,
    pub queries: &'a [f32],
    pub panels: &'a [f32],
    pub halves: &'a [f32],
    pub scores: &'a mut [f32],
    pub minima: &'a mut [f32],
}

/// Kernels for the instruction set of this processor.
#[derive(Clone, Copy)]
pub struct Kernels {
    name: &'static str,
    scores: unsafe fn(&mut ScoreTile),
    squared_distance: unsafe fn(&[f32], &[f32]) -> f32,
}

impl Kernels {
    /// The fastest set that this processor has.
    #[must_use]
    pub fn best() -> &'static Self {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        BEST.get_or_init(|| *Self::available().last().expect("the portable set is always there"))
    }

    /// Every set that this processor has, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut sets =
            vec![Self { name: "portable", scores: scores_portable, squared_distance: distance_portable }];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self { name: "avx2", scores: scores_avx2, squared_distance: distance_avx2 });
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                sets.push(Self { name: "avx512", scores: scores_avx512, squared_distance: distance_avx512 });
            }
        }
        sets
    }

    /// The instruction set's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `scores[q, x] = halves[x] − ⟨queries[q], panel point x⟩` with an error of at most
    /// `γ_{k+1}(|halves[x]| + Σ|·|)` in binary32, and the minimum over each panel.
    pub fn scores(&self, tile: &mut ScoreTile) {
        let points = tile.halves.len();
        let queries = tile.queries.len() / tile.k.max(1);
        assert!(points % PANEL == 0 && queries % QUERY_BLOCK == 0);
        assert!(tile.panels.len() == points * tile.k && tile.queries.len() == queries * tile.k);
        assert!(tile.scores.len() == queries * points && tile.minima.len() == queries * points / PANEL);
        // SAFETY: a set is only made when the processor has its instructions.
        unsafe { (self.scores)(tile) }
    }

    /// `‖a − b‖²`, with a relative error of at most `γ_{len/16 + 8}` in binary32 (and underflow).
    #[must_use]
    #[inline]
    pub fn squared_distance(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: a set is only made when the processor has its instructions.
        unsafe { (self.squared_distance)(a, b) }
    }
}

/// `a·b + c`, fused where the wrapper's instruction set has it (elsewhere fusing is a slow library call).
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn scores_body<const Q: usize, const FUSED: bool>(tile: &mut ScoreTile) {
    let points = tile.halves.len();
    let (k, panels) = (tile.k, points / PANEL);
    for (panel, (block, half)) in
        tile.panels.chunks_exact(k * PANEL).zip(tile.halves.chunks_exact(PANEL)).enumerate()
    {
        for (group, queries) in tile.queries.chunks_exact(k * Q).enumerate() {
            let mut sums = [[0.0f32; PANEL]; Q];
            for sum in &mut sums {
                sum.copy_from_slice(half);
            }
            for (coordinate, lanes) in block.chunks_exact(PANEL).enumerate() {
                for q in 0..Q {
                    let z = -queries[q * k + coordinate];
                    for lane in 0..PANEL {
                        sums[q][lane] = multiply_add::<FUSED>(z, lanes[lane], sums[q][lane]);
                    }
                }
            }
            for (q, sum) in sums.iter().enumerate() {
                let query = group * Q + q;
                tile.scores[query * points + panel * PANEL..][..PANEL].copy_from_slice(sum);
                tile.minima[query * panels + panel] = minimum(sum);
            }
        }
    }
}

#[inline(always)]
fn minimum(values: &[f32; PANEL]) -> f32 {
    let mut half = [0.0f32; PANEL / 2];
    for lane in 0..PANEL / 2 {
        let (a, b) = (values[lane], values[lane + PANEL / 2]);
        half[lane] = if a < b { a } else { b };
    }
    half.iter().copied().fold(half[0], |a, b| if a < b { a } else { b })
}

#[inline(always)]
fn distance_body<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            let difference = x[lane] - y[lane];
            lanes[lane] = multiply_add::<FUSED>(difference, difference, lanes[lane]);
        }
    }
    for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        let difference = x - y;
        lanes[lane] = multiply_add::<FUSED>(difference, difference, lanes[lane]);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

fn scores_portable(tile: &mut ScoreTile) {
    scores_body::<2, false>(tile);
}

fn distance_portable(a: &[f32], b: &[f32]) -> f32 {
    distance_body::<false>(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn scores_avx2(tile: &mut ScoreTile) {
    scores_body::<2, true>(tile);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn distance_avx2(a: &[f32], b: &[f32]) -> f32 {
    distance_body::<true>(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn scores_avx512(tile: &mut ScoreTile) {
    scores_body::<8, true>(tile);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn distance_avx512(a: &[f32], b: &[f32]) -> f32 {
    distance_body::<true>(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::rounding::gamma32;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_instruction_set_keeps_the_error_bounds(
            k in 1usize..40,
            values in prop::collection::vec(-1.0f32..1.0, 40 * (PANEL * 2 + QUERY_BLOCK)),
        ) {
            let queries = &values[..QUERY_BLOCK * k];
            let panels = &values[QUERY_BLOCK * 40..][..2 * PANEL * k];
            let halves = vec![0.25f32; 2 * PANEL];
            for kernels in Kernels::available() {
                let mut scores = vec![0.0; QUERY_BLOCK * 2 * PANEL];
                let mut minima = vec![0.0; QUERY_BLOCK * 2];
                kernels.scores(&mut ScoreTile {
                    k, queries, panels, halves: &halves, scores: &mut scores, minima: &mut minima,
                });
                for q in 0..QUERY_BLOCK {
                    for x in 0..2 * PANEL {
                        let terms: Vec<f64> = (0..k)
                            .map(|c| f64::from(queries[q * k + c])
                                * f64::from(panels[(x / PANEL) * k * PANEL + c * PANEL + x % PANEL]))
                            .collect();
                        let exact = 0.25 - terms.iter().sum::<f64>();
                        let size = 0.25 + terms.iter().map(|t| t.abs()).sum::<f64>();
                        let found = f64::from(scores[q * 2 * PANEL + x]);
                        prop_assert!((found - exact).abs() <= gamma32(k + 1) * size, "{}", kernels.name());
                        prop_assert!(minima[q * 2 + x / PANEL] <= scores[q * 2 * PANEL + x]);
                    }
                }
                let (a, b) = (&values[..k], &values[k..2 * k]);
                let exact: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                let found = f64::from(kernels.squared_distance(a, b));
                prop_assert!((found - exact).abs() <= gamma32(k / 16 + 8) * exact);
            }
        }
    }
}
