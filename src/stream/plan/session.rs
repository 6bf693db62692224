//! The statements of a text, one after the other: each finds what those before it left.

use sqlparser::ast::Spanned;

use super::{
    Planned, alter, as_query,
    catalog::Catalog,
    explain, like, local_zone,
    logical::LogicalInsert,
    options,
    physical::{JobPlan, PARALLELISM_MAX, Settings, TypeLengths, UpsertMaterialize},
    show, statement,
};
use crate::stream::sql::{
    Pos, SqlError,
    ast::{Creation, Explain, Explained, Insert, NewTable, Statement, StatementKind, TableSource, Use},
    hints::Hints,
};

/// What earlier statements left for later ones.
#[derive(Default)]
pub(super) struct Session {
    pub(super) catalog: Catalog,
    /// `SET 'pipeline.name'`, for the next job.
    name: Option<(String, Pos)>,
    settings: Settings,
    /// `SET 'table.local-time-zone'`, if it is not UTC.
    zone: Option<String>,
}

impl Session {
    /// One for these statements.
    pub(super) fn of(statements: &[Statement]) -> Self {
        let bases = statements.iter().filter_map(|statement| {
            let StatementKind::CreateTable(new) = &statement.kind else { return None };
            if let TableSource::Like { base, .. } = &new.source { Some(base) } else { None }
        });
        Self { catalog: Catalog::with_templates(bases), ..Self::default() }
    }

    pub(super) fn statement(&mut self, statement: &Statement) -> Result<Option<Planned>, SqlError> {
        match &statement.kind {
            StatementKind::AlterTable(change) => alter::table(&mut self.catalog, change)?,
            StatementKind::AlterView(change) => alter::view(&mut self.catalog, change)?,
            StatementKind::CreateTable(new) => return self.create_table(new),
            StatementKind::CreateView(view) => statement::create_view(&mut self.catalog, view)?,
            StatementKind::Drop(drop) => self.catalog.drop(drop)?,
            StatementKind::Set { key, value } => self.set(key, value, statement.at)?,
            StatementKind::Describe(name) => {
                return Ok(Some(Planned::Said(show::describe(&self.catalog, name)?)));
            }
            StatementKind::Explain(explain) => {
                return self.explain(explain).map(|said| Some(Planned::Said(said)));
            }
            StatementKind::Reset(key) => self.reset(key.as_deref(), statement.at)?,
            StatementKind::Show(what) => {
                return show::show(&self.catalog, what).map(|said| Some(Planned::Said(said)));
            }
            StatementKind::Use(Use::Catalog(_) | Use::Database(_) | Use::Modules) => {}
            StatementKind::Insert(insert) => {
                return self
                    .job(&Hints::default(), std::slice::from_ref(insert))
                    .map(|job| Some(Planned::Job(job)));
            }
            StatementKind::StatementSet { hints, inserts } => {
                return self.job(hints, inserts).map(|job| Some(Planned::Job(job)));
            }
        }
        Ok(None)
    }

    /// A definition alone, LIKE another, or of a query, which then is a job.
    fn create_table(&mut self, new: &NewTable) -> Result<Option<Planned>, SqlError> {
        // On Flink OR REPLACE counts only with a query.
        let creation = Creation { or_replace: false, ..new.creation };
        match &new.source {
            TableSource::Definition => {
                statement::create_table(&mut self.catalog, new.table.clone(), creation)?;
                Ok(None)
            }
            TableSource::Like { base, choices } => {
                let table = like::merged(&self.catalog, &new.table, base, choices)?;
                statement::create_table(&mut self.catalog, table, creation)?;
                Ok(None)
            }
            TableSource::Query { order, query } => {
                let (table, columns) = as_query::table(&self.catalog, &new.table, order, query)?;
                let (hints, target) = (Hints::default(), table.name.clone());
                let known = new.creation.if_not_exists && self.catalog.has(&target)?;
                let columns = if known { Vec::new() } else { columns };
                // The query may read the table that is replaced.
                let before = self.catalog.clone();
                statement::create_table(&mut self.catalog, table, new.creation)?;
                let insert = Insert { at: target.at, hints, target, columns, query: query.clone() };
                let insert_plan = statement::insert(&self.catalog, &before, &insert)?;
                self.job_of(Hints::default(), vec![(&insert, insert_plan)]).map(|job| Some(Planned::Job(job)))
            }
        }
    }

