//! One test point and what is asked about it.

use crate::certify::scene::Scene;
use crate::certify::vote::field::Field;
use crate::certify::vote::{Kind, Pair, Rule, is_lost, keep_least};
use crate::search::index::Index;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The radius, by branch and bound.
    Exact,
    /// A lower end only: the root of the search, the published order-statistic bound over triplets.
    Bound,
    /// An upper end only.
    Attack,
}

/// What is asked about every test point.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub k: usize,
    pub rule: Rule,
    pub method: Method,
    /// Only whether the radius is above this, in the caller's units.
    pub beyond: Option<f64>,
    pub node_limit: u64,
    /// Nodes of all points together.
    pub call_node_limit: Option<u64>,
    /// Bytes of open nodes beyond which the search goes depth first.
    pub max_memory: usize,
    pub time_limit: Option<Duration>,
    /// Whether to say what proves the lower end.
    pub proof: bool,
}

/// What a point may take beyond its time limit for its first adversarial point.
const GRACE: Duration = Duration::from_millis(200);
/// One test point and what is asked about it.
pub struct Case<'a> {
    pub scene: &'a Scene<'a>,
    pub question: Question,
    pub class: usize,
    /// The K nearest rows, and an upper bound on the distance of the last.
    pub nearest: Vec<usize>,
    pub reach: f64,
    pub pairs: Vec<Pair>,
    pub begun: Instant,
}

/// Comparisons of two rows between two looks at the time.
const UNWATCHED: usize = 4096;

/// Looks at the time now and then, and remembers that it is up.
pub struct Clock<F> {
    is_late: F,
    every: usize,
    asked: Cell<usize>,
    is_over: Cell<bool>,
}

impl<F: Fn() -> bool> Clock<F> {
    /// For work in steps of so many comparisons.
    pub fn new(comparisons: usize, is_late: F) -> Self {
        let every = (UNWATCHED / comparisons.max(1)).max(1);
        Self { is_late, every, asked: Cell::new(0), is_over: Cell::new(false) }
    }

    /// To be asked before each step.
    pub fn is_late(&self) -> bool {
        let asked = self.asked.replace(self.asked.get() + 1);
        if asked.is_multiple_of(self.every) && !self.is_over.get() {
            self.is_over.set((self.is_late)());
        }
        self.is_over.get()
    }

    /// Whether a step was told that it is late.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

/// The votes of some rows, by class.
#[must_use]
pub fn votes(index: &Index, positions: &[usize]) -> Vec<usize> {
    let mut votes = vec![0; index.classes()];
    positions.iter().for_each(|&position| votes[index.class_of(position)] += 1);
    votes
}

impl Case<'_> {
    /// Whether the point's time is up, or the call's.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late_by(Duration::ZERO)
    }

    /// Whether not even a first adversarial point is to be waited for any longer.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.is_late_by(GRACE)
    }

    /// Whether what a search promised is not to be proven any more: an eighth of the limit beyond it.
    #[must_use]
    pub fn is_past_proofs(&self) -> bool {
        self.is_late_by(self.question.time_limit.map_or(Duration::ZERO, |limit| limit / 8))
    }

    /// Whether a search is to end: time is up, or the call's nodes are.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_late() || self.scene.control.is_spent()
    }

    fn is_late_by(&self, time: Duration) -> bool {
        let limit = self.question.time_limit.map(|limit| limit.saturating_add(time));
        self.scene.control.must_stop() || limit.is_some_and(|limit| self.begun.elapsed() >= limit)
    }

    /// Whether the plurality cannot be lost before the majority is: with an odd K, where the class has a majority.
    #[must_use]
    pub fn has_majority_to_lose(&self) -> bool {
        let Question { k, rule, .. } = self.question;
        rule == Rule::Plurality
            && !k.is_multiple_of(2)
            && !is_lost(Rule::Majority, &votes(self.scene.index, &self.nearest), self.class)
    }

    /// How a row of the field relates to a pair.
    #[must_use]
    pub fn kind(&self, field: &Field, pair: &Pair, k: usize) -> Kind {
        match field.classes[k] {
            class if class as usize == self.class => Kind::Own,
            class if pair.rival.is_none_or(|m| m == class) => Kind::Rival,
            _ => Kind::Third,
        }
    }

    /// The rows of other classes that a pair needs inside: the first ones in some order that its counts allow.
    #[must_use]
    pub fn first_inside(&self, field: &Field, pair: &Pair, order: &[usize]) -> Option<Vec<usize>> {
        let is = |kind: Kind| move |k: &usize| self.kind(field, pair, *k) == kind;
        let mut chosen: Vec<usize> =
            order.iter().copied().filter(is(Kind::Rival)).take(pair.rivals).collect();
        if chosen.len() < pair.rivals {
            return None;
        }
        // The first rivals are chosen already; thirds and further rivals come in their order.
        let mut seen = [0; 3];
        for &k in order {
            let kind = self.kind(field, pair, k);
            seen[kind as usize] += 1;
            let takes = match kind {
                Kind::Own => false,
                Kind::Rival => seen[1] > pair.rivals,
                Kind::Third => seen[2] <= pair.thirds,
            };
            if takes && chosen.len() < pair.others {
                chosen.push(k);
            }
        }
        (chosen.len() >= pair.others).then_some(chosen)
    }

    /// Rows of the class in the field, nearest first.
    #[must_use]
    pub fn nearest_own(&self, field: &Field, most: usize) -> Vec<usize> {
        let is_own = |&k: &usize| field.classes[k] as usize == self.class;
        let mut rows: Vec<usize> = (0..field.len()).filter(is_own).collect();
        keep_least(&mut rows, most, |k| field.halves[k]);
        rows
    }
}
