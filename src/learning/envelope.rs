//! A mean loss of signed radii, and its gradient with respect to the metric and to the points.
//!
//! A [radius](crate::learning::radius) is the value of a program, so by the envelope theorem its derivative is that of
//! the formula with the weights held. With `c = 1 / ‖M Σ λ_i (x_j − x_i)‖` and the closest adversarial point
//! `q = z + s c M Σ λ_i (x_j − x_i)`, where the rival and the points with weights are equally near,
//!
//! ```text
//! ∂s/∂x_j = c M (x_j − q),     ∂s/∂x_i = −λ_i c M (x_i − q),
//! ∂s/∂G = c G ((x_j − q)(x_j − q)ᵀ − Σ λ_i (x_i − q)(x_i − q)ᵀ).
//! ```

use crate::error::Result;
use crate::geometry::dot::{axpy, squared_norm};
use crate::geometry::matrix::product_nt_fast;
use crate::learning::outer::add_product_tn;
use crate::learning::radius::{Found, Near, Seeker, Support};
use crate::learning::reference::{Labelled, Reference};
use crate::parallel::{Control, Team};
use std::ops::Range;

/// Anchors of a block, so that products are of matrices.
const BLOCK: usize = 64;
/// Parts of the work: fixed, so that the answer does not depend on the number of threads.
const PARTS: usize = 16;

/// What a radius `s` is worth: the loss is `−∫ w` with `w = 1` below 0, `exp(−s/T)` above, and nothing outside
/// `−low … cap`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    pub low: f64,
    pub cap: f64,
    /// `T`; infinity: all radii count alike, and the loss is an area under the curve of certified accuracy.
    pub decay: f64,
}

impl Worth {
    /// Loss and weight `−dloss/ds`.
    #[must_use]
    pub fn at(self, s: f64) -> (f64, f64) {
        let within = s.clamp(-self.low, self.cap);
        let fade = if self.decay.is_finite() { -within.max(0.0) / self.decay } else { 0.0 };
        let above = if self.decay.is_finite() { -self.decay * fade.exp_m1() } else { within };
        let loss = -if within > 0.0 { above } else { within };
        (loss, if s > -self.low && s < self.cap { fade.exp() } else { 0.0 })
    }
}

/// What is measured against the points.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    pub labelled: Labelled<'a>,
    /// For each anchor the point that it is itself and is left out, −1 for none.
    pub itself: Option<&'a [i64]>,
    /// So many nearest points of its class, and as many of the others, are all that an anchor is measured against.
    pub nearest: usize,
}

/// What is to be differentiated by.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub components: bool,
    pub points: bool,
}

/// The mean loss, its gradients, and the radii: no more than the cap, and NaN for anchors that do not count because
/// they have no point of their class or the points that decide coincide in the metric.
#[derive(Debug, Clone)]
pub struct Objective {
    pub loss: f64,
    pub radii: Vec<f64>,
    /// `(p, d)`.
    pub components: Option<Vec<f64>>,
    /// Like the points.
    pub points: Option<Vec<f64>>,
}

/// Evaluates the loss. Cost: `m n p` for distances, `(n + m) d²` for a gradient with respect to `G`, and for each anchor
/// a few programs of `n d` or less. Memory: `PARTS` matrices of `d²`.
pub fn objective(
    points: Labelled,
    components: Option<&[f64]>,
    anchors: Anchors,
    worth: Worth,
    wanted: Wanted,
    team: &Team,
    control: &Control,
) -> Result<Objective> {
    let reference = Reference::new(points, components, team, control)?;
    let found = seek(&reference, anchors, worth.cap, team, control)?;
    let centred = reference.centre(anchors.labelled.rows);
    let counted = found.iter().filter(|f| **f != Found::Nothing).count();
    let mut sums = Sums::new(&reference, wanted);
    let (mut loss, mut radii) = (0.0, Vec::with_capacity(found.len()));
    for (found, anchor) in found.iter().zip(centred.chunks_exact(points.features)) {
        let radius = match found {
            Found::Nothing => f64::NAN,
            Found::Beyond => worth.cap,
            Found::At(support) => support.radius.min(worth.cap),
        };
        radii.push(radius);
        if radius.is_nan() {
            continue;
        }
        let (value, weight) = worth.at(radius);
        loss += value / counted as f64;
        if let Found::At(support) = found
            && weight > 0.0
        {
            sums.add(anchor, support, -weight / counted as f64);
        }
    }
    let points = if wanted.points { Some(sums.by_points(team, control)?) } else { None };
    let components = if wanted.components { sums.by_components(team, control)? } else { None };
    Ok(Objective { loss, radii, components, points })
}

