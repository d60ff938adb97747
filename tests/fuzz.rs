//! Arbitrary bytes as matrices, labels and parameters: an error or a valid answer; no panic, no hang, no NaN.

use certimetric::certify::vote::Rule;
use certimetric::certify::vote::case::{Method, Question};
use certimetric::certify::{Points, Radius, Status, Wanted, certify, certify_votes};
use certimetric::error::Error;
use certimetric::geometry::rounding::LARGEST_MAGNITUDE;
use certimetric::metric::Metric;
use certimetric::parallel::{Control, Team};
use certimetric::search::index::{Index, Training};
use certimetric::search::neighbors::{NeighborRequest, kneighbors};
use certimetric::search::pairwise::{pairwise_distances, triplet_radii};
use proptest::prelude::*;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

/// Reads choices and numbers off some bytes; zeros when they are used up.
struct Bytes<'a> {
    rest: &'a [u8],
    last: f64,
}

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }

    /// Small integers, the last number again or the one next to it, magnitudes of all orders, any bits at all.
    fn number(&mut self) -> f64 {
        self.last = match self.below(8) {
            0 | 1 => f64::from(self.byte() as i8 / 32),
            2 => f64::from(self.byte() as i8) / 64.0,
            3 => self.last,
            4 => self.last.next_up(),
            5 => f64::from(self.byte() as i8) * 10f64.powi(i32::from(self.byte() as i8) * 5 / 2),
            6 => self.last * (1.0 + f64::from(self.byte() as i8) * 1e-12),
            _ => f64::from_bits(self.bits()),
        };
        self.last
    }

    fn numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Numbers in the core's range.
    fn valid_numbers(&mut self, count: usize) -> Vec<f64> {
        self.numbers(count).into_iter().map(tame).collect()
    }
}

fn tame(x: f64) -> f64 {
    if x.abs() <= LARGEST_MAGNITUDE { x } else { 1.0 }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |m, x| m.max(x.abs()))
}

/// Everything that the core is asked with.
#[derive(Debug)]
struct Input {
    features: usize,
    classes: usize,
    rows: Vec<f64>,
    codes: Vec<i64>,
    queries: Vec<f64>,
    truth: Option<Vec<i64>>,
    components: Option<Vec<f64>>,
    matrix: Option<Vec<f64>>,
    rotation: Option<Vec<f64>>,
    k: usize,
    question: Question,
}

impl Input {
    fn read(bytes: &[u8]) -> Self {
        let mut bytes = Bytes { rest: bytes, last: 1.0 };
        let features = [1, 2, 3, 4, 70][bytes.below(21).min(20) % 5];
        let (n, m) = (bytes.below(13), 1 + bytes.below(3));
        let classes = bytes.below(5);
        let is_wild = bytes.below(16) == 0;
        let mut rows = bytes.valid_numbers(n * features);
        if is_wild {
            let excess = bytes.below(3) / 2;
            rows = bytes.numbers(n * features + excess);
        }
        let queries = bytes.valid_numbers(m * features);
        let codes = (0..n).map(|_| bytes.below(classes.max(1) + usize::from(is_wild)) as i64).collect();
        let components = (bytes.below(2) == 0).then(|| {
            let p = 1 + bytes.below(4);
            in_range(bytes.valid_numbers(p * features), largest(&rows).max(largest(&queries)))
        });
        let p = components.as_ref().map_or(features, |g| g.len() / features);
        // Components may be those of another matrix: they are a hint then.
        let matrix = components.as_ref().filter(|_| bytes.below(2) == 0).map(|_| {
            let entries = bytes.valid_numbers(features * features);
            symmetric_in_range(&entries, features, largest(&rows).max(largest(&queries)))
        });
        Self {
            rotation: (bytes.below(4) == 0).then(|| bytes.numbers(p * p)),
            truth: (bytes.below(4) == 0).then(|| (0..m).map(|_| bytes.below(6) as i64 - 1).collect()),
            k: bytes.below(n + 3),
            question: question(&mut bytes, n),
            features,
            classes,
            rows,
            codes,
            queries,
            components,
            matrix,
        }
    }

