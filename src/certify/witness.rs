//! What a sceptic needs to check the lower end of a 1-NN radius.
//!
//! A *witness* is a combination of class-c rows with weights `λ > 0`. With `x̄ = Σ λ_i x_i / Σ λ_i` it bounds the cell of
//! every other row by weak duality, as in [`crate::certify::screen`]:
//!
//! `r_j ≥ Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖)`.
//!
//! The active rows of the nearest cell cover nearly all rows, its nearest neighbours most of the rest, and so on: a few
//! witnesses are a proof for the whole training set, of which each row needs only one.

use crate::certify::finish::Finisher;
use crate::certify::scene::Scene;
use crate::certify::screen::Screen;
use crate::certify::vote::record::Ground;
use crate::search::index::Index;
use std::collections::BTreeSet;

/// Class-c rows, by their position or by the caller's number, with their weights.
pub type Witness = Vec<(usize, f64)>;

/// The lower end, as far as the witnesses prove it in the order in which a checker tries them: caller's units and rows.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    pub lower: f64,
    pub witnesses: Vec<Witness>,
    /// Under a vote, in place of witnesses.
    pub ground: Option<Ground>,
}

/// Witnesses that are tried on a row before it gets one of its own.
const TRIED: usize = 3;

/// The search for witnesses of one thread.
#[derive(Default)]
pub struct Prover {
    screen: Screen,
    rest: Vec<(f64, usize)>,
    found: Vec<u32>,
}

impl Prover {
    /// Witnesses for a lower end, scaled, that is proven already: the least bound that they prove, and they themselves.
    /// `nearest` is the row nearest to the test point and an upper bound on its distance, `critical` the one whose cell
    /// is, with the weights that prove it.
    pub fn prove(
        &mut self,
        finishers: &mut [Finisher],
        scene: &Scene,
        (nearest, critical): ((usize, f64), Option<&(usize, Witness)>),
        lower: f64,
    ) -> (f64, Vec<Witness>) {
        if lower <= 0.0 {
            return (lower, Vec::new());
        }
        let mut witnesses = Vec::new();
        if let Some((rival, witness)) = critical {
            self.collect(scene, (witness, *rival), (nearest.1, scene.index.norm(nearest.0)), lower);
            // Its own cell is proven, to the last digit.
            self.rest.retain(|&(_, j)| j != *rival);
            witnesses.push(witness.clone());
        } else {
            self.collect_all(scene);
        }
        if witnesses.first().is_none_or(|first| first.len() > 1 || first[0].0 != nearest.0) {
            witnesses.push(vec![(nearest.0, 1.0)]);
        }
        let mut proven = lower;
        while let Some((_, j)) = self.rest.pop() {
            if scene.control.must_stop() {
                return (0.0, Vec::new());
            }
            let (bound, witness) = covering(finishers, scene, j, &witnesses, lower);
            if bound <= 0.0 {
                return (0.0, Vec::new());
            }
            proven = proven.min(bound);
            if let Some(witness) = witness {
                self.drop_covered(scene, &witness, j, lower);
                witnesses.push(witness);
            }
        }
        (proven, witnesses)
    }

    /// The rows that neither the witness of a rival's cell nor the nearest row may cover: those that look nearest last.
    fn collect(
        &mut self,
        scene: &Scene,
        (witness, rival): (&Witness, usize),
        nearest: (f64, f64),
        lower: f64,
    ) {
        let Scene { index, kernels, query, scores, .. } = scene;
        // The nearest row alone covers what is farther away.
        let threshold = index.ladder().threshold(query.point, index.reach(query, nearest, lower));
        self.screen.aim(index, query, witness, rival, lower);
        let (centre, limit) = (&self.screen.centre, self.screen.limit);
        let Self { rest, found, .. } = self;
        rest.clear();
        let mut visit = |j: usize, low: f64, _| {
            if !index.is_shadowed(j) {
                rest.push((low * low - limit.slope * f64::from(index.normal_squares()[j]), j));
            }
        };
        for range in scene.others() {
            scores.scan_around(index, kernels, (range, threshold), (centre, limit), found, &mut visit);
        }
        rest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    }

    fn collect_all(&mut self, scene: &Scene) {
        let others = scene.others().into_iter().flatten().filter(|&j| !scene.index.is_shadowed(j));
        self.rest.clear();
        self.rest.extend(others.map(|j| (0.0, j)));
    }

    fn drop_covered(&mut self, scene: &Scene, witness: &Witness, j: usize, lower: f64) {
        if !lower.is_finite() {
            return;
        }
        let Scene { index, kernels, query, .. } = scene;
        self.screen.aim(index, query, witness, j, lower);
        let (centre, limit) = (&self.screen.centre, self.screen.limit);
        self.rest.retain(|&(_, j)| {
            index.ladder().within(kernels, j, centre, limit.of(index.normal_squares()[j])).is_some()
        });
    }
}

/// What is proven of the cell of row `j`, by a witness of its own where none of the last ones covers it.
fn covering(
    finishers: &mut [Finisher],
    scene: &Scene,
    j: usize,
    known: &[Witness],
    lower: f64,
) -> (f64, Option<Witness>) {
    let finest = finishers.last_mut().expect("there is one");
    if known.iter().rev().take(TRIED).any(|witness| finest.bound(scene, j, witness) >= lower) {
        return (lower, None);
    }
    let mut best = (0.0, Vec::new());
    for finisher in &mut *finishers {
        let start = known.last().map_or(&[][..], |witness| &witness[..]);
        let ends = finisher.finish(scene, j, start, lower, None);
        if ends.lower > best.0 {
            best = (ends.lower, finisher.weights().to_vec());
        }
        if ends.lower >= lower {
            return (lower, Some(best.1));
        }
    }
    // Of rows that nearly coincide, one of the others may say more than the row's own cell.
    let finest = finishers.last_mut().expect("there is one");
    for witness in known {
        let bound = finest.bound(scene, j, witness);
        if bound > best.0 {
            best = (bound, witness.clone());
        }
    }
    (best.0.min(lower), Some(best.1))
}

/// A proof in the caller's rows and units, with witnesses for rows that a row of the class shadows although their values
/// differ: in directions that the metric does not see.
pub fn in_callers_terms(scene: &Scene, lower: f64, witnesses: Vec<Witness>) -> Proof {
    let index = scene.index;
    let rename = |witness: Witness| witness.into_iter().map(|(i, w)| (index.row_index(i), w)).collect();
    let mut witnesses: Vec<Witness> = witnesses.into_iter().map(rename).collect();
    witnesses.extend(unseen_copies(scene, index).into_iter().map(|i| vec![(i, 1.0)]));
    Proof { lower, witnesses, ground: None }
}

fn unseen_copies(scene: &Scene, index: &Index) -> BTreeSet<usize> {
    if index.metric().is_euclidean() || !index.has_copies() {
        return BTreeSet::new();
    }
    let own: BTreeSet<usize> =
        scene.class.clone().filter(|&i| !index.is_shadowed(i)).map(|i| index.row_index(i)).collect();
    let shadowed = scene.others().into_iter().flatten().filter(|&j| index.is_shadowed(j));
    shadowed.map(|j| index.canonical(j)).filter(|i| own.contains(i)).collect()
}
