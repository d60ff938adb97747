//! What one more decision costs at least: bounds for many rows at once, and the weights that prove them.

use crate::certify::vote::factor::gather;
use crate::certify::vote::meeting::{Abreast, meet};
use crate::certify::vote::node::Split;
use crate::certify::vote::record::{Reason, Weights};
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair, State, keep_least};

/// Rows of each kind that are looked at for bounds, besides those that the counts ask for.
const LOOK: usize = 6;

/// Rows with the least levels: free ones by kind, and rows outside.
pub struct Near {
    free: [Vec<usize>; 3],
    outside: Vec<usize>,
    /// How many rows of each kind are inside.
    pub inside: [usize; 3],
}

/// A bound for one choice, and the weights that prove it: of a step of the program, or of it with one pair of rows.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Squared, the solver's word.
    pub value: f64,
    by: Proof,
}

#[derive(Debug, Clone, Copy)]
enum Proof {
    Base,
    Step,
    /// The value is proven.
    Triplet,
    Pair(usize, usize),
    /// Several pairs, of which one holds.
    Rank,
}

impl Cost {
    /// Whether the value is a triplet bound.
    pub(super) fn is_triplet(&self) -> bool {
        matches!(self.by, Proof::Triplet)
    }

    fn raise(&mut self, value: f64, by: Proof) {
        if value > self.value {
            *self = Self { value, by };
        }
    }
}

impl Tree<'_, '_> {
    /// What each of some rows costs outside, at least.
    pub(super) fn out_costs(&mut self, rows: &[usize], inside: &[usize]) -> Vec<Cost> {
        let mut costs = self.step_costs(rows, false);
        let (abreast, mut values) = (self.abreast(rows), std::mem::take(&mut self.values));
        for &j in inside {
            self.meetings((rows, &abreast), (j, true), &mut values);
            costs.iter_mut().zip(rows).zip(&values).for_each(|((c, &k), &v)| c.raise(v, Proof::Pair(j, k)));
        }
        self.values = values;
        costs
    }

    pub(super) fn abreast(&self, rows: &[usize]) -> Abreast {
        Abreast::of(&self.program, self.field, rows)
    }

    /// What each of some rows of other classes costs inside, at least.
    pub(super) fn in_costs(&mut self, pair: &Pair, rows: &[usize], near: &Near) -> Vec<Cost> {
        let mut costs = self.step_costs(rows, true);
        for (cost, &k) in costs.iter_mut().zip(rows) {
            cost.raise(self.triplet_cost(pair, k), Proof::Triplet);
        }
        for kind in [Kind::Rival, Kind::Third] {
            let of_kind: Vec<usize> =
                (0..rows.len()).filter(|&at| self.kind(pair, rows[at]) == kind).collect();
            let chosen: Vec<usize> = of_kind.iter().map(|&at| rows[at]).collect();
            let mut raised: Vec<Cost> = of_kind.iter().map(|&at| costs[at]).collect();
            self.raise_by_pairs(&chosen, ranks(pair, kind, near), near, &mut raised);
            of_kind.into_iter().zip(raised).for_each(|(at, cost)| costs[at] = cost);
        }
        costs
    }

    /// By pairs with rows outside; and of any `rank` rows in some lists one is outside with each of these.
    fn raise_by_pairs(
        &mut self,
        rows: &[usize],
        ranks: [(usize, usize); 3],
        near: &Near,
        costs: &mut [Cost],
    ) {
        if rows.is_empty() {
            return;
        }
        let abreast = self.abreast(rows);
        let (mut values, mut table) = (std::mem::take(&mut self.values), Vec::new());
        for &i in &near.outside {
            self.meetings((rows, &abreast), (i, false), &mut values);
            costs.iter_mut().zip(rows).zip(&values).for_each(|((c, &k), &v)| c.raise(v, Proof::Pair(k, i)));
        }
        for (list, rank) in ranks.into_iter().filter(|r| r.1 > 0) {
            let against: Vec<usize> = opponents(list, near).collect();
            if against.len() < rank {
                continue;
            }
            // The largest `rank` values of each row, smallest first, and whom the smallest is of.
            let mut least = vec![usize::MAX; rows.len()];
            table.clear();
            table.resize(rows.len() * rank, f64::NEG_INFINITY);
            for &i in &against {
                self.meetings((rows, &abreast), (i, false), &mut values);
                for (at, &value) in values.iter().enumerate() {
                    let largest = &mut table[at * rank..][..rank];
                    // A row is not its own opponent.
                    if value > largest[0] && rows[at] != i {
                        least[at] = i;
                        let place = largest.partition_point(|&x| x < value);
                        largest[..place].rotate_left(1);
                        largest[place - 1] = value;
                    }
                }
            }
            for (at, largest) in table.chunks_exact(rank).enumerate() {
                let by = if rank == 1 { Proof::Pair(rows[at], least[at]) } else { Proof::Rank };
                costs[at].raise(largest[0], by);
            }
        }
        self.values = values;
    }

