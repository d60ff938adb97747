//! A perturbed test point, known well enough to decide what class it is given.
//!
//! `p = z + δ` is stored as the binary64 numbers that a caller will get, and as a point of the ladder, which tells
//! the few rows near it. Those are compared by differences of rows; where products with `B` are dear, at
//! first by the image that the multipliers of `δ` give for nothing, with the error of this shortcut.

use crate::certify::scene::Scene;
use crate::geometry::dot::{axpy, depth, norm_up, square_gap, squared_distance};
use crate::geometry::rounding::{TINY, gamma, up};
use crate::geometry::simd::Kernels;
use crate::search::distance::{Measured, Scratch, length_up};
use crate::search::embed::Query;
use crate::search::index::Index;
use crate::search::ladder::{Point, RowLimit};
use crate::search::neighbors::high;

/// Violations below this share of the distance are left to the finish.
const RESOLUTION: f64 = 1e-6;
/// Up to this many entries of `B`, products with it cost next to nothing.
pub const SMALL_MAP: usize = 1 << 14;

/// A perturbed test point.
#[derive(Debug, Default)]
pub struct Probe {
    /// `p`, in the caller's units.
    pub row: Vec<f64>,
    /// Its image, if it was given one.
    image: Vec<f64>,
    image_error: f64,
    norm: f64,
    point: Point,
    /// What a row's distance in the ladder may differ by between `z` and `p`: that of their stored points, and the error
    /// of `p`.
    moved: f64,
    /// Upper bounds on `‖p − z‖`: scaled, and in the caller's units, where nothing underflows.
    pub length: f64,
    pub unscaled_length: f64,
    scratch: Vec<f64>,
    differences: Scratch,
}

/// A displacement in all the coordinates that a [`Probe`] needs, and the error between them.
pub struct Displacement<'a> {
    /// `δ` in input space, scaled units.
    pub input: &'a [f64],
    /// Its image in the coordinates of the ladder, to the accuracy of the ladder.
    pub ladder: &'a [f64],
    /// Bounds the distance of `ladder` from the true image of `input`.
    pub ladder_error: f64,
    /// Its binary64 image with its error, if distances are to be measured between images.
    pub image: Option<(&'a [f64], f64)>,
}

impl Probe {
    /// `p = z + δ`.
    pub fn place(&mut self, index: &Index, query: &Query, delta: &Displacement) {
        let scale = index.scale();
        self.row.clear();
        self.row.extend(query.row.iter().zip(delta.input).map(|(z, x)| z + x / scale));
        // What rounding made of the displacement: `(p − z)` scaled, less the intended one.
        self.scratch.clear();
        self.scratch
            .extend(self.row.iter().zip(query.row).zip(delta.input).map(|((p, z), x)| (p - z) * scale - x));
        let intended = norm_up(delta.input);
        let rounded = norm_up(&self.scratch) + 4.0 * f64::EPSILON * intended;
        self.measure_length(query, scale);
        self.norm = up(query.norm + self.length);
        let embedding = index.embedding();
        let off = up(embedding.norm * rounded);
        self.image.clear();
        if let Some((image, error)) = delta.image {
            self.image.extend(query.image.iter().zip(image).map(|(t, x)| t + x));
            self.image_error = up(embedding.relative_error * query.norm
                + error
                + off
                + 4.0 * f64::EPSILON * (norm_up(query.image) + norm_up(image)));
        }
        self.scratch.resize(embedding.dimensions(), 0.0);
        index.ladder().decode_point(query.point, &mut self.scratch);
        self.scratch.iter_mut().zip(delta.ladder).for_each(|(t, x)| *t += x);
        // The ladder promises distances in the metric, not in `B`.
        let off = up(off + embedding.distance_defect() * self.length);
        let error =
            query.point.error + delta.ladder_error + off + 4.0 * f64::EPSILON * norm_up(&self.scratch);
        index.ladder().encode(&self.scratch, error, &mut self.point);
        let moved = up(norm_up(delta.ladder) + 2.0 * self.point.error);
        // Where rows nearly coincide multipliers may overflow: nothing is known of the place then.
        self.moved = if moved.is_nan() { f64::INFINITY } else { moved };
    }

