//! Branch and bound over the rows inside and outside the set of neighbours.

use crate::certify::probe::{Probe, combine_in_ladder};
use crate::certify::vote::case::Case;
use crate::certify::vote::field::{Field, Weight};
use crate::certify::vote::finish::Witness;
use crate::certify::vote::lanes::ALONE;
use crate::certify::vote::node::{Node, Split, Why};
use crate::certify::vote::program::{Active, Outcome, Program};
use crate::certify::vote::record::{self, Fixed, Record, Step, Weights, by_position};
use crate::certify::vote::{Kind, Pair, State};
use crate::geometry::rounding::up;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Access};

/// The point of a program at which the vote is lost.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub pair: Pair,
    pub active: Active,
    /// `‖δ‖²`, the solver's word.
    pub value: f64,
}

/// Why a search came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing below the target is left.
    Complete,
    /// It was told to stop.
    Stopped,
    /// It goes on faster from the beginning, without the rows that do not matter any more.
    Crowded,
}

/// The search over one or more pairs.
pub struct Tree<'f, 'a> {
    pub field: &'f mut Field<'a>,
    pub(super) case: &'f Case<'f>,
    pub(super) pairs: &'f [Pair],
    /// Whether a leaf has to be an adversarial point before the target falls.
    pub(super) verify: bool,
    pub(super) program: Program,
    pub(super) heap: BinaryHeap<Node>,
    /// Open nodes beyond what memory allows the heap: these come first, the last one first of all.
    pub(super) stack: Vec<Node>,
    pub(super) held: Arc<AtomicUsize>,
    /// Bytes of open nodes beyond which the search goes depth first.
    pub(super) most_held: usize,
    /// Squared; nothing at least this far is of interest, and the field holds all rows of other classes that matter
    /// up to there.
    pub target: f64,
    /// Least proven bound of closed nodes, squared.
    pub(super) floor: f64,
    pub best: Option<Leaf>,
    pub witness: Option<Witness>,
    pub nodes: u64,
    /// Nodes before the search is shared out.
    pub(super) alone: u64,
    /// Rows inside from which dives began, with the pair's rival and rows of the class.
    pub(super) tried: HashSet<(Option<u32>, usize, Vec<usize>)>,
    /// For each row of another class, squared triplet bounds against near rows of the class, largest first.
    pub(super) triplets: Vec<Vec<f64>>,
    /// These rows of the class; with how many of them each row was compared, and above which cost with all that matter.
    pub(super) judges: Vec<usize>,
    pub(super) judged: Vec<usize>,
    pub(super) refined: Vec<f64>,
    /// Squared; what a row costs beyond this makes no difference.
    pub(super) enough: f64,
    /// Of the program: what any further constraint is combined with.
    pub(super) base: Vec<Weight>,
    pub(super) weights: Vec<Weight>,
    pub(super) values: Vec<f64>,
    pub(super) probe: Probe,
    buffers: (Vec<f64>, Vec<u32>),
    /// What is proven and how, if anybody wants to know.
    pub record: Option<Record>,
}

/// So many nodes at first look for a better point near their own, and later one of so many.
const FIRST_DIVES: u64 = 12;
const DIVES: u64 = 12;
/// So many nodes are given up for a smaller field.
pub(super) const BEGINNING: u64 = 500;
/// Fewer rows to forget are not worth it.
const SUPERFLUOUS: usize = 32;
/// Rows of the class that are added at once.
const AT_ONCE: usize = 6;

