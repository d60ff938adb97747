//! The nearest rows of the own class and of the others, for every row at once, in a metric that changes.
//!
//! All pairs in binary32, each once: products of tiles of 256 rows, in place of distances `‖a‖² + ‖b‖² − 2⟨a, b⟩`. The
//! neighbours under the last metric bound those under the next one, so that hardly a pair passes the first comparison.
//! More rows than are asked for are kept, and while the metric changes little, only they are compared. Either way
//! neighbours are ranked by the distances of images themselves: what was asked before makes no difference.

use crate::error::Result;
use crate::learning::candidates::{Candidates, Search};
use crate::learning::drift::Reference;
use crate::learning::images::{Centred, Images, Scale};
use crate::learning::lists::{Kind, Limits, Lists};
use crate::learning::scan::TILE;
use crate::parallel::{Control, Team};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Candidates for each neighbour that are kept for the next metrics.
const KEPT: usize = 3;
/// Candidates for each neighbour where none are kept: rounding may exchange a few.
const SPARE: usize = 2;
/// How many times as many are kept where ties are many.
const WIDEST: usize = 8;
/// One in so many rows may be compared with all others before all are.
const OPEN: usize = 8;
/// After how many searches at most it is tried again to keep candidates.
const LONGEST_PAUSE: u32 = 64;

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
    /// By position.
    classes: Vec<u32>,
    centred: Centred,
    /// Of the last search of all pairs: they bound the next one, and with a reference make it needless for a while.
    candidates: Option<Candidates>,
    reference: Option<(Reference, Scale)>,
    /// Memory for lists.
    spare: Vec<Lists>,
    /// Searches of all pairs before the next candidates are kept, and how many there were to be.
    wait: u32,
    pause: u32,
    /// How many times as many candidates there are.
    width: usize,
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
        let classes = order.iter().map(|&row| codes[row as usize] as u32).collect();
        let centred = Centred::new(rows, features, None);
        Self {
            features,
            k,
            order,
            class_starts,
            classes,
            centred,
            candidates: None,
            reference: None,
            spare: Vec::new(),
            wait: 0,
            pause: 0,
            width: 1,
        }
    }

    /// The neighbours under `d(u, v) = ‖G(u − v)‖`, with `G (p, d)`; `rows` are those of [`new`](Self::new). Distances
    /// are good to about `1e-7` of the rows' distances from the mean, and ties go to the lower class and row. Cost:
    /// `n² p / 2`, or `8 n k p` where the metric has changed little.
    pub fn find(
        &mut self,
        rows: &[f64],
        components: &[f64],
        team: &Team,
        control: &Control,
    ) -> Result<Neighbors> {
        let images = self.centred.images(rows, &self.order, components, team, control)?;
        if let Some(ranked) = self.among_kept(&images, components, team, control)? {
            return Ok(self.in_callers_terms(&ranked));
        }
        let reference = if self.wait == 0 { Reference::new(components, self.features) } else { None };
        self.wait = self.wait.saturating_sub(1);
        let each = if reference.is_some() { KEPT } else { SPARE };
        let most = (each * self.width * self.k).min(self.order.len());
        let mut candidates = self.all_pairs(&images, most, team, control)?;
        let search = Search { images: &images, view: images.own_view(), k: self.k, team, control };
        let (mut ranked, open) = candidates.ranked(&search)?;
        candidates.complete(&mut ranked, &open, &search, |slot| self.others(slot))?;
        // So many ties, or neighbours so near to each other, that binary32 does not tell them apart.
        if open.len() > self.order.len() / OPEN {
            self.width = (2 * self.width).min(WIDEST);
        }
        self.candidates = Some(candidates);
        self.reference = reference.map(|reference| (reference, images.scale));
        Ok(self.in_callers_terms(&ranked))
    }

    /// Neighbours among the candidates that were kept, if there are some and they are near enough.
    fn among_kept(
        &mut self,
        images: &Images,
        components: &[f64],
        team: &Team,
        control: &Control,
    ) -> Result<Option<Vec<u32>>> {
        let Some((reference, scale)) = self.reference.take() else { return Ok(None) };
        let Some(mut candidates) = self.candidates.take() else { return Ok(None) };
        let drift = reference.drift(components);
        let search = Search { images, view: images.view(&scale, drift), k: self.k, team, control };
        let mut found = None;
        if drift < 0.5 {
            let (mut ranked, open) = candidates.ranked(&search)?;
            if open.len() <= self.order.len() / OPEN {
                candidates.complete(&mut ranked, &open, &search, |slot| self.others(slot))?;
                found = Some(ranked);
            }
        }
        self.candidates = Some(candidates);
        if found.is_some() {
            self.reference = Some((reference, scale));
            self.pause = 0;
        } else {
            (self.wait, self.pause) = (self.pause, (2 * self.pause + 1).min(LONGEST_PAUSE));
        }
        Ok(found)
    }

    /// All rows of the kind of a slot, twice the position and the kind.
    fn others(&self, slot: usize) -> [Range<usize>; 2] {
        let position = slot / 2;
        let class = self.classes[position] as usize;
        let own = self.class_starts[class]..self.class_starts[class + 1];
        if slot % 2 == Kind::Same as usize {
            [own.start..position, position + 1..own.end]
        } else {
            [0..own.start, own.end..self.order.len()]
        }
    }

    /// How many rows [`others`](Self::others) has.
    fn count(&self, slot: usize) -> usize {
        self.others(slot).iter().map(Range::len).sum()
    }

    /// The `most` nearest of both kinds, by products.
    fn all_pairs(
        &mut self,
        images: &Images,
        most: usize,
        team: &Team,
        control: &Control,
    ) -> Result<Candidates> {
        let tiles = self.order.len().div_ceil(TILE);
        let pairs: Vec<_> = (0..tiles).flat_map(|i| (i..tiles).map(move |j| [i, j])).collect();
        let last = self.candidates.take().filter(|last| last.most() >= most);
        let limits = match last {
            Some(last) => images.limits(&last, team, control)?,
            // What some pairs of every row say of its limits.
            None => {
                let some = |&[i, j]: &[usize; 2]| i == j || j - i == tiles / 2;
                let some: Vec<_> = pairs.iter().copied().filter(some).collect();
                let unlimited = [0, 1].map(|_| vec![f32::INFINITY; self.order.len()]);
                let first = self.nearest_of(&some, images, most, &unlimited, team, control)?;
                images.limits(&first, team, control)?
            }
        };
        self.nearest_of(&pairs, images, most, &limits, team, control)
    }

    /// The `most` nearest of both kinds within the limits, of the pairs of some tiles.
    fn nearest_of(
        &mut self,
        pairs: &[[usize; 2]],
        images: &Images,
        most: usize,
        limits: &Limits,
        team: &Team,
        control: &Control,
    ) -> Result<Candidates> {
        let (n, jobs) = (self.order.len(), team.jobs().min(pairs.len()));
        let (next, mut lists) = (AtomicUsize::new(0), Vec::new());
        let spare = Mutex::new(std::mem::take(&mut self.spare));
        let this = &*self;
        control.expect(pairs.len());
        // Each thread takes pairs into lists of its own: what the nearest are does not depend on who found them.
        team.for_chunks(
            jobs,
            1,
            control,
            || vec![0.0f32; TILE * TILE],
            |products, _| {
                let known = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut lists = match known.filter(|lists| lists.fits(n, most)) {
                    Some(mut lists) => {
                        lists.reset(limits);
                        lists
                    }
                    None => Lists::new(n, most, limits.clone()),
                };
                while let Some(&tiles) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if control.is_interrupted() {
                        break;
                    }
                    this.compare_tiles(images, tiles, products, &mut lists);
                    control.advance(1);
                }
                lists
            },
            |_, found: Lists| lists.push(found),
        )?;
        let found = Candidates::new(&lists, images, most, |slot| self.count(slot), team, control)?;
        self.spare = lists;
        Ok(found)
    }

    fn compare_tiles(&self, images: &Images, tiles: [usize; 2], products: &mut [f32], lists: &mut Lists) {
        let n = self.order.len();
        let [left, right] = tiles.map(|tile| tile * TILE..n.min((tile + 1) * TILE));
        let products = &mut products[..left.len() * right.len()];
        images.products(images.rows(&left), &right, products);
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

    fn in_callers_terms(&self, ranked: &[u32]) -> Neighbors {
        let [same, other] = [Kind::Same, Kind::Other].map(|kind| {
            let mut out = vec![-1; self.order.len() * self.k];
            for (position, &row) in self.order.iter().enumerate() {
                let slot = 2 * position + kind as usize;
                let out = &mut out[row as usize * self.k..][..self.k];
                for (out, &neighbor) in out.iter_mut().zip(&ranked[slot * self.k..][..self.k]) {
                    // Where there are no more, no position is meant.
                    *out = self.order.get(neighbor as usize).map_or(-1, |&row| i64::from(row));
                }
            }
            out
        });
        Neighbors { same, other }
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
            neighborhood.centred = Centred::new(&rows, d, Some(vec![4.0; d]));
            let (team, control) = (Team::new(jobs).unwrap(), Control::default());
            for g in [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [2.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 3.0]] {
                let found = neighborhood.find(&rows, &g, &team, &control).unwrap();
                prop_assert_eq!(found, brute(&rows, d, &codes, &g, k));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn what_was_asked_before_makes_no_difference(
            n in 200usize..700, seed in any::<u32>(), step in 0.0..0.06f64, kind in 0..5,
        ) {
            let (d, k) = (3, 4);
            let mut state = u64::from(seed) + 1;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            let mut rows: Vec<f64> = (0..n * d).map(|_| draw()).collect();
            let mut g: Vec<f64> = (0..d * d).map(|i| if i % (d + 1) == 0 { 1.0 } else { 0.0 }).collect();
            match kind {
                0 => rows.iter_mut().for_each(|x| *x *= 1e-200),
                1 => rows.iter_mut().for_each(|x| *x *= 1e140),
                // Every row twenty times; one row far away; squares that binary32 does not tell from 0.
                2 => (0..n * d).for_each(|i| rows[i] = rows[i % (n * d / 20)]),
                3 => rows[..d].iter_mut().for_each(|x| *x *= 100.0),
                _ => {
                    rows.iter_mut().step_by(d).for_each(|x| *x = 1.0);
                    (g[4], g[8]) = (1e-21, 1e-21);
                }
            }
            let codes: Vec<i64> = (0..n).map(|_| (2.5 * draw()) as i64).collect();
            let mut neighborhood = Neighborhood::new(&rows, d, &codes, 3, k);
            let (team, control) = (Team::new(2).unwrap(), Control::default());
            for _ in 0..6 {
                let found = neighborhood.find(&rows, &g, &team, &control).unwrap();
                let fresh = Neighborhood::new(&rows, d, &codes, 3, k).find(&rows, &g, &team, &control).unwrap();
                prop_assert_eq!(found, fresh);
                g.iter_mut().for_each(|x| *x *= 1.0 + step * (draw() - 0.5));
                g[1] += step * (draw() - 0.5) * g[4];
            }
        }
    }

    #[test]
    fn a_metric_that_hardly_changes_is_searched_among_candidates() {
        let rows: Vec<f64> = (0..3000).map(|i| f64::from(i * i % 977)).collect();
        let codes: Vec<i64> = (0..1000).map(|i| i % 2).collect();
        let mut neighborhood = Neighborhood::new(&rows, 3, &codes, 2, 3);
        let (team, control) = (Team::new(1).unwrap(), Control::default());
        let g = |x: f64| [1.0, x, 0.0, 0.0, 1.0, 0.0, x, 0.0, 1.0];
        let mut is_among = |x: f64| {
            let images =
                neighborhood.centred.images(&rows, &neighborhood.order, &g(x), &team, &control).unwrap();
            let is_among = neighborhood.among_kept(&images, &g(x), &team, &control).unwrap().is_some();
            neighborhood.find(&rows, &g(x), &team, &control).unwrap();
            is_among
        };
        assert_eq!([0.0, 0.0, 0.001, 3.0].map(&mut is_among), [false, true, true, false]);
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
