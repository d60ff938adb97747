//! The least-norm point of a Voronoi cell, by a dual active-set method.
//!
//! `min ½‖δ‖²  s.t.  a_iᵀδ ≥ h_i`, where `a_i = M(x_j − x_i)` and `h_i = (d²(z, x_j) − d²(z, x_i))/2`: the point
//! `z + δ` is to be at least as close to `x_j` as to every `x_i`. The method of Goldfarb and Idnani (1983)
//! with an identity Hessian needs the Gram matrix `H_il = a_iᵀa_l` only. It keeps `λ ≥ 0` and adds the
//! most violated constraint; each iterate solves a relaxation, so `‖δ‖` grows, and **every** iterate gives
//! a lower bound by weak duality. What it returns is a hint: bounds are evaluated from `λ` elsewhere.

/// The constraints, by inner products.
pub trait Constraints {
    /// How many there are.
    fn count(&self) -> usize;
    /// `h_i`.
    fn offset(&self, i: usize) -> f64;
    /// `H_il`.
    fn product(&self, i: usize, l: usize) -> f64;
    /// Violations up to this are rounding: a few units in the last place of the distances behind `h_i`.
    fn tolerance(&self, i: usize) -> f64;
}

/// How a solve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every constraint holds.
    Optimal,
    /// `‖δ‖²` reached the given limit.
    Pruned,
    /// No further progress in binary64. The multipliers are as valid as ever.
    Stalled,
}

/// Multipliers, factor and scratch space of one solver; reused from program to program.
#[derive(Debug, Default, Clone)]
pub struct MinNorm {
    /// Active constraints, and their multipliers.
    pub active: Vec<usize>,
    pub multipliers: Vec<f64>,
    /// `‖δ‖²` at the current multipliers, by the recurrence of the steps.
    pub value: f64,
    /// Steps taken since the last reset.
    pub steps: u32,
    /// Lower triangle of the Cholesky factor of `H` on the active set, row after row.
    factor: Vec<f64>,
    forward: Vec<f64>,
    direction: Vec<f64>,
}

/// A pivot below this share of the diagonal means a linearly dependent constraint.
const DEPENDENT: f64 = 1e-13;

impl MinNorm {
    /// Forgets the last program.
    pub fn reset(&mut self) {
        self.active.clear();
        self.multipliers.clear();
        self.factor.clear();
        self.value = 0.0;
        self.steps = 0;
    }

    /// Solves until optimal or until `‖δ‖² ≥ limit`, from where the last call stopped: constraints may have been
    /// added at the end since.
    pub fn solve(&mut self, constraints: &impl Constraints, limit: f64) -> Outcome {
        if self.factor.len() != self.active.len() * (self.active.len() + 1) / 2 {
            // After a stall the factor does not belong to the active set.
            self.reset();
        }
        let most_steps = 100 + 10 * constraints.count() as u32;
        while let Some((entering, violation)) = self.most_violated(constraints) {
            if self.value >= limit {
                return Outcome::Pruned;
            }
            if !self.enter(constraints, entering, violation) || self.steps > most_steps {
                return Outcome::Stalled;
            }
        }
        if self.value >= limit { Outcome::Pruned } else { Outcome::Optimal }
    }

    fn most_violated(&self, constraints: &impl Constraints) -> Option<(usize, f64)> {
        let mut worst = None;
        for i in 0..constraints.count() {
            if self.active.contains(&i) {
                continue;
            }
            let reached: f64 =
                self.active.iter().zip(&self.multipliers).map(|(&l, m)| m * constraints.product(i, l)).sum();
            let violation = constraints.offset(i) - reached;
            if violation > constraints.tolerance(i) && worst.is_none_or(|(_, most)| violation > most) {
                worst = Some((i, violation));
            }
        }
        worst
    }

    /// Raises the multiplier of `entering` until its constraint holds, dropping what blocks. `false`: stalled.
    fn enter(&mut self, constraints: &impl Constraints, entering: usize, mut violation: f64) -> bool {
        let diagonal = constraints.product(entering, entering);
        let mut multiplier = 0.0;
        loop {
            self.steps += 1;
            let pivot = self.solve_direction(constraints, entering, diagonal);
            let full = if pivot > DEPENDENT * diagonal { violation / pivot } else { f64::INFINITY };
            let (step, blocking) = self.longest_step(full);
            if !step.is_finite() {
                return self.keep(entering, multiplier);
            }
            self.multipliers.iter_mut().zip(&self.direction).for_each(|(m, d)| *m = (*m - step * d).max(0.0));
            multiplier += step;
            let curvature = pivot.max(0.0);
            self.value += step * (2.0 * violation - step * curvature);
            violation -= step * curvature;
            match blocking {
                Some(k) => self.drop_constraint(constraints, k),
                None => {
                    self.append_to_factor(pivot);
                    self.active.push(entering);
                    self.multipliers.push(multiplier);
                    return true;
                }
            }
        }
    }

    /// Records the multiplier of a constraint that could not be satisfied: it still counts in the dual.
    fn keep(&mut self, entering: usize, multiplier: f64) -> bool {
        if multiplier > 0.0 {
            self.active.push(entering);
            self.multipliers.push(multiplier);
        }
        false
    }

