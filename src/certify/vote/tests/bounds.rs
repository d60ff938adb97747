//! What weights prove, against the same in integers of any size: never above it, and hardly below.

use super::{Setting, question};
use crate::certify::vote::Rule;
use crate::certify::vote::case::Case;
use crate::certify::vote::field::{Field, Weight};
use crate::geometry::rounding::power_of_two;
use num_bigint::BigInt;
use proptest::prelude::*;

/// Rows that lie together far from the test point, or around it: numbers whose squares binary64 cannot hold.
#[derive(Debug, Clone)]
pub(super) struct Wide {
    features: usize,
    rows: Vec<i64>,
    components: Option<Vec<i64>>,
    point: Vec<i64>,
}

pub(super) fn wides() -> impl Strategy<Value = Wide> {
    (1usize..=3, 4usize..=8, any::<bool>(), 0u32..34, 3u32..30).prop_flat_map(|(d, n, plain, far, near)| {
        let around = |bits: u32, count: usize| prop::collection::vec(-(1i64 << bits)..=1i64 << bits, count);
        let components = prop::collection::vec(-3i64..=3, d * d);
        (around(near, d * n), around(far, d), around(near, d), components).prop_map(
            move |(mut rows, shift, point, components)| {
                rows.chunks_mut(d).for_each(|row| row.iter_mut().zip(&shift).for_each(|(x, s)| *x += s));
                Wide { features: d, rows, components: (!plain).then_some(components), point }
            },
        )
    })
}

impl Wide {
    pub(super) fn setting(&self) -> Setting {
        let float = |values: &[i64]| values.iter().map(|&x| x as f64).collect();
        let codes = (0..self.rows.len() / self.features).map(|k| (k % 2) as i64).collect();
        let components = self.components.as_ref().map(|g| float(g));
        Setting {
            features: self.features,
            rows: float(&self.rows),
            codes,
            components,
            point: float(&self.point),
        }
    }

    fn image(&self, x: &[BigInt]) -> Vec<BigInt> {
        let Some(components) = &self.components else { return x.to_vec() };
        let row = |g: &[i64]| g.iter().zip(x).map(|(&g, x)| x * g).sum();
        components.chunks(self.features).map(row).collect()
    }

    fn normal(&self, x: &[BigInt]) -> Vec<BigInt> {
        let Some(components) = &self.components else { return x.to_vec() };
        let image = self.image(x);
        let column =
            |t: usize| (0..self.features).map(|s| &image[s] * components[s * self.features + t]).sum();
        (0..self.features).map(column).collect()
    }

    fn row(&self, k: usize) -> &[i64] {
        &self.rows[k * self.features..][..self.features]
    }

    /// `d²(z, x_k)`.
    fn square(&self, k: usize) -> BigInt {
        let difference: Vec<BigInt> =
            self.row(k).iter().zip(&self.point).map(|(x, z)| BigInt::from(x - z)).collect();
        squared(&self.image(&difference))
    }

    /// `(Σ s_k d_k²)²` with the sign of the sum, and `4‖Σ s_k M x_k‖²`: their quotient is the bound.
    fn bound(&self, weights: &[(usize, i64)]) -> (BigInt, BigInt) {
        let numerator: BigInt = weights.iter().map(|&(k, s)| self.square(k) * s).sum();
        let sum = |t: usize| weights.iter().map(|&(k, s)| BigInt::from(self.row(k)[t]) * s).sum();
        let row: Vec<BigInt> = (0..self.features).map(sum).collect();
        let sign = if numerator < BigInt::ZERO { -1 } else { 1 };
        (&numerator * &numerator * sign, squared(&self.normal(&row)) * 4)
    }
}

fn squared(x: &[BigInt]) -> BigInt {
    x.iter().map(|x| x * x).sum()
}

/// Whether `x ≤ numerator/denominator`, exactly, for `x ≥ 0`; nothing is less than 0.
fn is_at_most(x: f64, (numerator, denominator): &(BigInt, BigInt)) -> bool {
    if x == 0.0 {
        return true;
    }
    let (bits, shift) = (x.to_bits(), 1100);
    let exponent = ((bits >> 52) as i32 - 1).max(0) - 1074;
    let hidden = u64::from(bits >> 52 > 0) << 52;
    let mantissa = BigInt::from(bits & ((1 << 52) - 1) | hidden);
    (mantissa * denominator) << (exponent + shift) <= numerator << shift
}

/// In the caller's units, which are a power of two apart.
fn unscaled(case: &Case, bound: f64) -> f64 {
    super::unscaled(case, bound)
}

fn as_weights(weights: &[(usize, i64)]) -> Vec<Weight> {
    weights.iter().map(|&(k, s)| (k, s as f64 / 1024.0)).collect()
}

