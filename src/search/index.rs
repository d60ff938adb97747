//! The training rows, prepared once: grouped by class, embedded, stored in a [`Ladder`].

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::geometry::predicates::coincide;
use crate::geometry::rounding::{LARGEST_MAGNITUDE, TINY, exponent, power_of_two};
use crate::metric::Metric;
use crate::parallel::{Control, Team};
use crate::search::arrange::{
    checked_order, class_starts, gather_neighbours, largest_offset, leading_coordinates, median_row,
};
use crate::search::duplicates::{first_copies, merge_coinciding};
use crate::search::embed::FineImages;
use crate::search::ladder::Ladder;
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
    pub(super) metric: Metric,
    pub(super) embedding: Embedding,
    /// Position to row.
    order: Vec<u32>,
    codes: Vec<u32>,
    class_starts: Vec<usize>,
    /// By position: the first of the caller's rows that lies in the same place, as far as the metric can tell.
    canonical: Vec<u32>,
    has_copies: bool,
    pub(super) centre: Vec<f64>,
    /// Everything is computed in units of `2^exponent`: centred rows are below one in magnitude.
    exponent: i32,
    scale: f64,
    /// The same for each feature, but 0 for one that the metric does not see.
    pub(super) scales: Vec<f64>,
    pub(super) ladder: Ladder,
    /// By position: an upper bound on `‖x − μ‖`, scaled.
    pub(super) norms: Vec<f64>,
    /// By position: an upper bound on `‖Bᵀ B(x − μ)‖²`, scaled; see [`Screen`](crate::certify::screen::Screen).
    pub(super) normal_squares: Vec<f32>,
    pub(super) fine: Option<FineImages>,
}

impl Index {
    /// Prepares the rows. Cost: one product of `(n, d)` with `(d, p)`, one or two passes over the rows.
    pub fn build(training: Training, team: &Team, control: &Control) -> Result<Self> {
        let features = training.metric.features();
        let mut order = checked_order(&training)?;
        let values = training.rows.values();
        let centre = median_row(values, features);
        let largest = largest_offset(values, &centre, &training.metric);
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
            has_copies: false,
            ladder: Ladder::with_rows(order.len(), embedding.dimensions()),
            norms: vec![0.0; order.len()],
            normal_squares: Vec::new(),
            fine: None,
            scale,
            scales: scales_of(&training.metric, scale),
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
            has_copies: self.has_copies,
            centre: self.centre.clone(),
            ladder: Ladder::with_rows(self.order.len(), self.embedding.dimensions()),
            norms: vec![0.0; self.order.len()],
            normal_squares: Vec::new(),
            fine: None,
            exponent,
            scale: power_of_two(-exponent),
            scales: scales_of(&self.metric, power_of_two(-exponent)),
        };
        index.embed_rows(team, control)?;
        Ok(index)
    }

    /// Upper bounds on `‖BᵀB(x − μ)‖²` by position.
    #[must_use]
    pub fn normal_squares(&self) -> &[f32] {
        &self.normal_squares
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

    /// Whether there are rows in the same place at all.
    #[must_use]
    pub fn has_copies(&self) -> bool {
        self.has_copies
    }

    fn find_copies(&mut self) {
        let mut first = first_copies(self.rows.values(), self.features());
        if !self.metric.is_euclidean() {
            let mut images = vec![(0, &[][..], 0.0); self.len()];
            for position in 0..self.len() {
                let (image, _) = self.fine(position).expect("images are kept for this metric");
                // The defect moves a point of the null space by its share of the length.
                let share = self.embedding.relative_error + self.embedding.distance_defect();
                let error = share * self.norms[position] + TINY;
                images[position] = (self.order[position], image, error);
            }
            let coincide = |a: u32, b: u32| {
                let row = |i: u32| &self.rows.values()[i as usize * self.features()..][..self.features()];
                coincide(row(a), row(b), self.metric.form())
            };
            merge_coinciding(&mut first, images, coincide);
        }
        self.canonical = self.order.iter().map(|&row| first[row as usize]).collect();
        self.has_copies = self.canonical.iter().zip(&self.order).any(|(first, row)| first != row);
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

    /// [`scale`](Self::scale) for each feature that the metric sees, 0 for the others.
    #[must_use]
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// An upper bound on `‖x − μ‖` at a position, scaled; features that the metric does not see do not count.
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
        let features = query.iter().zip(&self.centre).zip(&self.scales).filter(|f| *f.1 > 0.0);
        let offset = features.fold(0.0f64, |m, ((x, c), _)| m.max((x - c).abs()));
        match exponent(offset) {
            Some(e) if e > self.exponent + 20 => ((e + 31) / 32 * 32).min(1000),
            _ => self.exponent,
        }
    }

    /// Bytes held besides the caller's rows.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let fine = self.fine.as_ref().map_or(0, |f| 8 * (f.images.len() + f.duals.len()));
        self.ladder.memory_bytes() + fine + 17 * self.order.len()
    }
}

fn scales_of(metric: &Metric, scale: f64) -> Vec<f64> {
    (0..metric.features()).map(|feature| if metric.sees(feature) { scale } else { 0.0 }).collect()
}
