//! What the steps of one test point share.

use crate::geometry::simd::Kernels;
use crate::parallel::Control;
use crate::search::embed::Query;
use crate::search::index::Index;
use crate::search::scan::Scores;
use std::ops::Range;

/// What every step of one test point needs to see.
pub struct Scene<'a> {
    pub index: &'a Index,
    pub kernels: &'a Kernels,
    pub scores: Scores<'a>,
    pub query: &'a Query<'a>,
    /// Positions of the predicted class.
    pub class: Range<usize>,
    pub control: &'a Control,
}

impl Scene<'_> {
    /// Positions of all other classes.
    #[must_use]
    pub fn others(&self) -> [Range<usize>; 2] {
        [0..self.class.start, self.class.end..self.index.len()]
    }
}
