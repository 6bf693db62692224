//! The jobs of the broker: started from SQL, found again after a restart, removed.
//!
//! A job is defined by its text and its place in it (`Space::Meta`, key `J` and the name); what it has done lies in
//! its state. Each runs on a thread of its own, asleep while its topics stand still.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle,
    sync::{Notify, futures::Notified},
};

use super::{
    Log, STATE_KEY,
    bind::{Bound, state_key},
    exchanges::Exchanges,
    folder::Directory,
    sync::{Sync, cycle},
    worker::{Control, Order, Status, Worker},
};
use crate::{
    broker::{
        Broker,
        topic::{VhostName, writes::Writes},
    },
    store::{Space, StoreError, Ticket},
    stream::{
        plan::{
            catalog::Table,
            connector::{Connector, Kafka, Startup},
            physical::{JobPlan, NodeKind, OperatorId},
        },
        sql::SqlError,
        state::{JobState, keyed::operator_prefix},
    },
};

#[cfg(test)]
mod tests;

/// Lines of `print` tables that are kept for whoever looks.
const PRINTED_LINES_MAX: usize = 10_000;

/// All jobs.
pub struct Jobs {
    broker: Arc<Broker>,
    runtime: Handle,
    files: Option<Arc<Directory>>,
    table: Mutex<BTreeMap<String, Arc<Running>>>,
    /// Jobs that are being made or removed, by their names: nobody else touches them meanwhile.
    claimed: Mutex<BTreeMap<String, Claimed>>,
    printed: Arc<PrintedLines>,
}

/// What becomes of a job that is claimed.
enum Claimed {
    /// It is made, in that vhost; whoever makes another counts with it.
    Made(String, JobPlan),
    Changed,
}

/// A job, and the thread that runs it.
pub struct Running {
    pub definition: Definition,
    pub plan: JobPlan,
    pub control: Arc<Control>,
    /// Operators that went on with the state they had when the job was opened.
    pub kept: Vec<OperatorId>,
}

/// What a job was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub vhost: String,
    pub sql: String,
    /// Which of the text's jobs it is.
    pub position: usize,
}

/// The last lines that `print` tables received.
#[derive(Default)]
pub struct PrintedLines {
    inner: Mutex<Lines>,
    grown: Notify,
}

#[derive(Default)]
struct Lines {
    first: u64,
    lines: VecDeque<String>,
}

impl PrintedLines {
    /// Adds lines; the oldest go.
    pub fn push(&self, lines: impl Iterator<Item = String>) {
        let mut inner = self.inner.lock();
        for line in lines {
            if inner.lines.len() >= PRINTED_LINES_MAX {
                inner.lines.pop_front();
                inner.first += 1;
            }
            inner.lines.push_back(line);
        }
        drop(inner);
        self.grown.notify_waiters();
    }

    /// The lines from a position on, and the position behind them.
    #[must_use]
    pub fn after(&self, position: u64) -> (u64, Vec<String>) {
        let inner = self.inner.lock();
        let skip = usize::try_from(position.saturating_sub(inner.first)).unwrap_or(usize::MAX);
        (inner.first + inner.lines.len() as u64, inner.lines.iter().skip(skip).cloned().collect())
    }

    /// Ready with the next line that comes after this call.
    pub fn grown(&self) -> Notified<'_> {
        self.grown.notified()
    }
}

