//! Squared distances of many pairs of rows, and the gradients of sums of them.
//!
//! The gradient of `Σ w_ab ‖G(x_a − x_b)‖²` with respect to `M = GᵀG` is `Σ w_ab (x_a − x_b)(x_a − x_b)ᵀ`. It takes one
//! product of matrices of `n` rows, however many the pairs are, because it is `T + Tᵀ` with
//!
//! ```text
//! T = Σ_a x_a h_aᵀ,   h_a = (Σ w of all pairs with a) x_a / 2 − Σ_b w_ab x_b.
//! ```

use crate::error::Result;
use crate::geometry::dot::squared_distance;
use crate::learning::outer::{BLOCK, Outer, PARTS};
use crate::parallel::{Control, Team};

/// Pairs of a share of the work.
const SHARE: usize = 4096;

/// Pairs of rows, in order of the first ones.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    pub first: &'a [i64],
    pub second: &'a [i64],
}

impl Pairs<'_> {
    /// `‖a − b‖²` of every pair, for row-major `images (n, p)`. Cost: `p` for a pair.
    pub fn squares(&self, images: &[f64], p: usize, team: &Team, control: &Control) -> Result<Vec<f64>> {
        let row = |i: i64| &images[i as usize * p..][..p];
        let mut squares = vec![0.0; self.first.len()];
        team.fill(&mut squares, 1, SHARE, control, |part, squares| {
            let pairs = self.first[part.clone()].iter().zip(&self.second[part]);
            squares
                .iter_mut()
                .zip(pairs)
                .for_each(|(s, (&a, &b))| *s = squared_distance(row(a), row(b), 1.0));
        })?;
        Ok(squares)
    }
}

/// Pairs, and a weight for each.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    pub pairs: Pairs<'a>,
    pub weights: &'a [f64],
}

/// `Σ w_ab (x_a − x_b)(x_a − x_b)ᵀ`, `(d, d)`, over all lists, for `rows (n, d)` that lie around the origin. Cost: `d` for a
/// pair and `n d²`; memory: `PARTS` matrices of `d²`.
pub fn outer(lists: &[Weighted], rows: &[f64], d: usize, team: &Team, control: &Control) -> Result<Vec<f64>> {
    let n = rows.len() / d;
    let degrees = degrees(lists, n);
    let share = n.div_ceil(PARTS).max(1);
    let mut sums = vec![None; n.div_ceil(share)];
    team.for_chunks(
        n,
        share,
        control,
        || (),
        |(), part| {
            let mut sum = Outer::new(d);
            for start in part.clone().step_by(BLOCK) {
                let block = start..part.end.min(start + BLOCK);
                let mut halves = vec![0.0; block.len() * d];
                for (a, half) in block.clone().zip(halves.chunks_exact_mut(d)) {
                    let own = &rows[a * d..][..d];
                    half.iter_mut().zip(own).for_each(|(h, x)| *h = 0.5 * degrees[a] * x);
                    lists.iter().for_each(|list| list.subtract_partners(a, rows, half));
                }
                sum.add(&rows[block.start * d..block.end * d], &halves);
            }
            sum
        },
        |part, sum| sums[part.start / share] = Some(sum),
    )?;
    Ok(Outer::symmetric(d, sums.into_iter().flatten()))
}

/// The sums of the weights of each row's pairs.
fn degrees(lists: &[Weighted], n: usize) -> Vec<f64> {
    let mut degrees = vec![0.0; n];
    for Weighted { pairs, weights } in lists {
        for ((&a, &b), weight) in pairs.first.iter().zip(pairs.second).zip(*weights) {
            degrees[a as usize] += weight;
            degrees[b as usize] += weight;
        }
    }
    degrees
}

impl Weighted<'_> {
    fn subtract_partners(&self, a: usize, rows: &[f64], half: &mut [f64]) {
        let (Pairs { first, second }, d) = (self.pairs, half.len());
        let start = first.partition_point(|&first| (first as usize) < a);
        let own = first[start..].iter().take_while(|&&first| first as usize == a).count();
        for (&b, &weight) in second[start..][..own].iter().zip(&self.weights[start..]) {
            if weight != 0.0 {
                let other = &rows[b as usize * d..][..d];
                half.iter_mut().zip(other).for_each(|(h, x)| *h -= weight * x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::outer::tests::{noise, outer_by_hand};
    use proptest::prelude::*;
    use std::ops::Range;

    fn sorted(n: usize, count: usize, seed: u64) -> (Vec<i64>, Vec<i64>) {
        let draws = noise(2 * count, seed);
        let row = |x: &f64| ((x + 1.0) / 2.0 * n as f64) as i64;
        let mut pairs: Vec<(i64, i64)> = draws.chunks(2).map(|p| (row(&p[0]), row(&p[1]))).collect();
        pairs.sort_unstable();
        pairs.into_iter().unzip()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn sums_of_outer_products_are_those_of_the_definition(
            n in 1usize..600, count in 0usize..900, seed in any::<u32>(), jobs in 1usize..4,
        ) {
            let d = 3;
            let rows = noise(n * d, seed.into());
            let (first, second) = sorted(n, count, u64::from(seed) + 1);
            let weights = noise(count, u64::from(seed) + 2);
            let (team, control) = (Team::new(jobs).unwrap(), Control::default());
            let half = count / 2;
            let list = |part: Range<usize>| Weighted {
                pairs: Pairs { first: &first[part.clone()], second: &second[part.clone()] }, weights: &weights[part] };
            let found = outer(&[list(0..half), list(half..count)], &rows, d, &team, &control).unwrap();
            let terms = first.iter().zip(&second).zip(&weights).map(|((&a, &b), &w)| (a as usize, b as usize, w));
            for (found, expected) in found.iter().zip(outer_by_hand(&rows, d, terms)) {
                prop_assert!((found - expected).abs() < 1e-12 * (1.0 + count as f64), "{found} {expected}");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (n, d) = (3000, 5);
        let (rows, (first, second)) = (noise(n * d, 1), sorted(n, 20_000, 2));
        let weights = noise(first.len(), 3);
        let pairs = Pairs { first: &first, second: &second };
        let bits = |jobs| {
            let (team, control) = (Team::new(jobs).unwrap(), Control::default());
            let list = Weighted { pairs, weights: &weights };
            let mut all = outer(&[list], &rows, d, &team, &control).unwrap();
            all.extend(pairs.squares(&rows, d, &team, &control).unwrap());
            all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert!(bits(1) == bits(3));
    }
}
