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

/// How far past the boundary the first candidate goes, as a share of `δ`.
const FIRST_PUSH: f64 = 1.0 / (1u64 << 40) as f64;
/// Pushing further than this along `δ` gives way to moving towards the rival itself.
const LAST_PUSH: f64 = 1e-2;
const MOST_ROUNDS: usize = 60;

impl Finisher {
    #[must_use]
    pub fn new(index: &Index) -> Self {
        let euclidean = index.metric().is_euclidean();
        let map = index.embedding().map().filter(|_| !euclidean);
        Self {
            pool: Pool::new(if euclidean { Space::Rows } else { Space::Images }),
            rival: Member::default(),
            products: Vec::new(),
            solver: MinNorm::default(),
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
        let mut push = FIRST_PUSH;
        self.solve(scene, &mut ends);
        for _ in 0..MOST_ROUNDS {
            if ends.lower >= limit {
                return ends;
            }
            if push > LAST_PUSH {
                break;
            }
            match self.try_push(scene, rival, push) {
                Attempt::Adversarial => {
                    ends.upper = self.accept();
                    return ends;
                }
                Attempt::Enlarged => self.solve(scene, &mut ends),
                // Already at the boundary: there is no direction to push in.
                Attempt::Blocked if self.solver.active.is_empty() => break,
                Attempt::Blocked => push *= 8.0,
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
    }

    /// Steps over the boundary and asks for the class there. Rows in the way that the pool did not know
    /// join it.
    fn try_push(&mut self, scene: &Scene, rival: usize, push: f64) -> Attempt {
        self.displace(scene, rival, push);
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
        self.probe.contenders(index, kernels, *scores, query, class.clone(), rival, &mut self.found, &mut self.near);
    }

    /// `δ = Σ λ_i M(x_j − x_i)` in every coordinate system that the probe needs.
    fn displace(&mut self, scene: &Scene, rival: usize, push: f64) {
        let (index, query) = (scene.index, scene.query);
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        let (active, multipliers) = (&self.solver.active, &self.solver.multipliers);
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
                error += multiplier * (ladder.error(position) + ladder.error(rival)) * (1.0 + 1e-6);
            }
            // The sums above round in binary64, far below the binary32 errors that `error` holds.
            let delta =
                Displacement { input: &self.row, ladder: &self.ladder, ladder_error: up(error), image: None };
            self.probe.place(index, query, &delta, push);
        } else {
            let norms: f64 =
                pairs().map(|(position, m)| m * (index.norm(position) + index.norm(rival))).sum();
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
            self.probe.place(index, query, &delta, push);
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
