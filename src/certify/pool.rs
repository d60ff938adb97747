//! The few class-c rows that matter for one test point, with their inner products, and the lower bound that
//! any multipliers on them prove.
//!
//! The same code works in three spaces. Rows are differences to the pool's first row, so that nothing
//! cancels when the data lie far from the origin or close together.

use crate::geometry::dot::{axpy, depth, dot, norm_up, squared_norm};
use crate::geometry::min_norm::Constraints;
use crate::geometry::rounding::{TINY, gamma, up};
use crate::search::index::{Index, Measured, Query};

/// Where the rows' coordinates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Euclidean, binary32 images: cheap, in the coordinates of the ladder.
    Ladder,
    /// Euclidean, the caller's own rows.
    Rows,
    /// The same, with distances to the last digits.
    PreciseRows,
    /// Any other metric: binary64 images and dual images.
    Images,
    /// The same, and images of perturbed points are computed from the points.
    FreshImages,
}

/// Coordinates of one row relative to the pool's origin, and its distance from the test point.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub position: usize,
    /// `t − t_o`.
    row: Vec<f64>,
    /// `BBᵀ(t − t_o)`; empty in Euclidean spaces, where it equals `row`.
    dual: Vec<f64>,
    /// `d²(z, x)` and its error.
    pub square: Measured,
    norm: f64,
}

impl Member {
    fn dual(&self) -> &[f64] {
        if self.dual.is_empty() { &self.row } else { &self.dual }
    }
}

/// The pool of one test point.
pub struct Pool {
    space: Space,
    origin: (Vec<f64>, Vec<f64>),
    centre: Vec<f64>,
    members: Vec<Member>,
    used: usize,
    /// Inner products of members, lower triangle, row after row.
    gram: Vec<f64>,
}

impl Pool {
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self {
            space,
            origin: Default::default(),
            centre: Vec::new(),
            members: Vec::new(),
            used: 0,
            gram: Vec::new(),
        }
    }

    /// The space that coordinates are taken from.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Empties the pool for another test point; `origin` becomes the point that differences are taken to.
    pub fn reset(&mut self, index: &Index, query: &Query, origin: usize) {
        self.used = 0;
        self.gram.clear();
        let p = index.embedding().dimensions();
        match self.space {
            Space::Ladder => {
                self.centre.resize(p, 0.0);
                index.ladder().decode_point(query.point, &mut self.centre);
                self.origin.0.resize(p, 0.0);
                index.ladder().decode(origin, &mut self.origin.0);
            }
            Space::Rows | Space::PreciseRows => {
                self.origin.0.clear();
                self.origin.0.extend_from_slice(index.row(origin));
            }
            Space::Images | Space::FreshImages => {
                let (image, dual) = index.fine(origin).expect("images are kept for this metric");
                self.origin.0.clear();
                self.origin.0.extend_from_slice(image);
                self.origin.1.clear();
                self.origin.1.extend_from_slice(dual);
            }
        }
    }

    /// Fills a member with the row at a position.
    pub fn gather(&self, index: &Index, query: &Query, position: usize, out: &mut Member) {
        out.position = position;
        match self.space {
            Space::Ladder => {
                out.row.resize(self.origin.0.len(), 0.0);
                index.ladder().decode(position, &mut out.row);
                out.square = self.ladder_square(index, query, position, &out.row);
                out.row.iter_mut().zip(&self.origin.0).for_each(|(x, o)| *x -= o);
            }
            Space::Rows | Space::PreciseRows => {
                let scale = index.scale();
                out.row.clear();
                out.row.extend(index.row(position).iter().zip(&self.origin.0).map(|(x, o)| (x - o) * scale));
                out.square = if self.space == Space::PreciseRows {
                    index.squared_distance_precise(position, query.row)
                } else {
                    index.squared_distance(position, query)
                };
            }
            Space::Images | Space::FreshImages => {
                let (image, dual) = index.fine(position).expect("images are kept for this metric");
                out.row.clear();
                out.row.extend(image.iter().zip(&self.origin.0).map(|(x, o)| x - o));
                out.dual.clear();
                out.dual.extend(dual.iter().zip(&self.origin.1).map(|(x, o)| x - o));
                out.square = index.squared_distance(position, query);
            }
        }
        out.norm = squared_norm(&out.row).sqrt();
    }

    fn ladder_square(&self, index: &Index, query: &Query, position: usize, row: &[f64]) -> Measured {
        let value = crate::geometry::dot::squared_distance(row, &self.centre, 1.0);
        let offset = index.ladder().error(position) + query.point.error;
        Measured {
            value,
            error: up(gamma(depth(row.len())) * value + offset * (2.0 * value.sqrt() + offset) + TINY),
        }
    }

    /// Adds a member and its inner products; returns its slot.
    pub fn add(&mut self, index: &Index, query: &Query, position: usize) -> usize {
        let mut member = if self.used < self.members.len() {
            std::mem::take(&mut self.members[self.used])
        } else {
            self.members.push(Member::default());
            Member::default()
        };
        self.gather(index, query, position, &mut member);
        for other in &self.members[..self.used] {
            self.gram.push(dot(&other.row, member.dual()));
        }
        self.gram.push(dot(&member.row, member.dual()));
        self.members[self.used] = member;
        self.used += 1;
        self.used - 1
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members[..self.used]
    }

    /// Whether the row at a position is a member.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.members().iter().any(|m| m.position == position)
    }

    fn product(&self, i: usize, l: usize) -> f64 {
        let (high, low) = (i.max(l), i.min(l));
        self.gram[high * (high + 1) / 2 + low]
    }
}

