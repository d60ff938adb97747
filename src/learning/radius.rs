//! The signed radius of an anchor `z` of class `c` before labelled points, and the points that it hangs on.
//!
//! Where `z` is right, the radius of 1-NN: the distance to the nearest Voronoi cell of another class. Where it is wrong,
//! minus the closed form of its nearest point of each kind. In both cases, with weights `Σ λ_i = 1` on points of the
//! class and a rival `x_j`,
//!
//! ```text
//! s = Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖₂).
//! ```
//!
//! The way is that of [`nearest`](crate::certify::nearest), without its proofs: a cell is discarded by the bound that the
//! last active points prove as one, and constraints enter a program when the current point turns out to be nearer to them.

use crate::geometry::dot::{axpy, dot, squared_norm};
use crate::geometry::min_norm::{Constraints, MinNorm, Outcome};
use crate::learning::reference::Reference;

/// What a radius hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Support {
    /// The signed radius, ℓ2 in input space.
    pub radius: f64,
    /// `‖M Σ λ_i (x_j − x_i)‖₂`.
    pub length: f64,
    pub rival: usize,
    /// Points of the class, and their weights `λ_i > 0`.
    pub own: Vec<(usize, f64)>,
}

/// What is known of an anchor's radius.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// There is no point of its class, or the points that decide coincide in the metric.
    Nothing,
    /// It is the cap or more.
    Beyond,
    At(Support),
}

/// The points that one anchor is measured against, with their squared distances.
#[derive(Debug, Default)]
pub struct Near {
    class: i64,
    /// Of its class.
    own: Vec<(f64, usize)>,
    /// Of the others.
    others: Vec<(f64, usize)>,
    /// `‖Gz‖²`, for the size of rounding errors.
    square: f64,
}

impl Near {
    /// Empties the lists for an anchor of a class; see [`put`](Self::put).
    pub fn reset(&mut self, class: i64, image: &[f64]) {
        self.own.clear();
        self.others.clear();
        self.class = class;
        self.square = squared_norm(image);
    }

    /// Adds a point of a class.
    pub fn put(&mut self, class: i64, square: f64, point: usize) {
        let list = if class == self.class { &mut self.own } else { &mut self.others };
        list.push((square, point));
    }

    /// Forgets all but the nearest points of each kind.
    pub fn keep(&mut self, most: usize) {
        for list in [&mut self.own, &mut self.others] {
            if list.len() > most {
                list.select_nth_unstable_by(most, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                list.truncate(most);
            }
        }
    }
}

/// The search for one thread.
pub struct Seeker<'a> {
    reference: &'a Reference<'a>,
    solver: MinNorm,
    pool: Pool,
    guide: Guide,
    rivals: Vec<(f64, f64, usize)>,
    /// `M Σ μ_i (x_j − x_i)`: the perturbation of the current program.
    step: Vec<f64>,
}

impl<'a> Seeker<'a> {
    #[must_use]
    pub fn new(reference: &'a Reference<'a>) -> Self {
        Self {
            reference,
            solver: MinNorm::default(),
            pool: Pool::default(),
            guide: Guide::default(),
            rivals: Vec::new(),
            step: Vec::new(),
        }
    }

