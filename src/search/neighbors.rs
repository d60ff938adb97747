//! Exact nearest neighbours: fast by bounds, exact by re-computation.
//!
//! Scores give a lower bound on every distance; a few promising rows give an upper bound on the k-th
//! distance; only rows whose bounds leave a doubt are looked at further along the ladder, and the last
//! few are measured in binary64. What even that cannot order is ordered exactly, ties to the lowest index.

use crate::error::{Error, Result};
use crate::geometry::rounding::{scale_by, up};
use crate::geometry::simd::Kernels;
use crate::parallel::{Control, Team};
use crate::search::distance::Measured;
use crate::search::embed::Query;
use crate::search::index::Index;
use crate::search::ladder::{Point, RowLimit};
use crate::search::scan::{Scores, Tile, tile_size};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

/// A row that may be among the nearest, and an interval for its distance.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub position: usize,
    pub low: f64,
    pub high: f64,
}

/// Scratch space of a search; one per thread.
#[derive(Default)]
pub struct NeighborSearch {
    seeds: Vec<(f32, u32)>,
    highs: BinaryHeap<Finite>,
    pub candidates: Vec<Candidate>,
    measured: Vec<(usize, Measured)>,
}

/// A number that is not NaN, ordered.
#[derive(PartialEq)]
struct Finite(f64);

impl Eq for Finite {}
impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl NeighborSearch {
    /// Fills `candidates` with a set of rows of `ranges` that holds the `k` nearest; returns an upper bound
    /// on the k-th distance (infinite if there are fewer than `k`).
    pub fn collect(
        &mut self,
        index: &Index,
        kernels: &Kernels,
        scores: Scores,
        query: &Query,
        ranges: &[Range<usize>],
        k: usize,
    ) -> f64 {
        let ladder = index.ladder();
        self.highs.clear();
        self.candidates.clear();
        scores.seeds(ranges, k + 3, &mut self.seeds);
        for &(_, position) in &self.seeds {
            let limit = kth(&self.highs, k);
            if let Some((_, high)) = ladder.within(kernels, position as usize, query.point, limit) {
                push(&mut self.highs, high, k);
            }
        }
        // The seeds are met again below: they count once, so the bound is carried over, not the heap.
        let mut limit = kth(&self.highs, k);
        self.highs.clear();
        for range in ranges {
            scores.scan(range.clone(), ladder.threshold(query.point, limit), |position| {
                if let Some((low, high)) = ladder.within(kernels, position, query.point, limit) {
                    self.candidates.push(Candidate { position, low, high });
                    push(&mut self.highs, high, k);
                    limit = limit.min(kth(&self.highs, k));
                }
                ladder.threshold(query.point, limit)
            });
        }
        self.candidates.retain(|c| c.low <= limit);
        limit
    }

    /// The `k` nearest of the collected candidates in exact order.
    pub fn resolve(&mut self, index: &Index, query: &Query, k: usize) -> &[(usize, Measured)] {
        self.measured.clear();
        let measure = |c: &Candidate| (c.position, index.squared_distance(c.position, query));
        self.measured.extend(self.candidates.iter().map(measure));
        if k == 1 {
            let nearest = self.measured.iter().copied().reduce(|best, next| {
                if index.compare(next, best, query) == Ordering::Less { next } else { best }
            });
            self.measured.clear();
            self.measured.extend(nearest);
        } else {
            self.measured.sort_by(|a, b| index.compare(*a, *b, query));
            self.measured.truncate(k);
        }
        &self.measured
    }
}

/// Keeps the `k` least values.
fn push(heap: &mut BinaryHeap<Finite>, value: f64, k: usize) {
    heap.push(Finite(value));
    if heap.len() > k {
        heap.pop();
    }
}

fn kth(heap: &BinaryHeap<Finite>, k: usize) -> f64 {
    if heap.len() < k { f64::INFINITY } else { heap.peek().map_or(f64::INFINITY, |x| x.0) }
}

