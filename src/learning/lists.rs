//! The nearest rows of all rows at once, out of pairs that come in any order.

use crate::learning::scan::{Line, Scan, best, hits};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Same,
    Other,
}

/// A row and its squared distance, in the order of (square, position).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(u64);

impl Entry {
    /// `square` is not negative: its bits are in the order of numbers.
    #[must_use]
    pub fn new(square: f32, position: usize) -> Self {
        Self(u64::from(square.to_bits()) << 32 | position as u64)
    }

    #[must_use]
    pub fn square(self) -> f32 {
        f32::from_bits((self.0 >> 32) as u32)
    }

    #[must_use]
    pub fn position(self) -> usize {
        self.0 as u32 as usize
    }
}

/// For every slot, twice a position and the kind, the least entries of those that were offered: `k` of them, and less
/// than `k` others.
///
/// An entry is only put down; when there are twice as many as are wanted, the larger half goes.
pub struct Lists {
    k: usize,
    /// `(n, 2, 2 k)`.
    entries: Vec<Entry>,
    filled: Vec<u32>,
    /// `(2, n)`: nothing beyond is taken.
    limits: Limits,
    scan: Scan,
}

/// For both kinds, of each position a square beyond which nothing is worth taking.
pub type Limits = [Vec<f32>; 2];

impl Lists {
    pub fn new(n: usize, k: usize, limits: Limits) -> Self {
        Self { k, entries: vec![Entry(0); 4 * n * k], filled: vec![0; 2 * n], limits, scan: best() }
    }

    /// Begins anew in the same memory.
    pub fn reset(&mut self, limits: &Limits) {
        self.filled.fill(0);
        self.limits.iter_mut().zip(limits).for_each(|(own, limits)| own.copy_from_slice(limits));
    }

    #[must_use]
    pub fn fits(&self, n: usize, k: usize) -> bool {
        self.k == k && self.filled.len() == 2 * n
    }

    /// The `k` least entries of a slot in several lists, in order.
    pub fn least(lists: &[Self], slot: usize, found: &mut Vec<Entry>) {
        found.clear();
        for list in lists {
            found.extend_from_slice(&list.entries[slot * 2 * list.k..][..list.filled[slot] as usize]);
        }
        let k = lists.first().map_or(0, |list| list.k);
        if found.len() > k {
            found.select_nth_unstable(k - 1);
            found.truncate(k);
        }
        found.sort_unstable();
    }

    /// Offers the pairs of a row with the rows from `start` on, of which `products` has the products.
    pub fn offer_line(&mut self, kind: Kind, row: usize, start: usize, products: &[f32], squares: &[f32]) {
        let limits = &self.limits[kind as usize];
        let (own, squares) = (squares[row], &squares[start..][..products.len()]);
        let line =
            Line { own, limit: limits[row], products, squares, limits: &limits[start..][..products.len()] };
        for k in hits((self.scan)(&line)) {
            let square = ((own + squares[k]) - 2.0 * products[k]).max(0.0);
            self.offer(kind, row, Entry::new(square, start + k));
            self.offer(kind, start + k, Entry::new(square, row));
        }
    }

    fn offer(&mut self, kind: Kind, position: usize, entry: Entry) {
        let limit = &mut self.limits[kind as usize][position];
        if entry.square() > *limit {
            return;
        }
        let (slot, k) = (2 * position + kind as usize, self.k);
        let list = &mut self.entries[slot * 2 * k..][..2 * k];
        let filled = &mut self.filled[slot];
        list[*filled as usize] = entry;
        *filled += 1;
        if *filled as usize == 2 * k {
            let (_, last, _) = list.select_nth_unstable(k - 1);
            *limit = limit.min(last.square());
            *filled = k as u32;
        }
    }
}
