//! What is proven of a search that a limit ended.
//!
//! Nodes come in the order of bounds whose proofs take longer than they save as long as the search goes on: where a row
//! inside costs what some pairs of rows do, of which one holds. Of nodes that still wait when it ends they are made up for.

use crate::certify::vote::State;
use crate::certify::vote::node::{Node, Split, Why};
use crate::certify::vote::tree::Tree;
use std::sync::Arc;

impl Tree<'_, '_> {
    /// Proves of open nodes what their order promised, those of which the least is proven first, while there is time.
    pub(super) fn lift(&mut self) {
        let mut nodes: Vec<Node> = self.heap.drain().chain(self.stack.drain(..)).collect();
        nodes.sort_by(|a, b| a.proven.total_cmp(&b.proven).then(address(a).cmp(&address(b))));
        let mut at: Option<(Arc<Split>, _)> = None;
        for node in &mut nodes {
            if self.case.is_past_proofs() {
                break;
            }
            let split = &node.split;
            let Some(&k) = split.rows.get(node.child).filter(|_| split.last == State::Inside) else {
                continue;
            };
            let pair = self.pairs[split.pair];
            let near = match at.take() {
                Some((known, near)) if Arc::ptr_eq(&known, split) => near,
                _ => self.stand_at(split),
            };
            if let Some((proven, parts)) = self.rank_proof(&pair, k, &near, node.proven) {
                let row = self.field.entries[k].position;
                (node.proven, node.why) = (proven, Why::OneOf(row, Arc::new(parts)));
            }
            at = Some((node.split.clone(), near));
        }
        self.heap.extend(nodes);
    }
}

fn address(node: &Node) -> usize {
    Arc::as_ptr(&node.split) as usize
}
