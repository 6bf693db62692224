//! Streams as they are built, and how they are written down: a table for each end, a view for each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    expression::{Expression, interval, quoted},
    table::Table,
};

pub use crate::stream::plan::logical::JoinKind;

/// Rows that come one after the other. A clone is the same stream: what two sinks share is made once.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Step>);

#[derive(Debug)]
enum Step {
    Aggregate(Keyed, Vec<Expression>),
    Filter(Stream, Expression),
    Join(Joined, Vec<Expression>),
    Map(Stream, Vec<Expression>),
    Rows(Windowed),
    Table(Table),
    Union(Stream, Stream),
}

/// How time is cut into pieces. Spans are to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Windows that grow by steps up to a size.
    Cumulate { step: Duration, size: Duration },
    /// Windows of a size, one each slide.
    Hop { slide: Duration, size: Duration },
    /// Rows of a key with no gap between them.
    Session { gap: Duration },
    /// Windows of a size, one behind the other.
    Tumble { size: Duration },
}

/// A stream whose rows are in windows.
#[derive(Debug, Clone)]
pub struct Windowed {
    stream: Stream,
    time: String,
    window: Window,
}

/// A stream whose rows are in groups: by key, and by window where there is one.
#[derive(Debug, Clone)]
pub struct Keyed {
    of: Grouped,
    keys: Vec<Expression>,
}

#[derive(Debug, Clone)]
enum Grouped {
    Rows(Stream),
    Windows(Windowed),
}

/// Two streams side by side, by the names that their columns get.
#[derive(Debug, Clone)]
pub struct Joined {
    kind: JoinKind,
    left: (Stream, String),
    right: (Stream, String),
    on: Expression,
}

impl Stream {
    pub(super) fn of(table: Table) -> Self {
        Self(Arc::new(Step::Table(table)))
    }

    /// Each row as these columns; one that is no column has its name from [`Expression::alias`].
    #[must_use]
    pub fn map(&self, columns: impl IntoIterator<Item = Expression>) -> Self {
        Self(Arc::new(Step::Map(self.clone(), columns.into_iter().collect())))
    }

    /// The rows for which the condition holds.
    #[must_use]
    pub fn filter(&self, condition: impl Into<Expression>) -> Self {
        Self(Arc::new(Step::Filter(self.clone(), condition.into())))
    }

    /// The rows of both, whose columns must be the same.
    #[must_use]
    pub fn union_all(&self, other: &Self) -> Self {
        Self(Arc::new(Step::Union(self.clone(), other.clone())))
    }

    /// Rows in windows, by a column that has a watermark.
    #[must_use]
    pub fn window(&self, time: &str, window: Window) -> Windowed {
        Windowed { stream: self.clone(), time: time.to_owned(), window }
    }

    /// Rows in groups. Their results are updated with every row: only a table with a primary key can hold them.
    #[must_use]
    pub fn key_by(&self, keys: impl IntoIterator<Item = Expression>) -> Keyed {
        Keyed { of: Grouped::Rows(self.clone()), keys: keys.into_iter().collect() }
    }

    /// Pairs of rows for which the condition holds, over columns `name.column` of both sides. Where it bounds the
    /// difference of both times, rows are forgotten once nothing can meet them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use warrenmq::stream::{
    ///     dsl::{Job, JoinKind, col, interval, json_topic},
    ///     plan::types::Type,
    /// };
    ///
    /// let timed = |topic| {
    ///     json_topic(topic).column("id", Type::BigInt).timestamp("at").watermark("at", Duration::ZERO).stream()
    /// };
    /// let near = col("p.at").between(col("o.at"), col("o.at") + interval(Duration::from_secs(600)));
    /// let paid = timed("orders")
    ///     .join("o", JoinKind::Inner, &timed("payments"), "p", col("o.id").eq(col("p.id")) & near)
    ///     .map([col("o.id")]);
    /// let plan = Job::new("paid").insert(&paid, json_topic("paid")).plan()?;
    /// # assert!(plan.nodes.iter().any(|node| node.kind.name() == "IntervalJoin"));
    /// # Ok::<(), warrenmq::stream::SqlError>(())
    /// ```
    #[must_use]
    pub fn join(&self, name: &str, kind: JoinKind, other: &Self, other_name: &str, on: Expression) -> Joined {
        let (left, right) = ((self.clone(), name.to_owned()), (other.clone(), other_name.to_owned()));
        Joined { kind, left, right, on }
    }
}

