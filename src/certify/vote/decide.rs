//! What a node decides without branching: counts, and rows whose other choice is proven to cost the target.

use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair, State};

/// Rows of each kind that are looked at for bounds, besides those that the counts ask for.
const LOOK: usize = 6;

/// Rows with the least levels: free ones by kind, and rows outside.
pub struct Near {
    free: [Vec<usize>; 3],
    outside: Vec<usize>,
    /// How many rows of each kind are inside.
    inside: [usize; 3],
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

impl Tree<'_, '_> {
    /// What the counts imply; `false`: contradiction.
    pub(super) fn propagate(&self, pair: &Pair, states: &mut [State]) -> bool {
        loop {
            let mut changed = false;
            if self.case.scene.index.has_copies() {
                let Some(ordered) = self.keep_order(states) else { return false };
                changed = ordered;
            }
            let (mut inside, mut free) = ([0usize; 3], [0usize; 3]);
            for (k, &state) in states.iter().enumerate() {
                let kind = self.kind(pair, k) as usize;
                inside[kind] += usize::from(state == State::Inside);
                free[kind] += usize::from(state == State::Free);
            }
            let [own, rivals, thirds] = inside;
            let others = rivals + thirds;
            let open = free[1] + free[2].min(pair.thirds.saturating_sub(thirds));
            // Rows of the class are added as they turn out to matter: too few of them is no contradiction.
            if own > pair.own
                || pair.exact && (thirds > pair.thirds || others > pair.others)
                || rivals + free[1] < pair.rivals
                || others + open < pair.others
            {
                return false;
            }
            let mut set = |wanted: fn(Kind) -> bool, state: State| {
                for k in 0..states.len() {
                    if states[k] == State::Free && wanted(self.kind(pair, k)) {
                        (states[k], changed) = (state, true);
                    }
                }
            };
            if own == pair.own && free[0] > 0 {
                set(|kind| kind == Kind::Own, State::Outside);
            }
            if pair.exact && others == pair.others && free[1] + free[2] > 0 {
                set(|kind| kind != Kind::Own, State::Outside);
            } else if pair.exact && thirds == pair.thirds && free[2] > 0 {
                set(|kind| kind == Kind::Third, State::Outside);
            } else if rivals + free[1] == pair.rivals && free[1] > 0 {
                set(|kind| kind == Kind::Rival, State::Inside);
            } else if others + free[1] + free[2] == pair.others && free[1] + free[2] > 0 {
                set(|kind| kind != Kind::Own, State::Inside);
            }
            if !changed {
                return true;
            }
        }
    }

    /// Rows in one place come in their order; `None`: contradiction, else whether anything changed.
    fn keep_order(&self, states: &mut [State]) -> Option<bool> {
        let mut changed = false;
        for k in 0..states.len() {
            let Some(before) = self.field.entries[k].before else { continue };
            match (states[before], states[k]) {
                (State::Outside, State::Inside) => return None,
                (State::Free, State::Inside) => (states[before], changed) = (State::Inside, true),
                (State::Outside, State::Free) => (states[k], changed) = (State::Outside, true),
                _ => {}
            }
        }
        self.ties_are_in_order(states).then_some(changed)
    }

    /// Places with rows both inside and outside all tie at the threshold, where the lowest indices come first.
    fn ties_are_in_order(&self, states: &[State]) -> bool {
        let entries = &self.field.entries;
        let (mut last_inside, mut first_outside) = (None, None);
        for k in 0..states.len() {
            let Some(before) = entries[k].before else { continue };
            if (states[before], states[k]) == (State::Inside, State::Outside) {
                let [inside, outside] =
                    [before, k].map(|k| self.case.scene.index.row_index(entries[k].position));
                last_inside = last_inside.max(Some(inside));
                first_outside = Some(first_outside.map_or(outside, |first: usize| first.min(outside)));
            }
        }
        last_inside.zip(first_outside).is_none_or(|(inside, outside)| inside < outside)
    }

