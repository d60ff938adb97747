//! For each image the others that are not much farther than the nearest.

use crate::error::Result;
use crate::geometry::matrix::product_nt32;
use crate::learning::images::vanished;
use crate::learning::look::{Look, are_few};
use crate::learning::scan::{Line, Scan, TILE, best, hits};
use crate::learning::single::Single;
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Columns of a product: several tiles, so that little of the time is spent on its packing.
const PANEL: usize = 4 * TILE;
/// Of the others in a scan: only the row's own limit counts.
static NO_LIMITS: [f32; TILE] = [f32::NEG_INFINITY; TILE];

/// Images, and by how much farther than the nearest others may be.
pub struct NearImages<'a> {
    single: &'a Single,
    first: Option<Look<'a>>,
    /// In squared distances of `single`.
    more: f32,
    longest: f32,
    scan: Scan,
}

impl<'a> NearImages<'a> {
    /// Squared distances may be larger by `more`.
    pub fn new(single: &'a Single, more: f64, team: &Team, control: &Control) -> Result<Self> {
        Ok(Self {
            single,
            first: single.along_axes(team, control)?,
            more: (more * single.scale.powi(2)) as f32,
            longest: single.squares.iter().fold(0.0f32, |m, &x| m.max(x)),
            scan: best(),
        })
    }

    /// For each row of a block the others, in order, that may be near enough; some that are not are among them.
    ///
    /// Cost: `n p` for a row, or for long images `128 n` where few are near. Memory: `PANEL` numbers for a row.
    #[must_use]
    pub fn of(&self, block: &Range<usize>) -> Vec<Vec<u32>> {
        let (n, single) = (self.single.squares.len(), self.single);
        let mut found: Vec<_> = block
            .clone()
            .map(|row| {
                let off = single.off() * (single.squares[row] + self.longest) + vanished(single.dimensions);
                Nearest { row, more: self.more + 2.0 * off, nearest: f32::INFINITY, found: Vec::new() }
            })
            .collect();
        let (mut products, mut open) = (vec![0.0; block.len() * PANEL], Vec::new());
        for start in (0..n).step_by(PANEL) {
            let panel = start..n.min(start + PANEL);
            let products = &mut products[..block.len() * panel.len()];
            let is_done = self
                .first
                .as_ref()
                .is_some_and(|look| self.open(look, block, &panel, products, &mut open, &mut found));
            if !is_done {
                product_nt32(single.rows(block), single.rows(&panel), single.dimensions, products);
                self.take_all(&panel, products, &mut found);
            }
        }
        found.into_iter().map(Nearest::within).collect()
    }

    /// Takes those of a panel that pass a look and are near enough; false, and none: many pass.
    fn open(
        &self,
        look: &Look,
        block: &Range<usize>,
        panel: &Range<usize>,
        products: &mut [f32],
        open: &mut Vec<(usize, usize)>,
        found: &mut [Nearest],
    ) -> bool {
        look.products(block, panel, products);
        open.clear();
        for (k, (near, products)) in found.iter().zip(products.chunks_exact(panel.len())).enumerate() {
            for (tile, products) in tiles(panel).zip(products.chunks(TILE)) {
                let hits = self.hits(&look.squares, near, &tile, products);
                open.extend(hits.map(|other| (k, other)));
            }
        }
        let are_few = are_few(open.len(), products.len());
        if are_few {
            for &(k, other) in &*open {
                found[k].take(other, self.single.square(found[k].row, other));
            }
        }
        are_few
    }

    /// Takes those of a panel that are near enough by their products.
    fn take_all(&self, panel: &Range<usize>, products: &[f32], found: &mut [Nearest]) {
        let squares = &self.single.squares;
        for (near, products) in found.iter_mut().zip(products.chunks_exact(panel.len())) {
            for (tile, products) in tiles(panel).zip(products.chunks(TILE)) {
                for other in self.hits(squares, near, &tile, products) {
                    let product = products[other - tile.start];
                    near.take(other, (squares[near.row] + squares[other]) - 2.0 * product);
                }
            }
        }
    }

    /// The others of a tile that are near enough by these squares and products.
    fn hits(
        &self,
        squares: &[f32],
        near: &Nearest,
        tile: &Range<usize>,
        products: &[f32],
    ) -> impl Iterator<Item = usize> + use<> {
        let line = Line {
            own: squares[near.row],
            limit: near.nearest + near.more,
            products,
            squares: &squares[tile.clone()],
            limits: &NO_LIMITS[..products.len()],
        };
        let (row, start) = (near.row, tile.start);
        hits((self.scan)(&line)).map(move |at| start + at).filter(move |&other| other != row)
    }
}

fn tiles(panel: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = panel.end;
    panel.clone().step_by(TILE).map(move |start| start..end.min(start + TILE))
}

/// What is near a row, as far as it is known.
struct Nearest {
    row: usize,
    more: f32,
    nearest: f32,
    found: Vec<(u32, f32)>,
}

impl Nearest {
    fn take(&mut self, other: usize, square: f32) {
        if square <= self.nearest + self.more {
            self.nearest = self.nearest.min(square);
            self.found.push((other as u32, square));
        }
    }

    fn within(self) -> Vec<u32> {
        let limit = self.nearest + self.more;
        self.found.into_iter().filter(|&(_, square)| square <= limit).map(|(other, _)| other).collect()
    }
}