impl Windowed {
    /// The rows themselves, with `window_start`, `window_end` and `window_time` behind their columns.
    #[must_use]
    pub fn rows(&self) -> Stream {
        Stream(Arc::new(Step::Rows(self.clone())))
    }

    /// The rows of each window in groups; a session is of one key.
    #[must_use]
    pub fn key_by(&self, keys: impl IntoIterator<Item = Expression>) -> Keyed {
        Keyed { of: Grouped::Windows(self.clone()), keys: keys.into_iter().collect() }
    }

    /// One row for each window.
    #[must_use]
    pub fn aggregate(&self, results: impl IntoIterator<Item = Expression>) -> Stream {
        self.key_by([]).aggregate(results)
    }

    fn rows_from(&self, table: &str, keys: &[Expression]) -> String {
        let sized = |name: &str, spans: &[Duration]| {
            let spans: Vec<String> = spans.iter().map(|span| interval(*span).to_string()).collect();
            (name.to_owned(), spans.join(", "))
        };
        let (function, spans) = match self.window {
            Window::Cumulate { step, size } => sized("CUMULATE", &[step, size]),
            Window::Hop { slide, size } => sized("HOP", &[slide, size]),
            Window::Session { gap } => sized("SESSION", &[gap]),
            Window::Tumble { size } => sized("TUMBLE", &[size]),
        };
        let partition = match self.window {
            Window::Session { .. } if !keys.is_empty() => format!(" PARTITION BY {}", list(keys)),
            Window::Cumulate { .. } | Window::Hop { .. } | Window::Session { .. } | Window::Tumble { .. } => {
                String::new()
            }
        };
        let time = quoted(&self.time);
        format!("TABLE({function}(TABLE {table}{partition}, DESCRIPTOR({time}), {spans}))")
    }
}

impl Keyed {
    /// One row for each group: its keys, `window_start` and `window_end` where it has a window, and these results.
    #[must_use]
    pub fn aggregate(&self, results: impl IntoIterator<Item = Expression>) -> Stream {
        Stream(Arc::new(Step::Aggregate(self.clone(), results.into_iter().collect())))
    }

    fn select(&self, writer: &mut Writer, results: &[Expression]) -> String {
        let (from, bounds) = match &self.of {
            Grouped::Rows(stream) => (quoted(&writer.name_of(stream)), Vec::new()),
            Grouped::Windows(windowed) => {
                let table = quoted(&writer.name_of(&windowed.stream));
                let bounds = ["window_start", "window_end"].map(super::col);
                (windowed.rows_from(&table, &self.keys), bounds.to_vec())
            }
        };
        let groups: Vec<Expression> = self.keys.iter().cloned().chain(bounds).collect();
        let columns: Vec<Expression> = groups.iter().chain(results).cloned().collect();
        let by = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", list(&groups)) };
        format!("SELECT {} FROM {from}{by}", selected(&columns))
    }
}

impl Joined {
    /// Each pair as these columns.
    #[must_use]
    pub fn map(&self, columns: impl IntoIterator<Item = Expression>) -> Stream {
        Stream(Arc::new(Step::Join(self.clone(), columns.into_iter().collect())))
    }

