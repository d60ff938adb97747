//! Sums over all impostors where they are many, over all pairs of rows.
//!
//! Distances are compared in binary32, each pair once: products of tiles of 256 rows, in place of distances
//! `‖a‖² + ‖b‖² − 2⟨a, b⟩`; in binary64 where those are too near a limit to decide. Sums are in binary64.

use crate::error::Result;
use crate::geometry::matrix::product_nt32;
use crate::learning::images::vanished;
use crate::learning::impostors::{Found, Scene, Sum};
use crate::learning::outer::{BLOCK, Outer, PARTS, add_product_tn};
use crate::learning::single::Single;
use crate::parallel::{Control, Team};
use std::ops::Range;

impl Scene<'_> {
    /// Cost: `n² (p + d) / 2`, and `n² k` comparisons. Memory: `PARTS` times `d²` and `n (k + 1)`.
    pub fn sums(&self, team: &Team, control: &Control) -> Result<Found> {
        let ([n, _, k], d) = (self.shape(), self.rows.len() / self.codes.len());
        let lines = Lines::new(self);
        let tiles = n.div_ceil(BLOCK);
        control.expect(tiles * (tiles + 1) / 2);
        let mut sums: Vec<Option<Part>> = vec![None; PARTS];
        team.for_chunks(
            PARTS,
            1,
            control,
            || (),
            |(), part| {
                let mut sum = Part { hits: vec![0; n * k], degrees: vec![0.0; n], outer: Outer::new(d) };
                // Rows of tiles grow longer, so that every sixteenth is a fair share.
                for tile in (part.start..tiles).step_by(PARTS) {
                    if control.is_interrupted() {
                        break;
                    }
                    self.add_tiles(&lines, tile, &mut sum);
                    control.advance(tile + 1);
                }
                sum
            },
            |part, sum| sums[part.start] = Some(sum),
        )?;
        Ok(self.total(n, k, d, sums.into_iter().flatten().collect()))
    }

    /// The pairs of a tile with those before it, and with itself.
    fn add_tiles(&self, lines: &Lines, tile: usize, sum: &mut Part) {
        let n = self.codes.len();
        let d = self.rows.len() / n;
        let range = |tile: usize| tile * BLOCK..n.min((tile + 1) * BLOCK);
        let own = range(tile);
        let mut partners = vec![0.0; own.len() * d];
        for others in (0..=tile).map(range) {
            let weights = lines.weigh(&own, &others, sum);
            let rows = &self.rows[others.start * d..others.end * d];
            if let Some(weights) = weights {
                add_product_tn(&weights, own.len(), rows, d, &mut partners);
            }
        }
        partners.iter_mut().for_each(|x| *x = -*x);
        sum.outer.add(&self.rows[own.start * d..own.end * d], &partners);
    }

    fn total(&self, n: usize, k: usize, d: usize, sums: Vec<Part>) -> Found {
        let (mut hits, mut degrees) = (vec![0i64; n * k], vec![0.0; n]);
        for sum in &sums {
            hits.iter_mut().zip(&sum.hits).for_each(|(h, &x)| *h += i64::from(x));
            degrees.iter_mut().zip(&sum.degrees).for_each(|(d, x)| *d += x);
        }
        let mut own = Outer::new(d);
        for (start, rows) in self.rows.chunks(BLOCK * d).enumerate() {
            let mut halves = rows.to_vec();
            for (half, degree) in halves.chunks_exact_mut(d).zip(&degrees[start * BLOCK..]) {
                half.iter_mut().for_each(|x| *x *= 0.5 * degree);
            }
            own.add(rows, &halves);
        }
        let outer = Outer::symmetric(d, sums.into_iter().map(|sum| sum.outer).chain([own]));
        let counts = (0..n * k).map(|at| hits[at % k * n + at / k]).collect();
        Found { counts, sum: Sum::Outer(outer) }
    }
}

/// What a part of the work has found.
#[derive(Debug, Clone)]
struct Part {
    /// `(k, n)`.
    hits: Vec<u32>,
    /// Of each row, the weights of its pairs.
    degrees: Vec<f64>,
    outer: Outer,
}