    /// Costs by one dual step of the program.
    fn step_costs(&mut self, rows: &[usize], is_inside: bool) -> Vec<Cost> {
        let value = self.program.value;
        let mut costs = vec![Cost { value, by: Proof::Base }; rows.len()];
        if self.program.active.rows.is_empty() {
            return costs;
        }
        let beyond = |k: usize| !is_inside || self.program.levels[k] > self.program.threshold;
        let moved: Vec<usize> =
            (0..rows.len()).filter(|&at| !self.is_active(rows[at]) && beyond(rows[at])).collect();
        let wanted: Vec<usize> = moved.iter().map(|&at| rows[at]).collect();
        if wanted.is_empty() {
            return costs;
        }
        for (at, gain) in moved.into_iter().zip(self.program.gains(self.field, &wanted, is_inside)) {
            costs[at].raise(value + gain, Proof::Step);
        }
        costs
    }

    /// The values of [`meet`] for some rows and a fixed one, which is inside and they outside or the reverse.
    pub(super) fn meetings(
        &self,
        (rows, abreast): (&[usize], &Abreast),
        (fixed, is_inside): (usize, bool),
        out: &mut Vec<f64>,
    ) {
        if self.field.is_prepared(fixed) {
            gather(self.field.products(fixed), rows, out);
            abreast.meet_all(&self.program, self.field, (fixed, is_inside), out);
        } else {
            let both = |&k: &usize| if is_inside { self.both(fixed, k).0 } else { self.both(k, fixed).0 };
            out.clear();
            out.extend(rows.iter().map(both));
        }
    }

    /// [`meet`] for two rows, `j` inside and `i` outside.
    pub(super) fn both(&self, j: usize, i: usize) -> (f64, f64, f64) {
        let (levels, halves, value) = (&self.program.levels, &self.field.halves, self.program.value);
        if !(self.field.is_prepared(i) || self.field.is_prepared(j)) {
            return (value, 1.0, 0.0);
        }
        meet(value, levels[j] - levels[i], halves[j] - halves[i], self.field.apart(j, i))
    }

    /// Into `weights`: those that prove that `j` inside and `i` outside cost what [`meet`] says.
    fn both_weights(&mut self, j: usize, i: usize) {
        let (_, program, pair) = self.both(j, i);
        self.weights.clear();
        self.weights.extend(self.base.iter().filter(|_| program > 0.0).map(|&(k, w)| (k, w * program)));
        for (k, w) in [(j, pair), (i, -pair)] {
            match self.weights.iter_mut().find(|entry| entry.0 == k) {
                Some(entry) => entry.1 += w,
                None => self.weights.push((k, w)),
            }
        }
    }

    fn both_proven(&mut self, j: usize, i: usize) -> bool {
        if self.both(j, i).0 < self.target {
            return false;
        }
        self.both_weights(j, i);
        self.is_proven()
    }

    fn is_active(&self, k: usize) -> bool {
        self.program.active.rows.contains(&k)
    }

    pub(super) fn out_proven(&mut self, k: usize, inside: &[usize]) -> bool {
        self.step_proven(k, false) || inside.iter().any(|&j| self.both_proven(j, k))
    }

    fn step_proven(&mut self, k: usize, is_inside: bool) -> bool {
        if !self.step_weights(k, is_inside) {
            return false;
        }
        self.is_proven()
    }

    /// Into `weights`: those after one dual step for row `k`; `false` where it does not promise the target.
    fn step_weights(&mut self, k: usize, is_inside: bool) -> bool {
        if self.program.active.rows.is_empty() || self.is_active(k) {
            return false;
        }
        let step = self.program.step(self.field, k, is_inside);
        if self.program.value + step.gain < self.target {
            return false;
        }
        let total: f64 = self.program.active.weights.iter().sum();
        let length = if step.length.is_finite() { step.length } else { 1e3 * total };
        self.program.stepped((k, is_inside, 0.0), length, &mut self.weights);
        true
    }

    /// A proven bound for a choice.
    pub(super) fn prove(&mut self, k: usize, is_inside: bool, cost: Cost) -> f64 {
        match cost.by {
            Proof::Base | Proof::Rank => return 0.0,
            Proof::Triplet => return cost.value,
            Proof::Step => {
                let step = self.program.step(self.field, k, is_inside);
                if !step.length.is_finite() {
                    return 0.0;
                }
                self.program.stepped((k, is_inside, 0.0), step.length, &mut self.weights);
            }
            Proof::Pair(j, i) => self.both_weights(j, i),
        }
        self.field.bound(&self.weights, f64::INFINITY)
    }

