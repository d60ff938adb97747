//! The radius of one test point under a vote: neighbours, attack, candidates, search, finish.

use crate::certify::interval::{is_exact, status_of};
use crate::certify::scene::Scene;
use crate::certify::vote::case::{Case, Method, Question, votes};
use crate::certify::vote::field::Field;
use crate::certify::vote::finish::Witness;
use crate::certify::vote::record::{Ground, Record};
use crate::certify::vote::tree::{End, Tree};
use crate::certify::vote::{Pair, Rule, is_lost};
use crate::certify::witness::Proof;
use crate::certify::{Radius, Status};
use crate::geometry::rounding::{scale_by, scale_down, up};
use crate::search::index::Index;
use crate::search::neighbors::{NeighborSearch, high};
use std::collections::HashSet;
use std::time::Instant;

/// Radii beyond this many times the extent of the data are not looked for at first, and at last.
const FAR: [f64; 2] = [60.0, 1e4];
/// Searches of one point before it is left with the interval it has.
const ROUNDS: usize = 4;

/// Training rows that are tried where no way to lose leads to an adversarial point.
const MOST_ROWS: usize = 200;

/// The certifier of one thread.
#[derive(Default)]
pub struct VoteCertifier {
    neighbors: NeighborSearch,
}

impl VoteCertifier {
    /// The certified radius of one test point. `expected` is its true class; `None` certifies the predicted one. The
    /// class of the scene is not known yet.
    pub fn certify(&mut self, scene: Scene, expected: Option<i64>, question: Question) -> Radius {
        let Scene { index, kernels, scores, query, .. } = scene;
        let begun = Instant::now();
        let everything = 0..index.len();
        self.neighbors.collect(index, kernels, scores, query, std::slice::from_ref(&everything), question.k);
        let found = self.neighbors.resolve(index, query, question.k);
        let nearest: Vec<usize> = found.iter().map(|f| f.0).collect();
        let reach = found.iter().map(|f| high(f.1)).fold(0.0, f64::max);
        let votes = votes(index, &nearest);
        let predicted = winner(&votes);
        let radius = Radius { predicted: predicted as i64, ..Radius::default() };
        if expected.is_some_and(|expected| expected != predicted as i64) {
            return Radius { upper: 0.0, status: Status::Misclassified, ..radius };
        }
        if is_lost(question.rule, &votes, predicted) {
            return Radius { upper: 0.0, status: Status::Exact, ..radius };
        }
        let mut pairs = possible_pairs(index, question, predicted);
        // Attacks begin with the ways that change the fewest neighbours.
        pairs.sort_by_key(|pair| pair.changes(&votes, predicted));
        if pairs.is_empty() || question.k >= index.len() {
            // Counts are the proof.
            let ground = Some(Ground::default());
            let proof = Proof { lower: f64::INFINITY, witnesses: Vec::new(), ground };
            let proof = question.proof.then(|| Box::new(proof));
            return Radius { lower: f64::INFINITY, status: Status::Exact, proof, ..radius };
        }
        let scene = Scene { class: index.class_range(predicted), ..scene };
        let case = Case { scene: &scene, question, class: predicted, nearest, reach, pairs, begun };
        case.certify(&mut self.neighbors, radius)
    }
}

/// All ways to lose for which there are enough rows.
pub(super) fn possible_pairs(index: &Index, question: Question, class: usize) -> Vec<Pair> {
    let size = |m: usize| index.class_range(m).len();
    let (own, others) = (size(class), index.len() - size(class));
    let pairs: Vec<Pair> = match question.rule {
        Rule::Majority => vec![Pair::majority(question.k)],
        Rule::Plurality => (0..index.classes())
            .filter(|&m| m != class && size(m) > 0)
            .flat_map(|m| Pair::against(m as u32, m < class, question.k))
            .collect(),
    };
    let rivals = |pair: &Pair| pair.rival.map_or(others, |m| size(m as usize));
    pairs.into_iter().filter(|pair| pair.is_possible(own, rivals(pair), others)).collect()
}

/// Most votes, ties to the smallest label.
pub(super) fn winner(votes: &[usize]) -> usize {
    (0..votes.len()).rev().max_by_key(|&m| votes[m]).unwrap_or(0)
}