/// Weights of some rows that sum to zero.
fn balanced(sizes: &[i64]) -> Vec<(usize, i64)> {
    let mut weights: Vec<(usize, i64)> = sizes.iter().copied().enumerate().collect();
    let sum: i64 = sizes.iter().sum();
    weights.push((sizes.len(), -sum));
    weights
}

proptest! {
    #[test]
    fn no_bound_is_above_the_quotient(wide in wides(), sizes in prop::collection::vec(-(1i64 << 40)..1 << 40, 1..4), target in prop::sample::select(vec![0.0, f64::INFINITY])) {
        let weights = balanced(&sizes);
        let exact = wide.bound(&weights);
        wide.setting().with(question(1, Rule::Plurality), |case, field| {
            field.prepare(&[0, 2]);
            let (quick, fine) = (field.bound(&as_weights(&weights), target), field.fine_bound(&as_weights(&weights)));
            prop_assert!(is_at_most(unscaled(case, quick), &exact), "{quick:e} {exact:?}");
            prop_assert!(is_at_most(unscaled(case, fine), &exact), "{fine:e} {exact:?}");
            Ok(())
        })?;
    }

    #[test]
    fn what_a_sum_of_weights_lacks_is_taken_from_the_largest(wide in wides(), sizes in prop::collection::vec(1i64 << 30..1 << 40, 1..4), lacks in -1024i64..=1024) {
        let mut weights = balanced(&sizes);
        let mended = wide.bound(&weights);
        // The last one is as large as all others together.
        weights.last_mut().unwrap().1 += lacks;
        wide.setting().with(question(1, Rule::Plurality), |case, field| {
            for bound in [field.bound(&as_weights(&weights), 0.0), field.fine_bound(&as_weights(&weights))] {
                prop_assert!(is_at_most(unscaled(case, bound), &mended), "{bound:e} {mended:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_bound_by_rows_whose_squares_underflow_is_above_the_quotient(
        rows in prop::collection::vec(-(1i64 << 20)..=1 << 20, 4),
        sizes in prop::collection::vec(-1000i64..=1000, 1..4),
        point in 1i64..1000, small in 500..545i32, share in 480..545i32, away in 0..480i32,
    ) {
        // Rows in units of 2^-small but for one of length 1, and weights in units of 2^share.
        let [unit, weight, place] = [-small, share, away - small].map(power_of_two);
        let weights = balanced(&sizes);
        let term = |(k, s): &(usize, i64)| {
            let x = BigInt::from(rows[*k]);
            (&x * &x - ((x * point) << (away + 1))) * s
        };
        let numerator: BigInt = weights.iter().map(term).sum();
        let normal: BigInt = weights.iter().map(|&(k, s)| BigInt::from(rows[k]) * s).sum();
        let sign = if numerator < BigInt::ZERO { -1 } else { 1 };
        let exact = (&numerator * &numerator * sign, (&normal * &normal * 4) << (2 * small));
        let floats = rows.iter().map(|&x| x as f64 * unit).chain([1.0]).collect();
        let (codes, point) = (vec![0, 1, 0, 1, 0], vec![point as f64 * place]);
        let setting = Setting { features: 1, rows: floats, codes, components: None, point };
        let weights: Vec<Weight> = weights.iter().map(|&(k, s)| (k, s as f64 * weight)).collect();
        setting.with(question(1, Rule::Plurality), |case, field| {
            field.prepare(&[0, 2]);
            let quick = [0.0, f64::INFINITY].map(|target| field.bound(&weights, target));
            for bound in [quick[0], quick[1], field.fine_bound(&weights)] {
                prop_assert!(is_at_most(unscaled(case, bound), &exact), "{bound:e} {exact:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_triplet_bound_is_above_the_quotient(wide in wides()) {
        wide.setting().with(question(1, Rule::Plurality), |case, field| {
            field.prepare(&[1]);
            for (j, i) in (0..field.len()).flat_map(|j| [(j, 0), (j, 1)]).filter(|p| p.0 != p.1) {
                let (bound, exact) = (field.triplet_bound(j, i), wide.bound(&[(j, 1), (i, -1)]));
                prop_assert!(is_at_most(unscaled(case, bound), &exact), "{j} {i} {bound:e} {exact:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn rows_that_are_kept_prove_what_they_proved(wide in wides(), kept in prop::collection::vec(any::<bool>(), 8)) {
        wide.setting().with(question(1, Rule::Plurality), |_, field| {
            field.prepare(&[0, 1]);
            let all: Vec<usize> = (0..field.len()).collect();
            let kept: Vec<usize> = all.iter().copied().filter(|&k| kept[k]).collect();
            let positions: Vec<usize> = field.entries.iter().map(|entry| entry.position).collect();
            let triplets = |field: &Field, rows: &[usize]| -> Vec<u64> {
                let pairs = rows.iter().flat_map(|&j| rows.iter().map(move |&i| (j, i))).filter(|p| p.0 != p.1);
                pairs.map(|(j, i)| field.triplet_bound(j, i).to_bits()).collect()
            };
            let before = triplets(field, &kept);
            field.retain(|k| kept.contains(&k));
            let numbers: Vec<usize> = (0..field.len()).collect();
            prop_assert_eq!(numbers.len(), kept.len());
            prop_assert_eq!(before, triplets(field, &numbers));
            for (&k, number) in kept.iter().zip(0..) {
                prop_assert_eq!(field.find(positions[k]), Some(number));
                prop_assert_eq!(field.entries[number].position, positions[k]);
            }
            // Rows that went may come back; products of rows that stayed know them then.
            prop_assert_eq!(field.add(positions.iter().copied()), all.len() - kept.len());
            field.prepare(&(0..field.len()).collect::<Vec<_>>());
            for k in 0..field.len() {
                prop_assert_eq!(field.products(k).len(), field.len());
            }
            Ok(())
        })?;
    }

    #[test]
    fn bounds_of_ordinary_data_are_near_the_quotient(
        rows in prop::collection::vec(-100i64..=100, 12), plain: bool, point in prop::collection::vec(-100i64..=100, 2), components in prop::collection::vec(-3i64..=3, 4), sizes in prop::collection::vec(-100i64..=100, 1..4),
    ) {
        let regular = components[0] * components[3] != components[1] * components[2];
        let wide = Wide { features: 2, rows, components: (!plain && regular).then_some(components), point };
        let weights = balanced(&sizes);
        let near = |(a, b): (BigInt, BigInt), least: f64| !is_at_most(least.max(0.0) * (1.0 + 1e-6), &(a, b));
        wide.setting().with(question(1, Rule::Plurality), |case, field| {
            for bound in [field.bound(&as_weights(&weights), f64::INFINITY), field.fine_bound(&as_weights(&weights))] {
                let (a, b) = wide.bound(&weights);
                // Where the sum of the squares does not cancel.
                if a > BigInt::from(10_000) && b > BigInt::ZERO {
                    prop_assert!(near((a.clone(), b.clone()), unscaled(case, bound)), "{bound:e} {a}/{b}");
                }
            }
            for j in 1..field.len() {
                let (a, b) = wide.bound(&[(j, 1), (0, -1)]);
                if a > BigInt::ZERO && b > BigInt::ZERO {
                    let bound = unscaled(case, field.triplet_bound(j, 0));
                    prop_assert!(near((a.clone(), b.clone()), bound), "{j} {bound:e} {a}/{b}");
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn products_that_overflow_under_large_weights_prove_nothing() {
    let (near, mut other, mut point) = (vec![-0.9; 100], vec![0.9; 100], vec![-0.9; 100]);
    let far = other.clone();
    other[0] -= 0.001;
    point[0] = -0.8;
    let setting = Setting {
        features: 100,
        rows: [far, near, other].concat(),
        codes: vec![0, 1, 0],
        components: None,
        point,
    };
    setting.with(question(1, Rule::Plurality), |_, field| {
        for exponent in 505..515 {
            let size = power_of_two(exponent);
            let weights = [(0, size), (2, -size)];
            let (quick, fine) = (field.bound(&weights, f64::INFINITY), field.fine_bound(&weights));
            assert!(quick <= fine * (1.0 + 1e-9), "{exponent} {quick} {fine}");
        }
    });
}

#[test]
fn weights_that_prove_nothing_give_zero() {
    let wide = Wide { features: 1, rows: vec![0, 4, 9], components: None, point: vec![1] };
    wide.setting().with(question(1, Rule::Plurality), |case, field| {
        // Far from a sum of zero; in favour of the nearer row; no weights at all.
        for weights in [vec![(1, 1.0)], vec![(0, 1.0), (1, -1.0)], vec![], vec![(0, 0.0)]] {
            assert_eq!((field.bound(&weights, 1.0), field.fine_bound(&weights)), (0.0, 0.0), "{weights:?}");
        }
        // From 1 on to the middle of 0 and 4, and of 4 and 9.
        for (far, near, square) in [(1, 0, 1.0), (2, 1, 30.25)] {
            let bound = unscaled(case, field.triplet_bound(far, near));
            assert!(bound <= square && bound > square * (1.0 - 1e-12), "{bound}");
            assert_eq!(field.triplet_bound(near, far), 0.0);
        }
    });
}
