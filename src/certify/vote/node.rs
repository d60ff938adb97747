//! Nodes of the search, in the order in which they are worked on.

use crate::certify::vote::State;
use crate::certify::vote::program::Active;
use crate::certify::vote::record::{End, Step, Weights};
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Access};

/// What the children of one node share: its own decisions, and the rows that they decide one after the other.
#[derive(Debug)]
pub struct Split {
    pub pair: usize,
    pub states: Vec<State>,
    pub active: Active,
    /// Child `k` gives the first `k` rows the state `before` and the next one, if there is one, `last`.
    pub rows: Vec<usize>,
    pub before: State,
    pub last: State,
    /// Bytes held by all splits that are alive.
    pub held: Arc<AtomicUsize>,
}

impl Split {
    /// With its children: at most one more than it has rows.
    fn bytes(&self) -> usize {
        let children = size_of::<Node>() * (self.rows.len() + 1);
        size_of::<Self>() + children + self.states.len() + 8 * self.rows.len() + 17 * self.active.rows.len()
    }

    /// Shared by its children; counted until the last of them is gone.
    #[must_use]
    pub fn share(self) -> Arc<Self> {
        self.held.fetch_add(self.bytes(), Access::Relaxed);
        Arc::new(self)
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes(), Access::Relaxed);
    }
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    pub split: Arc<Split>,
    pub child: usize,
    /// Squared; good for the order of work.
    pub bound: f64,
    /// Squared, proven.
    pub proven: f64,
    /// For a record: its number, and what is behind `proven`.
    pub number: u64,
    pub why: Why,
}

/// Why a node costs what is proven.
#[derive(Debug, Clone)]
pub enum Why {
    /// By counts.
    Counts,
    Weights(Arc<Weights>),
}

impl Node {
    /// What is proven of it without a search.
    pub(super) fn step(&self) -> Step {
        let end = match &self.why {
            Why::Counts => End::Contradiction,
            Why::Weights(weights) => End::Closed(weights.to_vec()),
        };
        Step { fixed: Vec::new(), end }
    }

    pub(super) fn states(&self, rows: usize) -> Vec<State> {
        let mut states = self.split.states.clone();
        states.resize(rows, State::Free);
        for (i, &k) in self.split.rows.iter().enumerate().take(self.child + 1) {
            states[k] = if i < self.child { self.split.before } else { self.split.last };
        }
        states
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Node {}
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        other.bound.total_cmp(&self.bound)
    }
}
