//! Lower bounds on distances that look at as few coordinates as possible.
//!
//! A row's image under the embedding (principal coordinates first) is kept in binary32, cut into
//! segments. Behind each segment but the last stands the norm `ρ` of all coordinates still to come:
//! `(prefix, ρ)` never expands a distance (the reverse triangle inequality on the rest), so a sum over the
//! first segments plus `(ρ_x − ρ_q)²` is a lower bound, and a row is given up at the first segment whose
//! bound passes the limit.
//!
//! **The one promise**: for the stored row `x̂` of `x` and the stored point `q̂` of `q`,
//! `| d(x, q) − ‖x̂ − q̂‖ | ≤ E_x + E_q`, where `E` covers the embedding, its defect and the rounding to
//! binary32.

use crate::geometry::dot::norm_up;
use crate::geometry::rounding::{SLACK, U32, gamma32, up, up32};
use crate::geometry::simd::{Kernels, PANEL, prefetch};

/// Covers underflow in binary32 for data scaled to magnitude one.
const FLOOR: f64 = 1.0 / (1u64 << 60) as f64;
/// Up to this many coordinates are one segment: the thin product then is the whole distance.
const SINGLE: usize = 64;
/// Strides of the segments (coordinates and, but for the last, the residual norm).
const STRIDES: [usize; 4] = [64, 128, 256, 512];
/// Squares of longer images would not be safe in binary32.
const LONGEST: f64 = 1e17;
/// `(a + b)² ≤ (1 + θ)a² + (1 + 1/θ)b²` takes the row's own error out of the comparison.
const THETA: f64 = 1.0 / (1u64 << 18) as f64;

/// A run of coordinates, row-major, `stride` numbers a row.
#[derive(Debug, Clone)]
struct Segment {
    start: usize,
    width: usize,
    stride: usize,
    rows: Vec<f32>,
}

/// The images of all rows.
#[derive(Debug, Clone)]
pub struct Ladder {
    segments: Vec<Segment>,
    errors: Vec<f32>,
    largest_error: f32,
    /// The first segment again, in panels for [`Kernels::scores`], with half the squared norms less errors.
    panels: Vec<f32>,
    halves: Vec<f32>,
    /// Relative error of a squared distance summed over all segments in binary32.
    relative_error: f64,
}

/// A limit on the distance from a point that may differ from row to row: `base + slope s_x` is its square,
/// with the `s_x` of [`Index::normal_squares`](crate::search::index::Index::normal_squares).
#[derive(Debug, Clone, Copy, Default)]
pub struct RowLimit {
    pub base: f64,
    pub slope: f64,
}

impl RowLimit {
    /// The same limit for every row.
    #[must_use]
    pub fn uniform(limit: f64) -> Self {
        Self { base: up(limit * limit), slope: 0.0 }
    }

    /// The limit for a row with this `s_x`, rounded up.
    #[must_use]
    pub fn of(&self, normal_square: f32) -> f64 {
        let spread = if self.slope > 0.0 { self.slope * f64::from(normal_square) } else { 0.0 };
        // The base may be negative; the sum has to be rounded up all the same.
        up((self.base + spread + f64::EPSILON * (self.base.abs() + spread)).max(0.0).sqrt())
    }
}

/// An image outside the set of rows: a query, or a perturbed query.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// All segments one after the other, residual norms included.
    entries: Vec<f32>,
    /// `E_q`.
    pub error: f64,
    /// `‖q̂‖²` over the first segment, less its share of the error of a score.
    offset: f64,
}

impl Point {
    /// The first segment.
    #[must_use]
    pub fn thin(&self, width: usize) -> &[f32] {
        &self.entries[..width]
    }
}

impl Ladder {
    /// Room for `rows` images of `dimensions` coordinates.
    #[must_use]
    pub fn with_rows(rows: usize, dimensions: usize) -> Self {
        let segments = plan(dimensions)
            .into_iter()
            .map(|(start, width, stride)| Segment { start, width, stride, rows: vec![0.0; rows * stride] })
            .collect::<Vec<_>>();
        let padded = rows.next_multiple_of(PANEL);
        let longest = segments.iter().map(|s| s.stride).max().unwrap_or(0);
        Self {
            panels: vec![0.0; padded * segments[0].stride],
            halves: vec![f32::INFINITY; padded],
            errors: vec![0.0; rows],
            largest_error: 0.0,
            relative_error: (segments.len() + 2) as f64 * gamma32(longest / 16 + 10),
            segments,
        }
    }

