//! Better leaves from a leaf: another row in place of one that holds its point back.

use crate::certify::vote::attack::POLISH;
use crate::certify::vote::program::Active;
use crate::certify::vote::tree::{Leaf, Tree};
use crate::certify::vote::{Kind, Pair, keep_least};

/// Rows of which the cheapest takes the place: those that violate their constraint the least.
const LOOK: usize = 3;

impl Tree<'_, '_> {
    /// The best leaf that exchanges lead to, among those that know the rows in their way.
    pub(super) fn exchanged(&mut self, mut leaf: Leaf) -> Option<Leaf> {
        let mut best: Option<Leaf> = None;
        for _ in 0..POLISH {
            while let Some(better) = self.exchange(&leaf) {
                leaf = self.polished(better);
            }
            if best.as_ref().is_some_and(|best| leaf.value >= best.value) {
                break;
            }
            let value = leaf.value;
            let Some(settled) = self.settled(leaf) else { break };
            // Rows that it did not know may make it worse; they are known the next time.
            let is_over = settled.value <= value;
            leaf = best.filter(|best| best.value <= settled.value).unwrap_or(settled);
            best = Some(leaf.clone());
            if is_over {
                break;
            }
        }
        best
    }

    /// A better leaf, if an exchange of an active row leads to one: those with the largest weights are tried first.
    fn exchange(&mut self, leaf: &Leaf) -> Option<Leaf> {
        self.program.restart(self.field, &leaf.active);
        let (inside, outside) = self.sides(leaf)?;
        let limit = leaf.value * (1.0 - 1e-9);
        let Active { rows, inside: sides, weights } = &leaf.active;
        let mut slots: Vec<usize> = (0..rows.len()).collect();
        slots.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
        slots.truncate(self.effort().exchanged);
        for (row, is_inside) in slots.into_iter().map(|slot| (rows[slot], sides[slot])) {
            if self.case.is_late() {
                return None;
            }
            self.program.restart_without(self.field, &leaf.active, row);
            let Some((other, cost)) = self.offer_for(leaf, (row, is_inside), &inside) else { continue };
            if cost >= limit {
                continue;
            }
            let put = |k: &usize| if *k == row { other } else { Some(*k) };
            let inside: Vec<usize> = inside.iter().filter_map(put).collect();
            let outside: Vec<usize> = outside.iter().filter_map(put).collect();
            let better = self.descend(&leaf.pair, &inside, &outside, limit);
            if better.is_some() {
                return better;
            }
        }
        None
    }

    /// What can be had in place of an active row, at the optimum without it: another row, if one has to come, and what the
    /// leaf then costs at least.
    fn offer_for(
        &mut self,
        leaf: &Leaf,
        (row, is_inside): (usize, bool),
        inside: &[usize],
    ) -> Option<(Option<usize>, f64)> {
        let mut others = self.substitutes(&leaf.pair, (row, is_inside), inside);
        let kind = self.kind(&leaf.pair, row);
        let taken = inside.iter().filter(|&&k| self.kind(&leaf.pair, k) == kind).count();
        if !is_inside && leaf.pair.most(kind).is_some_and(|most| others.len() + taken < most) {
            return Some((None, self.program.value));
        }
        self.cheapest(&mut others, is_inside).map(|(other, cost)| (Some(other), cost))
    }

    /// Rows that can take the place of an active one, at the optimum without it.
    fn substitutes(&self, pair: &Pair, (row, is_inside): (usize, bool), inside: &[usize]) -> Vec<usize> {
        let (kind, program) = (self.kind(pair, row), &self.program);
        let suits = |k: usize| match self.kind(pair, k) {
            // One of the nearest has to leave.
            other if !is_inside => other == kind && program.levels[k] < program.threshold,
            other => other == kind || other == Kind::Rival,
        };
        let is_free = |k: &usize| *k != row && !inside.contains(k) && !program.active.rows.contains(k);
        (0..self.field.len()).filter(|&k| suits(k)).filter(is_free).collect()
    }

    /// The row whose constraint costs the least more, and the value with it by one dual step.
    fn cheapest(&mut self, rows: &mut Vec<usize>, is_inside: bool) -> Option<(usize, f64)> {
        let (value, program) = (self.program.value, &self.program);
        let over = |k: usize| program.violation(k, is_inside);
        keep_least(rows, LOOK, over);
        let first = *rows.first()?;
        if program.active.rows.is_empty() || over(first) <= 0.0 {
            return Some((first, value));
        }
        let costs = rows.iter().zip(self.program.gains(self.field, rows, is_inside));
        costs.map(|(&k, gain)| (k, value + gain)).min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
    }
}
