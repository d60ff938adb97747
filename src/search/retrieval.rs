//! At which places queries find the rows of their class, without an order of all rows.
//!
//! The squared distances of a query to its class, in order, are the steps of a [`Stair`]; each row of another class
//! is counted below one of them. So a row costs its product and a look into a table, where a sort would take some
//! twenty comparisons, and nothing is kept but a tile of products.
//!
//! Products lose digits, so that a distance is an interval: of rows of another class the lower end counts, of
//! relevant rows the upper one. What rounding cannot tell apart is against the query.

use super::arrange::{class_starts, median_row};
use crate::error::Result;
use crate::geometry::dot::squared_norm;
use crate::geometry::matrix::product_nt_fast;
use crate::geometry::rounding::{exponent, gamma, scale_by};
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Queries of a tile at most and at least, and rows of its other side.
const QUERIES: [usize; 2] = [16, 256];
const ROWS: usize = 512;
/// Steps that the queries of a tile may have together.
const STEPS: usize = 1 << 21;
/// Slots of a table for each step, and at most in all.
const SLOTS: usize = 8;
const MOST_SLOTS: usize = 1 << 14;
/// The bits of this number and those of its sum with a smaller one differ by an integer: the smaller, rounded.
const INTEGERS: f64 = (1u64 << 52) as f64;

/// Rows with class codes.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    pub rows: &'a [f64],
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
/// more. Rows as far as a relevant one, up to some `d 2⁻⁵²` of the squared distances from the median, come before it.
///
/// `O(m n d)` for products, and a tile of them for each thread.
pub fn precisions(
    gallery: &Coded,
    queries: &[f64],
    own: &[i64],
    team: &Team,
    control: &Control,
) -> Result<Vec<Precision>> {
    let shelf = Shelf::new(gallery, queries);
    // Queries of a class together, for they have the same relevant rows.
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&query| shelf.places[own[query] as usize]);
    control.expect(own.len());
    let mut found = vec![Precision { average: 0.0, average_at_r: 0.0, first: 0 }; own.len()];
    team.for_chunks(
        own.len(),
        (STEPS / shelf.largest_class()).clamp(QUERIES[0], QUERIES[1]),
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

/// The gallery, its classes one after the other, about its median and of magnitude one.
struct Shelf {
    centre: Vec<f64>,
    exponent: i32,
    rows: Vec<f64>,
    squares: Vec<f64>,
    starts: Vec<usize>,
    /// Where each row of the gallery went.
    places: Vec<usize>,
    /// A squared distance is off by no more than this part of the squares of both sides.
    rounding: f64,
}

impl Shelf {
    fn new(gallery: &Coded, queries: &[f64]) -> Self {
        let d = gallery.features;
        let largest = gallery.rows.iter().chain(queries).fold(0.0f64, |most, x| most.max(x.abs()));
        let starts = class_starts(gallery.codes, gallery.classes);
        let mut next = starts.clone();
        let mut shelf = Self {
            centre: vec![0.0; d],
            exponent: -exponent(largest).unwrap_or(0),
            rows: vec![0.0; gallery.rows.len()],
            squares: Vec::new(),
            starts,
            places: Vec::with_capacity(gallery.codes.len()),
            // Of products and squares, (‖x‖ + ‖z‖)² ≤ 2 (‖x‖² + ‖z‖²), and of the centred coordinates.
            rounding: 2.0 * gamma(d + 8),
        };
        shelf.centre = median_row(gallery.rows, d);
        shelf.centre.iter_mut().for_each(|c| *c = scale_by(*c, shelf.exponent));
        for (row, &code) in gallery.rows.chunks_exact(d).zip(gallery.codes) {
            let place = next[code as usize];
            next[code as usize] += 1;
            let centred = shelf.centred(row);
            shelf.rows[place * d..][..d].copy_from_slice(&centred);
            shelf.places.push(place);
        }
        shelf.squares = shelf.rows.chunks_exact(d).map(squared_norm).collect();
        shelf
    }

    fn centred(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.centre).map(|(&x, c)| scale_by(x, self.exponent) - c).collect()
    }

    fn rows(&self, range: &Range<usize>) -> &[f64] {
        let d = self.centre.len();
        &self.rows[range.start * d..range.end * d]
    }

    fn class_at(&self, place: usize) -> Range<usize> {
        let class = self.starts.partition_point(|&start| start <= place) - 1;
        self.starts[class]..self.starts[class + 1]
    }

    fn largest_class(&self) -> usize {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(1)
    }
}

/// A few queries, in the order of their classes.
struct Tile<'a> {
    shelf: &'a Shelf,
    rows: Vec<f64>,
    squares: Vec<f64>,
    classes: Vec<Range<usize>>,
    stairs: Vec<Stair>,
}

