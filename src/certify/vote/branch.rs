//! Five ways to branch, and the choice between them.

use crate::certify::vote::cost::Cost;
use crate::certify::vote::decide::Costs;
use crate::certify::vote::node::{Node, Split, Why};
use crate::certify::vote::program::Active;
use crate::certify::vote::record::{Child, End};
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair, State};

/// The weight of a child falls with this power of how near its bound is to the target: what counts is the weakest.
const SHARPNESS: i32 = 40;

/// Child `k` gives the first `k` of these rows one state and the next one the other.
struct Way {
    score: f64,
    rows: Vec<(Cost, usize)>,
    /// What a row costs is its place outside, or inside.
    out: bool,
    /// Whether one more child takes all rows the first way.
    rest: bool,
}

impl Tree<'_, '_> {
    /// Splits a node in the way whose children are the strongest. `node` holds what is proven of it.
    pub(super) fn branch(
        &mut self,
        pair: &Pair,
        node: Node,
        (states, active): (Vec<State>, Active),
        costs: Costs,
    ) -> End {
        let mut best: Option<Way> = None;
        for way in self.out_ways(pair, &costs).into_iter().chain(self.in_ways(pair, &costs)) {
            if best.as_ref().is_none_or(|b| way.score < b.score) {
                best = Some(way);
            }
        }
        let Some(way) = best else {
            // Everything is decided, but the program could not be solved: what is proven stays open.
            return self.give_up(&node);
        };
        let (before, last) =
            if way.out { (State::Inside, State::Outside) } else { (State::Outside, State::Inside) };
        let value = self.program.value;
        let mut bounds = Vec::with_capacity(way.rows.len());
        for &(cost, k) in &way.rows {
            let proven = self.prove(k, !way.out, cost);
            // Of a row that is excluded by triplets counts say that it is not inside.
            let why = match proven > node.proven {
                true if cost.is_triplet() => Why::Counts,
                true => self.shared(&self.weights),
                false => node.why.clone(),
            };
            bounds.push((cost.value.max(node.bound), proven.max(node.proven), why));
        }
        let rows: Vec<usize> = way.rows.iter().map(|r| r.1).collect();
        let positions = rows.iter().map(|&k| self.field.entries[k].position).collect();
        let (pair, held) = (node.split.pair, self.held.clone());
        let split = Split { pair, states, active, rows, before, last, held }.share();
        let mut children = Vec::new();
        for (child, (bound, proven, why)) in bounds.into_iter().enumerate() {
            if proven < self.target {
                let number = self.number();
                children.push(Child::Node(number));
                self.open(Node { split: split.clone(), child, bound, proven, number, why });
            } else {
                children.push(match why {
                    Why::Weights(weights) => Child::Closed(weights.to_vec()),
                    Why::Counts => Child::Excluded,
                });
            }
        }
        if way.rest {
            let (child, number) = (way.rows.len(), self.number());
            children.push(Child::Node(number));
            self.open(Node { split, child, bound: value.max(node.bound), number, ..node });
        }
        End::Split { rows: positions, before, children }
    }

    fn score(&self, rows: &[(Cost, usize)]) -> f64 {
        let (target, value) = (self.target.sqrt(), self.program.value.sqrt());
        let weigh = |cost: &Cost| {
            if target.is_finite() {
                ((target - cost.value.sqrt()) / (target - value)).clamp(0.0, 1.0).powi(SHARPNESS)
            } else {
                1.0 / (1.0 + cost.value)
            }
        };
        rows.iter().map(|r| weigh(&r.0)).sum()
    }

    /// One of the nearest rows, of which there are too many, is outside.
    fn out_ways(&self, pair: &Pair, costs: &Costs) -> Vec<Way> {
        let [own, rivals, thirds] = costs.inside;
        let mut ways = vec![(pair.own + 1 - own, [Kind::Own, Kind::Own])];
        if pair.exact {
            ways.push((pair.thirds + 1 - thirds, [Kind::Third, Kind::Third]));
            ways.push((pair.others + 1 - rivals - thirds, [Kind::Rival, Kind::Third]));
        }
        let mut offers = Vec::new();
        for (rank, kinds) in ways {
            let mut rows = self.of_kinds(pair, &costs.out, kinds);
            if rows.is_empty() {
                continue;
            }
            rows.sort_by(|a, b| b.0.value.total_cmp(&a.0.value).then(a.1.cmp(&b.1)));
            let rest = rows.len() < rank;
            rows.truncate(rank);
            let score = self.score(&rows) + if rest { 1.0 } else { 0.0 };
            offers.push(Way { score, rows, out: true, rest });
        }
        offers
    }

    /// One of the rows that are still needed is inside.
    fn in_ways(&self, pair: &Pair, costs: &Costs) -> Vec<Way> {
        let [_, rivals, thirds] = costs.inside;
        let mut ways = vec![(pair.rivals.saturating_sub(rivals), [Kind::Rival, Kind::Rival])];
        if pair.thirds > 0 {
            ways.push((pair.others.saturating_sub(rivals + thirds), [Kind::Rival, Kind::Third]));
        }
        let mut offers = Vec::new();
        for (rank, kinds) in ways.into_iter().filter(|w| w.0 > 0) {
            let mut rows = self.of_kinds(pair, &costs.into, kinds);
            if rows.len() < rank {
                continue;
            }
            rows.sort_by(|a, b| b.0.value.total_cmp(&a.0.value).then(b.1.cmp(&a.1)));
            rows.truncate(rows.len() + 1 - rank);
            let score = self.score(&rows);
            offers.push(Way { score, rows, out: false, rest: false });
        }
        offers
    }

    fn of_kinds(&self, pair: &Pair, costs: &[(Cost, usize)], kinds: [Kind; 2]) -> Vec<(Cost, usize)> {
        costs.iter().copied().filter(|c| kinds.contains(&self.kind(pair, c.1))).collect()
    }
}
