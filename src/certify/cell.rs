//! The Voronoi cell of one other-class row against the pool of class-c rows: its least-norm program, and the
//! lower bound that any multipliers prove.

use crate::certify::bound::{Normal, quotient_down};
use crate::certify::frame::{Member, Space};
use crate::certify::pool::Pool;
use crate::geometry::dot::{axpy, dot, norm_up};
use crate::geometry::min_norm::Constraints;
use crate::geometry::rounding::{gamma, up};
use crate::search::index::Index;

/// The cell of one other-class row against the pool: the constraints of the least-norm program.
pub struct Cell<'a> {
    pool: &'a Pool,
    pub rival: &'a Member,
    /// Inner products of the rival with the members, and with itself.
    products: &'a [f64],
    own: f64,
    margin: Option<Margin>,
}

/// By how much every constraint is tightened, so that a point inside stays inside when it is rounded and measured.
#[derive(Debug, Clone, Copy)]
pub struct Margin {
    /// How far the point may be from where the solver has it.
    pub place: f64,
    /// An upper bound on `‖B‖` if the point is measured by its image, else 0.
    pub norm: f64,
    /// Multiplies what should do.
    pub growth: f64,
}

impl<'a> Cell<'a> {
    /// `products` holds what is known already, from an earlier look at the same rival with a smaller pool.
    pub fn new(pool: &'a Pool, rival: &'a Member, products: &'a mut Vec<f64>) -> Self {
        for member in &pool.members()[products.len()..] {
            products.push(dot(&member.row, rival.dual()));
        }
        Self { pool, rival, products, own: dot(&rival.row, rival.dual()), margin: None }
    }

    /// The same with tightened constraints. Multipliers prove what they prove without.
    #[must_use]
    pub fn tightened(self, margin: Margin) -> Self {
        Self { margin: Some(margin), ..self }
    }

    /// Twice what rounding can take from a constraint: the offsets' errors here and at the point, and its place.
    fn tightening(&self, i: usize, margin: Margin) -> f64 {
        let member = &self.pool.members()[i];
        let normal = self.product(i, i).max(0.0).sqrt().max(margin.norm * (member.norm + self.rival.norm));
        2.0 * margin.growth * (self.rival.offset.error + member.offset.error + margin.place * normal)
    }

    /// `Σ λ_i (t_j − t_i)` and its dual image: the perturbation in the coordinates of the space, before and
    /// after the map to the coordinates of distances.
    pub fn combine(&self, active: &[usize], multipliers: &[f64], row: &mut Vec<f64>, dual: &mut Vec<f64>) {
        let sum = |out: &mut Vec<f64>, part: fn(&Member) -> &[f64]| {
            out.clear();
            out.resize(part(self.rival).len(), 0.0);
            let total: f64 = multipliers.iter().sum();
            axpy(out, total, part(self.rival));
            for (&i, &m) in active.iter().zip(multipliers) {
                axpy(out, -m, part(&self.pool.members()[i]));
            }
        };
        sum(row, |m| &m.row);
        sum(dual, Member::dual);
    }

    /// A proven lower bound on the cell's distance, by weak duality:
    /// `Σ λ_i (d²(z, x_j) − d²(z, x_i)) / (2 ‖M Σ λ_i (x_j − x_i)‖)` for any `λ ≥ 0`, rounded down.
    #[must_use]
    pub fn lower_bound(
        &self,
        index: &Index,
        active: &[usize],
        multipliers: &[f64],
        row: &mut Vec<f64>,
        dual: &mut Vec<f64>,
    ) -> f64 {
        let numerator = self.numerator_down(active, multipliers);
        if numerator <= 0.0 {
            return 0.0;
        }
        self.combine(active, multipliers, row, dual);
        quotient_down(numerator, self.normal_up(index, active, multipliers, row, dual))
    }

    /// A number not above `Σ λ_i (d²(z, x_j) − d²(z, x_i))`.
    #[must_use]
    pub fn numerator_down(&self, active: &[usize], multipliers: &[f64]) -> f64 {
        let rival = self.rival.offset;
        let (mut numerator, mut error) = (0.0, 0.0);
        for (&i, &m) in active.iter().zip(multipliers) {
            let own = self.pool.members()[i].offset;
            numerator += m * (rival.value - own.value);
            error += m * (rival.error + own.error);
            // The difference, the product and the sum round too.
            error += m * gamma(active.len() + 3) * (rival.value - own.value).abs();
        }
        numerator - up(error)
    }

    /// `Σ λ_i (f(x_i) + f(x_j))`, rounded up, for errors that add up so.
    pub fn weigh(&self, active: &[usize], multipliers: &[f64], of: impl Fn(&Member) -> f64) -> f64 {
        let pairs = active.iter().zip(multipliers);
        up(pairs.map(|(&i, m)| m * (of(&self.pool.members()[i]) + of(self.rival))).sum())
    }

    /// Bounds the distance of the computed `Σ λ_i (t_j − t_i)` from the sum of the members as they are.
    pub fn rounding(&self, active: &[usize], multipliers: &[f64]) -> f64 {
        // The members are differences (one rounding), weighed and summed (two each).
        gamma(2 * active.len() + 6) * self.weigh(active, multipliers, |m| m.norm)
    }

    /// An upper bound on `‖M Σ λ_i (x_j − x_i)‖`.
    fn normal_up(
        &self,
        index: &Index,
        active: &[usize],
        multipliers: &[f64],
        row: &[f64],
        dual: &[f64],
    ) -> f64 {
        let weigh = |of: &dyn Fn(&Member) -> f64| self.weigh(active, multipliers, of);
        let rounding = self.rounding(active, multipliers);
        let length = norm_up(row);
        match self.pool.frame().space() {
            Space::Rows => up(length + rounding),
            Space::Ladder => up(length + rounding + weigh(&|m| index.ladder().error(m.position))),
            Space::Images | Space::Differences => {
                let rates = self.pool.frame().error_rates(index);
                let reach = weigh(&|m| m.reach);
                let dual_rounding = gamma(2 * active.len() + 6) * weigh(&|m| m.dual_norm);
                let normal = Normal {
                    product: dot(row, dual),
                    length,
                    dual_length: norm_up(dual),
                    image_error: rates.image * reach + rounding,
                    dual_error: rates.dual * reach + dual_rounding,
                    defect: rates.defect * reach,
                };
                normal.norm_up(index.embedding())
            }
        }
    }
}

impl Constraints for Cell<'_> {
    fn count(&self) -> usize {
        self.pool.members().len()
    }

    fn offset(&self, i: usize) -> f64 {
        let offset = (self.rival.offset.value - self.pool.members()[i].offset.value) / 2.0;
        offset + self.margin.map_or(0.0, |margin| self.tightening(i, margin))
    }

    fn product(&self, i: usize, l: usize) -> f64 {
        (self.pool.product(i, l) - self.products[i]) - (self.products[l] - self.own)
    }

    fn tolerance(&self, i: usize) -> f64 {
        match self.margin {
            Some(margin) => self.tightening(i, margin) / 8.0,
            None => 2e-15 * (self.rival.offset.value.abs() + self.pool.members()[i].offset.value.abs()),
        }
    }
}