    /// `forward = L⁻¹ h_p`, `direction = L⁻ᵀ forward`; returns the pivot `H_pp − ‖forward‖²`.
    fn solve_direction(&mut self, constraints: &impl Constraints, entering: usize, diagonal: f64) -> f64 {
        self.forward.clear();
        for (row, &k) in self.active.iter().enumerate() {
            let factor = &self.factor[row * (row + 1) / 2..][..=row];
            let known: f64 = self.forward.iter().zip(factor).map(|(x, l)| x * l).sum();
            self.forward.push((constraints.product(k, entering) - known) / factor[row]);
        }
        self.direction.clone_from(&self.forward);
        for row in (0..self.direction.len()).rev() {
            let start = row * (row + 1) / 2;
            self.direction[row] /= self.factor[start + row];
            let solved = self.direction[row];
            for column in 0..row {
                self.direction[column] -= solved * self.factor[start + column];
            }
        }
        diagonal - self.forward.iter().map(|x| x * x).sum::<f64>()
    }

    /// The step at which the constraint is met, or at which an active multiplier reaches zero.
    fn longest_step(&self, full: f64) -> (f64, Option<usize>) {
        let mut best = (full, None);
        for (k, (&multiplier, &direction)) in self.multipliers.iter().zip(&self.direction).enumerate() {
            if direction > 0.0 && multiplier < best.0 * direction {
                best = (multiplier / direction, Some(k));
            }
        }
        best
    }

    fn append_to_factor(&mut self, pivot: f64) {
        self.factor.extend_from_slice(&self.forward);
        self.factor.push(pivot.sqrt());
    }

    fn drop_constraint(&mut self, constraints: &impl Constraints, k: usize) {
        self.active.remove(k);
        self.multipliers.remove(k);
        self.refactor(constraints);
    }

    /// Factors again from scratch: active sets rarely pass ten constraints.
    fn refactor(&mut self, constraints: &impl Constraints) {
        self.factor.clear();
        for (row, &i) in self.active.iter().enumerate() {
            let start = self.factor.len();
            for (column, &l) in self.active[..=row].iter().enumerate() {
                let other = column * (column + 1) / 2;
                let known: f64 = (0..column).map(|t| self.factor[start + t] * self.factor[other + t]).sum();
                let rest = constraints.product(i, l) - known;
                let entry = if column == row {
                    rest.max(DEPENDENT * constraints.product(i, i)).max(f64::MIN_POSITIVE).sqrt()
                } else {
                    rest / self.factor[other + column]
                };
                self.factor.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Constraints given by their normals.
    struct Normals {
        normals: Vec<[f64; 2]>,
        offsets: Vec<f64>,
    }

    impl Constraints for Normals {
        fn count(&self) -> usize {
            self.normals.len()
        }
        fn offset(&self, i: usize) -> f64 {
            self.offsets[i]
        }
        fn product(&self, i: usize, l: usize) -> f64 {
            self.normals[i].iter().zip(&self.normals[l]).map(|(a, b)| a * b).sum()
        }
        fn tolerance(&self, _: usize) -> f64 {
            1e-12
        }
    }

    fn point(problem: &Normals, solver: &MinNorm) -> [f64; 2] {
        let mut point = [0.0; 2];
        for (&i, m) in solver.active.iter().zip(&solver.multipliers) {
            point[0] += m * problem.normals[i][0];
            point[1] += m * problem.normals[i][1];
        }
        point
    }

    proptest! {
        #[test]
        fn solution_is_feasible_and_no_feasible_point_is_shorter(
            normals in prop::collection::vec((-4i32..=4, -4i32..=4), 1..8),
            inside in (-5i32..=5, -5i32..=5),
            slack in prop::collection::vec(0i32..10, 8),
            tries in prop::collection::vec((-5.0..5.0f64, -5.0..5.0f64), 50),
        ) {
            let normals: Vec<[f64; 2]> = normals.iter().map(|n| [f64::from(n.0), f64::from(n.1)]).collect();
            // `inside` satisfies every constraint, so the problem is feasible.
            let offsets: Vec<f64> = normals.iter().zip(&slack)
                .map(|(n, s)| n[0] * f64::from(inside.0) + n[1] * f64::from(inside.1) - f64::from(*s))
                .collect();
            let problem = Normals { normals, offsets };
            let mut solver = MinNorm::default();
            // A few constraints at first, the rest later: the answer is the same.
            let few = Normals { normals: problem.normals[..1].to_vec(), offsets: problem.offsets[..1].to_vec() };
            prop_assert_eq!(solver.solve(&few, f64::INFINITY), Outcome::Optimal);
            prop_assert_eq!(solver.solve(&problem, f64::INFINITY), Outcome::Optimal);
            let p = point(&problem, &solver);
            let norm2 = p[0] * p[0] + p[1] * p[1];
            prop_assert!((norm2 - solver.value).abs() <= 1e-9 * (1.0 + norm2));
            prop_assert!(solver.multipliers.iter().all(|&m| m >= 0.0));
            for (n, h) in problem.normals.iter().zip(&problem.offsets) {
                prop_assert!(n[0] * p[0] + n[1] * p[1] >= h - 1e-9);
            }
            for t in tries {
                let feasible = problem.normals.iter().zip(&problem.offsets).all(|(n, h)| n[0] * t.0 + n[1] * t.1 >= *h);
                prop_assert!(!feasible || t.0 * t.0 + t.1 * t.1 >= norm2 - 1e-9);
            }
        }
    }

    #[test]
    fn a_solve_stops_at_its_limit() {
        let problem = Normals { normals: vec![[1.0, 0.0], [0.0, 1.0]], offsets: vec![3.0, 4.0] };
        let mut solver = MinNorm::default();
        assert_eq!(solver.solve(&problem, 10.0), Outcome::Pruned);
        assert!(solver.value >= 10.0 && solver.value < 25.0);
    }
}
