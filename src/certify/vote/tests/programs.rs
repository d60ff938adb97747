//! The program's answers against the conditions of optimality, and in the plane against every vertex.

use super::plane::{Plane, planes};
use super::{Setting, perturbation, question, unscaled};
use crate::certify::vote::Rule;
use crate::certify::vote::field::{Field, Weight};
use crate::certify::vote::program::{Active, Outcome, Program};
use proptest::prelude::*;

/// Up to twelve rows in up to five dimensions, Euclidean or not, and which of them are inside.
fn settings() -> impl Strategy<Value = (Setting, Vec<bool>)> {
    (1usize..=5, 3usize..=12, any::<bool>()).prop_flat_map(|(features, count, plain)| {
        let values = |n: usize| prop::collection::vec(-1.0..1.0f64, n);
        let components = values(features * features);
        let inside = prop::collection::vec(any::<bool>(), 1..count);
        (values(features * count), components, values(features), inside).prop_map(
            move |(rows, components, point, inside)| {
                let codes = (0..count as i64).map(|k| k % 2).collect();
                let components = (!plain).then_some(components);
                (Setting { features, rows, codes, components, point }, inside)
            },
        )
    })
}

fn required(inside: &[bool]) -> Vec<(usize, bool)> {
    inside.iter().copied().enumerate().collect()
}

fn signed(program: &Program) -> Vec<Weight> {
    let mut weights = Vec::new();
    program.active.signed(&mut weights);
    weights
}

/// Nothing is looked for so far away, squared: contradictions hold there, up to rounding. Rows are within one unit.
const FAR: f64 = 1e8;

fn solved(field: &mut Field, required: &[(usize, bool)], limit: f64) -> (Program, Outcome) {
    let mut program = Program::default();
    program.restart(field, &Active::default());
    let outcome = program.solve(field, required, limit);
    (program, outcome)
}

/// Rows inside and outside of those that are required.
fn sides(required: &[(usize, bool)]) -> [Vec<usize>; 2] {
    [true, false].map(|side| required.iter().filter(|r| r.1 == side).map(|r| r.0).collect())
}

