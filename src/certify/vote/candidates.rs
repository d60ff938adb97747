//! The rows that a search sees: some to begin with, and all that can matter below a limit.

use crate::certify::scene::Scene;
use crate::certify::screen::{Claim, Screen};
use crate::certify::vote::case::{Case, Clock, Method};
use crate::certify::vote::field::Field;
use crate::certify::vote::tree::Tree;
use crate::geometry::rounding::up;
use crate::search::neighbors::{NeighborSearch, high};
use std::cell::OnceCell;

/// Nearest rows that the search begins with: of the class, and of all others, besides some for each vote.
const FIRST_OWN: usize = 8;
const FIRST_OTHERS: usize = 16;
/// Rows of the class that candidates are compared with, besides as many as may be inside.
const JUDGES: usize = 6;
/// Rows of other classes that are searched at most.
const MOST_CANDIDATES: usize = 40_000;
/// Rows that an attack begins with besides K of the class and, twice, of all others.
const PROMISING: usize = 3;

impl Case<'_> {
    /// Adds the rows that a method begins with.
    pub(super) fn begin(&self, neighbors: &mut NeighborSearch, field: &mut Field) {
        let k = self.question.k;
        match self.question.method {
            Method::Bound => self.add_promising(field, self.most_own() + 1 + JUDGES, k + JUDGES),
            Method::Attack => self.add_promising(field, k + PROMISING, 2 * (k + PROMISING)),
            Method::Exact => self.add_nearest(neighbors, field),
        }
    }

    /// Rows of the class and of the others with the least scores: which ones matters little to a bound or an attack.
    fn add_promising(&self, field: &mut Field, own: usize, rest: usize) {
        let Scene { scores, class, .. } = self.scene;
        let others = self.scene.others();
        let mut found = Vec::new();
        let lists = [(std::slice::from_ref(class), own), (&others[..], rest)];
        for (ranges, count) in lists {
            scores.least(ranges, count, &mut found);
            field.add(found.iter().map(|f| f.1 as usize));
        }
    }

    /// The nearest rows of the class and of the others.
    fn add_nearest(&self, neighbors: &mut NeighborSearch, field: &mut Field) {
        let Scene { index, kernels, scores, query, class, .. } = self.scene;
        let k = self.question.k;
        let others = self.scene.others();
        let lists = [(std::slice::from_ref(class), k + FIRST_OWN), (&others[..], 2 * k + FIRST_OTHERS)];
        for (ranges, count) in lists {
            neighbors.collect(index, kernels, *scores, query, ranges, count);
            neighbors.candidates.sort_by(|a, b| a.low.total_cmp(&b.low).then(a.position.cmp(&b.position)));
            field.add(neighbors.candidates.iter().take(count).map(|c| c.position));
        }
    }

    /// Most rows of the class that any way to lose leaves inside.
    pub(super) fn most_own(&self) -> usize {
        let of_pairs = self.pairs.iter().map(|pair| pair.own).max().unwrap_or(0);
        // The majority's pair is asked in place of others.
        of_pairs.max(self.question.k / 2)
    }

    /// Positions of rows that decide which other rows matter.
    pub(super) fn all_judges(&self, tree: &Tree) -> Vec<usize> {
        if !self.question.proof {
            return Vec::new();
        }
        let own = self.nearest_own(tree.field, self.most_own() + 1 + JUDGES);
        let mut judges: Vec<usize> =
            own.iter().chain(&tree.judges).map(|&k| tree.field.entries[k].position).collect();
        judges.extend(&self.nearest);
        judges.sort_unstable();
        judges.dedup();
        judges
    }

    /// Adds all rows of other classes that can be inside for some `δ` below the limit; `false`: there are too many, or
    /// time is up.
    pub(super) fn add_candidates(&self, field: &mut Field, limit: f64, is_late: impl Fn() -> bool) -> bool {
        let most_own = self.most_own();
        let judges = if limit.is_finite() { self.nearest_own(field, most_own + 1 + JUDGES) } else { vec![] };
        let clock = Clock::new(judges.len(), is_late);
        let mut found = self.passing(field, judges.get(..=most_own), limit);
        self.screen(field, &judges, limit, (&mut found, &clock));
        // What the screen lets through is compared again without its tangents: of outlying points little is left.
        let target = up(limit * limit);
        field.add_where(found, |field, j| {
            let beyond = judges.iter().filter(|&&i| field.triplet_bound(j, i) >= target);
            field.len() <= MOST_CANDIDATES + 1
                && !clock.is_late()
                && beyond.take(most_own + 1).count() <= most_own
        });
        field.len() <= MOST_CANDIDATES && !clock.is_over()
    }

    /// Positions of other classes that one test for the first judges lets through: it drops most.
    fn passing(&self, field: &Field, first: Option<&[usize]>, limit: f64) -> Vec<usize> {
        let Scene { index, kernels, scores, query, .. } = self.scene;
        // A row inside is nearer than the last of the K neighbours, and than one of any `own + 1` rows of the class.
        let position = |&i: &usize| field.entries[i].position;
        let distance = |i: &usize| high(index.squared_distance(position(i), query));
        let farthest = first.map_or(f64::INFINITY, |own| own.iter().map(distance).fold(0.0, f64::max));
        let near = first.unwrap_or_default().iter().map(position).chain(self.nearest.iter().copied());
        let norm = near.map(|position| index.norm(position)).fold(0.0, f64::max);
        let reach = index.reach(query, (self.reach.min(farthest), norm), limit);
        let screen = first.map(|first| self.aimed(field, first, limit));
        let (mut found, mut near) = (Vec::new(), Vec::new());
        let threshold = index.ladder().threshold(query.point, reach);
        for range in self.scene.others() {
            match &screen {
                Some(Screen { centre, limit, .. }) => {
                    let (part, around) = ((range, threshold), (centre, *limit));
                    scores.scan_around(index, kernels, part, around, &mut near, |at, _, _| found.push(at));
                }
                None => scores.scan(range, threshold, |at| {
                    found.push(at);
                    threshold
                }),
            }
        }
        found.retain(|&position| field.find(position).is_none());
        found
    }

    /// Drops the positions that are beyond the limit for too many of the judges.
    fn screen(
        &self,
        field: &Field,
        judges: &[usize],
        limit: f64,
        (found, clock): (&mut Vec<usize>, &Clock<impl Fn() -> bool>),
    ) {
        let Scene { index, kernels, .. } = self.scene;
        let most_own = self.most_own();
        // Few positions meet the later judges.
        let screens: Vec<OnceCell<Screen>> = judges.iter().map(|_| OnceCell::new()).collect();
        let is_beyond = |screen: &Screen, position: usize| {
            let limit = screen.limit.of(index.normal_squares()[position]);
            index.ladder().within(kernels, position, &screen.centre, limit).is_none()
        };
        found.retain(|&position| {
            let mut beyond = 0;
            let mut drops = |(screen, &i): (&OnceCell<Screen>, &usize)| {
                let screen = screen.get_or_init(|| self.aimed(field, &[i], limit));
                beyond += usize::from(is_beyond(screen, position));
                beyond > most_own
            };
            clock.is_late() || !screens.iter().zip(judges).any(&mut drops)
        });
    }

    /// A screen that is aimed at some rows of the class.
    fn aimed(&self, field: &Field, judges: &[usize], limit: f64) -> Screen {
        let Scene { index, query, .. } = self.scene;
        let own: Vec<_> = judges.iter().map(|&i| (field.entries[i].position, 1.0)).collect();
        // Any row does as an example of how long normals are.
        let rival = field.classes.iter().position(|&class| class as usize != self.class);
        let mut screen = Screen::default();
        screen.aim_at(
            index,
            query,
            (&own, Claim::Each),
            rival.map_or(own[0].0, |k| field.entries[k].position),
            limit,
        );
        screen
    }
}
