//! Rows that repeat an earlier row.
//!
//! Ties go to the lowest index, so a repeated row is never *the* nearest neighbour: as far as 1-NN is
//! concerned it might as well be absent. This matters where it carries another label than the first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// For each row, whether an earlier row has the same values in all features that `used` names.
#[must_use]
pub fn repeated(rows: &[f64], features: usize, used: &[bool]) -> Vec<bool> {
    let mut first: HashMap<u64, Vec<usize>> = HashMap::new();
    let equal = |a: usize, b: usize| {
        let (a, b) = (
            &rows[a * features..][..features],
            &rows[b * features..][..features],
        );
        a.iter()
            .zip(b)
            .zip(used)
            .all(|((x, y), &used)| !used || x == y)
    };
    rows.chunks_exact(features)
        .enumerate()
        .map(|(index, row)| match first.entry(fingerprint(row, used)) {
            Entry::Vacant(entry) => {
                entry.insert(vec![index]);
                false
            }
            Entry::Occupied(mut entry) => {
                let seen = entry.get().iter().any(|&earlier| equal(earlier, index));
                if !seen {
                    entry.get_mut().push(index);
                }
                seen
            }
        })
        .collect()
}

/// Equal rows have equal fingerprints; adding zero makes −0 and 0 one.
fn fingerprint(row: &[f64], used: &[bool]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1u64, 2, 3, 4];
    for (k, (&x, &used)) in row.iter().zip(used).enumerate() {
        let bits = if used { (x + 0.0).to_bits() } else { 0 };
        let lane = &mut lanes[k % 4];
        *lane = (lane.rotate_left(23) ^ bits).wrapping_mul(MIX);
    }
    lanes.iter().fold(0, |hash, lane| {
        (hash ^ (lane >> 29) ^ lane).wrapping_mul(MIX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_copies_are_found_and_signed_zeros_are_equal() {
        let rows = [1.0, 0.0, 2.0, 5.0, 1.0, -0.0, 1.0, 0.0];
        assert_eq!(
            repeated(&rows, 2, &[true, true]),
            [false, false, true, true]
        );
        assert_eq!(
            repeated(&rows, 2, &[false, true]),
            [false, false, true, true]
        );
        assert_eq!(repeated(&[1.0, 2.0], 1, &[false]), [false, true]);
    }
}
