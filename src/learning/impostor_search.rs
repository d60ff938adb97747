//! Pairs of rows of different classes that are near each other, sought among all.
//!
//! Products of tiles in binary32 say which pairs may be near. Of long images only a first part is multiplied, behind
//! which stands the length of the rest: `(part, length)` never expands a distance, and few pairs pass where the first
//! coordinates are those that differ most. Where many do, the whole images of their tiles are multiplied after all.

use crate::error::Result;
use crate::geometry::matrix::product_nt32;
use crate::geometry::rounding::{exponent, power_of_two};
use crate::geometry::simd::Kernels;
use crate::learning::images::vanished;
use crate::learning::impostors::Scene;
use crate::learning::scan::{Line, Scan, TILE, best, hits};
use crate::parallel::{Control, Team};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Coordinates of a first look, and those of images from which there is one.
const LEAD: usize = 128;
const LONG: usize = 2 * LEAD;
/// One pair of so many of a tile may pass the first look.
const OPEN: usize = 8;

/// Images in binary32, by a power of two to magnitude one.
pub struct Single {
    pub images: Vec<f32>,
    pub squares: Vec<f32>,
    pub scale: f64,
    pub dimensions: usize,
    kernels: &'static Kernels,
}

impl Single {
    #[must_use]
    pub fn new(scene: &Scene) -> Self {
        let [_, p, _] = scene.shape();
        let largest = scene.images.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let scale = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        let images: Vec<f32> = scene.images.iter().map(|x| (x * scale) as f32).collect();
        let squares = images.chunks_exact(p).map(|t| t.iter().map(|x| x * x).sum()).collect();
        Self { images, squares, scale, dimensions: p, kernels: Kernels::best() }
    }

    /// What a square from products may be off by, as a share of the two squares in it.
    #[must_use]
    pub fn off(&self) -> f32 {
        6.0 * (self.dimensions as f32 + 8.0) * f32::EPSILON
    }

    /// What the squared distance of two images is at least.
    #[must_use]
    pub fn square_down(&self, a: usize, b: usize) -> f64 {
        let row = |i: usize| &self.images[i * self.dimensions..][..self.dimensions];
        let square = self.kernels.squared_distance(row(a), row(b));
        let rounding = (self.dimensions as f64 + 8.0) * f64::from(f32::EPSILON);
        (f64::from(square) * (1.0 - rounding) - f64::from(vanished(self.dimensions))).max(0.0)
    }

    /// The images of a range, row-major.
    #[must_use]
    pub fn rows(&self, range: &Range<usize>) -> &[f32] {
        &self.images[range.start * self.dimensions..range.end * self.dimensions]
    }

    /// The first coordinates of each image, and the length of the rest, `(n, LEAD)`; none for short ones.
    fn lead(&self) -> Option<Vec<f32>> {
        let rows = self.images.chunks_exact(self.dimensions);
        let look = |row: &[f32]| {
            let (first, rest) = row.split_at(LEAD - 1);
            let square: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
            first.iter().copied().chain([square.sqrt() as f32]).collect::<Vec<_>>()
        };
        (self.dimensions >= LONG).then(|| rows.flat_map(look).collect())
    }
}

/// Two rows, the lower one first, and a squared distance.
pub type Near = (u32, u32, f64);

/// What pairs of tiles are looked at with.
pub struct Search<'a> {
    codes: &'a [i64],
    /// Squared distances that are near enough for each row; no less in binary32.
    near: Vec<f64>,
    limits: Vec<f32>,
    /// Squares, made smaller by what binary32 may be off by.
    squares: Vec<f32>,
    single: &'a Single,
    lead: Option<Vec<f32>>,
    scan: Scan,
}

