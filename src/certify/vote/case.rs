//! One test point and what is asked about it: which points are adversarial, and how a leaf of the search becomes one.

use crate::certify::scene::Scene;
use crate::certify::vote::field::Field;
use crate::certify::vote::program::Program;
use crate::certify::vote::tree::Leaf;
use crate::certify::vote::{Kind, Pair, Rule, is_lost};
use crate::geometry::dot::norm_up;
use crate::geometry::rounding::up;
use crate::search::distance::{length_up, multiply};
use crate::search::index::Index;
use crate::search::neighbors::nearest_positions;
use std::time::{Duration, Instant};

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The radius, by branch and bound.
    Exact,
    /// A lower end only: the root of the search, the published order-statistic bound over triplets.
    Bound,
    /// An upper end only.
    Attack,
}

/// What is asked about every test point.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub k: usize,
    pub rule: Rule,
    pub method: Method,
    /// Only whether the radius is above this, in the caller's units.
    pub beyond: Option<f64>,
    pub node_limit: u64,
    /// Bytes of open nodes beyond which the search goes depth first.
    pub max_memory: usize,
    pub time_limit: Option<Duration>,
    /// Whether to say what proves the lower end.
    pub proof: bool,
}

/// What a point may take beyond its time limit for its first adversarial point.
const GRACE: Duration = Duration::from_millis(200);
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

/// One test point and what is asked about it.
pub struct Case<'a> {
    pub scene: &'a Scene<'a>,
    pub question: Question,
    pub class: usize,
    /// The K nearest rows, and an upper bound on the distance of the last.
    pub nearest: Vec<usize>,
    pub reach: f64,
    pub pairs: Vec<Pair>,
    pub begun: Instant,
}

/// The votes of some rows, by class.
#[must_use]
pub fn votes(index: &Index, positions: &[usize]) -> Vec<usize> {
    let mut votes = vec![0; index.classes()];
    positions.iter().for_each(|&position| votes[index.class_of(position)] += 1);
    votes
}

impl Case<'_> {
    /// Whether the point's time is up, or the call's.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late_by(Duration::ZERO)
    }

    /// Whether not even a first adversarial point is to be waited for any longer.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.is_late_by(GRACE)
    }

    fn is_late_by(&self, time: Duration) -> bool {
        let limit = self.question.time_limit.map(|limit| limit.saturating_add(time));
        self.scene.control.must_stop() || limit.is_some_and(|limit| self.begun.elapsed() >= limit)
    }

    /// How a row of the field relates to a pair.
    #[must_use]
    pub fn kind(&self, field: &Field, pair: &Pair, k: usize) -> Kind {
        match field.entries[k].class {
            class if class as usize == self.class => Kind::Own,
            class if pair.rival.is_none_or(|m| m == class) => Kind::Rival,
            _ => Kind::Third,
        }
    }

    /// The rows of other classes that a pair needs inside: the first ones in some order that its counts allow.
    #[must_use]
    pub fn first_inside(&self, field: &Field, pair: &Pair, order: &[usize]) -> Option<Vec<usize>> {
        let is = |kind: Kind| move |k: &usize| self.kind(field, pair, *k) == kind;
        let mut chosen: Vec<usize> =
            order.iter().copied().filter(is(Kind::Rival)).take(pair.rivals).collect();
        if chosen.len() < pair.rivals {
            return None;
        }
        // The first rivals are chosen already; thirds and further rivals come in their order.
        let mut seen = [0; 3];
        for &k in order {
            let kind = self.kind(field, pair, k);
            seen[kind as usize] += 1;
            let takes = match kind {
                Kind::Own => false,
                Kind::Rival => seen[1] > pair.rivals,
                Kind::Third => seen[2] <= pair.thirds,
            };
            if takes && chosen.len() < pair.others {
                chosen.push(k);
            }
        }
        (chosen.len() >= pair.others).then_some(chosen)
    }

    /// Rows of the class in the field, nearest first.
    #[must_use]
    pub fn nearest_own(&self, field: &Field, most: usize) -> Vec<usize> {
        let is_own = |&k: &usize| field.entries[k].class as usize == self.class;
        let mut rows: Vec<usize> = (0..field.len()).filter(is_own).collect();
        rows.sort_by(|&a, &b| field.halves[a].total_cmp(&field.halves[b]).then(a.cmp(&b)));
        rows.truncate(most);
        rows
    }

    /// The point as a witness if the vote is lost there, else its neighbours.
    pub fn witness(&self, row: Vec<f64>) -> Result<Witness, Vec<usize>> {
        let Scene { index, kernels, query, .. } = self.scene;
        let near = nearest_positions(index, kernels, &row, self.question.k);
        // Numbers that overflowed have no neighbours.
        if near.len() < self.question.k || !is_lost(self.question.rule, &votes(index, &near), self.class) {
            return Err(near);
        }
        let unscaled_length = length_up(&row, query.row);
        let length = up(unscaled_length * index.scale());
        let rival = near.iter().copied().find(|&position| index.class_of(position) != self.class);
        Ok(Witness { length, unscaled_length, row, rival: rival.unwrap_or(near[0]) })
    }

    /// A point in binary64 a little beyond the leaf's, where the vote is lost when it is taken again.
    pub fn finish(&self, field: &mut Field, leaf: &Leaf) -> Option<Witness> {
        let Scene { index, query, .. } = self.scene;
        let mut program = Program::default();
        let mut growth = 1.0;
        for _ in 0..ATTEMPTS {
            program.restart(field, &leaf.active);
            let place = index.place_rounding(query.row)
                + 1e-15 * index.embedding().absolute_norm * norm_up(&self.combined(field, &program).0);
            let required = self.required(field, &program, leaf);
            let halves = field.halves.clone();
            for &(k, inside) in &required {
                let margin = growth * field.margin(k, place);
                field.halves[k] += if inside { margin } else { -margin };
            }
            program.restart(field, &Default::default());
            program.solve(field, &required, f64::INFINITY);
            field.halves = halves;
            let (row, _) = self.combined(field, &program);
            let mut delta = Vec::new();
            if index.metric().is_euclidean() {
                delta = row;
            } else {
                multiply(index.embedding().columns(), &row, &mut delta);
            }
            let moved: Vec<f64> = query.row.iter().zip(&delta).map(|(z, x)| z + x / index.scale()).collect();
            match self.witness(moved) {
                Ok(witness) => return Some(witness),
                Err(near) => {
                    if field.add(near) > 0 {
                        continue;
                    }
                }
            }
            growth *= GROWTH;
        }
        None
    }

    fn combined(&self, field: &Field, program: &Program) -> (Vec<f64>, Vec<f64>) {
        let mut weights = Vec::new();
        program.active.signed(&mut weights);
        field.combine(&weights)
    }

    /// Which rows have to be inside or outside at a leaf: the sets that its point suggests.
    fn required(&self, field: &Field, program: &Program, leaf: &Leaf) -> Vec<(usize, bool)> {
        let pair = leaf.pair;
        let kind = |k: usize| self.kind(field, &pair, k);
        let active = |k: usize, inside: bool| {
            program.active.rows.iter().zip(&program.active.inside).any(|(&row, &i)| row == k && i == inside)
        };
        let mut order: Vec<usize> = (0..field.len()).collect();
        let rank = |k: usize| (active(k, false), !active(k, true));
        order.sort_by(|&a, &b| rank(a).cmp(&rank(b)).then(program.levels[a].total_cmp(&program.levels[b])));
        // Active rows inside come first; of the others the nearest.
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
