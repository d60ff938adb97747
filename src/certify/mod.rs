//! Certified radii: how far a test point must move before the classifier's answer changes.

pub mod bound;
pub mod cell;
pub mod finish;
pub mod frame;
pub mod guide;
pub mod interval;
pub mod nearest;
pub mod pool;
pub mod probe;
pub mod scene;
pub mod screen;
pub mod vote;
pub mod witness;

use crate::certify::nearest::{Draft, NearestCertifier};
use crate::certify::scene::Scene;
use crate::certify::vote::case::{Method, Question};
use crate::certify::vote::certifier::VoteCertifier;
use crate::certify::witness::Proof;
use crate::error::{Error, Result};
use crate::geometry::matrix::product_nt;
use crate::geometry::predicates::{Digits, digits_of};
use crate::geometry::simd::Kernels;
use crate::parallel::{Control, Team};
use crate::search::embed::{Embedded, Query};
use crate::search::index::Index;
use crate::search::neighbors::for_scales;
use crate::search::scan::{Tile, tile_size};
use std::ops::Range;
use std::time::Instant;

/// Most tiles per chunk: rows are embedded by the chunk, and a chunk is what one thread takes at a time.
const CHUNK_TILES: usize = 6;
/// Test points that one thread takes at a time under a vote.
const VOTES_CHUNK: usize = 4;
/// Few points are shared out in this many chunks a thread, if there are as many tiles.
const SHARES: usize = 2;

/// What is known of a test point's radius.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Both ends agree, up to rounding.
    Exact,
    /// A valid interval with a gap.
    Bounded,
    /// The answer is wrong without any perturbation: radius 0.
    Misclassified,
    /// The time limit came first: `[0, ∞)`.
    Unfinished,
}

impl Status {
    /// Names, in the order of the discriminants.
    pub const NAMES: [&'static str; 4] = ["exact", "bounded", "misclassified", "unfinished"];
}

/// The certified radius of one test point, in the caller's units, ℓ2 in input space.
#[derive(Debug, Clone)]
pub struct Radius {
    /// Proven: `lower ≤ r*`.
    pub lower: f64,
    /// Proven: `r* ≤ upper`, the norm of a perturbation that was re-predicted; infinite if there is none.
    pub upper: f64,
    pub status: Status,
    /// Class without perturbation; −1 where unknown.
    pub predicted: i64,
    /// The training row whose cell the adversarial point lies in; −1 if there is none.
    pub rival: i64,
    /// The adversarial point, if asked for; the test point itself where there is none.
    pub adversarial: Option<Vec<f64>>,
    /// What a sceptic needs to check `lower`, if asked for.
    pub proof: Option<Box<Proof>>,
    pub seconds: f64,
    pub programs: u32,
    pub steps: u32,
    /// Nodes of the search over sets of neighbours.
    pub nodes: u64,
    /// What its most delicate comparison of distances needed.
    pub digits: Digits,
}

impl Default for Radius {
    fn default() -> Self {
        Self {
            lower: 0.0,
            upper: f64::INFINITY,
            status: Status::Unfinished,
            predicted: -1,
            rival: -1,
            adversarial: None,
            proof: None,
            seconds: 0.0,
            programs: 0,
            steps: 0,
            nodes: 0,
            digits: Digits::default(),
        }
    }
}

impl Radius {
    fn misclassified(class: usize) -> Self {
        Self { upper: 0.0, status: Status::Misclassified, predicted: class as i64, ..Self::default() }
    }

    /// No row of another class can ever be the nearest.
    fn unreachable() -> Self {
        Self { lower: f64::INFINITY, status: Status::Exact, ..Self::default() }
    }
}

/// Test points, row-major, with their true classes (−1 for one that training never saw) if those are to be certified
/// instead of the predicted ones.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    pub queries: &'a [f64],
    pub codes: Option<&'a [i64]>,
    pub wanted: Wanted,
}

/// What is to come back with each radius.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// An adversarial point.
    pub adversarial: bool,
    /// What a sceptic needs to check the lower end.
    pub proof: bool,
}

