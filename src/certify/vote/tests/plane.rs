//! Least norms in the plane in exact arithmetic, by looking at every vertex and every foot of a perpendicular.

use super::Setting;
use crate::certify::vote::{Pair, State};
use proptest::prelude::*;

/// Rows, test point and metric with small integers.
#[derive(Debug, Clone)]
pub struct Plane {
    pub rows: Vec<[i128; 2]>,
    pub codes: Vec<usize>,
    components: Option<[i128; 4]>,
    point: [i128; 2],
}

/// `normal · δ ≥ offset`.
pub type HalfSpace = ([i128; 2], i128);

/// The square of the least norm in some half-spaces as a quotient; `None`: they have no point in common.
pub fn least_norm(spaces: &[HalfSpace]) -> Option<(i128, i128)> {
    // Points (x, y)/q that may be nearest: the origin, feet of perpendiculars, intersections of two borders.
    let mut points = vec![(0, 0, 1)];
    for (i, &(a, b)) in spaces.iter().enumerate() {
        points.push((b * a[0], b * a[1], a[0] * a[0] + a[1] * a[1]));
        for &(c, d) in &spaces[..i] {
            let (x, y, q) = (b * c[1] - d * a[1], a[0] * d - c[0] * b, a[0] * c[1] - c[0] * a[1]);
            points.push(if q < 0 { (-x, -y, -q) } else { (x, y, q) });
        }
    }
    let holds =
        |&(x, y, q): &(i128, i128, i128)| q > 0 && spaces.iter().all(|(n, b)| n[0] * x + n[1] * y >= b * q);
    let squares = points.into_iter().filter(holds).map(|(x, y, q)| (x * x + y * y, q * q));
    squares.reduce(|a, b| if b.0 * a.1 < a.0 * b.1 { b } else { a })
}

impl Plane {
    pub fn euclidean(rows: Vec<[i128; 2]>, codes: Vec<usize>, point: [i128; 2]) -> Self {
        Self { rows, codes, components: None, point }
    }

    pub fn setting(&self) -> Setting {
        let float = |values: &[i128]| values.iter().map(|&x| x as f64).collect();
        Setting {
            features: 2,
            rows: float(self.rows.as_flattened()),
            codes: self.codes.iter().map(|&c| c as i64).collect(),
            components: self.components.as_ref().map(|g| float(g)),
            point: float(&self.point),
        }
    }

    fn image(&self, x: [i128; 2]) -> [i128; 2] {
        let g = self.components.unwrap_or([1, 0, 0, 1]);
        [g[0] * x[0] + g[1] * x[1], g[2] * x[0] + g[3] * x[1]]
    }

    fn normal(&self, x: [i128; 2]) -> [i128; 2] {
        let (g, t) = (self.components.unwrap_or([1, 0, 0, 1]), self.image(x));
        [g[0] * t[0] + g[2] * t[1], g[1] * t[0] + g[3] * t[1]]
    }

    fn square(&self, k: usize) -> i128 {
        let t = self.image([self.rows[k][0] - self.point[0], self.rows[k][1] - self.point[1]]);
        t[0] * t[0] + t[1] * t[1]
    }

    /// Where row `j` is at least as near as row `i`.
    pub fn nearer(&self, j: usize, i: usize) -> HalfSpace {
        let n = self.normal([0, 1].map(|t| 2 * (self.rows[j][t] - self.rows[i][t])));
        (n, self.square(j) - self.square(i))
    }

    /// The square of the least norm with some rows inside and some outside.
    pub fn least(&self, inside: &[usize], outside: &[usize]) -> Option<f64> {
        let pairs = inside.iter().flat_map(|&j| outside.iter().map(move |&i| (j, i)));
        let spaces: Vec<HalfSpace> = pairs.map(|(j, i)| self.nearer(j, i)).collect();
        least_norm(&spaces).map(|(a, b)| a as f64 / b as f64)
    }

    /// The least over all sets inside that pass a test, with all other rows outside; infinite if there is none.
    pub fn least_over(&self, passes: impl Fn(&[usize]) -> bool) -> f64 {
        let mut least = f64::INFINITY;
        for set in 0..1u32 << self.rows.len() {
            let (inside, outside): (Vec<usize>, Vec<usize>) =
                (0..self.rows.len()).partition(|k| set >> k & 1 == 1);
            if passes(&inside) {
                least = least.min(self.least(&inside, &outside).unwrap_or(f64::INFINITY));
            }
        }
        least
    }

    /// Whether a set is one of those in which a pair loses for a class.
    pub fn belongs(&self, pair: &Pair, class: usize, inside: &[usize]) -> bool {
        let count = |of: &dyn Fn(usize) -> bool| inside.iter().filter(|&&k| of(self.codes[k])).count();
        let own = count(&|c| c == class);
        let rivals = count(&|c| c != class && pair.rival.is_none_or(|m| m as usize == c));
        let enough = rivals >= pair.rivals && inside.len() - own == pair.others;
        enough && if pair.exact { own == pair.own } else { own <= pair.own }
    }

    /// Whether a set agrees with what is decided.
    pub fn agrees(states: &[State], inside: &[usize]) -> bool {
        states.iter().enumerate().all(|(k, state)| match state {
            State::Free => true,
            State::Inside => inside.contains(&k),
            State::Outside => !inside.contains(&k),
        })
    }
}

/// Different places, of which no two coincide under the metric either.
pub fn planes(most: usize, classes: usize) -> impl Strategy<Value = Plane> {
    let place = || (-5i128..=5, -5i128..=5).prop_map(|p| [p.0, p.1]);
    let rows =
        prop::collection::btree_set(place(), 4..=most).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let regular = prop::array::uniform4(-1i128..=2).prop_filter("singular", |g| g[0] * g[3] != g[1] * g[2]);
    let components = prop_oneof![Just(None), regular.prop_map(Some)];
    let codes = prop::collection::vec(0..classes, most);
    (rows.prop_shuffle(), codes, components, place()).prop_map(|(rows, mut codes, components, point)| {
        codes.truncate(rows.len());
        Plane { rows, codes, components, point }
    })
}
