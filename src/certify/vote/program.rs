//! The least-norm program with a free threshold, by a dual active-set method.
//!
//! `min ‖δ‖² s.t. e_k(δ) ≤ T (k inside), e_k(δ) ≥ T (k outside), T free`: Goldfarb and Idnani on the differences to
//! one active row. Every iterate is dual feasible. What it returns is a hint; bounds come from
//! [`Field::bound`].

use crate::certify::vote::field::{Field, Weight};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All constraints that were offered hold.
    Optimal,
    /// `‖δ‖²` reached the limit.
    Pruned,
    /// A proof that the constraints contradict each other, up to rounding.
    Infeasible,
    /// No further progress in binary64.
    Stalled,
}

/// Active rows with their weights: positive inside, negative outside.
#[derive(Debug, Clone, Default)]
pub struct Active {
    pub rows: Vec<usize>,
    pub inside: Vec<bool>,
    pub weights: Vec<f64>,
}

impl Active {
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.rows.clone_from(&other.rows);
        self.inside.clone_from(&other.inside);
        self.weights.clone_from(&other.weights);
    }

    /// Rows and signed weights, for [`Field::bound`].
    pub fn signed(&self, out: &mut Vec<Weight>) {
        out.clear();
        let signs = self.inside.iter().map(|&inside| if inside { 1.0 } else { -1.0 });
        out.extend(self.rows.iter().zip(self.weights.iter().zip(signs)).map(|(&k, (w, s))| (k, w * s)));
    }
}

/// A row on its way into the active set, whether it is inside, and its weight so far.
pub type Entering = (usize, bool, f64);

/// One program; reused from node to node.
#[derive(Debug, Default)]
pub struct Program {
    pub active: Active,
    /// `‖δ‖²`.
    pub value: f64,
    /// `e_k(δ)` of all rows.
    pub levels: Vec<f64>,
    /// `T`; meaningless while nothing is active.
    pub threshold: f64,
    pub steps: u64,
    /// Programs begun.
    pub solved: u64,
    /// Where a program that ended as infeasible reached its limit, if it seemed to.
    pub doubtful: Active,
    saved: Active,
    pub(super) factor: Vec<f64>,
    pub(super) forward: Vec<f64>,
    pub(super) shares: Vec<f64>,
    pub(super) near: Vec<f64>,
    pub(super) curvatures: Vec<f64>,
}

/// A step towards one more constraint: by how much the value grows, and the weights' change per unit.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub length: f64,
    /// The active row whose weight vanishes first; `None`: the constraint holds at the end.
    pub blocking: Option<usize>,
    pub gain: f64,
    curvature: f64,
}

/// Normals whose square is a smaller share of what it was depend on the others.
pub(super) const DEPENDENT: f64 = 1e-12;

/// A curvature that is a smaller share of the squares that it is made of is taken for rounding.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

impl Program {
    /// Starts from the rows that were active elsewhere (a subset of whose constraints is required here).
    pub fn restart(&mut self, field: &mut Field<'_>, active: &Active) {
        self.active.copy_from(active);
        field.prepare(&active.rows);
        self.refactor(field);
        self.measure(field);
    }

    /// Adds the most violated constraints until none of `required` is violated or `‖δ‖² ≥ limit`.
    pub fn solve(&mut self, field: &mut Field<'_>, required: &[(usize, bool)], limit: f64) -> Outcome {
        self.solved += 1;
        self.doubtful.rows.clear();
        let most = self.steps + 100 + 20 * required.len() as u64;
        loop {
            if self.value >= limit {
                return Outcome::Pruned;
            }
            let Some((row, inside)) = self.most_violated(field, required) else {
                return Outcome::Optimal;
            };
            if self.active.rows.is_empty() {
                if !self.start(field, required) {
                    return Outcome::Infeasible;
                }
                continue;
            }
            let mut before = std::mem::take(&mut self.saved);
            before.copy_from(&self.active);
            let entered = self.enter(field, row, inside);
            let is_doubtful = entered.is_err() || self.value >= limit && !self.is_proven(field, limit);
            if is_doubtful {
                // Nearly contradictory constraints: the weights on the way there are often better proofs than the end.
                if entered.is_ok() {
                    std::mem::swap(&mut self.doubtful, &mut self.active);
                }
                self.restart(field, &before);
                self.saved = before;
                return entered.err().unwrap_or(Outcome::Infeasible);
            }
            self.saved = before;
            if self.steps > most {
                return Outcome::Stalled;
            }
        }
    }