/// Certified radii of 1-NN, in the order of the points.
///
/// Cost per point: one thin product with the training set and, typically, the work of one or two small quadratic
/// programs. Points that the time limit leaves out are [`Status::Unfinished`].
pub fn certify(index: &Index, points: Points, team: &Team, control: &Control) -> Result<Vec<Radius>> {
    let chunk =
        |tile: usize, count: usize| tile * count.div_ceil(tile * SHARES * team.jobs()).clamp(1, CHUNK_TILES);
    let work = |tile: &mut Tile, certifier: &mut _, batch: &Batch| batch.certify(tile, certifier);
    for_points(index, points, (team, control), chunk, NearestCertifier::new, work)
}

/// Certified radii under a vote of `K` neighbours, in the order of the points.
///
/// Cost per point: that of its neighbours, and of as many small quadratic programs as the search of [`vote`] needs.
pub fn certify_votes(
    index: &Index,
    points: Points,
    question: Question,
    team: &Team,
    control: &Control,
) -> Result<Vec<Radius>> {
    if let Some(most) = question.call_node_limit {
        control.allow_steps(most);
    }
    let work = |tile: &mut Tile, certifier: &mut VoteCertifier, batch: &Batch| {
        batch.certify_votes(tile, certifier, question)
    };
    // A search may take long at any point; bounds and attacks take much the same at all.
    let chunk = |tile: usize, count: usize| match question.method {
        Method::Exact => VOTES_CHUNK,
        Method::Bound | Method::Attack => tile.min(count.div_ceil(SHARES * team.jobs())).max(VOTES_CHUNK),
    };
    for_points(index, points, (team, control), chunk, |_| VoteCertifier::default(), work)
}

/// Shares points out in chunks, of a size that depends on that of a tile and the number of points.
fn for_points<W: Send>(
    index: &Index,
    Points { queries, codes, wanted }: Points,
    (team, control): (&Team, &Control),
    chunk: impl Fn(usize, usize) -> usize,
    make: impl Fn(&Index) -> W + Sync,
    work: impl Fn(&mut Tile, &mut W, &Batch) -> Vec<Radius> + Sync,
) -> Result<Vec<Radius>> {
    let d = index.features();
    let total = queries.len() / d;
    if queries.len() != total * d {
        return Err(Error::Shape { argument: "queries", expected: total * d, found: queries.len() });
    }
    if let Some(found) = codes.map(<[i64]>::len).filter(|&found| found != total) {
        return Err(Error::Shape { argument: "codes", expected: total, found });
    }
    let mut radii: Vec<Radius> = vec![Radius::default(); total];
    control.expect(total);
    for_scales(index, queries, team, control, |index, ids| {
        team.for_chunks(
            ids.len(),
            chunk(tile_size(index), ids.len()),
            control,
            || (Tile::default(), make(index)),
            |(tile, certifier), range| {
                let ids = &ids[range];
                let rows: Vec<f64> = ids.iter().flat_map(|&i| &queries[i * d..][..d]).copied().collect();
                let expected: Option<Vec<i64>> = codes.map(|codes| ids.iter().map(|&i| codes[i]).collect());
                let (kernels, expected) = (Kernels::best(), expected.as_deref());
                work(tile, certifier, &Batch { index, kernels, rows: &rows, expected, wanted, control })
            },
            |range: Range<usize>, part: Vec<Radius>| {
                for (&id, radius) in ids[range].iter().zip(part) {
                    radii[id] = radius;
                }
            },
        )
    })?;
    for (radius, row) in radii.iter_mut().zip(queries.chunks_exact(d)) {
        radius.adversarial =
            wanted.adversarial.then(|| radius.adversarial.take().unwrap_or_else(|| row.to_vec()));
    }
    Ok(radii)
}

/// A chunk of test points on one thread.
struct Batch<'a> {
    index: &'a Index,
    kernels: &'a Kernels,
    rows: &'a [f64],
    expected: Option<&'a [i64]>,
    wanted: Wanted,
    control: &'a Control,
}

