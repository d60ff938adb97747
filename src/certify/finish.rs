//! The end of one cell, in binary64: a dual bound rounded down, and an adversarial point re-predicted.

use crate::certify::pool::{Cell, Member, Pool, Space};
use crate::certify::probe::{Displacement, Probe};
use crate::geometry::dot::{axpy, depth, dot, norm_up};
use crate::geometry::matrix::transposed;
use crate::geometry::min_norm::MinNorm;
use crate::geometry::rounding::{gamma, up};
use crate::geometry::simd::Kernels;
use crate::search::index::{Index, Query};
use crate::search::neighbors::nearest_position;
use crate::search::scan::Scores;
use std::ops::Range;

/// What every step of one test point needs to see.
pub struct Scene<'a> {
    pub index: &'a Index,
    pub kernels: &'a Kernels,
    pub scores: Scores<'a>,
    pub query: &'a Query<'a>,
    /// Positions of the predicted class.
    pub class: Range<usize>,
}

/// Both ends of one cell, scaled. `upper` is infinite where no adversarial point was found below the limit.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub lower: f64,
    pub upper: f64,
    pub rival_distance: f64,
}

/// The finish for one thread.
pub struct Finisher {
    pool: Pool,
    rival: Member,
    products: Vec<f64>,
    solver: MinNorm,
    /// See [`MinNorm::outward`]; empty where there is no such direction.
    outward: Vec<f64>,
    pushed: Vec<f64>,
    row: Vec<f64>,
    dual: Vec<f64>,
    input: Vec<f64>,
    ladder: Vec<f64>,
    decoded: Vec<f64>,
    probe: Probe,
    near: Vec<(f64, usize)>,
    found: Vec<u32>,
    /// `Bᵀ`, row-major `(d, p)`, for metrics other than the Euclidean.
    columns: Vec<f64>,
    adversarial: Vec<f64>,
}

/// The margin grows by this factor until the point is given another class …
const GROWTH: f64 = 4.0;
/// … or until it passes this share of the squared distance: then the way leads towards the rival itself.
const LARGEST_MARGIN: f64 = 1e-3;
const MOST_ROUNDS: usize = 60;

impl Finisher {
    /// `space`: where coordinates and distances come from; [`Space::Ladder`] is too coarse to finish in.
    #[must_use]
    pub fn new(index: &Index, space: Space) -> Self {
        let map = index.embedding().map().filter(|_| space == Space::Images);
        Self {
            pool: Pool::new(space),
            rival: Member::default(),
            products: Vec::new(),
            solver: MinNorm::default(),
            outward: Vec::new(),
            pushed: Vec::new(),
            row: Vec::new(),
            dual: Vec::new(),
            input: Vec::new(),
            ladder: Vec::new(),
            decoded: Vec::new(),
            probe: Probe::default(),
            near: Vec::new(),
            found: Vec::new(),
            columns: map.map_or_else(Vec::new, |map| transposed(map, index.features())),
            adversarial: Vec::new(),
        }
    }

    /// The adversarial point behind the last finite upper end, in the caller's units.
    #[must_use]
    pub fn adversarial(&self) -> &[f64] {
        &self.adversarial
    }