    fn is_proven(&self, field: &Field<'_>, limit: f64) -> bool {
        let mut weights = Vec::new();
        self.active.signed(&mut weights);
        field.bound(&weights, limit) >= limit
    }

    /// `ε(e_k − T)`: positive where the constraint is violated.
    #[must_use]
    pub fn violation(&self, k: usize, inside: bool) -> f64 {
        let over = self.levels[k] - self.threshold;
        if inside { over } else { -over }
    }

    /// What counts as rounding.
    #[must_use]
    pub fn tolerance(&self, field: &Field<'_>) -> f64 {
        let total: f64 = self.active.weights.iter().sum();
        if self.active.rows.is_empty() { 0.0 } else { 4e-15 * (1.0 + total) * field.scale.max(1e-300) }
    }

    /// The constraint that enters next.
    pub fn most_violated(&self, field: &Field<'_>, required: &[(usize, bool)]) -> Option<(usize, bool)> {
        // Until a threshold is set, the farthest row inside has to be nearer than the nearest outside.
        let threshold = if self.active.rows.is_empty() { 0.0 } else { self.threshold };
        let mut worst = [(f64::NEG_INFINITY, usize::MAX); 2];
        for &(k, inside) in required {
            let over = self.levels[k] - threshold;
            let over = if inside { over } else { -over };
            let side = &mut worst[usize::from(inside)];
            if over > side.0 {
                *side = (over, k);
            }
        }
        let [outside, inside] = worst;
        if self.active.rows.is_empty() {
            return (outside.0 + inside.0 > 0.0).then_some((inside.1, true));
        }
        let (violation, row) = if inside.0 > outside.0 { inside } else { outside };
        // An active row and its copies are at the threshold.
        let is_violated = violation > self.tolerance(field)
            && !self.active.rows.iter().any(|&active| field.are_copies(active, row));
        is_violated.then_some((row, inside.0 > outside.0))
    }

    /// The first pair: the farthest row inside and the nearest outside.
    fn start(&mut self, field: &mut Field<'_>, required: &[(usize, bool)]) -> bool {
        let pick = |inside: bool| {
            let rows = required.iter().filter(move |r| r.1 == inside).map(|r| r.0);
            rows.reduce(|a, b| if (self.levels[b] > self.levels[a]) == inside { b } else { a })
        };
        let (Some(high), Some(low)) = (pick(true), pick(false)) else { return false };
        field.prepare(&[high, low]);
        let (violation, apart) = (self.levels[high] - self.levels[low], field.apart(high, low));
        if apart <= ROUNDING * (field.squares[high] + field.squares[low]) {
            return false;
        }
        let weight = violation / apart;
        self.active = Active { rows: vec![high, low], inside: vec![true, false], weights: vec![weight; 2] };
        self.steps += 1;
        self.refactor(field);
        self.measure(field);
        true
    }

    /// The longest dual step for one more constraint.
    pub fn step(&mut self, field: &Field<'_>, k: usize, inside: bool) -> Step {
        self.directions(field, &[k]);
        self.longest(field, 0, &[k], inside)
    }

    /// What the longest dual step for each of some further constraints would add to the value, at least 0.
    pub fn gains(&mut self, field: &Field<'_>, rows: &[usize], inside: bool) -> impl Iterator<Item = f64> {
        self.directions(field, rows);
        (0..rows.len()).map(move |at| self.longest(field, at, rows, inside).gain.max(0.0))
    }

