//! Neighbourhood components analysis: the chances that a row's neighbour is of its class, and their gradient with respect
//! to the components (Goldberger et al., NIPS 2004).
//!
//! The neighbour of a row is drawn with `p_ij = exp(−‖G(x_i − x_j)‖²) / Σ_l exp(−‖G(x_i − x_l)‖²)`. Its chance to be of the
//! same class is `p_i = Σ_{y_j = y_i} p_ij`, and with `w_ij = p_ij (1[y_j = y_i] − p_i)`
//!
//! ```text
//! f = Σ p_i,   ∂f/∂G = −2 G Σ w_ij (x_i − x_j)(x_i − x_j)ᵀ.
//! ```
//!
//! The weights of a row add up to 0, so the sum is `T + Tᵀ` with `T = Σ_i x_i (c_i x_i / 2 − Σ_j w_ij x_j)ᵀ`, where `c` are the
//! sums of the columns of `w`. Of a row only pairs count that are not much farther than the nearest: products in binary32
//! find them, along a few axes first where images are long; differences in binary64 measure them. Where most count,
//! products in binary64 take the place of both.

use crate::error::Result;
use crate::geometry::dot::{axpy, dot, squared_distance};
use crate::geometry::matrix::{product_nt, product_nt_fast, transposed};
use crate::geometry::rounding::{exponent, power_of_two};
use crate::learning::near_images::NearImages;
use crate::learning::outer::{Outer, PARTS, add_product_tn};
use crate::learning::single::Single;
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Terms smaller than `exp(−CUT)` of a row's largest, 10⁻¹³, are left out.
const CUT: f64 = 30.0;
/// Rows whose pairs are held at once.
const BLOCK: usize = 256;
/// Columns of pairs that are measured together: their rows stay in the cache.
const STRIP: usize = 32;
/// Products take the place of differences where one in so many pairs counts.
const MANY: usize = 12;

/// Rows around the origin, of magnitude one, and a class for each.
#[derive(Debug, Clone, Copy)]
pub struct Classes<'a> {
    pub rows: &'a [f64],
    pub features: usize,
    pub codes: &'a [i64],
}

/// `Σ p_i`, and its gradient `(p, d)`.
#[derive(Debug, Clone)]
pub struct Chances {
    pub sum: f64,
    pub gradient: Vec<f64>,
}

impl Classes<'_> {
    /// Cost: `n² p` in binary32, or `128 n²` for `p ≥ 256` where few pairs are near, `p + d` for a pair that counts, and
    /// `n d (2 p + 2 d)`; `2 n² (p + d)` where most pairs count.
    /// Memory: `n p` numbers in both precisions, `2 PARTS` matrices of `d²`, and up to `2 BLOCK n` numbers in each thread.
    pub fn chances(&self, components: &[f64], team: &Team, control: &Control) -> Result<Chances> {
        let (n, d) = (self.codes.len(), self.features);
        let images = Images::new(self, components, team, control)?;
        let near = NearImages::new(&images.single, CUT / images.unit, team, control)?;
        let share = n.div_ceil(PARTS).max(1);
        let mut parts: Vec<Option<Sums>> = vec![None; n.div_ceil(share)];
        control.expect(n);
        team.for_chunks(
            n,
            share,
            control,
            || (),
            |(), part| {
                let mut sums = Sums { chance: 0.0, columns: vec![0.0; n], outer: Outer::new(d) };
                for block in blocks(part).take_while(|_| !control.is_interrupted()) {
                    control.advance(block.len());
                    images.add(self, &near.of(&block), block, &mut sums);
                }
                sums
            },
            |part, found| parts[part.start / share] = Some(found),
        )?;
        let (mut sum, mut columns, mut outer) = (0.0, vec![0.0; n], Vec::new());
        for part in parts.into_iter().flatten() {
            sum += part.chance;
            axpy(&mut columns, 1.0, &part.columns);
            outer.push(part.outer);
        }
        outer.append(&mut self.squares(&columns, share, team, control)?);
        let symmetric = Outer::symmetric(d, outer.into_iter());
        let mut gradient = vec![0.0; components.len()];
        product_nt(components, &symmetric, d, &mut gradient);
        gradient.iter_mut().for_each(|x| *x *= -2.0);
        Ok(Chances { sum, gradient })
    }

    /// `Σ c_i x_i x_iᵀ / 2`, in parts.
    fn squares(&self, columns: &[f64], share: usize, team: &Team, control: &Control) -> Result<Vec<Outer>> {
        let d = self.features;
        let mut sums = vec![None; columns.len().div_ceil(share)];
        team.for_chunks(
            columns.len(),
            share,
            control,
            || (),
            |(), part| {
                let mut sum = Outer::new(d);
                for block in blocks(part) {
                    let rows = self.rows_of(&block);
                    let halves = rows.chunks_exact(d).zip(&columns[block]);
                    let halves: Vec<f64> =
                        halves.flat_map(|(x, c)| x.iter().map(move |x| 0.5 * c * x)).collect();
                    sum.add(rows, &halves);
                }
                sum
            },
            |part, sum| sums[part.start / share] = Some(sum),
        )?;
        Ok(sums.into_iter().flatten().collect())
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.features..][..self.features]
    }

    fn rows_of(&self, block: &Range<usize>) -> &[f64] {
        &self.rows[block.start * self.features..block.end * self.features]
    }
}

