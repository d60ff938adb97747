//! The training rows, prepared once: grouped by class, embedded, stored in a [`Ladder`].

use crate::error::{Error, Result};
use crate::geometry::dot::{
    depth, dot, norm_up, squared_distance, squared_distance_precise, squared_norm, two_sum,
};
use crate::geometry::matrix::product_nt_accurate;
use crate::geometry::predicates::{coincide, compare_distances};
use crate::geometry::rounding::{LARGEST_MAGNITUDE, TINY, exponent, gamma, power_of_two, up, up32};
use crate::metric::{Embedding, Metric};
use crate::parallel::{Control, Team};
use crate::search::arrange::{
    checked_order, class_starts, gather_neighbours, largest_offset, leading_coordinates, median_row,
};
use crate::search::duplicates::{first_copies, merge_coinciding};
use crate::search::ladder::{Ladder, Point};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// The rows as the caller holds them: row-major, `d` numbers each, unchanged for the life of the index.
pub trait RowStore: Send + Sync {
    fn values(&self) -> &[f64];
}

impl RowStore for Vec<f64> {
    fn values(&self) -> &[f64] {
        self
    }
}

/// What an [`Index`] is made of.
pub struct Training<'a> {
    pub rows: Arc<dyn RowStore>,
    /// Class of each row, below `classes`.
    pub codes: &'a [i64],
    pub classes: usize,
    pub metric: Metric,
    /// A hint, `(p, p)`: rows are the principal axes of the embedded data. Any values are safe.
    pub rotation: Option<&'a [f64]>,
}

/// Training rows ready for search. *Positions* run over the rows grouped by class and, within a class, by
/// place, so that most panels can be skipped as a whole; *rows* are the caller's indices.
pub struct Index {
    rows: Arc<dyn RowStore>,
    metric: Metric,
    embedding: Embedding,
    /// Position to row.
    order: Vec<u32>,
    codes: Vec<u32>,
    class_starts: Vec<usize>,
    /// By position: the first of the caller's rows that lies in the same place, as far as the metric can tell.
    canonical: Vec<u32>,
    centre: Vec<f64>,
    /// Everything is computed in units of `2^exponent`: centred rows are below one in magnitude.
    exponent: i32,
    scale: f64,
    ladder: Ladder,
    /// By position: an upper bound on `‖x − μ‖`, scaled.
    norms: Vec<f64>,
    /// By position: an upper bound on `‖Bᵀ B(x − μ)‖²`, scaled; see [`Screen`](crate::certify::screen::Screen).
    normal_squares: Vec<f32>,
    fine: Option<FineImages>,
}

/// Images in binary64, kept for metrics other than the Euclidean (there the rows themselves serve).
struct FineImages {
    /// `B(x − μ)`, by position.
    images: Vec<f64>,
    /// `BBᵀB(x − μ)`: the inner product of an image with it is one of `M(x − μ)` with itself.
    duals: Vec<f64>,
    /// The computed dual of an image `t` is within this times `‖t‖` of `BBᵀt`.
    dual_error: f64,
}

/// A query: the caller's row and its image.
pub struct Query<'a> {
    pub row: &'a [f64],
    pub image: &'a [f64],
    /// An upper bound on `‖z − μ‖`, scaled.
    pub norm: f64,
    pub point: &'a Point,
}

/// A squared distance in scaled units and a bound on its error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub value: f64,
    pub error: f64,
}

const ROWS_PER_CHUNK: usize = 256;

impl Index {
    /// Prepares the rows. Cost: one product of `(n, d)` with `(d, p)`, one or two passes over the rows.
    pub fn build(training: Training, team: &Team, control: &Control) -> Result<Self> {
        let features = training.metric.features();
        let mut order = checked_order(&training)?;
        let values = training.rows.values();
        let centre = median_row(values, features);
        let largest = largest_offset(values, &centre);
        if let Some(bad) = values.iter().position(|x| x.is_nan() || x.abs() > LARGEST_MAGNITUDE) {
            return Err(Error::Value { argument: "rows", row: bad / features });
        }
        let exponent = exponent(largest).unwrap_or(0).clamp(-1000, 1000);
        let embedding = Embedding::new(&training.metric, training.rotation, &|| control.is_interrupted());
        if control.is_interrupted() {
            return Err(Error::Interrupted);
        }
        let starts = class_starts(training.codes, training.classes);
        let scale = power_of_two(-exponent);
        let leading = leading_coordinates(values, &centre, scale, &embedding, team, control)?;
        for class in starts.windows(2) {
            gather_neighbours(&mut order[class[0]..class[1]], class[0], &leading);
        }
        let mut index = Self {
            codes: order.iter().map(|&row| training.codes[row as usize] as u32).collect(),
            class_starts: starts,
            canonical: Vec::new(),
            ladder: Ladder::with_rows(order.len(), embedding.dimensions()),
            norms: vec![0.0; order.len()],
            normal_squares: Vec::new(),
            fine: None,
            scale,
            rows: training.rows,
            metric: training.metric,
            embedding,
            order,
            centre,
            exponent,
        };
        index.embed_rows(team, control)?;
        index.find_copies();
        Ok(index)
    }

