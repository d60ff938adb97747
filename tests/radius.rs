//! Promises of the core's public calls, against brute force.

use certimetric::certify::{Points, Radius, Status, Wanted, certify};
use certimetric::metric::Metric;
use certimetric::parallel::{Control, Team};
use certimetric::search::index::{Index, Training};
use certimetric::search::neighbors::{NeighborRequest, kneighbors};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn index(rows: &[f64], codes: &[i64], metric: Metric) -> Index {
    let classes = codes.iter().max().map_or(0, |&c| c as usize + 1);
    let training = Training { rows: Arc::new(rows.to_vec()), codes, classes, metric, rotation: None };
    Index::build(training, &Team::new(1).unwrap(), &Control::default()).unwrap()
}

fn radii(index: &Index, queries: &[f64], jobs: usize) -> Vec<Radius> {
    let points = Points { queries, codes: None, wanted: Wanted { adversarial: true, proof: false } };
    certify(index, points, &Team::new(jobs).unwrap(), &Control::default()).unwrap()
}

/// Nearest row on a line, ties to the lowest index.
fn label(rows: &[i64], codes: &[i64], doubled: i64) -> i64 {
    let nearest = (0..rows.len()).min_by_key(|&i| ((2 * rows[i] - doubled).abs(), i)).unwrap();
    codes[nearest]
}

/// On a line every boundary is a midpoint: the radius is found by looking just beyond each of them.
fn radius_on_a_line(rows: &[i64], codes: &[i64], z: i64) -> Option<f64> {
    // In units of 1/4, so that points next to midpoints are integers too.
    let rows: Vec<i64> = rows.iter().map(|x| 4 * x).collect();
    let class = label(&rows, codes, 8 * z);
    let reach = rows.iter().map(|x| (x - 4 * z).abs()).max().unwrap_or(0) + 1;
    (0..=reach)
        .find(|&step| {
            [4 * z + step, 4 * z - step].iter().any(|p| {
                // A boundary point counts when its other side does: the radius is an infimum.
                [0, 1, -1].iter().any(|side| label(&rows, codes, 2 * p + side) != class)
            })
        })
        .map(|step| step as f64 / 4.0)
}

proptest! {
    #[test]
    fn interval_holds_the_radius_on_a_line(
        points in prop::collection::vec((-6i64..6, 0i64..3), 1..9), z in -8i64..8,
    ) {
        let (values, codes): (Vec<i64>, Vec<i64>) = points.into_iter().unzip();
        let rows: Vec<f64> = values.iter().map(|&x| x as f64).collect();
        let found = &radii(&index(&rows, &codes, Metric::euclidean(1)), &[z as f64], 1)[0];
        match radius_on_a_line(&values, &codes, z) {
            None => prop_assert!(found.lower.is_infinite() && found.status == Status::Exact),
            Some(radius) => {
                prop_assert!(found.lower <= radius && radius <= found.upper, "{radius} {found:?}");
                prop_assert_eq!(found.status, Status::Exact);
            }
        }
    }

    #[test]
    fn parallel_equals_serial_and_one_at_a_time(
        values in prop::collection::vec(-1.0..1.0f64, 3 * 120), codes in prop::collection::vec(0i64..3, 100),
    ) {
        let index = index(&values[..300], &codes, Metric::from_components(3, &[1.0, 0.2, 0.0, 0.0, 0.7, 0.1]));
        let queries = &values[300..];
        let together = radii(&index, queries, 3);
        for (i, query) in queries.chunks(3).enumerate() {
            let alone = &radii(&index, query, 1)[0];
            prop_assert_eq!(alone.lower.to_bits(), together[i].lower.to_bits());
            prop_assert_eq!(alone.upper.to_bits(), together[i].upper.to_bits());
            prop_assert_eq!(&alone.adversarial, &together[i].adversarial);
        }
    }

    #[test]
    fn adversarial_point_is_given_another_class(
        values in prop::collection::vec(-1.0..1.0f64, 70 * 50), codes in prop::collection::vec(0i64..2, 45),
    ) {
        let index = index(&values[..70 * 45], &codes, Metric::euclidean(70));
        for radius in radii(&index, &values[70 * 45..], 2) {
            prop_assume!(radius.upper.is_finite());
            let request = NeighborRequest { k: 1, per_class: false, squared: false };
            let point = radius.adversarial.unwrap();
            let near = kneighbors(&index, &point, request, &Team::new(1).unwrap(), &Control::default()).unwrap();
            prop_assert_ne!(codes[near.rows[0] as usize], radius.predicted);
            // As wide as binary64 points resolve the boundary: a radius may be tiny beside the distances.
            prop_assert_eq!(radius.status, Status::Exact);
        }
    }
}

#[test]
fn a_query_far_outside_the_data_gets_a_valid_interval() {
    let index = index(&[0.0, 1e-300, 3e-300, 7e-300], &[0, 0, 1, 1], Metric::euclidean(1));
    for radius in radii(&index, &[1e150, 0.5e-300, 2.9e-300, -1e-10], 1) {
        assert!(radius.lower <= radius.upper && !radius.lower.is_nan());
    }
    let near = &radii(&index, &[0.5e-300], 1)[0];
    assert!(near.lower <= 1.5e-300 && near.upper >= 1.5e-300 && near.upper <= 1.500_001e-300);
}

#[test]
fn after_the_time_limit_points_are_unfinished() {
    let index = index(&[0.0, 1.0], &[0, 1], Metric::euclidean(1));
    let control = Control::new(Some(Duration::ZERO));
    let points = Points { queries: &[0.2], codes: None, wanted: Wanted::default() };
    let radius = &certify(&index, points, &Team::new(1).unwrap(), &control).unwrap()[0];
    assert_eq!((radius.status, radius.lower, radius.upper), (Status::Unfinished, 0.0, f64::INFINITY));
}
