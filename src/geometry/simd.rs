//! The two binary32 kernels, compiled for several instruction sets and chosen at run time.
//!
//! AVX-512 and AVX2 + FMA are written with intrinsics (the compiler does not keep a register block of sums
//! by itself); everything else uses plain loops. Results may differ in the last bits between instruction
//! sets, which is why they are used inside bounds only, never as answers.

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

type PanelKernel = unsafe fn(&[f32], &[f32], &[f32]) -> [f32; PANEL];

/// Kernels for the instruction set of this processor.
#[derive(Clone, Copy)]
pub struct Kernels {
    name: &'static str,
    scores: unsafe fn(&mut ScoreTile),
    panel: PanelKernel,
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
        let mut sets = vec![Self {
            name: "portable",
            scores: scores_portable,
            panel: panel_portable,
            squared_distance: distance_portable,
        }];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self {
                    name: "avx2",
                    scores: x86::scores_avx2,
                    panel: x86::panel_avx2,
                    squared_distance: x86::distance_avx2,
                });
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                sets.push(Self {
                    name: "avx512",
                    scores: x86::scores_avx512,
                    panel: x86::panel_avx512,
                    squared_distance: x86::distance_avx512,
                });
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
        assert!(points.is_multiple_of(PANEL) && queries.is_multiple_of(QUERY_BLOCK));
        assert!(tile.panels.len() == points * tile.k && tile.queries.len() == queries * tile.k);
        assert!(tile.scores.len() == queries * points && tile.minima.len() == queries * points / PANEL);
        // SAFETY: a set is only made when the processor has its instructions.
        unsafe { (self.scores)(tile) }
    }

    /// The scores of one query `(k)` against one panel `(k, 32)`, as [`Kernels::scores`] has them.
    #[must_use]
    #[inline]
    pub fn panel_scores(&self, query: &[f32], panel: &[f32], halves: &[f32]) -> [f32; PANEL] {
        assert!(panel.len() == query.len() * PANEL && halves.len() == PANEL);
        // SAFETY: a set is only made when the processor has its instructions.
        unsafe { (self.panel)(query, panel, halves) }
    }

    /// `‖a − b‖²`, with a relative error of at most `γ_{len/16 + 8}` in binary32 (and underflow).
    #[must_use]
    #[inline]
    pub fn squared_distance(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: a set is only made when the processor has its instructions.
        unsafe { (self.squared_distance)(a, b) }
    }
}

