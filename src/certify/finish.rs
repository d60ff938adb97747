//! The end of one cell, in binary64: a dual bound rounded down, and an adversarial point re-predicted.

use crate::certify::pool::{Cell, Member, Pool, Space, quotient_down};
use crate::certify::probe::{Displacement, Probe, SMALL_MAP};
use crate::certify::scene::Scene;
use crate::geometry::dot::{axpy, depth, dot, norm_up};
use crate::geometry::matrix::product_depth;
use crate::geometry::min_norm::MinNorm;
use crate::geometry::rounding::{gamma, up};
use crate::search::index::Index;
use crate::search::neighbors::nearest_position;

/// Both ends of one cell, scaled. `upper` is infinite where no adversarial point was found below the limit.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub lower: f64,
    pub upper: f64,
    pub rival_distance: f64,
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
    /// The blend of `boundary` and the way to the rival that is being tried.
    trial: Boundary,
    decoded: Vec<f64>,
    probe: Probe,
    near: Vec<(f64, usize)>,
    found: Vec<u32>,
    adversarial: Vec<f64>,
}

/// The first step over the boundary goes this many times what rounding could hide …
const FIRST_STEP: f64 = 4.0;
/// … and each further one this many times the last.
const GROWTH: f64 = 4.0;
const MOST_ROUNDS: usize = 80;

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
            trial: Boundary::default(),
            decoded: Vec::new(),
            probe: Probe::default(),
            near: Vec::new(),
            found: Vec::new(),
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
        let square = self.rival.square;
        let mut ends = Ends { lower: 0.0, upper: f64::INFINITY, rival_distance: square.value.sqrt() };
        // Half the squared distance to a rival's neighbour is gained per unit of the way to the rival.
        let mut step = FIRST_STEP * (square.error / square.value.max(f64::MIN_POSITIVE)).max(f64::EPSILON);
        self.solve(scene, &mut ends, input);
        for _ in 0..MOST_ROUNDS {
            if ends.lower >= limit {
                return ends;
            }
            if step >= 1.0 {
                break;
            }
            self.blend(scene, step);
            match self.attempt(scene, rival) {
                Attempt::Adversarial => {
                    ends.upper = self.accept();
                    return ends;
                }
                Attempt::Enlarged => self.solve(scene, &mut ends, None),
                Attempt::Blocked => step *= GROWTH,
            }
        }
        // The rival itself is inside its own cell, unless a class-c row coincides with it in the metric.
        self.probe.place_at(index, query, rival);
        if !scene.class.contains(&nearest_position(index, scene.kernels, &self.probe.row)) {
            ends.upper = self.accept();
        }
        ends
    }

    fn start(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) {
        let (index, query) = (scene.index, scene.query);
        // Constraints are differences to the rival: as its origin it keeps those of near rows to their last digits.
        self.pool.reset(index, query, rival);
        for &(position, _) in weights {
            self.pool.add(index, query, position);
        }
        self.pool.gather(index, query, rival, &mut self.rival);
        self.products.clear();
        self.solver.reset();
    }

    /// The row that `δ` of the first program is `Bᵀ` times.
    pub fn row(&mut self, scene: &Scene, rival: usize, weights: &[(usize, f64)]) -> Vec<f64> {
        self.start(scene, rival, weights);
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        self.solver.solve(&cell, f64::INFINITY);
        let Boundary { row, dual, .. } = &mut self.boundary;
        cell.combine(&self.solver.active, &self.solver.multipliers, row, dual);
        row.clone()
    }

    fn accept(&mut self) -> f64 {
        self.adversarial.clone_from(&self.probe.row);
        self.probe.length
    }

    /// Solves the program over the pool, raises the lower end and places the boundary point, whose place in
    /// input space may be known.
    fn solve(&mut self, scene: &Scene, ends: &mut Ends, known: Option<&[f64]>) {
        let index = scene.index;
        let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
        self.solver.solve(&cell, f64::INFINITY);
        let (active, multipliers) = (&self.solver.active, &self.solver.multipliers);
        let numerator = cell.numerator_down(active, multipliers);
        let Boundary { row, dual, input, ladder, ladder_error } = &mut self.boundary;
        cell.combine(active, multipliers, row, dual);
        let embedding = index.embedding();
        let norm = if !embedding.columns().is_empty() {
            let norms = cell.weigh(active, multipliers, |m| index.norm(m.position));
            input.clear();
            match known {
                Some(known) => input.extend_from_slice(known),
                None => {
                    input.extend(embedding.columns().chunks_exact(row.len()).map(|column| dot(column, row)))
                }
            }
            let rounding = gamma(depth(row.len()).max(product_depth(row.len())))
                * embedding.absolute_norm
                * norm_up(row);
            ladder.clone_from(dual);
            // B δ = BBᵀ row is what the duals hold; δ itself was rounded on its way to input space.
            *ladder_error = up(embedding.norm * rounding
                + (index.dual_error() + 4.0 * gamma(2 * active.len() + 6) * embedding.norm.powi(2))
                    * embedding.norm
                    * norms
                    * 1.001);
            let images = embedding.relative_error * norms + cell.rounding(active, multipliers);
            up(norm_up(input) + rounding + embedding.norm * images + embedding.defect * norms)
        } else {
            input.clone_from(row);
            // The rows as the ladder has them, and the rounding of both sums.
            let sums =
                gamma(2 * active.len() + 6) * cell.weigh(active, multipliers, |m| index.norm(m.position));
            *ladder_error = cell.weigh(active, multipliers, |m| index.ladder().error(m.position)) * 1.001
                + 4.0 * sums
                + 2.0 * cell.rounding(active, multipliers);
            let pairs =
                active.iter().map(|&i| self.pool.members()[i].position).zip(multipliers.iter().copied());
            combine_in_ladder(index, self.rival.position, pairs, ladder, &mut self.decoded);
            up(norm_up(row) + cell.rounding(active, multipliers))
        };
        if numerator > 0.0 {
            ends.lower = ends.lower.max(quotient_down(numerator, norm));
        }
    }

    /// Places the probe at `share` of the way from the boundary point to the rival. The rival is inside its
    /// own cell and cells are convex, so any share leads inside, and every constraint gains.
    fn blend(&mut self, scene: &Scene, share: f64) {
        let (index, query, rival) = (scene.index, scene.query, self.rival.position);
        let scale = index.scale();
        let fresh = self.pool.space() == Space::FreshImages;
        let Self { boundary, trial, decoded, probe, .. } = self;
        let blended = |out: &mut Vec<f64>, from: &[f64], to: &mut dyn Iterator<Item = f64>| {
            out.clear();
            out.extend(from.iter().zip(to).map(|(x, t)| (1.0 - share) * x + share * t));
        };
        let to_rival = index.row(rival).iter().zip(query.row).map(|(x, z)| (x - z) * scale);
        blended(&mut trial.input, &boundary.input, &mut to_rival.into_iter());
        let p = index.embedding().dimensions();
        decoded.resize(p, 0.0);
        index.ladder().decode_point(query.point, decoded);
        trial.row.resize(p, 0.0);
        index.ladder().decode(rival, &mut trial.row);
        let to_rival = trial.row.iter().zip(&*decoded).map(|(x, z)| x - z);
        blended(&mut trial.ladder, &boundary.ladder, &mut to_rival.into_iter());
        trial.ladder_error =
            up(boundary.ladder_error + share * (index.ladder().error(rival) + query.point.error));
        let mut image_error = boundary.ladder_error;
        if let Some((image, _)) = index.fine(rival) {
            let to_rival = image.iter().zip(query.image).map(|(x, z)| x - z);
            blended(&mut trial.dual, &boundary.dual, &mut to_rival.into_iter());
            image_error += share * index.embedding().relative_error * (index.norm(rival) + query.norm);
        }
        let delta = Displacement {
            input: &trial.input,
            ladder: &trial.ladder,
            ladder_error: trial.ladder_error,
            image: index.fine(rival).map(|_| (&trial.dual[..], up(image_error))),
            fresh: fresh || index.embedding().columns().len() <= SMALL_MAP,
        };
        probe.place(index, query, &delta);
    }

    /// Asks for the class at the probe. Rows in the way that the pool did not know join it.
    fn attempt(&mut self, scene: &Scene, rival: usize) -> Attempt {
        let (index, query) = (scene.index, scene.query);
        let goal = (rival, self.pool.space());
        self.probe.contenders(scene, goal, &mut self.found, &mut self.near);
        if self.near.is_empty() {
            return Attempt::Adversarial;
        }
        let known = self.pool.members().len();
        for &(_, position) in self.near.iter().take(4) {
            if !self.pool.contains(position) {
                self.pool.add(index, query, position);
            }
        }
        if self.pool.members().len() > known { Attempt::Enlarged } else { Attempt::Blocked }
    }
}

/// `Σ λ_i (x̂_j − x̂_i)` in the coordinates of the ladder. Its rounding counts where rows nearly coincide: their
/// multipliers are of the order of the inverse of the gap.
fn combine_in_ladder(
    index: &Index,
    rival: usize,
    pairs: impl Iterator<Item = (usize, f64)>,
    sum: &mut Vec<f64>,
    row: &mut Vec<f64>,
) {
    let p = index.embedding().dimensions();
    sum.clear();
    sum.resize(p, 0.0);
    row.resize(p, 0.0);
    let mut total = 0.0;
    for (position, multiplier) in pairs {
        index.ladder().decode(position, row);
        axpy(sum, -multiplier, row);
        total += multiplier;
    }
    index.ladder().decode(rival, row);
    axpy(sum, total, row);
}

enum Attempt {
    /// The point is given another class.
    Adversarial,
    /// Rows unknown to the pool were in the way.
    Enlarged,
    /// Only known rows are in the way: their constraints hold with equality, up to rounding.
    Blocked,
}
