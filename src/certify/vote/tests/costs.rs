//! What decisions cost: one by one, and never more than they do.

use super::plane::{HalfSpace, Plane, least_norm, planes};
use super::{question, unscaled};
use crate::certify::vote::cost::inside_of;
use crate::certify::vote::meeting::meet;
use crate::certify::vote::program::{Active, Outcome};
use crate::certify::vote::tree::Tree;
use crate::certify::vote::{Kind, Pair, Rule, State};
use proptest::prelude::*;

/// Calls a check at the optimum of a node of one pair: some rows inside, some outside, all others free.
fn at_a_node(
    plane: &Plane,
    (k, rule): (usize, Rule),
    (which, decided): (usize, &[State]),
    check: impl FnOnce(&mut Tree, &Pair, &[State], &dyn Fn(f64) -> f64) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    plane.setting().with(question(k.min(plane.rows.len() - 1), rule), |case, field| {
        prop_assume!(!case.pairs.is_empty());
        let pair = case.pairs[which % case.pairs.len()];
        let mut states = vec![State::Free; field.len()];
        states.iter_mut().zip(decided).for_each(|(state, &to)| *state = to);
        let mut tree = Tree::new(field, case, (&case.pairs, false), f64::INFINITY);
        tree.compare_with_class();
        prop_assume!(tree.propagate(&pair, &mut states));
        let required: Vec<(usize, bool)> = (0..states.len())
            .filter(|&k| states[k] != State::Free)
            .map(|k| (k, states[k] == State::Inside))
            .collect();
        tree.program.restart(tree.field, &Active::default());
        prop_assume!(tree.program.solve(tree.field, &required, f64::INFINITY) == Outcome::Optimal);
        tree.set_threshold(&required);
        tree.program.active.signed(&mut tree.base);
        check(&mut tree, &pair, &states, &|square| unscaled(case, square))
    })
}

fn rules() -> impl Strategy<Value = (usize, Rule)> {
    (1usize..=5, prop::sample::select(vec![Rule::Plurality, Rule::Majority]))
}

fn decisions() -> impl Strategy<Value = (usize, Vec<State>)> {
    let state = prop_oneof![4 => Just(State::Free), 1 => Just(State::Inside), 1 => Just(State::Outside)];
    (0usize..20, prop::collection::vec(state, 7))
}

/// The class of the case.
fn class_of(tree: &Tree) -> usize {
    tree.case.class
}