    fn explain(&mut self, explain: &Explain) -> Result<String, SqlError> {
        let (plan, text, with_sinks) = match &explain.of {
            Explained::Create(new) => {
                // The table is made for the plan only.
                let catalog = self.catalog.clone();
                let planned = self.create_table(new);
                self.catalog = catalog;
                let Some(Planned::Job(plan)) = planned? else { return Ok(String::new()) };
                let text = explain::explain(&plan);
                (plan, text, true)
            }
            Explained::Inserts(inserts) => {
                let plan = self.job(&Hints::default(), inserts)?;
                let text = explain::explain(&plan);
                (plan, text, true)
            }
            Explained::Query(query) => {
                let insert = as_query::nowhere(&self.catalog, query)?;
                let insert = self.localized(insert, query.span().into())?;
                let plan = JobPlan::of(String::new(), &[insert], self.settings);
                let text = explain::query(&plan);
                (plan, text, false)
            }
        };
        if !explain.graph {
            return Ok(text);
        }
        Ok(format!("{}\n\n{}", text.trim_end(), explain::graph(&plan, with_sinks)))
    }

    fn localized(&self, insert: LogicalInsert, at: Pos) -> Result<LogicalInsert, SqlError> {
        match &self.zone {
            Some(zone) => local_zone::localized(insert, zone, at),
            None => Ok(insert),
        }
    }

    /// Back to what holds without SET, for one key or for all.
    fn reset(&mut self, key: Option<&str>, at: Pos) -> Result<(), SqlError> {
        let own = Settings::default();
        match key {
            None => (self.name, self.settings, self.zone) = (None, own, None),
            Some("pipeline.name") => self.name = None,
            Some("parallelism.default") => self.settings.parallelism = own.parallelism,
            Some("execution.checkpointing.interval") => self.settings.checkpoint_ms = own.checkpoint_ms,
            Some("table.exec.state.ttl") => self.settings.ttl_ms = own.ttl_ms,
            Some("table.exec.sink.not-null-enforcer") => self.settings.drops_nulls = own.drops_nulls,
            Some("table.exec.sink.type-length-enforcer") => self.settings.type_lengths = own.type_lengths,
            Some("table.exec.sink.keyed-shuffle") => {}
            Some("table.exec.sink.upsert-materialize") => {
                self.settings.upsert_materialize = own.upsert_materialize;
            }
            Some("table.local-time-zone") => self.zone = None,
            Some("execution.runtime-mode" | "table.dml-sync") => {}
            Some(key) => return Err(SqlError::not_yet(at, format!("RESET '{key}'"))),
        }
        Ok(())
    }

    /// A name that was SET must have been for a job.
    pub(super) fn end(self) -> Result<(), SqlError> {
        match self.name {
            Some((_, at)) => Err(SqlError::invalid(at, "SET 'pipeline.name': no INSERT follows")),
            None => Ok(()),
        }
    }

