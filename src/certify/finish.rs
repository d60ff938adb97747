//! The end of one cell, in binary64: a dual bound rounded down, and an adversarial point re-predicted.

use crate::certify::bound::quotient_down;
use crate::certify::cell::{Cell, Margin};
use crate::certify::frame::{Member, Space};
use crate::certify::pool::Pool;
use crate::certify::probe::{Displacement, Probe, SMALL_MAP, combine_in_ladder};
use crate::certify::scene::Scene;
use crate::geometry::dot::{depth, norm_up};
use crate::geometry::min_norm::MinNorm;
use crate::geometry::rounding::{gamma, up};
use crate::search::distance::{multiply, multiply_transposed};
use crate::search::index::Index;
use crate::search::neighbors::nearest_position;

/// Both ends of one cell, scaled. `upper` is infinite where no adversarial point was found below the limit.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub lower: f64,
    pub upper: f64,
    /// The same in the caller's units.
    pub unscaled_upper: f64,
    /// `‖x_j − z‖` over the features that the metric sees.
    pub to_rival: f64,
}

/// The least-norm point of the cell, `δ = Σ λ_i M(x_j − x_i)`, in every coordinate system in use.
#[derive(Default)]
struct Boundary {
    /// `Σ λ_i (t_j − t_i)` and its dual image, in the space of the pool.
    row: Vec<f64>,
    dual: Vec<f64>,
    /// `δ` in input space.
    input: Vec<f64>,
    /// Its image in the coordinates of the ladder, and the error of that.
    ladder: Vec<f64>,
    ladder_error: f64,
}

/// The finish for one thread.
pub struct Finisher {
    pool: Pool,
    rival: Member,
    products: Vec<f64>,
    solver: MinNorm,
    boundary: Boundary,
    margin: Margin,
    probe: Probe,
    near: Vec<(f64, usize)>,
    found: Vec<u32>,
    adversarial: Vec<f64>,
    /// Behind the last lower end: rows by their positions.
    weights: Vec<(usize, f64)>,
}

/// How much further inside its cell the next point goes when rounding still hides on which side one is.
const GROWTH: f64 = 4.0;
const MOST_ROUNDS: usize = 60;
/// Rows in the way that join the pool after one attempt.
const AT_ONCE: usize = 4;