/// The cell of one other-class row against the pool: the constraints of the least-norm program.
pub struct Cell<'a> {
    pool: &'a Pool,
    pub rival: &'a Member,
    /// Inner products of the rival with the members, and with itself.
    products: &'a [f64],
    own: f64,
}

impl<'a> Cell<'a> {
    /// `products` holds what is known already, from an earlier look at the same rival with a smaller pool.
    pub fn new(pool: &'a Pool, rival: &'a Member, products: &'a mut Vec<f64>) -> Self {
        for member in &pool.members()[products.len()..] {
            products.push(dot(&member.row, rival.dual()));
        }
        Self { pool, rival, products, own: dot(&rival.row, rival.dual()) }
    }

    /// `Σ λ_i (t_j − t_i)` and its dual image: the perturbation in the coordinates of the space, before and
    /// after the map to the coordinates of distances.
    pub fn combine(&self, active: &[usize], multipliers: &[f64], row: &mut Vec<f64>, dual: &mut Vec<f64>) {
        let sum = |out: &mut Vec<f64>, part: fn(&Member) -> &[f64]| {
            out.clear();
            out.resize(part(self.rival).len(), 0.0);
            let total: f64 = multipliers.iter().sum();
            axpy(out, total, part(self.rival));
            for (&i, &m) in active.iter().zip(multipliers) {
                axpy(out, -m, part(&self.pool.members()[i]));
            }
        };
        sum(row, |m| &m.row);
        sum(dual, Member::dual);
    }

    /// A proven lower bound on the cell's distance, by weak duality:
    /// `Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖)` for any `λ ≥ 0`, rounded down.
    #[must_use]
    pub fn lower_bound(
        &self,
        index: &Index,
        active: &[usize],
        multipliers: &[f64],
        row: &mut Vec<f64>,
        dual: &mut Vec<f64>,
    ) -> f64 {
        let numerator = self.numerator_down(active, multipliers);
        if numerator <= 0.0 {
            return 0.0;
        }
        self.combine(active, multipliers, row, dual);
        quotient_down(numerator, self.normal_up(index, active, multipliers, row, dual))
    }

    /// A number not above `Σ λ_i (d²(z, x_j) − d²(z, x_i))`.
    #[must_use]
    pub fn numerator_down(&self, active: &[usize], multipliers: &[f64]) -> f64 {
        let rival = self.rival.square;
        let (mut numerator, mut error) = (0.0, 0.0);
        for (&i, &m) in active.iter().zip(multipliers) {
            let own = self.pool.members()[i].square;
            numerator += m * (rival.value - own.value);
            error += m * (rival.error + own.error);
            // The difference, the product and the sum round too.
            error += m * gamma(active.len() + 3) * (rival.value - own.value).abs();
        }
        numerator - up(error)
    }

    /// `Σ λ_i (f(x_i) + f(x_j))`, rounded up, for errors that add up so.
    pub fn weigh(&self, active: &[usize], multipliers: &[f64], of: impl Fn(&Member) -> f64) -> f64 {
        let pairs = active.iter().zip(multipliers);
        up(pairs.map(|(&i, m)| m * (of(&self.pool.members()[i]) + of(self.rival))).sum())
    }

    /// Bounds the distance of the computed `Σ λ_i (t_j − t_i)` from the sum of the members as they are.
    pub fn rounding(&self, active: &[usize], multipliers: &[f64]) -> f64 {
        // The members are differences (one rounding), weighed and summed (two each).
        gamma(2 * active.len() + 6) * self.weigh(active, multipliers, |m| m.norm)
    }

    /// An upper bound on `‖M Σ λ_i (x_j − x_i)‖`.
    fn normal_up(
        &self,
        index: &Index,
        active: &[usize],
        multipliers: &[f64],
        row: &[f64],
        dual: &[f64],
    ) -> f64 {
        let weigh = |of: &dyn Fn(&Member) -> f64| self.weigh(active, multipliers, of);
        let rounding = self.rounding(active, multipliers);
        let length = norm_up(row);
        match self.pool.space {
            Space::Rows | Space::PreciseRows => up(length + rounding),
            Space::Ladder => up(length + rounding + weigh(&|m| index.ladder().error(m.position))),
            Space::Images | Space::FreshImages => {
                let embedding = index.embedding();
                let norms = weigh(&|m| index.norm(m.position));
                let dual_error = index.dual_error() * embedding.norm * norms * 1.001
                    + gamma(2 * active.len() + 6) * weigh(&|m| squared_norm(m.dual()).sqrt());
                let square = dot(row, dual).max(0.0)
                    + gamma(depth(row.len())) * length * norm_up(dual)
                    + length * dual_error;
                let images = embedding.relative_error * norms + rounding;
                up(square.sqrt() * (1.0 + 1e-15) + embedding.norm * images + embedding.defect * norms)
            }
        }
    }
}

/// `numerator / (2 norm)` for positive numbers, rounded down. A vanishing normal with a positive numerator
/// would mean an empty cell; rounding gets no such say.
#[must_use]
pub fn quotient_down(numerator: f64, norm: f64) -> f64 {
    let bound = numerator / (2.0 * norm) * (1.0 - 4.0 * f64::EPSILON);
    if bound.is_finite() { bound } else { 0.0 }
}

impl Constraints for Cell<'_> {
    fn count(&self) -> usize {
        self.pool.used
    }

    fn offset(&self, i: usize) -> f64 {
        (self.rival.square.value - self.pool.members()[i].square.value) / 2.0
    }

    fn product(&self, i: usize, l: usize) -> f64 {
        (self.pool.product(i, l) - self.products[i]) - (self.products[l] - self.own)
    }

    fn tolerance(&self, i: usize) -> f64 {
        2e-15 * (self.rival.square.value + self.pool.members()[i].square.value)
    }
}