    /// Whether the vote is lost at the program's optimum, ties in distance to the adversary.
    pub(super) fn is_lost(&self, pair: &Pair, states: &[State]) -> bool {
        let program = &self.program;
        if program.active.rows.is_empty() && !states.contains(&State::Inside) {
            return false;
        }
        let tolerance = program.tolerance(self.field);
        let (low, high) = (program.threshold - tolerance, program.threshold + tolerance);
        let mut active = vec![false; states.len()];
        program.active.rows.iter().for_each(|&k| active[k] = true);
        let under = |k: usize| states[k] == State::Inside || !active[k] && program.levels[k] < low;
        let (mut below, mut reached) = ([0usize; 3], [0usize; 3]);
        for k in 0..states.len() {
            if program.levels[k] > high && states[k] != State::Inside && !active[k] {
                continue;
            }
            let kind = self.kind(pair, k) as usize;
            let ties = !under(k);
            below[kind] += usize::from(!ties);
            // A row that ties at the threshold may be taken, unless one in the same place has to come first.
            reached[kind] += usize::from(!ties || self.field.entries[k].before.is_none_or(under));
        }
        let [_, rivals, thirds] = reached;
        below[Kind::Own as usize] <= pair.own
            && (!pair.exact || below[Kind::Third as usize] <= pair.thirds)
            && rivals >= pair.rivals
            && rivals + thirds >= pair.others
    }

    /// The least norm² where `j` is inside and `i` outside, from the program's half-space and theirs, with the
    /// weights that prove it: of the program, and of the two.
    fn both(&self, j: usize, i: usize) -> (f64, f64, f64) {
        let (levels, halves, value) = (&self.program.levels, &self.field.halves, self.program.value);
        let gap = levels[j] - levels[i];
        if gap <= 0.0 || !(self.field.is_prepared(i) || self.field.is_prepared(j)) {
            return (value, 1.0, 0.0);
        }
        let (height, apart) = (halves[j] - halves[i], self.field.apart(j, i));
        if value > 0.0 {
            let along = height - gap;
            let across = apart - along * along / value;
            if across <= 1e-12 * apart {
                if along < 0.0 || height * height <= value * apart {
                    return (value, 1.0, 0.0);
                }
            } else if along < 0.0 || gap * along < value * across {
                let weight = gap / across;
                return (value + gap * weight, 1.0 - weight * along / value, weight);
            }
        }
        if height > 0.0 && apart > 0.0 {
            (height * height / apart, 0.0, height / apart)
        } else {
            (value, 1.0, 0.0)
        }
    }

    /// Into `weights`: those that prove [`Tree::both`].
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

    /// Decides free rows that only have one choice below the target; `true`: some were.
    pub(super) fn decide(&mut self, pair: &Pair, states: &mut [State]) -> bool {
        let inside = inside_of(states);
        let mut changed = false;
        for k in 0..states.len() {
            // Rows that are nearer than the threshold and may have to be outside.
            if states[k] == State::Free
                && self.program.levels[k] < self.program.threshold
                && self.matters_outside(pair, k)
                && self.out_cost(k, &inside).value >= self.target
                && self.out_proven(k, &inside)
            {
                (states[k], changed) = (State::Inside, true);
            }
        }
        if changed {
            return true;
        }
        let near = self.near(pair, states);
        for k in 0..states.len() {
            if states[k] == State::Free
                && self.kind(pair, k) != Kind::Own
                && (self.triplet_cost(pair, k) >= self.target
                    || self.in_cost(pair, k, &near).value >= self.target && self.in_proven(pair, k, &near))
            {
                (states[k], changed) = (State::Outside, true);
            }
        }
        changed
    }

    /// Without exact counts nothing is won by knowing that another class's row is outside.
    fn matters_outside(&self, pair: &Pair, k: usize) -> bool {
        pair.exact || self.kind(pair, k) == Kind::Own
    }

    fn is_active(&self, k: usize) -> bool {
        self.program.active.rows.contains(&k)
    }

    /// What it costs at least to have row `k` outside.
    pub(super) fn out_cost(&mut self, k: usize, inside: &[usize]) -> Cost {
        let mut cost = Cost { value: self.program.value, by: Proof::Base };
        if !self.program.active.rows.is_empty() && !self.is_active(k) {
            cost = cost
                .or(self.program.value + self.program.step(self.field, k, false).gain.max(0.0), Proof::Step);
        }
        for &j in inside {
            cost = cost.or(self.both(j, k).0, Proof::Pair(j, k));
        }
        cost
    }

