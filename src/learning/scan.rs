//! Which pairs of a row are near enough to be looked at, many at once, for the instruction set of this processor.

use crate::geometry::simd::Kernels;

/// Entries of a word of the answer.
pub const LANES: usize = 16;
/// Words of a line at most.
pub const WORDS: usize = 16;

/// Rows of a tile: what a scan takes.
pub const TILE: usize = LANES * WORDS;

/// What a row and each of the others would take, in squared distances.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Square and limit of the row.
    pub own: f32,
    pub limit: f32,
    /// Products with the others, their squares, and their limits.
    pub products: &'a [f32],
    pub squares: &'a [f32],
    pub limits: &'a [f32],
}

/// For each of up to `LANES · WORDS` others a bit: the pair is within the limit of either side.
pub type Scan = fn(&Line) -> [u16; WORDS];

/// The entries whose bits are set, in order.
pub fn hits(words: [u16; WORDS]) -> impl Iterator<Item = usize> {
    words.into_iter().enumerate().flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
            word &= word - 1;
            Some(at * LANES + bit)
        })
    })
}

/// The scan for this processor.
#[must_use]
pub fn best() -> Scan {
    match Kernels::best().name() {
        #[cfg(target_arch = "x86_64")]
        "avx512" => |line| {
            // SAFETY: the set of this name is only made when the processor has its instructions.
            unsafe { x86::near_avx512(line) }
        },
        #[cfg(target_arch = "x86_64")]
        "avx2" => |line| {
            // SAFETY: as above.
            unsafe { x86::near_avx2(line) }
        },
        _ => near,
    }
}

fn near(line: &Line) -> [u16; WORDS] {
    near_from(line, 0, [0; WORDS])
}

/// The words from one on, entry by entry.
fn near_from(line: &Line, first: usize, mut words: [u16; WORDS]) -> [u16; WORDS] {
    for k in first * LANES..line.products.len() {
        let is_near = (line.own + line.squares[k]) - 2.0 * line.products[k] <= line.limits[k].max(line.limit);
        words[k / LANES] |= u16::from(is_near) << (k % LANES);
    }
    words
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Line, WORDS, near_from};
    use std::arch::x86_64::*;

    /// Calls a comparison of whole words with the places in memory that these are at, and the plain one for the rest.
    #[inline(always)]
    fn by_words(line: &Line, compare: impl Fn([*const f32; 3]) -> u16) -> [u16; WORDS] {
        let mut words = [0; WORDS];
        let whole = line.products.len() / LANES;
        assert!(line.squares.len() == line.products.len() && line.limits.len() == line.products.len());
        for (at, word) in words.iter_mut().take(whole).enumerate() {
            let place = |values: &[f32]| values[at * LANES..][..LANES].as_ptr();
            *word = compare([place(line.products), place(line.squares), place(line.limits)]);
        }
        near_from(line, whole, words)
    }

    #[target_feature(enable = "avx512f")]
    pub fn near_avx512(line: &Line) -> [u16; WORDS] {
        let (own, limit) = (_mm512_set1_ps(line.own), _mm512_set1_ps(line.limit));
        by_words(line, |places| {
            // SAFETY: each place has 16 numbers.
            let [products, squares, limits] = places.map(|place| unsafe { _mm512_loadu_ps(place) });
            let gap = _mm512_sub_ps(_mm512_add_ps(own, squares), _mm512_add_ps(products, products));
            _mm512_cmp_ps_mask::<_CMP_LE_OQ>(gap, _mm512_max_ps(limits, limit))
        })
    }

    #[target_feature(enable = "avx2")]
    pub fn near_avx2(line: &Line) -> [u16; WORDS] {
        let (own, limit) = (_mm256_set1_ps(line.own), _mm256_set1_ps(line.limit));
        let half = |places: [*const f32; 3]| {
            // SAFETY: each place has 8 numbers.
            let [products, squares, limits] = places.map(|place| unsafe { _mm256_loadu_ps(place) });
            let gap = _mm256_sub_ps(_mm256_add_ps(own, squares), _mm256_add_ps(products, products));
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(gap, _mm256_max_ps(limits, limit))) as u16
        };
        by_words(line, |places| {
            // SAFETY: each place has 16 numbers, and the second half is 8 on.
            let second = places.map(|place| unsafe { place.add(LANES / 2) });
            half(places) | half(second) << (LANES / 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_instruction_sets_find_the_same_pairs(
            values in prop::collection::vec((-2i8..3, 0i8..4, 0i8..5), 0..=LANES * WORDS), own in 0i8..4, limit in 0i8..5,
        ) {
            let column = |f: fn(&(i8, i8, i8)) -> i8| -> Vec<f32> { values.iter().map(|v| f32::from(f(v))).collect() };
            let (products, squares, limits) = (column(|v| v.0), column(|v| v.1), column(|v| v.2));
            let line = Line {
                own: f32::from(own), limit: f32::from(limit), products: &products, squares: &squares, limits: &limits };
            let words = best()(&line);
            prop_assert_eq!(words, near(&line));
            for k in 0..LANES * WORDS {
                let expected = k < values.len() && f32::from(own) + squares[k] - 2.0 * products[k] <= limits[k].max(line.limit);
                prop_assert_eq!(words[k / LANES] >> (k % LANES) & 1 == 1, expected);
            }
        }
    }
}
