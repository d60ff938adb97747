//! Pairs of rows of different classes that are near enough to be impostors, kept while images move.
//!
//! A pair that is not kept is farther apart than the limits of both rows by twice the slack. As long as every image has
//! moved by no more than the slack, but for a factor that all share, and no limit has grown by more than is left of it,
//! such a pair is no impostor: `d ≥ c d₀ − δ_i − δ_l`.

use crate::error::Result;
use crate::learning::impostor_search::{Near, Search};
use crate::learning::impostors::{Found, Pushed, Scene, Sum};
use crate::learning::single::Single;
use crate::parallel::{Control, Team};

/// Pairs, or rows, of a chunk of the work.
const PAIRS: usize = 8192;
const ROWS: usize = 256;

/// More than what binary64 leaves of comparisons, and of a product in a sum.
const MARGIN: f64 = 1e-9;
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// How far images may move, as a share of the mean limit, and how many pairs there may be.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub slack: f64,
    pub most: usize,
}

/// Two rows, the lower one first, and what the distance of their images was at least.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: u32,
    second: u32,
    distance: f32,
}

/// The pairs, in order, and the images that they are near under; lengths are those of the images in binary32.
pub struct NearPairs {
    single: Single,
    /// Roots of the largest limits of each row.
    reaches: Vec<f64>,
    slack: f64,
    pairs: Vec<Pair>,
}

/// How images have changed: by a factor, and each by a distance from what it was times the factor.
struct Change {
    factor: f64,
    moved: Vec<f64>,
    reaches: Vec<f64>,
}

/// The root of the largest limit of each row, 0 where there is none.
fn reaches(scene: &Scene, scale: f64) -> Vec<f64> {
    let [_, _, k] = scene.shape();
    let root = |limits: &[f64]| limits.iter().fold(0.0f64, |m, &x| m.max(x)).sqrt() * scale;
    scene.limits.chunks_exact(k).map(root).collect()
}

/// How far images seem to move that do not.
fn rounded(single: &Single, reaches: &[f64]) -> f64 {
    let longest = single.squares.iter().fold(0.0f32, |m, &x| m.max(x)).sqrt();
    let farthest = reaches.iter().fold(0.0f64, |m, &x| m.max(x));
    4.0 * (f64::from(f32::EPSILON) * (single.dimensions as f64).sqrt() * f64::from(longest)
        + MARGIN * farthest)
}

impl NearPairs {
    /// None: there are more than there is room for. Cost: `n² p / 2`.
    pub fn within(scene: &Scene, room: Room, team: &Team, control: &Control) -> Result<Option<Self>> {
        let single = Single::new(scene.images, scene.shape()[1]);
        let reaches = reaches(scene, single.scale);
        let mean = reaches.iter().sum::<f64>() / reaches.len() as f64;
        let slack = room.slack * mean + rounded(&single, &reaches);
        let search = Search::new(scene, &single, &reaches, slack);
        let pairs = search.pairs(room.most, |first, second| search.near(first, second), team, control)?;
        let kept = |(first, second, square): Near| Pair {
            first,
            second,
            distance: (square.sqrt() * (1.0 - f64::from(f32::EPSILON))) as f32,
        };
        Ok(pairs.map(|pairs| Self { pairs: pairs.into_iter().map(kept).collect(), single, reaches, slack }))
    }

    /// The impostors themselves; None: there are more pairs of them than that.
    pub fn only_impostors(
        scene: &Scene,
        most: usize,
        team: &Team,
        control: &Control,
    ) -> Result<Option<Found>> {
        let single = Single::new(scene.images, scene.shape()[1]);
        let reaches = reaches(scene, single.scale);
        let search = Search::new(scene, &single, &reaches, rounded(&single, &reaches));
        let pairs = search.pairs(most, |first, second| scene.impostor(first, second), team, control)?;
        Ok(pairs.map(|pairs| counted(scene, pairs.into_iter())))
    }

    /// The impostors; None where others than the kept pairs may be some.
    pub fn impostors(&self, scene: &Scene, team: &Team, control: &Control) -> Result<Option<Found>> {
        let [n, p, _] = scene.shape();
        if [n, p] != [self.reaches.len(), self.single.dimensions] {
            return Ok(None);
        }
        let change = self.change(scene, team, control)?;
        if !self.holds(&change) {
            return Ok(None);
        }
        let mut near = vec![Vec::new(); self.pairs.len().div_ceil(PAIRS)];
        team.for_chunks(
            self.pairs.len(),
            PAIRS,
            control,
            || (),
            |(), part| {
                let near = self.pairs[part].iter().filter(|pair| change.may_bring_near(pair));
                let impostor = |&Pair { first, second, .. }: &Pair| {
                    scene.impostor(first as usize, second as usize).map(|square| (first, second, square))
                };
                near.filter_map(impostor).collect::<Vec<_>>()
            },
            |part, found| near[part.start / PAIRS] = found,
        )?;
        Ok(Some(counted(scene, near.into_iter().flatten())))
    }

