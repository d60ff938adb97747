//! The program's half-space with one more: what it costs at least that two rows come in some order.

use crate::certify::vote::field::Field;
use crate::certify::vote::program::Program;

/// Normals whose square is a smaller share of what it was are those of one half-space.
const THIN: f64 = 1e-12;

/// The least norm² in a half-space at distance² `value` and one more, and their weights. In the second a row comes to
/// be as near as another: `height` is the difference of their levels at the test point, `gap` at the first half-space's
/// nearest point, and `apart` the square of the normal.
pub(super) fn meet(value: f64, gap: f64, height: f64, apart: f64) -> (f64, f64, f64) {
    let least = least_norm(value, gap, height, apart);
    let along = height - gap;
    let across = across(value, along, apart);
    if least == value || gap <= 0.0 || apart <= 0.0 {
        (least, 1.0, 0.0)
    } else if is_edge(value, gap, along, (across, apart)) {
        (least, 1.0 - gap * along / (value * across), gap / across)
    } else {
        (least, 0.0, height / apart)
    }
}

/// The square of the second normal's part that is square to the first.
#[inline(always)]
fn across(value: f64, along: f64, apart: f64) -> f64 {
    apart - if value > 0.0 { along * along / value } else { 0.0 }
}

/// Whether the nearest point lies on the borders of both half-spaces.
#[inline(always)]
fn is_edge(value: f64, gap: f64, along: f64, (across, apart): (f64, f64)) -> bool {
    (value > 0.0) & (across > THIN * apart) & ((along < 0.0) | (gap * along < value * across))
}

/// The value of [`meet`]. Without branches, so that many are computed side by side.
#[inline(always)]
fn least_norm(value: f64, gap: f64, height: f64, apart: f64) -> f64 {
    let (along, alone) = (height - gap, height * height);
    let across = across(value, along, apart);
    let is_thick = across > THIN * apart;
    let holds = (value > 0.0) & !is_thick & ((along < 0.0) | (alone <= value * apart));
    let single = if height > 0.0 { alone / apart } else { value };
    let edge = value + gap * gap / across;
    let second = if is_edge(value, gap, along, (across, apart)) { edge } else { single };
    if (gap <= 0.0) | (apart <= 0.0) | holds { value } else { second }
}

/// What is known of some rows, side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Abreast {
    levels: Vec<f64>,
    halves: Vec<f64>,
    squares: Vec<f64>,
}

/// The same of one row.
#[derive(Clone, Copy)]
struct One {
    level: f64,
    half: f64,
    square: f64,
}

impl Abreast {
    /// Of these rows.
    pub(super) fn of(program: &Program, field: &Field<'_>, rows: &[usize]) -> Self {
        let gather = |from: &[f64]| rows.iter().map(|&k| from[k]).collect();
        Self {
            levels: gather(&program.levels),
            halves: gather(&field.halves),
            squares: gather(&field.squares),
        }
    }

    /// The values of [`meet`] with a fixed row, which is inside and they outside or the reverse, in the place of their
    /// inner products with it.
    pub(super) fn meet_all(
        &self,
        program: &Program,
        field: &Field<'_>,
        (fixed, is_inside): (usize, bool),
        out: &mut [f64],
    ) {
        let one =
            One { level: program.levels[fixed], half: field.halves[fixed], square: field.squares[fixed] };
        let sign = if is_inside { 1.0 } else { -1.0 };
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has the instructions.
                return unsafe { meet_all_avx512(self, one, (program.value, sign), out) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                return unsafe { meet_all_avx2(self, one, (program.value, sign), out) };
            }
        }
        meet_each(self, one, (program.value, sign), out);
    }
}

#[inline(always)]
fn meet_each(rows: &Abreast, one: One, (value, sign): (f64, f64), out: &mut [f64]) {
    let count = out.len();
    let (levels, halves, squares) = (&rows.levels[..count], &rows.halves[..count], &rows.squares[..count]);
    for at in 0..count {
        let apart = (squares[at] + one.square - 2.0 * out[at]).max(0.0);
        out[at] = least_norm(value, sign * (one.level - levels[at]), sign * (one.half - halves[at]), apart);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn meet_all_avx2(rows: &Abreast, one: One, by: (f64, f64), out: &mut [f64]) {
    meet_each(rows, one, by, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn meet_all_avx512(rows: &Abreast, one: One, by: (f64, f64), out: &mut [f64]) {
    meet_each(rows, one, by, out);
}