impl<'a> Search<'a> {
    /// For pairs within twice the slack of what either row reaches.
    #[must_use]
    pub fn new(scene: &'a Scene, single: &'a Single, reaches: &[f64], slack: f64) -> Self {
        let shrink = 1.0 - single.off();
        let near: Vec<f64> = reaches.iter().map(|reach| (reach + 2.0 * slack).powi(2)).collect();
        Self {
            codes: scene.codes,
            limits: near.iter().map(|limit| (limit * (1.0 + 1e-6)) as f32).collect(),
            near,
            squares: single.squares.iter().map(|square| square * shrink).collect(),
            single,
            lead: single.lead(),
            scan: best(),
        }
    }

    /// What the squared distance of two rows is at least, if they may be near.
    #[must_use]
    pub fn near(&self, first: usize, second: usize) -> Option<f64> {
        let square = self.single.square_down(first, second);
        (square < self.near[first].max(self.near[second])).then_some(square)
    }

    /// The pairs of different classes that may be near and are kept, in order; None: they are more than `most`.
    ///
    /// Cost: `n²` times the dimensions, halved, or for most tiles of long images `64 n²`.
    pub fn pairs(
        &self,
        most: usize,
        keep: impl Fn(usize, usize) -> Option<f64> + Sync,
        team: &Team,
        control: &Control,
    ) -> Result<Option<Vec<Near>>> {
        let n = self.codes.len();
        let tiles = n.div_ceil(TILE);
        let places: Vec<_> = (0..tiles).flat_map(|i| (i..tiles).map(move |j| [i, j])).collect();
        let (mut found, count) = (vec![Vec::new(); places.len()], AtomicUsize::new(0));
        control.expect(places.len());
        team.for_chunks(
            places.len(),
            1,
            control,
            || (vec![0.0f32; TILE * TILE], Vec::new()),
            |(products, open), place| {
                let mut pairs = Vec::new();
                if count.load(Ordering::Relaxed) <= most {
                    self.tile(places[place.start], products, open);
                    let near = |&(row, other): &(usize, usize)| {
                        keep(row, other).map(|square| (row as u32, other as u32, square))
                    };
                    pairs.extend(open.iter().filter_map(near));
                    count.fetch_add(pairs.len(), Ordering::Relaxed);
                }
                control.advance(1);
                pairs
            },
            |place, pairs| found[place.start] = pairs,
        )?;
        Ok((count.into_inner() <= most).then(|| in_order(found, n)))
    }

    /// The pairs of two tiles that may be near, each once.
    fn tile(&self, [i, j]: [usize; 2], products: &mut [f32], open: &mut Vec<(usize, usize)>) {
        let n = self.codes.len();
        let [own, others] = [i, j].map(|tile| tile * TILE..n.min((tile + 1) * TILE));
        let products = &mut products[..own.len() * others.len()];
        if let Some(lead) = &self.lead {
            let [left, right] = [&own, &others].map(|range| &lead[range.start * LEAD..range.end * LEAD]);
            product_nt32(left, right, LEAD, products);
            self.may_be_near(&own, &others, products, open);
            if open.len() <= products.len() / OPEN {
                return;
            }
        }
        product_nt32(self.single.rows(&own), self.single.rows(&others), self.single.dimensions, products);
        self.may_be_near(&own, &others, products, open);
    }

    /// The pairs that may be near by their products.
    fn may_be_near(
        &self,
        own: &Range<usize>,
        others: &Range<usize>,
        products: &[f32],
        open: &mut Vec<(usize, usize)>,
    ) {
        open.clear();
        for (row, products) in own.clone().zip(products.chunks_exact(others.len())) {
            // In the tile of the row itself those after it.
            let start = others.start.max(row + 1).min(others.end);
            let near = self.line(row, start..others.end, &products[start - others.start..]);
            open.extend(near.map(|other| (row, other)));
        }
    }

    /// The others of another class that may be near a row.
    fn line(&self, row: usize, others: Range<usize>, products: &[f32]) -> impl Iterator<Item = usize> {
        let line = Line {
            own: self.squares[row],
            limit: self.limits[row],
            products,
            squares: &self.squares[others.clone()],
            limits: &self.limits[others.clone()],
        };
        let near = hits((self.scan)(&line)).map(move |at| others.start + at);
        near.filter(move |&other| self.codes[other] != self.codes[row])
    }
}

