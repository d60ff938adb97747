//! At which places queries find the rows of their class, without an order of all rows.
//!
//! The squared distances of a query to its class, in order, are the steps of a [`Stair`]; each row of another class
//! is counted below one of them. So a row costs its product and a look into a table, where a sort would take some
//! twenty comparisons, and nothing is kept but a tile of products.

use super::arrange::class_starts;
use crate::error::Result;
use crate::geometry::matrix::product_nt32;
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Queries of a tile, and rows of its other side.
const QUERIES: usize = 256;
const ROWS: usize = 512;
/// Slots of a table for each step, and at most in all.
const SLOTS: usize = 8;
const MOST_SLOTS: usize = 1 << 14;
/// Distances are compared without the last of their bits.
const LAST_BIT: u32 = 1;
/// The bits of this number and those of its sum with a smaller one differ by an integer: the smaller, rounded.
const INTEGERS: f32 = (1 << 23) as f32;

/// Rows of binary32 with class codes.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    pub rows: &'a [f32],
    pub codes: &'a [i64],
    pub classes: usize,
    pub features: usize,
}

/// What a query finds. Relevant are the rows of its class but its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    /// Mean over relevant rows of the share of relevant rows among those up to it.
    pub average: f64,
    /// The same sum over the `R` nearest rows alone, over `R`, the number of relevant rows.
    pub average_at_r: f64,
    /// How many rows come before the first relevant one.
    pub first: usize,
}

/// The precision of each query, where `own` is the row of the gallery that it stands for, of a class of two rows or
/// more. Rows as far as a relevant one, up to the last bits of squared distances, come before it.
///
/// `O(m n d)` for products, and a tile of them for each thread.
pub fn precisions(
    gallery: &Coded,
    queries: &[f32],
    own: &[i64],
    team: &Team,
    control: &Control,
) -> Result<Vec<Precision>> {
    let shelf = Shelf::new(gallery);
    // Queries of a class together, for they have the same relevant rows.
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&query| shelf.places[own[query] as usize]);
    control.expect(own.len());
    let mut found = vec![Precision { average: 0.0, average_at_r: 0.0, first: 0 }; own.len()];
    team.for_chunks(
        own.len(),
        QUERIES,
        control,
        Vec::new,
        |products, range| {
            let mut tile = Tile::new(&shelf, queries, &order[range.clone()], own, products);
            tile.count(control, products);
            control.advance(range.len());
            tile.stairs.into_iter().map(|stair| stair.precision()).collect()
        },
        |range, part: Vec<Precision>| {
            order[range].iter().zip(part).for_each(|(&query, precision)| found[query] = precision);
        },
    )?;
    Ok(found)
}

/// The gallery, its classes one after the other.
struct Shelf {
    features: usize,
    rows: Vec<f32>,
    squares: Vec<f32>,
    starts: Vec<usize>,
    /// Where each row of the gallery went.
    places: Vec<usize>,
}

impl Shelf {
    fn new(gallery: &Coded) -> Self {
        let d = gallery.features;
        let starts = class_starts(gallery.codes, gallery.classes);
        let mut next = starts.clone();
        let mut rows = vec![0.0; gallery.rows.len()];
        let mut places = Vec::with_capacity(gallery.codes.len());
        for (row, &code) in gallery.rows.chunks_exact(d).zip(gallery.codes) {
            let place = next[code as usize];
            next[code as usize] += 1;
            rows[place * d..][..d].copy_from_slice(row);
            places.push(place);
        }
        let squares = rows.chunks_exact(d).map(square).collect();
        Self { features: d, rows, squares, starts, places }
    }

    fn rows(&self, range: &Range<usize>) -> &[f32] {
        &self.rows[range.start * self.features..range.end * self.features]
    }

    fn class_at(&self, place: usize) -> Range<usize> {
        let class = self.starts.partition_point(|&start| start <= place) - 1;
        self.starts[class]..self.starts[class + 1]
    }
}

fn square(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum()
}

/// A few queries, in the order of their classes.
struct Tile<'a> {
    shelf: &'a Shelf,
    rows: Vec<f32>,
    squares: Vec<f32>,
    classes: Vec<Range<usize>>,
    stairs: Vec<Stair>,
}