fn blocks(part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    part.clone().step_by(BLOCK).map(move |start| start..part.end.min(start + BLOCK))
}

#[derive(Debug, Clone)]
struct Sums {
    chance: f64,
    /// `Σ_i w_ij`.
    columns: Vec<f64>,
    /// `−Σ w_ij x_i x_jᵀ`.
    outer: Outer,
}

/// Rows under components of magnitude one, in both precisions.
struct Images {
    values: Vec<f64>,
    single: Single,
    squares: Vec<f64>,
    dimensions: usize,
    /// What squared distances of images are multiplied by, to be those of the metric.
    unit: f64,
    /// Of `squares`.
    largest: f64,
}

impl Images {
    fn new(rows: &Classes, components: &[f64], team: &Team, control: &Control) -> Result<Self> {
        let (n, d) = (rows.codes.len(), rows.features);
        let p = components.len() / d;
        let size = exponent(components.iter().fold(0.0f64, |m, x| m.max(x.abs()))).unwrap_or(0);
        let shrink = power_of_two((-size).clamp(-1000, 1000));
        let map: Vec<f64> = components.iter().map(|x| x * shrink).collect();
        let mut values = vec![0.0; n * p];
        team.fill(&mut values, p, BLOCK, control, |block, images| {
            product_nt_fast(rows.rows_of(&block), &map, d, images);
        })?;
        let single = Single::new(&values, p);
        let squares: Vec<f64> = values.chunks_exact(p).map(|z| dot(z, z)).collect();
        let largest = squares.iter().fold(0.0f64, |m, &x| m.max(x));
        let unit = power_of_two((2 * size).clamp(-1000, 1000));
        Ok(Self { values, single, squares, dimensions: p, unit, largest })
    }

    /// Adds what the rows of a block make of their pairs.
    fn add(&self, rows: &Classes, near: &[Vec<u32>], block: Range<usize>, sums: &mut Sums) {
        let mut partners = vec![0.0; block.len() * rows.features];
        let counted: usize = near.iter().map(Vec::len).sum();
        if counted * MANY > block.len() * self.squares.len() && self.has_exact_products() {
            self.subtract_all(rows, &block, sums, &mut partners);
        } else {
            self.subtract_near(rows, &block, near, sums, &mut partners);
        }
        sums.outer.add(rows.rows_of(&block), &partners);
    }

    /// Whether squares from products in binary64 are as good as those of differences, for the exponential.
    fn has_exact_products(&self) -> bool {
        4.0 * (self.dimensions as f64 + 8.0) * f64::EPSILON * self.largest * self.unit < 1e-9
    }

    fn of(&self, range: &Range<usize>) -> &[f64] {
        &self.values[range.start * self.dimensions..range.end * self.dimensions]
    }

    fn row(&self, i: usize) -> &[f64] {
        self.of(&(i..i + 1))
    }

    /// Subtracts `Σ_j w_ij x_j` over the near rows `j` from `partners`, for all `i` of a block.
    fn subtract_near(
        &self,
        rows: &Classes,
        block: &Range<usize>,
        near: &[Vec<u32>],
        sums: &mut Sums,
        partners: &mut [f64],
    ) {
        let mut weights: Vec<Vec<f64>> = near.iter().map(|near| vec![0.0; near.len()]).collect();
        by_strips(near, |k, at, j| {
            weights[k][at] = squared_distance(self.row(block.start + k), self.row(j), 1.0);
        });
        for ((i, near), weights) in block.clone().zip(near).zip(&mut weights) {
            let is_own = |at: usize| rows.codes[near[at] as usize] == rows.codes[i];
            sums.chance += weigh(weights, self.unit, is_own);
        }
        by_strips(near, |k, at, j| {
            let weight = weights[k][at];
            if weight != 0.0 {
                sums.columns[j] += weight;
                axpy(&mut partners[k * rows.features..][..rows.features], -weight, rows.row(j));
            }
        });
    }