    fn metric(&self) -> Metric {
        match (&self.components, &self.matrix) {
            (None, _) => Metric::euclidean(self.features),
            (Some(g), None) => Metric::from_components(self.features, g),
            (Some(g), Some(m)) => Metric::from_matrix(self.features, m, g),
        }
    }
}

/// Components whose norm times the largest magnitude of the data stays in the core's range.
fn in_range(components: Vec<f64>, largest_value: f64) -> Vec<f64> {
    let bound = largest(&components) * components.len() as f64;
    let factor = (0.5 * LARGEST_MAGNITUDE / largest_value / bound).min(1.0);
    components.into_iter().map(|g| g * factor).collect()
}

/// The same for a symmetric matrix, of any signs, by the upper half of its entries.
fn symmetric_in_range(entries: &[f64], d: usize, largest_value: f64) -> Vec<f64> {
    let bound = largest(entries) * d as f64;
    let factor = ((0.5 * LARGEST_MAGNITUDE / largest_value).powi(2) / bound).min(1.0);
    (0..d * d).map(|at| entries[(at / d).min(at % d) * d + (at / d).max(at % d)] * factor).collect()
}

fn question(bytes: &mut Bytes, n: usize) -> Question {
    Question {
        k: 1 + bytes.below(n.max(1)),
        rule: if bytes.below(2) == 0 { Rule::Majority } else { Rule::Plurality },
        method: [Method::Exact, Method::Exact, Method::Bound, Method::Attack][bytes.below(4)],
        beyond: (bytes.below(3) == 0).then(|| tame(bytes.number().abs())),
        node_limit: [0, 1, 10, 300][bytes.below(4)],
        call_node_limit: [None, Some(0), Some(25)][bytes.below(3)],
        max_memory: [0, 1000, usize::MAX][bytes.below(3)],
        time_limit: (bytes.below(8) == 0).then(|| Duration::from_micros(u64::from(bytes.byte()))),
        proof: true,
    }
}

thread_local! {
    static TEAM: OnceCell<Team> = const { OnceCell::new() };
}

/// Asks everything about one input; panics where a promise is broken.
fn ask(bytes: &[u8]) {
    let input = Input::read(bytes);
    TEAM.with(|team| ask_core(&input, team.get_or_init(|| Team::new(1).unwrap())));
}

fn ask_core(input: &Input, team: &Team) {
    let Input { features, classes, ref rows, ref codes, ref queries, .. } = *input;
    let control = Control::default();
    let (store, rotation) = (Arc::new(rows.clone()), input.rotation.as_deref());
    let training = Training { rows: store, codes, classes, metric: input.metric(), rotation };
    let index = match Index::build(training, team, &control) {
        Ok(index) => index,
        Err(error) => return assert!(is_deserved(&error, input), "{error:?}"),
    };
    check_neighbors(input, &index, team);
    let points =
        Points { queries, codes: input.truth.as_deref(), wanted: Wanted { adversarial: true, proof: true } };
    for radius in certify(&index, points, team, &control).unwrap() {
        check_radius(input, &radius);
    }
    for radius in certify_votes(&index, points, input.question, team, &control).unwrap() {
        check_radius(input, &radius);
    }
    let distances = pairwise_distances(queries, rows, &input.metric(), false, team, &control).unwrap();
    assert!(distances.iter().all(|d| *d >= 0.0), "{distances:?}");
    let m = queries.len().min(rows.len()) / features * features;
    let (z, same, other) = (&queries[..m], &rows[..m], &rows[rows.len() - m..]);
    let (radii, deltas) = triplet_radii(z, same, other, &input.metric(), true, team, &control).unwrap();
    assert!(radii.iter().chain(deltas.iter().flatten()).all(|x| !x.is_nan()), "{radii:?} {deltas:?}");
}

