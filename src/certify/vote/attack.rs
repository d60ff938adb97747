//! Adversarial points by a greedy search with exchanges: where to begin, and what to prune with.

use crate::certify::vote::program::Outcome;
use crate::certify::vote::tree::{Leaf, Tree};
use crate::certify::vote::{Kind, Pair, State};

/// Rows of the rival near the test point that a dive begins at, besides some for each vote.
const SEEDS: usize = 6;
/// Rounds of putting the nearest rows at the optimum inside.
const POLISH: usize = 12;
/// Other rows that each row inside which holds the point back is exchanged for.
const EXCHANGED: usize = 3;
/// Dives are followed to this multiple of the best squared distance: polished, they may still become the best.
const GENEROUS: f64 = 1.5;

impl Tree<'_, '_> {
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
            let mut rivals = self.nearest(|kind| kind == Kind::Rival, &pair);
            rivals.truncate(if one { SEEDS + 2 * pair.others.div_ceil(2) } else { 1 });
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
        let first: Vec<_> = leaves.iter().take(3).cloned().collect();
        for leaf in first {
            if self.case.is_late() {
                break;
            }
            let leaf = self.exchanged(leaf);
            leaves.push(leaf);
        }
        leaves.sort_by(|a, b| a.value.total_cmp(&b.value));
        for leaf in leaves {
            self.program.restart(self.field, &leaf.active);
            if leaf.value < self.target && self.accept(leaf.pair) {
                return;
            }
        }
    }

    /// Whether to be content with some leaves; for the first one there is a little more time.
    fn is_late_with(&self, leaves: usize) -> bool {
        if leaves > 0 { self.case.is_late() } else { self.case.is_overdue() }
    }

    /// Dives again from the nearest rows at a leaf, while that helps.
    fn polished(&mut self, mut leaf: Leaf) -> Leaf {
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

    /// Tries what one row less of the class inside, or another row for one that holds the point back, would give.
    fn exchanged(&mut self, mut leaf: Leaf) -> Leaf {
        for _ in 0..POLISH {
            let Some(better) = self.exchange(&leaf) else { break };
            leaf = self.polished(better);
        }
        leaf
    }

    fn exchange(&mut self, leaf: &Leaf) -> Option<Leaf> {
        self.program.restart(self.field, &leaf.active);
        let inside = self.choose(&leaf.pair, &self.program.levels)?;
        let (levels, threshold) = (self.program.levels.clone(), self.program.threshold);
        let limit = leaf.value * (1.0 - 1e-9);
        let free = |k: &usize| levels[*k] < threshold && !leaf.active.rows.contains(k);
        let own = self.nearest(|kind| kind == Kind::Own, &leaf.pair);
        for out in own.into_iter().filter(free) {
            if self.case.is_late() {
                return None;
            }
            if let Some(better) = self.dive(&leaf.pair, &inside, &[out], limit) {
                return Some(better);
            }
        }
        let mut others = self.nearest(|kind| kind == Kind::Rival, &leaf.pair);
        others.retain(|k| !inside.contains(k));
        others.sort_by(|&a, &b| levels[a].total_cmp(&levels[b]));
        others.truncate(EXCHANGED);
        // The rows that hold the point back stay outside: most exchanges fail already there.
        let active = leaf.active.rows.iter().zip(&leaf.active.inside);
        let outside: Vec<usize> = active.filter(|a| !a.1).map(|a| *a.0).collect();
        for (slot, &row) in inside.iter().enumerate().filter(|(_, row)| leaf.active.rows.contains(row)) {
            for &other in &others {
                if self.case.is_late() {
                    return None;
                }
                let mut changed = inside.clone();
                changed[slot] = other;
                debug_assert_ne!(row, other);
                if let Some(better) = self.dive(&leaf.pair, &changed, &outside, limit) {
                    return Some(better);
                }
            }
        }
        None
    }

    /// Rows of a kind by their distance from the test point.
    fn nearest(&self, wanted: impl Fn(Kind) -> bool, pair: &Pair) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.field.len()).filter(|&k| wanted(self.kind(pair, k))).collect();
        rows.sort_by(|&a, &b| self.field.halves[a].total_cmp(&self.field.halves[b]).then(a.cmp(&b)));
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
        order.sort_by(|&a, &b| levels[a].total_cmp(&levels[b]).then(a.cmp(&b)));
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
        let mut states = vec![State::Free; self.field.len()];
        inside.iter().for_each(|&k| states[k] = State::Inside);
        outside.iter().for_each(|&k| states[k] = State::Outside);
        self.program.restart(self.field, &Default::default());
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
                if !self.grow() {
                    let (active, value) = (self.program.active.clone(), self.program.value);
                    return Some(Leaf { pair: *pair, active, value });
                }
                let active = self.program.active.clone();
                self.program.restart(self.field, &active);
                continue;
            };
            states[next] = State::Outside;
            required.push((next, false));
        }
    }

    /// The farthest row that may still stay of a kind that has too many below the threshold.
    fn too_many(&self, pair: &Pair, states: &[State]) -> Option<usize> {
        let program = &self.program;
        let tolerance = program.tolerance(self.field);
        let most = [(Kind::Own, pair.own, true), (Kind::Third, pair.thirds, pair.exact)];
        most.into_iter().filter(|m| m.2).find_map(|(kind, allowed, _)| {
            let is_kind = |k: &usize| self.kind(pair, *k) == kind;
            let taken = (0..states.len()).filter(|&k| states[k] == State::Inside).filter(is_kind).count();
            let mut below: Vec<usize> = (0..states.len())
                .filter(|&k| states[k] == State::Free && program.levels[k] < program.threshold - tolerance)
                .filter(|k| is_kind(k) && !program.active.rows.contains(k))
                .collect();
            if below.len() + taken <= allowed {
                return None;
            }
            below.sort_by(|&a, &b| program.levels[a].total_cmp(&program.levels[b]).then(a.cmp(&b)));
            below.get(allowed.saturating_sub(taken)).copied()
        })
    }

    /// A dive from the optimum that a node has just been left with.
    pub(super) fn dive_from_here(&mut self, pair: &Pair) {
        let inside = self.choose(pair, &self.program.levels);
        if let Some(leaf) = inside.and_then(|inside| self.dive(pair, &inside, &[], self.target)) {
            let leaf = self.polished(leaf);
            let leaf = self.exchanged(leaf);
            self.program.restart(self.field, &leaf.active);
            self.accept(leaf.pair);
        }
    }
}