/// What is known so far: ends in scaled units.
#[derive(Default)]
struct Known {
    lower: f64,
    witness: Option<Witness>,
    nodes: u64,
    programs: u64,
    steps: u64,
    /// Whether the call's nodes did not suffice for a search.
    is_cut: bool,
    /// Behind the lower end, if it is wanted.
    ground: Ground,
}

impl Known {
    /// A lower end, with what proves it.
    fn raise(&mut self, lower: f64, ground: impl FnOnce() -> Ground) {
        if lower > self.lower {
            (self.lower, self.ground) = (lower, ground());
        }
    }

    fn upper(&self) -> f64 {
        self.witness.as_ref().map_or(f64::INFINITY, |w| w.length)
    }

    fn offer(&mut self, witness: Option<Witness>) {
        if let Some(witness) = witness
            && witness.length < self.upper()
        {
            self.witness = Some(witness);
        }
    }
}

impl Case<'_> {
    fn certify(&self, neighbors: &mut NeighborSearch, radius: Radius) -> Radius {
        let index = self.scene.index;
        let mut field = Field::new(index, self.scene.query, self.nearest[0]);
        field.add(self.nearest.iter().copied());
        self.begin(neighbors, &mut field);
        let mut known = Known::default();
        match self.question.method {
            Method::Attack => known.offer(self.attack(&mut field)),
            Method::Bound => self.bound(&mut field, &mut known),
            Method::Exact => {
                self.exact(&mut field, &mut known);
                // A search that a limit ended may know less than the bound.
                if self.is_open(&known) {
                    self.bound(&mut field, &mut known);
                }
            }
        }
        let upper = known.upper();
        let lower = known.lower.min(upper);
        let status = self.status(lower, &known);
        let proof = self.question.proof.then(|| {
            let ground = Some(known.ground.renamed(|position| index.row_index(position)));
            Box::new(Proof { lower: scale_down(lower, index.exponent()), witnesses: Vec::new(), ground })
        });
        Radius {
            proof,
            lower: scale_down(lower, index.exponent()),
            upper: known.witness.as_ref().map_or(f64::INFINITY, |w| w.unscaled_length),
            status,
            rival: known.witness.as_ref().map_or(-1, |w| index.row_index(w.rival) as i64),
            adversarial: known.witness.map(|w| w.row),
            nodes: known.nodes,
            programs: known.programs as u32,
            steps: known.steps as u32,
            ..radius
        }
    }

    /// A search that the call's nodes did not suffice for is not done, as one that its time did not.
    fn status(&self, lower: f64, known: &Known) -> Status {
        let control = self.scene.control;
        if known.is_cut && self.is_open(known) {
            Status::Unfinished
        } else {
            status_of(lower, known.upper(), self.resolution(), control)
        }
    }

    /// The radius in question, scaled.
    fn beyond(&self) -> Option<f64> {
        self.question.beyond.map(|eps| scale_by(eps, -self.scene.index.exponent()))
    }

    /// A distance in input space no larger than that to the last neighbour: what binary64 points resolve is a share of it.
    fn resolution(&self) -> f64 {
        let norm = self.scene.index.metric().scaled_norm_up();
        if norm > 0.0 { self.reach / norm } else { 0.0 }
    }

    /// Whether the question has no answer yet.
    fn is_open(&self, known: &Known) -> bool {
        !is_exact(known.lower, known.upper(), self.resolution())
            && self.beyond().is_none_or(|eps| known.lower <= eps && known.upper() > eps)
    }

    fn exact(&self, field: &mut Field, known: &mut Known) {
        let beyond = self.beyond();
        known.offer(self.attack(field));
        if !self.is_open(known) {
            return;
        }
        // A class with more than half of the votes has most of them: one pair instead of many, and often the last word.
        if self.has_majority_to_lose() {
            let majority = [Pair::majority(self.question.k)];
            let limit = self.attack_unverified(field, known, &majority);
            if !self.is_open(known) {
                return;
            }
            let limit = beyond.map_or(limit, |eps| limit.min(up(eps)));
            if !self.search(field, known, (&majority, false), limit) || !self.is_open(known) {
                return;
            }
        }
        for _ in 0..ROUNDS {
            let (rows, upper) = (field.len(), known.upper());
            let limit = beyond.map_or(upper, |eps| upper.min(up(eps)));
            let complete = self.search(field, known, (&self.pairs, true), limit);
            if !complete || !self.is_open(known) || known.upper() >= upper && field.len() == rows {
                return;
            }
        }
    }

    /// The length of a way to lose by other rules than the question's; it may be one by the question's as well.
    fn attack_unverified(&self, field: &mut Field, known: &mut Known, pairs: &[Pair]) -> f64 {
        let target = known.upper().min(FAR[0] * self.extent());
        let mut tree = Tree::new(field, self, (pairs, false), target * target);
        tree.attack();
        let Some(leaf) = tree.best.take() else { return known.upper() };
        known.offer(self.finish(field, &leaf));
        known.upper().min(up(leaf.value.sqrt() * (1.0 + 1e-9)))
    }

    /// One search over some pairs, up to a limit; `false`: it did not come to its end.
    fn search(
        &self,
        field: &mut Field,
        known: &mut Known,
        (pairs, verify): (&[Pair], bool),
        limit: f64,
    ) -> bool {
        if !self.add_candidates(field, limit, || self.is_late()) {
            return false;
        }
        let mut target = up(limit * limit);
        loop {
            let mut tree = Tree::new(field, self, (pairs, verify), target);
            tree.record = self.question.proof.then(Record::default);
            let most = self.question.node_limit.saturating_sub(known.nodes);
            let end = tree.run(most);
            known.is_cut |= end == End::Stopped && tree.nodes < most && !self.is_late();
            let lower = tree.lower();
            known.nodes += tree.nodes;
            known.programs += tree.work().0;
            known.steps += tree.work().1;
            // Rows that are not here are proven to matter beyond the limit only; its square is rounded up.
            let lower = (lower.sqrt() * (1.0 - f64::EPSILON)).min(limit);
            let record = tree.take_record().unwrap_or_default();
            known.raise(lower, || Ground::new(self.all_judges(&tree), pairs, record));
            let (leaf, witness) = (tree.best.take(), tree.witness.take());
            target = tree.target;
            let matters: Vec<bool> = (0..tree.field.len()).map(|k| tree.may_matter(k)).collect();
            known.offer(witness);
            if let Some(leaf) = leaf.filter(|_| !verify) {
                known.offer(self.finish(field, &leaf));
            }
            if end != End::Crowded {
                return end == End::Complete;
            }
            field.retain(|k| matters.get(k).copied().unwrap_or(true));
        }
    }

    /// The order-statistic bound over triplets: the bounds of the roots.
    fn bound(&self, field: &mut Field, known: &mut Known) {
        let majority = [Pair::majority(self.question.k)];
        let pairs = if self.has_majority_to_lose() { &majority[..] } else { &self.pairs[..] };
        // Rows that are not here yet can only lower the bound: it says which of them might.
        let mut tree = Tree::new(field, self, (pairs, false), f64::INFINITY);
        let first = tree.root_bound();
        if self.add_candidates(tree.field, up(first.sqrt()), || self.is_overdue()) {
            let lower = tree.root_bound().min(first).sqrt() * (1.0 - f64::EPSILON);
            known.raise(lower, || Ground::new(self.all_judges(&tree), pairs, Record::default()));
        }
    }

    /// What lengths are compared with: the test point's distance from the middle of the data and from its neighbours.
    fn extent(&self) -> f64 {
        self.scene.query.norm + self.reach
    }

    /// The first adversarial point.
    fn attack(&self, field: &mut Field) -> Option<Witness> {
        for far in FAR {
            let mut tree = Tree::new(field, self, (&self.pairs, true), (far * self.extent()).powi(2));
            tree.attack();
            if tree.witness.is_some() {
                return tree.witness;
            }
        }
        self.nearest_lost_row()
    }

    /// The nearest training row of another class at which the vote is lost, of those that are nearest.
    fn nearest_lost_row(&self) -> Option<Witness> {
        let Scene { index, query, .. } = self.scene;
        // Of rows in one place one is enough.
        let mut places = HashSet::new();
        let others = self.scene.others().into_iter().flatten();
        let mut rows: Vec<(f64, usize)> = others
            .filter(|&position| places.insert(index.canonical(position)))
            .map(|position| (index.squared_distance(position, query).value, position))
            .collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        rows.into_iter()
            .take(MOST_ROWS)
            .take_while(|_| !self.is_overdue())
            .find_map(|(_, position)| self.witness(&index.seen_row(position, query.row)).ok())
    }
}