    /// Settings that would change a result are refused; those whose effect we always have are not.
    fn set(&mut self, key: &str, value: &str, at: Pos) -> Result<(), SqlError> {
        match (key, value) {
            ("pipeline.name", _) => self.name = Some((value.to_owned(), at)),
            ("execution.runtime-mode", "streaming" | "STREAMING") => {}
            ("parallelism.default", _) => {
                let count = value.parse().ok().filter(|count| (1..=PARALLELISM_MAX).contains(count));
                self.settings.parallelism = count.ok_or_else(|| {
                    let message = format!("SET '{key}': '{value}' is not between 1 and {PARALLELISM_MAX}");
                    SqlError::invalid(at, message)
                })?;
            }
            ("execution.checkpointing.interval", _) => {
                let ms = options::duration_ms(value)
                    .ok_or_else(|| SqlError::invalid(at, format!("SET '{key}': '{value}' is no duration")))?;
                self.settings.checkpoint_ms = (ms > 0).then_some(ms);
            }
            ("table.dml-sync", "false") => {}
            ("table.exec.sink.not-null-enforcer", _) => {
                let values = [("ERROR", false), ("DROP", true)];
                self.settings.drops_nulls = one_of(key, value, &values, at)?;
            }
            ("table.exec.sink.keyed-shuffle", _) => {
                // Rows of a key come in their order here, whatever is said.
                one_of(key, value, &[("NONE", ()), ("AUTO", ()), ("FORCE", ())], at)?;
            }
            ("table.exec.sink.type-length-enforcer", _) => {
                let values = [
                    ("IGNORE", TypeLengths::Ignore),
                    ("TRIM_PAD", TypeLengths::TrimPad),
                    ("ERROR", TypeLengths::Error),
                ];
                self.settings.type_lengths = one_of(key, value, &values, at)?;
            }
            ("table.exec.sink.upsert-materialize", _) => {
                let values = [
                    ("NONE", UpsertMaterialize::None),
                    ("AUTO", UpsertMaterialize::Auto),
                    ("FORCE", UpsertMaterialize::Force),
                ];
                self.settings.upsert_materialize = one_of(key, value, &values, at)?;
            }
            ("table.local-time-zone", name) => self.zone = local_zone::of_session(name, at)?,
            ("table.exec.state.ttl", _) => {
                let ms = options::duration_ms(value)
                    .ok_or_else(|| SqlError::invalid(at, format!("SET '{key}': '{value}' is no duration")))?;
                self.settings.ttl_ms = (ms > 0).then_some(ms);
            }
            _ => return Err(SqlError::not_yet(at, format!("SET '{key}' = '{value}'"))),
        }
        Ok(())
    }

    fn job(&mut self, around: &Hints, inserts: &[Insert]) -> Result<JobPlan, SqlError> {
        let plan = |insert| Ok((insert, statement::insert(&self.catalog, &self.catalog, insert)?));
        let planned = inserts.iter().map(plan).collect::<Result<Vec<_>, SqlError>>()?;
        self.job_of(around.clone(), planned)
    }

    fn job_of(
        &mut self,
        mut hints: Hints,
        inserts: Vec<(&Insert, LogicalInsert)>,
    ) -> Result<JobPlan, SqlError> {
        let mut logical = Vec::new();
        for (insert, insert_plan) in inserts {
            logical.push(self.localized(insert_plan, insert.target.at)?);
            merge(&mut hints, &insert.hints)?;
        }
        let name = match self.name.take() {
            Some((name, _)) => name,
            None => {
                let targets: Vec<String> = logical.iter().map(|i| i.table.path.to_string()).collect();
                format!("insert-into_{}", targets.join(","))
            }
        };
        let mut plan = JobPlan::of(name, &logical, self.settings);
        if let Some((topic, at)) = &hints.late_topic
            && !logical.iter().any(|insert| insert.input.drops_late_rows())
        {
            let message = format!("late-topic={topic}: this job has no window, so no row is ever late");
            return Err(SqlError::invalid(*at, message));
        }
        plan.late_topic = hints.late_topic.map(|(topic, _)| topic);
        plan.dlq = hints.dlq.map(|(topic, _)| topic);
        plan.sync = hints.sync.is_some_and(|(sync, _)| sync);
        Ok(plan)
    }
}

/// What a word stands for, in whatever letters it is written.
fn one_of<T: Copy>(key: &str, value: &str, values: &[(&str, T)], at: Pos) -> Result<T, SqlError> {
    let found = values.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
        let message = format!("SET '{key}': '{value}' is none of {}", words.join(", "));
        SqlError::invalid(at, message)
    })
}

/// A job has one of each; the INSERTs of a set may say the same, but not different things.
fn merge(into: &mut Hints, from: &Hints) -> Result<(), SqlError> {
    fn one<T: PartialEq + Clone>(
        into: &mut Option<(T, Pos)>,
        from: &Option<(T, Pos)>,
        key: &str,
    ) -> Result<(), SqlError> {
        match (&into, from) {
            (Some((a, _)), Some((b, at))) if a != b => Err(SqlError::invalid(
                *at,
                format!("@warren: '{key}' differs from the one before in this job"),
            )),
            (None, Some(_)) => {
                into.clone_from(from);
                Ok(())
            }
            _ => Ok(()),
        }
    }
    one(&mut into.late_topic, &from.late_topic, "late-topic")?;
    one(&mut into.dlq, &from.dlq, "dlq")?;
    one(&mut into.sync, &from.sync, "sync")
}