impl Batch<'_> {
    fn certify_votes(
        &self,
        tile: &mut Tile,
        certifier: &mut VoteCertifier,
        question: Question,
    ) -> Vec<Radius> {
        let Batch { index, kernels, rows, expected, control, .. } = *self;
        let embedded = index.embed_queries(rows);
        let mut radii = vec![Radius::default(); embedded.points.len()];
        tile.compute(index, kernels, &embedded.points);
        for (i, (radius, row)) in radii.iter_mut().zip(rows.chunks_exact(index.features())).enumerate() {
            // Another thread's long search comes before the next point.
            control.help();
            if control.must_stop() {
                break;
            }
            let (clock, query) = (Instant::now(), embedded.query(i, row));
            // The class comes with the neighbours.
            let scene = Scene { index, kernels, scores: tile.scores(i), query: &query, class: 0..0, control };
            let expected = expected.map(|codes| codes[i]);
            let (found, digits) = digits_of(|| certifier.certify(scene, expected, question));
            *radius = Radius { digits, ..found };
            radius.seconds = clock.elapsed().as_secs_f64();
            control.advance(1);
        }
        radii
    }

    fn certify(&self, tile: &mut Tile, certifier: &mut NearestCertifier) -> Vec<Radius> {
        let total = self.rows.len() / self.index.features();
        let mut radii = vec![Radius::default(); total];
        if self.control.must_stop() {
            return radii;
        }
        let clock = Instant::now();
        let embedded = self.index.embed_queries(self.rows);
        let shared = clock.elapsed().as_secs_f64() / total as f64;
        for start in (0..total).step_by(tile_size(self.index)) {
            let clock = Instant::now();
            let points = start..total.min(start + tile_size(self.index));
            tile.compute(self.index, self.kernels, &embedded.points[points.clone()]);
            let share = shared + clock.elapsed().as_secs_f64() / points.len() as f64;
            let part = Part { batch: self, tile, embedded: &embedded, points: points.clone() };
            let Some(drafts) = part.search(certifier, share) else {
                return radii;
            };
            part.finish(certifier, drafts, &mut radii[points]);
        }
        radii
    }
}

/// The test points of one tile.
struct Part<'a> {
    batch: &'a Batch<'a>,
    tile: &'a Tile,
    embedded: &'a Embedded,
    points: Range<usize>,
}

impl Part<'_> {
    fn query(&self, i: usize) -> Query<'_> {
        let d = self.batch.index.features();
        let id = self.points.start + i;
        self.embedded.query(id, &self.batch.rows[id * d..][..d])
    }

    fn scene<'a>(&'a self, i: usize, query: &'a Query<'a>, class: Range<usize>) -> Scene<'a> {
        let Batch { index, kernels, control, .. } = *self.batch;
        Scene { index, kernels, scores: self.tile.scores(i), query, class, control }
    }

    /// `None`: told to stop.
    fn search(&self, certifier: &mut NearestCertifier, share: f64) -> Option<Vec<Draft>> {
        let Batch { expected, control, .. } = *self.batch;
        let mut drafts = Vec::with_capacity(self.points.len());
        for (i, id) in self.points.clone().enumerate() {
            if control.must_stop() {
                return None;
            }
            let (clock, query) = (Instant::now(), self.query(i));
            let expected = expected.map(|codes| codes[id]);
            // The class comes with the draft.
            let scene = self.scene(i, &query, 0..0);
            let (mut draft, digits) = digits_of(|| {
                let mut draft = certifier.search(scene, expected);
                certifier.prepare(&self.scene(i, &query, draft.class.clone()), &mut draft);
                draft
            });
            draft.radius.digits = digits;
            draft.radius.seconds = share + clock.elapsed().as_secs_f64();
            drafts.push(draft);
        }
        Some(drafts)
    }

    fn finish(&self, certifier: &mut NearestCertifier, drafts: Vec<Draft>, radii: &mut [Radius]) {
        let Batch { index, wanted, control, .. } = *self.batch;
        let (d, p) = (index.features(), index.embedding().dimensions());
        let clock = Instant::now();
        let rows: Vec<f64> = drafts.iter().flat_map(|draft| &draft.row).copied().collect();
        let mut inputs = vec![0.0; rows.len() / p * d];
        if !rows.is_empty() {
            product_nt(&rows, index.embedding().columns(), p, &mut inputs);
        }
        let share = clock.elapsed().as_secs_f64() / drafts.len() as f64;
        let mut inputs = inputs.chunks_exact(d);
        for (i, draft) in drafts.into_iter().enumerate() {
            if control.must_stop() {
                return;
            }
            let (clock, query) = (Instant::now(), self.query(i));
            let input = if draft.row.is_empty() { None } else { inputs.next() };
            let scene = self.scene(i, &query, draft.class.clone());
            let (found, digits) = digits_of(|| certifier.finish(&scene, draft, input, wanted));
            radii[i] = Radius { digits: digits.max(found.digits), ..found };
            radii[i].seconds += share + clock.elapsed().as_secs_f64();
            control.advance(1);
        }
    }
}
