//! Images in binary32, whose products say quickly how far apart they may be.

use crate::geometry::rounding::{exponent, power_of_two};
use crate::geometry::simd::Kernels;
use crate::learning::images::vanished;
use std::ops::Range;

/// Images in binary32, by a power of two to magnitude one.
pub struct Single {
    pub images: Vec<f32>,
    pub squares: Vec<f32>,
    pub scale: f64,
    pub dimensions: usize,
    kernels: &'static Kernels,
}

impl Single {
    #[must_use]
    pub fn new(images: &[f64], dimensions: usize) -> Self {
        let largest = images.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let scale = power_of_two(-exponent(largest).unwrap_or(0).clamp(-1000, 1000));
        let images: Vec<f32> = images.iter().map(|x| (x * scale) as f32).collect();
        let squares = images.chunks_exact(dimensions).map(|t| t.iter().map(|x| x * x).sum()).collect();
        Self { images, squares, scale, dimensions, kernels: Kernels::best() }
    }

    /// What a square from products may be off by, as a share of the two squares in it.
    #[must_use]
    pub fn off(&self) -> f32 {
        6.0 * (self.dimensions as f32 + 8.0) * f32::EPSILON
    }

    /// The squared distance of two images, off by less than one from products.
    #[must_use]
    pub fn square(&self, a: usize, b: usize) -> f32 {
        let row = |i: usize| &self.images[i * self.dimensions..][..self.dimensions];
        self.kernels.squared_distance(row(a), row(b))
    }

    /// What the squared distance of two images is at least.
    #[must_use]
    pub fn square_down(&self, a: usize, b: usize) -> f64 {
        let square = self.square(a, b);
        let rounding = (self.dimensions as f64 + 8.0) * f64::from(f32::EPSILON);
        (f64::from(square) * (1.0 - rounding) - f64::from(vanished(self.dimensions))).max(0.0)
    }

    /// The images of a range, row-major.
    #[must_use]
    pub fn rows(&self, range: &Range<usize>) -> &[f32] {
        &self.images[range.start * self.dimensions..range.end * self.dimensions]
    }
}
