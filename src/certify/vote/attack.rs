//! Adversarial points by a greedy search with exchanges: where to begin, and what to prune with.

use crate::certify::vote::case::Method;
use crate::certify::vote::program::Outcome;
use crate::certify::vote::tree::{Leaf, Tree};
use crate::certify::vote::{Kind, Pair, State, keep_least};

/// How much is tried.
pub(super) struct Effort {
    /// Rows of the rival near the test point that a dive begins at, besides some for each vote.
    seeds: usize,
    seeds_per_vote: usize,
    /// Leaves that are improved by exchanges.
    leaves: usize,
    /// Active rows of a leaf that are exchanged: those with the largest weights.
    pub(super) exchanged: usize,
}

impl Effort {
    fn seeds(&self, pair: &Pair) -> usize {
        self.seeds + self.seeds_per_vote * pair.others
    }
}

/// For a point that is the answer.
const QUICK: Effort = Effort { seeds: 2, seeds_per_vote: 0, leaves: 1, exchanged: 2 };
/// For one that a search prunes with: what it is too long by costs nodes.
const THOROUGH: Effort = Effort { seeds: 6, seeds_per_vote: 1, leaves: 3, exchanged: 5 };
/// Rounds of putting the nearest rows at the optimum inside.
pub(super) const POLISH: usize = 12;
/// Dives are followed to this multiple of the best squared distance: polished, they may still become the best.
const GENEROUS: f64 = 1.5;

