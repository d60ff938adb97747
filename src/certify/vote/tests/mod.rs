//! The search's parts against brute force on a few rows: what they share.

mod bounds;
mod costs;
mod finishes;
mod pairs;
mod plane;
mod programs;
mod trees;

use crate::certify::scene::Scene;
use crate::certify::vote::Rule;
use crate::certify::vote::case::{Case, Method, Question, votes};
use crate::certify::vote::certifier::{possible_pairs, winner};
use crate::certify::vote::field::{Field, Weight};
use crate::geometry::simd::Kernels;
use crate::metric::Metric;
use crate::parallel::{Control, Team};
use crate::search::distance::multiply;
use crate::search::index::{Index, Training};
use crate::search::neighbors::nearest_positions;
use crate::search::scan::Tile;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Instant;

/// Of the nodes that come up most have nothing to test.
fn patient() -> ProptestConfig {
    ProptestConfig { max_global_rejects: 1 << 24, ..ProptestConfig::default() }
}

/// Training rows and a test point.
#[derive(Debug, Clone)]
struct Setting {
    features: usize,
    rows: Vec<f64>,
    codes: Vec<i64>,
    /// `G`; `None`: Euclidean.
    components: Option<Vec<f64>>,
    point: Vec<f64>,
}

fn question(k: usize, rule: Rule) -> Question {
    Question {
        k,
        rule,
        method: Method::Exact,
        beyond: None,
        node_limit: u64::MAX,
        call_node_limit: None,
        max_memory: usize::MAX,
        time_limit: None,
        proof: false,
    }
}

impl Setting {
    fn index(&self) -> Index {
        let metric = match &self.components {
            None => Metric::euclidean(self.features),
            Some(components) => Metric::from_components(self.features, components),
        };
        let classes = self.codes.iter().max().map_or(0, |&c| c as usize + 1);
        let rows = Arc::new(self.rows.clone());
        let training = Training { rows, codes: &self.codes, classes, metric, rotation: None };
        Index::build(training, &Team::new(1).unwrap(), &Control::default()).unwrap()
    }

    /// Does some work with a field of all rows, in the order of the caller's.
    fn with<R>(&self, question: Question, work: impl FnOnce(&Case, &mut Field) -> R) -> R {
        let (index, kernels, control) = (self.index(), Kernels::best(), Control::default());
        let embedded = index.embed_queries(&self.point);
        let query = embedded.query(0, &self.point);
        let mut tile = Tile::default();
        tile.compute(&index, kernels, &embedded.points);
        let nearest = nearest_positions(&index, kernels, &self.point, question.k);
        let class = winner(&votes(&index, &nearest));
        let scores = tile.scores(0);
        let scene = Scene {
            index: &index,
            kernels,
            scores,
            query: &query,
            class: index.class_range(class),
            control: &control,
        };
        let pairs = possible_pairs(&index, question, class);
        let reach = f64::INFINITY;
        let case = Case { scene: &scene, question, class, nearest, reach, pairs, begun: Instant::now() };
        let mut field = Field::new(&index, &query, case.nearest[0]);
        let mut positions: Vec<usize> = (0..index.len()).collect();
        positions.sort_by_key(|&position| index.row_index(position));
        field.add(positions);
        work(&case, &mut field)
    }

    fn row(&self, k: usize) -> &[f64] {
        &self.rows[k * self.features..][..self.features]
    }

    /// `d²(z + δ, x_k)/2` by the definition.
    fn half(&self, k: usize, delta: &[f64]) -> f64 {
        let rows = self.row(k).iter().zip(&self.point).zip(delta);
        let difference: Vec<f64> = rows.map(|((x, z), step)| x - z - step).collect();
        let mut image = difference.clone();
        if let Some(components) = &self.components {
            multiply(components, &difference, &mut image);
        }
        image.iter().map(|x| x * x).sum::<f64>() / 2.0
    }
}

/// The perturbation that weights stand for, in the caller's units.
fn perturbation(case: &Case, field: &Field, weights: &[Weight]) -> Vec<f64> {
    let index = case.scene.index;
    let (row, _) = field.combine(weights);
    let mut delta = row.clone();
    if !index.metric().is_euclidean() {
        multiply(index.embedding().columns(), &row, &mut delta);
    }
    delta.iter().map(|x| x / index.scale()).collect()
}

/// A squared length in the caller's units from one in scaled units.
fn unscaled(case: &Case, square: f64) -> f64 {
    square / case.scene.index.scale().powi(2)
}