    fn select(&self, writer: &mut Writer, columns: &[Expression]) -> String {
        let side = |writer: &mut Writer, (stream, name): &(Stream, String)| {
            format!("{} AS {}", quoted(&writer.name_of(stream)), quoted(name))
        };
        let (left, right) = (side(writer, &self.left), side(writer, &self.right));
        let (columns, on) = (selected(columns), &self.on);
        let how = match self.kind {
            JoinKind::Full => "FULL JOIN",
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Semi => {
                return format!(
                    "SELECT {columns} FROM {left} WHERE EXISTS (SELECT * FROM {right} WHERE {on})"
                );
            }
            JoinKind::Anti => {
                return format!(
                    "SELECT {columns} FROM {left} WHERE NOT EXISTS (SELECT * FROM {right} WHERE {on})"
                );
            }
        };
        format!("SELECT {columns} FROM {left} {how} {right} ON {on}")
    }
}

fn selected(columns: &[Expression]) -> String {
    columns.iter().map(Expression::selected).collect::<Vec<_>>().join(", ")
}

fn list(expressions: &[Expression]) -> String {
    expressions.iter().map(Expression::to_string).collect::<Vec<_>>().join(", ")
}

/// Writes tables and views, each once and before those who read it.
pub(super) struct Writer {
    text: String,
    /// By the address of the step, which lives as long as the job.
    names: BTreeMap<*const Step, String>,
    /// Tables that are written, by their names.
    tables: BTreeMap<String, Table>,
    /// Names that no view may have.
    taken: BTreeSet<String>,
}

impl Writer {
    /// Tables that will be written later have their names already.
    pub(super) fn new<'a>(later: impl Iterator<Item = &'a Table>) -> Self {
        let taken = later.map(|table| table.name.clone()).collect();
        Self { text: String::new(), names: BTreeMap::new(), tables: BTreeMap::new(), taken }
    }

    /// A stream's name, after it and all that it is made of have been written.
    pub(super) fn name_of(&mut self, stream: &Stream) -> String {
        let step = Arc::as_ptr(&stream.0);
        if let Some(name) = self.names.get(&step) {
            return name.clone();
        }
        let name = match &*stream.0 {
            Step::Table(table) => {
                self.table(table);
                table.name.clone()
            }
            Step::Aggregate(keyed, results) => {
                let query = keyed.select(self, results);
                self.view(&query)
            }
            Step::Filter(input, condition) => {
                let from = self.name_of(input);
                self.view(&format!("SELECT * FROM {} WHERE {condition}", quoted(&from)))
            }
            Step::Join(joined, columns) => {
                let query = joined.select(self, columns);
                self.view(&query)
            }
            Step::Map(input, columns) => {
                let from = self.name_of(input);
                self.view(&format!("SELECT {} FROM {}", selected(columns), quoted(&from)))
            }
            Step::Rows(windowed) => {
                let table = quoted(&self.name_of(&windowed.stream));
                self.view(&format!("SELECT * FROM {}", windowed.rows_from(&table, &[])))
            }
            Step::Union(one, other) => {
                let (one, other) = (self.name_of(one), self.name_of(other));
                self.view(&format!(
                    "SELECT * FROM {} UNION ALL SELECT * FROM {}",
                    quoted(&one),
                    quoted(&other)
                ))
            }
        };
        self.names.insert(step, name.clone());
        name
    }

    /// Writes a table that is not there yet. Another one of the same name is written too: the catalog refuses it.
    pub(super) fn table(&mut self, table: &Table) {
        if self.tables.get(&table.name) == Some(table) {
            return;
        }
        self.text.push_str(&table.create());
        self.taken.insert(table.name.clone());
        self.tables.insert(table.name.clone(), table.clone());
    }

    fn view(&mut self, query: &str) -> String {
        let mut number = self.names.len();
        let free = loop {
            let name = format!("step_{number}");
            if self.taken.insert(name.clone()) {
                break name;
            }
            number += 1;
        };
        self.text.push_str(&format!("CREATE VIEW {} AS {query};\n", quoted(&free)));
        free
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
