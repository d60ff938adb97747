//! Rows that lie in the same place as an earlier row.
//!
//! Ties go to the lowest index, so such a row is never *the* nearest neighbour: as far as 1-NN is concerned it
//! might as well be absent. This matters where it carries another label than the first. A metric that does
//! not see every direction can make rows coincide that have different values.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// For each row, the first row with the same values.
#[must_use]
pub fn first_copies(rows: &[f64], features: usize) -> Vec<u32> {
    let mut seen: HashMap<u64, Vec<u32>> = HashMap::new();
    let row = |index: u32| &rows[index as usize * features..][..features];
    (0..(rows.len() / features) as u32)
        .map(|index| match seen.entry(fingerprint(row(index))) {
            Entry::Vacant(entry) => {
                entry.insert(vec![index]);
                index
            }
            Entry::Occupied(mut entry) => {
                let first = entry.get().iter().copied().find(|&earlier| row(earlier) == row(index));
                if first.is_none() {
                    entry.get_mut().push(index);
                }
                first.unwrap_or(index)
            }
        })
        .collect()
}

/// Equal rows have equal fingerprints; adding zero makes −0 and 0 one.
fn fingerprint(row: &[f64]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1u64, 2, 3, 4];
    for (k, &x) in row.iter().enumerate() {
        let lane = &mut lanes[k % 4];
        *lane = (lane.rotate_left(23) ^ (x + 0.0).to_bits()).wrapping_mul(MIX);
    }
    lanes.iter().fold(0, |hash, lane| (hash ^ (lane >> 29) ^ lane).wrapping_mul(MIX))
}

/// Merges rows whose images may be equal and that `coincide` exactly.
///
/// `images` holds (row, image, half of what may separate it from that of a coinciding row). A sweep along the first coordinate compares each row with the first rows of the places
/// within reach.
pub fn merge_coinciding(
    first: &mut [u32],
    mut images: Vec<(u32, &[f64], f64)>,
    coincide: impl Fn(u32, u32) -> bool,
) {
    images.retain(|&(row, _, _)| first[row as usize] == row);
    let largest = images.iter().fold(0.0f64, |m, i| m.max(i.2));
    images.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]).then(a.0.cmp(&b.0)));
    let mut parent: HashMap<u32, u32> = HashMap::new();
    let mut places: Vec<usize> = Vec::new();
    for current in 0..images.len() {
        let (row, image, error) = images[current];
        places.retain(|&other| image[0] - images[other].1[0] <= error + largest);
        let same = places.iter().copied().find(|&other| {
            let (earlier, coordinates, other_error) = images[other];
            let reach = error + other_error;
            image.iter().zip(coordinates).all(|(x, y)| (x - y).abs() <= reach) && coincide(earlier, row)
        });
        match same {
            Some(other) => {
                parent.insert(row, images[other].0);
            }
            None => places.push(current),
        }
    }
    // Each place is known by its lowest row.
    let mut lowest: HashMap<u32, u32> = HashMap::new();
    for (&row, &place) in &parent {
        let entry = lowest.entry(place).or_insert(place);
        *entry = (*entry).min(row);
    }
    for entry in first.iter_mut() {
        let place = parent.get(entry).copied().unwrap_or(*entry);
        *entry = lowest.get(&place).copied().unwrap_or(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_copies_are_found_and_signed_zeros_are_equal() {
        let rows = [1.0, 0.0, 2.0, 5.0, 1.0, -0.0, 1.0, 0.0];
        assert_eq!(first_copies(&rows, 2), [0, 1, 0, 0]);
        assert_eq!(first_copies(&[1.0, 2.0, 1.0], 1), [0, 1, 0]);
    }

    #[test]
    fn rows_that_coincide_in_a_metric_are_merged_under_the_lowest() {
        let values = [3.0, 1.0, 3.0 + 1e-16, 1.0, 2.0];
        let images =
            values.iter().enumerate().map(|(i, x)| (i as u32, std::slice::from_ref(x), 1e-15)).collect();
        let mut first = vec![0, 1, 2, 1, 4];
        merge_coinciding(&mut first, images, |a, b| (a, b) == (0, 2) || (a, b) == (2, 0));
        assert_eq!(first, [0, 1, 0, 1, 4]);
    }
}
