//! The nearest rows of the own class and of the others, for every row at once, in a metric that changes.
//!
//! All pairs in binary32, each once: products of tiles of 256 rows, in place of distances `‖a‖² + ‖b‖² − 2⟨a, b⟩`. The
//! neighbours under the last metric bound those under the next one, so that hardly a pair passes the first comparison.

use crate::error::Result;
use crate::geometry::rounding::{exponent, power_of_two};
use crate::learning::scan::{LANES, Line, Scan, WORDS, best};
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Rows of a tile: what a scan takes.
const TILE: usize = LANES * WORDS;
/// Parts of the work: fixed, so that the answer does not depend on the number of threads.
const PARTS: usize = 16;

/// Neighbours of all rows: row-major `(n, k)` by the caller's indices, nearest first; −1 where there are no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbors {
    pub same: Vec<i64>,
    pub other: Vec<i64>,
}

/// Training rows, grouped by class, and what is known of their neighbours.
pub struct Neighborhood {
    features: usize,
    k: usize,
    /// Position to the caller's row.
    order: Vec<u32>,
    class_starts: Vec<usize>,
    /// The mean, and the power of two that brings offsets from it to magnitude one.
    centre: Vec<f64>,
    scale: f64,
    /// By position: the last neighbours, which bound the next ones.
    last: Option<Lists>,
}

impl Neighborhood {
    /// `codes` are below `classes`; both kinds of neighbours are sought, `k` of each.
    #[must_use]
    pub fn new(rows: &[f64], features: usize, codes: &[i64], classes: usize, k: usize) -> Self {
        let mut order: Vec<u32> = (0..codes.len() as u32).collect();
        order.sort_by_key(|&row| codes[row as usize]);
        let mut class_starts = vec![0; classes + 1];
        codes.iter().for_each(|&code| class_starts[code as usize + 1] += 1);
        (0..classes).for_each(|c| class_starts[c + 1] += class_starts[c]);
        let mut centre = vec![0.0; features];
        for row in rows.chunks_exact(features) {
            centre.iter_mut().zip(row).for_each(|(c, x)| *c += x / codes.len() as f64);
        }
        let largest = rows.chunks_exact(features).fold(0.0f64, |largest, row| {
            row.iter().zip(&centre).fold(largest, |m, (x, c)| m.max((x - c).abs()))
        });
        let scale = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        Self { features, k, order, class_starts, centre, scale, last: None }
    }

    /// The neighbours under `d(u, v) = ‖G(u − v)‖`, with `G (p, d)`; `rows` are those of [`new`](Self::new). Distances
    /// are good to about `1e-7` of the rows' distances from the mean, and ties go to the lower class and row. Cost: `n² p / 2`.
    pub fn find(
        &mut self,
        rows: &[f64],
        components: &[f64],
        team: &Team,
        control: &Control,
    ) -> Result<Neighbors> {
        let images = self.embed(rows, components, team, control)?;
        let caps = self.last.as_ref().map(|last| images.caps(last));
        let mut found = Lists::new(self.order.len(), self.k, caps.as_deref());
        let tiles = self.order.len().div_ceil(TILE);
        let pairs: Vec<(usize, usize)> = (0..tiles).flat_map(|i| (i..tiles).map(move |j| (i, j))).collect();
        let share = pairs.len().div_ceil(PARTS);
        control.expect(pairs.len());
        let this = &*self;
        team.for_chunks(
            pairs.len(),
            share,
            control,
            || vec![0.0f32; TILE * TILE],
            |products, part| {
                let mut lists = Lists::new(this.order.len(), this.k, caps.as_deref());
                for &(i, j) in &pairs[part] {
                    if control.is_interrupted() {
                        break;
                    }
                    this.compare_tiles(&images, [i, j], products, &mut lists);
                    control.advance(1);
                }
                lists
            },
            |_, lists: Lists| found.merge(&lists),
        )?;
        let neighbors = self.in_callers_terms(&found);
        self.last = Some(found);
        Ok(neighbors)
    }

    fn embed(&self, rows: &[f64], components: &[f64], team: &Team, control: &Control) -> Result<Images> {
        let (d, p) = (self.features, components.len() / self.features);
        let largest = components.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let shrink = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        let map: Vec<f32> = components.iter().map(|x| (x * shrink) as f32).collect();
        let n = self.order.len();
        let mut images = Images { values: vec![0.0; n * p], squares: vec![0.0; n], dimensions: p };
        team.for_chunks(
            n,
            TILE,
            control,
            || vec![0.0f32; TILE * d],
            |centred, range| {
                for (&row, out) in self.order[range.clone()].iter().zip(centred.chunks_exact_mut(d)) {
                    let values = rows[row as usize * d..][..d].iter().zip(&self.centre);
                    out.iter_mut().zip(values).for_each(|(out, (x, c))| *out = ((x - c) * self.scale) as f32);
                }
                let mut part = vec![0.0; range.len() * p];
                product_nt32(&centred[..range.len() * d], &map, d, &mut part);
                part
            },
            |range, part: Vec<f32>| images.values[range.start * p..range.end * p].copy_from_slice(&part),
        )?;
        let squares = images.values.chunks_exact(p).map(|t| t.iter().map(|x| x * x).sum());
        images.squares = squares.collect();
        Ok(images)
    }

