//! Rows under a metric in binary32, and what their distances may be off by.

use crate::error::Result;
use crate::geometry::matrix::product_nt32;
use crate::geometry::rounding::{exponent, power_of_two};
use crate::learning::candidates::Candidates;
use crate::learning::lists::Limits;
use crate::parallel::{Control, Team};
use std::ops::Range;

const EPS: f64 = f32::EPSILON as f64;
/// Sums of squares go over so many entries side by side, on every processor.
const LANES: usize = 8;

/// Rows less their mean, brought to magnitude one: what a metric is applied to.
pub struct Centred {
    features: usize,
    centre: Vec<f64>,
    scale: f64,
    /// The length of the longest one.
    longest: f64,
}

impl Centred {
    /// About `centre`, or the mean.
    #[must_use]
    pub fn new(rows: &[f64], features: usize, centre: Option<Vec<f64>>) -> Self {
        let n = rows.len() / features;
        let centre = centre.unwrap_or_else(|| {
            let mut mean = vec![0.0; features];
            for row in rows.chunks_exact(features) {
                mean.iter_mut().zip(row).for_each(|(c, x)| *c += x / n as f64);
            }
            mean
        });
        let offsets = |row: &[f64]| -> Vec<f64> { row.iter().zip(&centre).map(|(x, c)| x - c).collect() };
        let largest = rows
            .chunks_exact(features)
            .fold(0.0f64, |largest, row| offsets(row).iter().fold(largest, |m, x| m.max(x.abs())));
        let scale = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        let length = |row| offsets(row).iter().map(|x| (x * scale).powi(2)).sum::<f64>().sqrt();
        let longest = rows.chunks_exact(features).map(length).fold(0.0, f64::max);
        Self { features, centre, scale, longest }
    }

    /// Images under `components (p, d)` of the rows that `order` names.
    pub fn images(
        &self,
        rows: &[f64],
        order: &[u32],
        components: &[f64],
        team: &Team,
        control: &Control,
    ) -> Result<Images> {
        let (d, n) = (self.features, order.len());
        let p = components.len() / d;
        let largest = components.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let shrink = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        let map: Vec<f32> = components.iter().map(|x| (x * shrink) as f32).collect();
        let mut values = vec![0.0; n * p];
        team.for_chunks(
            n,
            256,
            control,
            || vec![0.0f32; 256 * d],
            |centred, range| {
                for (&row, out) in order[range.clone()].iter().zip(centred.chunks_exact_mut(d)) {
                    let offsets = rows[row as usize * d..][..d].iter().zip(&self.centre);
                    out.iter_mut()
                        .zip(offsets)
                        .for_each(|(out, (x, c))| *out = ((x - c) * self.scale) as f32);
                }
                let mut part = vec![0.0; range.len() * p];
                product_nt32(&centred[..range.len() * d], &map, d, &mut part);
                part
            },
            |range, part: Vec<f32>| values[range.start * p..range.end * p].copy_from_slice(&part),
        )?;
        let squares: Vec<f32> = values.chunks_exact(p).map(|t| t.iter().map(|x| x * x).sum()).collect();
        let size = map.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        // Two images, of sums of d products with factors that were rounded themselves.
        let error = 2.0 * (d as f64 + 8.0) * EPS * size * self.longest;
        let largest = squares.iter().fold(0.0f32, |m, &x| m.max(x));
        let down = [1.0 - (p as f64 + 8.0) * EPS, f64::from(vanished(p)).sqrt()];
        Ok(Images { values, squares, dimensions: p, scale: Scale { shrink, error }, largest, down })
    }
}

/// Images of rows, by position.
pub struct Images {
    values: Vec<f32>,
    pub squares: Vec<f32>,
    dimensions: usize,
    pub scale: Scale,
    /// Of `squares`.
    largest: f32,
    /// What a rounded distance is multiplied by, and what is taken away, to be no more than the true one.
    down: [f64; 2],
}

/// What binary32 makes of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The metric was multiplied by this power of two.
    shrink: f64,
    /// How far the distance of two images is from that of the rows at most.
    error: f64,
}

/// Distances of images under a reference, from those under another metric, and the other way round.
#[derive(Debug, Clone, Copy)]
pub struct View {
    drift: f64,
    ratio: f64,
    errors: [f64; 2],
}

impl View {
    /// What a distance of images is at least, for one under the reference.
    #[must_use]
    pub fn of_images_down(&self, distance: f64) -> f64 {
        (1.0 - self.drift) * (distance - self.errors[0]) * self.ratio - self.errors[1]
    }

