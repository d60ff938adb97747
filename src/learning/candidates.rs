//! Rows that may be the nearest ones, kept while a metric changes: as long as it has changed little, all others are
//! still farther away, and only the first of the kept ones have to be compared.

use crate::error::Result;
use crate::learning::images::{Images, View};
use crate::learning::lists::{Entry, Lists};
use crate::learning::scan::{Line, TILE, best, hits};
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Slots of a chunk of the work, and of those that are compared with all rows at once.
const CHUNK: usize = 128;
const OPEN: usize = 32;

/// Of each position, for each of two kinds of rows, a few near ones: `(n, 2)` slots.
pub struct Candidates {
    most: usize,
    /// `(n, 2, most)`, nearest first, how many there are, and what their distances are at least under the reference.
    rows: Vec<u32>,
    filled: Vec<u32>,
    distances: Vec<f32>,
    /// Whether there are no other rows of the kind.
    is_whole: Vec<bool>,
}

/// What a search has to do with: the images, how the reference sees them, threads.
pub struct Search<'a> {
    pub images: &'a Images,
    pub view: View,
    pub k: usize,
    pub team: &'a Team,
    pub control: &'a Control,
}

type Nearest = Vec<Entry>;

fn offer(nearest: &mut Nearest, most: usize, entry: Entry) {
    if nearest.len() == most {
        if nearest[most - 1] <= entry {
            return;
        }
        nearest.pop();
    }
    let at = nearest.partition_point(|&known| known < entry);
    nearest.insert(at, entry);
}

impl Candidates {
    /// From lists of all pairs of `images`, `most` of each slot; `count` says how many rows there are of a slot's kind.
    pub fn new(
        lists: &[Lists],
        images: &Images,
        most: usize,
        count: impl Fn(usize) -> usize + Sync,
        team: &Team,
        control: &Control,
    ) -> Result<Self> {
        let slots = 2 * images.squares.len();
        let mut found = Self::empty(most, slots);
        team.for_chunks(
            slots,
            CHUNK,
            control,
            || (),
            |(), part| {
                let mut entries = Vec::new();
                let mut own = Self::empty(most, part.len());
                for (at, slot) in part.enumerate() {
                    Lists::least(lists, slot, &mut entries);
                    let down = |e: &Entry| images.distance_down_by_products(e.square(), slot / 2);
                    own.set(at, &entries, down, entries.len() == count(slot));
                }
                own
            },
            |part, own: Self| found.copy(part.start, &own),
        )?;
        Ok(found)
    }

    fn empty(most: usize, slots: usize) -> Self {
        Self {
            most,
            rows: vec![u32::MAX; slots * most],
            filled: vec![0; slots],
            distances: vec![0.0; slots * most],
            is_whole: vec![true; slots],
        }
    }

    fn copy(&mut self, start: usize, part: &Self) {
        let (slots, most) = (part.filled.len(), self.most);
        self.rows[start * most..][..slots * most].copy_from_slice(&part.rows);
        self.distances[start * most..][..slots * most].copy_from_slice(&part.distances);
        self.filled[start..][..slots].copy_from_slice(&part.filled);
        self.is_whole[start..][..slots].copy_from_slice(&part.is_whole);
    }

    fn set(&mut self, slot: usize, entries: &[Entry], down: impl Fn(&Entry) -> f64, is_whole: bool) {
        let start = slot * self.most;
        for (at, entry) in entries.iter().enumerate() {
            self.rows[start + at] = entry.position() as u32;
            self.distances[start + at] = (down(entry) * (1.0 - f64::from(f32::EPSILON))) as f32;
        }
        (self.filled[slot], self.is_whole[slot]) = (entries.len() as u32, is_whole);
    }

    /// The candidates of a slot.
    #[must_use]
    pub fn of(&self, slot: usize) -> &[u32] {
        &self.rows[slot * self.most..][..self.filled[slot] as usize]
    }

    /// How many there are of each slot at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Rows, where they bound how far as many of the kind are: as many as there may be, or all.
    #[must_use]
    pub fn bounding(&self, slot: usize) -> Option<&[u32]> {
        let rows = self.of(slot);
        (rows.len() == self.most || self.is_whole[slot]).then_some(rows)
    }

    /// Completes what [`ranked`](Self::ranked) left open: the rows of these slots are compared with all of their kind,
    /// which `others` gives, and the candidates with them.
    pub fn complete(
        &mut self,
        ranked: &mut [u32],
        open: &[usize],
        search: &Search,
        others: impl Fn(usize) -> [Range<usize>; 2] + Sync,
    ) -> Result<()> {
        let (images, most, mut known) = (search.images, self.most, Vec::new());
        search.team.for_chunks(
            open.len(),
            OPEN,
            search.control,
            || (),
            |(), part| {
                let slots = &open[part];
                slots.iter().copied().zip(self.among_all(slots, images, &others)).collect::<Vec<_>>()
            },
            |_, found: Vec<(usize, Nearest)>| known.extend(found),
        )?;
        for (slot, nearest) in known {
            put(&mut ranked[slot * search.k..][..search.k], &nearest);
            let down = |e: &Entry| search.view.of_reference_down(images.distance_down(e.square()));
            self.set(slot, &nearest, down, nearest.len() < most);
        }
        Ok(())
    }

