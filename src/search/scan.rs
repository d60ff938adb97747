//! Scores of a tile of queries against all rows, and walks over the rows whose score passes a threshold.

use crate::geometry::simd::{Kernels, PANEL, QUERY_BLOCK, ScoreTile};
use crate::search::index::Index;
use crate::search::ladder::{Point, RowLimit};
use std::ops::Range;

/// Up to this many rows of a panel are looked at one by one.
const FEW: usize = 6;
/// Rows are asked for this many before their turn.
const AHEAD: usize = 6;

/// Queries per tile: their scores stay in cache between the product and the search.
#[must_use]
pub fn tile_size(index: &Index) -> usize {
    if index.len() > 1 << 19 { QUERY_BLOCK } else { 2 * QUERY_BLOCK }
}

/// Scores of a few queries; one per thread.
#[derive(Default)]
pub struct Tile {
    queries: Vec<f32>,
    scores: Vec<f32>,
    minima: Vec<f32>,
    padded: usize,
}

/// The scores of one query.
#[derive(Clone, Copy)]
pub struct Scores<'a> {
    scores: &'a [f32],
    minima: &'a [f32],
}

impl Tile {
    /// Scores `points` against every row of the index.
    pub fn compute(&mut self, index: &Index, kernels: &Kernels, points: &[Point]) {
        let ladder = index.ladder();
        let (k, rows) = (ladder.thin_width(), points.len().next_multiple_of(QUERY_BLOCK));
        self.padded = ladder.padded();
        self.queries.clear();
        points.iter().for_each(|point| self.queries.extend_from_slice(point.thin(k)));
        self.queries.resize(rows * k, 0.0);
        self.scores.resize(rows * self.padded, 0.0);
        self.minima.resize(rows * self.padded / PANEL, 0.0);
        let (panels, halves) = ladder.panels();
        kernels.scores(&mut ScoreTile {
            k,
            queries: &self.queries,
            panels,
            halves,
            scores: &mut self.scores,
            minima: &mut self.minima,
        });
    }

    /// Scores of the `i`-th query.
    #[must_use]
    pub fn scores(&self, i: usize) -> Scores<'_> {
        let panels = self.padded / PANEL;
        Scores {
            scores: &self.scores[i * self.padded..][..self.padded],
            minima: &self.minima[i * panels..][..panels],
        }
    }
}