/// Neighbours of many queries: `(m, groups, k)` distances and rows, groups being one or one per class.
pub struct Neighbors {
    pub distances: Vec<f64>,
    /// The caller's indices; −1 where a group has fewer than `k` rows.
    pub rows: Vec<i64>,
}

/// What to search for.
#[derive(Debug, Clone, Copy)]
pub struct NeighborRequest {
    pub k: usize,
    pub per_class: bool,
    pub squared: bool,
}

/// The exact `k` nearest rows of each query, over all rows or within each class.
///
/// Distances are non-decreasing; identical rows are at distance 0; ties go to the lowest index. Groups
/// with fewer than `k` rows are padded with infinity and −1.
pub fn kneighbors(
    index: &Index,
    queries: &[f64],
    request: NeighborRequest,
    team: &Team,
    control: &Control,
) -> Result<Neighbors> {
    let d = index.features();
    if !queries.len().is_multiple_of(d) {
        return Err(Error::Shape {
            argument: "queries",
            expected: queries.len() / d * d,
            found: queries.len(),
        });
    }
    if request.k == 0 || (!request.per_class && request.k > index.len()) {
        return Err(Error::Range { argument: "k", low: 1, high: index.len(), found: request.k });
    }
    let groups = if request.per_class { index.classes() } else { 1 };
    let total = queries.len() / d;
    let width = groups * request.k;
    let mut found =
        Neighbors { distances: vec![f64::INFINITY; total * width], rows: vec![-1; total * width] };
    control.expect(total);
    for_scales(index, queries, team, control, |index, ids| {
        search(index, queries, ids, request, team, control, &mut found)
    })?;
    Ok(found)
}

/// Calls `work` with the index and the queries that it serves: as a rule all of them; queries far outside
/// the training data are served by a copy of the index in their own units.
pub fn for_scales(
    index: &Index,
    queries: &[f64],
    team: &Team,
    control: &Control,
    mut work: impl FnMut(&Index, &[usize]) -> Result<()>,
) -> Result<()> {
    let exponents: Vec<i32> =
        queries.chunks_exact(index.features()).map(|query| index.exponent_for(query)).collect();
    let mut levels = exponents.clone();
    levels.sort_unstable();
    levels.dedup();
    for level in levels {
        let ids: Vec<usize> = (0..exponents.len()).filter(|&i| exponents[i] == level).collect();
        if level == index.exponent() {
            work(index, &ids)?;
        } else {
            work(&index.rescaled(level, team, control)?, &ids)?;
        }
    }
    Ok(())
}

fn search(
    index: &Index,
    queries: &[f64],
    ids: &[usize],
    request: NeighborRequest,
    team: &Team,
    control: &Control,
    found: &mut Neighbors,
) -> Result<()> {
    let (d, k) = (index.features(), request.k);
    let groups: Vec<Range<usize>> = if request.per_class {
        (0..index.classes()).map(|class| index.class_range(class)).collect()
    } else {
        std::iter::once(0..index.len()).collect()
    };
    let width = groups.len() * k;
    let kernels = Kernels::best();
    let exponent = index.distance_exponent();
    team.for_chunks(
        ids.len(),
        8 * tile_size(index),
        control,
        || (Tile::default(), NeighborSearch::default()),
        |(tile, searcher), range| {
            let ids = &ids[range];
            let rows: Vec<f64> = ids.iter().flat_map(|&id| &queries[id * d..][..d]).copied().collect();
            let embedded = index.embed_queries(&rows);
            let mut out = vec![(f64::INFINITY, -1i64); ids.len() * width];
            for (start, points) in embedded.points.chunks(tile_size(index)).enumerate() {
                if control.is_interrupted() {
                    break;
                }
                let start = start * tile_size(index);
                tile.compute(index, kernels, points);
                for i in 0..points.len() {
                    let query = embedded.query(start + i, &rows[(start + i) * d..][..d]);
                    for (group, range) in groups.iter().enumerate() {
                        let out = &mut out[((start + i) * groups.len() + group) * k..][..k];
                        searcher.collect(
                            index,
                            kernels,
                            tile.scores(i),
                            &query,
                            std::slice::from_ref(range),
                            k,
                        );
                        let mut last = 0.0f64;
                        for (out, (position, square)) in
                            out.iter_mut().zip(searcher.resolve(index, &query, k))
                        {
                            // Exact ties may differ by a rounding: the order is the exact one.
                            last = last.max(square.value);
                            *out = (
                                distance(last, request.squared, exponent),
                                index.row_index(*position) as i64,
                            );
                        }
                    }
                }
                control.advance(points.len());
            }
            out
        },
        |range, part| {
            for (id, part) in ids[range].iter().zip(part.chunks_exact(width)) {
                for (slot, &(distance, row)) in part.iter().enumerate() {
                    found.distances[id * width + slot] = distance;
                    found.rows[id * width + slot] = row;
                }
            }
        },
    )
}

