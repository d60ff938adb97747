//! What a search proved, node by node: for those who take its word for nothing.
//!
//! Rows are positions. Whoever knows the counts of a pair can follow a record from the root: each [`Fixed`] row and each
//! [`End`] is justified by weights, whose bound is a matter of arithmetic, or by counts alone.

use crate::certify::vote::State;
use crate::certify::vote::field::{Field, Weight};
use std::collections::HashMap;

/// Positions of rows with their weights: positive inside, negative outside.
pub type Weights = Vec<Weight>;

/// Why a row cannot be on the other side below the lower end.
#[derive(Debug, Clone)]
pub enum Reason {
    /// What would be known then.
    Weights(Weights),
    /// By counts one of these rows would be outside then, and each of them has its weights.
    OneOf(Vec<(usize, Weights)>),
    /// Too many rows are nearer than it.
    Excluded,
}

/// A row that has only one side left.
#[derive(Debug, Clone)]
pub struct Fixed {
    pub row: usize,
    pub state: State,
    pub reason: Reason,
}

/// One part of a split.
#[derive(Debug, Clone)]
pub enum Child {
    Node(u64),
    Closed(Weights),
    Excluded,
}

/// How a node ends.
#[derive(Debug, Clone)]
pub enum End {
    /// By counts, or by the order of rows in one place, nothing is possible.
    Contradiction,
    /// What is known of all that is inside and outside.
    Closed(Weights),
    /// Child `k` gives the first `k` rows the state `before` and the next one the other; one more child may give `before`
    /// to all of them. Without it that is a contradiction by counts.
    Split { rows: Vec<usize>, before: State, children: Vec<Child> },
}

/// One node.
#[derive(Debug, Clone)]
pub struct Step {
    pub fixed: Vec<Fixed>,
    pub end: End,
}

/// The nodes of one search, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub steps: HashMap<u64, Step>,
    next: u64,
}

/// Numbers of nodes of different lanes are this far apart.
const APART: u64 = 1 << 40;

impl Record {
    /// An empty record for a part of a search.
    #[must_use]
    pub fn of_lane(lane: usize) -> Self {
        Self { steps: HashMap::new(), next: (lane as u64 + 1) * APART }
    }

    /// A number for one more node. The first one is that of a root.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

/// Weights by position.
#[must_use]
pub fn by_position(field: &Field, weights: &[Weight]) -> Weights {
    weights.iter().map(|&(k, w)| (field.entries[k].position, w)).collect()
}