impl Scores<'_> {
    /// Calls `visit` for every position of `range` whose score is at most the threshold, which `visit`
    /// returns anew (it may only fall).
    pub fn scan(&self, range: Range<usize>, threshold: f32, mut visit: impl FnMut(usize) -> f32) {
        let mut threshold = threshold;
        let (first, last) = (range.start / PANEL, range.end.div_ceil(PANEL));
        for panel in first..last {
            if self.minima[panel] > threshold {
                continue;
            }
            let start = range.start.max(panel * PANEL);
            let end = range.end.min((panel + 1) * PANEL);
            for position in start..end {
                if self.scores[position] <= threshold {
                    threshold = visit(position);
                }
            }
        }
    }

    /// Calls `visit`, with an interval for `d(x, q)`, for every position of `range` that may be within its limit
    /// of another point `q`. The scores of the query serve to skip panels: `threshold` must let every such
    /// row pass.
    pub fn scan_around(
        &self,
        index: &Index,
        kernels: &Kernels,
        (range, threshold): (Range<usize>, f32),
        (q, limit): (&Point, RowLimit),
        found: &mut Vec<u32>,
        mut visit: impl FnMut(usize, f64, f64),
    ) {
        let ladder = index.ladder();
        let ((panels, halves), k) = (ladder.panels(), ladder.thin_width());
        let squares = index.normal_squares();
        let (first, second) = ladder.threshold_terms(q, limit);
        found.clear();
        for panel in range.start / PANEL..range.end.div_ceil(PANEL) {
            if self.minima[panel] > threshold {
                continue;
            }
            let start = range.start.max(panel * PANEL);
            let inside = start..range.end.min((panel + 1) * PANEL);
            let passing = |&position: &usize| self.scores[position] <= threshold;
            if inside.clone().filter(passing).count() <= FEW {
                found.extend(inside.filter(passing).map(|position| position as u32));
                continue;
            }
            let block = &panels[panel * PANEL * k..][..PANEL * k];
            let scores = kernels.panel_scores(q.thin(k), block, &halves[panel * PANEL..][..PANEL]);
            let near =
                inside.filter(|&position| scores[position % PANEL] <= first + second * squares[position]);
            found.extend(near.filter(passing).map(|position| position as u32));
        }
        for (i, &position) in found.iter().enumerate() {
            if let Some(&ahead) = found.get(i + AHEAD) {
                ladder.prefetch(ahead as usize);
            }
            let position = position as usize;
            if let Some((low, high)) = ladder.within(kernels, position, q, limit.of(squares[position])) {
                visit(position, low, high);
            }
        }
    }

    /// Positions of the `count` least scores of `ranges`, in no order.
    pub fn least(&self, ranges: &[Range<usize>], count: usize, found: &mut Vec<(f32, u32)>) {
        // Each panel holds a row with the score of its minimum.
        let whole = |range: &Range<usize>| range.start.div_ceil(PANEL)..range.end / PANEL;
        let mut minima: Vec<f32> = ranges.iter().flat_map(whole).map(|panel| self.minima[panel]).collect();
        let threshold = match count.checked_sub(1).filter(|&last| last < minima.len()) {
            Some(last) => *minima.select_nth_unstable_by(last, f32::total_cmp).1,
            None => f32::INFINITY,
        };
        found.clear();
        for range in ranges {
            self.scan(range.clone(), threshold, |position| {
                found.push((self.scores[position], position as u32));
                threshold
            });
        }
        if found.len() > count {
            found.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            found.truncate(count);
        }
    }

    /// The same for several points at once, each with its limit: calls `visit` for the positions that may be within the limit of
    /// any.
    pub fn scan_around_any(
        &self,
        index: &Index,
        kernels: &Kernels,
        (range, threshold): (Range<usize>, f32),
        points: &[(&Point, f64)],
        mut visit: impl FnMut(usize),
    ) {
        let ladder = index.ladder();
        let ((panels, halves), k) = (ladder.panels(), ladder.thin_width());
        let limits: Vec<f32> = points.iter().map(|&(q, limit)| ladder.threshold(q, limit)).collect();
        for panel in range.start / PANEL..range.end.div_ceil(PANEL) {
            if self.minima[panel] > threshold {
                continue;
            }
            let (block, halves) =
                (&panels[panel * PANEL * k..][..PANEL * k], &halves[panel * PANEL..][..PANEL]);
            let inside = range.start.max(panel * PANEL)..range.end.min((panel + 1) * PANEL);
            let mut seen = [false; PANEL];
            for (&(q, limit), &most) in points.iter().zip(&limits) {
                let scores = kernels.panel_scores(q.thin(k), block, halves);
                for position in inside.clone() {
                    let lane = position % PANEL;
                    if scores[lane] <= most
                        && self.scores[position] <= threshold
                        && !seen[lane]
                        && ladder.within(kernels, position, q, limit).is_some()
                    {
                        seen[lane] = true;
                        visit(position);
                    }
                }
            }
        }
    }

    /// Positions of the least score in each of the `count` panels with the least minima of `ranges`.
    pub fn seeds(&self, ranges: &[Range<usize>], count: usize, panels: &mut Vec<(f32, u32)>) {
        panels.clear();
        for range in ranges.iter().filter(|r| !r.is_empty()) {
            for panel in range.start / PANEL..range.end.div_ceil(PANEL) {
                panels.push((self.minima[panel], panel as u32));
            }
        }
        if panels.len() > count {
            panels.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            panels.truncate(count);
        }
        panels.sort_unstable_by_key(|&(_, panel)| panel);
        panels.dedup_by_key(|&mut (_, panel)| panel);
        let inside = |position: &usize| ranges.iter().any(|r| r.contains(position));
        panels.retain_mut(|(_, slot)| {
            let panel = *slot as usize * PANEL..(*slot as usize + 1) * PANEL;
            let best = panel.filter(inside).min_by(|&a, &b| self.scores[a].total_cmp(&self.scores[b]));
            best.is_some_and(|position| {
                *slot = position as u32;
                true
            })
        });
    }
}
