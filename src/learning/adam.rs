//! Steps of Adam (Kingma and Ba, 2015, algorithm 1): one pass over four arrays, which is what they cost.

use crate::error::Result;
use crate::parallel::{Control, Team};
use std::sync::{Mutex, PoisonError};

/// Numbers that a thread takes at a time.
const PIECE: usize = 1 << 15;

/// Numbers from which on threads are worth their start.
pub const MANY: usize = 1 << 18;

/// What is moved, by which gradient `g`, and the moments `m` and `v`: as many numbers each.
pub struct Moved<'a> {
    pub values: &'a mut [f64],
    pub gradient: &'a [f64],
    pub mean: &'a mut [f64],
    pub square: &'a mut [f64],
}

/// What is the same for all numbers of a step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// `β₁` and `β₂`.
    pub decay: (f64, f64),
    /// `η √(1 − β₂ᵗ) / (1 − β₁ᵗ)`.
    pub pace: f64,
    /// `ε √(1 − β₂ᵗ)`.
    pub floor: f64,
}

impl Step {
    /// `θ ← θ − η m̂ / (√v̂ + ε)` after `m ← β₁ m + (1 − β₁) g` and `v ← β₂ v + (1 − β₂) g²`.
    ///
    /// Cost: for each number a root, a division, and 56 bytes of memory.
    pub fn make(self, moved: Moved, team: &Team, control: &Control) -> Result<()> {
        let rest = moved.values.chunks_mut(PIECE).zip(moved.gradient.chunks(PIECE));
        let moments = moved.mean.chunks_mut(PIECE).zip(moved.square.chunks_mut(PIECE));
        let piece =
            |((values, gradient), (mean, square))| Mutex::new(Moved { values, gradient, mean, square });
        let pieces: Vec<_> = rest.zip(moments).map(piece).collect();
        team.for_chunks(
            pieces.len(),
            1,
            control,
            || (),
            |(), range| {
                for piece in &pieces[range] {
                    self.go(&mut piece.lock().unwrap_or_else(PoisonError::into_inner));
                }
            },
            |_, ()| (),
        )
    }

    /// The same in the thread of the caller.
    pub fn go(self, piece: &mut Moved) {
        let (first, second) = self.decay;
        let moments = piece.mean.iter_mut().zip(&mut *piece.square);
        for ((value, gradient), (mean, square)) in piece.values.iter_mut().zip(piece.gradient).zip(moments) {
            *mean = *mean * first + (1.0 - first) * gradient;
            *square = *square * second + (1.0 - second) * (gradient * gradient);
            *value -= *mean * self.pace / (square.sqrt() + self.floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_paper_by_any_number_of_threads() {
        let (count, decay, rate, epsilon) = (2 * PIECE + 1, (0.9_f64, 0.999_f64), 0.02, 1e-8);
        let number = |i: usize, t: i32| ((i * 37 + 11) % 101) as f64 / 50.0 - f64::from(t) / 3.0;
        let published: Vec<f64> = (0..count)
            .map(|i| {
                let (mut value, mut mean, mut square) = (i as f64 * 1e-3, 0.0, 0.0);
                for t in 1..=3 {
                    let g = number(i, t);
                    mean = decay.0 * mean + (1.0 - decay.0) * g;
                    square = decay.1 * square + (1.0 - decay.1) * g * g;
                    let unbiased = (mean / (1.0 - decay.0.powi(t)), square / (1.0 - decay.1.powi(t)));
                    value -= rate * unbiased.0 / (unbiased.1.sqrt() + epsilon);
                }
                value
            })
            .collect();
        let mut before: Option<Vec<f64>> = None;
        for jobs in [1, 2, 3] {
            let mut values: Vec<f64> = (0..count).map(|i| i as f64 * 1e-3).collect();
            let (mut mean, mut square) = (vec![0.0; count], vec![0.0; count]);
            for t in 1..=3 {
                let gradient: Vec<f64> = (0..count).map(|i| number(i, t)).collect();
                let unit = (1.0 - decay.1.powi(t)).sqrt();
                let step = Step { decay, pace: rate * unit / (1.0 - decay.0.powi(t)), floor: unit * epsilon };
                let (values, mean, square) = (&mut values[..], &mut mean[..], &mut square[..]);
                let moved = Moved { values, gradient: &gradient, mean, square };
                step.make(moved, &Team::new(jobs).unwrap(), &Control::default()).unwrap();
            }
            assert!(values.iter().zip(&published).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0)));
            assert_eq!(*before.get_or_insert_with(|| values.clone()), values);
        }
    }
}