    fn out_proven(&mut self, k: usize, inside: &[usize]) -> bool {
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
        self.program.stepped(k, is_inside, length, &mut self.weights);
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
                self.program.stepped(k, is_inside, step.length, &mut self.weights);
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
        let order = |a: &usize, b: &usize| levels[*a].total_cmp(&levels[*b]).then(a.cmp(b));
        let keep = |list: &mut Vec<usize>, most: usize| {
            if list.len() > most {
                list.select_nth_unstable_by(most, order);
                list.truncate(most);
            }
            list.sort_unstable_by(order);
        };
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

    /// For row `k` inside, the lists of rows of which any `rank` have one outside.
    fn ranks(&self, pair: &Pair, k: usize, near: &Near) -> [(usize, usize); 3] {
        let [own, rivals, thirds] = near.inside;
        if !pair.exact {
            return [(0, pair.own + 1 - own), (1, 0), (2, 0)];
        }
        let third = usize::from(self.kind(pair, k) == Kind::Third);
        [
            (0, pair.own + 1 - own),
            (2, (pair.thirds + 1).saturating_sub(thirds + third)),
            (1, pair.others.saturating_sub(rivals + thirds)),
        ]
    }

    /// What it costs at least to have row `k` of another class inside.
    pub(super) fn in_cost(&mut self, pair: &Pair, k: usize, near: &Near) -> Cost {
        let mut cost = Cost { value: self.program.value, by: Proof::Base };
        cost = cost.or(self.triplet_cost(pair, k), Proof::Triplet);
        let above = self.program.levels[k] > self.program.threshold;
        if above && !self.program.active.rows.is_empty() && !self.is_active(k) {
            cost = cost
                .or(self.program.value + self.program.step(self.field, k, true).gain.max(0.0), Proof::Step);
        }
        for &i in &near.outside {
            cost = cost.or(self.both(k, i).0, Proof::Pair(k, i));
        }
        for (list, rank) in self.ranks(pair, k, near) {
            if rank == 0 {
                continue;
            }
            let mut values = std::mem::take(&mut self.values);
            values.clear();
            values.extend(opponents(list, near, k).map(|i| (self.both(k, i).0, i)));
            if values.len() >= rank {
                let (_, &mut (value, i), _) =
                    values.select_nth_unstable_by(rank - 1, |a, b| b.0.total_cmp(&a.0));
                cost = cost.or(value, if rank == 1 { Proof::Pair(k, i) } else { Proof::Rank });
            }
            self.values = values;
        }
        cost
    }

    fn in_proven(&mut self, pair: &Pair, k: usize, near: &Near) -> bool {
        if self.program.levels[k] > self.program.threshold && self.step_proven(k, true) {
            return true;
        }
        if near.outside.iter().any(|&i| self.both_proven(k, i)) {
            return true;
        }
        self.ranks(pair, k, near).into_iter().filter(|r| r.1 > 0).any(|(list, rank)| {
            let mut proven = 0;
            opponents(list, near, k).any(|i| {
                proven += usize::from(self.both_proven(k, i));
                proven >= rank
            })
        })
    }
}

impl Near {
    #[must_use]
    pub fn inside(&self) -> [usize; 3] {
        self.inside
    }
}

impl Cost {
    fn or(self, value: f64, by: Proof) -> Self {
        if value > self.value { Self { value, by } } else { self }
    }
}

/// Rows that are inside.
pub fn inside_of(states: &[State]) -> Vec<usize> {
    (0..states.len()).filter(|&k| states[k] == State::Inside).collect()
}

/// Free rows of a list, and for "any other class" the thirds as well.
fn opponents(list: usize, near: &Near, k: usize) -> impl Iterator<Item = usize> {
    let more: &[usize] = if list == 1 { &near.free[2] } else { &[] };
    near.free[list].iter().chain(more).copied().filter(move |&i| i != k)
}
