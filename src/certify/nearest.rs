//! The exact radius of 1-NN: the distance to the union of the other classes' Voronoi cells.
//!
//! `r* = min_j r_j`, where `r_j` is the distance to the cell of the other-class row `j` against class `c`.
//!
//! 1. The exact nearest row gives the class `c`.
//! 2. The cell of a near other-class row gives a threshold `T`. Constraints enter its program only when the
//!    current point `z + δ` turns out to be nearer to another class-c row.
//! 3. [`Screen`] discards all but a few of the other rows; the rest meet the same pool of class-c rows, and
//!    a program ends as soon as its value passes `T`.
//! 4. Cells that end below `T` are finished in binary64 (`finish.rs`), where both ends are proven.
//!
//! What is discarded is proven to have `r_j ≥ T` for the `T` of that moment, and `T` only falls: the lower end
//! is the least of the last `T` and of the finished cells' dual bounds.

use crate::certify::cell::Cell;
use crate::certify::finish::Finisher;
use crate::certify::frame::{Member, Space};
use crate::certify::guide::Guide;
use crate::certify::interval::{Contender, EXACT_ABSOLUTE, Interval, prove};
use crate::certify::pool::Pool;
use crate::certify::probe::{Probe, SMALL_MAP};
use crate::certify::scene::Scene;
use crate::certify::screen::Screen;
use crate::certify::witness::{Proof, Prover, Witness, in_callers_terms};
use crate::certify::{Radius, Status, Wanted};
use crate::geometry::min_norm::{MinNorm, Outcome};
use crate::geometry::rounding::{scale_down, up};
use crate::search::index::Index;
use crate::search::neighbors::{NeighborSearch, high};
use std::ops::Range;

/// Panels whose best row is looked at to find a near rival.
const SEEDS: usize = 12;
/// Rows that join the pool after one search.
const AT_ONCE: usize = 3;
/// More cells than this are not worth a second look: their interval stays as wide as it is.
const MOST_RECONSIDERED: usize = 100;
/// The screen is set up again when the target has fallen to this share.
const REAIM: f64 = 0.9;
/// What the search found out about one test point.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The answer, unless there are contenders to be finished.
    pub radius: Radius,
    /// Cells that are not contenders are at least this far away.
    target: f64,
    /// Positions of the predicted class.
    pub class: Range<usize>,
    /// Position of the nearest row, and an upper bound on its distance.
    nearest: (usize, f64),
    /// Most promising first.
    contenders: Vec<Contender>,
    /// See [`NearestCertifier::prepare`].
    pub row: Vec<f64>,
}

/// The search for one thread.
pub struct NearestCertifier {
    neighbors: NeighborSearch,
    pool: Pool,
    solver: MinNorm,
    rival: Member,
    products: Vec<f64>,
    row: Vec<f64>,
    dual: Vec<f64>,
    probe: Probe,
    near: Vec<(f64, usize)>,
    found: Vec<u32>,
    seeds: Vec<(f32, u32)>,
    screen: Screen,
    rivals: Vec<(f64, usize)>,
    contenders: Vec<Contender>,
    guide: Guide,
    /// One for each space to finish in, cheapest first.
    finishers: Vec<Finisher>,
    prover: Prover,
    programs: u32,
    steps: u32,
}

impl NearestCertifier {
    #[must_use]
    pub fn new(index: &Index) -> Self {
        let euclidean = index.metric().is_euclidean();
        let (space, finishing) = if euclidean {
            (Space::Ladder, &[Space::Rows][..])
        } else {
            (Space::Images, &[Space::Images, Space::Differences][..])
        };
        Self {
            neighbors: NeighborSearch::default(),
            pool: Pool::new(space),
            solver: MinNorm::default(),
            rival: Member::default(),
            products: Vec::new(),
            row: Vec::new(),
            dual: Vec::new(),
            probe: Probe::default(),
            near: Vec::new(),
            found: Vec::new(),
            seeds: Vec::new(),
            screen: Screen::default(),
            rivals: Vec::new(),
            contenders: Vec::new(),
            guide: Guide::default(),
            finishers: finishing.iter().map(|&space| Finisher::new(space)).collect(),
            prover: Prover::default(),
            programs: 0,
            steps: 0,
        }
    }