/// The pairs of all tiles by their first rows. Those of a row are in order already.
fn in_order(found: Vec<Vec<Near>>, n: usize) -> Vec<Near> {
    let mut ends = vec![0; n + 1];
    found.iter().flatten().for_each(|pair| ends[pair.0 as usize + 1] += 1);
    (0..n).for_each(|i| ends[i + 1] += ends[i]);
    let mut pairs = vec![(0, 0, 0.0); ends[n]];
    for pair in found.into_iter().flatten() {
        let end = &mut ends[pair.0 as usize];
        pairs[*end] = pair;
        *end += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::outer::tests::noise;
    use proptest::prelude::*;

    /// Images whose coordinates differ by a factor from one to the next, away from the origin by a gap.
    fn images(n: usize, p: usize, fade: f64, gap: f64, seed: u64) -> Vec<f64> {
        let coordinate = |(at, x): (usize, f64)| gap + x * fade.powi((at % p) as i32);
        noise(n * p, seed).into_iter().enumerate().map(coordinate).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pairs_that_are_near_are_found_whatever_their_first_coordinates_say(
            n in 2usize..400, p in prop::sample::select(vec![3, 255, 256, 301]), seed in any::<u32>(),
            fade in prop::sample::select(vec![0.9, 0.99, 1.0, 1.01]), gap in prop::sample::select(vec![0.0, 10.0]),
            size in -60i32..60, share in 0.1..1.1f64,
        ) {
            let unit = 2f64.powi(size);
            let images: Vec<f64> = images(n, p, fade, gap, seed.into()).into_iter().map(|x| x * unit).collect();
            let codes: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
            let apart = |a: usize, b: usize| crate::geometry::dot::squared_distance(&images[a * p..][..p], &images[b * p..][..p], 1.0);
            let limits: Vec<f64> = (0..n).map(|i| share * apart(i, (i + 1) % n)).collect();
            let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
            let single = Single::new(&scene);
            let reaches: Vec<f64> = limits.iter().map(|limit| limit.sqrt() * single.scale).collect();
            let search = Search::new(&scene, &single, &reaches, 1e-3 * single.scale * unit);
            let (team, control) = (Team::new(1).unwrap(), Control::default());
            let found = search.pairs(usize::MAX, |a, b| scene.impostor(a, b), &team, &control).unwrap().unwrap();
            let all = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|&(a, b)| codes[a] != codes[b]);
            let expected: Vec<Near> =
                all.filter_map(|(a, b)| scene.impostor(a, b).map(|square| (a as u32, b as u32, square))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_first_coordinates_spare_the_others_where_they_differ_most() {
        let (n, p) = (2 * TILE, 300);
        let codes: Vec<i64> = (0..n as i64).map(|i| i % 2).collect();
        let open = |fade: f64, limit: f64| {
            let (images, limits) = (images(n, p, fade, 0.0, 1), vec![limit; n]);
            let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
            let single = Single::new(&scene);
            let reaches: Vec<f64> = limits.iter().map(|limit| limit.sqrt() * single.scale).collect();
            let search = Search::new(&scene, &single, &reaches, 0.0);
            let (mut products, mut open) = (vec![0.0; TILE * TILE], Vec::new());
            search.tile([0, 1], &mut products, &mut open);
            let near = open.iter().filter(|pair| search.near(pair.0, pair.1).is_some()).count();
            (open.len(), near)
        };
        // The first look leaves some that are not near, and the second one none but for rounding.
        let (first, near) = open(0.99, 25.0);
        assert!(0 < near && near < first / 2 && first <= TILE * TILE / OPEN, "{first} {near}");
        let (second, near) = open(1.0, 180.0);
        assert!(0 < near && near > second * 9 / 10, "{second} {near}");
    }
}