impl<'a> Tile<'a> {
    fn new(
        shelf: &'a Shelf,
        queries: &[f64],
        chosen: &[usize],
        own: &[i64],
        products: &mut Vec<f64>,
    ) -> Self {
        let d = shelf.centre.len();
        let rows: Vec<f64> =
            chosen.iter().flat_map(|&query| shelf.centred(&queries[query * d..][..d])).collect();
        let squares: Vec<f64> = rows.chunks_exact(d).map(squared_norm).collect();
        let places: Vec<usize> = chosen.iter().map(|&query| shelf.places[own[query] as usize]).collect();
        let classes: Vec<Range<usize>> = places.iter().map(|&place| shelf.class_at(place)).collect();
        let mut tile = Self { shelf, rows, squares, classes, stairs: Vec::with_capacity(chosen.len()) };
        let mut first = 0;
        while let Some(class) = tile.classes.get(first).cloned() {
            let last = first + tile.classes[first..].iter().take_while(|&other| *other == class).count();
            tile.multiply(first..last, &class, products);
            let squares = &shelf.squares[class.clone()];
            for (query, products) in (first..last).zip(products.chunks_exact(class.len())) {
                let own = tile.squares[query];
                let mut steps: Vec<f64> = products
                    .iter()
                    .zip(squares)
                    .map(|(&product, &square)| end_of(own, square, product, shelf.rounding))
                    .collect();
                steps.swap_remove(places[query] - class.start);
                tile.stairs.push(Stair::new(steps));
            }
            first = last;
        }
        tile
    }

    fn multiply(&self, queries: Range<usize>, rows: &Range<usize>, products: &mut Vec<f64>) {
        let d = self.shelf.centre.len();
        products.clear();
        products.resize(queries.len() * rows.len(), 0.0);
        product_nt_fast(&self.rows[queries.start * d..queries.end * d], self.shelf.rows(rows), d, products);
    }

    /// Counts all rows of other classes.
    fn count(&mut self, control: &Control, products: &mut Vec<f64>) {
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
                    let squares = &self.shelf.squares[part];
                    self.stairs[query].count(self.squares[query], squares, products, self.shelf.rounding);
                }
            }
        }
    }
}

/// A squared distance, and `rounding` of both squares more.
#[inline]
fn end_of(own: f64, square: f64, product: f64, rounding: f64) -> f64 {
    let squares = own + square;
    (squares - 2.0 * product) + rounding * squares
}

/// Squared distances of relevant rows, in order, and how many others are below each and above the one before.
struct Stair {
    /// One more at the end is infinite.
    steps: Vec<f64>,
    counts: Vec<u32>,
    /// Steps that are in slots before each one.
    table: Vec<u32>,
    scale: f64,
}

impl Stair {
    fn new(mut steps: Vec<f64>) -> Self {
        steps.sort_unstable_by(f64::total_cmp);
        let slots = (SLOTS * steps.len()).min(MOST_SLOTS);
        let (low, high) = (steps[0], steps[steps.len() - 1]);
        let scale = (slots as f64 / (high - low)).min(f64::MAX);
        let relevant = steps.len();
        steps.push(f64::INFINITY);
        let mut stair = Self { counts: vec![0; relevant], table: vec![0; slots + 2], steps, scale };
        for k in 0..relevant {
            let slot = slot(stair.steps[k], low, scale, slots as f64) as usize;
            stair.table[slot + 1] += 1;
        }
        for slot in 0..=slots {
            stair.table[slot + 1] += stair.table[slot];
        }
        stair
    }

    fn count(&mut self, own: f64, squares: &[f64], products: &[f64], rounding: f64) {
        const PIECE: usize = 128;
        let (low, scale, slots) = (self.steps[0], self.scale, (self.table.len() - 2) as f64);
        let high = self.steps[self.counts.len() - 1];
        let (mut distances, mut places) = ([0.0; PIECE], [0; PIECE]);
        for (squares, products) in squares.chunks(PIECE).zip(products.chunks(PIECE)) {
            // In loops of their own, which processors do many at once.
            for ((distance, &square), &product) in distances.iter_mut().zip(squares).zip(products) {
                *distance = end_of(own, square, product, -rounding);
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

/// Never falls as the distance grows, so that only steps of the same slot have to be compared.
#[inline]
fn slot(distance: f64, low: f64, scale: f64, slots: f64) -> u32 {
    let number = ((distance - low) * scale).max(0.0).min(slots);
    ((number + INTEGERS).to_bits() ^ INTEGERS.to_bits()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By a sort of all rows; those of other classes first where distances are equal.
    fn by_sorting(gallery: &Coded, query: &[f64], own: usize) -> Precision {
        let d = gallery.features;
        let mut rows: Vec<(f64, bool)> = (0..gallery.codes.len())
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
            shift in -500i32..480,
        ) {
            let scale = 2f64.powi(shift);
            let flat = |row: &Vec<i8>| -> Vec<f64> {
                row.iter().enumerate().map(|(k, &x)| scale * (f64::from(x) + 7.0 * k as f64)).collect()
            };
            let values: Vec<f64> = rows.iter().flat_map(|row| flat(&row.0)).collect();
            // Two of each class at least.
            let codes: Vec<i64> = rows.iter().enumerate()
                .map(|(k, row)| if k < 2 * classes { k / 2 } else { row.1 } as i64)
                .collect();
            let gallery = Coded { rows: &values, codes: &codes, classes, features: d };
            let asked: Vec<f64> = queries.iter().flat_map(|query| flat(&query.0)).collect();
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