    fn compare_tiles(&self, images: &Images, tiles: [usize; 2], products: &mut [f32], lists: &mut Lists) {
        let n = self.order.len();
        let [left, right] = tiles.map(|tile| tile * TILE..n.min((tile + 1) * TILE));
        let products = &mut products[..left.len() * right.len()];
        let p = images.dimensions;
        let side = |range: &Range<usize>| &images.values[range.start * p..range.end * p];
        product_nt32(side(&left), side(&right), p, products);
        for (i, own) in self.by_class(&left) {
            for (j, other) in self.by_class(&right) {
                let kind = if own == other { Kind::Same } else { Kind::Other };
                for row in i.clone() {
                    let line = &products[(row - left.start) * right.len()..][..right.len()];
                    // Each pair once.
                    let start = if tiles[0] == tiles[1] { j.start.max(row + 1) } else { j.start };
                    if start < j.end {
                        let line = &line[start - right.start..j.end - right.start];
                        lists.offer_line(kind, row, start, line, &images.squares);
                    }
                }
            }
        }
    }

    /// The parts of a range that are of one class, with the class.
    fn by_class(&self, range: &Range<usize>) -> Vec<(Range<usize>, usize)> {
        let classes = self.class_starts.windows(2).enumerate();
        let cut = classes.map(|(class, ends)| (range.start.max(ends[0])..range.end.min(ends[1]), class));
        cut.filter(|(part, _)| !part.is_empty()).collect()
    }

    fn in_callers_terms(&self, lists: &Lists) -> Neighbors {
        let [same, other] = [Kind::Same, Kind::Other].map(|kind| {
            let mut out = vec![-1; self.order.len() * self.k];
            for (position, &row) in self.order.iter().enumerate() {
                let out = &mut out[row as usize * self.k..][..self.k];
                for (out, &(_, neighbor)) in out.iter_mut().zip(lists.of(kind, position)) {
                    *out = i64::from(self.order[neighbor as usize]);
                }
            }
            out
        });
        Neighbors { same, other }
    }
}

/// Centred, scaled rows under a metric, by position.
struct Images {
    values: Vec<f32>,
    squares: Vec<f32>,
    dimensions: usize,
}

impl Images {
    /// What no neighbour can be farther than, for rows that had as many as there can be: the distance to the
    /// farthest of the last ones, and what binary32 may be off by.
    fn caps(&self, last: &Lists) -> Vec<f32> {
        let p = self.dimensions;
        let row = |position: usize| &self.values[position * p..][..p];
        let rounding = (p as f32 + 8.0) * f32::EPSILON;
        let cap = |(slot, entries): (usize, &[(f32, u32)])| {
            let position = slot / 2;
            entries.iter().fold(0.0f32, |cap, &(_, neighbor)| {
                let (a, b) = (row(position), row(neighbor as usize));
                let square: f32 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
                let size = self.squares[position] + self.squares[neighbor as usize];
                cap.max(square + 4.0 * rounding * size)
            })
        };
        last.slots().enumerate().map(cap).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Other,
}

/// For every position the `k` nearest of each kind that were offered, in order of (distance, position).
struct Lists {
    k: usize,
    /// `(n, 2, k)`.
    entries: Vec<(f32, u32)>,
    filled: Vec<u32>,
    /// `(2, n)`: nothing beyond is taken.
    limits: [Vec<f32>; 2],
    scan: Scan,
}

impl Lists {
    /// `caps (n, 2)` bound what is worth taking.
    fn new(n: usize, k: usize, caps: Option<&[f32]>) -> Self {
        let limits = [0, 1].map(|kind| match caps {
            Some(caps) => caps.iter().skip(kind).step_by(2).copied().collect(),
            None => vec![f32::INFINITY; n],
        });
        Self {
            k,
            entries: vec![(f32::INFINITY, u32::MAX); 2 * n * k],
            filled: vec![0; 2 * n],
            limits,
            scan: best(),
        }
    }

    fn of(&self, kind: Kind, position: usize) -> &[(f32, u32)] {
        let slot = 2 * position + kind as usize;
        &self.entries[slot * self.k..][..self.filled[slot] as usize]
    }

    fn slots(&self) -> impl Iterator<Item = &[(f32, u32)]> {
        self.entries.chunks_exact(self.k).zip(&self.filled).map(|(list, &filled)| &list[..filled as usize])
    }