impl<'f, 'a> Tree<'f, 'a> {
    /// `target`: squared; nothing beyond it is of interest.
    pub fn new(
        field: &'f mut Field<'a>,
        case: &'f Case<'f>,
        (pairs, verify): (&'f [Pair], bool),
        target: f64,
    ) -> Self {
        Self {
            field,
            case,
            pairs,
            verify,
            program: Program::default(),
            heap: BinaryHeap::new(),
            stack: Vec::new(),
            held: Arc::default(),
            most_held: case.question.max_memory,
            target,
            floor: f64::INFINITY,
            best: None,
            witness: None,
            nodes: 0,
            alone: ALONE,
            tried: HashSet::new(),
            triplets: Vec::new(),
            judges: Vec::new(),
            judged: Vec::new(),
            refined: Vec::new(),
            enough: f64::INFINITY,
            base: Vec::new(),
            weights: Vec::new(),
            values: Vec::new(),
            probe: Probe::default(),
            buffers: Default::default(),
            record: None,
        }
    }

    pub(super) fn kind(&self, pair: &Pair, k: usize) -> Kind {
        self.case.kind(self.field, pair, k)
    }

    /// Programs and steps of them so far.
    #[must_use]
    pub fn work(&self) -> (u64, u64) {
        (self.program.solved, self.program.steps)
    }

    /// Opens the roots.
    pub fn plant(&mut self) {
        self.compare_with_class();
        for pair in 0..self.pairs.len() {
            let number = self.number();
            let proven = if self.case.is_overdue() { 0.0 } else { self.pair_bound(&self.pairs[pair]) };
            if proven >= self.target {
                continue;
            }
            let root = Split {
                pair,
                states: Vec::new(),
                active: Active::default(),
                rows: Vec::new(),
                before: State::Free,
                last: State::Free,
                held: self.held.clone(),
            };
            self.open(Node {
                split: root.share(),
                child: 0,
                bound: proven,
                proven,
                number,
                why: Why::Counts,
            });
        }
    }

    /// Searches until nothing below the target is left, so many nodes are done, time or the call's nodes are up, or a fallen
    /// target has made many rows superfluous.
    pub fn search(&mut self, most: u64) -> End {
        let mut target = self.target;
        while let Some(node) = self.stack.pop().or_else(|| self.heap.pop()) {
            if self.nodes >= most || self.case.is_late() || !self.case.scene.control.take_step() {
                self.heap.push(node);
                return End::Stopped;
            }
            self.nodes += 1;
            self.visit(&node);
            if self.target < target && self.nodes <= BEGINNING {
                target = self.target;
                if self.is_crowded() {
                    return End::Crowded;
                }
            }
        }
        End::Complete
    }

    fn visit(&mut self, node: &Node) {
        let step = if node.proven < self.target { self.expand(node) } else { node.step() };
        if let Some(record) = &mut self.record {
            record.steps.insert(node.number, step);
        }
    }

    /// A number for one more node; the first ones are those of the pairs' roots.
    pub(super) fn number(&mut self) -> u64 {
        self.record.as_mut().map_or(0, Record::number)
    }

    /// Weights for the record, if there is one.
    pub(super) fn noted(&self, weights: &[Weight]) -> Weights {
        if self.record.is_some() { by_position(self.field, weights) } else { Vec::new() }
    }

    /// The record, with what is proven of nodes that wait.
    pub fn take_record(&mut self) -> Option<Record> {
        let mut record = self.record.take()?;
        record.steps.extend(self.open_nodes().map(|node| (node.number, node.step())));
        Some(record)
    }

    /// Nodes that wait.
    pub(super) fn open_nodes(&self) -> impl Iterator<Item = &Node> {
        self.heap.iter().chain(&self.stack)
    }

    /// A proven lower bound on `‖δ‖²` over all pairs, no higher than the target, at any moment.
    #[must_use]
    pub fn lower(&self) -> f64 {
        self.open_nodes().map(|node| node.proven).fold(self.floor.min(self.target), f64::min)
    }

    /// Whether row `k` can be inside below the target, or is one of the class.
    #[must_use]
    pub fn may_matter(&self, k: usize) -> bool {
        let cost = self.triplets.get(k).and_then(|bounds| bounds.get(self.case.most_own()));
        self.field.classes[k] as usize == self.case.class || cost.is_none_or(|&cost| cost < self.target)
    }

    fn is_crowded(&self) -> bool {
        let count = (0..self.triplets.len()).filter(|&k| self.may_matter(k)).count();
        4 * count < 3 * self.triplets.len() && count + SUPERFLUOUS <= self.triplets.len()
    }

    /// Keeps a node for later: best first, or depth first where there are too many.
    pub(super) fn open(&mut self, node: Node) {
        if self.held.load(Access::Relaxed) > self.most_held {
            self.stack.push(node)
        } else {
            self.heap.push(node)
        }
    }

    fn close(&mut self) -> record::End {
        self.program.active.signed(&mut self.weights);
        self.floor = self.floor.min(self.field.bound(&self.weights, self.target));
        record::End::Closed(self.noted(&self.weights))
    }

    /// Leaves a node behind with what is proven of it.
    pub(super) fn give_up(&mut self, node: &Node) -> record::End {
        self.floor = self.floor.min(node.proven);
        node.step().end
    }

    /// Whether `weights` prove that nothing below the target is left.
    pub(super) fn is_proven(&self) -> bool {
        self.field.bound(&self.weights, self.target) >= self.target
    }

    fn expand(&mut self, node: &Node) -> Step {
        let mut fixed = Vec::new();
        let end = self.decide_or_branch(node, &mut fixed);
        Step { fixed, end }
    }

    fn decide_or_branch(&mut self, node: &Node, fixed: &mut Vec<Fixed>) -> record::End {
        let pair = self.pairs[node.split.pair];
        let mut states = node.states(self.field.len());
        let mut active = node.split.active.clone();
        let mut required = Vec::new();
        let mut costs = loop {
            states.resize(self.field.len(), State::Free);
            if !self.propagate(&pair, &mut states) {
                return record::End::Contradiction;
            }
            required.clear();
            let decided = states.iter().enumerate().filter(|s| *s.1 != State::Free);
            required.extend(decided.map(|(k, &s)| (k, s == State::Inside)));
            self.program.restart(self.field, &active);
            let outcome = self.program.solve(self.field, &required, self.target);
            active.clone_from(&self.program.active);
            match outcome {
                Outcome::Pruned => return self.close(),
                Outcome::Infeasible if active.rows.is_empty() => return self.give_up(node),
                Outcome::Infeasible => {
                    let (proven, weights) = self.contradiction(&required);
                    self.floor = self.floor.min(proven);
                    return record::End::Closed(weights);
                }
                Outcome::Optimal | Outcome::Stalled => {}
            }
            self.set_threshold(&required);
            if outcome == Outcome::Optimal && self.is_lost(&pair, &states) {
                if self.grow() {
                    continue;
                }
                if self.accept(pair) {
                    return record::End::Closed(self.noted(&self.weights));
                }
            }
            self.program.active.signed(&mut self.base);
            if let Some(costs) = self.decide(&pair, &mut states, fixed) {
                break costs;
            }
        };
        let node = self.raised(node);
        if self.nodes < FIRST_DIVES || self.nodes.is_multiple_of(DIVES) {
            self.dive_from_here(&pair);
            self.program.restart(self.field, &active);
            states.resize(self.field.len(), State::Free);
            self.set_threshold(&required);
            costs = self.costs(&pair, &states);
        }
        self.branch(&pair, node, (states, active), costs)
    }

    /// A node with the bound of its program, where that is better.
    fn raised(&self, node: &Node) -> Node {
        let proven = self.field.bound(&self.base, f64::INFINITY);
        if proven <= node.proven {
            return node.clone();
        }
        Node { proven, why: self.shared(&self.base), ..node.clone() }
    }

    /// Weights for the record of several nodes, if there is one.
    pub(super) fn shared(&self, weights: &[Weight]) -> Why {
        match &self.record {
            Some(_) => Why::Weights(Arc::new(by_position(self.field, weights))),
            None => Why::Counts,
        }
    }

    /// While no constraint is active any threshold between the rows serves.
    pub(super) fn set_threshold(&mut self, required: &[(usize, bool)]) {
        if !self.program.active.rows.is_empty() {
            return;
        }
        let levels = &self.program.levels;
        let of = |inside: bool| required.iter().filter(move |r| r.1 == inside).map(|r| levels[r.0]);
        let (high, low) =
            (of(true).fold(f64::NEG_INFINITY, f64::max), of(false).fold(f64::INFINITY, f64::min));
        self.program.threshold = if high.is_finite() { high } else { low };
    }

    /// The best bound on the way along a constraint that contradicts the others, up to rounding, and its weights.
    fn contradiction(&mut self, required: &[(usize, bool)]) -> (f64, Weights) {
        let mut best = (0.0, Vec::new());
        self.program.active.signed(&mut self.weights);
        self.offer(self.field.fine_bound(&self.weights), &mut best);
        self.program.doubtful.signed(&mut self.weights);
        self.offer(self.field.fine_bound(&self.weights), &mut best);
        let Some((k, inside)) = self.program.most_violated(self.field, required) else { return best };
        self.field.prepare(&[k]);
        let total: f64 = self.program.active.weights.iter().sum();
        let mut weight = 0.0;
        loop {
            let step = self.program.step(self.field, k, inside);
            let mut length = total.max(f64::MIN_POSITIVE) / 16.0;
            for _ in 0..40 {
                self.program.stepped((k, inside, weight), length.min(step.length), &mut self.weights);
                self.offer(self.field.bound(&self.weights, self.target), &mut best);
                if best.0 >= self.target || length > step.length {
                    break;
                }
                length *= 2.0;
            }
            // Beyond a row whose weight vanishes the way goes on without it.
            if best.0 >= self.target || step.blocking.is_none() || self.program.active.rows.len() < 2 {
                return best;
            }
            weight = self.program.advance(self.field, (k, inside, weight), step);
        }
    }

    /// Keeps the weights that the last bound is of, if it is the best one.
    fn offer(&self, bound: f64, best: &mut (f64, Weights)) {
        if bound > best.0 {
            *best = (bound, self.noted(&self.weights));
        }
    }

    /// Closes a node at whose optimum the vote is lost; `false`: it is lost only if ties there were decided otherwise
    /// than they are.
    pub(super) fn accept(&mut self, pair: Pair) -> bool {
        let value = self.program.value;
        if self.best.as_ref().is_none_or(|best| value < best.value) {
            let leaf = Leaf { pair, active: self.program.active.clone(), value };
            if self.verify {
                let Some(witness) = self.case.finish(self.field, &leaf) else { return false };
                if self.witness.as_ref().is_none_or(|w| witness.length < w.length) {
                    self.witness = Some(witness);
                }
            }
            self.best = Some(leaf);
            // Other leaves have to be better by more than rounding can feign.
            self.target = self.target.min(up(value * (1.0 + 1e-11)));
        }
        self.program.active.signed(&mut self.weights);
        self.floor = self.floor.min(self.field.fine_bound(&self.weights));
        true
    }

    /// Adds rows of the class that are nearer than the threshold and were not known; `false`: there are none.
    pub(super) fn grow(&mut self) -> bool {
        let Self { field, case, program, probe, buffers: (sum, found), .. } = self;
        let (scene, index) = (case.scene, case.scene.index);
        program.active.signed(&mut self.weights);
        let weights = self.weights.iter().map(|&(k, s)| (field.entries[k].position, s));
        combine_in_ladder(index, weights, sum);
        probe.place_in_ladder(index, scene.query, sum);
        // Rows at the threshold: the active ones, or those nearest to it from below.
        let under = (0..field.len()).filter(|&k| program.levels[k] <= program.threshold);
        let highest = under.max_by(|&a, &b| program.levels[a].total_cmp(&program.levels[b]));
        let Some(at) = program.active.rows.first().copied().or(highest) else { return false };
        let (at, mut near) = (field.entries[at].position, Vec::new());
        probe.rows_in_the_way(scene, at, |position| field.find(position).is_some(), found, &mut near);
        field.add(near.iter().take(AT_ONCE).map(|n| n.1)) > 0
    }
}