    /// The same over all rows.
    fn subtract_all(&self, rows: &Classes, block: &Range<usize>, sums: &mut Sums, partners: &mut [f64]) {
        let n = self.squares.len();
        let mut weights = vec![0.0; block.len() * n];
        product_nt_fast(self.of(block), &self.values, self.dimensions, &mut weights);
        for (i, weights) in block.clone().zip(weights.chunks_exact_mut(n)) {
            let squares = weights.iter_mut().zip(&self.squares);
            squares.for_each(|(w, square)| *w = ((self.squares[i] + square) - 2.0 * *w).max(0.0));
            weights[i] = f64::INFINITY;
            sums.chance += weigh(weights, self.unit, |j| rows.codes[j] == rows.codes[i]);
            axpy(&mut sums.columns, 1.0, weights);
        }
        let mut columns = transposed(&weights, n);
        columns.iter_mut().for_each(|w| *w = -*w);
        add_product_tn(&columns, block.len(), rows.rows, rows.features, partners);
    }
}

/// Calls `visit` with the number of a list, the place in it and what is there, for all of some lists in order: those of a
/// strip of rows together.
fn by_strips(lists: &[Vec<u32>], mut visit: impl FnMut(usize, usize, usize)) {
    let mut places = vec![0; lists.len()];
    let last = lists.iter().filter_map(|list| list.last()).max().map_or(0, |&last| last as usize + 1);
    for end in (0..last).step_by(STRIP).map(|start| start + STRIP) {
        for (k, (list, place)) in lists.iter().zip(&mut places).enumerate() {
            while let Some(&j) = list.get(*place).filter(|&&j| (j as usize) < end) {
                visit(k, *place, j as usize);
                *place += 1;
            }
        }
    }
}

