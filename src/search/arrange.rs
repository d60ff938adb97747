//! The order in which an index keeps its rows, and the units in which it computes.

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::geometry::simd::PANEL;
use crate::metric::Metric;
use crate::parallel::{Control, Team};
use crate::search::index::Training;

const ROWS_PER_CHUNK: usize = 256;

/// Rows by class, stable; checks shapes and codes first.
pub fn checked_order(training: &Training) -> Result<Vec<u32>> {
    let (n, d) = (training.codes.len(), training.metric.features());
    let found = training.rows.values().len();
    if n == 0 || d == 0 {
        return Err(Error::Empty { argument: "rows" });
    }
    if found != n * d {
        return Err(Error::Shape { argument: "rows", expected: n * d, found });
    }
    if n > u32::MAX as usize {
        return Err(Error::Range { argument: "rows", low: 1, high: u32::MAX as usize, found: n });
    }
    let p = training.metric.dimensions();
    if training.rotation.is_some_and(|q| q.len() != p * p) {
        let found = training.rotation.map_or(0, <[f64]>::len);
        return Err(Error::Shape { argument: "rotation", expected: p * p, found });
    }
    let valid = |&code: &i64| usize::try_from(code).is_ok_and(|code| code < training.classes);
    if let Some(row) = training.codes.iter().position(|code| !valid(code)) {
        return Err(Error::Code { row, code: training.codes[row] });
    }
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_key(|&row| training.codes[row as usize]);
    Ok(order)
}

/// Coordinates by which rows are grouped.
const LEADING: usize = 16;

/// The first few coordinates of every row's image, `LEADING` numbers a row.
pub fn leading_coordinates(
    values: &[f64],
    centre: &[f64],
    scale: f64,
    embedding: &Embedding,
    team: &Team,
    control: &Control,
) -> Result<Vec<f32>> {
    let (d, kept) = (centre.len(), embedding.dimensions().min(LEADING));
    let mut leading = vec![0.0f32; values.len() / d * LEADING];
    team.for_chunks(
        values.len() / d,
        ROWS_PER_CHUNK,
        control,
        || (),
        |(), rows| {
            let mut images = vec![0.0; rows.len() * kept];
            let centred: Vec<f64> = values[rows.start * d..rows.end * d]
                .chunks_exact(d)
                .flat_map(|row| row.iter().zip(centre).map(|(x, c)| (x - c) * scale))
                .collect();
            embedding.apply_leading(&centred, kept, &mut images);
            images
        },
        |rows, images: Vec<f64>| {
            for (row, image) in rows.zip(images.chunks_exact(kept.max(1))) {
                let out = &mut leading[row * LEADING..][..kept];
                out.iter_mut().zip(image).for_each(|(out, &x)| *out = x as f32);
            }
        },
    )?;
    Ok(leading)
}

/// Reorders rows so that each panel holds neighbours: halves them along the coordinate with the largest
/// spread, again and again. `first` is the position of the first of them.
pub fn gather_neighbours(rows: &mut [u32], first: usize, leading: &[f32]) {
    if rows.len() <= PANEL {
        return;
    }
    let entry = |row: u32, k: usize| leading[row as usize * LEADING + k];
    let spread = |k: usize| {
        let values = rows.iter().map(|&row| f64::from(entry(row, k)));
        let mean = values.clone().sum::<f64>() / rows.len() as f64;
        values.map(|x| (x - mean).powi(2)).sum::<f64>()
    };
    let widest = (0..LEADING).map(|k| (k, spread(k))).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    let axis = widest.map_or(0, |w| w.0);
    // Panels begin at multiples of PANEL, whatever the class starts at.
    let middle = (first + rows.len() / 2).next_multiple_of(PANEL) - first;
    if middle == 0 || middle >= rows.len() {
        return;
    }
    rows.select_nth_unstable_by(middle, |&a, &b| entry(a, axis).total_cmp(&entry(b, axis)).then(a.cmp(&b)));
    let (near, far) = rows.split_at_mut(middle);
    gather_neighbours(near, first, leading);
    gather_neighbours(far, first + middle, leading);
}

pub fn class_starts(codes: &[i64], classes: usize) -> Vec<usize> {
    let mut starts = vec![0; classes + 1];
    for &code in codes {
        starts[code as usize + 1] += 1;
    }
    for class in 0..classes {
        starts[class + 1] += starts[class];
    }
    starts
}

/// Coordinate-wise median of an evenly spaced sample: a centre that no outlier can move far.
pub fn median_row(values: &[f64], features: usize) -> Vec<f64> {
    const SAMPLE: usize = 255;
    let n = values.len() / features;
    let step = n.div_ceil(SAMPLE);
    (0..features)
        .map(|k| {
            let mut column: Vec<f64> = (0..n).step_by(step).map(|row| values[row * features + k]).collect();
            let middle = column.len() / 2;
            *column.select_nth_unstable_by(middle, f64::total_cmp).1
        })
        .collect()
}

pub fn largest_offset(values: &[f64], centre: &[f64], metric: &Metric) -> f64 {
    let seen: Vec<usize> = (0..centre.len()).filter(|&k| metric.sees(k)).collect();
    let rows = values.chunks_exact(centre.len().max(1));
    rows.fold(0.0, |largest, row| seen.iter().fold(largest, |m: f64, &k| m.max((row[k] - centre[k]).abs())))
}
