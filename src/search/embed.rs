//! Rows into the coordinates of the search: images in binary64, their duals, points of the ladder.

use crate::error::Result;
use crate::geometry::dot::{depth, dot, norm_up, squared_norm, two_sum};
use crate::geometry::matrix::product_nt_accurate;
use crate::geometry::rounding::{TINY, gamma, up, up32};
use crate::parallel::{Control, Team};
use crate::search::index::Index;
use crate::search::ladder::{Ladder, Point};
use std::ops::Range;

/// A query: the caller's row and its image.
pub struct Query<'a> {
    pub row: &'a [f64],
    pub image: &'a [f64],
    /// An upper bound on `‖z − μ‖`, scaled.
    pub norm: f64,
    pub point: &'a Point,
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

/// Images in binary64, kept for metrics other than the Euclidean (there the rows themselves serve).
pub(super) struct FineImages {
    /// `B(x − μ)`, by position.
    pub(super) images: Vec<f64>,
    /// `BBᵀB(x − μ)`: the inner product of an image with it is one of `M(x − μ)` with itself.
    pub(super) duals: Vec<f64>,
    /// The computed dual of an image `t` is within this times `‖t‖` of `BBᵀt`.
    pub(super) dual_error: f64,
}

const ROWS_PER_CHUNK: usize = 256;

impl Index {
    pub(super) fn embed_rows(&mut self, team: &Team, control: &Control) -> Result<()> {
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

    /// Images, norms and ladder points of caller's rows.
    pub fn embed_queries(&self, queries: &[f64]) -> Embedded {
        self.embed(queries.chunks_exact(self.features()), &self.ladder)
    }

    fn embed<'a>(&self, rows: impl Iterator<Item = &'a [f64]>, layout: &Ladder) -> Embedded {
        let p = self.embedding.dimensions();
        let (mut centred, mut lost) = (Vec::new(), Vec::new());
        for row in rows {
            for ((&x, &c), &s) in row.iter().zip(&self.centre).zip(&self.scales) {
                let (difference, rest) = two_sum(x, -c);
                centred.push(difference * s);
                lost.push(rest * s);
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
        up((self.embedding.relative_error + self.embedding.distance_defect()) * norm)
    }
}
