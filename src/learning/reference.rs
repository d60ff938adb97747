//! Labelled points under a metric, as the radii of anchors are measured against them.
//!
//! Beside each point `x`, centred, its image `Gx`, in which distances are Euclidean, and its dual image `Mx`, whose
//! differences are the normals of bisectors. Under the Euclidean metric the three are one.

use crate::error::Result;
use crate::geometry::dot::squared_norm;
use crate::geometry::matrix::{product_nt_fast, transposed};
use crate::parallel::{Control, Team};

/// Rows of a product.
const BLOCK: usize = 256;

/// Rows with class codes.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    pub rows: &'a [f64],
    pub codes: &'a [i64],
    pub features: usize,
}

/// The points that anchors are measured against.
pub struct Reference<'a> {
    pub codes: &'a [i64],
    pub features: usize,
    /// `G (p, d)`, and its transpose; `None`: the Euclidean metric.
    components: Option<(&'a [f64], Vec<f64>)>,
    centre: Vec<f64>,
    centred: Vec<f64>,
    images: Vec<f64>,
    duals: Vec<f64>,
    /// Of images, and of dual images.
    pub squares: Vec<f64>,
    pub dual_squares: Vec<f64>,
    /// `‖G‖₂` is at most this.
    pub norm: f64,
}

impl<'a> Reference<'a> {
    pub fn new(
        points: Labelled<'a>,
        components: Option<&'a [f64]>,
        team: &Team,
        control: &Control,
    ) -> Result<Self> {
        let d = points.features;
        let mut centre = vec![0.0; d];
        for row in points.rows.chunks_exact(d) {
            centre.iter_mut().zip(row).for_each(|(c, x)| *c += x / points.codes.len() as f64);
        }
        let mut reference = Self {
            codes: points.codes,
            features: d,
            components: components.map(|g| (g, transposed(g, d))),
            centre,
            centred: Vec::new(),
            images: Vec::new(),
            duals: Vec::new(),
            squares: Vec::new(),
            dual_squares: Vec::new(),
            norm: components.map_or(1.0, |g| norm_bound(g, d)),
        };
        reference.centred = reference.centre(points.rows);
        if let Some((g, columns)) = &reference.components {
            reference.images = mapped(&reference.centred, g, d, team, control)?;
            reference.duals = mapped(&reference.images, columns, g.len() / d, team, control)?;
        }
        let count = points.codes.len();
        reference.squares = (0..count).map(|k| squared_norm(reference.image(k))).collect();
        reference.dual_squares = (0..count).map(|k| squared_norm(reference.dual(k))).collect();
        Ok(reference)
    }

    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.components.as_ref().map_or(self.features, |(g, _)| g.len() / self.features)
    }

    /// Rows in the coordinates of the centred points.
    #[must_use]
    pub fn centre(&self, rows: &[f64]) -> Vec<f64> {
        rows.iter().zip(self.centre.iter().cycle()).map(|(x, c)| x - c).collect()
    }

    /// Images of centred rows.
    #[must_use]
    pub fn embed(&self, centred: Vec<f64>) -> Vec<f64> {
        let Some((g, _)) = &self.components else {
            return centred;
        };
        let mut images = vec![0.0; centred.len() / self.features * self.dimensions()];
        product_nt_fast(&centred, g, self.features, &mut images);
        images
    }

    /// `M` times each row.
    pub fn dual_rows(&self, rows: Vec<f64>, team: &Team, control: &Control) -> Result<Vec<f64>> {
        let Some((g, columns)) = &self.components else {
            return Ok(rows);
        };
        let images = mapped(&rows, g, self.features, team, control)?;
        mapped(&images, columns, self.dimensions(), team, control)
    }

    /// `G S` for a symmetric `S (d, d)`.
    #[must_use]
    pub fn times(&self, symmetric: &[f64]) -> Option<Vec<f64>> {
        self.components.as_ref().map(|(g, _)| {
            let mut product = vec![0.0; g.len()];
            product_nt_fast(g, symmetric, self.features, &mut product);
            product
        })
    }

    #[must_use]
    pub fn all_images(&self) -> &[f64] {
        if self.components.is_some() { &self.images } else { &self.centred }
    }

    #[must_use]
    pub fn point(&self, k: usize) -> &[f64] {
        &self.centred[k * self.features..][..self.features]
    }

    #[must_use]
    pub fn image(&self, k: usize) -> &[f64] {
        let p = self.dimensions();
        &self.all_images()[k * p..][..p]
    }

    #[must_use]
    pub fn dual(&self, k: usize) -> &[f64] {
        if self.components.is_some() {
            &self.duals[k * self.features..][..self.features]
        } else {
            self.point(k)
        }
    }
}

/// `A Bᵀ` for row-major `A (n, k)`, `B (p, k)`.
fn mapped(a: &[f64], b: &[f64], k: usize, team: &Team, control: &Control) -> Result<Vec<f64>> {
    let (n, p) = (a.len() / k, b.len() / k);
    let mut out = vec![0.0; n * p];
    team.for_chunks(
        n,
        BLOCK,
        control,
        || (),
        |(), range| {
            let mut part = vec![0.0; range.len() * p];
            product_nt_fast(&a[range.start * k..range.end * k], b, k, &mut part);
            part
        },
        |range, part: Vec<f64>| out[range.start * p..range.end * p].copy_from_slice(&part),
    )?;
    Ok(out)
}

/// `‖G‖₂ ≤ ‖(GᵀG)²‖_F^¼`: for two products, and close where the spectrum decays.
fn norm_bound(g: &[f64], d: usize) -> f64 {
    let columns = transposed(g, d);
    let (side, rows, k) = if g.len() / d < d { (g.len() / d, g, d) } else { (d, &columns[..], g.len() / d) };
    let (mut gram, mut square) = (vec![0.0; side * side], vec![0.0; side * side]);
    product_nt_fast(rows, rows, k, &mut gram);
    // Of trace one, so that the eighth power of a small G is not lost.
    let trace: f64 = gram.iter().step_by(side + 1).sum();
    gram.iter_mut().for_each(|x| *x /= trace.max(f64::MIN_POSITIVE));
    product_nt_fast(&gram, &gram, side, &mut square);
    // A little for rounding.
    1.000_001 * trace.sqrt() * squared_norm(&square).powf(0.125)
}