impl Finisher {
    /// `space`: where coordinates and distances come from; [`Space::Ladder`] is too coarse to finish in.
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self {
            pool: Pool::new(space),
            rival: Member::default(),
            products: Vec::new(),
            solver: MinNorm::default(),
            boundary: Boundary::default(),
            margin: Margin { place: 0.0, norm: 0.0, growth: 1.0 },
            probe: Probe::default(),
            near: Vec::new(),
            found: Vec::new(),
            adversarial: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// The weights behind the last lower end: class-c rows by their positions.
    #[must_use]
    pub fn weights(&self) -> &[(usize, f64)] {
        &self.weights
    }

    /// What weights prove of the cell of a row.
    pub fn bound(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) -> f64 {
        self.enter(scene, rival, weights);
        let Boundary { row, dual, .. } = &mut self.boundary;
        let (active, multipliers): (Vec<usize>, Vec<f64>) =
            weights.iter().enumerate().map(|(i, &(_, multiplier))| (i, multiplier)).unzip();
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        cell.lower_bound(scene.index, &active, &multipliers, row, dual)
    }

    /// The adversarial point behind the last finite upper end, in the caller's units.
    #[must_use]
    pub fn adversarial(&self) -> &[f64] {
        &self.adversarial
    }

    /// Both ends for the row at `rival`, starting from the class-c rows in `weights`. A cell whose lower
    /// end passes `limit` is not worth an adversarial point.
    /// `input`: `δ` of the first program, if it is known.
    pub fn finish(
        &mut self,
        scene: &Scene,
        rival: usize,
        weights: &[(usize, f64)],
        limit: f64,
        input: Option<&[f64]>,
    ) -> Ends {
        let (index, query) = (scene.index, scene.query);
        self.start(scene, rival, weights);
        self.probe.place_at(index, query, rival);
        let to_rival = self.probe.length;
        let mut ends = Ends { lower: 0.0, upper: f64::INFINITY, unscaled_upper: f64::INFINITY, to_rival };
        self.solve(scene, &mut ends, input);
        for _ in 0..MOST_ROUNDS {
            if ends.lower >= limit || scene.control.must_stop() {
                return ends;
            }
            self.place(scene);
            // A length that is not a number is no better than the rival's.
            if self.probe.length.is_nan() || self.probe.length >= to_rival {
                break;
            }
            match self.attempt(scene, rival) {
                Attempt::Adversarial => {
                    self.accept(&mut ends);
                    return ends;
                }
                Attempt::Enlarged => (),
                Attempt::Blocked => {
                    self.margin.growth *= GROWTH;
                    self.solver.reset();
                }
            }
            self.solve(scene, &mut ends, None);
        }
        // The rival itself is inside its own cell, unless a class-c row coincides with it in the metric.
        self.probe.place_at(index, query, rival);
        if self.probe.length < limit
            && !scene.class.contains(&nearest_position(index, scene.kernels, &self.probe.row))
        {
            self.accept(&mut ends);
        }
        ends
    }

    /// Gathers a cell's row and some of the class.
    fn enter(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) {
        let (index, query) = (scene.index, scene.query);
        // Constraints are differences to the rival: as its origin it keeps those of near rows to their last digits.
        self.pool.reset(index, query, rival);
        for &(position, _) in weights {
            self.pool.add(index, query, position);
        }
        self.pool.gather(index, query, rival, &mut self.rival);
        self.products.clear();
    }

    fn start(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) {
        let index = scene.index;
        self.enter(scene, rival, weights);
        self.weights.clear();
        self.solver.reset();
        self.margin = Margin {
            place: self.placement(scene, weights),
            norm: if self.measures_images(index) { index.embedding().norm } else { 0.0 },
            growth: 1.0,
        };
    }

    /// How far `z + δ` in binary64 will be from where the program has it, by the multipliers in `weights`.
    fn placement(&mut self, scene: &Scene, weights: &[(usize, f64)]) -> f64 {
        let index = scene.index;
        // Coordinates round in the caller's units.
        let place = index.place_rounding(scene.query.row);
        if index.metric().is_euclidean() {
            return place;
        }
        let (active, multipliers): (Vec<usize>, Vec<f64>) =
            weights.iter().enumerate().map(|(i, &(_, multiplier))| (i, multiplier)).unzip();
        let Boundary { row, dual, .. } = &mut self.boundary;
        Cell::new(&self.pool, &self.rival, &mut self.products).combine(&active, &multipliers, row, dual);
        place + self.pool.frame().product_rounding(index, row)
    }

    /// Fresh products with a large `B` are for the spaces of differences.
    fn measures_images(&self, index: &Index) -> bool {
        self.pool.frame().space() == Space::Images && index.embedding().columns().len() > SMALL_MAP
    }

    /// The row that `δ` of the first program is `Bᵀ` times.
    pub fn row(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) -> Vec<f64> {
        self.start(scene, rival, weights);
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products).tightened(self.margin);
        self.solver.solve(&cell, f64::INFINITY);
        let Boundary { row, dual, .. } = &mut self.boundary;
        cell.combine(&self.solver.active, &self.solver.multipliers, row, dual);
        row.clone()
    }

    fn accept(&mut self, ends: &mut Ends) {
        self.adversarial.clone_from(&self.probe.row);
        (ends.upper, ends.unscaled_upper) = (self.probe.length, self.probe.unscaled_length);
    }