    fn change(&self, scene: &Scene, team: &Team, control: &Control) -> Result<Change> {
        let ([n, p, _], scale) = (scene.shape(), self.single.scale);
        // Of each row the squares of what it was and is, and the product of the two.
        let mut products = vec![[0.0; 3]; n];
        team.for_chunks(
            n,
            ROWS,
            control,
            || (),
            |(), part| {
                let before = self.single.rows(&part).chunks_exact(p);
                let now = scene.images[part.start * p..part.end * p].chunks_exact(p);
                before.zip(now).map(|(before, now)| products_of(before, now, scale)).collect::<Vec<_>>()
            },
            |part, found| products[part].copy_from_slice(&found),
        )?;
        let [before, both] = [0, 2].map(|which| products.iter().map(|row| row[which]).sum::<f64>());
        let factor = if before > 0.0 { both / before } else { 1.0 };
        let moved = |&[before, now, both]: &[f64; 3]| {
            let scaled = factor * factor * before;
            ((now + scaled - 2.0 * factor * both).max(0.0) + ROUNDING * p as f64 * (now + scaled)).sqrt()
        };
        let moved = products.iter().map(moved).collect();
        Ok(Change { factor, moved, reaches: reaches(scene, scale) })
    }

    /// Whether all other pairs are still too far apart.
    fn holds(&self, change: &Change) -> bool {
        let factor = change.factor * (1.0 - MARGIN);
        let mut rows = change.moved.iter().zip(&change.reaches).zip(&self.reaches);
        factor > 0.0
            && rows.all(|((moved, reach), before)| {
                *moved <= factor * self.slack && reach + moved <= factor * (before + self.slack)
            })
    }
}

impl Change {
    fn may_bring_near(&self, pair: &Pair) -> bool {
        let [first, second] = [pair.first as usize, pair.second as usize];
        let least = self.factor * f64::from(pair.distance) - self.moved[first] - self.moved[second];
        least <= self.reaches[first].max(self.reaches[second]) * (1.0 + MARGIN)
    }
}

fn products_of(before: &[f32], now: &[f64], scale: f64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for (&before, now) in before.iter().zip(now) {
        let (before, now) = (f64::from(before), now * scale);
        [before * before, now * now, before * now].iter().zip(&mut sums).for_each(|(x, sum)| *sum += x);
    }
    sums
}