    /// The signed radius of an anchor of the image `image`; no program is solved for cells from `cap` on.
    pub fn seek(&mut self, image: &[f64], near: &Near, cap: f64) -> Found {
        let nearest = |points: &[(f64, usize)]| points.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0));
        let (own, first) = match (nearest(&near.own), nearest(&near.others)) {
            (None, _) => return Found::Nothing,
            (_, None) => return Found::Beyond,
            (Some(own), Some(first)) => (own, first),
        };
        if first.0 <= own.0 {
            return self.support(image, first.1, vec![(own.1, 1.0)]);
        }
        self.walk(near, own, first, cap).map_or(Found::Beyond, |(rival, own)| self.support(image, rival, own))
    }

    /// The nearest cell, if it is nearer than `cap`: its rival, and the weights.
    fn walk(
        &mut self,
        near: &Near,
        own: (f64, usize),
        first: (f64, usize),
        cap: f64,
    ) -> Option<(usize, Vec<(usize, f64)>)> {
        let reference = self.reference;
        let (mut target, mut best) = (cap, None);
        self.pool.reset(reference, own);
        self.guide.aim(reference, &[(own.0, own.1, 1.0)]);
        self.visit(near, first, &mut target, &mut best);
        // By the triangle inequality every cell that counts has its point near the anchor, too.
        let reach = (own.0.sqrt() + 2.0 * reference.norm * target).powi(2);
        self.rivals.clear();
        for &(square, point) in near.others.iter().filter(|other| other.0 < reach && other.1 != first.1) {
            let bound = self.guide.bound(reference, square, point);
            if bound < target {
                self.rivals.push((bound, square, point));
            }
        }
        self.rivals.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.2.cmp(&a.2)));
        while let Some((bound, square, point)) = self.rivals.pop() {
            if bound < target {
                self.visit(near, (square, point), &mut target, &mut best);
            }
        }
        best
    }

    /// Solves the program of a cell unless it is discarded; one below the target lowers it.
    fn visit(
        &mut self,
        near: &Near,
        rival: (f64, usize),
        target: &mut f64,
        best: &mut Option<(usize, Vec<(usize, f64)>)>,
    ) {
        let is_open = self.guide.bound(self.reference, rival.0, rival.1) < *target;
        if !is_open || !self.solve(near, rival, *target) {
            return;
        }
        let active = self.solver.active.iter().zip(&self.solver.multipliers);
        let total: f64 = self.solver.multipliers.iter().sum();
        let weights: Vec<_> = active
            .filter(|(_, m)| **m > 0.0)
            .map(|(&i, m)| (self.pool.members[i].0, self.pool.members[i].1, m / total))
            .collect();
        if weights.is_empty() || !total.is_finite() {
            return;
        }
        self.guide.aim(self.reference, &weights);
        *target = self.solver.value.max(0.0).sqrt();
        *best = Some((rival.1, weights.iter().map(|w| (w.1, w.2)).collect()));
    }

    /// Solves the program of a cell; `false`: it is at `limit` or beyond.
    fn solve(&mut self, near: &Near, rival: (f64, usize), limit: f64) -> bool {
        self.solver.reset();
        self.pool.face(self.reference, rival.1);
        loop {
            let cell = Cell { pool: &self.pool, square: rival.0, anchor: near.square };
            match self.solver.solve(&cell, limit * limit) {
                Outcome::Pruned => return false,
                // No better in binary64, and the weights are as good as ever.
                Outcome::Stalled => return self.solver.value < limit * limit,
                Outcome::Optimal => {}
            }
            match self.in_the_way(near, rival) {
                Some(own) => self.pool.add(self.reference, own),
                None => return true,
            }
        }
    }

    /// The point of the class to which the current point is nearest, if it is nearer to it than to the rival.
    fn in_the_way(&mut self, near: &Near, rival: (f64, usize)) -> Option<(f64, usize)> {
        let reference = self.reference;
        self.step.clear();
        self.step.resize(reference.features, 0.0);
        for (&i, &m) in self.solver.active.iter().zip(&self.solver.multipliers) {
            axpy(&mut self.step, m, reference.dual(rival.1));
            axpy(&mut self.step, -m, reference.dual(self.pool.members[i].1));
        }
        let far = reference.norm * self.solver.value.max(0.0).sqrt();
        let reach = (self.pool.members[0].0.sqrt() + 2.0 * far).powi(2);
        let start = dot(reference.dual(rival.1), &self.step);
        let mut worst = (0.0, None);
        for &(square, point) in near.own.iter().filter(|own| own.0 <= reach) {
            let violation = (rival.0 - square) / 2.0 - (start - dot(reference.dual(point), &self.step));
            let excess = violation - tolerance(rival.0, square, near.square);
            if excess > worst.0 && !self.pool.members.iter().any(|m| m.1 == point) {
                worst = (excess, Some((square, point)));
            }
        }
        worst.1
    }

    /// The signed radius that weights and a rival stand for, by differences, which keep their digits.
    fn support(&self, image: &[f64], rival: usize, own: Vec<(usize, f64)>) -> Found {
        let reference = self.reference;
        let mut normal = vec![0.0; reference.features];
        let mut numerator = 0.0;
        let theirs = reference.image(rival);
        for &(point, weight) in &own {
            let ours = reference.image(point);
            let terms = theirs.iter().zip(ours).zip(image).map(|((t, o), z)| (t - o) * ((t - z) + (o - z)));
            numerator += weight * terms.sum::<f64>();
            let duals = reference.dual(rival).iter().zip(reference.dual(point));
            normal.iter_mut().zip(duals).for_each(|(n, (t, o))| *n += weight * (t - o));
        }
        let length = dot(&normal, &normal).sqrt();
        let radius = numerator / (2.0 * length);
        if radius.is_finite() && (1.0 / length).is_finite() {
            Found::At(Support { radius, length, rival, own })
        } else {
            Found::Nothing
        }
    }
}

