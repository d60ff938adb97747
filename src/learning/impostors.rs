//! Impostors: for every row the rows of other classes that come within its limits, in a metric that changes.
//!
//! Where they are few, pairs of rows that may be some are kept: while images have moved little, all others are still too
//! far from each other, and only the kept ones are compared. Where impostors are many, sums go over all pairs. What is an
//! impostor is decided in binary64 in any case: what was asked before makes no difference.

use crate::error::Result;
use crate::geometry::dot::squared_distance;
use crate::learning::impostor_pairs::{NearPairs, Room};
use crate::parallel::{Control, Team};
use std::time::{Duration, Instant};

/// Impostors that are few for any number of rows, and for each limit of a row; of so many pairs one is no longer few.
const FEW: usize = 1 << 21;
const FEW_EACH: usize = 16;
const SPARSE: usize = 16;

/// How far images may move before pairs are sought again, as a share of the mean limit: at first, at least and at
/// most, and by what that changes.
const FIRST_SLACK: f64 = 0.1;
const LEAST_SLACK: f64 = 1e-4;
const MOST_SLACK: f64 = 1.0;
const CHANGE: f64 = 1.5;

/// Rows with their images under a metric, of which only differences matter; both lie around the origin.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// `(n, d)`.
    pub rows: &'a [f64],
    /// `(n, p)`.
    pub images: &'a [f64],
    pub codes: &'a [i64],
    /// `(n, k)`: squared distances below which a row of another class is an impostor, once for each.
    pub limits: &'a [f64],
}

impl Scene<'_> {
    /// The squared distance of two images, which decides.
    #[must_use]
    pub fn square(&self, a: usize, b: usize) -> f64 {
        let [_, p, _] = self.shape();
        squared_distance(&self.images[a * p..][..p], &self.images[b * p..][..p], 1.0)
    }

    /// The squared distance of two rows one of which is an impostor of the other.
    #[must_use]
    pub fn impostor(&self, a: usize, b: usize) -> Option<f64> {
        let square = self.square(a, b);
        self.within([a, b], square).next().map(|_| square)
    }

    /// Of the limits of two rows those that their squared distance is within: the row, and which of its limits.
    pub fn within(&self, pair: [usize; 2], square: f64) -> impl Iterator<Item = (usize, usize)> {
        let [_, _, k] = self.shape();
        let limits = pair.into_iter().flat_map(move |row| (0..k).map(move |slot| (row, slot)));
        limits.filter(move |&(row, slot)| square < self.limits[row * k + slot])
    }

    /// How many impostors are few.
    fn few(&self) -> usize {
        let [n, _, k] = self.shape();
        FEW.max(FEW_EACH * n * k).min(n * n / SPARSE)
    }

    /// The numbers n, p and k.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        let n = self.codes.len();
        [n, self.images.len() / n, self.limits.len() / n]
    }
}

/// Pairs that are impostors of one another's, in order, and how many times each.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    pub first: Vec<i64>,
    pub second: Vec<i64>,
    pub times: Vec<f64>,
    /// The squared distances of all impostors.
    pub total: f64,
}

/// How they are given: one by one, or as `Σ (x_i − x_l)(x_i − x_l)ᵀ`, `(d, d)`, where they are many.
#[derive(Debug, Clone)]
pub enum Sum {
    Pairs(Pushed),
    Outer(Vec<f64>),
}

/// How many impostors there are, `(n, k)`, and which.
#[derive(Debug, Clone)]
pub struct Found {
    pub counts: Vec<i64>,
    pub sum: Sum,
}

impl Found {
    fn count(&self) -> usize {
        self.counts.iter().sum::<i64>() as usize
    }
}

/// What is known from the last metric.
pub struct Impostors {
    kept: Option<NearPairs>,
    /// Whether they were many.
    are_many: bool,
    slack: f64,
    /// What the last search for pairs took, and what their comparisons have taken since.
    search: Duration,
    since: Duration,
}

impl Default for Impostors {
    fn default() -> Self {
        let none = Duration::ZERO;
        Self { kept: None, are_many: false, slack: FIRST_SLACK, search: none, since: none }
    }
}

impl Impostors {
    /// Cost: `n² p / 2`, or where images have moved little `n p` and a little for every pair that was kept; where
    /// impostors are many `n² (p + d) / 2` and `n² k` comparisons. Memory: 50 bytes for each of twice as many pairs as
    /// impostors are few.
    pub fn find(&mut self, scene: &Scene, team: &Team, control: &Control) -> Result<Found> {
        // The rule looks at the impostors alone, so that those of a metric are given in one way.
        if !self.are_many
            && let Some(found) = self.one_by_one(scene, team, control)?
        {
            return Ok(found);
        }
        self.kept = None;
        let found = scene.sums(team, control)?;
        self.are_many = found.count() > scene.few();
        if self.are_many {
            return Ok(found);
        }
        Ok(self.one_by_one(scene, team, control)?.unwrap_or(found))
    }

    /// The impostors, if they are few.
    fn one_by_one(&mut self, scene: &Scene, team: &Team, control: &Control) -> Result<Option<Found>> {
        let found = match self.among_kept(scene, team, control)? {
            Some(found) => Some(found),
            None => self.among_new(scene, team, control)?,
        };
        Ok(found.filter(|found| found.count() <= scene.few()))
    }

    /// Those among the kept pairs, as long as there are no others.
    fn among_kept(&mut self, scene: &Scene, team: &Team, control: &Control) -> Result<Option<Found>> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let begun = Instant::now();
        let found = kept.impostors(scene, team, control)?;
        self.since += begun.elapsed();
        if found.is_none() {
            // A longer list lasts longer, and each look at it takes longer.
            let factor = if self.since < self.search { CHANGE } else { 1.0 / CHANGE };
            self.slack = (self.slack * factor).min(MOST_SLACK);
        }
        Ok(found)
    }

    /// Those among new pairs, which are kept if there is room for more than the impostors themselves.
    fn among_new(&mut self, scene: &Scene, team: &Team, control: &Control) -> Result<Option<Found>> {
        self.kept = None;
        for slack in [self.slack, self.slack / 4.0] {
            let begun = Instant::now();
            if slack < LEAST_SLACK {
                break;
            }
            let room = Room { slack, most: 2 * scene.few() };
            if let Some(kept) = NearPairs::within(scene, room, team, control)?
                && let Some(found) = kept.impostors(scene, team, control)?
            {
                (self.slack, self.search, self.since) = (slack, begun.elapsed(), Duration::ZERO);
                self.kept = Some(kept);
                return Ok(Some(found));
            }
        }
        // Where there was no room for pairs it is not sought again at once.
        self.slack *= if self.slack < LEAST_SLACK { CHANGE } else { 1.0 / 64.0 };
        NearPairs::only_impostors(scene, scene.few(), team, control)
    }
}
