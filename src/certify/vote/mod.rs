//! The exact radius of K-NN: the distance to where the vote is lost, by branch and bound over sets of neighbours.
//!
//! Class `c` loses at `z + δ` exactly where some set `A` of `K` nearest rows has too few of its rows. Each [`Pair`] is
//! one way to lose; rows are *inside* or *outside* `A`:
//!
//! `e_k(δ) ≤ T` (k inside), `e_k(δ) ≥ T` (k outside), `T` free,
//!
//! half-spaces once the sets are known, so that the least `‖δ‖` is that of a quadratic program ([`program`]). The search
//! ([`tree`]) decides row after row; what it discards it discards by a bound that is evaluated from weights with all
//! rounding ([`field`]), never on a solver's word.

pub mod attack;
pub mod bound;
pub mod branch;
pub mod candidates;
pub mod case;
pub mod certifier;
pub mod cost;
pub mod decide;
pub mod exchange;
pub mod factor;
pub mod field;
pub mod finish;
pub mod lanes;
pub mod lift;
pub mod meeting;
pub mod node;
pub mod program;
pub mod record;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod weights;

/// When a class loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Another class has more votes, or as many and a smaller label: the classifier's own vote.
    Plurality,
    /// No more than half of the votes are for the class.
    Majority,
}

/// One way to lose with `K` votes.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The class that wins; `None`: all other classes together.
    pub rival: Option<u32>,
    /// Most rows of the class inside.
    pub own: usize,
    /// Fewest rows of the rival inside.
    pub rivals: usize,
    /// Rows of all other classes inside: exactly as many, or without `exact` at least.
    pub others: usize,
    /// Most rows of third classes inside.
    pub thirds: usize,
    /// Whether `own` and `others` make up `K`. Under the majority rule it does not matter what else is inside.
    pub exact: bool,
}

impl Pair {
    /// The majority rule's only way.
    #[must_use]
    pub fn majority(k: usize) -> Self {
        let (own, others) = (k / 2, k - k / 2);
        Self { rival: None, own, rivals: others, others, thirds: 0, exact: false }
    }

    /// All ways in which a class can win against class `c`: its label is `smaller` than that of `c`, or not.
    pub fn against(rival: u32, smaller: bool, k: usize) -> impl Iterator<Item = Self> {
        let lead = usize::from(!smaller);
        (0..=k).take_while(move |own| 2 * own + lead <= k).map(move |own| {
            let (rivals, others) = (own + lead, k - own);
            Self { rival: Some(rival), own, rivals, others, thirds: others - rivals, exact: true }
        })
    }

    /// How many of the neighbours with some votes have to change at least, for the class `c` to lose in this way.
    #[must_use]
    pub fn changes(&self, votes: &[usize], c: usize) -> usize {
        let rivals = self.rival.map_or_else(|| votes.iter().sum::<usize>() - votes[c], |m| votes[m as usize]);
        let leave = votes[c].saturating_sub(self.own);
        leave.max(self.rivals.saturating_sub(rivals))
    }

    /// Most rows of a kind inside, where that is limited.
    #[must_use]
    pub fn most(&self, kind: Kind) -> Option<usize> {
        match kind {
            Kind::Own => Some(self.own),
            Kind::Third if self.exact => Some(self.thirds),
            _ => None,
        }
    }

    /// Whether there are enough rows for it: of the class, of the rival, and of all others.
    #[must_use]
    pub fn is_possible(&self, own: usize, rivals: usize, others: usize) -> bool {
        let thirds = (others - rivals).min(self.thirds);
        rivals >= self.rivals && rivals + thirds >= self.others && (!self.exact || own >= self.own)
    }
}

/// Whether the class `c` has lost a vote: the votes of each class, in the order of labels.
#[must_use]
pub fn is_lost(rule: Rule, votes: &[usize], c: usize) -> bool {
    match rule {
        Rule::Majority => 2 * votes[c] <= votes.iter().sum(),
        Rule::Plurality => {
            let ahead =
                |(m, &count): (usize, &usize)| m != c && (count > votes[c] || count == votes[c] && m < c);
            votes.iter().enumerate().any(ahead)
        }
    }
}

/// Keeps the least rows by some order, in that order: rows with the same key come by their numbers.
fn keep_least(rows: &mut Vec<usize>, most: usize, key: impl Fn(usize) -> f64) {
    let order = |&a: &usize, &b: &usize| key(a).total_cmp(&key(b)).then(a.cmp(&b));
    if rows.len() > most {
        rows.select_nth_unstable_by(most, order);
        rows.truncate(most);
    }
    rows.sort_unstable_by(order);
}

/// How a row relates to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Own,
    Rival,
    Third,
}

/// What a node has decided of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Free,
    Inside,
    Outside,
}