/// What rounding may take from a constraint.
fn tolerance(rival: f64, own: f64, anchor: f64) -> f64 {
    4e-15 * (rival + own + anchor)
}

/// Points as one: `Σ λ_i x_i` with `Σ λ_i d²(z, x_i)` bounds every cell by weak duality.
#[derive(Default)]
struct Guide {
    dual: Vec<f64>,
    dual_square: f64,
    square: f64,
}

impl Guide {
    /// `weights`: squared distance, point, and weight, which add up to one.
    fn aim(&mut self, reference: &Reference, weights: &[(f64, usize, f64)]) {
        self.dual.clear();
        self.dual.resize(reference.features, 0.0);
        self.square = 0.0;
        for &(square, point, weight) in weights {
            axpy(&mut self.dual, weight, reference.dual(point));
            self.square += weight * square;
        }
        self.dual_square = squared_norm(&self.dual);
    }

    /// A lower bound on the distance to a cell, but for rounding; not finite where the cell coincides with the guide.
    fn bound(&self, reference: &Reference, square: f64, point: usize) -> f64 {
        let product = dot(reference.dual(point), &self.dual);
        let length = (reference.dual_squares[point] + self.dual_square) - 2.0 * product;
        (square - self.square) / (2.0 * length.max(0.0).sqrt())
    }
}

/// Points of the class that have been in the way of a program of this anchor, with inner products.
#[derive(Default)]
struct Pool {
    members: Vec<(f64, usize)>,
    /// `M (x_i − x_0)`, row after row.
    rows: Vec<f64>,
    /// Their inner products: lower triangle, row after row.
    gram: Vec<f64>,
    /// `M (x_j − x_0)`, its square, and its inner products with the members.
    rival: Vec<f64>,
    own: f64,
    products: Vec<f64>,
}

impl Pool {
    fn reset(&mut self, reference: &Reference, first: (f64, usize)) {
        self.members.clear();
        self.rows.clear();
        self.gram.clear();
        self.push(reference, first);
    }

    fn push(&mut self, reference: &Reference, own: (f64, usize)) {
        let d = reference.features;
        self.members.push(own);
        let origin = reference.dual(self.members[0].1);
        self.rows.extend(reference.dual(own.1).iter().zip(origin).map(|(x, o)| x - o));
        let row = &self.rows[self.rows.len() - d..];
        self.gram.extend(self.rows.chunks_exact(d).map(|other| dot(other, row)));
    }

    /// A member that the rival faces.
    fn add(&mut self, reference: &Reference, own: (f64, usize)) {
        self.push(reference, own);
        let row = &self.rows[self.rows.len() - reference.features..];
        self.products.push(dot(row, &self.rival));
    }

    /// Sets the rival.
    fn face(&mut self, reference: &Reference, rival: usize) {
        let origin = reference.dual(self.members[0].1);
        self.rival.clear();
        self.rival.extend(reference.dual(rival).iter().zip(origin).map(|(x, o)| x - o));
        self.own = dot(&self.rival, &self.rival);
        self.products.clear();
        self.products.extend(self.rows.chunks_exact(reference.features).map(|row| dot(row, &self.rival)));
    }
}

/// The program of the cell of the pool's rival.
struct Cell<'a> {
    pool: &'a Pool,
    square: f64,
    anchor: f64,
}

impl Constraints for Cell<'_> {
    fn count(&self) -> usize {
        self.pool.members.len()
    }

    fn offset(&self, i: usize) -> f64 {
        (self.square - self.pool.members[i].0) / 2.0
    }

    fn product(&self, i: usize, l: usize) -> f64 {
        let (high, low) = (i.max(l), i.min(l));
        let members = self.pool.gram[high * (high + 1) / 2 + low];
        (members - self.pool.products[i]) - (self.pool.products[l] - self.pool.own)
    }

    fn tolerance(&self, i: usize) -> f64 {
        tolerance(self.square, self.pool.members[i].0, self.anchor)
    }
}
