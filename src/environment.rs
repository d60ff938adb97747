//! The floating-point mode of a thread: rounding to nearest, subnormal numbers as they are.
//!
//! Every error bound here, and the language itself, takes that mode for granted. A process may have left it: a
//! library built with `-ffast-math` makes the thread that loads it flush subnormal numbers to zero, others call
//! `fesetround`. On Linux a new thread begins with the mode of the one that made it. So the threads of
//! this crate set their own mode when they begin. An error instead would stop users who cannot help what another
//! library did; and as the threads are its own there is nothing to restore, the caller's keeps what it had.

use crate::error::{Error, Result};
use std::hint::black_box;

/// Gives the calling thread, which must be of this crate's making, the standard mode.
///
/// Where it is not known how to set it, the mode must be the standard one already.
pub fn standardise() -> Result<()> {
    set();
    if is_standard() { Ok(()) } else { Err(Error::Arithmetic) }
}

/// All exceptions masked, to nearest, neither flush-to-zero nor denormals-are-zero. The x87 unit has a control
/// word of its own, which Rust does not need on this architecture but a BLAS does.
#[cfg(target_arch = "x86_64")]
fn set() {
    static MXCSR: u32 = 0x1f80;
    static X87: u16 = 0x037f;
    // SAFETY: reads two constants. What it writes is the mode that Rust expects of every thread.
    unsafe {
        std::arch::asm!(
            "ldmxcsr [{}]", "fldcw [{}]",
            in(reg) &raw const MXCSR, in(reg) &raw const X87, options(nostack, readonly)
        );
    }
}

/// To nearest, no flush-to-zero, no default NaN, no traps.
#[cfg(target_arch = "aarch64")]
fn set() {
    // SAFETY: touches no memory. What it writes is the mode that Rust expects of every thread.
    unsafe {
        std::arch::asm!("msr fpcr, xzr", options(nostack, nomem));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set() {}

/// Whether sums round to nearest and subnormal numbers count.
fn is_standard() -> bool {
    let (one, half, smallest) =
        (black_box(1.0f64), black_box(f64::EPSILON / 2.0), black_box(f64::MIN_POSITIVE));
    // Upwards the first would miss, downwards the second, towards zero the third.
    let nearest = one + half == one && -one - half == -one && one + 1.5 * half > one;
    let subnormal = black_box(f64::from_bits(1));
    nearest && smallest / 2.0 > 0.0 && subnormal > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread's control word with some bits set, to see that it does not stay.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn in_mode(bits: u32, check: impl Fn() + Send) {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let word = 0x1f80u32 | bits;
                // SAFETY: this thread does nothing else in between that the mode could matter to.
                unsafe {
                    std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, readonly))
                };
                check();
            });
        });
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn every_other_mode_is_noticed_and_set_right() {
        for bits in [0x2000, 0x4000, 0x6000, 0x8000, 0x0040, 0x8040] {
            in_mode(bits, || {
                assert!(!is_standard(), "{bits:#x}");
                assert_eq!(standardise(), Ok(()));
                assert!(is_standard());
            });
        }
    }

    #[test]
    fn the_usual_mode_is_standard() {
        assert!(is_standard());
        assert_eq!(standardise(), Ok(()));
    }
}