proptest! {
    #![proptest_config(super::patient())]

    #[test]
    fn an_optimum_satisfies_the_conditions_of_optimality((setting, inside) in settings()) {
        setting.with(question(1, Rule::Plurality), |case, field| {
            let required = required(&inside);
            let (program, outcome) = solved(field, &required, FAR);
            // A plane lies between any two rows.
            if outcome != Outcome::Optimal {
                prop_assert!(outcome == Outcome::Pruned || required.len() > 2, "{outcome:?}");
                return Ok(());
            }
            let (active, delta) = (&program.active, perturbation(case, field, &signed(&program)));
            let levels: Vec<f64> = (0..field.len()).map(|k| setting.half(k, &delta)).collect();
            let total: f64 = active.weights.iter().sum();
            // Rows that nearly coincide have large weights that nearly cancel.
            let tolerance = 1e-9 * (1.0 + total) * (1.0 + total / 1e6);
            prop_assert!(active.weights.iter().all(|&w| w >= 0.0));
            prop_assert!(signed(&program).iter().map(|w| w.1).sum::<f64>().abs() <= 1e-9 * total);
            prop_assert!(active.rows.iter().zip(&active.inside).all(|(&k, &side)| inside[k] == side));
            let length = delta.iter().map(|x| x * x).sum::<f64>();
            prop_assert!((length - unscaled(case, program.value)).abs() <= tolerance * (1.0 + length));
            let threshold = match active.rows.first() {
                Some(&row) => levels[row],
                None => sides(&required)[0].iter().map(|&k| levels[k]).fold(f64::NEG_INFINITY, f64::max),
            };
            for &row in &active.rows {
                prop_assert!((levels[row] - threshold).abs() <= tolerance);
            }
            for (k, side) in required {
                let over = if side { levels[k] - threshold } else { threshold - levels[k] };
                prop_assert!(over <= tolerance, "{k} {side} {over}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn values_are_those_of_the_nearest_vertex(plane in planes(8, 2), inside in prop::collection::vec(any::<bool>(), 2..8)) {
        plane.setting().with(question(1, Rule::Plurality), |case, field| {
            let required = required(&inside[..inside.len().min(field.len())]);
            let [near, far] = sides(&required);
            let (program, outcome) = solved(field, &required, FAR);
            match plane.least(&near, &far) {
                None => prop_assert_ne!(outcome, Outcome::Optimal),
                Some(least) if least >= unscaled(case, FAR) => prop_assert_eq!(outcome, Outcome::Pruned),
                Some(least) => {
                    prop_assert_eq!(outcome, Outcome::Optimal);
                    let value = unscaled(case, program.value);
                    prop_assert!((value - least).abs() <= 1e-9 * (1.0 + least) * (1.0 + least / 1e6), "{value} {least}");
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_program_stops_at_its_limit(plane in planes(8, 2), inside in prop::collection::vec(any::<bool>(), 2..8), share in 0.05..2.0f64) {
        plane.setting().with(question(1, Rule::Plurality), |_, field| {
            let required = required(&inside[..inside.len().min(field.len())]);
            let (whole, outcome) = solved(field, &required, FAR);
            prop_assume!(outcome == Outcome::Optimal && whole.value > 0.0);
            let (program, outcome) = solved(field, &required, share * whole.value);
            let (weights, limit) = (signed(&program), share * whole.value);
            prop_assert_eq!(outcome == Outcome::Pruned, limit <= whole.value * (1.0 - 1e-9));
            prop_assert!(outcome != Outcome::Pruned || program.value >= limit);
            prop_assert!(field.bound(&weights, limit) <= whole.value * (1.0 + 1e-12));
            Ok(())
        })?;
    }

    #[test]
    fn a_start_from_fewer_constraints_ends_at_the_same_value(plane in planes(8, 2), inside in prop::collection::vec(any::<bool>(), 2..8), first in 1usize..8) {
        plane.setting().with(question(1, Rule::Plurality), |_, field| {
            let required = required(&inside[..inside.len().min(field.len())]);
            let (whole, outcome) = solved(field, &required, FAR);
            let (mut program, begun) = solved(field, &required[..first.min(required.len())], FAR);
            prop_assume!((outcome, begun) == (Outcome::Optimal, Outcome::Optimal));
            let active = program.active.clone();
            program.restart(field, &active);
            prop_assert_eq!(program.solve(field, &required, FAR), Outcome::Optimal);
            prop_assert!((program.value - whole.value).abs() <= 1e-9 * (1.0 + whole.value));
            Ok(())
        })?;
    }

    #[test]
    fn without_a_row_a_program_starts_below_and_ends_at_the_same_value(plane in planes(8, 2), inside in prop::collection::vec(any::<bool>(), 2..8), slot in 0usize..4) {
        plane.setting().with(question(1, Rule::Plurality), |_, field| {
            let required = required(&inside[..inside.len().min(field.len())]);
            let (whole, outcome) = solved(field, &required, FAR);
            prop_assume!(outcome == Outcome::Optimal && slot < whole.active.rows.len());
            let mut program = Program::default();
            program.restart_without(field, &whole.active, whole.active.rows[slot]);
            let size = 1e-9 * (1.0 + whole.value);
            prop_assert!(program.value <= whole.value + size, "{} {}", program.value, whole.value);
            let Active { rows, weights, .. } = &program.active;
            prop_assert!(!rows.contains(&whole.active.rows[slot]) && weights.iter().all(|&w| w > 0.0));
            let total: f64 = weights.iter().sum();
            let even = |&k: &usize| (program.levels[k] - program.threshold).abs() <= 1e-9 * (1.0 + total) * (1.0 + field.scale);
            prop_assert!(rows.iter().all(even));
            prop_assert_eq!(program.solve(field, &required, FAR), Outcome::Optimal);
            prop_assert!((program.value - whole.value).abs() <= size);
            Ok(())
        })?;
    }

    #[test]
    fn a_step_ends_at_what_it_gains(plane in planes(8, 2), inside in prop::collection::vec(any::<bool>(), 2..7), side: bool) {
        plane.setting().with(question(1, Rule::Plurality), |_, field| {
            let required = required(&inside[..inside.len().min(field.len() - 1)]);
            let (mut program, outcome) = solved(field, &required, FAR);
            prop_assume!(outcome == Outcome::Optimal && !program.active.rows.is_empty());
            let row = required.len();
            prop_assume!(program.violation(row, side) > 0.0);
            let step = program.step(field, row, side);
            prop_assume!(step.length.is_finite());
            let mut weights = Vec::new();
            program.stepped((row, side, 0.0), step.length, &mut weights);
            // What the dual function is at the stepped weights, by its definition.
            let numerator: f64 = weights.iter().map(|&(k, w)| w * field.halves[k]).sum();
            let (row, dual) = field.combine(&weights);
            let square: f64 = row.iter().zip(&dual).map(|(x, y)| x * y).sum();
            let expected = program.value + step.gain;
            let total: f64 = weights.iter().map(|w| w.1.abs()).sum();
            prop_assert!((2.0 * numerator - square - expected).abs() <= 1e-12 * (1.0 + total * total));
            prop_assert!(weights.iter().map(|w| w.1).sum::<f64>().abs() <= 1e-9 * (1.0 + total));
            Ok(())
        })?;
    }
}

#[test]
fn contradictions_are_infeasible() {
    let rows = vec![[0, 0], [1, 0], [2, 0], [3, 0]];
    let plane = Plane::euclidean(rows, vec![0, 0, 1, 1], [0, 0]);
    plane.setting().with(question(1, Rule::Plurality), |_, field| {
        // On a line no point has the outer two of three rows nearer than the middle one.
        let (_, outcome) = solved(field, &[(0, true), (1, false), (2, true)], FAR);
        assert_eq!(outcome, Outcome::Infeasible);
    });
}
