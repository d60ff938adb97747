//! The search against all sets of rows that may be inside.

use super::plane::{Plane, planes};
use super::{question, unscaled};
use crate::certify::vote::case::{Case, Question};
use crate::certify::vote::field::Field;
use crate::certify::vote::tree::{End, Tree};
use crate::certify::vote::{Rule, is_lost};
use proptest::prelude::*;
use std::time::Duration;

/// The square of the least norm at which some set of `k` nearest rows loses the vote.
fn least(plane: &Plane, case: &Case) -> f64 {
    let Question { k, rule, .. } = case.question;
    plane.least_over(|set| {
        let mut votes = vec![0; plane.codes.iter().max().map_or(0, |c| c + 1)];
        set.iter().for_each(|&row| votes[plane.codes[row]] += 1);
        set.len() == k && is_lost(rule, &votes, case.class)
    })
}

/// Squares of radii that are no more than ten times as large as the data: beyond, rows are nearly in line and rounding
/// leaves a gap.
const ORDINARY: f64 = 1e4;

/// What no search needs to look beyond.
fn far(case: &Case) -> f64 {
    (1e4 * case.scene.query.norm.max(1.0)).powi(2)
}

fn asked() -> impl Strategy<Value = (usize, Rule)> {
    (1usize..=5, prop::sample::select(vec![Rule::Plurality, Rule::Majority]))
}

fn with(
    plane: &Plane,
    (k, rule): (usize, Rule),
    max_memory: usize,
    check: impl FnOnce(&Case, &mut Field, f64) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let question = Question { max_memory, ..question(k.min(plane.rows.len() - 1), rule) };
    plane.setting().with(question, |case, field| {
        prop_assume!(!case.pairs.is_empty());
        check(case, field, least(plane, case))
    })
}

/// Nodes before a search is shared out.
fn alone() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 5, u64::MAX / 2])
}

proptest! {
    #![proptest_config(super::patient())]

    #[test]
    fn a_search_ends_at_the_least_over_all_sets(plane in planes(7, 3), asked in asked(), memory in prop::sample::select(vec![0, 2000, usize::MAX]), dived: bool, alone in alone()) {
        with(&plane, asked, memory, |case, field, least| {
            let target = far(case);
            let mut tree = Tree::new(field, case, (&case.pairs, false), target);
            tree.alone = alone;
            if dived {
                tree.compare_with_class();
                tree.attack();
            }
            let end = tree.run(u64::MAX);
            let proven = tree.lower();
            prop_assert_eq!(end, End::Complete);
            let (proven, best) = (unscaled(case, proven), tree.best.map(|leaf| unscaled(case, leaf.value)));
            prop_assert!(proven <= least, "{proven} {least}");
            if least.is_finite() {
                prop_assert!(least > ORDINARY || proven >= least * (1.0 - 1e-9), "{proven} {least}");
                prop_assert!(least > ORDINARY || (best.unwrap() - least).abs() <= 1e-9 * (1.0 + least));
            } else {
                // Infeasible as it is, that is proven as far as rounding allows.
                prop_assert!(best.is_none() && proven >= ORDINARY.min(unscaled(case, target)), "{proven}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn whenever_a_search_stops_its_bound_holds(plane in planes(7, 3), asked in asked(), memory in prop::sample::select(vec![0, usize::MAX]), nodes in 0u64..60, alone in alone()) {
        with(&plane, asked, memory, |case, field, least| {
            let mut tree = Tree::new(field, case, (&case.pairs, false), far(case));
            tree.alone = alone;
            let end = tree.run(nodes);
            let proven = tree.lower();
            prop_assert!(tree.nodes <= nodes);
            prop_assert!(unscaled(case, proven) <= least);
            prop_assert!(end != End::Complete || least > ORDINARY || unscaled(case, proven) >= least * (1.0 - 1e-9));
            Ok(())
        })?;
    }

    #[test]
    fn a_search_that_stops_has_done_all_nodes_it_may(plane in planes(40, 2), k in 5usize..=15, alone in alone(), nodes in 16u64..200) {
        // Were it to wait for lanes without nodes, time would end it.
        let patience = Some(Duration::from_secs(10));
        let question = Question { time_limit: patience, ..question(k.min(plane.rows.len() - 1), Rule::Majority) };
        plane.setting().with(question, |case, field| {
            let mut tree = Tree::new(field, case, (&case.pairs, false), far(case));
            tree.alone = alone;
            let end = tree.run(nodes);
            prop_assert!(end == End::Complete || tree.nodes == nodes, "{end:?} {}", tree.nodes);
            Ok(())
        })?;
    }

    #[test]
    fn a_search_below_a_target_proves_it_or_finds_less(plane in planes(7, 3), asked in asked(), share in 0.3..1.7f64) {
        with(&plane, asked, usize::MAX, |case, field, least| {
            prop_assume!(0.0 < least && least <= ORDINARY && (share - 1.0).abs() > 1e-6);
            let target = share * least * case.scene.index.scale().powi(2);
            let mut tree = Tree::new(field, case, (&case.pairs, false), target);
            tree.run(u64::MAX);
            let proven = tree.lower();
            prop_assert_eq!(tree.best.is_some(), share > 1.0);
            let expected = share.min(1.0) * least;
            let proven = unscaled(case, proven);
            prop_assert!((proven - expected).abs() <= 1e-9 * expected, "{proven} {expected}");
            Ok(())
        })?;
    }

    #[test]
    fn witnesses_lose_the_vote_hardly_beyond_the_least(plane in planes(7, 3), asked in asked(), alone in alone()) {
        with(&plane, asked, usize::MAX, |case, field, least| {
            let mut tree = Tree::new(field, case, (&case.pairs, true), far(case));
            tree.alone = alone;
            tree.run(u64::MAX);
            let proven = tree.lower();
            prop_assert!(unscaled(case, proven) <= least);
            if let Some(witness) = tree.witness {
                prop_assert!(witness.unscaled_length.powi(2) >= least * (1.0 - 1e-15));
                prop_assert!(case.witness(&witness.row).is_ok());
            }
            Ok(())
        })?;
    }
}