impl<'a> Tile<'a> {
    fn new(
        shelf: &'a Shelf,
        queries: &[f32],
        chosen: &[usize],
        own: &[i64],
        products: &mut Vec<f32>,
    ) -> Self {
        let d = shelf.features;
        let rows: Vec<f32> = chosen.iter().flat_map(|&query| &queries[query * d..][..d]).copied().collect();
        let squares: Vec<f32> = rows.chunks_exact(d).map(square).collect();
        let places: Vec<usize> = chosen.iter().map(|&query| shelf.places[own[query] as usize]).collect();
        let classes: Vec<Range<usize>> = places.iter().map(|&place| shelf.class_at(place)).collect();
        let mut tile = Self { shelf, rows, squares, classes, stairs: Vec::with_capacity(chosen.len()) };
        let mut first = 0;
        while let Some(class) = tile.classes.get(first).cloned() {
            let last = first + tile.classes[first..].iter().take_while(|&other| *other == class).count();
            tile.multiply(first..last, &class, products);
            let squares = &shelf.squares[class.clone()];
            for (query, products) in (first..last).zip(products.chunks_exact(class.len())) {
                let mut steps: Vec<f32> = products
                    .iter()
                    .zip(squares)
                    .map(|(&product, &square)| comparable(tile.squares[query], square, product))
                    .collect();
                steps.swap_remove(places[query] - class.start);
                tile.stairs.push(Stair::new(steps));
            }
            first = last;
        }
        tile
    }

    fn multiply(&self, queries: Range<usize>, rows: &Range<usize>, products: &mut Vec<f32>) {
        let d = self.shelf.features;
        products.clear();
        products.resize(queries.len() * rows.len(), 0.0);
        product_nt32(&self.rows[queries.start * d..queries.end * d], self.shelf.rows(rows), d, products);
    }

    /// Counts all rows of other classes.
    fn count(&mut self, control: &Control, products: &mut Vec<f32>) {
        let all = 0..self.squares.len();
        for start in (0..self.shelf.squares.len()).step_by(ROWS) {
            if control.is_interrupted() {
                return;
            }
            let block = start..self.shelf.squares.len().min(start + ROWS);
            self.multiply(all.clone(), &block, products);
            for (query, products) in products.chunks_exact(block.len()).enumerate() {
                let class = &self.classes[query];
                let before = block.start..class.start.clamp(block.start, block.end);
                let after = class.end.clamp(block.start, block.end)..block.end;
                for part in [before, after] {
                    let products = &products[part.start - start..part.end - start];
                    self.stairs[query].count(self.squares[query], &self.shelf.squares[part], products);
                }
            }
        }
    }
}

/// A squared distance, without the last bit.
#[inline]
fn comparable(own: f32, square: f32, product: f32) -> f32 {
    f32::from_bits(((own + square) - 2.0 * product).max(0.0).to_bits() & !LAST_BIT)
}

/// Squared distances of relevant rows, in order, and how many others are below each and above the one before.
struct Stair {
    /// One more at the end is infinite.
    steps: Vec<f32>,
    counts: Vec<u32>,
    /// Steps that are in slots before each one.
    table: Vec<u32>,
    scale: f32,
}

impl Stair {
    fn new(mut steps: Vec<f32>) -> Self {
        steps.sort_unstable_by(f32::total_cmp);
        let slots = (SLOTS * steps.len()).min(MOST_SLOTS);
        let (low, high) = (steps[0], steps[steps.len() - 1]);
        let scale = (slots as f32 / (high - low)).min(f32::MAX);
        let relevant = steps.len();
        steps.push(f32::INFINITY);
        let mut stair = Self { counts: vec![0; relevant], table: vec![0; slots + 2], steps, scale };
        for k in 0..relevant {
            let slot = stair.slot(stair.steps[k]);
            stair.table[slot + 1] += 1;
        }
        for slot in 0..=slots {
            stair.table[slot + 1] += stair.table[slot];
        }
        stair
    }

    /// Never falls as the distance grows, so that only steps of the same slot have to be compared.
    #[inline]
    fn slot(&self, distance: f32) -> usize {
        slot(distance, self.steps[0], self.scale, (self.table.len() - 2) as f32) as usize
    }

    fn count(&mut self, own: f32, squares: &[f32], products: &[f32]) {
        const PIECE: usize = 128;
        let (low, scale, slots) = (self.steps[0], self.scale, (self.table.len() - 2) as f32);
        let high = self.steps[self.counts.len() - 1];
        let (mut distances, mut places) = ([0.0; PIECE], [0; PIECE]);
        for (squares, products) in squares.chunks(PIECE).zip(products.chunks(PIECE)) {
            // In loops of their own, which processors do many at once.
            for ((distance, &square), &product) in distances.iter_mut().zip(squares).zip(products) {
                *distance = comparable(own, square, product);
            }
            for (place, &distance) in places.iter_mut().zip(&distances) {
                *place = slot(distance, low, scale, slots);
            }
            // What is farther than all steps is left out without a branch, which nothing could foresee.
            let mut kept = 0;
            for k in 0..squares.len() {
                (distances[kept], places[kept]) = (distances[k], places[k]);
                kept += usize::from(distances[k] <= high);
            }
            for (&distance, &place) in distances[..kept].iter().zip(&places) {
                // Steps of later slots are larger, and most slots have one or none.
                let mut step = self.table[place as usize] as usize;
                step += usize::from(self.steps[step] < distance);
                if self.steps[step] < distance {
                    let last = self.table[place as usize + 1] as usize;
                    step += self.steps[step..last].partition_point(|&step| step < distance);
                }
                self.counts[step] += 1;
            }
        }
    }