    /// Stores the images of rows `first …`: `entries` as made by [`Ladder::encode`].
    pub fn store(&mut self, first: usize, points: &[Point]) {
        let stride = self.segments[0].stride;
        for (row, point) in points.iter().enumerate().map(|(i, p)| (first + i, p)) {
            let mut offset = 0;
            for segment in &mut self.segments {
                let entries = &point.entries[offset..][..segment.stride];
                segment.rows[row * segment.stride..][..segment.stride].copy_from_slice(entries);
                offset += segment.stride;
            }
            let (panel, lane) = (row / PANEL, row % PANEL);
            for k in 0..stride {
                self.panels[(panel * stride + k) * PANEL + lane] = point.entries[k];
            }
            self.errors[row] = up32(point.error);
            self.largest_error = self.largest_error.max(self.errors[row]);
            let error = up(point.error).powi(2) * (1.0 + 1.0 / THETA) * 1.001;
            self.halves[row] =
                crate::geometry::rounding::down32((point.offset - error) / 2.0 - FLOOR * FLOOR);
        }
    }

    /// Rounds an image to binary32. `error` bounds the distance of `image` from the true one. An image that is too
    /// long for binary32 becomes the origin, with its length as the error.
    pub fn encode(&self, image: &[f64], error: f64, out: &mut Point) {
        let length = norm_up(image);
        if length.is_nan() || length >= LONGEST {
            let error = up(error + length);
            let error = if error.is_nan() { f64::INFINITY } else { error };
            return self.encode(&vec![0.0; image.len()], error, out);
        }
        out.entries.clear();
        // Residual norms of the rounded coordinates, from the back.
        let mut residuals = vec![0.0f64; self.segments.len()];
        let mut sum = 0.0;
        for (segment, residual) in self.segments.iter().zip(&mut residuals).rev() {
            *residual = sum;
            sum += image[segment.start..][..segment.width]
                .iter()
                .map(|&x| f64::from(x as f32).powi(2))
                .sum::<f64>();
        }
        for (segment, &residual) in self.segments.iter().zip(&residuals) {
            out.entries.extend(image[segment.start..][..segment.width].iter().map(|&x| x as f32));
            if segment.stride > segment.width {
                out.entries.push(residual.sqrt() as f32);
            }
        }
        let first = &out.entries[..self.segments[0].stride];
        let norm2: f64 = first.iter().map(|&x| f64::from(x).powi(2)).sum();
        // A score's error is at most γ(‖x̂‖² + ‖q̂‖²/2): see `Kernels::scores`.
        out.offset = norm2 * (1.0 - 4.0 * gamma32(first.len() + 4));
        // One u for the coordinates, one for the residual norms, and a margin for their evaluation.
        out.error = up(error + 3.0 * U32 * sum.sqrt() + FLOOR);
    }

    /// Numbers in the first segment.
    #[must_use]
    pub fn thin_width(&self) -> usize {
        self.segments[0].stride
    }

    /// The panels of the first segment and the half norms, for [`Kernels::scores`].
    #[must_use]
    pub fn panels(&self) -> (&[f32], &[f32]) {
        (&self.panels, &self.halves)
    }

