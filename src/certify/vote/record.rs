//! What a search proved, node by node: for those who take its word for nothing.
//!
//! Rows are positions. Whoever knows the counts of a pair can follow a record from the root: each [`Fixed`] row and each
//! [`End`] is justified by weights, whose bound is a matter of arithmetic, or by counts alone.

use crate::certify::vote::field::{Field, Weight};
use crate::certify::vote::{Pair, State};
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

/// Weights by position, but for those of zero.
#[must_use]
pub fn by_position(field: &Field, weights: &[Weight]) -> Weights {
    weights.iter().filter(|w| w.1 != 0.0).map(|&(k, w)| (field.entries[k].position, w)).collect()
}

/// What proves a lower end under a vote: rows of which enough are nearer than each row that is not mentioned, and for each
/// way to lose the nodes of its search from the root on.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    pub judges: Vec<usize>,
    pub ways: Vec<(Pair, Vec<Step>)>,
}

impl Ground {
    /// Of pairs whose roots are the record's first nodes.
    #[must_use]
    pub fn new(judges: Vec<usize>, pairs: &[Pair], mut record: Record) -> Self {
        let ways = pairs.iter().enumerate().map(|(root, pair)| (*pair, in_order(&mut record, root as u64)));
        Self { judges, ways: ways.collect() }
    }

    /// The same with the caller's rows in place of positions.
    #[must_use]
    pub fn renamed(mut self, name: impl Fn(usize) -> usize) -> Self {
        self.judges.iter_mut().for_each(|row| *row = name(*row));
        for step in self.ways.iter_mut().flat_map(|way| &mut way.1) {
            step.each_row(|row| *row = name(*row));
        }
        self
    }
}

/// The nodes under one, each before its children; children by their place. A root that was not opened is a contradiction.
fn in_order(record: &mut Record, root: u64) -> Vec<Step> {
    let (mut numbers, mut steps) = (vec![root], Vec::new());
    while let Some(&number) = numbers.get(steps.len()) {
        let nothing = Step { fixed: Vec::new(), end: End::Contradiction };
        let mut step = record.steps.remove(&number).unwrap_or(nothing);
        if let End::Split { children, .. } = &mut step.end {
            for child in children {
                if let Child::Node(number) = child {
                    numbers.push(*number);
                    *number = numbers.len() as u64 - 1;
                }
            }
        }
        steps.push(step);
    }
    steps
}

impl Step {
    fn each_row(&mut self, mut rename: impl FnMut(&mut usize)) {
        let rename_all = |weights: &mut Weights, rename: &mut dyn FnMut(&mut usize)| {
            weights.iter_mut().for_each(|weight| rename(&mut weight.0));
        };
        for Fixed { row, reason, .. } in &mut self.fixed {
            rename(row);
            match reason {
                Reason::Weights(weights) => rename_all(weights, &mut rename),
                Reason::OneOf(rows) => rows.iter_mut().for_each(|(row, weights)| {
                    rename(row);
                    rename_all(weights, &mut rename);
                }),
                Reason::Excluded => (),
            }
        }
        match &mut self.end {
            End::Contradiction => (),
            End::Closed(weights) => rename_all(weights, &mut rename),
            End::Split { rows, children, .. } => {
                rows.iter_mut().for_each(&mut rename);
                for child in children {
                    if let Child::Closed(weights) = child {
                        rename_all(weights, &mut rename);
                    }
                }
            }
        }
    }
}