    /// Both ends for the row at `rival`, starting from the class-c rows in `weights`. A cell whose lower
    /// end passes `limit` is not worth an adversarial point.
    pub fn finish(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)], limit: f64) -> Ends {
        let (index, query) = (scene.index, scene.query);
        let origin = weights.first().map_or(rival, |w| w.0);
        self.pool.reset(index, query, origin);
        for &(position, _) in weights {
            self.pool.add(index, query, position);
        }
        self.pool.gather(index, query, rival, &mut self.rival);
        self.products.clear();
        let mut ends =
            Ends { lower: 0.0, upper: f64::INFINITY, rival_distance: self.rival.square.value.sqrt() };
        let square = self.rival.square;
        let mut margin = 2.0 * square.error + f64::EPSILON * square.value;
        self.solve(scene, &mut ends);
        for _ in 0..MOST_ROUNDS {
            if ends.lower >= limit {
                return ends;
            }
            if margin > LARGEST_MARGIN * square.value {
                break;
            }
            match self.try_margin(scene, rival, margin) {
                Attempt::Adversarial => {
                    ends.upper = self.accept();
                    return ends;
                }
                Attempt::Enlarged => self.solve(scene, &mut ends),
                // At the boundary already: no constraint says which way leads across.
                Attempt::Blocked if self.outward.is_empty() => break,
                Attempt::Blocked => margin *= GROWTH,
            }
        }
        ends.upper = self.approach(scene, rival);
        ends
    }

    fn solve(&mut self, scene: &Scene, ends: &mut Ends) {
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        self.solver.solve(&cell, f64::INFINITY);
        let (active, multipliers) = (&self.solver.active, &self.solver.multipliers);
        let bound = cell.lower_bound(scene.index, active, multipliers, &mut self.row, &mut self.dual);
        ends.lower = ends.lower.max(bound);
        self.outward = self.solver.outward().unwrap_or_default();
    }

    /// Steps over the boundary, by `margin` in half squared distances, and asks for the class there. Rows in
    /// the way that the pool did not know join it.
    fn try_margin(&mut self, scene: &Scene, rival: usize, margin: f64) -> Attempt {
        self.displace(scene, rival, margin);
        self.contenders(scene, rival);
        if self.near.is_empty() {
            return Attempt::Adversarial;
        }
        let known = self.pool.members().len();
        for &(_, position) in self.near.iter().take(4) {
            if !self.pool.contains(position) {
                self.pool.add(scene.index, scene.query, position);
            }
        }
        if self.pool.members().len() > known { Attempt::Enlarged } else { Attempt::Blocked }
    }

    fn contenders(&mut self, scene: &Scene, rival: usize) {
        let Scene { index, kernels, scores, query, class } = scene;
        self.probe.contenders(index, kernels, *scores, query, class.clone(), (rival, self.pool.space()), &mut self.found, &mut self.near);
    }

    /// `δ = Σ λ_i M(x_j − x_i)` in every coordinate system that the probe needs, with the multipliers moved
    /// outward so that every active constraint holds by `margin`.
    fn displace(&mut self, scene: &Scene, rival: usize, margin: f64) {
        let (index, query) = (scene.index, scene.query);
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        let active = &self.solver.active;
        self.pushed.clone_from(&self.solver.multipliers);
        axpy(&mut self.pushed[..self.outward.len()], margin, &self.outward);
        let multipliers = &self.pushed;
        cell.combine(active, multipliers, &mut self.row, &mut self.dual);
        let members = self.pool.members();
        let pairs = || active.iter().map(|&i| members[i].position).zip(multipliers.iter().copied());
        let embedding = index.embedding();
        if index.metric().is_euclidean() {
            let ladder = index.ladder();
            let mut error = 0.0;
            self.ladder.clear();
            self.ladder.resize(embedding.dimensions(), 0.0);
            self.decoded.resize(embedding.dimensions(), 0.0);
            for (position, multiplier) in pairs() {
                ladder.decode(rival, &mut self.decoded);
                axpy(&mut self.ladder, multiplier, &self.decoded);
                ladder.decode(position, &mut self.decoded);
                axpy(&mut self.ladder, -multiplier, &self.decoded);
                error += multiplier.abs() * (ladder.error(position) + ladder.error(rival)) * (1.0 + 1e-6);
            }
            // The sums above round in binary64, far below the binary32 errors that `error` holds.
            let delta =
                Displacement { input: &self.row, ladder: &self.ladder, ladder_error: up(error), image: None };
            self.probe.place(index, query, &delta);
        } else {
            let norms: f64 =
                pairs().map(|(position, m)| m.abs() * (index.norm(position) + index.norm(rival))).sum();
            self.input.clear();
            self.input.extend(self.columns.chunks_exact(self.row.len()).map(|column| dot(column, &self.row)));
            // B δ = BBᵀ row, which the duals hold; δ itself rounds by γ‖|B|‖‖row‖.
            let length = norm_up(&self.row);
            let rounding = gamma(depth(self.row.len())) * embedding.absolute_norm * length;
            let dual_error = index.dual_error() * embedding.norm + gamma(2 * active.len() + 6) * embedding.norm.powi(3);
            let error = up(embedding.norm * rounding + dual_error * norms * (1.0 + 1e-6));
            let delta = Displacement {
                input: &self.input,
                ladder: &self.dual,
                ladder_error: error,
                image: Some((&self.dual, error)),
            };
            self.probe.place(index, query, &delta);
        }
    }

    /// From the boundary towards the rival, which is inside its own cell, in growing steps.
    fn approach(&mut self, scene: &Scene, rival: usize) -> f64 {
        let (index, query) = (scene.index, scene.query);
        let start: Vec<f64> = self.probe.row.clone();
        let target = index.row(rival);
        let mut share = 1e-12;
        while share < 1.0 {
            let row: Vec<f64> = start.iter().zip(target).map(|(p, x)| p + share * (x - p)).collect();
            if !scene.class.contains(&nearest_position(index, scene.kernels, &row)) {
                return self.accept_row(index, query, row);
            }
            share *= 8.0;
        }
        if !scene.class.contains(&nearest_position(index, scene.kernels, target)) {
            return self.accept_row(index, query, target.to_vec());
        }
        f64::INFINITY
    }

    fn accept(&mut self) -> f64 {
        self.adversarial.clone_from(&self.probe.row);
        self.probe.length
    }

    fn accept_row(&mut self, index: &Index, query: &Query, row: Vec<f64>) -> f64 {
        self.probe.put(row, query, index.scale());
        self.accept()
    }
}

enum Attempt {
    /// The point is given another class.
    Adversarial,
    /// Rows unknown to the pool were in the way.
    Enlarged,
    /// Only known rows are in the way: their constraints hold with equality, up to rounding.
    Blocked,
}