    /// Finds the cells that may be the nearest to one test point. `expected` is its true class; `None`
    /// certifies the predicted one. The class of the scene is not known yet.
    pub fn search(&mut self, scene: Scene, expected: Option<i64>) -> Draft {
        let Scene { index, kernels, scores, query, .. } = scene;
        (self.programs, self.steps) = (0, 0);
        self.contenders.clear();
        let everything = 0..index.len();
        self.neighbors.collect(index, kernels, scores, query, std::slice::from_ref(&everything), 1);
        let &(nearest, square) =
            self.neighbors.resolve(index, query, 1).first().expect("an index is not empty");
        let class = index.class_of(nearest);
        if expected.is_some_and(|expected| expected != class as i64) {
            return Draft { radius: Radius::misclassified(class), ..Draft::default() };
        }
        let own = index.class_range(class);
        let scene = Scene { class: own.clone(), ..scene };
        let (mut radius, mut target) = (Radius::unreachable(), f64::INFINITY);
        if let Some(first) = self.first_rival(&scene) {
            radius = Radius::default();
            target = self.walk(&scene, nearest, high(square), first);
            if scene.control.must_stop() {
                // Rivals may be left: nothing is proven.
                (target, radius.predicted) = (0.0, class as i64);
                self.contenders.clear();
            }
            // Only a proof discards a cell; every other one is finished.
            self.contenders.retain(|c| c.bound < target);
            self.contenders.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.position.cmp(&b.position)));
        }
        (radius.predicted, radius.programs, radius.steps) = (class as i64, self.programs, self.steps);
        let nearest = (nearest, high(square));
        Draft {
            radius,
            target,
            class: own,
            nearest,
            contenders: std::mem::take(&mut self.contenders),
            row: Vec::new(),
        }
    }

    /// Where products with `Bᵀ` are dear, those of several test points are made together: this is the row whose
    /// product the most promising cell of a draft begins with.
    pub fn prepare(&mut self, scene: &Scene, draft: &mut Draft) {
        let dear = scene.index.embedding().columns().len() > SMALL_MAP;
        if let Some(best) = draft.contenders.first().filter(|_| dear) {
            draft.row = self.finishers[0].row(scene, best.position, &best.weights);
        }
    }

    /// Proves both ends of a draft's radius. `input` is `Bᵀ` times its row, if it has one; `wanted` what is to come back
    /// with them.
    pub fn finish(&mut self, scene: &Scene, draft: Draft, input: Option<&[f64]>, wanted: Wanted) -> Radius {
        if draft.radius.status != Status::Unfinished {
            let proof = wanted.proof.then(|| self.proof(scene, &draft, None, draft.radius.lower));
            return Radius { proof: proof.map(Box::new), ..draft.radius };
        }
        let mut interval = prove(&mut self.finishers[0], scene, &draft.contenders, draft.target, input);
        for finisher in &mut self.finishers[1..] {
            if !interval.is_exact() {
                interval.meet(prove(finisher, scene, &draft.contenders, draft.target, None));
            }
        }
        if !interval.is_exact() && interval.upper.is_finite() {
            let every = self.reconsider(scene, &draft, &interval);
            if let (Some(every), Some(finest)) = (every, self.finishers.last_mut()) {
                interval.meet(prove(finest, scene, &every, interval.upper, None));
            }
        }
        let proof =
            wanted.proof.then(|| self.proof(scene, &draft, interval.critical.as_ref(), interval.lower));
        Radius {
            lower: scale_down(interval.lower, scene.index.exponent()),
            upper: interval.unscaled_upper,
            status: interval.status(scene.control),
            rival: interval.rival.map_or(-1, |position| scene.index.row_index(position) as i64),
            adversarial: interval.adversarial.filter(|_| wanted.adversarial),
            proof: proof.map(Box::new),
            ..draft.radius
        }
    }

    /// What a sceptic needs to check a lower end.
    fn proof(
        &mut self,
        scene: &Scene,
        draft: &Draft,
        critical: Option<&(usize, Witness)>,
        lower: f64,
    ) -> Proof {
        let begin = (draft.nearest, critical);
        let (lower, witnesses) = self.prover.prove(&mut self.finishers, scene, begin, lower);
        in_callers_terms(scene, scale_down(lower, scene.index.exponent()), witnesses)
    }

    /// A near row of another class that can win: the place to start.
    fn first_rival(&mut self, scene: &Scene) -> Option<usize> {
        let (index, others) = (scene.index, scene.others());
        scene.scores.seeds(&others, SEEDS, &mut self.seeds);
        let ladder = index.ladder();
        let mut best = (f64::INFINITY, None);
        for &(_, position) in self.seeds.iter().filter(|s| !index.is_shadowed(s.1 as usize)) {
            if let Some((_, high)) =
                ladder.within(scene.kernels, position as usize, scene.query.point, best.0)
                && high < best.0
            {
                best = (high, Some(position as usize));
            }
        }
        let open = || others.iter().flat_map(Clone::clone).find(|&position| !index.is_shadowed(position));
        best.1.or_else(open)
    }

    /// Every cell that may be nearer than the upper end, unless there are too many. Where rows of two classes nearly
    /// coincide, the coordinates of the ladder do not tell them apart, and the search's last threshold is too low.
    fn reconsider(&mut self, scene: &Scene, draft: &Draft, interval: &Interval) -> Option<Vec<Contender>> {
        let (nearest, distance) = draft.nearest;
        let first = interval.rival?;
        self.contenders.clone_from(&draft.contenders);
        self.pool.reset(scene.index, scene.query, nearest);
        self.pool.add(scene.index, scene.query, nearest);
        self.guide.clear();
        self.screen(scene, first, (distance, scene.index.norm(nearest)), interval.upper);
        if self.rivals.len() >= MOST_RECONSIDERED {
            return None;
        }
        let cell = |position| Contender { position, value: 0.0, bound: 0.0, weights: vec![(nearest, 1.0)] };
        Some(std::iter::once(first).chain(self.rivals.iter().map(|r| r.1)).map(cell).collect())
    }

    /// Collects the contenders; returns the last threshold.
    fn walk(&mut self, scene: &Scene, nearest: usize, nearest_distance: f64, first: usize) -> f64 {
        let index = scene.index;
        self.guide.clear();
        self.pool.reset(index, scene.query, nearest);
        self.pool.add(index, scene.query, nearest);
        let mut target = f64::INFINITY;
        self.examine(scene, first, &mut target);
        if target.is_finite() {
            self.screen(scene, first, (nearest_distance, index.norm(nearest)), target);
        } else {
            let open = scene.others().into_iter().flatten();
            self.rivals.clear();
            self.rivals.extend(open.filter(|&j| j != first && !index.is_shadowed(j)).map(|j| (0.0, j)));
        }
        let mut aimed = target;
        self.rivals.reverse();
        while let Some((_, position)) = self.rivals.pop() {
            if scene.control.must_stop() {
                break;
            }
            self.examine(scene, position, &mut target);
            if target < REAIM * aimed {
                aimed = target;
                self.screen_again(scene, target);
            }
        }
        target
    }

    /// Drops what the lower target and the weights of the last contender can discard.
    fn screen_again(&mut self, scene: &Scene, target: f64) {
        let (index, ladder) = (scene.index, scene.index.ladder());
        let Some(best) = self.contenders.last().filter(|c| !c.weights.is_empty()) else {
            return;
        };
        let screen = &mut self.screen;
        screen.aim(index, scene.query, &best.weights, best.position, target);
        self.rivals.retain(|&(_, position)| {
            let limit = screen.limit.of(index.normal_squares()[position]);
            ladder.within(scene.kernels, position, &screen.centre, limit).is_some()
        });
    }

    /// Collects the other rows that may have `r_j < target`, most promising first.
    fn screen(&mut self, scene: &Scene, first: usize, nearest: (f64, f64), target: f64) {
        let (index, ladder) = (scene.index, scene.index.ladder());
        let own = [(self.pool.members()[0].position, 1.0)];
        let active = self.contenders.first().map_or(&[][..], |c| &c.weights[..]);
        let weights = if active.is_empty() { &own[..] } else { active };
        self.screen.aim(index, scene.query, weights, first, target);
        // Every row that matters is also near the test point.
        let reach = index.reach(scene.query, nearest, target);
        let threshold = ladder.threshold(scene.query.point, reach);
        self.rivals.clear();
        let (rivals, limit) = (&mut self.rivals, self.screen.limit);
        for range in scene.others() {
            scene.scores.scan_around(
                index,
                scene.kernels,
                (range, threshold),
                (&self.screen.centre, limit),
                &mut self.found,
                |position, low, _| {
                    if position != first && !index.is_shadowed(position) {
                        let spread = limit.slope * f64::from(index.normal_squares()[position]);
                        rivals.push((low * low - spread, position));
                    }
                },
            );
        }
        self.order_rivals(scene, target);
    }

    /// Most promising first: by the guide's bound where there is one, by the screen's where not.
    fn order_rivals(&mut self, scene: &Scene, target: f64) {
        let Self { guide, rivals, .. } = self;
        if guide.is_aimed() {
            rivals.retain_mut(|(bound, position)| {
                *bound = guide.bound(scene.index, scene.query, *position);
                *bound < target
            });
        }
        rivals.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }

    /// Finds the distance to the cell of a row, or that it is at least `target`. A cell that may be the
    /// nearest becomes a contender and lowers the target.
    fn examine(&mut self, scene: &Scene, position: usize, target: &mut f64) {
        let index = scene.index;
        if self.guide.bound(index, scene.query, position) >= *target {
            return;
        }
        self.pool.gather(index, scene.query, position, &mut self.rival);
        self.products.clear();
        self.solver.reset();
        self.programs += 1;
        let (outcome, bound) = loop {
            let cell = Cell::new(&self.pool, &self.rival, &mut self.products);
            let outcome = self.solver.solve(&cell, *target * *target);
            let (active, multipliers) = (&self.solver.active, &self.solver.multipliers);
            let bound = cell.lower_bound(index, active, multipliers, &mut self.row, &mut self.dual);
            if bound >= *target {
                self.steps += self.solver.steps;
                return;
            }
            cell.combine(active, multipliers, &mut self.row, &mut self.dual);
            // A pruned cell that the bound does not discard is too close to call in these coordinates.
            if outcome == Outcome::Pruned || !self.grow_pool(scene, position) {
                break (outcome, bound);
            }
        };
        self.steps += self.solver.steps;
        let value = self.solver.value.max(0.0).sqrt();
        let members = self.pool.members();
        let pairs = self.solver.active.iter().zip(&self.solver.multipliers);
        let weights: Vec<_> = pairs.map(|(&i, &m)| (members[i].position, m)).collect();
        self.guide.aim(index, scene.query, &weights);
        self.contenders.push(Contender { position, value, bound, weights });
        if outcome == Outcome::Optimal {
            // Cells nearer than the accuracy of these coordinates, which the proven bound shows, are kept.
            let floor = EXACT_ABSOLUTE * self.rival.offset.value.max(0.0).sqrt();
            *target = target.min(up(value.max(bound) + 2.0 * (value - bound).abs() + floor));
        }
    }

    /// Adds the class-c rows nearest to the current point that are nearer than the rival; `false`: there are
    /// none. The current point is given by the sums in `row` and `dual`.
    fn grow_pool(&mut self, scene: &Scene, rival: usize) -> bool {
        let index = scene.index;
        self.probe.place_in_ladder(index, scene.query, &self.dual);
        let pool = &self.pool;
        let is_known = |position| pool.contains(position);
        self.probe.rows_in_the_way(scene, rival, is_known, &mut self.found, &mut self.near);
        for &(_, position) in self.near.iter().take(AT_ONCE) {
            self.pool.add(index, scene.query, position);
        }
        !self.near.is_empty()
    }
}