    /// `p` as a query of its own, in the Euclidean metric.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        Query { row: &self.row, image: &[], norm: self.norm, point: &self.point }
    }

    /// Only the point of the ladder, for a search that does not have to prove anything yet.
    pub fn place_in_ladder(&mut self, index: &Index, query: &Query, displacement: &[f64]) {
        self.scratch.resize(displacement.len(), 0.0);
        index.ladder().decode_point(query.point, &mut self.scratch);
        self.scratch.iter_mut().zip(displacement).for_each(|(t, x)| *t += x);
        index.ladder().encode(&self.scratch, query.point.error, &mut self.point);
        self.moved = up(norm_up(displacement) + 2.0 * self.point.error);
    }

    /// The distance from `p` to the row at a position, by the ladder.
    #[must_use]
    pub fn ladder_distance(&self, kernels: &Kernels, index: &Index, position: usize) -> f64 {
        let interval = index.ladder().within(kernels, position, &self.point, f64::INFINITY);
        interval.map_or(f64::INFINITY, |(low, high)| (low + high) / 2.0)
    }

    /// Puts `p` where a training row is, as far as the metric can see; it can then be measured from the test
    /// point and nothing else.
    pub fn place_at(&mut self, index: &Index, query: &Query, position: usize) {
        self.row = index.seen_row(position, query.row);
        self.image.clear();
        self.measure_length(query, index.scale());
    }

    fn measure_length(&mut self, query: &Query, scale: f64) {
        self.unscaled_length = length_up(&self.row, query.row);
        self.length = up(self.unscaled_length * scale);
    }

    /// `d²(p, x)` for the row at a position.
    #[must_use]
    fn squared_distance(&mut self, index: &Index, position: usize) -> Measured {
        let Some((image, _)) = index.fine(position).filter(|_| !self.image.is_empty()) else {
            return index.squared_distance_to(position, &self.row, &mut self.differences);
        };
        let embedding = index.embedding();
        let value = squared_distance(image, &self.image, 1.0);
        let offset = embedding.relative_error * index.norm(position) + self.image_error;
        let norms = self.norm + index.norm(position);
        Measured {
            value,
            error: up(gamma(depth(self.image.len())) * value
                + offset * (2.0 * value.sqrt() + offset)
                + embedding.defect * norms * norms
                + TINY),
        }
    }

    /// `d²(p, x) − d²(p, x_j)` for the rows at a position and at a rival's.
    fn gap(&mut self, index: &Index, position: usize, rival: usize) -> Measured {
        let (Some((image, _)), Some((goal, _))) = (index.fine(position), index.fine(rival)) else {
            return index.gap(position, rival, &self.row, &mut self.differences);
        };
        if self.image.is_empty() {
            return index.gap(position, rival, &self.row, &mut self.differences);
        }
        // As there, the product ⟨t − t_j, (t − t_p) + (t_j − t_p)⟩; of errors, that of t_p is the large one.
        let embedding = index.embedding();
        let norms = index.norm(position) + index.norm(rival);
        let (own, about) = (embedding.relative_error * norms, 2.0 * self.image_error);
        let (value, size) = square_gap(image, goal, &self.image, 1.0);
        let apart = up(squared_distance(image, goal, 1.0).sqrt());
        let around = up(squared_distance(image, &self.image, 1.0).sqrt()
            + squared_distance(goal, &self.image, 1.0).sqrt());
        let error = gamma(depth(image.len()) + 6) * size
            + own * (around + own + about)
            + apart * (own + about)
            + embedding.defect * norms * (norms + 2.0 * self.norm);
        Measured { value, error: up(error * 1.0001 + TINY) }
    }

    /// Calls `visit` for the rows of the predicted class that may be within `limit` of `p`, with an interval
    /// for their distance. Every other row of the class is proven to be further away.
    pub fn visit_near(
        &self,
        scene: &Scene,
        limit: f64,
        found: &mut Vec<u32>,
        visit: impl FnMut(usize, f64, f64),
    ) {
        // In the coordinates of the ladder ‖x̂ − ẑ‖ ≤ ‖x̂ − p̂‖ + ‖p̂ − ẑ‖.
        let threshold = scene.index.ladder().threshold(scene.query.point, limit + self.moved);
        scene.scores.scan_around(
            scene.index,
            scene.kernels,
            (scene.class.clone(), threshold),
            (&self.point, RowLimit::uniform(limit)),
            found,
            visit,
        );
    }

    /// Calls `visit` for the rows of the predicted class that may be nearer than its goal, the row at a position, to one of
    /// some points, and nearer to the test point than the farthest goal.
    pub fn visit_nearer(scene: &Scene, points: &[(Self, usize)], visit: impl FnMut(usize)) {
        let Scene { index, kernels, query, .. } = *scene;
        let high = |point: &Point, position: usize| {
            let interval = index.ladder().within(kernels, position, point, f64::INFINITY);
            interval.map_or(f64::INFINITY, |(_, high)| high)
        };
        let around: Vec<_> =
            points.iter().map(|(probe, goal)| (&probe.point, high(&probe.point, *goal))).collect();
        let reach = points.iter().map(|p| high(query.point, p.1)).fold(0.0, f64::max);
        let threshold = index.ladder().threshold(query.point, reach);
        scene.scores.scan_around_any(index, kernels, (scene.class.clone(), threshold), &around, visit);
    }

    /// Into `near`: rows of the predicted class that are not known yet and nearer to `p` than the row at a position, by the
    /// ladder and by more than its resolution; nearest first.
    pub fn rows_in_the_way(
        &self,
        scene: &Scene,
        position: usize,
        is_known: impl Fn(usize) -> bool,
        found: &mut Vec<u32>,
        near: &mut Vec<(f64, usize)>,
    ) {
        let limit = self.ladder_distance(scene.kernels, scene.index, position) * (1.0 - RESOLUTION);
        near.clear();
        self.visit_near(scene, limit, found, |position, low, high| {
            let middle = (low + high) / 2.0;
            if middle < limit && !is_known(position) {
                near.push((middle, position));
            }
        });
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }

    /// Collects the rows of the predicted class that are not proven to be further from `p` than the row at
    /// `rival`, nearest first. If there are none, `p` is given another class.
    pub fn contenders(
        &mut self,
        scene: &Scene,
        rival: usize,
        found: &mut Vec<u32>,
        out: &mut Vec<(f64, usize)>,
    ) {
        let index = scene.index;
        let goal = self.squared_distance(index, rival);
        out.clear();
        self.visit_near(scene, high(goal), found, |position, _, _| out.push((0.0, position)));
        out.retain_mut(|(least, position)| {
            let gap = self.gap(index, *position, rival);
            *least = gap.value - gap.error;
            // A later row in the same place as the rival loses every tie to it.
            let copy = index.row_index(*position) > index.row_index(rival)
                && index.canonical(*position) == index.canonical(rival);
            (least.is_nan() || *least <= 0.0) && !copy
        });
        out.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
}

/// `Σ s_k x̂_k` in the coordinates of the ladder for weights with `Σ s_k = 0`; for metrics other than the Euclidean
/// `BBᵀ` times that. Rows are taken relative to the first, and the sum's rounding counts where rows nearly coincide: their
/// weights are of the order of the inverse of the gap.
pub fn combine_in_ladder(index: &Index, weights: impl Iterator<Item = (usize, f64)>, sum: &mut Vec<f64>) {
    let p = index.embedding().dimensions();
    let (mut origin, mut row) = (Vec::new(), vec![0.0; p]);
    sum.clear();
    sum.resize(p, 0.0);
    for (position, weight) in weights {
        match index.fine(position) {
            Some((_, dual)) => row.copy_from_slice(dual),
            None => index.ladder().decode(position, &mut row),
        }
        if origin.is_empty() {
            origin.clone_from(&row);
        }
        row.iter_mut().zip(&origin).for_each(|(x, o)| *x -= o);
        axpy(sum, weight, &row);
    }
}
