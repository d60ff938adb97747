//! From a leaf of the search to an adversarial point: a little beyond the leaf's, in binary64, predicted again.

use crate::certify::probe::{Displacement, Probe, combine_in_ladder};
use crate::certify::scene::Scene;
use crate::certify::vote::case::{Case, votes};
use crate::certify::vote::field::{Field, Weight};
use crate::certify::vote::program::Program;
use crate::certify::vote::tree::Leaf;
use crate::certify::vote::{Kind, is_lost};
use crate::geometry::dot::norm_up;
use crate::geometry::rounding::up;
use crate::search::distance::{length_up, multiply};
use crate::search::embed::Query;
use crate::search::neighbors::nearest_beside;
use std::collections::HashSet;

/// How often a point that is not lost yet is taken further beyond its leaf.
const ATTEMPTS: usize = 8;
/// How much further.
const GROWTH: f64 = 4.0;

/// An adversarial point that was predicted again.
pub struct Witness {
    /// `‖p − z‖`, rounded up: scaled, and in the caller's units.
    pub length: f64,
    pub unscaled_length: f64,
    pub row: Vec<f64>,
    pub rival: usize,
}

impl Case<'_> {
    /// A row of input space as a witness if the vote is lost there, else its neighbours.
    pub fn witness(&self, row: &[f64]) -> Result<Witness, Vec<usize>> {
        let embedded = self.scene.index.embed_queries(row);
        self.witness_at(&embedded.query(0, row), &self.nearest)
    }

    /// The same for a point whose image is known, and K rows that may be its neighbours.
    fn witness_at(&self, point: &Query, near: &[usize]) -> Result<Witness, Vec<usize>> {
        let Scene { index, query, .. } = *self.scene;
        let near = self.neighbours(point, near);
        // Numbers that overflowed have no neighbours.
        if near.len() < self.question.k || !is_lost(self.question.rule, &votes(index, &near), self.class) {
            return Err(near);
        }
        let unscaled_length = length_up(point.row, query.row);
        let length = up(unscaled_length * index.scale());
        let rival = near.iter().copied().find(|&position| index.class_of(position) != self.class);
        Ok(Witness { length, unscaled_length, row: point.row.to_vec(), rival: rival.unwrap_or(near[0]) })
    }

    /// The exact K nearest rows of a point that is a perturbed test point.
    pub(super) fn neighbours(&self, point: &Query, near: &[usize]) -> Vec<usize> {
        let Scene { index, kernels, scores, query, .. } = *self.scene;
        let length = length_up(point.row, query.row);
        if !length.is_finite() {
            return Vec::new();
        }
        // The ladder's distances are by `B`, less its defect: no triangle inequality of the metric is needed.
        let rate = index.embedding().norm + index.embedding().distance_defect();
        let moved = up(up(length * index.scale()) * rate);
        nearest_beside(index, kernels, (scores, query.point, moved), (point, near), self.question.k)
    }

    /// A point in binary64 a little beyond the leaf's, where the vote is lost when it is taken again.
    pub fn finish(&self, field: &mut Field, leaf: &Leaf) -> Option<Witness> {
        let mut growth = 1.0;
        for _ in 0..ATTEMPTS {
            match self.push(field, leaf, growth) {
                Ok(witness) => return Some(witness),
                Err(_) if self.is_overdue() => return None,
                Err(near) if field.add(near.iter().copied()) > 0 => (),
                Err(_) => growth *= GROWTH,
            }
        }
        None
    }

    /// The leaf's program with all rows farther from the threshold, by some times what rounding can take; or rows that
    /// are in its point's way.
    fn push(&self, field: &mut Field, leaf: &Leaf, growth: f64) -> Result<Witness, Vec<usize>> {
        let Scene { index, query, .. } = self.scene;
        let mut program = Program::default();
        program.restart(field, &leaf.active);
        let place = index.place_rounding(query.row)
            + 1e-15 * index.embedding().absolute_norm * norm_up(&field.combine(&weights(&program)).0);
        let required = self.required(field, &program, leaf);
        let (tied, halves) = (tied(field, &required), field.halves.clone());
        // Copies on both sides cannot be taken apart: they stay at the threshold, or else other rows give way.
        let ways = if tied.is_empty() { &[false][..] } else { &[true, false] };
        let mut outcome = Err(Vec::new());
        for &stay in ways {
            let stays = |k: usize| stay && tied.contains(&k);
            let least =
                tied.iter().filter(|&&k| stays(k)).map(|&k| field.margin(k, place)).fold(0.0, f64::max);
            for &(k, inside) in required.iter().filter(|row| !stays(row.0)) {
                let margin = growth * (field.margin(k, place) + least);
                field.halves[k] += if inside { margin } else { -margin };
            }
            program.restart(field, &Default::default());
            program.solve(field, &required, f64::INFINITY);
            field.halves.clone_from(&halves);
            outcome = self.try_point(field, &program);
            // Rows that were not known are looked at before anything else is tried.
            let known = |near: &Vec<usize>| near.iter().all(|&position| field.find(position).is_some());
            if !outcome.as_ref().is_err_and(known) {
                break;
            }
        }
        outcome
    }

    /// The vote at the point that a program's weights give.
    fn try_point(&self, field: &Field, program: &Program) -> Result<Witness, Vec<usize>> {
        let Scene { index, query, .. } = *self.scene;
        let weights = weights(program);
        if !index.metric().is_euclidean() {
            let mut delta = Vec::new();
            multiply(index.embedding().columns(), &field.combine(&weights).0, &mut delta);
            let moved: Vec<f64> = query.row.iter().zip(&delta).map(|(z, x)| z + x / index.scale()).collect();
            return self.witness(&moved);
        }
        let levels = &program.levels;
        let mut near: Vec<usize> = (0..levels.len()).collect();
        near.sort_unstable_by(|&a, &b| levels[a].total_cmp(&levels[b]).then(a.cmp(&b)));
        near.truncate(self.question.k);
        near.iter_mut().for_each(|k| *k = field.entries[*k].position);
        self.witness_at(&self.placed(field, &weights).query(), &near)
    }

    /// The point that weights give, in the Euclidean metric: its image comes from those of the rows.
    pub(super) fn placed(&self, field: &Field, weights: &[Weight]) -> Probe {
        let Scene { index, query, .. } = *self.scene;
        let (mut probe, mut ladder) = (Probe::default(), Vec::new());
        let rows = weights.iter().map(|&(k, weight)| (field.entries[k].position, weight));
        combine_in_ladder(index, std::iter::once((field.origin(), 0.0)).chain(rows), &mut ladder);
        let (input, ladder_error) = (&field.combine(weights).0, field.ladder_error(weights));
        probe.place(index, query, &Displacement { input, ladder: &ladder, ladder_error, image: None });
        probe
    }

    /// Which rows have to be inside or outside at a leaf: the sets that its point suggests.
    fn required(&self, field: &Field, program: &Program, leaf: &Leaf) -> Vec<(usize, bool)> {
        let pair = leaf.pair;
        let kind = |k: usize| self.kind(field, &pair, k);
        let mut side = vec![1; field.len()];
        let active = program.active.rows.iter().zip(&program.active.inside);
        active.for_each(|(&k, &inside)| side[k] = if inside { 0 } else { 2 });
        // Active rows inside come first; of the others the nearest.
        let mut order: Vec<usize> = (0..field.len()).collect();
        order.sort_by(|&a, &b| side[a].cmp(&side[b]).then(program.levels[a].total_cmp(&program.levels[b])));
        let nearest = |wanted: Kind| order.iter().copied().filter(move |&k| kind(k) == wanted);
        let inside = self.first_inside(field, &pair, &order).unwrap_or_default();
        let mut required: Vec<(usize, bool)> = inside.iter().map(|&k| (k, true)).collect();
        required.extend(nearest(Kind::Own).skip(pair.own).map(|k| (k, false)));
        if pair.exact {
            required.extend(nearest(Kind::Third).filter(|k| !inside.contains(k)).map(|k| (k, false)));
        }
        required
    }
}

/// Rows with copies on the other side.
fn tied(field: &Field, required: &[(usize, bool)]) -> HashSet<usize> {
    if !field.index.has_copies() {
        return HashSet::new();
    }
    let side = |wanted: bool| required.iter().filter(move |row| row.1 == wanted).map(|row| row.0);
    let copies = |k: usize| side(false).filter(move |&l| field.are_copies(k, l)).map(move |l| [k, l]);
    side(true).flat_map(copies).flatten().collect()
}

fn weights(program: &Program) -> Vec<Weight> {
    let mut weights = Vec::new();
    program.active.signed(&mut weights);
    weights
}