/// How often pairs, with their squared distances, are within each of the limits of their rows.
fn counted(scene: &Scene, near: impl Iterator<Item = Near>) -> Found {
    let [n, _, k] = scene.shape();
    let (mut counts, mut pushed) = (vec![0; n * k], Pushed::default());
    for (first, second, square) in near {
        let mut times = 0;
        for (row, slot) in scene.within([first as usize, second as usize], square) {
            counts[row * k + slot] += 1;
            times += 1;
        }
        pushed.first.push(first.into());
        pushed.second.push(second.into());
        pushed.times.push(f64::from(times));
        pushed.total += f64::from(times) * square;
    }
    Found { counts, sum: Sum::Pairs(pushed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::dot::squared_distance;
    use crate::learning::impostors::Impostors;
    use crate::learning::outer::tests::noise;
    use proptest::prelude::*;

    /// Counts, and the pairs with how often they count and their squares, over all pairs.
    fn by_hand(scene: &Scene) -> (Vec<i64>, Vec<(i64, i64, f64)>, f64) {
        let [n, p, k] = scene.shape();
        let row = |i: usize| &scene.images[i * p..][..p];
        let (mut counts, mut pairs, mut total) = (vec![0; n * k], Vec::new(), 0.0);
        for i in 0..n {
            for l in (i + 1..n).filter(|&l| scene.codes[l] != scene.codes[i]) {
                let square = squared_distance(row(i), row(l), 1.0);
                let within = [i, l].map(|row| row * k).into_iter().flat_map(|start| start..start + k);
                let within: Vec<usize> = within.filter(|&at| square < scene.limits[at]).collect();
                within.iter().for_each(|&at| counts[at] += 1);
                if !within.is_empty() {
                    pairs.push((i as i64, l as i64, within.len() as f64));
                    total += within.len() as f64 * square;
                }
            }
        }
        (counts, pairs, total)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        // Images that move, grow and shrink, a little or a lot, and limits that change with them.
        #[test]
        fn impostors_are_those_of_all_pairs_whatever_was_asked_before(
            n in 2usize..400, seed in any::<u32>(), jobs in 1usize..4, moves in prop::collection::vec((-6.0..0.0f64, 0.9..1.2f64), 1..12),
            size in -12i32..12, gap in prop::sample::select(vec![0.0, 1e3, 1e6, 1e9]),
        ) {
            let (p, k) = (3, 2);
            let unit = 10f64.powi(size);
            let codes: Vec<i64> = noise(n, u64::from(seed) + 1).into_iter().map(|x| (x * 1.5).round() as i64).collect();
            let mut images: Vec<f64> = noise(n * p, seed.into()).into_iter().map(|x| x * unit).collect();
            images.chunks_exact_mut(2 * p).for_each(|rows| rows[0] += gap * unit);
            let mut limits: Vec<f64> = noise(n * k, u64::from(seed) + 2).into_iter().map(|x| 0.02 * x * unit * unit).collect();
            let (team, control) = (Team::new(jobs).unwrap(), Control::default());
            let (mut search, mut kept) = (Impostors::default(), 0);
            for (step, (length, factor)) in moves.into_iter().enumerate() {
                let way = noise(n * p, u64::from(seed) + 3 + step as u64);
                images.iter_mut().zip(way).for_each(|(x, w)| *x = factor * (*x + unit * 10f64.powf(length) * w));
                limits.iter_mut().for_each(|x| *x *= factor * factor);
                let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
                let (counts, pairs, total) = by_hand(&scene);
                let found = search.find(&scene, &team, &control).unwrap();
                prop_assert_eq!(&found.counts, &counts);
                if let Sum::Pairs(pushed) = found.sum {
                    kept += 1;
                    let rows = pushed.first.into_iter().zip(pushed.second);
                    prop_assert_eq!(rows.zip(pushed.times).map(|((i, l), t)| (i, l, t)).collect::<Vec<_>>(), pairs);
                    prop_assert!((pushed.total - total).abs() <= 1e-12 * total);
                }
            }
            // Where there are more rows impostors are few enough.
            prop_assert!(n < 100 || kept > 0);
        }
    }

    /// Rows of which few are impostors.
    fn sparse(n: usize, seed: u64) -> (Vec<f64>, Vec<i64>, Vec<f64>) {
        (noise(n * 3, seed), (0..n as i64).map(|i| i % 3).collect(), vec![1e-3; n])
    }

    #[test]
    fn images_that_move_little_are_not_all_compared_again() {
        let (images, codes, limits) = sparse(1000, 1);
        let (team, control) = (Team::new(1).unwrap(), Control::default());
        let room = Room { slack: 0.5, most: 100_000 };
        let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
        let pairs = NearPairs::within(&scene, room, &team, &control).unwrap().unwrap();
        assert!(pairs.pairs.len() < 10_000);
        let moved = |factor: f64, by: f64| {
            let way = noise(images.len(), 2);
            let images: Vec<f64> = images.iter().zip(way).map(|(x, w)| factor * (x + by * w)).collect();
            let limits: Vec<f64> = limits.iter().map(|x| x * factor * factor).collect();
            let scene = Scene { images: &images, limits: &limits, ..scene };
            pairs.impostors(&scene, &team, &control).unwrap().is_some()
        };
        assert!(moved(1.0, 0.0) && moved(1.0, 0.005) && moved(1e-3, 0.005) && moved(1e3, 0.005));
        assert!(!moved(1.0, 0.1) && !moved(-1.0, 0.0) && !moved(f64::NAN, 0.0));
    }

    #[test]
    fn more_pairs_than_there_is_room_for_are_not_kept() {
        let (images, codes, limits) = sparse(1000, 1);
        let (team, control) = (Team::new(2).unwrap(), Control::default());
        let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
        let room = Room { slack: 0.5, most: 10 };
        assert!(NearPairs::within(&scene, room, &team, &control).unwrap().is_none());
    }

    #[test]
    fn threads_change_no_bit() {
        let (images, codes, limits) = sparse(3000, 1);
        let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
        let found = |jobs| {
            let found = Impostors::default().find(&scene, &Team::new(jobs).unwrap(), &Control::default());
            match found.unwrap().sum {
                Sum::Pairs(pushed) => (pushed.first, pushed.second, pushed.total.to_bits()),
                Sum::Outer(_) => unreachable!(),
            }
        };
        assert!(found(1) == found(3));
    }
}