/// What is known of every anchor's radius.
fn seek(
    reference: &Reference,
    anchors: Anchors,
    cap: f64,
    team: &Team,
    control: &Control,
) -> Result<Vec<Found>> {
    let count = anchors.labelled.codes.len();
    let mut all = vec![Found::Nothing; count];
    control.expect(count);
    team.for_chunks(
        count,
        BLOCK,
        control,
        || (Seeker::new(reference), Near::default(), Vec::new()),
        |(seeker, near, squares), range| {
            let images = anchors.images(reference, &range, squares);
            let mut found = Vec::with_capacity(range.len());
            for (at, image) in images.chunks_exact(reference.dimensions()).enumerate() {
                if control.is_interrupted() {
                    break;
                }
                let line = &squares[at * reference.codes.len()..][..reference.codes.len()];
                anchors.gather(reference, range.start + at, image, line, near);
                found.push(seeker.seek(image, near, cap));
            }
            control.advance(range.len());
            found
        },
        |range, found: Vec<Found>| {
            all[range].iter_mut().zip(found).for_each(|(all, found)| *all = found);
        },
    )?;
    Ok(all)
}

impl Anchors<'_> {
    /// Images of a block, and its squared distances to all points.
    fn images(&self, reference: &Reference, block: &Range<usize>, squares: &mut Vec<f64>) -> Vec<f64> {
        let (d, p, n) = (reference.features, reference.dimensions(), reference.codes.len());
        let rows = &self.labelled.rows[block.start * d..block.end * d];
        let images = reference.embed(reference.centre(rows));
        squares.clear();
        squares.resize(block.len() * n, 0.0);
        product_nt_fast(&images, reference.all_images(), p, squares);
        for (image, line) in images.chunks_exact(p).zip(squares.chunks_exact_mut(n)) {
            let own = squared_norm(image);
            let pairs = line.iter_mut().zip(&reference.squares);
            pairs.for_each(|(product, square)| *product = (own + square - 2.0 * *product).max(0.0));
        }
        images
    }

    /// The points that one anchor is measured against, of which `line` has the squared distances.
    fn gather(&self, reference: &Reference, anchor: usize, image: &[f64], line: &[f64], near: &mut Near) {
        let itself = self.itself.map_or(-1, |itself| itself[anchor]);
        near.reset(self.labelled.codes[anchor], image);
        for (point, (&square, &code)) in line.iter().zip(reference.codes).enumerate() {
            if point as i64 != itself {
                near.put(code, square, point);
            }
        }
        near.keep(self.nearest);
    }
}

/// Sums over the anchors, in their order: `Σ a_k x_k x_kᵀ` and `Σ (v qᵀ + q vᵀ)` for the metric, `Σ a (x_k − q)` for the
/// points. For, with weights that add up to zero, `Σ a_k (x_k − q)(x_k − q)ᵀ = Σ a_k x_k x_kᵀ − v qᵀ − q vᵀ`, `v = Σ a_k x_k`.
struct Sums<'a> {
    reference: &'a Reference<'a>,
    wanted: Wanted,
    shares: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
    pulls: Vec<f64>,
}

