//! The training rows that matter for the vote at one moved test point, with their inner products, and the lower
//! bound that any weights on them prove.
//!
//! With `e_k(δ) = d²(z, x_k)/2 − ⟨M(x_k − z), δ⟩`, half the squared distance from `z + δ` less what all rows share, the
//! order of the `e_k` is the order of the distances. Perturbations are `δ = Σ s_k M x_k` with `Σ s_k = 0`, which do not
//! change when all rows are taken relative to one of them.

use crate::certify::frame::{Frame, Member, Rates, Space};
use crate::geometry::dot::dot;
use crate::geometry::matrix::product_nt;
use crate::search::distance::Measured;
use crate::search::embed::Query;
use crate::search::index::Index;
use rustc_hash::{FxBuildHasher, FxHashMap};

/// A row's weight: positive for a row that is to be among the nearest, negative for one that is not.
pub type Weight = (usize, f64);

/// What is known of one row.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub position: usize,
    /// `d²(z, x)` less that of the origin, halved.
    pub half: Measured,
    /// The row in the same place that precedes this one whatever `δ` is.
    pub before: Option<usize>,
    pub(super) norm: f64,
    pub(super) dual_norm: f64,
    pub(super) reach: f64,
}

/// The rows of one test point, in the order in which they were added.
#[derive(Clone)]
pub struct Field<'a> {
    pub(super) index: &'a Index,
    query: &'a Query<'a>,
    pub(super) frame: Frame,
    pub entries: Vec<Entry>,
    /// By row, as nodes look at them.
    pub classes: Vec<u32>,
    /// `d²/2` by row, as programs see it; bounds are made of the entries.
    pub halves: Vec<f64>,
    /// The largest of their magnitudes.
    pub scale: f64,
    /// `‖M(x_k − x_o)‖²`, nearly.
    pub squares: Vec<f64>,
    known: FxHashMap<usize, usize>,
    /// `t − t_o`, and `BBᵀ(t − t_o)` where the metric is not the Euclidean.
    rows: Vec<f64>,
    duals: Vec<f64>,
    products: Vec<Option<Vec<f64>>>,
    prepared: usize,
    /// Rows by distance from the test point, and how many of them have been foreseen.
    order: Vec<usize>,
    next: usize,
    pub(super) rates: Rates,
    member: Member,
}

impl<'a> Field<'a> {
    /// A field without rows; `origin` is the position of the row that differences are taken to.
    #[must_use]
    pub fn new(index: &'a Index, query: &'a Query<'a>, origin: usize) -> Self {
        let mut frame = Frame::new(if index.metric().is_euclidean() { Space::Rows } else { Space::Images });
        frame.reset(index, query, origin);
        let rates = frame.error_rates(index);
        Self {
            index,
            query,
            frame,
            entries: Vec::with_capacity(USUAL),
            classes: Vec::with_capacity(USUAL),
            halves: Vec::with_capacity(USUAL),
            scale: 0.0,
            squares: Vec::with_capacity(USUAL),
            known: FxHashMap::with_capacity_and_hasher(USUAL, FxBuildHasher),
            rows: Vec::with_capacity(USUAL * index.embedding().dimensions()),
            duals: Vec::new(),
            products: Vec::with_capacity(USUAL),
            prepared: 0,
            order: Vec::new(),
            next: 0,
            rates,
            member: Member::default(),
        }
    }

    /// Position of the row that differences are taken to.
    #[must_use]
    pub fn origin(&self) -> usize {
        self.frame.origin()
    }

