//! What a node decides without branching: counts, and rows whose other choice is proven to cost the target.

use crate::certify::vote::cost::{Cost, inside_of};
use crate::certify::vote::record::{Fixed, Reason};
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair, State};

/// What free rows cost at least on the side where they are not at the program's optimum: rows that may have to be
/// outside, and rows of other classes inside.
pub struct Costs {
    pub out: Vec<(Cost, usize)>,
    pub into: Vec<(Cost, usize)>,
    /// How many rows of each kind are inside.
    pub inside: [usize; 3],
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

    /// Decides free rows that only have one choice below the target, and says why; if there are none, what the others
    /// cost.
    pub(super) fn decide(
        &mut self,
        pair: &Pair,
        states: &mut [State],
        fixed: &mut Vec<Fixed>,
    ) -> Option<Costs> {
        let target = self.target;
        let before = fixed.len();
        let position = |tree: &Self, k: usize| tree.field.entries[k].position;
        let inside = inside_of(states);
        let out = self.costs_outside(pair, states, &inside);
        for (cost, k) in &out {
            if cost.value >= target && self.out_proven(*k, &inside) {
                let reason = Reason::Weights(self.noted(&self.weights));
                states[*k] = State::Inside;
                fixed.push(Fixed { row: position(self, *k), state: State::Inside, reason });
            }
        }
        if fixed.len() > before {
            return None;
        }
        let near = self.near(pair, states);
        let rows = self.free_others(pair, states);
        let costs = self.in_costs(pair, &rows, &near);
        for (cost, &k) in costs.iter().zip(&rows) {
            let reason = if self.triplet_cost(pair, k) >= target {
                Some(Reason::Excluded)
            } else if cost.value >= target {
                self.in_proven(pair, k, &near)
            } else {
                None
            };
            if let Some(reason) = reason {
                states[k] = State::Outside;
                fixed.push(Fixed { row: position(self, k), state: State::Outside, reason });
            }
        }
        let into = costs.into_iter().zip(rows).collect();
        (fixed.len() == before).then_some(Costs { out, into, inside: near.inside })
    }

    /// The costs after a program that decided nothing.
    pub(super) fn costs(&mut self, pair: &Pair, states: &[State]) -> Costs {
        let out = self.costs_outside(pair, states, &inside_of(states));
        let near = self.near(pair, states);
        let rows = self.free_others(pair, states);
        let into = self.in_costs(pair, &rows, &near).into_iter().zip(rows).collect();
        Costs { out, into, inside: near.inside }
    }

    /// Rows that are nearer than the threshold and may have to be outside.
    fn costs_outside(&mut self, pair: &Pair, states: &[State], inside: &[usize]) -> Vec<(Cost, usize)> {
        let is_near = |k: usize| self.program.levels[k] < self.program.threshold;
        // Without exact counts nothing is won by knowing that another class's row is outside.
        let matters = |k: usize| pair.exact || self.kind(pair, k) == Kind::Own;
        let rows: Vec<usize> =
            (0..states.len()).filter(|&k| states[k] == State::Free && is_near(k) && matters(k)).collect();
        self.out_costs(&rows, inside).into_iter().zip(rows).collect()
    }

    fn free_others(&self, pair: &Pair, states: &[State]) -> Vec<usize> {
        (0..states.len()).filter(|&k| states[k] == State::Free && self.kind(pair, k) != Kind::Own).collect()
    }
}
