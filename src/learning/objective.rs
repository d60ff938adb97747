//! The mean loss of triplets' margins, and its gradient with respect to the components.
//!
//! With `D = x⁻ − x⁺`, `S = (x⁻ − z) + (x⁺ − z)`, `M = GᵀG` the margin is the closed form of
//! [`triplet`](crate::geometry::triplet), `t = ⟨GD, GS⟩ / (2 ‖MD‖)`, positive where `x⁺` is nearer. With `u = MD / ‖MD‖`
//!
//! ```text
//! ∂t/∂G = G (D hᵀ + h Dᵀ),   h = S / (2 ‖MD‖) − (t / ‖MD‖) u.
//! ```
//!
//! Yang et al., NeurIPS 2020, equation 8, with the numerator not clamped at 0.

use crate::error::Result;
use crate::geometry::dot::dot;
use crate::geometry::matrix::{product_nt, transposed};
use crate::geometry::rounding::{exponent, scale_by};
use crate::geometry::triplet::{Sides, resolution_of};
use crate::learning::outer::{BLOCK, Outer, PARTS};
use crate::parallel::{Control, Team};

/// A loss of the margin; small where the margin is large.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// `−t`.
    Negative,
    /// `max(0, c − t)`.
    Hinge(f64),
    /// `exp(−t)`.
    Exponential,
    /// `log(1 + exp(−t))`.
    Logistic,
    /// `τ² − min(max(t, 0), τ)²`: Yang et al., TPAMI 2022.
    Perturbation(f64),
}

impl Loss {
    /// Value and derivative.
    #[must_use]
    pub fn at(self, t: f64) -> (f64, f64) {
        match self {
            Self::Negative => (-t, -1.0),
            Self::Hinge(c) => ((c - t).max(0.0), if t < c { -1.0 } else { 0.0 }),
            Self::Exponential => ((-t).exp(), -(-t).exp()),
            // Of large negative margins exp(−t) overflows and the logarithm does not.
            Self::Logistic => ((-t.abs()).exp().ln_1p() + (-t).max(0.0), -1.0 / (1.0 + t.exp())),
            Self::Perturbation(tau) => {
                let kept = t.clamp(0.0, tau);
                (tau * tau - kept * kept, if t < tau { -2.0 * kept } else { 0.0 })
            }
        }
    }
}

/// Rows of triplets `(z, x⁺, x⁻)`.
#[derive(Debug, Clone, Copy)]
pub struct Triplets<'a> {
    pub rows: &'a [f64],
    pub features: usize,
    pub anchors: &'a [i64],
    pub same: &'a [i64],
    pub other: &'a [i64],
}

/// The mean loss, its gradient `(p, d)`, and the margins. Triplets whose `x⁺` and `x⁻` coincide in the metric have no
/// margin: it is NaN, and they do not count.
#[derive(Debug, Clone)]
pub struct Objective {
    pub loss: f64,
    pub gradient: Vec<f64>,
    pub margins: Vec<f64>,
}

