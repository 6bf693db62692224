//! The session's time zone: where a TIMESTAMP_LTZ, which is a point in time, meets what a clock shows.
//!
//! Plans are made as if the session were in UTC, where both are one. For another zone every such place is found in the
//! finished plan, by the types, and what the zone makes of the time is put in. (Flink: `table.local-time-zone`)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many nodes of an expression only a few are looked for here"
)]

use std::{cell::RefCell, sync::Arc};

use super::{
    catalog::{Column, ColumnKind, Table},
    connector::metadata_type,
    logical::{Logical, LogicalInsert},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{
        Expr, Node,
        builtins::{
            self, Builtin,
            zone::{CLOCK, CLOCK_SECONDS, INSTANT, INSTANT_SECONDS, ROUNDED, Zone},
        },
    },
    sql::{Pos, SqlError},
};

type Result<T> = std::result::Result<T, SqlError>;

/// The zone of that name; `None` for UTC.
pub(super) fn of_session(name: &str, at: Pos) -> Result<Option<String>> {
    if !Zone::is_of_session(name) {
        let message = "Invalid time zone. The value should be a Time Zone Database (TZDB) ID such as \
                       'America/Los_Angeles' to include daylight saving time. Fixed offsets are supported using \
                       'GMT-03:00' or 'GMT+03:00'. Or use 'UTC' without time zone and daylight saving time.";
        return Err(SqlError::invalid(at, message));
    }
    Ok((name != "UTC").then(|| name.to_owned()))
}

/// The INSERT as it is in a zone.
pub(super) fn localized(insert: LogicalInsert, zone: &str, at: Pos) -> Result<LogicalInsert> {
    let local = Local { zone, failed: RefCell::new(None) };
    let mut input = insert.input;
    local.relation(&mut input);
    let input = local.for_sink(input, &insert.table);
    match local.failed.into_inner() {
        Some(what) => Err(SqlError::not_yet(at, format!("{what} in another time zone than UTC ('{zone}')"))),
        None => Ok(LogicalInsert { input, table: insert.table }),
    }
}

/// Digits of a record's time: milliseconds.
const RECORD_DIGITS: u8 = 3;

/// Whether the column is a point in time outside, and declared as what a clock shows.
fn is_other_clock(column: &Column) -> bool {
    let ColumnKind::Metadata { key, .. } = &column.kind else { return false };
    let given = metadata_type(key).map(|given| given.kind);
    given.is_some_and(|given| is_ltz(&given)) && !is_ltz(&column.data_type.kind)
}

struct Local<'a> {
    zone: &'a str,
    /// What cannot be done.
    failed: RefCell<Option<String>>,
}

