//! The few class-c rows that matter for one test point, with their inner products.

use crate::certify::frame::{Frame, Member, Space};
use crate::geometry::dot::dot;
use crate::search::embed::Query;
use crate::search::index::Index;

/// The pool of one test point.
pub struct Pool {
    frame: Frame,
    members: Vec<Member>,
    used: usize,
    /// Inner products of members, lower triangle, row after row.
    gram: Vec<f64>,
}

impl Pool {
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self { frame: Frame::new(space), members: Vec::new(), used: 0, gram: Vec::new() }
    }

    /// The coordinates of its rows.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Empties the pool for another test point; `origin` becomes the point that differences are taken to.
    pub fn reset(&mut self, index: &Index, query: &Query, origin: usize) {
        self.used = 0;
        self.gram.clear();
        self.frame.reset(index, query, origin);
    }

    /// Fills a member with the row at a position.
    pub fn gather(&mut self, index: &Index, query: &Query, position: usize, out: &mut Member) {
        self.frame.gather(index, query, position, out);
    }

    /// Adds a member and its inner products; returns its slot.
    pub fn add(&mut self, index: &Index, query: &Query, position: usize) -> usize {
        let mut member = if self.used < self.members.len() {
            std::mem::take(&mut self.members[self.used])
        } else {
            self.members.push(Member::default());
            Member::default()
        };
        self.gather(index, query, position, &mut member);
        for other in &self.members[..self.used] {
            self.gram.push(dot(&other.row, member.dual()));
        }
        self.gram.push(dot(&member.row, member.dual()));
        self.members[self.used] = member;
        self.used += 1;
        self.used - 1
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members[..self.used]
    }

    /// Whether the row at a position is a member.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.members().iter().any(|m| m.position == position)
    }

    /// Inner product of two members.
    #[must_use]
    pub fn product(&self, i: usize, l: usize) -> f64 {
        let (high, low) = (i.max(l), i.min(l));
        self.gram[high * (high + 1) / 2 + low]
    }
}