    /// As many rows as there are candidates, the nearest of all, for a few slots at once: products say which rows can
    /// be no farther than the farthest candidate.
    fn among_all(
        &self,
        slots: &[usize],
        images: &Images,
        others: &impl Fn(usize) -> [Range<usize>; 2],
    ) -> Vec<Nearest> {
        let (n, scan) = (images.squares.len(), best());
        let mut nearest = vec![Nearest::with_capacity(self.most + 1); slots.len()];
        let own: Vec<f32> = slots.iter().flat_map(|slot| images.row(slot / 2)).copied().collect();
        let limits: Vec<f32> = slots.iter().map(|&slot| images.limit(self.of(slot), slot / 2)).collect();
        let (mut products, none) = (vec![0.0; slots.len() * TILE], [f32::NEG_INFINITY; TILE]);
        for start in (0..n).step_by(TILE) {
            let tile = start..n.min(start + TILE);
            let products = &mut products[..slots.len() * tile.len()];
            images.products(&own, &tile, products);
            for (at, &slot) in slots.iter().enumerate() {
                for range in others(slot) {
                    let range = range.start.max(tile.start)..range.end.min(tile.end);
                    if range.is_empty() {
                        continue;
                    }
                    let line = Line {
                        own: images.squares[slot / 2],
                        limit: limits[at],
                        products: &products[at * tile.len()..][range.start - start..range.end - start],
                        squares: &images.squares[range.clone()],
                        limits: &none[..range.len()],
                    };
                    for row in hits(scan(&line)) {
                        let row = range.start + row;
                        offer(&mut nearest[at], self.most, Entry::new(images.square(slot / 2, row), row));
                    }
                }
            }
        }
        nearest
    }

    /// The `k` nearest rows by (computed square, position), `(n, 2, k)`, nearest first, `u32::MAX` where there are no
    /// more; and the slots where a row that is no candidate may be nearer. The others are as if all rows were compared.
    pub fn ranked(&self, search: &Search) -> Result<(Vec<u32>, Vec<usize>)> {
        let (slots, k) = (self.filled.len(), search.k);
        let (mut ranked, mut open) = (vec![u32::MAX; slots * k], Vec::new());
        search.team.for_chunks(
            slots,
            CHUNK,
            search.control,
            || Nearest::with_capacity(k + 1),
            |nearest, part| {
                let (mut ids, mut open) = (vec![u32::MAX; part.len() * k], Vec::new());
                for (slot, out) in part.zip(ids.chunks_exact_mut(k)) {
                    if self.rank(slot, search, nearest) {
                        put(out, nearest);
                    } else {
                        open.push(slot);
                    }
                }
                (ids, open)
            },
            |part, (ids, more): (Vec<u32>, Vec<usize>)| {
                ranked[part.start * k..part.end * k].copy_from_slice(&ids);
                open.extend(more);
            },
        )?;
        Ok((ranked, open))
    }

    /// Ranks the candidates of a slot, until those that follow are too far away; false where other rows may not be.
    fn rank(&self, slot: usize, search: &Search, nearest: &mut Nearest) -> bool {
        nearest.clear();
        let (images, k) = (search.images, search.k);
        let mut farthest = f64::INFINITY;
        let is_beyond = |distance: f32, farthest: f64| {
            farthest < images.rounded_down(search.view.of_images_down(f64::from(distance)))
        };
        let distances = &self.distances[slot * self.most..];
        for (&row, &distance) in self.of(slot).iter().zip(distances) {
            // No row that follows, and none that is no candidate, is nearer than this one may be.
            if is_beyond(distance, farthest) {
                return true;
            }
            let entry = Entry::new(images.square(slot / 2, row as usize), row as usize);
            if nearest.len() < k || entry < nearest[k - 1] {
                offer(nearest, k, entry);
                if nearest.len() == k {
                    farthest = f64::from(nearest[k - 1].square()).sqrt();
                }
            }
        }
        let last = self.of(slot).len().checked_sub(1).map(|at| distances[at]);
        self.is_whole[slot] || last.is_some_and(|distance| is_beyond(distance, farthest))
    }
}

fn put(out: &mut [u32], nearest: &[Entry]) {
    out.iter_mut().zip(nearest).for_each(|(out, entry)| *out = entry.position() as u32);
}