impl Jobs {
    /// The jobs that the store knows, running again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn recover(
        broker: Arc<Broker>,
        runtime: Handle,
        files: Option<Directory>,
    ) -> Result<Arc<Self>, StoreError> {
        let jobs = Arc::new(Self {
            broker,
            runtime,
            files: files.map(Arc::new),
            table: Mutex::default(),
            claimed: Mutex::default(),
            printed: Arc::default(),
        });
        for (key, value) in jobs.broker.core.store.scan(Space::Meta, b"J")? {
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            if let Err(error) = jobs.revive(&name, &value) {
                tracing::error!(job = name, error, "a stream job cannot be started again");
            }
        }
        Ok(jobs)
    }

    fn revive(&self, name: &str, definition: &[u8]) -> Result<(), String> {
        let definition: Definition = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
        let plans = crate::stream::compile(&definition.sql).map_err(|error| error.to_string())?;
        let plan = plans.into_iter().nth(definition.position).ok_or("the text has fewer jobs than it had")?;
        self.start(name.to_owned(), definition, plan)
    }

    /// Makes the jobs of a text. They run once this returns, and again after every restart.
    ///
    /// # Errors
    /// What is wrong with the text, `line:column` first, or with a job of it. Then none is made.
    ///
    /// A text that only says something makes none.
    ///
    /// With `replace`, jobs that exist under the same names are edited: they go on with the state of the operators that
    /// both texts have, and lose that of the others.
    pub async fn run(&self, vhost: &str, sql: &str, replace: bool) -> Result<Vec<Arc<Running>>, String> {
        let plans = crate::stream::compile(sql).map_err(|error| error.to_string())?;
        if plans.is_empty() {
            if crate::stream::said(sql).is_ok_and(|said| !said.is_empty()) {
                return Ok(Vec::new());
            }
            return Err("the text has no INSERT, so there is no job to run".to_owned());
        }
        let bound = self.bound(vhost);
        let _claim = Claim::to_make(self, vhost, &plans)?;
        let mut pending = Vec::new();
        for plan in &plans {
            self.check(plan, replace)?;
            check_exchanges(plan, &bound)?;
            for topic in topics(plan) {
                pending.extend(bound.find_or_make(topic)?.1);
            }
        }
        let mut definitions = Vec::new();
        for (position, plan) in plans.into_iter().enumerate() {
            let definition = Definition { vhost: vhost.to_owned(), sql: sql.to_owned(), position };
            definitions.push((plan.name.clone(), definition, plan));
        }
        for (name, _, plan) in &definitions {
            let before = self.table.lock().remove(name);
            if let Some(before) = before {
                self.stopped(&before).await;
                let kept: Vec<Vec<u8>> = plan.nodes.iter().map(|n| operator_prefix(n.id)).collect();
                let dropped = |key: &[u8]| key != STATE_KEY && !kept.iter().any(|k| key.starts_with(k));
                self.forget(name, dropped).await?;
            }
        }
        pending.push(self.define(&definitions)?);
        let last = pending.into_iter().max().unwrap_or_default();
        self.broker.core.store.durable(last).await.map_err(|error| error.to_string())?;
        let mut running = Vec::new();
        for (name, definition, plan) in definitions {
            self.start(name.clone(), definition, plan)?;
            running.extend(self.find(&name));
        }
        for job in &running {
            job.control.begun().await;
        }
        Ok(running)
    }

    fn check(&self, plan: &JobPlan, replace: bool) -> Result<(), String> {
        if !replace && self.table.lock().contains_key(&plan.name) {
            return Err(format!(
                "a job named `{}` exists; drop it first, replace it, or name this one with SET 'pipeline.name' = '...'",
                plan.name
            ));
        }
        for path in paths(plan) {
            let refused = |why: &str| format!("the connector 'filesystem' with '{path}': {why}");
            let files = self.files.as_ref().ok_or_else(|| refused("streams.files_dir is not set"))?;
            files.resolve(path).map_err(|why| refused(&why))?;
        }
        Ok(())
    }

    /// Jobs with `sync=true` must not wait for each other in a circle, those that are being made among them.
    fn refuse_cycles(
        &self,
        vhost: &str,
        plans: &[JobPlan],
        claimed: &BTreeMap<String, Claimed>,
    ) -> Result<(), String> {
        let others = self.all();
        let stay = |job: &&Arc<Running>| {
            job.definition.vhost == vhost && !plans.iter().any(|plan| plan.name == job.plan.name)
        };
        let made = claimed.values().filter_map(|claimed| match claimed {
            Claimed::Made(of, plan) => (of == vhost).then_some(plan),
            Claimed::Changed => None,
        });
        let stay = others.iter().filter(stay).map(|job| &job.plan);
        let all: Vec<&JobPlan> = stay.chain(made).chain(plans).collect();
        match cycle(&all) {
            Some(topic) => Err(format!(
                "with sync=true a producer to topic `{topic}` would wait for what jobs write to it themselves"
            )),
            None => Ok(()),
        }
    }

    fn define(&self, definitions: &[(String, Definition, JobPlan)]) -> Result<Ticket, String> {
        let mut writes = Writes::default();
        for (name, definition, _) in definitions {
            let definition = serde_json::to_vec(definition).map_err(|error| error.to_string())?;
            writes.put(Space::Meta, definition_key(name), definition);
        }
        Ok(writes.submit(&self.broker.core.store, drop))
    }

    fn bound(&self, vhost: &str) -> Bound {
        Bound {
            broker: self.broker.clone(),
            vhost: VhostName::from(vhost),
            runtime: self.runtime.clone(),
            files: self.files.clone(),
        }
    }

    fn start(&self, name: String, definition: Definition, plan: JobPlan) -> Result<(), String> {
        let key = state_key(&name, STATE_KEY);
        let saved = self.broker.core.store.get(Space::State, &key).map_err(|error| error.to_string())?;
        let control = Arc::new(Control::default());
        let worker = Worker {
            name: name.clone(),
            plan: plan.clone(),
            bound: self.bound(&definition.vhost),
            control: control.clone(),
            printed: self.printed.clone(),
            sync: plan.sync.then(Sync::default),
            exchanges: Exchanges::new(control.clone()),
        };
        let saved_ids = saved_operators(saved.as_deref());
        let kept = plan.nodes.iter().map(|n| n.id).filter(|id| saved_ids.contains(&id.to_string())).collect();
        worker.spawn(saved)?;
        self.table.lock().insert(name, Arc::new(Running { definition, plan, control, kept }));
        Ok(())
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<Running>> {
        self.table.lock().values().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<Arc<Running>> {
        self.table.lock().get(name).cloned()
    }

    /// Tells a job to pause or to go on; the job once it has, `None` when there is none of that name. One whose thread
    /// gave up goes on from its last commit.
    pub async fn order(&self, name: &str, order: Order) -> Option<Arc<Running>> {
        let mut job = self.find(name)?;
        if order == Order::Resume
            && job.status().error.is_some()
            && let Ok(_claim) = Claim::to_change(self, name)
        {
            // Somebody else may have removed it, or started it again, before it was claimed.
            job = self.find(name)?;
            if job.status().error.is_some() {
                job.control.ended().await;
                match self.start_as(name, &job.definition, job.plan.clone()).await {
                    Ok(again) => return Some(again),
                    Err(error) => tracing::error!(job = name, error, "a stream job cannot be started again"),
                }
            }
        }
        job.control.order(order).await;
        Some(job)
    }

    /// A job forgets what it has done and begins again, as its text says or at `to`. Its outputs stay.
    ///
    /// # Errors
    /// When the store takes no more writes.
    pub async fn reset(&self, name: &str, to: Option<Startup>) -> Result<Option<Arc<Running>>, String> {
        let _claim = Claim::to_change(self, name)?;
        let Some(job) = self.find(name) else { return Ok(None) };
        self.stopped(&job).await;
        self.forget(name, |_| true).await?;
        let mut plan = job.plan.clone();
        if let Some(to) = to {
            begin_at(&mut plan, &to);
        }
        self.start_as(name, &job.definition, plan).await.map(Some)
    }

    async fn stopped(&self, job: &Running) {
        job.control.stop();
        job.control.ended().await;
    }

    /// Deletes what a job keeps under the keys that are asked for.
    async fn forget(&self, name: &str, which: impl Fn(&[u8]) -> bool) -> Result<(), String> {
        let store = &self.broker.core.store;
        let prefix = state_key(name, b"");
        let state = store.scan(Space::State, &prefix).map_err(|error| error.to_string())?;
        let mut writes = Writes::default();
        let own = state.into_iter().filter(|(key, _)| which(key.get(prefix.len()..).unwrap_or_default()));
        own.for_each(|(key, _)| writes.delete(Space::State, key.to_vec()));
        let ticket = writes.submit(store, drop);
        store.durable(ticket).await.map_err(|error| error.to_string())
    }

    async fn start_as(
        &self,
        name: &str,
        definition: &Definition,
        plan: JobPlan,
    ) -> Result<Arc<Running>, String> {
        self.start(name.to_owned(), definition.clone(), plan)?;
        let job = self.find(name).ok_or("the job is gone")?;
        job.control.begun().await;
        Ok(job)
    }

    /// Stops a job and forgets what it has done; false when there is none of that name.
    ///
    /// # Errors
    /// When the store takes no more writes.
    pub async fn remove(&self, name: &str) -> Result<bool, String> {
        let _claim = Claim::to_change(self, name)?;
        let Some(job) = self.table.lock().remove(name) else { return Ok(false) };
        self.stopped(&job).await;
        self.forget(name, |_| true).await?;
        let store = &self.broker.core.store;
        let mut writes = Writes::default();
        writes.delete(Space::Meta, definition_key(name));
        let ticket = writes.submit(store, drop);
        store.durable(ticket).await.map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// Stops every job's thread; they go on with the next start.
    pub async fn stop(&self) {
        let all = self.all();
        all.iter().for_each(|job| job.control.stop());
        for job in all {
            job.control.ended().await;
        }
    }

    #[must_use]
    pub fn printed(&self) -> &Arc<PrintedLines> {
        &self.printed
    }
}

/// Names that one call has to itself until it is done.
struct Claim<'a> {
    jobs: &'a Jobs,
    names: Vec<String>,
}

impl<'a> Claim<'a> {
    /// For jobs that are made. What would be wrong with them beside others is found here: nobody else makes any meanwhile.
    fn to_make(jobs: &'a Jobs, vhost: &str, plans: &[JobPlan]) -> Result<Self, String> {
        let made = |plan: &JobPlan| (plan.name.clone(), Claimed::Made(vhost.to_owned(), plan.clone()));
        let claims = plans.iter().map(made).collect();
        Self::new(jobs, claims, |claimed| jobs.refuse_cycles(vhost, plans, claimed))
    }

    /// For a job that is removed, or started again. It is looked up behind this: before, it may be somebody else's.
    fn to_change(jobs: &'a Jobs, name: &str) -> Result<Self, String> {
        Self::new(jobs, vec![(name.to_owned(), Claimed::Changed)], |_| Ok(()))
    }

    fn new(
        jobs: &'a Jobs,
        claims: Vec<(String, Claimed)>,
        check: impl FnOnce(&BTreeMap<String, Claimed>) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut claimed = jobs.claimed.lock();
        if let Some((name, _)) = claims.iter().find(|(name, _)| claimed.contains_key(name)) {
            return Err(format!("the job `{name}` is being made or removed at this moment"));
        }
        check(&claimed)?;
        let names = claims.iter().map(|(name, _)| name.clone()).collect();
        claimed.extend(claims);
        Ok(Self { jobs, names })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claimed = self.jobs.claimed.lock();
        self.names.iter().for_each(|name| drop(claimed.remove(name)));
    }
}

impl Running {
    #[must_use]
    pub fn status(&self) -> Status {
        self.control.status()
    }

    /// The tables that the job reads and writes, by the topics or connectors behind them.
    #[must_use]
    pub fn ends(&self) -> (Vec<String>, Vec<String>) {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for node in &self.plan.nodes {
            if let NodeKind::Source(source) = &node.kind {
                inputs.extend(names(&source.table.connector));
            }
            if let NodeKind::Sink(sink) = &node.kind {
                outputs.extend(names(&sink.table.connector));
            }
        }
        (inputs, outputs)
    }

    /// Whether an output is a `print` table.
    #[must_use]
    pub fn prints(&self) -> bool {
        let prints = |kind: &NodeKind| matches!(kind, NodeKind::Sink(sink) if matches!(sink.table.connector, Connector::Print(_)));
        self.plan.nodes.iter().any(|node| prints(&node.kind))
    }
}

fn names(connector: &Connector) -> Vec<String> {
    match connector {
        Connector::Blackhole => vec!["blackhole".to_owned()],
        Connector::Datagen(_) => vec!["datagen".to_owned()],
        Connector::Filesystem(table) => vec![format!("file:{}", table.path)],
        Connector::Kafka(kafka) => kafka.topics.clone(),
        Connector::Print(_) => vec!["print".to_owned()],
        Connector::Rabbitmq(rabbitmq) => vec![format!("exchange:{}", rabbitmq.exchange)],
    }
}

/// The tables that a plan reads and writes.
fn tables(plan: &JobPlan) -> impl Iterator<Item = &Arc<Table>> {
    plan.nodes.iter().filter_map(|node| {
        let source = if let NodeKind::Source(source) = &node.kind { Some(&source.table) } else { None };
        let sink = if let NodeKind::Sink(sink) = &node.kind { Some(&sink.table) } else { None };
        source.or(sink)
    })
}

/// The files and folders of a plan.
fn paths(plan: &JobPlan) -> impl Iterator<Item = &str> {
    tables(plan).filter_map(|table| match &table.connector {
        Connector::Filesystem(files) => Some(files.path.as_str()),
        Connector::Blackhole
        | Connector::Datagen(_)
        | Connector::Kafka(_)
        | Connector::Print(_)
        | Connector::Rabbitmq(_) => None,
    })
}

/// The exchanges that a plan publishes to are there.
fn check_exchanges(plan: &JobPlan, bound: &Bound) -> Result<(), String> {
    tables(plan).try_for_each(|table| {
        let Connector::Rabbitmq(rabbitmq) = &table.connector else { return Ok(()) };
        let at = table.options_at;
        bound.exchange(&rabbitmq.exchange).map_err(|why| SqlError::invalid(at, why).to_string())
    })
}

/// The topics of a plan; the dead letters' among them.
fn topics(plan: &JobPlan) -> Vec<&str> {
    let mut topics: Vec<&str> = plan.dlq.iter().chain(&plan.late_topic).map(String::as_str).collect();
    for table in tables(plan) {
        if let Connector::Kafka(kafka) = &table.connector {
            topics.extend(kafka.topics.iter().map(String::as_str));
        }
    }
    topics
}

/// The operators that a job's state knows.
fn saved_operators(saved: Option<&[u8]>) -> Vec<String> {
    saved.and_then(|bytes| JobState::decode(bytes).ok()).map(|state| state.operators).unwrap_or_default()
}

/// Lets all Kafka sources of a plan begin there.
fn begin_at(plan: &mut JobPlan, to: &Startup) {
    for node in &mut plan.nodes {
        if let NodeKind::Source(source) = &mut node.kind
            && let Connector::Kafka(kafka) = &source.table.connector
        {
            let kafka = Kafka { startup: to.clone(), ..kafka.clone() };
            source.table = Arc::new(source.table.with_connector(Connector::Kafka(kafka)));
        }
    }
}

fn definition_key(name: &str) -> Vec<u8> {
    [b"J", name.as_bytes()].concat()
}
