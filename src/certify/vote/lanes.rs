//! One long search by several threads: its open nodes are dealt out to lanes, which hear of each other's finds after
//! every round.
//!
//! Neither the number of lanes nor the length of a round depends on the number of threads, so the answer does not either.

use crate::certify::vote::field::Field;
use crate::certify::vote::node::Node;
use crate::certify::vote::record::Record;
use crate::certify::vote::tree::{BEGINNING, End, Leaf, Tree};
use crate::parallel::share_out;
use std::sync::atomic::Ordering;

/// Searches that are shared out are at least this long.
pub const ALONE: u64 = 1000;
/// Each lane has its own copy of the rows.
const LANES: usize = 4;
/// Open nodes for each lane that make it worth while.
const NODES: usize = 4;
/// Nodes that a lane does before it hears of the others.
const ROUND: u64 = 250;

impl<'f, 'a> Tree<'f, 'a> {
    /// Searches like [`Tree::search`] from the roots on; what takes long is shared out.
    pub fn run(&mut self, most: u64) -> End {
        self.plant();
        let mut alone = self.alone;
        loop {
            let end = self.search(alone.min(most));
            if end != End::Stopped {
                return end;
            }
            if self.nodes >= most || self.case.is_stopped() {
                self.lift();
                return end;
            }
            if self.open_nodes().count() >= LANES * NODES {
                return self.run_in_lanes(most);
            }
            alone += self.alone;
        }
    }

    fn run_in_lanes(&mut self, most: u64) -> End {
        let mut fields = vec![self.field.clone(); LANES];
        let mut lanes: Vec<Tree<'_, 'a>> =
            fields.iter_mut().enumerate().map(|(i, field)| self.lane(i, field)).collect();
        let mut nodes: Vec<Node> = self.heap.drain().chain(self.stack.drain(..)).collect();
        nodes.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        for (i, node) in nodes.into_iter().enumerate() {
            lanes[i % LANES].open(node);
        }
        let _request = self.case.scene.control.ask_for_help(LANES);
        let end = run_rounds(&mut lanes, most - self.nodes);
        if end == End::Stopped {
            share_out(&mut lanes, |_, lane| lane.lift());
        }
        lanes.into_iter().for_each(|lane| self.take_over(lane));
        end
    }

    /// A search that knows what this one knows, without its nodes.
    fn lane<'g>(&self, number: usize, field: &'g mut Field<'a>) -> Tree<'g, 'a>
    where
        'f: 'g,
    {
        let mut lane = Tree::new(field, self.case, (self.pairs, self.verify), self.target);
        // It does not begin: the field stays as it is.
        lane.nodes = BEGINNING + 1;
        lane.most_held = self.most_held.saturating_sub(self.held.load(Ordering::Relaxed)) / LANES;
        lane.record = self.record.as_ref().map(|_| Record::of_lane(number));
        lane.tried.clone_from(&self.tried);
        lane.triplets.clone_from(&self.triplets);
        lane.judges.clone_from(&self.judges);
        lane.judged.clone_from(&self.judged);
        lane.refined.clone_from(&self.refined);
        lane
    }

    fn take_over(&mut self, mut lane: Tree<'_, 'a>) {
        self.floor = self.floor.min(lane.lower());
        self.target = self.target.min(lane.target);
        self.nodes += lane.nodes - (BEGINNING + 1);
        self.program.solved += lane.program.solved;
        self.program.steps += lane.program.steps;
        if let (Some(record), Some(more)) = (&mut self.record, lane.take_record()) {
            record.steps.extend(more.steps);
        }
        if let Some(leaf) = lane.best.take()
            && self.best.as_ref().is_none_or(|best| leaf.value < best.value)
        {
            self.best = Some(self.renumbered(leaf, lane.field));
        }
        if let Some(witness) = lane.witness.take()
            && self.witness.as_ref().is_none_or(|best| witness.length < best.length)
        {
            self.witness = Some(witness);
        }
    }

    /// A leaf of another field in the numbers of this one.
    fn renumbered(&mut self, mut leaf: Leaf, field: &Field) -> Leaf {
        for row in &mut leaf.active.rows {
            let position = field.entries[*row].position;
            self.field.add([position]);
            *row = self.field.find(position).expect("the row was added");
        }
        leaf
    }
}

/// Lets the lanes search, round after round, until there is nothing left to do, time is up, or so many nodes are done.
fn run_rounds(lanes: &mut [Tree], most: u64) -> End {
    let total = |lanes: &[Tree]| lanes.iter().map(|lane| lane.nodes).sum::<u64>();
    let begun = total(lanes);
    loop {
        let left = most - (total(lanes) - begun);
        // The few nodes that are left at last are for lanes that have some: among the others they would never be done.
        let busy: Vec<usize> = (0..lanes.len()).filter(|&i| lanes[i].open_nodes().next().is_some()).collect();
        share_out(lanes, |i, lane| {
            let Some(rank) = busy.iter().position(|&number| number == i) else { return };
            let share = left.saturating_add(rank as u64) / busy.len() as u64;
            lane.search(lane.nodes + share.min(ROUND));
        });
        let target = lanes.iter().map(|lane| lane.target).fold(f64::INFINITY, f64::min);
        lanes.iter_mut().for_each(|lane| lane.target = target);
        if lanes.iter().all(|lane| lane.open_nodes().next().is_none()) {
            return End::Complete;
        }
        if total(lanes) - begun >= most || lanes[0].case.is_stopped() {
            return End::Stopped;
        }
    }
}
