//! Pairs of rows of different classes that are near each other, sought among all.
//!
//! Products of tiles in binary32 say which pairs may be near. Of long images it is first asked how far apart they are
//! along the few axes on which they differ most: two images are no nearer than that, and few pairs pass. Where many
//! do, the whole images of their tiles are multiplied after all.

use crate::error::Result;
use crate::learning::impostors::Scene;
use crate::learning::look::{Look, are_few};
use crate::learning::scan::{Line, Scan, TILE, best, hits};
use crate::learning::single::Single;
use crate::parallel::{Control, Team};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two rows, the lower one first, and a squared distance.
pub type Near = (u32, u32, f64);

/// What pairs of tiles are looked at with.
pub struct Search<'a> {
    codes: &'a [i64],
    /// Squared distances that are near enough for each row; no less in binary32.
    near: Vec<f64>,
    limits: Vec<f32>,
    single: &'a Single,
    scan: Scan,
}

impl<'a> Search<'a> {
    /// For pairs within twice the slack of what either row reaches.
    #[must_use]
    pub fn new(scene: &'a Scene, single: &'a Single, reaches: &[f64], slack: f64) -> Self {
        let near: Vec<f64> = reaches.iter().map(|reach| (reach + 2.0 * slack).powi(2)).collect();
        Self {
            codes: scene.codes,
            limits: near.iter().map(|limit| (limit * (1.0 + 1e-6)) as f32).collect(),
            near,
            single,
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
    /// Cost: `n² p / 2`, or for most tiles of long images `64 n²`.
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
        let (first, whole) = (self.single.along_axes(team, control)?, self.single.whole());
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
                    let tile = Tile::of(places[place.start], n);
                    let is_enough = first.as_ref().is_some_and(|look| self.open(&tile, look, products, open));
                    if !is_enough {
                        self.open(&tile, &whole, products, open);
                    }
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

    /// The pairs of two tiles that may be near, each once; whether they are few.
    fn open(&self, tile: &Tile, look: &Look, products: &mut [f32], open: &mut Vec<(usize, usize)>) -> bool {
        let Tile { own, others } = tile;
        let products = &mut products[..own.len() * others.len()];
        look.products(own, others, products);
        open.clear();
        for (row, products) in own.clone().zip(products.chunks_exact(others.len())) {
            // In the tile of the row itself those after it.
            let start = others.start.max(row + 1).min(others.end);
            let near = self.line(row, start..others.end, look, &products[start - others.start..]);
            open.extend(near.map(|other| (row, other)));
        }
        are_few(open.len(), products.len())
    }

    /// The others of another class that may be near a row.
    fn line(
        &self,
        row: usize,
        others: Range<usize>,
        look: &Look,
        products: &[f32],
    ) -> impl Iterator<Item = usize> {
        let line = Line {
            own: look.squares[row],
            limit: self.limits[row],
            products,
            squares: &look.squares[others.clone()],
            limits: &self.limits[others.clone()],
        };
        let near = hits((self.scan)(&line)).map(move |at| others.start + at);
        near.filter(move |&other| self.codes[other] != self.codes[row])
    }
}

/// Rows that are compared with others.
struct Tile {
    own: Range<usize>,
    others: Range<usize>,
}

impl Tile {
    fn of(place: [usize; 2], n: usize) -> Self {
        let [own, others] = place.map(|tile| tile * TILE..n.min((tile + 1) * TILE));
        Self { own, others }
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
        fn pairs_that_are_near_are_found_on_whatever_axes_images_differ(
            n in 2usize..700, p in prop::sample::select(vec![3, 255, 256, 301]), seed in any::<u32>(),
            fade in prop::sample::select(vec![0.9, 0.99, 1.0, 1.01]), gap in prop::sample::select(vec![0.0, 10.0]),
            size in -60i32..60, share in 0.1..1.1f64,
        ) {
            let unit = 2f64.powi(size);
            let images: Vec<f64> = images(n, p, fade, gap, seed.into()).into_iter().map(|x| x * unit).collect();
            let codes: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
            let apart = |a: usize, b: usize| crate::geometry::dot::squared_distance(&images[a * p..][..p], &images[b * p..][..p], 1.0);
            let limits: Vec<f64> = (0..n).map(|i| share * apart(i, (i + 1) % n)).collect();
            let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
            let single = Single::new(scene.images, scene.shape()[1]);
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
    fn axes_spare_the_rest_where_images_differ_most_along_them() {
        let (n, p) = (2 * TILE, 300);
        let codes: Vec<i64> = (0..n as i64).map(|i| i % 2).collect();
        let open = |fade: f64, limit: f64| {
            // The coordinates that differ most come last.
            let mut images = images(n, p, fade, 0.0, 1);
            images.chunks_exact_mut(p).for_each(|row| row.reverse());
            let limits = vec![limit; n];
            let scene = Scene { rows: &images, images: &images, codes: &codes, limits: &limits };
            let single = Single::new(scene.images, scene.shape()[1]);
            let reaches: Vec<f64> = limits.iter().map(|limit| limit.sqrt() * single.scale).collect();
            let search = Search::new(&scene, &single, &reaches, 0.0);
            let (team, control) = (Team::new(1).unwrap(), Control::default());
            let (mut products, mut open) = (vec![0.0; TILE * TILE], Vec::new());
            let looks = [single.along_axes(&team, &control).unwrap().unwrap(), single.whole()];
            looks.map(|look| {
                let are_few = search.open(&Tile::of([0, 1], n), &look, &mut products, &mut open);
                (open.len(), are_few)
            })
        };
        let [(first, is_enough), (near, _)] = open(0.98, 10.0);
        assert!(is_enough && 100 < near && near < first && first < 20 * near, "{first} {near}");
        let [(first, is_enough), (near, _)] = open(1.0, 180.0);
        assert!(!is_enough && first > 10 * near, "{first} {near}");
    }
}