    /// The longest step along one of the last directions.
    fn longest(&self, field: &Field<'_>, at: usize, rows: &[usize], inside: bool) -> Step {
        let violation = self.violation(rows[at], inside);
        let curvature = self.curvatures[at];
        let size = field.squares[self.active.rows[0]] + field.squares[rows[at]];
        let apart = (size - 2.0 * self.near[at]).max(0.0);
        // Of rows that nearly coincide nothing is left but rounding.
        let least = (DEPENDENT * apart).max(ROUNDING * size);
        let full = if curvature > least { violation / curvature } else { f64::INFINITY };
        let (mut length, mut blocking) = (full, None);
        for i in 0..self.active.rows.len() {
            let share = self.shares[i * rows.len() + at];
            let falls = if self.active.inside[i] == inside { share } else { -share };
            if falls > 0.0 && self.active.weights[i] < length * falls {
                (length, blocking) = (self.active.weights[i] / falls, Some(i));
            }
        }
        let gain = if length.is_finite() {
            length * (2.0 * violation - length * curvature.max(0.0))
        } else {
            f64::INFINITY
        };
        Step { length, blocking, gain, curvature }
    }

    /// The weights after the last [`Program::step`], for the same row, which had some weight before.
    pub fn stepped(&self, (k, inside, weight): Entering, length: f64, out: &mut Vec<Weight>) {
        let entering = weight + length;
        out.clear();
        for i in 0..self.active.rows.len() {
            let falls = if self.active.inside[i] == inside { self.shares[i] } else { -self.shares[i] };
            let weight = (self.active.weights[i] - length * falls).max(0.0);
            out.push((self.active.rows[i], if self.active.inside[i] { weight } else { -weight }));
        }
        out.push((k, if inside { entering } else { -entering }));
    }

    fn enter(&mut self, field: &mut Field<'_>, k: usize, inside: bool) -> Result<(), Outcome> {
        field.prepare(&[k]);
        let mut weight = 0.0;
        loop {
            let step = self.step(field, k, inside);
            if !step.length.is_finite() {
                return Err(Outcome::Infeasible);
            }
            weight = self.advance(field, (k, inside, weight), step);
            if step.blocking.is_none() {
                let diagonal = field.apart(self.active.rows[0], k);
                self.factor.extend_from_slice(&self.forward);
                self.factor.push(step.curvature.max(DEPENDENT * diagonal).max(f64::MIN_POSITIVE).sqrt());
                self.push(k, inside, weight);
                self.measure(field);
                return Ok(());
            }
            if self.active.rows.is_empty() {
                return Err(Outcome::Stalled);
            }
            if self.violation(k, inside) <= 0.0 {
                self.push(k, inside, weight);
                self.refactor(field);
                self.measure(field);
                return Ok(());
            }
        }
    }

    /// Goes to the end of the last step towards a constraint, where a blocking row leaves; returns the constraint's
    /// weight.
    pub fn advance(&mut self, field: &mut Field<'_>, (k, inside, weight): Entering, step: Step) -> f64 {
        self.steps += 1;
        for i in 0..self.active.rows.len() {
            let falls = if self.active.inside[i] == inside { self.shares[i] } else { -self.shares[i] };
            self.active.weights[i] = (self.active.weights[i] - step.length * falls).max(0.0);
        }
        let weight = weight + step.length;
        if let Some(i) = step.blocking {
            self.active.rows.remove(i);
            self.active.inside.remove(i);
            self.active.weights.remove(i);
            self.refactor(field);
            self.measure_with(field, Some((k, inside, weight)));
        }
        weight
    }

    fn push(&mut self, k: usize, inside: bool, weight: f64) {
        self.active.rows.push(k);
        self.active.inside.push(inside);
        self.active.weights.push(weight);
    }

    /// Levels, threshold and value from the weights.
    pub(super) fn measure(&mut self, field: &Field<'_>) {
        self.measure_with(field, None);
    }

    fn measure_with(&mut self, field: &Field<'_>, entering: Option<Entering>) {
        self.levels.clone_from(&field.halves);
        let active = self.active.rows.iter().copied().zip(self.active.inside.iter().copied());
        let all =
            active.zip(self.active.weights.iter().copied()).map(|((k, i), w)| (k, i, w)).chain(entering);
        let mut numerator = 0.0;
        for (k, inside, weight) in all {
            let signed = if inside { weight } else { -weight };
            let products = field.products(k);
            self.levels.iter_mut().zip(products).for_each(|(e, product)| *e -= signed * product);
            numerator += signed * field.halves[k];
        }
        // At an optimum over the active rows ‖δ‖² = Σ s_k d_k²/2.
        self.value = numerator.max(0.0);
        if let Some(&reference) = self.active.rows.first() {
            self.threshold = self.levels[reference];
        }
    }
}
