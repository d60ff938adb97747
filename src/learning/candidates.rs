//! Rows that may be the nearest ones, kept while a metric changes: as long as it has changed little, all others are
//! still farther away, and only the first of the kept ones have to be compared.

use crate::error::Result;
use crate::learning::images::{Images, View};
use crate::learning::lists::{Entry, Lists};
use crate::parallel::{Control, Team};

/// Slots of a chunk of the work.
const CHUNK: usize = 128;

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

/// The nearest ones: `(n, 2, k)` positions, nearest first; `u32::MAX` where there are no more.
pub struct Ranked {
    pub rows: Vec<u32>,
    /// For how many slots all rows had to be compared.
    pub open: usize,
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

    /// The `k` nearest rows by (computed square, position), the same as if all rows were compared. `others` gives all
    /// rows of a slot's kind. None where more than `patience` slots would need all of them.
    pub fn nearest<I: Iterator<Item = usize>>(
        &mut self,
        search: &Search,
        patience: usize,
        others: impl Fn(usize) -> I + Sync,
    ) -> Result<Option<Ranked>> {
        let (mut rows, open) = self.rank_all(search)?;
        if open.len() > patience {
            return Ok(None);
        }
        let (images, most, mut known) = (search.images, self.most, Vec::new());
        search.team.for_chunks(
            open.len(),
            1,
            search.control,
            || (),
            |(), part| {
                let slot = open[part.start];
                let mut nearest = Nearest::with_capacity(most + 1);
                for row in others(slot) {
                    offer(&mut nearest, most, Entry::new(images.square(slot / 2, row), row));
                }
                (slot, nearest)
            },
            |_, found: (usize, Nearest)| known.push(found),
        )?;
        for (slot, nearest) in known {
            put(&mut rows[slot * search.k..][..search.k], &nearest);
            let down = |e: &Entry| search.view.of_reference_down(images.distance_down(e.square()));
            self.set(slot, &nearest, down, nearest.len() < most);
        }
        Ok(Some(Ranked { rows, open: open.len() }))
    }

    /// What is found among the candidates, and the slots where another row may be nearer.
    fn rank_all(&self, search: &Search) -> Result<(Vec<u32>, Vec<usize>)> {
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
        for (&row, &distance) in self.of(slot).iter().zip(&self.distances[slot * self.most..]) {
            let square = images.square(slot / 2, row as usize);
            offer(nearest, k, Entry::new(square, row as usize));
            if nearest.len() == k {
                let farthest = f64::from(nearest[k - 1].square()).sqrt();
                if farthest < images.computed_down(search.view.of_images_down(f64::from(distance))) {
                    return true;
                }
            }
        }
        self.is_whole[slot]
    }
}

fn put(out: &mut [u32], nearest: &[Entry]) {
    out.iter_mut().zip(nearest).for_each(|(out, entry)| *out = entry.position() as u32);
}