impl<'a> Sums<'a> {
    fn new(reference: &'a Reference<'a>, wanted: Wanted) -> Self {
        let n = reference.codes.len();
        let pulls = vec![0.0; if wanted.points { n * reference.features } else { 0 }];
        Self { reference, wanted, shares: vec![0.0; n], left: Vec::new(), right: Vec::new(), pulls }
    }

    /// Adds the derivative of one radius, times `slope`.
    fn add(&mut self, anchor: &[f64], support: &Support, slope: f64) {
        let (reference, d) = (self.reference, self.reference.features);
        let signed = || {
            let own = support.own.iter().map(|&(point, weight)| (point, -weight));
            std::iter::once((support.rival, 1.0)).chain(own)
        };
        let steepness = slope / support.length;
        let mut place = anchor.to_vec();
        for (point, sign) in signed() {
            axpy(&mut place, support.radius / support.length * sign, reference.dual(point));
        }
        if self.wanted.points {
            for (point, sign) in signed() {
                let pull = &mut self.pulls[point * d..][..d];
                let terms = reference.point(point).iter().zip(&place);
                pull.iter_mut().zip(terms).for_each(|(pull, (x, q))| *pull += steepness * sign * (x - q));
            }
        }
        if self.wanted.components {
            let start = self.left.len();
            self.left.resize(start + d, 0.0);
            for (point, sign) in signed() {
                self.shares[point] += steepness * sign;
                axpy(&mut self.left[start..], steepness * sign, reference.point(point));
            }
            // Both orders of the product come of making it symmetric.
            self.right.extend(place.iter().map(|q| -2.0 * q));
        }
    }

    fn by_points(&mut self, team: &Team, control: &Control) -> Result<Vec<f64>> {
        self.reference.dual_rows(std::mem::take(&mut self.pulls), team, control)
    }

    fn by_components(&mut self, team: &Team, control: &Control) -> Result<Option<Vec<f64>>> {
        let (reference, d) = (self.reference, self.reference.features);
        for (point, &share) in self.shares.iter().enumerate().filter(|(_, share)| **share != 0.0) {
            self.left.extend_from_slice(reference.point(point));
            self.right.extend(reference.point(point).iter().map(|x| share * x));
        }
        let outer = outer_products(&self.left, &self.right, d, team, control)?;
        let mut symmetric = vec![0.0; d * d];
        for a in 0..d {
            for b in 0..d {
                symmetric[a * d + b] = (outer[a * d + b] + outer[b * d + a]) / 2.0;
            }
        }
        Ok(reference.times(&symmetric))
    }
}