    /// The same rows in units of `2^exponent`, for queries far outside the training data.
    pub fn rescaled(&self, exponent: i32, team: &Team, control: &Control) -> Result<Self> {
        let exponent = exponent.clamp(-1000, 1000);
        let mut index = Self {
            rows: self.rows.clone(),
            metric: self.metric.clone(),
            embedding: self.embedding.clone(),
            order: self.order.clone(),
            codes: self.codes.clone(),
            class_starts: self.class_starts.clone(),
            canonical: self.canonical.clone(),
            centre: self.centre.clone(),
            ladder: Ladder::with_rows(self.order.len(), self.embedding.dimensions()),
            norms: vec![0.0; self.order.len()],
            normal_squares: Vec::new(),
            fine: None,
            exponent,
            scale: power_of_two(-exponent),
        };
        index.embed_rows(team, control)?;
        Ok(index)
    }

    fn embed_rows(&mut self, team: &Team, control: &Control) -> Result<()> {
        let (n, p) = (self.len(), self.embedding.dimensions());
        let mut ladder = std::mem::replace(&mut self.ladder, Ladder::with_rows(0, p));
        let layout = Ladder::with_rows(0, p);
        let mut norms = std::mem::take(&mut self.norms);
        let mut normal_squares = vec![0.0; n];
        let gram = if self.metric.is_euclidean() { None } else { self.embedding.gram() };
        let mut fine = gram.as_ref().map(|&(_, dual_error)| FineImages {
            images: vec![0.0; n * p],
            duals: vec![0.0; n * p],
            dual_error,
        });
        let dual_error = fine.as_ref().map_or(0.0, |f| f.dual_error);
        let this = &*self;
        control.expect(n);
        team.for_chunks(
            n,
            ROWS_PER_CHUNK,
            control,
            || (),
            |(), positions| {
                let rows = positions.clone().map(|position| this.row(position));
                let embedded = this.embed(rows, &layout);
                let duals = gram.as_ref().map(|(gram, _)| {
                    let mut duals = vec![0.0; positions.len() * p];
                    let lost = vec![0.0; duals.len()];
                    product_nt_accurate(&embedded.images, &lost, gram, &mut duals);
                    duals
                });
                (embedded, duals)
            },
            |positions: Range<usize>, (embedded, duals): (Embedded, Option<Vec<f64>>)| {
                ladder.store(positions.start, &embedded.points);
                norms[positions.clone()].copy_from_slice(&embedded.norms);
                let squares = this.normal_squares_of(&embedded, duals.as_deref(), dual_error);
                normal_squares[positions.clone()].copy_from_slice(&squares);
                if let (Some(fine), Some(duals)) = (&mut fine, duals) {
                    fine.images[positions.start * p..positions.end * p].copy_from_slice(&embedded.images);
                    fine.duals[positions.start * p..positions.end * p].copy_from_slice(&duals);
                }
                control.advance(positions.len());
            },
        )?;
        (self.ladder, self.norms, self.fine) = (ladder, norms, fine);
        self.normal_squares = normal_squares;
        Ok(())
    }

    fn normal_squares_of(&self, embedded: &Embedded, duals: Option<&[f64]>, dual_error: f64) -> Vec<f32> {
        let p = self.embedding.dimensions();
        let images = embedded.images.chunks_exact(p);
        match duals {
            // Stored coordinates are off by a unit of binary32 at most.
            None => images.map(|t| up32(up(squared_norm(t) * (1.0 + 1e-6) + TINY))).collect(),
            Some(duals) => images
                .zip(duals.chunks_exact(p))
                .map(|(t, w)| {
                    let error =
                        (dual_error + gamma(depth(p)) * self.embedding.norm.powi(2)) * squared_norm(t);
                    up32(up(dot(t, w).max(0.0) + error * 1.001 + TINY))
                })
                .collect(),
        }
    }

