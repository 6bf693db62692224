//! Stream jobs as the admin door asks for them.

use std::{sync::Arc, time::Duration};

use crate::{
    admin::source::{JobRow, Jobs, Later, OperatorRow, Printed},
    stream::{
        self,
        plan::connector::Startup,
        run::{
            graph::OperatorStatus,
            table::{self, Running},
            worker::{Order, Status},
        },
        state::Phase,
    },
};

/// How long a request for printed lines waits when there are none.
const PRINTED_WAIT: Duration = Duration::from_secs(5);

/// The jobs of the broker, for the admin door.
pub struct StreamJobs(pub Arc<table::Jobs>);

impl Jobs for StreamJobs {
    fn run(&self, vhost: &str, sql: String, replace: bool) -> Later<'_, Result<Vec<JobRow>, String>> {
        let vhost = vhost.to_owned();
        Box::pin(
            async move { Ok(self.0.run(&vhost, &sql, replace).await?.iter().map(|job| row(job)).collect()) },
        )
    }

    fn pause(&self, name: &str, pause: bool) -> Later<'_, Option<JobRow>> {
        let name = name.to_owned();
        let order = if pause { Order::Pause } else { Order::Resume };
        Box::pin(async move { self.0.order(&name, order).await.map(|job| row(&job)) })
    }

    fn reset(&self, name: &str, to: Option<String>) -> Later<'_, Result<Option<JobRow>, String>> {
        let name = name.to_owned();
        Box::pin(async move {
            let to = to.as_deref().map(startup).transpose()?;
            Ok(self.0.reset(&name, to).await?.map(|job| row(&job)))
        })
    }

    fn show(&self, _vhost: &str, sql: String) -> Later<'_, Result<String, String>> {
        Box::pin(async move { Ok(stream::said(&sql).map_err(|error| error.to_string())?.join("\n")) })
    }

    fn explain(&self, _vhost: &str, sql: String) -> Later<'_, Result<String, String>> {
        Box::pin(async move { Ok(stream::explain(&sql).map_err(|error| error.to_string())?.join("\n")) })
    }

    fn all(&self) -> Vec<JobRow> {
        self.0.all().iter().map(|job| row(job)).collect()
    }

    fn remove(&self, name: &str) -> Later<'_, Result<bool, String>> {
        let name = name.to_owned();
        Box::pin(async move { self.0.remove(&name).await })
    }

    fn printed(&self, after: Option<u64>) -> Later<'_, Printed> {
        Box::pin(async move {
            let lines = self.0.printed();
            let Some(after) = after else {
                return Printed { next: lines.after(u64::MAX).0, lines: Vec::new() };
            };
            let waited = tokio::time::timeout(PRINTED_WAIT, async {
                loop {
                    let grown = lines.grown();
                    let (next, found) = lines.after(after);
                    if !found.is_empty() {
                        return Printed { next, lines: found };
                    }
                    grown.await;
                }
            });
            waited.await.unwrap_or_else(|_| Printed { next: after, lines: Vec::new() })
        })
    }
}

/// Where a reset job begins.
fn startup(to: &str) -> Result<Startup, String> {
    match to {
        "earliest" => Ok(Startup::Earliest),
        "latest" => Ok(Startup::Latest),
        _ => to.parse().map(Startup::TimestampMs).map_err(|_| {
            format!("cannot reset to '{to}': expected earliest, latest or a time in milliseconds")
        }),
    }
}

fn operators(job: &Running, status: &Status) -> Vec<OperatorRow> {
    let row = |o: &OperatorStatus| OperatorRow {
        id: o.id.to_string(),
        name: o.name.to_owned(),
        records_in: o.counts.rows_in,
        records_out: o.counts.rows_out,
        records_late: o.counts.late,
        records_failed: o.counts.failed,
        keys: o.keys as u64,
        watermark: o.watermark_ms,
        kept: job.kept.contains(&o.id),
    };
    status.operators.iter().map(row).collect()
}

fn row(job: &Running) -> JobRow {
    let status = job.status();
    let (state, failure) = match (&status.error, &status.phase) {
        (Some(_), _) => ("failed", None),
        (None, None | Some(Phase::Running)) => ("running", None),
        (None, Some(Phase::Paused)) => ("paused", None),
        (None, Some(Phase::Pausing)) => ("pausing", None),
        (None, Some(Phase::Finished)) => ("finished", None),
        (None, Some(Phase::Failed(failure))) => ("failed", Some(failure)),
    };
    let failure = failure.map(|f| format!("{}-{} offset {}: {}", f.topic, f.partition, f.offset, f.reason));
    let (inputs, outputs) = job.ends();
    JobRow {
        name: job.plan.name.clone(),
        vhost: job.definition.vhost.clone(),
        state: state.to_owned(),
        sql: job.definition.sql.clone(),
        inputs,
        outputs,
        prints: job.prints(),
        epoch: status.epoch,
        records_in: status.rows_in,
        records_out: status.rows_out,
        records_late: status.rows_late,
        records_failed: status.rows_failed,
        lag: status.lag,
        operators: operators(job, &status),
        error: status.error.or(failure),
    }
}