/// `AᵀB` for row-major `A`, `B` of `d` columns.
fn outer_products(a: &[f64], b: &[f64], d: usize, team: &Team, control: &Control) -> Result<Vec<f64>> {
    let count = a.len() / d;
    let share = count.div_ceil(PARTS).max(BLOCK);
    let mut parts: Vec<Vec<f64>> = vec![Vec::new(); count.div_ceil(share)];
    team.for_chunks(
        count,
        share,
        control,
        || (),
        |(), range| {
            let mut sum = vec![0.0; d * d];
            let part = range.start * d..range.end * d;
            add_product_tn(&a[part.clone()], d, &b[part], d, &mut sum);
            sum
        },
        |range, sum: Vec<f64>| parts[range.start / share] = sum,
    )?;
    let mut total = vec![0.0; d * d];
    parts.iter().for_each(|part| axpy(&mut total, 1.0, part));
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODES: [i64; 12] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
    const AREA: Worth = Worth { low: f64::INFINITY, cap: f64::INFINITY, decay: f64::INFINITY };
    const BOTH: Wanted = Wanted { components: true, points: true };

    fn labelled(rows: &[f64]) -> Labelled<'_> {
        Labelled { rows, codes: &CODES[..rows.len() / 3], features: 3 }
    }

    fn mean(points: &[f64], g: &[f64], anchors: Anchors, worth: Worth, jobs: usize) -> Objective {
        let team = Team::new(jobs).unwrap();
        objective(labelled(points), Some(g), anchors, worth, BOTH, &team, &Control::default()).unwrap()
    }

    fn everything(rows: &[f64]) -> Anchors<'_> {
        Anchors { labelled: labelled(rows), itself: None, nearest: usize::MAX }
    }

    /// The bits of all that comes back.
    fn bits(found: Objective) -> Vec<u64> {
        let all = [vec![found.loss], found.radii, found.components.unwrap(), found.points.unwrap()].concat();
        all.iter().map(|x| x.to_bits()).collect()
    }

    prop_compose! {
        fn numbers(count: usize)(values in prop::collection::vec(-1.0..1.0f64, count)) -> Vec<f64> { values }
    }

    proptest! {
        #[test]
        fn gradients_are_those_of_finite_differences(
            points in numbers(36), z in numbers(12), g in numbers(6), entry in 0usize..6, place in 0usize..36,
            decay in prop::option::of(0.1..1.0f64),
        ) {
            let worth = Worth { decay: decay.unwrap_or(f64::INFINITY), ..AREA };
            let here = mean(&points, &g, everything(&z), worth, 1);
            prop_assume!(here.radii.iter().all(|r| r.abs() < 5.0));
            let step = 1e-6;
            let moved = |values: &[f64], at: usize, by: f64| {
                let mut values = values.to_vec();
                values[at] += by;
                values
            };
            let by_g = [step, -step].map(|h| mean(&points, &moved(&g, entry, h), everything(&z), worth, 1));
            let by_x = [step, -step].map(|h| mean(&moved(&points, place, h), &g, everything(&z), worth, 1));
            let claims = [here.components.unwrap()[entry], here.points.unwrap()[place]];
            for ([up, down], claim) in [by_g, by_x].into_iter().zip(claims) {
                let slopes = [(up.loss - here.loss) / step, (here.loss - down.loss) / step];
                // Away from the kinks, where the slopes on both sides differ.
                prop_assume!((slopes[0] - slopes[1]).abs() < 1e-3 * (1.0 + claim.abs()));
                prop_assert!(((slopes[0] + slopes[1]) / 2.0 - claim).abs() < 1e-3 * (1.0 + claim.abs()), "{slopes:?} {claim}");
            }
        }

        #[test]
        fn a_point_left_out_is_as_if_it_were_not_there(points in numbers(36), g in numbers(9)) {
            let itself: Vec<i64> = (0..12).collect();
            let out = mean(&points, &g, Anchors { itself: Some(&itself), ..everything(&points) }, AREA, 1);
            for (i, radius) in out.radii.iter().enumerate() {
                let (rest, codes) = ([&points[..3 * i], &points[3 * i + 3..]].concat(), [&CODES[..i], &CODES[i + 1..]].concat());
                let rest = Labelled { rows: &rest, codes: &codes, features: 3 };
                let alone = Labelled { rows: &points[3 * i..3 * i + 3], codes: &CODES[i..=i], features: 3 };
                let alone = Anchors { labelled: alone, ..everything(&[]) };
                let found = objective(rest, Some(&g), alone, AREA, BOTH, &Team::new(1).unwrap(), &Control::default()).unwrap();
                prop_assert!((found.radii[0] - radius).abs() < 1e-9 * (1.0 + radius.abs()));
            }
        }

        #[test]
        fn only_the_nearest_of_each_kind_count(points in numbers(36), z in numbers(3), g in numbers(9), nearest in 1usize..6) {
            let near = mean(&points, &g, Anchors { nearest, ..everything(&z) }, AREA, 1);
            let reference = Reference::new(labelled(&points), Some(&g), &Team::new(1).unwrap(), &Control::default()).unwrap();
            let image = reference.embed(reference.centre(&z));
            let mut order: Vec<usize> = (0..12).collect();
            let square = |k: usize| -> f64 { reference.image(k).iter().zip(&image).map(|(x, z)| (x - z) * (x - z)).sum() };
            order.sort_by(|&a, &b| square(a).total_cmp(&square(b)));
            let is_own = |k: usize| CODES[k] == CODES[0];
            let of = |kind: bool| order.iter().copied().filter(move |&k| is_own(k) == kind).take(nearest);
            let kept: Vec<usize> = of(true).chain(of(false)).collect();
            let rows: Vec<f64> = kept.iter().flat_map(|&k| points[3 * k..3 * k + 3].to_vec()).collect();
            let codes: Vec<i64> = kept.iter().map(|&k| CODES[k]).collect();
            let rest = Labelled { rows: &rows, codes: &codes, features: 3 };
            let alone = objective(rest, Some(&g), everything(&z), AREA, BOTH, &Team::new(1).unwrap(), &Control::default()).unwrap();
            prop_assert!((alone.radii[0] - near.radii[0]).abs() < 1e-9 * (1.0 + near.radii[0].abs()));
        }

        #[test]
        fn a_cap_cuts_radii_off_and_changes_no_other(points in numbers(36), z in numbers(18), g in numbers(9), cap in 0.01..0.5f64) {
            let all = mean(&points, &g, everything(&z), AREA, 1);
            let cut = mean(&points, &g, everything(&z), Worth { cap, ..AREA }, 1);
            for (all, cut) in all.radii.iter().zip(&cut.radii) {
                prop_assert!((all.min(cap) - cut).abs() < 1e-9, "{all} {cut}");
            }
        }

        #[test]
        fn coinciding_points_and_poor_metrics_give_numbers(
            points in prop::collection::vec(-1i8..2, 36), z in prop::collection::vec(-1i8..2, 36), g in prop::collection::vec(-1i8..2, 6),
        ) {
            let floats = |values: &[i8]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (points, z, g) = (floats(&points), floats(&z), floats(&g));
            let found = mean(&points, &g, everything(&z), AREA, 1);
            prop_assert!(found.loss.is_finite());
            prop_assert!(found.components.unwrap().iter().chain(&found.points.unwrap()).all(|x| x.is_finite()));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let spread = |n: usize, step: usize| -> Vec<f64> {
            (0..3 * n).map(|i| ((i * step) % 1009) as f64 / 1009.0).collect()
        };
        let (points, z) = (spread(300, 7919), spread(2000, 6133));
        let codes = |n: usize| -> Vec<i64> { (0..n).map(|i| (i % 5) as i64).collect() };
        let (ours, theirs) = (codes(300), codes(2000));
        let found = |jobs| {
            let points = Labelled { rows: &points, codes: &ours, features: 3 };
            let anchors = Labelled { rows: &z, codes: &theirs, features: 3 };
            let anchors = Anchors { labelled: anchors, ..everything(&[]) };
            let g = [1.0, 0.5, 0.0, 0.0, 1.0, 0.25];
            let worth = Worth { low: 0.1, cap: 0.5, decay: 0.1 };
            let team = Team::new(jobs).unwrap();
            bits(objective(points, Some(&g), anchors, worth, BOTH, &team, &Control::default()).unwrap())
        };
        assert!(found(1) == found(3));
    }

    #[test]
    fn a_loss_is_minus_the_integral_of_its_weight() {
        for worth in [Worth { low: 0.5, cap: 1.5, ..AREA }, Worth { low: 0.2, cap: 0.9, decay: 0.3 }] {
            for s in [-1.0, -0.3, -0.1, 0.2, 0.7, 1.2, 2.0] {
                let slope = (worth.at(s + 1e-6).0 - worth.at(s - 1e-6).0) / 2e-6;
                assert!((slope + worth.at(s).1).abs() < 1e-5, "{worth:?} at {s}");
            }
        }
    }
}