/// What lines of pairs are compared by, in binary32, and where that does not decide.
struct Lines<'a> {
    scene: &'a Scene<'a>,
    single: Single,
    /// `(k, n)`.
    limits: Vec<f32>,
    codes: Vec<i32>,
}

impl<'a> Lines<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        let ([n, _, k], single) = (scene.shape(), Single::new(scene.images, scene.shape()[1]));
        let limit = |at: usize| (scene.limits[at % n * k + at / n] * single.scale * single.scale) as f32;
        let limits = (0..n * k).map(limit).collect();
        let codes = scene.codes.iter().map(|&code| code as i32).collect();
        Self { scene, single, limits, codes }
    }

    /// How often each pair counts, `(others, own)`; None: no pair does.
    fn weigh(&self, own: &Range<usize>, others: &Range<usize>, sum: &mut Part) -> Option<Vec<f64>> {
        let mut products = vec![0.0f32; own.len() * others.len()];
        let single = &self.single;
        product_nt32(single.rows(others), single.rows(own), single.dimensions, &mut products);
        let mut weights = vec![0.0; products.len()];
        let mut any = false;
        for ((i, line), weights) in
            others.clone().zip(products.chunks_exact(own.len())).zip(weights.chunks_exact_mut(own.len()))
        {
            any |= self.weigh_line(i, own, line, sum, weights);
        }
        any.then_some(weights)
    }

    /// The pairs of a row with a tile, of which `products` has the products; those that were met already do not count.
    fn weigh_line(
        &self,
        i: usize,
        own: &Range<usize>,
        products: &[f32],
        sum: &mut Part,
        weights: &mut [f64],
    ) -> bool {
        let n = self.codes.len();
        // Slices of one length, so that the loops are of whole vectors.
        let count = own.len();
        let (theirs, codes) = (&self.single.squares[own.clone()][..count], &self.codes[own.clone()][..count]);
        let (mut squares, mut times) = ([f32::INFINITY; BLOCK], [0u32; BLOCK]);
        let (squares, times) = (&mut squares[..count], &mut times[..count]);
        for at in (i + 1).saturating_sub(own.start)..count {
            let square = (self.single.squares[i] + theirs[at]) - 2.0 * products[at];
            squares[at] = if codes[at] == self.codes[i] { f32::INFINITY } else { square };
        }
        let open = self.open(i, own, squares);
        for (limits, hits) in self.limits.chunks_exact(n).zip(sum.hits.chunks_exact_mut(n)) {
            let (limit, limits) = (limits[i], &limits[own.clone()][..count]);
            let (columns, mut row) = (&mut hits[own.clone()][..count], 0);
            for at in 0..count {
                let (left, right) = (u32::from(squares[at] < limit), u32::from(squares[at] < limits[at]));
                row += left;
                columns[at] += right;
                times[at] += left + right;
            }
            hits[i] += row;
        }
        open.into_iter().for_each(|at| times[at] += self.count(i, own.start + at, &mut sum.hits));
        let mut all = 0.0;
        for (at, (weight, &times)) in weights.iter_mut().zip(&*times).enumerate() {
            *weight = f64::from(times);
            sum.degrees[own.start + at] += *weight;
            all += *weight;
        }
        sum.degrees[i] += all;
        all > 0.0
    }
}

