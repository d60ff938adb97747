//! The published bound for a vote: order statistics of triplet bounds.
//!
//! While at most `a` rows of the class are inside, one of any `a + 1` is outside: row `j` can be inside only beyond the
//! `(a + 1)`-th largest of its triplet bounds `ε_ij` over the rows `i` of the class, and a set of `s` other rows only beyond
//! the `s`-th smallest of these (Wang et al., NeurIPS 2020). Any rows of the class give a valid bound; the least
//! of all rows are looked at again with all rows of the class that can raise theirs.

use crate::certify::probe::{Probe, combine_in_ladder};
use crate::certify::vote::case::Clock;
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair};
use std::ops::Range;

/// Rows of the class that triplets are made of at first, besides K.
const JUDGES: usize = 6;

impl Tree<'_, '_> {
    /// The least bound of the pairs over the rows that the field has by now, squared and proven.
    pub fn root_bound(&mut self) -> f64 {
        // A few products of single rows are all that is needed here.
        self.choose_judges();
        self.compare_with_class();
        let mut least = f64::INFINITY;
        for pair in self.pairs {
            if self.case.is_overdue() {
                return 0.0;
            }
            least = least.min(self.refined_bound(pair));
        }
        least
    }

    /// A pair's bound over all rows of the class.
    fn refined_bound(&mut self, pair: &Pair) -> f64 {
        // A class with a smaller label wins at no votes each: then the order statistic is that of all others.
        let rank = pair.rivals.max(1);
        let mut rows: Vec<usize> =
            (0..self.triplets.len()).filter(|&k| self.kind(pair, k) == Kind::Rival).collect();
        if rows.len() < rank {
            return self.pair_bound(pair);
        }
        loop {
            let cost = |k: usize| self.triplet_cost(pair, k);
            rows.select_nth_unstable_by(rank - 1, |&a, &b| cost(a).total_cmp(&cost(b)).then(a.cmp(&b)));
            // What does not cost more than the last of the least cannot raise the bound.
            let least = cost(rows[rank - 1]);
            let mut open = rows[..rank].to_vec();
            open.retain(|&k| self.refined[k] > least);
            if open.is_empty() || self.case.is_overdue() {
                return self.pair_bound(pair);
            }
            // Rows that were found for another row often say most of what there is to say.
            let compared = open.iter().filter(|&&row| self.compare_with_judges(row)).count();
            if compared == 0 {
                self.refine(&open, least.sqrt());
                for row in open {
                    self.compare_with_judges(row);
                    self.refined[row] = least;
                }
                self.limit_costs(pair, &rows[..rank]);
            }
        }
    }

    /// Once as many rows as the majority's pair needs are compared with all that matter, the bound is no more than the most that
    /// one of them costs: of a row that costs as much no more has to be known.
    fn limit_costs(&mut self, pair: &Pair, rows: &[usize]) {
        if pair.rival.is_none() && rows.iter().all(|&row| self.refined[row].is_finite()) {
            let most = rows.iter().map(|&row| self.triplet_cost(pair, row)).fold(0.0, f64::max);
            self.enough = self.enough.min(most);
        }
    }

    /// Compares row `j` with the judges that it was not compared with; `false`: there are none.
    fn compare_with_judges(&mut self, j: usize) -> bool {
        let left = self.judged[j]..self.judges.len();
        self.judged[j] = left.end;
        self.compare(j, left.clone());
        !left.is_empty()
    }

    /// Finds the rows of the class whose triplet bounds with some rows may be larger than `length`: at a point that far
    /// towards a row such a row of the class is still nearer.
    fn refine(&mut self, rows: &[usize], length: f64) {
        let (field, judges) = (&mut *self.field, &mut self.judges);
        let (scene, query) = (self.case.scene, self.case.scene.query);
        let (mut displacement, mut near) = (Vec::new(), Vec::new());
        let mut place = |&j: &usize| {
            let (mut probe, goal) = (Probe::default(), field.entries[j].position);
            let share = length / field.normal(j);
            let ends = [(goal, share), (field.origin(), -share)];
            combine_in_ladder(scene.index, ends.into_iter().filter(|_| share.is_finite()), &mut displacement);
            probe.place_in_ladder(scene.index, query, &displacement);
            (probe, goal)
        };
        let points: Vec<_> = rows.iter().map(&mut place).collect();
        Probe::visit_nearer(scene, &points, |position| near.push(position));
        field.add(near.iter().copied());
        let near = near.into_iter().filter_map(|position| field.find(position));
        let new: Vec<usize> = near.filter(|k| !judges.contains(k)).collect();
        judges.extend(new);
    }

    /// Compares the rows that were added since the last time with the nearest rows of the class.
    pub(super) fn compare_with_class(&mut self) {
        if self.choose_judges() {
            self.field.prepare(&self.judges);
        }
        let (case, first) = (self.case, self.judges.len().min(self.case.question.k + JUDGES));
        let clock = Clock::new(first, || case.is_overdue());
        for j in self.triplets.len()..self.field.len() {
            // Rows of the class have none.
            let most = if self.is_own(j) { 0 } else { self.case.most_own() + 1 };
            self.triplets.push(Vec::with_capacity(most));
            // A row that was compared with none costs nothing.
            let first = if clock.is_late() { 0 } else { first };
            self.compare(j, 0..first);
            self.judged.push(first);
            self.refined.push(f64::INFINITY);
        }
    }

    /// The first judges; `false`: there are some.
    fn choose_judges(&mut self) -> bool {
        let is_first = self.judges.is_empty();
        if is_first {
            self.judges = self.case.nearest_own(self.field, self.case.question.k + JUDGES);
        }
        is_first
    }

    /// Compares row `j` with some judges: keeps its triplet bounds in order, largest first, but for those that no pair asks
    /// for.
    fn compare(&mut self, j: usize, judges: Range<usize>) {
        if self.is_own(j) {
            return;
        }
        let (most, bounds) = (self.case.most_own() + 1, &mut self.triplets[j]);
        for &i in &self.judges[judges] {
            let least = bounds.get(most - 1).copied().unwrap_or(0.0);
            if least >= self.enough {
                return;
            }
            let bound = self.field.triplet_bound_above(j, i, least);
            if bound > least {
                let place = bounds.partition_point(|&known| known >= bound);
                bounds.truncate(most - 1);
                bounds.insert(place, bound);
            }
        }
    }

    fn is_own(&self, k: usize) -> bool {
        self.field.classes[k] as usize == self.case.class
    }

    /// What it costs at least to have row `j` inside: of any `own + 1` rows of the class one is outside.
    pub(super) fn triplet_cost(&self, pair: &Pair, j: usize) -> f64 {
        self.triplets.get(j).and_then(|bounds| bounds.get(pair.own)).copied().unwrap_or(0.0)
    }

    /// The order statistic that a pair's counts ask for.
    pub(super) fn pair_bound(&self, pair: &Pair) -> f64 {
        let costs = |wanted: &dyn Fn(Kind) -> bool, rank: usize| {
            let rows = (0..self.triplets.len()).filter(|&k| wanted(self.kind(pair, k)));
            let mut costs: Vec<f64> = rows.map(|k| self.triplet_cost(pair, k)).collect();
            if rank == 0 {
                return 0.0;
            }
            if costs.len() < rank {
                return f64::INFINITY;
            }
            *costs.select_nth_unstable_by(rank - 1, f64::total_cmp).1
        };
        let rivals = costs(&|kind| kind == Kind::Rival, pair.rivals);
        rivals.max(costs(&|kind| kind != Kind::Own, pair.others))
    }
}