impl Triplets<'_> {
    /// Cost: `2 t d (p + d / 2)` products of numbers for `t` triplets. Memory: `PARTS` matrices of `d²`.
    pub fn objective(
        &self,
        components: &[f64],
        loss: Loss,
        team: &Team,
        control: &Control,
    ) -> Result<Objective> {
        let (d, count) = (self.features, self.anchors.len());
        let metric = Map::new(components, d);
        let share = count.div_ceil(PARTS).max(1);
        let mut sums: Vec<Option<Sums>> = vec![None; count.div_ceil(share)];
        let mut margins = vec![f64::NAN; count];
        control.expect(count);
        team.for_chunks(
            count,
            share,
            control,
            || (),
            |(), part| {
                let mut sums = Sums { loss: 0.0, counted: 0, outer: Outer::new(d) };
                let mut margins = Vec::with_capacity(part.len());
                for start in part.clone().step_by(BLOCK) {
                    let block = self.slice(start..part.end.min(start + BLOCK));
                    block.add(&metric, loss, &mut sums, &mut margins);
                    control.advance(block.anchors.len());
                }
                (sums, margins)
            },
            |part, (sum, found): (Sums, Vec<f64>)| {
                margins[part.clone()].copy_from_slice(&found);
                sums[part.start / share] = Some(sum);
            },
        )?;
        Ok(self.mean(&metric, sums.into_iter().flatten(), margins))
    }

    fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            anchors: &self.anchors[range.clone()],
            same: &self.same[range.clone()],
            other: &self.other[range],
            ..*self
        }
    }

    /// Adds the losses of a block and `Σ ℓ′ D hᵀ`, in which the scale of `D` does not matter.
    fn add(&self, map: &Map, loss: Loss, sums: &mut Sums, margins: &mut Vec<f64>) {
        let (d, count) = (self.features, self.anchors.len());
        let p = map.components.len() / d;
        let Sides { mut differences, sums: mut halves, exponents } = self.sides();
        let (mut images, mut sum_images) = (vec![0.0; count * p], vec![0.0; count * p]);
        let mut normals = vec![0.0; count * d];
        product_nt(&differences, &map.components, d, &mut images);
        product_nt(&halves, &map.components, d, &mut sum_images);
        product_nt(&images, &map.columns, p, &mut normals);
        for k in 0..count {
            let (normal, half) = (&normals[k * d..][..d], &mut halves[k * d..][..d]);
            let difference = &mut differences[k * d..][..d];
            let length = dot(normal, normal).sqrt();
            if length <= map.resolution * dot(difference, difference).sqrt() {
                margins.push(f64::NAN);
                half.fill(0.0);
                difference.fill(0.0);
                continue;
            }
            let scaled = dot(&images[k * p..][..p], &sum_images[k * p..][..p]) / (2.0 * length);
            let margin = scale_by(scaled, exponents[k]);
            let (value, slope) = loss.at(margin);
            sums.loss += value;
            sums.counted += 1;
            margins.push(margin);
            let slope = scale_by(slope, exponents[k]);
            let (own, along) = (slope / (2.0 * length), slope * scaled / (length * length));
            half.iter_mut().zip(normal).for_each(|(h, n)| *h = own * *h - along * n);
        }
        sums.outer.add(&differences, &halves);
    }

    fn sides(&self) -> Sides {
        let d = self.features;
        let rows = |indices: &[i64]| -> Vec<f64> {
            indices.iter().flat_map(|&i| &self.rows[i as usize * d..][..d]).copied().collect()
        };
        Sides::new(&rows(self.anchors), &rows(self.same), &rows(self.other), d)
    }

    fn mean(&self, map: &Map, sums: impl Iterator<Item = Sums>, margins: Vec<f64>) -> Objective {
        let d = self.features;
        let (mut loss, mut counted) = (0.0, 0);
        let parts = sums.map(|sum| {
            loss += sum.loss;
            counted += sum.counted;
            sum.outer
        });
        let mut symmetric = Outer::symmetric(d, parts);
        let scale = 1.0 / counted.max(1) as f64;
        symmetric.iter_mut().for_each(|x| *x *= scale);
        let mut gradient = vec![0.0; map.components.len()];
        product_nt(&map.components, &symmetric, d, &mut gradient);
        gradient.iter_mut().for_each(|x| *x = scale_by(*x, -map.exponent));
        Objective { loss: loss * scale, gradient, margins }
    }
}

/// Components scaled to magnitude one: margins do not depend on it, and the gradient is inverse to it.
struct Map {
    components: Vec<f64>,
    columns: Vec<f64>,
    exponent: i32,
    /// `‖MD‖` below this share of `‖D‖` is rounding: the points coincide.
    resolution: f64,
}

impl Map {
    fn new(components: &[f64], features: usize) -> Self {
        let exponent = exponent(components.iter().fold(0.0f64, |m, x| m.max(x.abs()))).unwrap_or(0);
        let components: Vec<f64> = components.iter().map(|&x| scale_by(x, -exponent)).collect();
        let (columns, resolution) = (transposed(&components, features), resolution_of(&components, features));
        Self { components, columns, exponent, resolution }
    }
}