    /// Solves the program over the pool, raises the lower end and places the boundary point, whose place in
    /// input space may be known.
    fn solve(&mut self, scene: &Scene, ends: &mut Ends, known: Option<&[f64]>) {
        let index = scene.index;
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products).tightened(self.margin);
        self.solver.solve(&cell, f64::INFINITY);
        let (active, multipliers) = (&self.solver.active, &self.solver.multipliers);
        let numerator = cell.numerator_down(active, multipliers);
        let Boundary { row, dual, input, ladder, ladder_error } = &mut self.boundary;
        cell.combine(active, multipliers, row, dual);
        let embedding = index.embedding();
        let norm = if !embedding.columns().is_empty() {
            let rates = self.pool.frame().error_rates(index);
            let reach = cell.weigh(active, multipliers, |m| m.reach);
            match known {
                Some(known) => {
                    input.clear();
                    input.extend_from_slice(known);
                }
                None if self.pool.frame().space() == Space::Images => {
                    multiply(embedding.columns(), row, input)
                }
                None => {
                    let factor = index.metric().scaled_factor().unwrap_or_default();
                    multiply_transposed(factor, row, index.features(), input);
                }
            }
            let rounding = self.pool.frame().product_rounding(index, row);
            if self.pool.frame().space() == Space::Images {
                ladder.clone_from(dual);
            } else {
                multiply(embedding.map().unwrap_or_default(), input, ladder);
            }
            // B δ = BBᵀ row is what the duals hold; δ itself was rounded on its way to input space.
            let sums = 4.0 * gamma(2 * active.len() + 6) * embedding.norm.powi(3);
            let product = gamma(depth(input.len())) * embedding.absolute_norm * norm_up(input);
            *ladder_error = up(embedding.norm * rounding + (rates.dual + sums) * reach + product);
            let images = rates.image * reach + cell.rounding(active, multipliers);
            up(norm_up(input) + rounding + embedding.norm * images + rates.defect * reach)
        } else {
            input.clone_from(row);
            // The rows as the ladder has them, and the rounding of both sums.
            let sums =
                gamma(2 * active.len() + 6) * cell.weigh(active, multipliers, |m| index.norm(m.position));
            *ladder_error = cell.weigh(active, multipliers, |m| index.ladder().error(m.position)) * 1.001
                + 4.0 * sums
                + 2.0 * cell.rounding(active, multipliers);
            let rival = std::iter::once((self.rival.position, multipliers.iter().sum()));
            let members = active.iter().map(|&i| self.pool.members()[i].position);
            combine_in_ladder(index, rival.chain(members.zip(multipliers.iter().map(|m| -m))), ladder);
            up(norm_up(row) + cell.rounding(active, multipliers))
        };
        let lower = if numerator > 0.0 { quotient_down(numerator, norm) } else { 0.0 };
        if lower > ends.lower {
            ends.lower = lower;
            self.weights.clear();
            let members = self.pool.members();
            self.weights.extend(active.iter().zip(multipliers).map(|(&i, &w)| (members[i].position, w)));
        }
    }

    /// Places the probe at the boundary point.
    fn place(&mut self, scene: &Scene) {
        let measured = self.measures_images(scene.index);
        let Boundary { dual, input, ladder, ladder_error, .. } = &self.boundary;
        let delta = Displacement {
            input,
            ladder,
            ladder_error: *ladder_error,
            image: measured.then_some((&dual[..], *ladder_error)),
        };
        self.probe.place(scene.index, scene.query, &delta);
    }

    /// Asks for the class at the probe. Rows in the way that the pool did not know join it.
    fn attempt(&mut self, scene: &Scene, rival: usize) -> Attempt {
        let (index, query) = (scene.index, scene.query);
        self.probe.contenders(scene, rival, &mut self.found, &mut self.near);
        if self.near.is_empty() {
            return Attempt::Adversarial;
        }
        let known = self.pool.members().len();
        let pool = &self.pool;
        self.near.retain(|&(_, position)| !pool.contains(position));
        for &(_, position) in self.near.iter().take(AT_ONCE) {
            self.pool.add(index, query, position);
        }
        if self.pool.members().len() > known { Attempt::Enlarged } else { Attempt::Blocked }
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
