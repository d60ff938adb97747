//! The coordinates in which rows meet one test point: where they come from, and what they are differences to.

use crate::geometry::dot::{depth, norm_up, squared_distance};
use crate::geometry::matrix::product_depth;
use crate::geometry::rounding::{TINY, gamma, up};
use crate::search::distance::{Measured, Scratch, multiply, multiply_transposed};
use crate::search::embed::Query;
use crate::search::index::Index;

/// Where the rows' coordinates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Euclidean, binary32 images: cheap, in the coordinates of the ladder.
    Ladder,
    /// Euclidean, differences of the caller's own rows.
    Rows,
    /// Any other metric: binary64 images and dual images.
    Images,
    /// The same by `G` instead of `B`, of differences of the caller's own rows: dearer, and good to the digits of the
    /// differences.
    Differences,
}

/// Coordinates of one row relative to the origin, and what is known of its distance from the test point.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub position: usize,
    /// `t − t_o`.
    pub row: Vec<f64>,
    /// `BBᵀ(t − t_o)`; empty in Euclidean spaces, where it equals `row`.
    dual: Vec<f64>,
    /// `d²(z, x)`, less `d²(z, x_o)` in the spaces of differences, and its error.
    pub offset: Measured,
    pub norm: f64,
    pub dual_norm: f64,
    /// What errors of the images are relative to: an upper bound on `‖x − μ‖` or, of differences, `‖x − x_o‖`.
    pub reach: f64,
}

impl Member {
    /// `BBᵀ(t − t_o)`.
    #[must_use]
    pub fn dual(&self) -> &[f64] {
        if self.dual.is_empty() { &self.row } else { &self.dual }
    }
}

/// Errors per unit of [`Member::reach`].
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Of the image of a row, and of its dual.
    pub image: f64,
    pub dual: f64,
    /// `κ` of `B`, or of `G` where images are by it.
    pub defect: f64,
}

/// Coordinates of rows relative to one of them, the origin, so that nothing cancels when the data lie far from zero
/// or close together.
#[derive(Clone)]
pub struct Frame {
    space: Space,
    origin: (usize, Vec<f64>, Vec<f64>),
    centre: Vec<f64>,
    scratch: Scratch,
}

impl Frame {
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self { space, origin: Default::default(), centre: Vec::new(), scratch: Scratch::default() }
    }

    /// The space that coordinates are taken from.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Position of the origin.
    #[must_use]
    pub fn origin(&self) -> usize {
        self.origin.0
    }

    /// Moves the origin to the row at a position, for another test point.
    pub fn reset(&mut self, index: &Index, query: &Query, origin: usize) {
        self.origin.0 = origin;
        let p = index.embedding().dimensions();
        match self.space {
            Space::Ladder => {
                self.centre.resize(p, 0.0);
                index.ladder().decode_point(query.point, &mut self.centre);
                self.origin.1.resize(p, 0.0);
                index.ladder().decode(origin, &mut self.origin.1);
            }
            Space::Images => {
                let (image, dual) = index.fine(origin).expect("images are kept for this metric");
                self.origin.1.clear();
                self.origin.1.extend_from_slice(image);
                self.origin.2.clear();
                self.origin.2.extend_from_slice(dual);
            }
            Space::Rows | Space::Differences => (),
        }
    }

    /// Fills a member with the row at a position.
    pub fn gather(&mut self, index: &Index, query: &Query, position: usize, out: &mut Member) {
        out.position = position;
        match self.space {
            Space::Ladder => {
                out.row.resize(self.origin.1.len(), 0.0);
                index.ladder().decode(position, &mut out.row);
                out.offset = self.ladder_square(index, query, position, &out.row);
                out.row.iter_mut().zip(&self.origin.1).for_each(|(x, o)| *x -= o);
            }
            Space::Images => {
                let (image, dual) = index.fine(position).expect("images are kept for this metric");
                out.row.clear();
                out.row.extend(image.iter().zip(&self.origin.1).map(|(x, o)| x - o));
                out.dual.clear();
                out.dual.extend(dual.iter().zip(&self.origin.2).map(|(x, o)| x - o));
                out.offset = index.squared_distance(position, query);
                out.reach = index.norm(position);
            }
            Space::Rows | Space::Differences => self.gather_difference(index, query, out),
        }
        out.norm = norm_up(&out.row);
        out.dual_norm = if out.dual.is_empty() { out.norm } else { norm_up(&out.dual) };
    }

    fn gather_difference(&mut self, index: &Index, query: &Query, out: &mut Member) {
        let (position, origin) = (out.position, self.origin.0);
        if self.space == Space::Rows {
            let (row, other, scale) = (index.row(position), index.row(origin), index.scale());
            out.row.clear();
            out.row.extend(row.iter().zip(other).map(|(x, o)| (x - o) * scale));
        } else {
            let factor = index.metric().scaled_factor().unwrap_or_default();
            out.reach = index.image_of_difference(position, origin, &mut out.row, &mut self.scratch);
            let mut normal = Vec::new();
            multiply_transposed(factor, &out.row, index.features(), &mut normal);
            multiply(factor, &normal, &mut out.dual);
        }
        out.offset = if position == origin {
            Measured::default()
        } else {
            index.gap(position, origin, query.row, &mut self.scratch)
        };
    }

    /// What errors of images and dual images, and the defect, are per unit of [`reach`](Member::reach).
    #[must_use]
    pub fn error_rates(&self, index: &Index) -> Rates {
        let (embedding, metric) = (index.embedding(), index.metric());
        if self.space == Space::Differences {
            let rounding = gamma(embedding.dimensions() + 1) + gamma(depth(index.features()));
            let dual = 1.01 * rounding * metric.absolute_norm() * metric.scaled_norm_up().powi(2);
            Rates { image: metric.difference_error(), dual: up(dual), defect: metric.defect() }
        } else {
            let dual = up(index.dual_error() * embedding.norm * 1.001);
            Rates { image: embedding.relative_error, dual, defect: embedding.defect }
        }
    }

    /// Bounds the error of `Bᵀ row`, or `Gᵀ row` in differences, whichever product computed it.
    #[must_use]
    pub fn product_rounding(&self, index: &Index, row: &[f64]) -> f64 {
        let absolute_norm = if self.space == Space::Differences {
            index.metric().absolute_norm()
        } else {
            index.embedding().absolute_norm
        };
        gamma(product_depth(row.len()).max(row.len() + 1)) * absolute_norm * norm_up(row)
    }

    fn ladder_square(&self, index: &Index, query: &Query, position: usize, row: &[f64]) -> Measured {
        let value = squared_distance(row, &self.centre, 1.0);
        let offset = index.ladder().error(position) + query.point.error;
        Measured {
            value,
            error: up(gamma(depth(row.len())) * value + offset * (2.0 * value.sqrt() + offset) + TINY),
        }
    }
}