/// Whether the error says what is wrong with the input.
fn is_deserved(error: &Error, input: &Input) -> bool {
    match *error {
        Error::Empty { argument } => argument == "rows" && input.codes.is_empty(),
        Error::Shape { argument, .. } => {
            argument == "rows" && input.rows.len() != input.codes.len() * input.features
        }
        Error::Value { row, .. } => input.rows[row * input.features..][..input.features]
            .iter()
            .any(|x| x.is_nan() || x.abs() > LARGEST_MAGNITUDE),
        Error::Code { row, code } => input.codes[row] == code && code as usize >= input.classes,
        _ => false,
    }
}

fn check_neighbors(input: &Input, index: &Index, team: &Team) {
    for (per_class, squared) in [(false, true), (true, false)] {
        let request = NeighborRequest { k: input.k, per_class, squared };
        match kneighbors(index, &input.queries, request, team, &Control::default()) {
            Ok(found) => {
                assert!(found.distances.iter().all(|d| *d >= 0.0), "{:?}", found.distances);
                let sorted = found.distances.chunks(input.k).all(|group| group.is_sorted());
                assert!(sorted, "{:?}", found.distances);
                for group in found.rows.chunks(input.k) {
                    let mut rows: Vec<i64> = group.iter().copied().filter(|row| *row >= 0).collect();
                    rows.sort_unstable();
                    rows.dedup();
                    assert_eq!(rows.len(), group.iter().filter(|row| **row >= 0).count());
                    assert!(rows.iter().all(|row| (*row as usize) < index.len()));
                }
            }
            Err(error) => {
                assert!(matches!(error, Error::Range { argument: "k", .. }), "{error:?}");
                assert!(input.k == 0 || input.k > index.len(), "{error:?}");
            }
        }
    }
}

fn check_radius(input: &Input, radius: &Radius) {
    assert!(0.0 <= radius.lower && radius.lower <= radius.upper, "{radius:?}");
    assert!(radius.status != Status::Exact || radius.lower.is_finite() == radius.upper.is_finite());
    assert!(radius.predicted >= -1 && radius.predicted < input.classes as i64, "{radius:?}");
    assert!(radius.rival >= -1 && radius.rival < input.codes.len() as i64, "{radius:?}");
    let point = radius.adversarial.as_ref().unwrap();
    assert!(point.len() == input.features && point.iter().all(|x| x.is_finite()), "{radius:?}");
    assert!(radius.seconds >= 0.0);
}

#[test]
fn most_bytes_are_a_training_set_of_several_classes() {
    let mut state = 1u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let inputs: Vec<Vec<u8>> = (0..1000).map(|_| (0..300).map(|_| byte()).collect()).collect();
    let several = inputs.iter().filter(|bytes| {
        let input = Input::read(bytes);
        let valid = input.rows.iter().all(|x| x.abs() <= LARGEST_MAGNITUDE);
        valid && input.codes.iter().any(|&code| code != input.codes[0] && (code as usize) < input.classes)
    });
    assert!(several.count() > 400);
}

/// A metric that its factor leaves the smallest of numbers of.
#[test]
fn a_remainder_whose_squares_underflow_is_valid() {
    ask(&[
        64, 1, 176, 1, 1, 0, 0, 55, 0, 0, 0, 0, 0, 0, 0, 0, 107, 139, 43, 43, 37, 0, 0, 160, 32, 0, 156, 180,
        171, 64, 225, 188, 103, 95, 20, 0, 0, 0, 0, 0, 0, 88, 0, 179, 165, 1, 171,
    ]);
}

/// Rows whose squares underflow, by weights that are as large as the rows are small.
#[test]
fn an_interval_of_tiny_rows_is_in_order() {
    ask(&[
        115, 133, 10, 193, 1, 7, 31, 29, 43, 38, 115, 14, 63, 0, 30, 199, 168, 0, 16, 0, 202, 193, 176, 0,
        47, 151, 72, 30, 0, 1, 0, 15, 0, 144, 4, 1, 0, 25,
    ]);
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn any_bytes_give_an_error_or_a_valid_answer(bytes in any_bytes()) {
        ask(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000_000))]
    #[test]
    #[ignore = "takes many minutes"]
    fn a_million_times_any_bytes_give_an_error_or_a_valid_answer(bytes in any_bytes()) {
        ask(&bytes);
    }
}