    /// What a distance under the reference may be taken for, for one of images.
    #[must_use]
    pub fn of_reference_down(&self, distance: f64) -> f64 {
        (distance - self.errors[1]) / (self.ratio * (1.0 + self.drift)) + self.errors[0]
    }
}

impl Images {
    #[must_use]
    pub fn row(&self, position: usize) -> &[f32] {
        &self.values[position * self.dimensions..][..self.dimensions]
    }

    /// The squared distance of two images, from their difference: the one that neighbours are ranked by.
    #[must_use]
    pub fn square(&self, a: usize, b: usize) -> f32 {
        let (a, b) = (self.row(a).chunks_exact(LANES), self.row(b).chunks_exact(LANES));
        let rest = a.remainder().iter().zip(b.remainder());
        let mut sums = [0.0f32; LANES];
        rest.zip(&mut sums).for_each(|((x, y), sum)| *sum = (x - y) * (x - y));
        for (a, b) in a.zip(b) {
            for lane in 0..LANES {
                let gap = a[lane] - b[lane];
                sums[lane] += gap * gap;
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }

    /// What the distance of images is at least for the root of its computed [`square`](Self::square), and the other way
    /// round.
    #[must_use]
    pub fn rounded_down(&self, distance: f64) -> f64 {
        distance * self.down[0] - self.down[1]
    }

    /// What the distance of two images is at least, for a [`square`](Self::square).
    #[must_use]
    pub fn distance_down(&self, square: f32) -> f64 {
        self.rounded_down(f64::from(square).sqrt())
    }

    /// The same for squares from products, `‖a‖² + ‖b‖² − 2⟨a, b⟩`, of the row `a` at a position and all `b` of which
    /// they are no less than this.
    #[must_use]
    pub fn distance_down_by_products(&self, square: f32, position: usize) -> f64 {
        self.distance_down((square - self.off(square, position)).max(0.0))
    }

    /// What squares from products may be off by for rows at this squared distance of the row at a position, or more.
    fn off(&self, square: f32, position: usize) -> f32 {
        let own = self.squares[position];
        // Longer ones are farther away by their length alone.
        let length = (own.sqrt() + square.sqrt()) * (1.0 + self.rounding());
        4.0 * self.rounding() * (own + self.largest.min(length * length)) + vanished(self.dimensions)
    }

    /// What squares from products are at most, for rows no farther from that at a position than the farthest of some.
    #[must_use]
    pub fn limit(&self, rows: &[u32], position: usize) -> f32 {
        let farthest = rows.iter().fold(0.0f32, |m, &row| m.max(self.square(position, row as usize)));
        farthest + self.off(farthest, position)
    }

    /// The images of a range, row-major.
    #[must_use]
    pub fn rows(&self, range: &Range<usize>) -> &[f32] {
        &self.values[range.start * self.dimensions..range.end * self.dimensions]
    }

    /// The products of images, row-major `(m, p)`, with those of a range.
    pub fn products(&self, images: &[f32], range: &Range<usize>, products: &mut [f32]) {
        product_nt32(images, self.rows(range), self.dimensions, products);
    }

    /// Itself as the reference.
    #[must_use]
    pub fn own_view(&self) -> View {
        View { drift: 0.0, ratio: 1.0, errors: [0.0; 2] }
    }

    /// As seen from a reference, under which no length differs by more than a share of `drift`.
    #[must_use]
    pub fn view(&self, reference: &Scale, drift: f64) -> View {
        View {
            drift,
            ratio: self.scale.shrink / reference.shrink,
            errors: [reference.error, self.scale.error],
        }
    }

    fn rounding(&self) -> f32 {
        (self.dimensions as f32 + 8.0) * f32::EPSILON
    }

    /// How far the farthest of the last candidates are, and what binary32 may be off by: nothing beyond is worth taking.
    /// Infinite where there are too few of them.
    pub fn limits(&self, last: &Candidates, team: &Team, control: &Control) -> Result<Limits> {
        let limit = |slot| last.bounding(slot).map_or(f32::INFINITY, |rows| self.limit(rows, slot / 2));
        let n = self.squares.len();
        let mut limits = [0, 1].map(|_| vec![0.0; n]);
        team.for_chunks(
            n,
            256,
            control,
            || (),
            |(), part| [0, 1].map(|kind| part.clone().map(|row| limit(2 * row + kind)).collect::<Vec<f32>>()),
            |part, found| {
                let both = limits.iter_mut().zip(found);
                both.for_each(|(limits, found)| limits[part.clone()].copy_from_slice(&found));
            },
        )?;
        Ok(limits)
    }
}

/// More than what squares lose that binary32 cannot tell from 0.
pub fn vanished(dimensions: usize) -> f32 {
    (dimensions as f32 + 8.0) * f32::MIN_POSITIVE
}