/// Asks for a cache line that will be read soon.
#[inline]
pub fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and every x86-64 processor has SSE.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(values.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

fn panel_portable(query: &[f32], panel: &[f32], halves: &[f32]) -> [f32; PANEL] {
    let mut sums = [0.0f32; PANEL];
    sums.copy_from_slice(halves);
    for (&z, lanes) in query.iter().zip(panel.chunks_exact(PANEL)) {
        sums.iter_mut().zip(lanes).for_each(|(sum, x)| *sum -= z * x);
    }
    sums
}

fn scores_portable(tile: &mut ScoreTile) {
    let (points, k) = (tile.halves.len(), tile.k);
    let panels = points / PANEL;
    for (panel, block) in tile.panels.chunks_exact(k * PANEL).enumerate() {
        for (query, entries) in tile.queries.chunks_exact(k).enumerate() {
            let sums = panel_portable(entries, block, &tile.halves[panel * PANEL..][..PANEL]);
            let minimum = sums.iter().copied().fold(f32::INFINITY, f32::min);
            tile.scores[query * points + panel * PANEL..][..PANEL].copy_from_slice(&sums);
            tile.minima[query * panels + panel] = minimum;
        }
    }
}

fn distance_portable(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    for (x, y) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            let difference = x - y;
            *lane += difference * difference;
        }
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{PANEL, ScoreTile};
    use std::arch::x86_64::*;

    /// Eight queries against the 32 points of a panel: sixteen sums stay in registers.
    #[target_feature(enable = "avx512f,fma")]
    pub fn scores_avx512(tile: &mut ScoreTile) {
        const QUERIES: usize = 8;
        let (points, k) = (tile.halves.len(), tile.k);
        let panels = points / PANEL;
        for panel in 0..panels {
            for first in (0..tile.queries.len() / k).step_by(QUERIES) {
                // SAFETY: `Kernels::scores` has checked that every slice has the length that `points`, `k`
                // and the number of queries (a multiple of QUERIES) imply.
                unsafe {
                    let halves = tile.halves.as_ptr().add(panel * PANEL);
                    let block = tile.panels.as_ptr().add(panel * PANEL * k);
                    let queries = tile.queries.as_ptr().add(first * k);
                    let mut low = [_mm512_loadu_ps(halves); QUERIES];
                    let mut high = [_mm512_loadu_ps(halves.add(16)); QUERIES];
                    for coordinate in 0..k {
                        let x = _mm512_loadu_ps(block.add(coordinate * PANEL));
                        let y = _mm512_loadu_ps(block.add(coordinate * PANEL + 16));
                        for q in 0..QUERIES {
                            let z = _mm512_set1_ps(*queries.add(q * k + coordinate));
                            low[q] = _mm512_fnmadd_ps(z, x, low[q]);
                            high[q] = _mm512_fnmadd_ps(z, y, high[q]);
                        }
                    }
                    for q in 0..QUERIES {
                        let out = tile.scores.as_mut_ptr().add((first + q) * points + panel * PANEL);
                        _mm512_storeu_ps(out, low[q]);
                        _mm512_storeu_ps(out.add(16), high[q]);
                        let least = _mm512_reduce_min_ps(_mm512_min_ps(low[q], high[q]));
                        *tile.minima.as_mut_ptr().add((first + q) * panels + panel) = least;
                    }
                }
            }
        }
    }

    /// Two queries against the 32 points of a panel: eight sums stay in registers.
    #[target_feature(enable = "avx2,fma")]
    pub fn scores_avx2(tile: &mut ScoreTile) {
        const QUERIES: usize = 2;
        let (points, k) = (tile.halves.len(), tile.k);
        let panels = points / PANEL;
        for panel in 0..panels {
            for first in (0..tile.queries.len() / k).step_by(QUERIES) {
                // SAFETY: as for `scores_avx512`.
                unsafe {
                    let halves = tile.halves.as_ptr().add(panel * PANEL);
                    let block = tile.panels.as_ptr().add(panel * PANEL * k);
                    let queries = tile.queries.as_ptr().add(first * k);
                    let start: [__m256; 4] =
                        std::array::from_fn(|part| _mm256_loadu_ps(halves.add(8 * part)));
                    let mut sums = [start; QUERIES];
                    for coordinate in 0..k {
                        let lanes = block.add(coordinate * PANEL);
                        let x: [__m256; 4] = std::array::from_fn(|part| _mm256_loadu_ps(lanes.add(8 * part)));
                        for q in 0..QUERIES {
                            let z = _mm256_set1_ps(*queries.add(q * k + coordinate));
                            for part in 0..4 {
                                sums[q][part] = _mm256_fnmadd_ps(z, x[part], sums[q][part]);
                            }
                        }
                    }
                    for (q, sum) in sums.iter().enumerate() {
                        let out = tile.scores.as_mut_ptr().add((first + q) * points + panel * PANEL);
                        for part in 0..4 {
                            _mm256_storeu_ps(out.add(8 * part), sum[part]);
                        }
                        let least =
                            _mm256_min_ps(_mm256_min_ps(sum[0], sum[1]), _mm256_min_ps(sum[2], sum[3]));
                        let mut lanes = [0.0f32; 8];
                        _mm256_storeu_ps(lanes.as_mut_ptr(), least);
                        let least = lanes.iter().copied().fold(f32::INFINITY, f32::min);
                        *tile.minima.as_mut_ptr().add((first + q) * panels + panel) = least;
                    }
                }
            }
        }
    }

    /// Four sums, so that four multiplications are under way at once.
    #[target_feature(enable = "avx512f,fma")]
    pub fn panel_avx512(query: &[f32], panel: &[f32], halves: &[f32]) -> [f32; PANEL] {
        let mut out = [0.0f32; PANEL];
        // SAFETY: `Kernels::panel_scores` has checked the lengths.
        unsafe {
            let zero = _mm512_setzero_ps();
            let mut even = [_mm512_loadu_ps(halves.as_ptr()), _mm512_loadu_ps(halves.as_ptr().add(16))];
            let mut odd = [zero; 2];
            for coordinate in 0..query.len() {
                let lanes = panel.as_ptr().add(coordinate * PANEL);
                let z = _mm512_set1_ps(query[coordinate]);
                let sums = if coordinate % 2 == 0 { &mut even } else { &mut odd };
                sums[0] = _mm512_fnmadd_ps(z, _mm512_loadu_ps(lanes), sums[0]);
                sums[1] = _mm512_fnmadd_ps(z, _mm512_loadu_ps(lanes.add(16)), sums[1]);
            }
            _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(even[0], odd[0]));
            _mm512_storeu_ps(out.as_mut_ptr().add(16), _mm512_add_ps(even[1], odd[1]));
        }
        out
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn panel_avx2(query: &[f32], panel: &[f32], halves: &[f32]) -> [f32; PANEL] {
        let mut out = [0.0f32; PANEL];
        // SAFETY: `Kernels::panel_scores` has checked the lengths.
        unsafe {
            let mut sums: [__m256; 4] =
                std::array::from_fn(|part| _mm256_loadu_ps(halves.as_ptr().add(8 * part)));
            for coordinate in 0..query.len() {
                let lanes = panel.as_ptr().add(coordinate * PANEL);
                let z = _mm256_set1_ps(query[coordinate]);
                for part in 0..4 {
                    sums[part] = _mm256_fnmadd_ps(z, _mm256_loadu_ps(lanes.add(8 * part)), sums[part]);
                }
            }
            for part in 0..4 {
                _mm256_storeu_ps(out.as_mut_ptr().add(8 * part), sums[part]);
            }
        }
        out
    }

    #[target_feature(enable = "avx512f,fma")]
    pub fn distance_avx512(a: &[f32], b: &[f32]) -> f32 {
        let length = a.len().min(b.len());
        let mut sums = [_mm512_setzero_ps(); 2];
        let mut start = 0;
        while start < length {
            let left = length - start;
            let mask = if left >= 16 { u16::MAX } else { (1u16 << left) - 1 };
            // SAFETY: the mask keeps the loads inside both slices.
            let difference = unsafe {
                let x = _mm512_maskz_loadu_ps(mask, a.as_ptr().add(start));
                _mm512_sub_ps(x, _mm512_maskz_loadu_ps(mask, b.as_ptr().add(start)))
            };
            sums[start / 16 % 2] = _mm512_fmadd_ps(difference, difference, sums[start / 16 % 2]);
            start += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn distance_avx2(a: &[f32], b: &[f32]) -> f32 {
        let length = a.len().min(b.len());
        let mut sums = [_mm256_setzero_ps(); 2];
        let whole = length / 16 * 16;
        for start in (0..whole).step_by(16) {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `start + 16 ≤ length`.
                let difference = unsafe {
                    let x = _mm256_loadu_ps(a.as_ptr().add(start + 8 * part));
                    _mm256_sub_ps(x, _mm256_loadu_ps(b.as_ptr().add(start + 8 * part)))
                };
                *sum = _mm256_fmadd_ps(difference, difference, *sum);
            }
        }
        let mut lanes = [0.0f32; 8];
        // SAFETY: eight lanes.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(sums[0], sums[1])) };
        for (lane, (x, y)) in a[whole..length].iter().zip(&b[whole..length]).enumerate() {
            lanes[lane % 8] += (x - y) * (x - y);
        }
        ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    }
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
                        let panel = x / PANEL * k * PANEL;
                        let single = kernels.panel_scores(
                            &queries[q * k..][..k], &panels[panel..][..k * PANEL], &halves[..PANEL]);
                        prop_assert!((f64::from(single[x % PANEL]) - exact).abs() <= gamma32(k + 1) * size);
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