/// Makes weights `p_ij (1[y_j = y_i] − p_i)` of the squared distances of a row's pairs; `p_i`.
fn weigh(squares: &mut [f64], unit: f64, is_own: impl Fn(usize) -> bool) -> f64 {
    let nearest = squares.iter().fold(f64::INFINITY, |m, &x| m.min(x));
    let (mut all, mut own) = (0.0, 0.0);
    for (k, entry) in squares.iter_mut().enumerate() {
        let gap = (*entry - nearest) * unit;
        *entry = if gap <= CUT { (-gap).exp() } else { 0.0 };
        all += *entry;
        own += if is_own(k) { *entry } else { 0.0 };
    }
    let chance = own / all;
    for (k, entry) in squares.iter_mut().enumerate() {
        *entry *= if is_own(k) { 1.0 - chance } else { -chance } / all;
    }
    chance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::outer::tests::noise;
    use proptest::prelude::*;

    /// `Σ p_i` as it is written.
    fn by_hand(rows: &[f64], d: usize, codes: &[i64], g: &[f64]) -> f64 {
        let image = |row: &[f64]| -> Vec<f64> { g.chunks_exact(d).map(|g| dot(g, row)).collect() };
        let images: Vec<_> = rows.chunks_exact(d).map(image).collect();
        let square = |i: usize, j: usize| squared_distance(&images[i], &images[j], 1.0);
        let n = codes.len();
        (0..n)
            .map(|i| {
                let others = || (0..n).filter(|&j| j != i);
                let nearest = others().map(|j| square(i, j)).fold(f64::INFINITY, f64::min);
                let chance = |j: usize| (nearest - square(i, j)).exp();
                let own: f64 = others().filter(|&j| codes[j] == codes[i]).map(chance).sum();
                own / others().map(chance).sum::<f64>()
            })
            .sum()
    }

    fn chances(rows: &[f64], d: usize, codes: &[i64], g: &[f64], jobs: usize) -> Chances {
        let classes = Classes { rows, features: d, codes };
        classes.chances(g, &Team::new(jobs).unwrap(), &Control::default()).unwrap()
    }

    fn codes(n: usize) -> Vec<i64> {
        (0..n as i64).map(|i| i * 7 % 3).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chances_are_those_of_the_definition(
            n in 2usize..400, p in 1usize..5, size in -2i32..9, seed in any::<u32>(), jobs in 1usize..3,
        ) {
            let d = 4;
            let (rows, codes) = (noise(n * d, seed.into()), codes(n));
            let g: Vec<f64> = noise(p * d, u64::from(seed) + 1).iter().map(|x| x * f64::from(size).exp2()).collect();
            let (found, expected) = (chances(&rows, d, &codes, &g, jobs).sum, by_hand(&rows, d, &codes, &g));
            prop_assert!((found - expected).abs() < 1e-8 * n as f64, "{found} {expected}");
        }

        #[test]
        fn gradient_is_that_of_finite_differences(
            n in 2usize..60, size in -2i32..4, seed in any::<u32>(), entry in 0usize..6,
        ) {
            let d = 3;
            let (rows, codes, size) = (noise(n * d, seed.into()), codes(n), f64::from(size).exp2());
            let g: Vec<f64> = noise(2 * d, u64::from(seed) + 1).iter().map(|x| x * size).collect();
            let step = 1e-5;
            let at = |shift: f64| {
                let mut g = g.clone();
                g[entry] += shift;
                by_hand(&rows, d, &codes, &g)
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let found = chances(&rows, d, &codes, &g, 1).gradient[entry];
            prop_assert!((slope - found).abs() < 1e-5 * (1.0 + n as f64), "{slope} {found}");
        }
    }

    /// Few pairs count where clusters are far apart, all where the metric is small: both ways, one answer.
    #[test]
    fn pairs_that_are_far_do_not_count() {
        let (n, d) = (900, 6);
        let mut rows = noise(n * d, 3);
        rows.chunks_exact_mut(d)
            .enumerate()
            .for_each(|(i, row)| row.iter_mut().for_each(|x| *x = 0.05 * *x + (i % 30) as f64 / 30.0));
        let codes = codes(n);
        for size in [0.1, 1.0, 20.0, 1e3] {
            let g: Vec<f64> = noise(d * d, 4).iter().map(|x| x * size).collect();
            let (found, expected) = (chances(&rows, d, &codes, &g, 2), by_hand(&rows, d, &codes, &g));
            assert!((found.sum - expected).abs() < 1e-9 * n as f64, "{size} {} {expected}", found.sum);
        }
    }

    /// Long images are compared along axes first where few pairs are near, also where rows depend on each other.
    #[test]
    fn pairs_of_long_images_count_as_short_ones_do() {
        let (n, d) = (1200, 260);
        let (codes, centers) = (codes(n), noise(40 * d, 5));
        for rank in [3, d] {
            let mut rows = noise(n * d, 6);
            for (i, row) in rows.chunks_exact_mut(d).enumerate() {
                row[rank..].fill(0.0);
                axpy(&mut row[..rank], 20.0, &centers[i % 40 * d..][..rank]);
            }
            for size in [0.03, 0.3, 1.0, 30.0] {
                let g: Vec<f64> = noise(d * d, 7).iter().map(|x| x * size / (d as f64).sqrt()).collect();
                let (found, expected) = (chances(&rows, d, &codes, &g, 2), by_hand(&rows, d, &codes, &g));
                let off = (found.sum - expected).abs();
                assert!(off < 1e-8 * n as f64, "{rank} {size} {} {expected}", found.sum);
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (n, d) = (3000, 5);
        let (rows, codes) = (noise(n * d, 1), codes(n));
        for size in [1.0, 50.0] {
            let g: Vec<f64> = noise(3 * d, 2).iter().map(|x| x * size).collect();
            let bits = |jobs| {
                let found = chances(&rows, d, &codes, &g, jobs);
                [vec![found.sum], found.gradient].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            assert!(bits(1) == bits(3));
        }
    }

    #[test]
    fn metrics_of_every_size_have_chances() {
        let (rows, codes) = ([0.0, 0.25, 0.25, 1.0], [0, 0, 1, 1]);
        for size in [0.0, 1e-300, 1e-30, 1.0, 1e30, 1e300] {
            let found = chances(&rows, 1, &codes, &[size], 1);
            assert!(found.sum.is_finite() && found.gradient[0].is_finite(), "{size} {found:?}");
            assert!((0.0..=4.0).contains(&found.sum));
        }
    }
}