    fn precision(&self) -> Precision {
        let relevant = self.counts.len();
        let (mut place, mut sum, mut sum_at_r) = (0, 0.0, 0.0);
        for (before, &count) in self.counts.iter().enumerate() {
            place += count as usize + 1;
            let precision = (before + 1) as f64 / place as f64;
            sum += precision;
            if place <= relevant {
                sum_at_r += precision;
            }
        }
        let relevant = relevant as f64;
        Precision {
            average: sum / relevant,
            average_at_r: sum_at_r / relevant,
            first: self.counts[0] as usize,
        }
    }
}

#[inline]
fn slot(distance: f32, low: f32, scale: f32, slots: f32) -> u32 {
    let number = ((distance - low) * scale).max(0.0).min(slots);
    (number + INTEGERS).to_bits() ^ INTEGERS.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By a sort of all rows; those of other classes first where distances are equal.
    fn by_sorting(gallery: &Coded, query: &[f32], own: usize) -> Precision {
        let d = gallery.features;
        let mut rows: Vec<(f32, bool)> = (0..gallery.codes.len())
            .filter(|&row| row != own)
            .map(|row| {
                let gap =
                    gallery.rows[row * d..][..d].iter().zip(query).map(|(x, z)| (x - z) * (x - z)).sum();
                (gap, gallery.codes[row] == gallery.codes[own])
            })
            .collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let relevant = rows.iter().filter(|row| row.1).count();
        let (mut hits, mut sum, mut sum_at_r, mut first) = (0, 0.0, 0.0, None);
        for (place, _) in rows.iter().enumerate().filter(|(_, row)| row.1) {
            hits += 1;
            first.get_or_insert(place);
            let precision = f64::from(hits) / (place + 1) as f64;
            sum += precision;
            sum_at_r += if place < relevant { precision } else { 0.0 };
        }
        let count = relevant as f64;
        Precision { average: sum / count, average_at_r: sum_at_r / count, first: first.unwrap() }
    }

    proptest! {
        // Whole numbers, whose squared distances are exact; many of them are equal.
        #[test]
        fn places_are_those_of_a_sort(
            (d, classes, rows, queries) in (1usize..4, 1usize..5, 0usize..90).prop_flat_map(|(d, classes, more)| {
                let n = 2 * classes + more;
                let row = || prop::collection::vec(-6i8..7, d);
                (Just(d), Just(classes), prop::collection::vec((row(), 0..classes), n), prop::collection::vec((row(), 0..n), 1..80))
            }),
            jobs in 1usize..3,
            shift in -40i32..40,
        ) {
            let scale = 2f32.powi(shift);
            let flat = |row: &Vec<i8>| -> Vec<f32> { row.iter().map(|&x| scale * f32::from(x)).collect() };
            let values: Vec<f32> = rows.iter().flat_map(|row| flat(&row.0)).collect();
            // Two of each class at least.
            let codes: Vec<i64> = rows.iter().enumerate()
                .map(|(k, row)| if k < 2 * classes { k / 2 } else { row.1 } as i64)
                .collect();
            let gallery = Coded { rows: &values, codes: &codes, classes, features: d };
            let asked: Vec<f32> = queries.iter().flat_map(|query| flat(&query.0)).collect();
            let own: Vec<i64> = queries.iter().map(|query| query.1 as i64).collect();
            let found = precisions(&gallery, &asked, &own, &Team::new(jobs).unwrap(), &Control::default()).unwrap();
            for (k, found) in found.iter().enumerate() {
                let expected = by_sorting(&gallery, &asked[k * d..][..d], own[k] as usize);
                prop_assert!((found.average - expected.average).abs() < 1e-12, "{found:?} {expected:?}");
                prop_assert!((found.average_at_r - expected.average_at_r).abs() < 1e-12);
                prop_assert_eq!(found.first, expected.first);
            }
        }
    }
}
