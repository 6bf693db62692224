//! The operators of a job, and how rows go from one to the next: each row all the way before the next one.

use std::collections::VecDeque;

use crate::stream::{
    expr::{EvalError, Now},
    operator::{self, Cx, Msg, Operator, Outputs},
    plan::physical::{JobPlan, NodeKind},
    time::watermark::WATERMARK_MIN,
};

/// Operators and the edges between them.
pub struct Graph {
    nodes: Vec<GraphNode>,
    waiting: VecDeque<(usize, usize, Msg)>,
    out: Vec<Msg>,
}

struct GraphNode {
    /// `None` for a source.
    operator: Option<Box<dyn Operator>>,
    /// (node, port) of those that read this one.
    readers: Vec<(usize, usize)>,
    /// The last watermark of each input, merged before the operator sees it.
    watermarks: Vec<i64>,
    merged: i64,
}

impl Graph {
    pub fn open(plan: &JobPlan) -> Result<Self, EvalError> {
        let mut nodes = Vec::new();
        for node in &plan.nodes {
            nodes.push(GraphNode {
                operator: operator::open(&node.kind)?,
                readers: Vec::new(),
                watermarks: vec![WATERMARK_MIN; node.inputs.len()],
                merged: WATERMARK_MIN,
            });
        }
        for (index, node) in plan.nodes.iter().enumerate() {
            for (port, input) in node.inputs.iter().enumerate() {
                if let Some(read) = nodes.get_mut(*input) {
                    read.readers.push((index, port));
                }
            }
        }
        Ok(Self { nodes, waiting: VecDeque::new(), out: Vec::new() })
    }

    /// The positions of the plan's sources.
    pub fn sources(plan: &JobPlan) -> impl Iterator<Item = usize> {
        plan.nodes.iter().enumerate().filter(|(_, n)| matches!(n.kind, NodeKind::Source(_))).map(|(i, _)| i)
    }

    /// Sends what a source made through all operators behind it. After an error, what was under way is dropped;
    /// the caller takes back the outputs.
    pub fn push(
        &mut self,
        source: usize,
        msg: Msg,
        now: Now,
        outputs: &mut Outputs,
    ) -> Result<(), EvalError> {
        self.hand_on(source, msg);
        while let Some((index, port, msg)) = self.waiting.pop_front() {
            let mut out = std::mem::take(&mut self.out);
            let result = self.work(index, port, msg, &mut Cx { now, out: &mut out, outputs });
            if result.is_ok() {
                for msg in out.drain(..) {
                    self.hand_on(index, msg);
                }
            }
            out.clear();
            self.out = out;
            if result.is_err() {
                self.waiting.clear();
                return result;
            }
        }
        Ok(())
    }

    fn work(&mut self, index: usize, port: usize, msg: Msg, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        let Some(operator) = &mut node.operator else { return Ok(()) };
        match msg {
            Msg::Row(row) => operator.on_row(port, row, cx),
            Msg::Watermark(watermark) => {
                if let Some(of_input) = node.watermarks.get_mut(port) {
                    *of_input = watermark.max(*of_input);
                }
                let merged = node.watermarks.iter().copied().min().unwrap_or(watermark);
                if merged <= node.merged {
                    return Ok(());
                }
                node.merged = merged;
                operator.on_watermark(merged, cx)
            }
        }
    }

    fn hand_on(&mut self, from: usize, msg: Msg) {
        let Some((last, others)) = self.nodes.get(from).and_then(|n| n.readers.split_last()) else { return };
        for (node, port) in others {
            self.waiting.push_back((*node, *port, msg.clone()));
        }
        self.waiting.push_back((last.0, last.1, msg));
    }
}
