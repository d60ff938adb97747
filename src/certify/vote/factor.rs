//! The factor of a program's normals, relative to its first row: directions, and weights from scratch.

use crate::certify::vote::field::Field;
use crate::certify::vote::program::{Active, DEPENDENT, Program};

/// Some of the entries of a list.
pub fn gather(from: &[f64], wanted: &[usize], out: &mut Vec<f64>) {
    out.clear();
    out.extend(wanted.iter().map(|&k| from[k]));
}

impl Program {
    /// Starts from the rows that were active elsewhere but one, as far as their weights stay positive.
    pub fn restart_without(&mut self, field: &mut Field<'_>, active: &Active, row: usize) {
        self.active.copy_from(active);
        let mut gone = self.active.rows.iter().position(|&k| k == row);
        while let Some(at) = gone {
            self.active.rows.remove(at);
            self.active.inside.remove(at);
            self.active.weights.remove(at);
            self.refactor(field);
            self.balance(field);
            let weights = &self.active.weights;
            // What is not a number is not positive either.
            let wrong = (0..weights.len()).filter(|&i| weights[i].max(0.0) == 0.0);
            gone = wrong.min_by(|&a, &b| weights[a].total_cmp(&weights[b]));
        }
        self.measure(field);
    }

    /// The weights at which all active rows have the same level.
    fn balance(&mut self, field: &Field<'_>) {
        let Self { active, factor, forward, .. } = self;
        let Some((&reference, rest)) = active.rows.split_first() else { return };
        forward.clear();
        for (i, &row) in rest.iter().enumerate() {
            let line = &factor[i * (i + 1) / 2..][..=i];
            let known: f64 = line.iter().zip(&*forward).map(|(l, x)| l * x).sum();
            forward.push((field.halves[row] - field.halves[reference] - known) / line[i]);
        }
        for i in (0..rest.len()).rev() {
            let below: f64 = (i + 1..rest.len()).map(|l| factor[l * (l + 1) / 2 + i] * forward[l]).sum();
            forward[i] = (forward[i] - below) / factor[i * (i + 1) / 2 + i];
        }
        active.weights[0] = -forward.iter().sum::<f64>();
        active.weights[1..].copy_from_slice(forward);
        let signs = active.inside.iter().map(|&inside| if inside { 1.0 } else { -1.0 });
        active.weights.iter_mut().zip(signs).for_each(|(w, sign)| *w *= sign);
    }

    /// For one unit of weight on each of some rows: the change of the active weights, and the curvature `ζ`. All are
    /// kept a row of the program after the other, with the given rows side by side.
    pub(super) fn directions(&mut self, field: &Field<'_>, rows: &[usize]) {
        let count = rows.len();
        let Self { active, factor, forward, shares, near, curvatures, .. } = self;
        let reference = active.rows[0];
        let own = field.squares[reference];
        gather(field.products(reference), rows, near);
        curvatures.clear();
        curvatures
            .extend(rows.iter().zip(&*near).map(|(&k, near)| (own + field.squares[k] - 2.0 * near).max(0.0)));
        forward.clear();
        for (i, &row) in active.rows[1..].iter().enumerate() {
            let products = field.products(row);
            let base = own - products[reference];
            forward.extend(rows.iter().zip(&*near).map(|(&k, near)| products[k] - near + base));
            let (before, now) = forward.split_at_mut(i * count);
            let factor = &factor[i * (i + 1) / 2..][..=i];
            for (known, &entry) in before.chunks_exact(count).zip(factor) {
                now.iter_mut().zip(known).for_each(|(x, known)| *x -= entry * known);
            }
            now.iter_mut().for_each(|x| *x /= factor[i]);
            curvatures.iter_mut().zip(now).for_each(|(c, x)| *c -= *x * *x);
        }
        shares.clear();
        shares.resize(count, 1.0);
        shares.extend_from_slice(forward);
        for i in (1..active.rows.len()).rev() {
            let factor = &factor[i * (i - 1) / 2..][..i];
            let (before, solved) = shares[..(i + 1) * count].split_at_mut(i * count);
            solved.iter_mut().for_each(|x| *x /= factor[i - 1]);
            for (l, share) in before.chunks_exact_mut(count).enumerate() {
                let entry = if l == 0 { 1.0 } else { factor[l - 1] };
                share.iter_mut().zip(&*solved).for_each(|(x, solved)| *x -= entry * solved);
            }
        }
    }

    /// The Cholesky factor of the inner products, a row after the other.
    pub(super) fn refactor(&mut self, field: &Field<'_>) {
        let Self { active, factor, .. } = self;
        factor.clear();
        let Some((&reference, rest)) = active.rows.split_first() else { return };
        let (origin, own) = (field.products(reference), field.squares[reference]);
        for (i, &row) in rest.iter().enumerate() {
            let (start, products) = (factor.len(), field.products(row));
            let base = own - products[reference];
            for (l, &column) in rest[..=i].iter().enumerate() {
                let product =
                    if l == i { field.squares[row] } else { products[column] } - origin[column] + base;
                let other = l * (l + 1) / 2;
                let (before, now) = factor.split_at(start);
                let known: f64 = now
                    .iter()
                    .zip(if l == i { now } else { &before[other..other + l] })
                    .map(|(a, b)| a * b)
                    .sum();
                let entry = if l == i {
                    (product - known).max(DEPENDENT * product).max(f64::MIN_POSITIVE).sqrt()
                } else {
                    (product - known) / before[other + l]
                };
                factor.push(entry);
            }
        }
    }
}