    /// `‖M(x_k − x_o)‖`, nearly.
    #[must_use]
    pub fn normal(&self, k: usize) -> f64 {
        self.squares[k].max(0.0).sqrt()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the row at a position, if it is here.
    #[must_use]
    pub fn find(&self, position: usize) -> Option<usize> {
        self.known.get(&position).copied()
    }

    /// Adds the rows at some positions, but for those that are here; returns how many were added.
    pub fn add(&mut self, positions: impl IntoIterator<Item = usize>) -> usize {
        self.add_where(positions, |_, _| true)
    }

    /// Adds those of the rows that pass a test, which sees each as the last row of the field.
    pub fn add_where(
        &mut self,
        positions: impl IntoIterator<Item = usize>,
        passes: impl Fn(&Self, usize) -> bool,
    ) -> usize {
        let first = self.len();
        for position in positions {
            if self.find(position).is_none() {
                self.append(position);
                if passes(self, self.len() - 1) {
                    self.keep_last(position);
                } else {
                    self.drop_last();
                }
            }
        }
        self.extend_products(first);
        self.len() - first
    }

    fn append(&mut self, position: usize) {
        self.frame.gather(self.index, self.query, position, &mut self.member);
        let member = &self.member;
        self.rows.extend_from_slice(&member.row);
        if self.frame.space() == Space::Images {
            self.duals.extend_from_slice(member.dual());
        }
        let half = Measured { value: member.offset.value / 2.0, error: member.offset.error / 2.0 };
        self.entries.push(Entry {
            position,
            half,
            before: None,
            norm: member.norm,
            dual_norm: member.dual_norm,
            reach: member.reach,
        });
        self.classes.push(self.index.class_of(position) as u32);
        self.halves.push(half.value);
        self.squares.push(dot(&member.row, member.dual()));
        self.products.push(None);
    }

    fn keep_last(&mut self, position: usize) {
        let number = self.len() - 1;
        self.scale = self.scale.max(self.halves[number].abs());
        self.known.insert(position, number);
        self.order_copies(number);
    }

    fn drop_last(&mut self) {
        self.entries.pop();
        self.classes.pop();
        self.halves.pop();
        self.squares.pop();
        self.products.pop();
        let left = self.len() * self.dimensions();
        self.rows.truncate(left);
        self.duals.truncate(left);
    }

    /// Forgets the rows that fail a test; the others are numbered anew, in their order.
    pub fn retain(&mut self, passes: impl Fn(usize) -> bool) {
        let kept: Vec<usize> = (0..self.len()).filter(|&k| passes(k)).collect();
        let p = self.dimensions();
        let select = |values: &[f64], width: usize| -> Vec<f64> {
            kept.iter().flat_map(|&k| &values[k * width..][..width]).copied().collect()
        };
        self.rows = select(&self.rows, p);
        if !self.duals.is_empty() {
            self.duals = select(&self.duals, p);
        }
        (self.halves, self.squares) = (select(&self.halves, 1), select(&self.squares, 1));
        self.products =
            kept.iter().map(|&k| self.products[k].take().map(|products| select(&products, 1))).collect();
        self.prepared = self.products.iter().flatten().count();
        self.entries = kept.iter().map(|&k| self.entries[k]).collect();
        self.classes = kept.iter().map(|&k| self.classes[k]).collect();
        self.known = self.entries.iter().enumerate().map(|(k, entry)| (entry.position, k)).collect();
        // Links between copies lead from row to row: those that went are left out.
        for k in 0..self.len() {
            self.entries[k].before = None;
        }
        (0..self.len()).for_each(|k| self.order_copies(k));
        self.order.clear();
    }

    /// Completes the inner products that are kept, from the row `first` on.
    fn extend_products(&mut self, first: usize) {
        let (p, rows) = (self.dimensions(), &self.rows[first * self.dimensions()..]);
        let kept: Vec<usize> = (0..first).filter(|&k| self.products[k].is_some()).collect();
        let count = self.len() - first;
        let mut products = vec![0.0; kept.len() * count];
        if count >= MANY {
            let duals: Vec<f64> = kept.iter().flat_map(|&k| self.dual(k)).copied().collect();
            product_nt(&duals, rows, p, &mut products);
        } else {
            let pairs = kept.iter().flat_map(|&k| rows.chunks_exact(p).map(move |row| (k, row)));
            products.iter_mut().zip(pairs).for_each(|(x, (k, row))| *x = dot(row, self.dual(k)));
        }
        for (i, k) in kept.into_iter().enumerate() {
            if let Some(known) = &mut self.products[k] {
                known.extend_from_slice(&products[i * count..][..count]);
            }
        }
    }

    /// Rows in one place come in the order of their indices.
    fn order_copies(&mut self, number: usize) {
        let index = self.index;
        let rank = |k: usize, entries: &[Entry]| index.row_index(entries[k].position);
        if !index.has_copies() {
            return;
        }
        for other in 0..number {
            if !self.are_copies(other, number) {
                continue;
            }
            let (first, last) = if rank(other, &self.entries) < rank(number, &self.entries) {
                (other, number)
            } else {
                (number, other)
            };
            let later = self.entries[last].before;
            if later.is_none_or(|known| rank(known, &self.entries) < rank(first, &self.entries)) {
                self.entries[last].before = Some(first);
            }
        }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.member.row.len()
    }

    pub(super) fn row(&self, k: usize) -> &[f64] {
        &self.rows[k * self.dimensions()..][..self.dimensions()]
    }

    pub(super) fn dual(&self, k: usize) -> &[f64] {
        dual_of(&self.rows, &self.duals, self.dimensions(), k)
    }

    /// Makes the inner products of some rows with all rows, once. All rows have to be read for that: while they are, the
    /// products of more rows, which are likely to be wanted, cost little.
    pub fn prepare(&mut self, wanted: &[usize]) {
        let mut missing: Vec<usize> =
            wanted.iter().copied().filter(|&k| self.products[k].is_none()).collect();
        if missing.is_empty() {
            return;
        }
        self.foresee(&mut missing);
        let (p, n) = (self.dimensions(), self.len());
        let mut products = vec![0.0; missing.len() * n];
        if missing.len() < FEW {
            for (l, row) in self.rows.chunks_exact(p).enumerate() {
                missing.iter().enumerate().for_each(|(i, &k)| products[i * n + l] = dot(row, self.dual(k)));
            }
        } else {
            let duals: Vec<f64> = missing.iter().flat_map(|&k| self.dual(k)).copied().collect();
            product_nt(&duals, &self.rows, p, &mut products);
        }
        for (k, row) in missing.into_iter().zip(products.chunks_exact(n)) {
            self.products[k] = Some(row.to_vec());
            self.prepared += 1;
        }
    }

    /// Adds the nearest rows that are not prepared: the more, the more have been wanted so far.
    fn foresee(&mut self, missing: &mut Vec<usize>) {
        if self.order.len() != self.len() {
            self.order = (0..self.len()).collect();
            let halves = &self.halves;
            self.order.sort_unstable_by(|&a, &b| halves[a].total_cmp(&halves[b]).then(a.cmp(&b)));
            self.next = 0;
        }
        let most = (FORESEEN / (8 * self.len())).saturating_sub(self.prepared);
        let wanted = FEW.max(self.prepared / 4).min(most);
        while missing.len() < wanted {
            let Some(&k) = self.order.get(self.next) else { break };
            self.next += 1;
            if self.products[k].is_none() && !missing.contains(&k) {
                missing.push(k);
            }
        }
    }

    /// The inner products of a prepared row with all rows.
    #[must_use]
    pub fn products(&self, k: usize) -> &[f64] {
        self.products[k].as_deref().expect("the row is prepared")
    }

    /// The inner product `⟨M(x_k − x_o), M(x_l − x_o)⟩`, nearly; quick if one of the rows is prepared.
    #[must_use]
    pub fn product(&self, k: usize, l: usize) -> f64 {
        if k == l {
            return self.squares[k];
        }
        // Rows that are still being added have no products yet.
        let known =
            |a: usize, b: usize| self.products[a].as_ref().and_then(|products| products.get(b)).copied();
        known(k, l).or_else(|| known(l, k)).unwrap_or_else(|| dot(self.row(l), self.dual(k)))
    }

    /// Whether products with the row are at hand.
    #[must_use]
    pub fn is_prepared(&self, k: usize) -> bool {
        self.products[k].is_some()
    }

    /// Whether two rows lie in the same place.
    #[must_use]
    pub fn are_copies(&self, k: usize, l: usize) -> bool {
        let place = |k: usize| self.index.canonical(self.entries[k].position);
        k == l || self.index.has_copies() && place(k) == place(l)
    }

    /// `‖M(x_k − x_l)‖²`, nearly.
    #[must_use]
    pub fn apart(&self, k: usize, l: usize) -> f64 {
        (self.squares[k] + self.squares[l] - 2.0 * self.product(k, l)).max(0.0)
    }
}

/// Most points have fewer rows.
const USUAL: usize = 64;
/// Fewer new rows are multiplied one by one.
const MANY: usize = 32;
/// Products of at least so many rows are made at once; fewer are not worth the packing of all rows.
const FEW: usize = 8;
/// Bytes of products beyond which none are made before they are wanted.
const FORESEEN: usize = 64 << 20;

fn dual_of<'r>(rows: &'r [f64], duals: &'r [f64], dimensions: usize, k: usize) -> &'r [f64] {
    let from = if duals.is_empty() { rows } else { duals };
    &from[k * dimensions..][..dimensions]
}