    /// Rows, rounded up to whole panels.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.halves.len()
    }

    /// Every row with `d(x, q) ≤ limit` has a score of at most this.
    #[must_use]
    pub fn threshold(&self, q: &Point, limit: f64) -> f32 {
        let reach = up(limit + q.error);
        up32((up(reach * reach * (1.0 + THETA)) - q.offset) / 2.0 + FLOOR * FLOOR)
    }

    /// Every row within its limit of `q` has a score of at most `first + second · s_x`, in binary32.
    #[must_use]
    pub fn threshold_terms(&self, q: &Point, limit: RowLimit) -> (f32, f32) {
        let grow = (1.0 + THETA) * (1.0 + THETA);
        let own = up(q.error).powi(2) * (1.0 + 1.0 / THETA) * (1.0 + THETA);
        let first = (limit.base * grow + own - q.offset) / 2.0 + FLOOR * FLOOR;
        // The sum is evaluated in binary32: one unit for the product, one for the sum.
        (up32(first + 8.0 * U32 * first.abs()), up32(limit.slope * grow / 2.0 * (1.0 + 16.0 * U32)))
    }

    /// `E_x`.
    #[must_use]
    pub fn error(&self, row: usize) -> f64 {
        f64::from(self.errors[row])
    }

    /// The largest `E_x`.
    #[must_use]
    pub fn largest_error(&self) -> f64 {
        f64::from(self.largest_error)
    }

    /// `None`: proven that `d(x, q) > limit`. Otherwise an interval that holds `d(x, q)`.
    #[inline]
    pub fn within(&self, kernels: &Kernels, row: usize, q: &Point, limit: f64) -> Option<(f64, f64)> {
        let error = self.error(row) + q.error;
        let reach = (limit + error) * SLACK;
        let bound = reach * reach * (1.0 + 2.0 * self.relative_error);
        let (mut sum, mut offset) = (0.0, 0);
        for segment in &self.segments {
            let entries = &q.entries[offset..][..segment.stride];
            let stored = &segment.rows[row * segment.stride..][..segment.stride];
            let part = f64::from(kernels.squared_distance(stored, entries));
            if sum + part > bound {
                return None;
            }
            offset += segment.stride;
            sum += part;
            if segment.stride > segment.width {
                let residual = f64::from(stored[segment.width] - entries[segment.width]);
                sum -= residual * residual;
            }
        }
        let distance = sum.max(0.0).sqrt();
        let slack = up(error + distance * self.relative_error + FLOOR);
        Some(((distance - slack).max(0.0), up(distance + slack)))
    }

    /// Asks for the row's first coordinates, which will be read soon.
    #[inline]
    pub fn prefetch(&self, row: usize) {
        for segment in self.segments.iter().take(2) {
            let stored = &segment.rows[row * segment.stride..][..segment.stride];
            stored.chunks(16).for_each(prefetch);
        }
    }

    /// The stored coordinates of a row, without residual norms, into `out`.
    pub fn decode(&self, row: usize, out: &mut [f64]) {
        for segment in &self.segments {
            let stored = &segment.rows[row * segment.stride..][..segment.width];
            for (out, &x) in out[segment.start..].iter_mut().zip(stored) {
                *out = f64::from(x);
            }
        }
    }

    /// The coordinates of a point, without residual norms, into `out`.
    pub fn decode_point(&self, q: &Point, out: &mut [f64]) {
        let mut offset = 0;
        for segment in &self.segments {
            for (out, &x) in out[segment.start..].iter_mut().zip(&q.entries[offset..][..segment.width]) {
                *out = f64::from(x);
            }
            offset += segment.stride;
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let rows: usize = self.segments.iter().map(|s| s.rows.len()).sum();
        4 * (rows + self.panels.len() + self.halves.len() + self.errors.len())
    }
}

/// (start, coordinates, stride) of each segment.
fn plan(dimensions: usize) -> Vec<(usize, usize, usize)> {
    if dimensions <= SINGLE {
        return vec![(0, dimensions, dimensions)];
    }
    let (mut start, mut segments) = (0, Vec::new());
    for level in 0.. {
        let stride = STRIDES[level.min(STRIDES.len() - 1)];
        if dimensions - start <= stride {
            segments.push((start, dimensions - start, dimensions - start));
            break;
        }
        segments.push((start, stride - 1, stride));
        start += stride - 1;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::simd::{QUERY_BLOCK, ScoreTile};
    use proptest::prelude::*;

    fn exact(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bounds_hold_for_every_row_and_limit(
            dimensions in 1usize..300, seed in any::<u64>(), magnitude in -20i32..1, limit_share in 0.0..2.0f64,
        ) {
            let mut state = seed;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) as f64 / 2f64.powi(30) - 1.0) * 2f64.powi(magnitude)
            };
            let rows: Vec<Vec<f64>> = (0..40).map(|_| (0..dimensions).map(|_| draw()).collect()).collect();
            let query: Vec<f64> = (0..dimensions).map(|_| draw()).collect();
            let mut ladder = Ladder::with_rows(rows.len(), dimensions);
            let points: Vec<Point> = rows.iter().map(|row| {
                let mut point = Point::default();
                ladder.encode(row, 0.0, &mut point);
                point
            }).collect();
            ladder.store(0, &points);
            let mut q = Point::default();
            ladder.encode(&query, 0.0, &mut q);
            let limit = limit_share * exact(&rows[0], &query);
            for kernels in Kernels::available() {
                let mut queries = vec![0.0; QUERY_BLOCK * ladder.thin_width()];
                queries[..ladder.thin_width()].copy_from_slice(q.thin(ladder.thin_width()));
                let (panels, halves) = ladder.panels();
                let mut scores = vec![0.0; QUERY_BLOCK * halves.len()];
                let mut minima = vec![0.0; scores.len() / PANEL];
                kernels.scores(&mut ScoreTile {
                    k: ladder.thin_width(), queries: &queries, panels, halves,
                    scores: &mut scores, minima: &mut minima,
                });
                for (row, entries) in rows.iter().enumerate() {
                    let distance = exact(entries, &query);
                    match ladder.within(&kernels, row, &q, limit) {
                        None => prop_assert!(distance > limit),
                        Some((low, high)) => prop_assert!(low <= distance && distance <= high),
                    }
                    prop_assert!(distance > limit || scores[row] <= ladder.threshold(&q, limit));
                }
                prop_assert!(scores[rows.len()..halves.len()].iter().all(|&s| s == f32::INFINITY));
            }
        }
    }
}
