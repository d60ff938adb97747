//! The published bound for a vote: order statistics of triplet bounds.
//!
//! While at most `a` rows of the class are inside, one of any `a + 1` is outside: row `j` can be inside only beyond the
//! `(a + 1)`-th largest of its triplet bounds `ε_ij` over the rows `i` of the class, and a set of `s` other rows only beyond
//! the `s`-th smallest of these (Wang et al., NeurIPS 2020). Any rows of the class give a valid bound; the least
//! of all rows are looked at again with all rows of the class that can raise theirs.

use crate::certify::probe::combine_in_ladder;
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair};

/// Rows of the class that triplets are made of at first, besides K.
const JUDGES: usize = 6;

impl Tree<'_, '_> {
    /// The least bound of the pairs over the rows that the field has by now, squared and proven.
    pub fn root_bound(&mut self) -> f64 {
        // A few products of single rows are all that is needed here.
        self.choose_judges();
        self.compare_with_class();
        let pairs = self.pairs;
        pairs.iter().map(|pair| self.refined_bound(pair)).fold(f64::INFINITY, f64::min)
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
            let Some(&row) = rows[..rank].iter().find(|&&k| !self.refined[k]) else {
                return self.pair_bound(pair);
            };
            // Rows that were found for another row often say most of what there is to say.
            let length = cost(row).sqrt();
            if !self.compare_with_judges(row) {
                self.refine(row, length);
                self.refined[row] = true;
            }
        }
    }

    /// Compares row `j` with the judges that it was not compared with; `false`: there are none.
    fn compare_with_judges(&mut self, j: usize) -> bool {
        let left = self.judges[self.judged[j]..].to_vec();
        if left.is_empty() {
            return false;
        }
        let more = self.against(j, &left);
        self.triplets[j].extend(more);
        self.keep_largest(j);
        self.judged[j] = self.judges.len();
        true
    }

    /// Compares row `j` with every row of the class whose triplet bound may be larger than `cost`: at a point that far
    /// towards `j` such a row is still nearer than `j`.
    fn refine(&mut self, j: usize, cost: f64) {
        let scene = self.case.scene;
        let (mut displacement, mut found, mut near) = (Vec::new(), Vec::new(), Vec::new());
        let entry = self.field.entries[j];
        let share = cost / self.field.normal(j);
        let ends = [(entry.position, share), (self.field.origin(), -share)];
        combine_in_ladder(scene.index, ends.into_iter().filter(|_| share.is_finite()), &mut displacement);
        self.probe.place_in_ladder(scene.index, scene.query, &displacement);
        let limit = self.probe.ladder_distance(scene.kernels, scene.index, entry.position);
        // A row of the class that is farther from the test point than `j` has no bound.
        let reach =
            scene.index.ladder().within(scene.kernels, entry.position, scene.query.point, f64::INFINITY);
        let reach = reach.map_or(f64::INFINITY, |(_, high)| high);
        self.probe.visit_closer(scene, (limit, reach), &mut found, |position, _, _| near.push(position));
        self.field.add(near.iter().copied());
        // Of the class only judges and rows that are near at that point can matter.
        let near = near.into_iter().filter_map(|position| self.field.find(position));
        let new: Vec<usize> = near.filter(|k| !self.judges.contains(k)).collect();
        self.judges.extend(new);
        self.compare_with_judges(j);
    }

    /// Compares the rows that were added since the last time with the nearest rows of the class.
    pub(super) fn compare_with_class(&mut self) {
        if self.choose_judges() {
            self.field.prepare(&self.judges);
        }
        for j in self.triplets.len()..self.field.len() {
            let first = self.judges.len().min(self.case.question.k + JUDGES);
            let bounds = self.against(j, &self.judges[..first]);
            self.triplets.push(bounds);
            self.keep_largest(j);
            self.judged.push(first);
            self.refined.push(false);
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

    /// Puts a row's triplet bounds in order, largest first, and drops those that no pair asks for.
    fn keep_largest(&mut self, j: usize) {
        let most = self.case.most_own() + 1;
        let bounds = &mut self.triplets[j];
        if bounds.len() > most {
            bounds.select_nth_unstable_by(most, |a, b| b.total_cmp(a));
            bounds.truncate(most);
        }
        bounds.sort_unstable_by(|a, b| b.total_cmp(a));
    }

    /// Squared triplet bounds of one row against some of the class.
    fn against(&self, j: usize, judges: &[usize]) -> Vec<f64> {
        if self.is_own(j) {
            return Vec::new();
        }
        judges.iter().map(|&i| self.field.triplet_bound(j, i)).collect()
    }

    fn is_own(&self, k: usize) -> bool {
        self.field.entries[k].class as usize == self.case.class
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