    /// Offers the pairs of a row with the rows from `start` on, of which `products` has the products.
    fn offer_line(&mut self, kind: Kind, row: usize, start: usize, products: &[f32], squares: &[f32]) {
        let limits = &self.limits[kind as usize];
        let (own, squares) = (squares[row], &squares[start..][..products.len()]);
        let line =
            Line { own, limit: limits[row], products, squares, limits: &limits[start..][..products.len()] };
        for (at, mut word) in (self.scan)(&line).into_iter().enumerate() {
            while word != 0 {
                let k = at * LANES + word.trailing_zeros() as usize;
                word &= word - 1;
                let square = ((own + squares[k]) - 2.0 * products[k]).max(0.0);
                self.offer(kind, row, start + k, square);
                self.offer(kind, start + k, row, square);
            }
        }
    }

    fn offer(&mut self, kind: Kind, position: usize, neighbor: usize, square: f32) {
        if square > self.limits[kind as usize][position] {
            return;
        }
        let slot = 2 * position + kind as usize;
        let filled = self.filled[slot] as usize;
        let list = &mut self.entries[slot * self.k..][..self.k];
        let entry = (square, neighbor as u32);
        let at = list[..filled].partition_point(|&e| e < entry);
        if at == self.k {
            return;
        }
        let filled = (filled + 1).min(self.k);
        list[at..filled].rotate_right(1);
        list[at] = entry;
        self.filled[slot] = filled as u32;
        if filled == self.k {
            let limit = &mut self.limits[kind as usize][position];
            *limit = limit.min(list[self.k - 1].0);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (slot, list) in other.slots().enumerate() {
            let kind = if slot % 2 == 0 { Kind::Same } else { Kind::Other };
            list.iter().for_each(|&(square, neighbor)| self.offer(kind, slot / 2, neighbor as usize, square));
        }
    }
}

/// `C = A Bᵀ` in binary32, for row-major `A (m, k)`, `B (n, k)`, `C (m, n)`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brute(rows: &[f64], d: usize, codes: &[i64], g: &[f64], k: usize) -> Neighbors {
        let n = codes.len();
        let square = |a: usize, b: usize| -> f64 {
            let gap: Vec<f64> = (0..d).map(|f| rows[a * d + f] - rows[b * d + f]).collect();
            g.chunks(d).map(|row| row.iter().zip(&gap).map(|(g, x)| g * x).sum::<f64>().powi(2)).sum()
        };
        let nearest = |same: bool| {
            let mut out = Vec::new();
            for i in 0..n {
                let mut found: Vec<(f64, i64, usize)> = (0..n)
                    .filter(|&j| j != i && (codes[j] == codes[i]) == same)
                    .map(|j| (square(i, j), codes[j], j))
                    .collect();
                found.sort_by(|a, b| a.partial_cmp(b).unwrap());
                out.extend((0..k).map(|r| found.get(r).map_or(-1, |f| f.2 as i64)));
            }
            out
        };
        Neighbors { same: nearest(true), other: nearest(false) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        // Numbers on a small grid: distances are exact in binary32, and ties are many.
        #[test]
        fn neighbours_are_those_of_all_pairs_under_one_metric_after_another(
            n in 2usize..600, seed in any::<u32>(), k in 1usize..5, jobs in 1usize..4,
        ) {
            let d = 3;
            let mut state = u64::from(seed) + 1;
            let mut draw = |m: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % m
            };
            let rows: Vec<f64> = (0..n * d).map(|_| draw(9) as f64).collect();
            let codes: Vec<i64> = (0..n).map(|_| draw(3) as i64).collect();
            let mut neighborhood = Neighborhood::new(&rows, d, &codes, 3, k);
            // A centre on the grid keeps differences exact.
            neighborhood.centre = vec![4.0; d];
            let (team, control) = (Team::new(jobs).unwrap(), Control::default());
            for g in [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [2.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 3.0]] {
                let found = neighborhood.find(&rows, &g, &team, &control).unwrap();
                prop_assert_eq!(found, brute(&rows, d, &codes, &g, k));
            }
        }
    }

    #[test]
    fn extreme_magnitudes_neither_overflow_nor_vanish() {
        for scale in [1e-300, 1e150] {
            let rows: Vec<f64> = [0.0, 1.0, 5.0, 7.0].iter().map(|x| x * scale).collect();
            let mut neighborhood = Neighborhood::new(&rows, 1, &[0, 0, 1, 1], 2, 1);
            let team = Team::new(1).unwrap();
            let found = neighborhood.find(&rows, &[1e100], &team, &Control::default()).unwrap();
            assert_eq!((found.same, found.other), (vec![1, 0, 3, 2], vec![2, 2, 1, 1]));
        }
    }
}
