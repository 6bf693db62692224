//! EXPLAIN: a job's operators as text, in the manner of Flink's "Optimized Execution Plan".

use std::fmt::Write as _;

use super::physical::{JobPlan, NodeKind, PlanNode};

/// The plan, one tree per sink.
#[must_use]
pub fn explain(plan: &JobPlan) -> String {
    let mut out = String::from("== Optimized Execution Plan ==\n");
    for (index, node) in plan.nodes.iter().enumerate() {
        if matches!(node.kind, NodeKind::Sink(_)) {
            write_node(plan, index, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn write_node(plan: &JobPlan, index: usize, depth: usize, out: &mut String) {
    let Some(node) = plan.nodes.get(index) else { return };
    if depth > 0 {
        let _ = write!(out, "{}+- ", "   ".repeat(depth - 1));
    }
    let _ = writeln!(out, "{} id={}", describe(node), node.id);
    for input in &node.inputs {
        write_node(plan, *input, depth + 1, out);
    }
}

fn describe(node: &PlanNode) -> String {
    match &node.kind {
        NodeKind::Calc(calc) => format!("Calc({calc})"),
        NodeKind::Sink(sink) => {
            let fields: Vec<&str> = sink.table.persisted().map(|c| c.name.as_str()).collect();
            format!("Sink(table=[{}], fields=[{}])", sink.table.path, fields.join(", "))
        }
        NodeKind::Source(source) => {
            let stored = source.table.stored().map(|(_, c)| c.name.as_str());
            let fields: Vec<&str> =
                stored.zip(&source.needed).filter(|(_, n)| **n).map(|(name, _)| name).collect();
            let watermark =
                source.watermark.as_ref().map(|w| format!(", watermark=[{w}]")).unwrap_or_default();
            format!(
                "TableSourceScan(table=[[{}]], fields=[{}]{watermark})",
                source.table.path,
                fields.join(", ")
            )
        }
        NodeKind::Union => "Union(all=[true])".to_owned(),
    }
}