/// The exact nearest row of one point, from scratch.
#[must_use]
pub fn nearest_position(index: &Index, kernels: &Kernels, row: &[f64]) -> usize {
    nearest_positions(index, kernels, row, 1)[0]
}

/// The exact `k` nearest rows of one point, from scratch.
#[must_use]
pub fn nearest_positions(index: &Index, kernels: &Kernels, row: &[f64], k: usize) -> Vec<usize> {
    let everything = 0..index.len();
    let (mut tile, mut search) = (Tile::default(), NeighborSearch::default());
    let embedded = index.embed_queries(row);
    let query = embedded.query(0, row);
    tile.compute(index, kernels, &embedded.points);
    search.collect(index, kernels, tile.scores(0), &query, std::slice::from_ref(&everything), k);
    search.resolve(index, &query, k).iter().map(|nearest| nearest.0).collect()
}

/// The same for a point near another one: `moved` bounds `‖B(z − p)‖` and the defect's share of `‖z − p‖`; the
/// scores are those of the other. Any `k` rows in `near` will do; the nearer they are, the less there is to look at.
#[must_use]
pub fn nearest_beside(
    index: &Index,
    kernels: &Kernels,
    (scores, other, moved): (Scores, &Point, f64),
    (query, near): (&Query, &[usize]),
    k: usize,
) -> Vec<usize> {
    let (ladder, mut search) = (index.ladder(), NeighborSearch::default());
    let high = |&position: &usize| ladder.within(kernels, position, query.point, f64::INFINITY);
    near.iter().filter_map(high).for_each(|(_, high)| push(&mut search.highs, high, k));
    let limit = kth(&search.highs, k);
    search.highs.clear();
    // ‖B(z − x)‖ ≤ ‖B(p − x)‖ + ‖B(z − p)‖, and what the defect adds to the middle one is in the ladder's errors, but for
    // its share of ‖z − p‖.
    let part = (0..index.len(), ladder.threshold(other, limit + moved));
    let around = (query.point, RowLimit::uniform(limit));
    scores.scan_around(index, kernels, part, around, &mut Vec::new(), |position, low, high| {
        search.candidates.push(Candidate { position, low, high });
        push(&mut search.highs, high, k);
    });
    let limit = kth(&search.highs, k);
    search.candidates.retain(|c| c.low <= limit);
    search.resolve(index, query, k).iter().map(|nearest| nearest.0).collect()
}

/// A distance in the caller's units from a squared one in scaled units.
#[must_use]
pub fn distance(square: f64, squared: bool, exponent: i32) -> f64 {
    if squared { scale_by(square, 2 * exponent) } else { scale_by(square.sqrt(), exponent) }
}

/// An upper bound on the distance behind a measured square; of a square below zero that is 0.
#[must_use]
pub fn high(square: Measured) -> f64 {
    up((square.value + square.error).max(0.0).sqrt())
}
