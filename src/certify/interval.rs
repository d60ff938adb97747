//! Both ends of a radius, from those of its contenders.

use crate::certify::Status;
use crate::certify::finish::Finisher;
use crate::certify::scene::Scene;
use crate::certify::witness::Witness;
use crate::parallel::Control;

/// The interval is called exact when no wider than this share of its upper end …
const EXACT_RELATIVE: f64 = 1e-9;
/// … or than this share of the distance to the rival: what binary64 points can resolve.
pub const EXACT_ABSOLUTE: f64 = 1e-12;

/// A cell that may be the nearest: its row, its value in the ladder's coordinates (the solver's word, good
/// for the order of work only), what is proven of it, and its multipliers.
#[derive(Debug, Clone)]
pub struct Contender {
    pub position: usize,
    pub value: f64,
    pub bound: f64,
    pub weights: Vec<(usize, f64)>,
}

/// Both ends over all contenders, scaled.
pub struct Interval {
    pub lower: f64,
    pub upper: f64,
    /// The same in the caller's units.
    pub unscaled_upper: f64,
    pub rival: Option<usize>,
    to_rival: f64,
    pub adversarial: Option<Vec<f64>>,
    /// The row whose cell the lower end is the bound of, and the weights that prove it.
    pub critical: Option<(usize, Witness)>,
}

impl Interval {
    /// Both intervals hold: so does what they have in common.
    pub fn meet(&mut self, other: Self) {
        let (lower, critical) = if other.lower > self.lower {
            (other.lower, &other.critical)
        } else {
            (self.lower, &self.critical)
        };
        let critical = critical.clone();
        if other.upper < self.upper {
            *self = other;
        }
        (self.lower, self.critical) = (lower, critical);
    }

    #[must_use]
    pub fn is_exact(&self) -> bool {
        is_exact(self.lower, self.upper, self.to_rival)
    }

    #[must_use]
    pub fn status(&self, control: &Control) -> Status {
        status_of(self.lower, self.upper, self.to_rival, control)
    }
}

/// What an interval is called. One that the call's end cut short may still have become narrower.
#[must_use]
pub fn status_of(lower: f64, upper: f64, distance: f64, control: &Control) -> Status {
    if is_exact(lower, upper, distance) {
        Status::Exact
    } else if control.must_stop() {
        Status::Unfinished
    } else {
        Status::Bounded
    }
}

/// Whether both ends of an interval agree, as far as binary64 points at some distance can resolve.
#[must_use]
pub fn is_exact(lower: f64, upper: f64, distance: f64) -> bool {
    let rounding = (EXACT_RELATIVE * upper).max(EXACT_ABSOLUTE * distance);
    lower == upper || upper.is_finite() && upper - lower <= rounding
}

/// Finishes the contenders, most promising first; all other cells are proven to be at least `target` away. `input` is
/// the first one's perturbation, if it is known.
pub fn prove(
    finisher: &mut Finisher,
    scene: &Scene,
    contenders: &[Contender],
    target: f64,
    input: Option<&[f64]>,
) -> Interval {
    let mut best = Interval {
        lower: target,
        upper: f64::INFINITY,
        unscaled_upper: f64::INFINITY,
        rival: None,
        to_rival: 0.0,
        adversarial: None,
        critical: None,
    };
    for (i, contender) in contenders.iter().enumerate() {
        let input = input.filter(|_| i == 0);
        let end = finisher.finish(scene, contender.position, &contender.weights, best.upper, input);
        if end.lower < best.lower {
            best.lower = end.lower;
            best.critical = Some((contender.position, finisher.weights().to_vec()));
        }
        if end.upper < best.upper {
            (best.upper, best.unscaled_upper) = (end.upper, end.unscaled_upper);
            best.rival = Some(contender.position);
            best.to_rival = end.to_rival;
            best.adversarial = Some(finisher.adversarial().to_vec());
        }
    }
    best.lower = best.lower.min(best.upper);
    best
}