#[derive(Debug, Clone)]
struct Sums {
    loss: f64,
    counted: usize,
    /// `Σ ℓ′ D hᵀ`.
    outer: Outer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOSSES: [Loss; 5] =
        [Loss::Negative, Loss::Hinge(0.3), Loss::Exponential, Loss::Logistic, Loss::Perturbation(0.3)];

    fn mean(rows: &[f64], d: usize, triplets: &[[i64; 3]], g: &[f64], loss: Loss, jobs: usize) -> Objective {
        let column = |k: usize| -> Vec<i64> { triplets.iter().map(|t| t[k]).collect() };
        let (anchors, same, other) = (column(0), column(1), column(2));
        let triplets = Triplets { rows, features: d, anchors: &anchors, same: &same, other: &other };
        triplets.objective(g, loss, &Team::new(jobs).unwrap(), &Control::default()).unwrap()
    }

    proptest! {
        #[test]
        fn gradient_is_that_of_finite_differences(
            rows in prop::collection::vec(-1.0..1.0f64, 18), g in prop::collection::vec(-1.0..1.0f64, 6),
            entry in 0usize..6, which in 0usize..5,
        ) {
            let (d, loss) = (3, LOSSES[which]);
            let triplets = [[0, 1, 2], [3, 4, 5], [5, 0, 3], [2, 1, 4]];
            let at = |shift: f64| {
                let mut g = g.clone();
                g[entry] += shift;
                mean(&rows, d, &triplets, &g, loss, 1)
            };
            let here = at(0.0);
            // Away from the kinks, and from metrics in which a pair nearly coincides.
            prop_assume!(here.margins.iter().all(|t| (t - 0.3).abs() > 1e-3 && t.abs() > 1e-3 && t.abs() < 10.0));
            let slope = (at(1e-6).loss - at(-1e-6).loss) / 2e-6;
            let size = 1.0 + here.gradient.iter().fold(0.0f64, |m, x| m.max(x.abs())).powi(2);
            prop_assert!((slope - here.gradient[entry]).abs() < 1e-6 * size, "{slope} {:?}", here.gradient);
        }

        #[test]
        fn margins_do_not_depend_on_the_scale_of_the_metric(
            rows in prop::collection::vec(-1.0..1.0f64, 9), g in prop::collection::vec(0.1..1.0f64, 9),
        ) {
            let scaled: Vec<f64> = g.iter().map(|x| x * 4.0).collect();
            let (one, four) = (
                mean(&rows, 3, &[[0, 1, 2]], &g, Loss::Negative, 1), mean(&rows, 3, &[[0, 1, 2]], &scaled, Loss::Negative, 1));
            prop_assert_eq!(one.margins, four.margins);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let d = 5;
        let rows: Vec<f64> = (0..3000 * d).map(|i| ((i * 7919) % 1009) as f64 / 1009.0).collect();
        let triplets: Vec<[i64; 3]> =
            (0..3000).map(|i| [i, (i * 17 + 1) % 3000, (i * 31 + 2) % 3000]).collect();
        let g: Vec<f64> = (0..2 * d).map(|i| f64::from(i as u32 % 7) - 3.0).collect();
        let bits = |jobs| {
            let found = mean(&rows, d, &triplets, &g, Loss::Logistic, jobs);
            let all = [vec![found.loss], found.gradient, found.margins].concat();
            all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert!(bits(1) == bits(3));
    }

    #[test]
    fn triplets_without_a_margin_do_not_count() {
        let rows = [0.0, 1.0, 3.0, 1.0];
        let all = mean(&rows, 1, &[[0, 1, 2], [0, 1, 3]], &[1.0], Loss::Negative, 1);
        assert_eq!((all.loss, all.margins[0], all.margins[1].is_nan()), (-2.0, 2.0, true));
        let none = mean(&rows, 1, &[[0, 1, 3]], &[1.0], Loss::Negative, 1);
        assert_eq!((none.loss, none.gradient), (0.0, vec![0.0]));
    }

    #[test]
    fn losses_are_finite_at_large_margins() {
        assert_eq!(Loss::Logistic.at(-1e4), (1e4, -1.0));
        assert_eq!(Loss::Logistic.at(1e4).0, 0.0);
        assert_eq!(Loss::Hinge(1.0).at(0.25), (0.75, -1.0));
    }
}
