//! What is proven of a search that a limit ended.
//!
//! Nodes come in the order of bounds whose proofs take longer than they save as long as the search goes on: where a row
//! inside costs what some pairs of rows do, of which one holds. Of nodes that still wait when it ends they are made up for.

use crate::certify::vote::State;
use crate::certify::vote::node::{Node, Split};
use crate::certify::vote::tree::Tree;
use std::sync::Arc;

impl Tree<'_, '_> {
    /// Proves of open nodes what their order promised, those of which the least is proven first, while there is time.
    /// Not with a record: such proofs take more to write down and to check than those of the search.
    pub(super) fn lift(&mut self) {
        if self.record.is_some() {
            return;
        }
        let mut nodes: Vec<Node> = self.heap.drain().chain(self.stack.drain(..)).collect();
        nodes.sort_by(|a, b| a.proven.total_cmp(&b.proven).then(address(a).cmp(&address(b))));
        let mut at: Option<(Arc<Split>, _)> = None;
        // Of nodes beyond the least that is proven now nothing more is worth knowing.
        let mut least = f64::INFINITY;
        for node in &mut nodes {
            if node.proven >= least || self.case.is_past_proofs() {
                break;
            }
            let split = &node.split;
            let Some(&k) = split.rows.get(node.child).filter(|_| split.last == State::Inside) else {
                // Its bound is proven.
                break;
            };
            let pair = self.pairs[split.pair];
            let near = match at.take() {
                Some((known, near)) if Arc::ptr_eq(&known, split) => near,
                _ => self.stand_at(split),
            };
            if let Some((proven, _)) = self.rank_proof((&pair, k), &near, node.proven) {
                node.proven = proven;
            }
            least = least.min(node.proven);
            at = Some((node.split.clone(), near));
        }
        self.heap.extend(nodes);
    }
}

fn address(node: &Node) -> usize {
    Arc::as_ptr(&node.split) as usize
}
