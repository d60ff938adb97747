//! Neighbours of perturbed test points: as if they were asked for from scratch.

use super::bounds::wides;
use super::{perturbation, question};
use crate::certify::vote::Rule;
use crate::search::neighbors::nearest_positions;
use proptest::prelude::*;

proptest! {
    #[test]
    fn neighbours_of_a_perturbed_point_are_those_of_the_point(
        wide in wides(),
        k in 1usize..=3,
        weights in prop::collection::vec(-8i32..=8, 8),
        power in -12i32..2,
    ) {
        wide.setting().with(question(k, Rule::Majority), |case, field| {
            let (index, kernels) = (case.scene.index, case.scene.kernels);
            let share = |w: i32| f64::from(w) * 2f64.powi(power);
            let weights: Vec<_> = (0..field.len()).map(|row| (row, share(weights[row]))).collect();
            let delta = perturbation(case, field, &weights);
            let row: Vec<f64> = case.scene.query.row.iter().zip(delta).map(|(z, x)| z + x).collect();
            let embedded = index.embed_queries(&row);
            let guess: Vec<usize> = (0..k).collect();
            let expected = nearest_positions(index, kernels, &row, k);
            prop_assert_eq!(case.neighbours(&embedded.query(0, &row), &guess), expected);
            if index.metric().is_euclidean() {
                let placed = case.placed(field, &weights);
                let expected = nearest_positions(index, kernels, &placed.row, k);
                prop_assert_eq!(case.neighbours(&placed.query(), &case.nearest), expected);
            }
            Ok(())
        })?;
    }
}