    /// Upper bounds on `‖BᵀB(x − μ)‖²` by position.
    #[must_use]
    pub fn normal_squares(&self) -> &[f32] {
        &self.normal_squares
    }

    /// Images, norms and ladder points of caller's rows.
    pub fn embed_queries(&self, queries: &[f64]) -> Embedded {
        self.embed(queries.chunks_exact(self.features()), &self.ladder)
    }

    fn embed<'a>(&self, rows: impl Iterator<Item = &'a [f64]>, layout: &Ladder) -> Embedded {
        let p = self.embedding.dimensions();
        let (mut centred, mut lost) = (Vec::new(), Vec::new());
        for row in rows {
            for (&x, &c) in row.iter().zip(&self.centre) {
                let (difference, rest) = two_sum(x, -c);
                centred.push(difference * self.scale);
                lost.push(rest * self.scale);
            }
        }
        let norms: Vec<f64> = centred.chunks_exact(self.features()).map(norm_up).collect();
        let mut images = vec![0.0; norms.len() * p];
        self.embedding.apply(&centred, &lost, &mut images);
        let points = norms
            .iter()
            .zip(images.chunks_exact(p))
            .map(|(norm, image)| {
                let mut point = Point::default();
                layout.encode(image, self.image_error(*norm), &mut point);
                point
            })
            .collect();
        Embedded { images, norms, points }
    }

    /// `E` less the rounding to binary32: the embedding's rounding and, in units of distance, its defect.
    fn image_error(&self, norm: f64) -> f64 {
        let defect = self.embedding.defect;
        // Euclidean: |d² − ‖Bv‖²| ≤ κd², so d is off by at most κd. Otherwise by at most √κ‖v‖.
        let share = if self.metric.is_euclidean() { defect } else { defect.sqrt() };
        up((self.embedding.relative_error + share) * norm)
    }

    /// Number of training rows, `n`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of input features, `d`.
    #[must_use]
    pub fn features(&self) -> usize {
        self.metric.features()
    }

    #[must_use]
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    #[must_use]
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    #[must_use]
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Number of classes, empty ones included.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.class_starts.len() - 1
    }

    /// Positions of a class.
    #[must_use]
    pub fn class_range(&self, class: usize) -> Range<usize> {
        self.class_starts[class]..self.class_starts[class + 1]
    }

    /// Class of a position.
    #[must_use]
    pub fn class_of(&self, position: usize) -> usize {
        self.codes[position] as usize
    }

    /// The caller's index of a position.
    #[must_use]
    pub fn row_index(&self, position: usize) -> usize {
        self.order[position] as usize
    }

    /// The caller's values at a position.
    #[must_use]
    pub fn row(&self, position: usize) -> &[f64] {
        let d = self.features();
        &self.rows.values()[self.order[position] as usize * d..][..d]
    }

    /// The first of the caller's rows that lies in the same place as the row at a position.
    #[must_use]
    pub fn canonical(&self, position: usize) -> usize {
        self.canonical[position] as usize
    }

    /// Whether an earlier row lies in the same place. Ties go to the lowest index, so a shadowed row is never
    /// the nearest neighbour of any point.
    #[must_use]
    pub fn is_shadowed(&self, position: usize) -> bool {
        self.canonical[position] != self.order[position]
    }

    fn find_copies(&mut self) {
        let mut first = first_copies(self.rows.values(), self.features());
        if let Some(components) = self.metric.components() {
            let p = self.embedding.dimensions();
            let mut images = vec![(0, &[][..], 0.0); self.len()];
            for position in 0..self.len() {
                let (image, _) = self.fine(position).expect("images are kept for this metric");
                let error = self.embedding.relative_error * self.norms[position] + TINY;
                images[position] = (self.order[position], image, error);
            }
            let coincide = |a: u32, b: u32| {
                let row = |i: u32| &self.rows.values()[i as usize * self.features()..][..self.features()];
                coincide(row(a), row(b), Some(components))
            };
            // The defect of the rotation moves a point of the null space by this share of its length.
            let defect = self.embedding.defect.sqrt() * 2.0 * (self.features() as f64).sqrt();
            debug_assert!(p > 0);
            merge_coinciding(&mut first, images, defect, coincide);
        }
        self.canonical = self.order.iter().map(|&row| first[row as usize]).collect();
    }

    /// The power of two that scaled radii are multiples of.
    #[must_use]
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// `2^−exponent`.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The caller's units of distance are scaled units times two to this power.
    #[must_use]
    pub fn distance_exponent(&self) -> i32 {
        self.exponent + self.metric.exponent()
    }

    /// An upper bound on `‖x − μ‖` at a position, scaled.
    #[must_use]
    pub fn norm(&self, position: usize) -> f64 {
        self.norms[position]
    }

    /// Image and dual image in binary64; `None` for the Euclidean metric.
    #[must_use]
    pub fn fine(&self, position: usize) -> Option<(&[f64], &[f64])> {
        let p = self.embedding.dimensions();
        self.fine.as_ref().map(|f| (&f.images[position * p..][..p], &f.duals[position * p..][..p]))
    }

    /// See [`FineImages::dual_error`].
    #[must_use]
    pub fn dual_error(&self) -> f64 {
        self.fine.as_ref().map_or(0.0, |f| f.dual_error)
    }

    /// The power of two that a query has to be computed with: the index's own, or, for a query further
    /// than `2^20` times its extent away, a coarser one.
    #[must_use]
    pub fn exponent_for(&self, query: &[f64]) -> i32 {
        let offset = query.iter().zip(&self.centre).fold(0.0f64, |m, (x, c)| m.max((x - c).abs()));
        match exponent(offset) {
            Some(e) if e > self.exponent + 20 => ((e + 31) / 32 * 32).min(1000),
            _ => self.exponent,
        }
    }

    /// `d²(z, x)` for the row at a position, in scaled units.
    #[must_use]
    pub fn squared_distance(&self, position: usize, query: &Query) -> Measured {
        match self.fine(position) {
            None => {
                let value = squared_distance(self.row(position), query.row, self.scale);
                Measured { value, error: up(gamma(depth(self.features())) * value) }
            }
            Some((image, _)) => {
                let value = squared_distance(image, query.image, 1.0);
                Measured { value, error: self.image_square_error(value, self.norms[position] + query.norm) }
            }
        }
    }

    /// `d²(u, x)` between the row at a position and any point `u` of input space, in scaled units, as
    /// accurately as binary64 can hold it. Euclidean metric only.
    #[must_use]
    pub fn squared_distance_precise(&self, position: usize, point: &[f64]) -> Measured {
        let value = squared_distance_precise(self.row(position), point, self.scale);
        Measured { value, error: 4.0 * f64::EPSILON * value + TINY }
    }

    /// Error of a squared distance between two computed images whose centred norms sum to `norms`.
    #[must_use]
    pub fn image_square_error(&self, value: f64, norms: f64) -> f64 {
        let offset = self.embedding.relative_error * norms;
        up(gamma(depth(self.embedding.dimensions())) * value
            + offset * (2.0 * value.sqrt() + offset)
            + self.embedding.defect * norms * norms
            + TINY)
    }

    /// Orders two positions by their exact distance from the query, ties by the caller's index.
    #[must_use]
    pub fn compare(&self, a: (usize, Measured), b: (usize, Measured), query: &Query) -> Ordering {
        let difference = a.1.value - b.1.value;
        if difference.abs() > up(a.1.error + b.1.error) {
            return difference.total_cmp(&0.0);
        }
        let (row_a, row_b) = (self.row(a.0), self.row(b.0));
        let by_distance = if row_a == row_b {
            Ordering::Equal
        } else {
            compare_distances(query.row, row_a, row_b, self.metric.components())
        };
        by_distance.then_with(|| self.order[a.0].cmp(&self.order[b.0]))
    }

    /// Bytes held besides the caller's rows.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let fine = self.fine.as_ref().map_or(0, |f| 8 * (f.images.len() + f.duals.len()));
        self.ladder.memory_bytes() + fine + 17 * self.order.len()
    }
}

/// Rows after embedding.
pub struct Embedded {
    pub images: Vec<f64>,
    pub norms: Vec<f64>,
    pub points: Vec<Point>,
}

impl Embedded {
    /// The `i`-th of these rows as a query; `row` holds its values.
    #[must_use]
    pub fn query<'a>(&'a self, i: usize, row: &'a [f64]) -> Query<'a> {
        let p = self.images.len() / self.norms.len();
        Query { row, image: &self.images[i * p..][..p], norm: self.norms[i], point: &self.points[i] }
    }
}