impl Local<'_> {
    fn fail(&self, what: impl Into<String>) {
        self.failed.borrow_mut().get_or_insert_with(|| what.into());
    }

    fn relation(&self, plan: &mut Logical) {
        plan.inputs_mut().into_iter().for_each(|input| self.relation(input));
        plan.exprs_mut().into_iter().for_each(|expr| *expr = self.expr(expr));
        match plan {
            Logical::Scan(table) => {
                let stored = self.table(table);
                if let Some((exprs, names)) = stored {
                    let scan = Logical::Scan(table.clone());
                    *plan = scan.project(exprs, names);
                }
            }
            Logical::WindowAggregate(aggregate) if is_ltz(&aggregate.time_type.kind) => {
                aggregate.window.zone = Some(self.zone.into());
            }
            Logical::WindowRows(rows) if is_ltz(&rows.time_type.kind) => {
                rows.window.zone = Some(self.zone.into());
            }
            _ => {}
        }
    }

    /// Its watermark in the zone. What its columns then are over those that are stored, if they are something else: times
    /// of records are points in time, and what is declared as TIMESTAMP is what the clock shows then.
    fn table(&self, table: &mut Arc<Table>) -> Option<(Vec<Expr>, Vec<String>)> {
        let names = table.stored().map(|(_, column)| column.name.clone()).collect();
        let stored: Vec<Expr> =
            table.stored().enumerate().map(|(i, (_, column))| self.stored(i, column)).collect();
        let shown = stored.iter().any(|expr| !matches!(expr.node, Node::Column { .. }));
        let local =
            table.watermark.as_ref().map(|watermark| (self.expr(&watermark.expr).over(&stored), watermark));
        if let Some((expr, watermark)) = local
            && expr != watermark.expr
        {
            *table = Arc::new(table.with_watermark(expr));
        }
        shown.then_some((stored, names))
    }

    fn stored(&self, index: usize, column: &Column) -> Expr {
        let declared = &column.data_type;
        if !is_other_clock(column) {
            return Expr::column(index, &column.name, declared.clone());
        }
        let point = DataType { kind: Type::TimestampLtz(RECORD_DIGITS), nullable: declared.nullable };
        self.clock(Expr::column(index, &column.name, point)).cast_to(&declared.kind)
    }

    /// The columns of the sink are TIMESTAMP where those of the query are TIMESTAMP_LTZ, or the other way round.
    fn for_sink(&self, input: Logical, table: &Table) -> Logical {
        let schema = input.schema();
        let differs = |((_, given), column): (&(String, DataType), &Column)| {
            is_other_clock(column)
                || is_ltz(&given.kind) && matches!(column.data_type.kind, Type::Timestamp(_))
                || is_ltz(&column.data_type.kind) && matches!(given.kind, Type::Timestamp(_))
        };
        if !schema.iter().zip(table.persisted()).any(differs) {
            return input;
        }
        let columns = schema.iter().zip(table.persisted()).enumerate();
        let exprs = columns.map(|(index, ((name, given), column))| {
            let expr = Expr::column(index, name, given.clone());
            match &column.data_type.kind {
                // A record's own time is a point in time.
                Type::Timestamp(_) if is_other_clock(column) && is_ltz(&given.kind) => expr,
                Type::Timestamp(_) if is_other_clock(column) => self.instant(expr),
                Type::Timestamp(_) if is_ltz(&given.kind) => self.clock(expr),
                Type::TimestampLtz(_) if matches!(given.kind, Type::Timestamp(_)) => self.instant(expr),
                _ => expr,
            }
        });
        let exprs = exprs.collect();
        input.project(exprs, schema.into_iter().map(|(name, _)| name).collect())
    }

    fn expr(&self, expr: &Expr) -> Expr {
        let Expr { node, data_type } = expr.with_children(&mut |child| self.expr(child));
        match node {
            Node::Cast { expr, or_null } => self.cast(*expr, or_null, data_type),
            // The left one is made what the right one is.
            Node::Compare(op, a, b) => {
                let a = match (&a.data_type.kind, &b.data_type.kind) {
                    (Type::TimestampLtz(_), Type::Timestamp(_)) => Box::new(self.clock(*a)),
                    (Type::Timestamp(_), Type::TimestampLtz(_)) => Box::new(self.instant(*a)),
                    _ => a,
                };
                Expr::new(Node::Compare(op, a, b), data_type)
            }
            Node::Call(builtin, args) => self.call(builtin, args, data_type),
            node => Expr::new(node, data_type),
        }
    }

    fn cast(&self, of: Expr, or_null: bool, to: DataType) -> Expr {
        let from = of.data_type.kind.clone();
        let cast = |of: Expr, to: DataType| Expr::new(Node::Cast { expr: Box::new(of), or_null }, to);
        match (&from, &to.kind) {
            (Type::TimestampLtz(_), Type::TimestampLtz(_)) | (Type::Null, _) => cast(of, to),
            (Type::TimestampLtz(_), _) => cast(self.clock(of), to),
            (_, Type::TimestampLtz(digits)) => {
                let clock = DataType { kind: Type::Timestamp(*digits), nullable: to.nullable };
                self.instant(cast(of, clock))
            }
            (from, to_kind) => {
                if has_ltz(from) || has_ltz(to_kind) {
                    self.fail(format!("CAST of {from} to {to_kind}"));
                }
                cast(of, to)
            }
        }
    }

    fn call(&self, builtin: &'static Builtin, mut args: Vec<Expr>, data_type: DataType) -> Expr {
        let name = builtin.name;
        let of_ltz = args.first().is_some_and(|first| is_ltz(&first.data_type.kind));
        let now = || self.made("CURRENT_TIMESTAMP", Vec::new());
        let cast = |of: Expr| of.cast_to(&data_type.kind);
        let made = match (name, args.len()) {
            ("CURRENT_DATE" | "CURRENT_TIME" | "LOCALTIME", _) => cast(self.clock(now())),
            ("LOCALTIMESTAMP", _) => self.clock(now()),
            ("FLOOR_TO" | "CEIL_TO", 2) if of_ltz => {
                let time = args.swap_remove(0);
                let unit = args.swap_remove(0);
                let rounded = self.made(name, vec![self.clock(time.clone()), unit]);
                self.made(ROUNDED, vec![rounded, time, self.zone()])
            }
            ("EXTRACT" | "DATE_FORMAT", _) if of_ltz => {
                let time = args.remove(0);
                args.insert(0, self.clock(time));
                self.made(name, args)
            }
            ("FROM_UNIXTIME", _) if !args.is_empty() => {
                let seconds = self.made(CLOCK_SECONDS, vec![args.remove(0), self.zone()]);
                args.insert(0, seconds);
                self.made(name, args)
            }
            ("UNIX_TIMESTAMP", 1 | 2) => {
                let seconds = self.made(name, args);
                self.made(INSTANT_SECONDS, vec![seconds, self.zone()])
            }
            _ => return Expr::new(Node::Call(builtin, args), data_type),
        };
        Expr { data_type, ..made }
    }

    fn zone(&self) -> Expr {
        Expr::literal(Datum::str(self.zone), Type::STRING)
    }

    fn clock(&self, time: Expr) -> Expr {
        self.made(CLOCK, vec![time, self.zone()])
    }

    fn instant(&self, time: Expr) -> Expr {
        self.made(INSTANT, vec![time, self.zone()])
    }

    /// A call that the analysis has found right before.
    fn made(&self, name: &str, args: Vec<Expr>) -> Expr {
        match builtins::find(name).and_then(|builtin| builtin.call(args)) {
            Some(call) => call,
            None => {
                self.fail(name);
                Expr::literal(Datum::Null, Type::Null)
            }
        }
    }
}

fn is_ltz(kind: &Type) -> bool {
    matches!(kind, Type::TimestampLtz(_))
}

/// Whether there is one in a nested type.
fn has_ltz(kind: &Type) -> bool {
    match kind {
        Type::Array(item) | Type::Multiset(item) => has_ltz(&item.kind),
        Type::Map(key, value) => has_ltz(&key.kind) || has_ltz(&value.kind),
        Type::Row(fields) => fields.iter().any(|(_, field)| has_ltz(&field.kind)),
        other => is_ltz(other),
    }
}