    /// The rows that bounds look at: their inner products are at hand.
    pub(super) fn near(&mut self, pair: &Pair, states: &[State]) -> Near {
        let mut near = Near { free: Default::default(), outside: Vec::new(), inside: [0; 3] };
        for (k, &state) in states.iter().enumerate() {
            let kind = self.kind(pair, k) as usize;
            match state {
                State::Outside => near.outside.push(k),
                State::Free => near.free[kind].push(k),
                State::Inside => near.inside[kind] += 1,
            }
        }
        let (levels, most) = (&self.program.levels, LOOK + pair.own + 1);
        let keep = |list: &mut Vec<usize>, most: usize| keep_least(list, most, |k| levels[k]);
        keep(&mut near.free[0], most);
        self.field.prepare(&near.free[0]);
        // Products with rows of other classes are not worth making for this.
        let [_, rivals, thirds] = &mut near.free;
        for list in [&mut near.outside, rivals, thirds] {
            list.retain(|&k| self.field.is_prepared(k));
            keep(list, if pair.exact { most + pair.others } else { most });
        }
        near
    }

    /// Goes to the program of a split, whose children's costs are asked for.
    pub(super) fn stand_at(&mut self, split: &Split) -> Near {
        let mut states = split.states.clone();
        states.resize(self.field.len(), State::Free);
        self.program.restart(self.field, &split.active);
        self.program.active.signed(&mut self.base);
        self.near(&self.pairs[split.pair], &states)
    }

    /// A proven bound above a known one for a row inside, by pairs with rows of which one is outside by counts: these
    /// rows' positions and the weights of the pairs, for a record.
    pub(super) fn rank_proof(
        &mut self,
        (pair, k): (&Pair, usize),
        near: &Near,
        known: f64,
    ) -> Option<(f64, Vec<(usize, Weights)>)> {
        let mut best = None;
        for (list, rank) in ranks(pair, self.kind(pair, k), near).into_iter().filter(|r| r.1 > 0) {
            let against = opponents(list, near).filter(|&i| i != k);
            let mut values: Vec<(f64, usize)> = against.map(|i| (self.both(k, i).0, i)).collect();
            values.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let known = best.as_ref().map_or(known, |best: &(f64, _)| best.0);
            if values.len() < rank || values[rank - 1].0 <= known {
                continue;
            }
            let (mut proven, mut rows) = (f64::INFINITY, Vec::new());
            for &(_, i) in &values[..rank] {
                self.both_weights(k, i);
                proven = proven.min(self.field.bound(&self.weights, self.target));
                rows.push((self.field.entries[i].position, self.noted(&self.weights)));
            }
            if proven > known {
                best = Some((proven, rows));
            }
        }
        best
    }

    /// Why a row cannot be inside below the target, if that is proven.
    pub(super) fn in_proven(&mut self, pair: &Pair, k: usize, near: &Near) -> Option<Reason> {
        let alone = self.program.levels[k] > self.program.threshold && self.step_proven(k, true)
            || near.outside.iter().any(|&i| self.both_proven(k, i));
        if alone {
            return Some(Reason::Weights(self.noted(&self.weights)));
        }
        // Weights that prove the target itself do.
        let (_, rows) = self.rank_proof((pair, k), near, self.target.next_down())?;
        Some(Reason::OneOf(rows))
    }
}

/// For a row of a kind inside, the lists of rows of which any `rank` have one outside.
fn ranks(pair: &Pair, kind: Kind, near: &Near) -> [(usize, usize); 3] {
    let [own, rivals, thirds] = near.inside;
    if !pair.exact {
        return [(0, pair.own + 1 - own), (1, 0), (2, 0)];
    }
    let third = usize::from(kind == Kind::Third);
    [
        (0, pair.own + 1 - own),
        (2, (pair.thirds + 1).saturating_sub(thirds + third)),
        (1, pair.others.saturating_sub(rivals + thirds)),
    ]
}

/// Rows that are inside.
pub fn inside_of(states: &[State]) -> Vec<usize> {
    (0..states.len()).filter(|&k| states[k] == State::Inside).collect()
}

/// Free rows of a list, and for "any other class" the thirds as well.
fn opponents(list: usize, near: &Near) -> impl Iterator<Item = usize> {
    let more: &[usize] = if list == 1 { &near.free[2] } else { &[] };
    near.free[list].iter().chain(more).copied()
}