impl Tree<'_, '_> {
    pub(super) fn effort(&self) -> &'static Effort {
        if self.case.question.method == Method::Attack { &QUICK } else { &THOROUGH }
    }

    /// Looks for a way to lose from several sets of rows that lie together.
    pub fn attack(&mut self) {
        let one = self.pairs.len() == 1;
        let mut leaves = Vec::new();
        let mut best = self.target;
        for &pair in self.pairs {
            if self.is_late_with(leaves.len()) {
                break;
            }
            let mut starts: Vec<Vec<usize>> = self.choose(&pair, &self.field.halves).into_iter().collect();
            // With one pair of many it is enough to begin where the test point is.
            let seeds = if one { self.effort().seeds(&pair) } else { 1 };
            let rivals = self.nearest(|kind| kind == Kind::Rival, &pair, seeds);
            starts.extend(rivals.into_iter().filter_map(|seed| self.gather_around(&pair, seed)));
            for inside in starts {
                if self.is_late_with(leaves.len()) {
                    break;
                }
                if let Some(leaf) = self.dive(&pair, &inside, &[], (GENEROUS * best).min(self.target)) {
                    let leaf = self.polished(leaf);
                    best = best.min(leaf.value);
                    leaves.push(leaf);
                }
            }
        }
        leaves.sort_by(|a, b| a.value.total_cmp(&b.value));
        let rest = leaves.split_off(leaves.len().min(self.effort().leaves));
        let best = leaves.into_iter().filter_map(|leaf| self.exchanged(leaf)).collect();
        if !self.accept_first(best) {
            let rest = rest.into_iter().filter_map(|leaf| self.settled(leaf)).collect();
            self.accept_first(rest);
        }
    }

    /// Accepts the least of some leaves that can be; `false`: none can.
    fn accept_first(&mut self, mut leaves: Vec<Leaf>) -> bool {
        leaves.sort_by(|a, b| a.value.total_cmp(&b.value));
        leaves.into_iter().any(|leaf| {
            self.program.restart(self.field, &leaf.active);
            leaf.value < self.target && self.accept(leaf.pair)
        })
    }

    /// Dives again from a leaf with the rows of the class that are in the way there, until there are none.
    pub(super) fn settled(&mut self, mut leaf: Leaf) -> Option<Leaf> {
        loop {
            self.program.restart(self.field, &leaf.active);
            if self.case.is_late() || !self.grow() {
                return Some(leaf);
            }
            let (inside, outside) = self.sides(&leaf)?;
            self.program.restart(self.field, &leaf.active);
            let next = self.descend(&leaf.pair, &inside, &outside, self.target);
            leaf = match next {
                Some(next) => next,
                // With these rows other ones have to be outside.
                None => {
                    self.program.restart(self.field, &Default::default());
                    self.descend(&leaf.pair, &inside, &[], self.target)?
                }
            };
        }
    }

    /// What a leaf has inside, and which rows hold it back from outside. The program is at the leaf.
    pub(super) fn sides(&self, leaf: &Leaf) -> Option<(Vec<usize>, Vec<usize>)> {
        let inside = self.choose(&leaf.pair, &self.program.levels)?;
        let active = leaf.active.rows.iter().zip(&leaf.active.inside);
        let outside = active.filter(|a| !a.1).map(|a| *a.0).collect();
        Some((inside, outside))
    }

    /// Whether to be content with some leaves; for the first one there is a little more time.
    fn is_late_with(&self, leaves: usize) -> bool {
        if leaves > 0 { self.case.is_late() } else { self.case.is_overdue() }
    }

    /// Dives again from the nearest rows at a leaf, while that helps.
    pub(super) fn polished(&mut self, mut leaf: Leaf) -> Leaf {
        for _ in 0..POLISH {
            if self.case.is_late() {
                break;
            }
            self.program.restart(self.field, &leaf.active);
            let next = self.choose(&leaf.pair, &self.program.levels);
            match next.and_then(|inside| self.dive(&leaf.pair, &inside, &[], leaf.value * (1.0 - 1e-9))) {
                Some(better) => leaf = better,
                None => break,
            }
        }
        leaf
    }

    /// The rows of a kind that are nearest to the test point, nearest first.
    fn nearest(&self, wanted: impl Fn(Kind) -> bool, pair: &Pair, most: usize) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.field.len()).filter(|&k| wanted(self.kind(pair, k))).collect();
        keep_least(&mut rows, most, |k| self.field.halves[k]);
        rows
    }

    /// The rows that a pair needs, nearest to one of the rival's rows.
    fn gather_around(&mut self, pair: &Pair, seed: usize) -> Option<Vec<usize>> {
        self.field.prepare(&[seed]);
        let apart: Vec<f64> = (0..self.field.len()).map(|k| self.field.apart(seed, k)).collect();
        self.choose(pair, &apart)
    }

    /// The rows that a pair needs, in the order of some levels. Rows of the class may have joined the field since the
    /// levels were made; they have none, and are not needed.
    fn choose(&self, pair: &Pair, levels: &[f64]) -> Option<Vec<usize>> {
        let mut order: Vec<usize> =
            (0..self.field.len()).filter(|&k| self.kind(pair, k) != Kind::Own).collect();
        // Of rows of one kind the first ones are all that is needed.
        let most = if pair.rival.is_none() { pair.others } else { order.len() };
        keep_least(&mut order, most, |k| levels[k]);
        self.case.first_inside(self.field, pair, &order)
    }

    /// With some rows inside and some outside, puts rows that are too many outside until the vote is lost. What comes
    /// back is not verified. Rows inside are tried once: below a smaller limit they bring nothing new.
    fn dive(&mut self, pair: &Pair, inside: &[usize], outside: &[usize], limit: f64) -> Option<Leaf> {
        if outside.is_empty() {
            let mut set = inside.to_vec();
            set.sort_unstable();
            if !self.tried.insert((pair.rival, pair.own, set)) {
                return None;
            }
        }
        self.program.restart(self.field, &Default::default());
        self.descend(pair, inside, outside, limit)
    }

    /// The same from where the program is.
    pub(super) fn descend(
        &mut self,
        pair: &Pair,
        inside: &[usize],
        outside: &[usize],
        limit: f64,
    ) -> Option<Leaf> {
        let mut states = vec![State::Free; self.field.len()];
        inside.iter().for_each(|&k| states[k] = State::Inside);
        outside.iter().for_each(|&k| states[k] = State::Outside);
        let mut required: Vec<(usize, bool)> = inside.iter().map(|&k| (k, true)).collect();
        required.extend(outside.iter().map(|&k| (k, false)));
        loop {
            if self.case.is_overdue() {
                return None;
            }
            states.resize(self.field.len(), State::Free);
            if self.program.solve(self.field, &required, limit) != Outcome::Optimal {
                return None;
            }
            self.set_threshold(&required);
            let Some(next) = self.too_many(pair, &states) else {
                if !self.is_lost(pair, &states) {
                    return None;
                }
                let (active, value) = (self.program.active.clone(), self.program.value);
                return Some(Leaf { pair: *pair, active, value });
            };
            states[next] = State::Outside;
            required.push((next, false));
        }
    }

    /// The farthest row that may still stay of a kind that has too many below the threshold.
    fn too_many(&self, pair: &Pair, states: &[State]) -> Option<usize> {
        let program = &self.program;
        let tolerance = program.tolerance(self.field);
        [Kind::Own, Kind::Third].into_iter().find_map(|kind| {
            let most = pair.most(kind)?;
            let is_kind = |k: &usize| self.kind(pair, *k) == kind;
            let taken = (0..states.len()).filter(|&k| states[k] == State::Inside).filter(is_kind).count();
            let mut below: Vec<usize> = (0..states.len())
                .filter(|&k| states[k] == State::Free && program.levels[k] < program.threshold - tolerance)
                .filter(|k| is_kind(k) && !program.active.rows.contains(k))
                .collect();
            if below.len() + taken <= most {
                return None;
            }
            below.sort_by(|&a, &b| program.levels[a].total_cmp(&program.levels[b]).then(a.cmp(&b)));
            below.get(most.saturating_sub(taken)).copied()
        })
    }

    /// A dive from the optimum that a node has just been left with.
    pub(super) fn dive_from_here(&mut self, pair: &Pair) {
        let inside = self.choose(pair, &self.program.levels);
        if let Some(leaf) = inside.and_then(|inside| self.dive(pair, &inside, &[], self.target)) {
            let leaf = self.polished(leaf);
            let Some(leaf) = self.exchanged(leaf) else { return };
            if leaf.value < self.target {
                self.program.restart(self.field, &leaf.active);
                self.accept(leaf.pair);
            }
        }
    }
}