impl Lines<'_> {
    /// The pairs of a row that are too near a limit for binary32; they no longer count as within any.
    fn open(&self, i: usize, own: &Range<usize>, squares: &mut [f32]) -> Vec<usize> {
        let (n, count, single) = (self.codes.len(), own.len(), &self.single);
        let (off, theirs) = (single.off(), &single.squares[own.clone()][..count]);
        let vanished = vanished(single.dimensions);
        let mut unsure = [false; BLOCK];
        let unsure = &mut unsure[..count];
        for limits in self.limits.chunks_exact(n) {
            let (limit, limits) = (limits[i], &limits[own.clone()][..count]);
            for at in 0..count {
                let band = off * (single.squares[i] + theirs[at]) + vanished;
                let [left, right] = [limit, limits[at]].map(|limit| (squares[at] - limit).abs() <= band);
                unsure[at] |= left | right;
            }
        }
        let open: Vec<usize> = (0..count).filter(|&at| unsure[at]).collect();
        open.iter().for_each(|&at| squares[at] = f32::INFINITY);
        open
    }

    /// Counts a pair in binary64, for each of the limits of its rows.
    fn count(&self, i: usize, l: usize, hits: &mut [u32]) -> u32 {
        let (n, square) = (self.codes.len(), self.scene.square(i, l));
        let mut times = 0;
        for (row, slot) in self.scene.within([i, l], square) {
            hits[slot * n + row] += 1;
            times += 1;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::outer::tests::{noise, outer_by_hand};
    use proptest::prelude::*;

    fn find(rows: &[f64], d: usize, codes: &[i64], limits: &[f64], jobs: usize) -> (Vec<i64>, Vec<f64>) {
        assert_eq!(rows.len(), codes.len() * d);
        let scene = Scene { rows, images: rows, codes, limits };
        let found = scene.sums(&Team::new(jobs).unwrap(), &Control::default()).unwrap();
        match found.sum {
            Sum::Outer(outer) => (found.counts, outer),
            Sum::Pairs(_) => unreachable!(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        // Numbers on a small grid: distances are exact in binary32, and many are at a limit.
        #[test]
        fn impostors_are_those_of_all_pairs(n in 1usize..600, seed in any::<u32>(), jobs in 1usize..4) {
            let (d, k) = (2, 3);
            let whole = |x: f64, m: f64| (x * m).round();
            let rows: Vec<f64> = noise(n * d, seed.into()).into_iter().map(|x| whole(x, 8.0) / 8.0).collect();
            let codes: Vec<i64> = noise(n, u64::from(seed) + 1).into_iter().map(|x| whole(x + 1.0, 1.5) as i64).collect();
            let limits: Vec<f64> = noise(n * k, u64::from(seed) + 2).into_iter().map(|x| whole(x, 4.0) / 4.0).collect();
            let (hits, outer) = find(&rows, d, &codes, &limits, jobs);
            let mut counts = vec![0; n * k];
            let mut terms = Vec::new();
            for i in 0..n {
                for l in (0..n).filter(|&l| codes[l] != codes[i]) {
                    let square: f64 = (0..d).map(|f| (rows[i * d + f] - rows[l * d + f]).powi(2)).sum();
                    for a in (0..k).filter(|&a| square < limits[i * k + a]) {
                        counts[i * k + a] += 1;
                        terms.push((i, l, 1.0));
                    }
                }
            }
            prop_assert_eq!(hits, counts);
            let size = 1e-13 * (1.0 + terms.len() as f64);
            for (found, expected) in outer.iter().zip(outer_by_hand(&rows, d, terms.into_iter())) {
                prop_assert!((found - expected).abs() < size, "{found} {expected}");
            }
        }
    }

    #[test]
    fn rows_far_from_the_mean_are_told_apart() {
        let (n, d) = (700, 3);
        for gap in [1.0, 1e3, 1e5, 1e9] {
            let mut rows = noise(n * d, 1);
            rows.chunks_exact_mut(d).step_by(2).for_each(|row| row[0] += gap);
            let codes: Vec<i64> = (0..n as i64).map(|i| i / 2 % 3).collect();
            let limits: Vec<f64> = noise(n, 2).into_iter().map(|x| 0.2 * (x + 1.0)).collect();
            let scene = Scene { rows: &rows, images: &rows, codes: &codes, limits: &limits };
            let mut counts = vec![0; n];
            for i in 0..n {
                let near = |&l: &usize| codes[l] != codes[i] && scene.square(i, l) < limits[i];
                counts[i] = (0..n).filter(near).count() as i64;
            }
            assert!(counts.iter().sum::<i64>() > 1000);
            assert_eq!(find(&rows, d, &codes, &limits, 2).0, counts, "{gap}");
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (n, d) = (3000, 4);
        let codes: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
        let (rows, limits) = (noise(n * d, 1), vec![0.5; n]);
        let bits =
            |jobs| find(&rows, d, &codes, &limits, jobs).1.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(1) == bits(3));
    }

    #[test]
    fn extreme_scales_lose_no_impostor() {
        for scale in [1e-160, 1e-40, 1e40, 1e150] {
            let found = find(&[0.0, scale], 1, &[0, 1], &[f64::INFINITY, f64::NEG_INFINITY], 1);
            assert_eq!(found.0, [1, 0], "{scale}");
        }
    }
}