proptest! {
    #![proptest_config(super::patient())]

    #[test]
    fn two_half_spaces_meet_at_their_least_norm(p in (-9i128..=9, -9i128..=9), a in (-9i128..=9, -9i128..=9), height in -60i128..=60) {
        let (p, a) = ([p.0, p.1], [a.0, a.1]);
        let product = |x: [i128; 2], y: [i128; 2]| x[0] * y[0] + x[1] * y[1];
        let gap = height - product(a, p);
        let numbers = [product(p, p), gap, height, product(a, a)].map(|x| x as f64);
        let (value, of_first, of_second) = meet(numbers[0], numbers[1], numbers[2], numbers[3]);
        let spaces: [HalfSpace; 2] = [(p, product(p, p)), (a, height)];
        prop_assert!(value >= numbers[0]);
        // Where they have no point in common anything is a bound, if its weights say so too.
        if let Some((square, by)) = least_norm(&spaces) {
            let least = square as f64 / by as f64;
            prop_assert!((value - least).abs() <= 1e-9 * (1.0 + least), "{value} {least}");
        }
        prop_assert!(of_first >= 0.0 && of_second >= 0.0);
        let point = [0, 1].map(|t| of_first * p[t] as f64 + of_second * a[t] as f64);
        let square = point[0] * point[0] + point[1] * point[1];
        prop_assert!((square - value).abs() <= 1e-9 * (1.0 + value), "{point:?} {value}");
    }

    #[test]
    fn meetings_of_many_rows_are_those_of_each(plane in planes(7, 3), asked in rules(), node in decisions(), side: bool) {
        at_a_node(&plane, asked, (node.0, &node.1), |tree, _, _, _| {
            // More rows than any register holds, and some that are left over.
            let rows: Vec<usize> = (0..tree.field.len()).cycle().take(37).collect();
            let (abreast, mut values) = (tree.abreast(&rows), Vec::new());
            for fixed in 0..tree.field.len() {
                tree.meetings((&rows, &abreast), (fixed, side), &mut values);
                for (&k, value) in rows.iter().zip(&values) {
                    let (j, i) = if side { (fixed, k) } else { (k, fixed) };
                    prop_assert_eq!(tree.both(j, i).0.to_bits(), value.to_bits());
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn gains_of_many_rows_are_those_of_single_steps(plane in planes(7, 3), asked in rules(), node in decisions(), side: bool) {
        at_a_node(&plane, asked, (node.0, &node.1), |tree, _, states, _| {
            prop_assume!(!tree.program.active.rows.is_empty());
            let rows: Vec<usize> = (0..states.len()).filter(|k| !tree.program.active.rows.contains(k)).collect();
            prop_assume!(!rows.is_empty());
            let gains: Vec<f64> = tree.program.gains(tree.field, &rows, side).collect();
            prop_assert_eq!(gains.len(), rows.len());
            for (&k, gain) in rows.iter().zip(gains) {
                let step = tree.program.step(tree.field, k, side);
                prop_assert_eq!(gain.to_bits(), step.gain.max(0.0).to_bits());
            }
            Ok(())
        })?;
    }

    #[test]
    fn costs_of_many_rows_are_those_of_each(plane in planes(7, 3), asked in rules(), node in decisions()) {
        at_a_node(&plane, asked, (node.0, &node.1), |tree, pair, states, _| {
            let inside = inside_of(states);
            let free: Vec<usize> = (0..states.len()).filter(|&k| states[k] == State::Free).collect();
            let near: Vec<usize> =
                free.iter().copied().filter(|&k| tree.program.levels[k] < tree.program.threshold).collect();
            for (&k, cost) in near.iter().zip(tree.out_costs(&near, &inside)) {
                prop_assert_eq!(cost.value.to_bits(), tree.out_costs(&[k], &inside)[0].value.to_bits());
            }
            let others: Vec<usize> = free.into_iter().filter(|&k| tree.kind(pair, k) != Kind::Own).collect();
            let looked = tree.near(pair, states);
            for (&k, cost) in others.iter().zip(tree.in_costs(pair, &others, &looked)) {
                prop_assert_eq!(cost.value.to_bits(), tree.in_costs(pair, &[k], &looked)[0].value.to_bits());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_decision_is_said_to_cost_more_than_it_does(plane in planes(7, 3), asked in rules(), node in decisions()) {
        at_a_node(&plane, asked, (node.0, &node.1), |tree, pair, states, unscaled| {
            let class = class_of(tree);
            let least = |k: usize, state: State| {
                let mut states = states.to_vec();
                states[k] = state;
                plane.least_over(|set| plane.belongs(pair, class, set) && Plane::agrees(&states, set))
            };
            let costs = tree.costs(pair, states);
            for (is_inside, (cost, k)) in
                costs.out.into_iter().map(|c| (false, c)).chain(costs.into.into_iter().map(|c| (true, c)))
            {
                let least = least(k, if is_inside { State::Inside } else { State::Outside });
                let (cost, proven) = (unscaled(cost.value), unscaled(tree.prove(k, is_inside, cost)));
                prop_assert!(cost.is_infinite() || cost <= least * (1.0 + 1e-9) + 1e-12, "{k} {is_inside} {cost} {least}");
                prop_assert!(proven <= least * (1.0 + 1e-15), "{k} {is_inside} {proven} {least}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn counts_rule_out_no_set(plane in planes(7, 3), asked in rules(), node in decisions()) {
        plane.setting().with(question(asked.0.min(plane.rows.len() - 1), asked.1), |case, field| {
            prop_assume!(!case.pairs.is_empty());
            let pair = case.pairs[node.0 % case.pairs.len()];
            let before: Vec<State> = node.1.iter().copied().take(field.len()).collect();
            prop_assume!(before.len() == field.len());
            let mut after = before.clone();
            let tree = Tree::new(field, case, (&case.pairs, false), f64::INFINITY);
            let holds = tree.propagate(&pair, &mut after);
            for set in 0..1u32 << before.len() {
                let inside: Vec<usize> = (0..before.len()).filter(|k| set >> k & 1 == 1).collect();
                if plane.belongs(&pair, case.class, &inside) && Plane::agrees(&before, &inside) {
                    prop_assert!(holds && Plane::agrees(&after, &inside), "{before:?} {after:?} {inside:?}");
                }
            }
            Ok(())
        })?;
    }
}
