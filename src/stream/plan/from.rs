//! FROM: tables, views, sub-queries, window table functions, joins, UNNEST.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's relations are many, and most are not Flink's"
)]

use sqlparser::ast::{
    Expr as Parsed, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join as ParsedJoin,
    JoinConstraint, JoinOperator, ObjectName, Spanned, TableAlias, TableFactor, TableFunctionArgs,
    TableVersion, TableWithJoins,
};

use super::{
    analyze::{Analyzer, Result, aliased, always, column_names, one_row},
    analyze_call::coalesce,
    analyze_expr::comparison,
    catalog::Object,
    group_window::interval_ms,
    join,
    logical::WindowRows,
    logical::{Join, JoinKind, JoinShape, Logical, Schema, Unnest},
    properties::TimeAttribute,
    scope::Scope,
    types::{DataType, Type},
    window::{Window, WindowShape, WindowTime},
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node},
    sql::{
        Pos, SqlError,
        ast::{Name, OptionDef},
        options_hint, reserved,
    },
};

/// A relation and what it is called.
type Relation = (Logical, Scope);

impl Analyzer<'_> {
    pub(super) fn from(&mut self, tables: &[TableWithJoins]) -> Result<Relation> {
        let Some((first, others)) = tables.split_first() else {
            return Ok(one_row());
        };
        let mut left = self.joined(None, first)?;
        for table in others {
            left = self.joined(Some(left), table)?;
        }
        Ok(left)
    }

    /// One item of FROM with its joins, beside what stands before it.
    fn joined(&mut self, before: Option<Relation>, table: &TableWithJoins) -> Result<Relation> {
        let mut left = match before {
            None => self.first(&table.relation)?,
            Some(left) => self.join(left, &table.relation, JoinKind::Inner, None)?,
        };
        for ParsedJoin { relation, join_operator, global } in &table.joins {
            if *global {
                return Err(SqlError::syntax(relation.span(), "GLOBAL is not Flink SQL"));
            }
            let (kind, constraint) = match join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
                JoinOperator::FullOuter(c) => (JoinKind::Full, c),
                JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
                _ => return Err(SqlError::syntax(relation.span(), "this kind of join is not Flink SQL")),
            };
            left = self.join(left, relation, kind, Some(constraint))?;
        }
        Ok(left)
    }

    fn join(
        &mut self,
        left: Relation,
        factor: &TableFactor,
        kind: JoinKind,
        constraint: Option<&JoinConstraint>,
    ) -> Result<Relation> {
        let at: Pos = factor.span().into();
        let constraint = constraint.unwrap_or(&JoinConstraint::None);
        if let Some(unnested) = unnested(factor)? {
            let on = match constraint {
                JoinConstraint::On(on) => Some(on),
                JoinConstraint::None => None,
                JoinConstraint::Natural | JoinConstraint::Using(_) => {
                    return Err(SqlError::not_yet(at, "UNNEST with USING or NATURAL"));
                }
            };
            return unnest(left, &unnested, kind, on, at);
        }
        let (left, left_scope) = left;
        let version = match factor {
            TableFactor::Table { version, .. } => version.as_ref(),
            _ => None,
        };
        let (mut right, mut right_scope) = self.relation(factor)?;
        let width = left_scope.columns.len();
        let mut shared = Vec::new();
        let condition = match constraint {
            JoinConstraint::On(on) => {
                let (with_values, condition) = self.on(on, &left_scope, (right, &mut right_scope), kind)?;
                right = with_values;
                condition
            }
            JoinConstraint::None if matches!(kind, JoinKind::Inner) => Vec::new(),
            JoinConstraint::None => return Err(SqlError::syntax(at, "an outer join needs ON")),
            JoinConstraint::Using(names) => {
                for name in names {
                    match name.0.as_slice() {
                        [part] => shared.extend(part.as_ident().cloned()),
                        _ => return Err(SqlError::syntax(name.span(), "USING needs names of columns")),
                    }
                }
                using(&left_scope, &right_scope, &shared, at)?
            }
            JoinConstraint::Natural => {
                shared = in_both(&left_scope, &right_scope);
                using(&left_scope, &right_scope, &shared, at)?
            }
        };
        let shape = match version {
            None => JoinShape::Undecided,
            Some(TableVersion::ForSystemTimeAsOf(time)) => {
                let time = left_scope.expr(time)?;
                join::temporal(&left, &right, &time, &condition, kind, at)?
            }
            Some(_) => return Err(SqlError::syntax(at, "expected FOR SYSTEM_TIME AS OF")),
        };
        let mut scope = left_scope.clone().beside(right_scope.clone());
        for (index, (_, data_type)) in scope.columns.iter_mut().enumerate() {
            data_type.nullable |= if index < width { kind.keeps_right() } else { kind.keeps_left() };
        }
        merge(&mut scope, &left_scope, &right_scope, &shared, kind, at)?;
        let plan = Logical::Join(Box::new(Join { kind, left, right, condition, shape, ttl_ms: [None; 2] }));
        Ok((plan, scope))
    }

    /// A relation that no join says the time of.
    fn first(&mut self, factor: &TableFactor) -> Result<Relation> {
        if let TableFactor::Table { name, version: Some(_), .. } = factor {
            let message =
                format!("Table '{name}' with FOR SYSTEM_TIME AS OF must be the right side of a join");
            return Err(SqlError::invalid(factor.span(), message));
        }
        self.relation(factor)
    }

    fn relation(&mut self, factor: &TableFactor) -> Result<Relation> {
        let (plan, default_alias, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
                ..
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let (plan, short) = self.named_relation(name)?;
                (plan, Some(short), alias)
            }
            TableFactor::Table { name, alias, args: Some(TableFunctionArgs { args, .. }), .. } => {
                (self.window(&name.to_string(), args, name.span().into())?, None, alias)
            }
            TableFactor::Table { .. } => {
                return Err(SqlError::not_yet(factor.span(), "this form of a table in FROM"));
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                (self.query(subquery)?, None, alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (plan, scope) = self.joined(None, table_with_joins)?;
                if alias.is_none() {
                    return Ok((plan, scope));
                }
                (plan, None, alias)
            }
            TableFactor::TableFunction { expr: Parsed::Function(function), alias } => {
                let FunctionArguments::List(list) = &function.args else {
                    return Err(SqlError::not_yet(factor.span(), "a table function"));
                };
                let at = function.name.span().into();
                (self.window(&function.name.to_string(), &list.args, at)?, None, alias)
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                return Err(SqlError::not_yet(factor.span(), "a table function"));
            }
            TableFactor::Derived { lateral: true, .. } => {
                return Err(SqlError::not_yet(factor.span(), "LATERAL"));
            }
            TableFactor::UNNEST { .. } => return Err(SqlError::not_yet(factor.span(), "UNNEST")),
            TableFactor::MatchRecognize { .. } => {
                return Err(SqlError::not_yet(factor.span(), "MATCH_RECOGNIZE"));
            }
            _ => return Err(SqlError::syntax(factor.span(), format!("'{factor}' in FROM is not Flink SQL"))),
        };
        let (plan, alias) = aliased(plan, default_alias, alias.as_ref())?;
        let columns = plan.schema();
        Ok((plan, Scope::of(alias, columns)))
    }

    fn named_relation(&mut self, name: &ObjectName) -> Result<(Logical, String)> {
        let mut parts = Vec::new();
        for part in &name.0 {
            match part.as_ident() {
                Some(ident) => parts.push(reserved::name(ident)?),
                None => return Err(SqlError::syntax(name.span(), "expected a name")),
            }
        }
        let options = options_hint::taken(&mut parts, name.span().into())?;
        if let [short] = parts.as_slice()
            && let Some((_, plan)) = self.named.iter().rev().find(|(n, _)| n == short)
        {
            refuse_options(&options, short)?;
            let plan = plan.clone();
            return Ok((self.bounded(&plan, name.span())?, short.clone()));
        }
        let short = parts.last().cloned().unwrap_or_default();
        let name = Name { at: name.span().into(), parts, options };
        match self.catalog.find_with_options(&name)? {
            Object::View(view) => {
                refuse_options(&name.options, &view.path.to_string())?;
                Ok((self.bounded(&view.plan, name.at)?, short))
            }
            Object::Table(table, _) => {
                table.usable()?;
                if table.connector.is_source() {
                    return Ok((Logical::table(&table), short));
                }
                let message = format!(
                    "Connector '{}' can only be used as a sink. It cannot be used as a source.",
                    table.connector.name()
                );
                Err(SqlError::invalid(name.at, message))
            }
        }
    }

    /// TUMBLE, HOP, CUMULATE and SESSION as table functions.
    fn window(&mut self, name: &str, args: &[FunctionArg], at: Pos) -> Result<Logical> {
        let name = name.replace('`', "").to_ascii_uppercase();
        // In the order in which they may be given without names.
        let lengths: &[&str] = match name.as_str() {
            "TUMBLE" => &["SIZE"],
            "HOP" => &["SLIDE", "SIZE"],
            "CUMULATE" => &["STEP", "SIZE"],
            "SESSION" => &["GAP"],
            _ => return Err(SqlError::not_yet(at, format!("the table function {name}"))),
        };
        let given = Given::read(&name, args, lengths, at)?;
        let (input, _) = self.named_relation(&given.data)?;
        let scope = Scope::of(None, input.schema());
        let Node::Column { index: column, .. } = scope.expr(given.time)?.node else {
            return Err(SqlError::invalid(given.time.span(), "DESCRIPTOR needs the name of a column"));
        };
        let Some((_, time_type)) = scope.columns.get(column) else {
            return Err(SqlError::invalid(at, "DESCRIPTOR needs the name of a column"));
        };
        let Some(attribute) = input.times().get(column).copied().flatten() else {
            return Err(SqlError::invalid(
                given.time.span(),
                format!(
                    "The window function requires the timecol is a time attribute type, but is {}.",
                    time_type.kind
                ),
            ));
        };
        let mut ms = Vec::new();
        for length in &given.lengths {
            ms.push(interval_ms(&scope.expr(length)?, length.span().into())?);
        }
        let shape = shape_of(&name, &ms, at)?;
        let offset_ms = match given.offset {
            None => 0,
            Some(offset) => match (scope.expr(offset)?.node, &shape) {
                (_, WindowShape::Session { .. }) => {
                    return Err(SqlError::invalid(offset.span(), "SESSION has no offset"));
                }
                (Node::Literal(Datum::Int(ms)), _) => ms,
                _ => return Err(SqlError::invalid(offset.span(), "the offset must be a literal interval")),
            },
        };
        let mut partition = Vec::new();
        for parsed in &given.partition {
            match scope.expr(parsed)?.node {
                Node::Column { index, .. } => partition.push(index),
                _ => return Err(SqlError::invalid(parsed.span(), "PARTITION BY needs names of columns")),
            }
        }
        let time = match attribute {
            TimeAttribute::Event => WindowTime::Event { column },
            TimeAttribute::Processing => WindowTime::Processing,
        };
        let time_type = time_type.clone();
        let window = Window::new(shape, offset_ms);
        Ok(Logical::WindowRows(Box::new(WindowRows { input, window, time, time_type, partition })))
    }
}

fn refuse_options(options: &[OptionDef], path: &str) -> Result<()> {
    match options.first() {
        None => Ok(()),
        Some(option) => Err(SqlError::invalid(
            option.at,
            format!(
                "View '{path}' cannot be enriched with new options. Hints can only be applied to tables."
            ),
        )),
    }
}

/// Columns that both sides have, in the order of the left one.
fn in_both(left: &Scope, right: &Scope) -> Vec<Ident> {
    let names = |scope: &Scope| -> Vec<String> {
        let merged = scope.merged.iter().map(|(name, _)| name.clone());
        let own = scope.columns.iter().enumerate().filter(|(i, _)| !scope.hidden.contains(i));
        merged.chain(own.map(|(_, (name, _))| name.clone())).collect()
    };
    let right = names(right);
    names(left)
        .into_iter()
        .filter(|name| right.contains(name))
        .map(|name| Ident::with_quote('`', name))
        .collect()
}

/// What USING says: columns of one name are equal.
fn using(left: &Scope, right: &Scope, names: &[Ident], at: Pos) -> Result<Vec<Expr>> {
    let behind = columns_behind(left.columns.len(), right);
    let mut condition = Vec::new();
    for name in names {
        let (own, other) = (left.column(name)?, right.column(name)?.over(&behind));
        condition.push(comparison(Comparison::Equal, own, other, at)?);
    }
    Ok(condition)
}

fn columns_behind(width: usize, scope: &Scope) -> Vec<Expr> {
    let column = |(i, (name, t)): (usize, &(String, DataType))| Expr::column(width + i, name, t.clone());
    scope.columns.iter().enumerate().map(column).collect()
}

/// From here on a name of USING means the column of either side, which `*` has first and once.
fn merge(
    scope: &mut Scope,
    left: &Scope,
    right: &Scope,
    names: &[Ident],
    kind: JoinKind,
    at: Pos,
) -> Result<()> {
    let own: Vec<Expr> = columns_behind(0, scope);
    let behind: Vec<Expr> = own.iter().skip(left.columns.len()).cloned().collect();
    let mut merged = Vec::new();
    for name in names {
        let of_left = left.column(name)?.over(&own);
        let of_right = right.column(name)?.over(&behind);
        for side in [&of_left, &of_right] {
            side.columns(&mut |column| scope.hidden.push(column));
        }
        let expr = match kind {
            JoinKind::Full => coalesce(vec![of_left, of_right], at)?,
            JoinKind::Right => of_right,
            JoinKind::Anti | JoinKind::Inner | JoinKind::Left | JoinKind::Semi => of_left,
        };
        merged.push((name.value.clone(), expr));
    }
    scope.merged.retain(|(name, _)| !names.iter().any(|n| n.value == *name));
    merged.append(&mut scope.merged);
    scope.merged = merged;
    Ok(())
}

fn shape_of(name: &str, ms: &[i64], at: Pos) -> Result<WindowShape> {
    let multiple = |size: i64, part: i64, what: &str| {
        if size % part == 0 {
            return Ok(());
        }
        Err(SqlError::invalid(
            at,
            format!("{name} table function based aggregate requires {what}, but got {size} ms and {part} ms"),
        ))
    };
    Ok(match (name, ms) {
        ("TUMBLE", [size]) => WindowShape::Tumble { size: *size },
        ("HOP", [slide, size]) => {
            multiple(*size, *slide, "size must be an integral multiple of slide")?;
            WindowShape::Hop { size: *size, slide: *slide }
        }
        ("CUMULATE", [step, size]) => {
            multiple(*size, *step, "maxSize must be an integral multiple of step")?;
            WindowShape::Cumulate { size: *size, step: *step }
        }
        ("SESSION", [gap]) => WindowShape::Session { gap: *gap },
        _ => return Err(SqlError::invalid(at, format!("Invalid number of arguments to function '{name}'"))),
    })
}

/// The arguments of a window table function.
struct Given<'a> {
    data: ObjectName,
    time: &'a Parsed,
    lengths: Vec<&'a Parsed>,
    offset: Option<&'a Parsed>,
    partition: Vec<&'a Parsed>,
}

impl<'a> Given<'a> {
    /// By place or by name (`DATA`, `TIMECOL`, the lengths, `OFFSET`). The parser has put PARTITION BY into an argument
    /// of its own.
    fn read(function: &str, args: &'a [FunctionArg], lengths: &[&str], at: Pos) -> Result<Self> {
        let mut partition = Vec::new();
        let mut placed: Vec<&Parsed> = Vec::new();
        let mut named: Vec<(String, &Parsed)> = Vec::new();
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Parsed::Function(f)))
                    if f.name.to_string() == PARTITION_BY =>
                {
                    partition = super::group_window::arguments(f)?;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => placed.push(e),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => {
                    named.push((name.value.to_ascii_uppercase(), e));
                }
                _ => return Err(SqlError::syntax(at, format!("'{arg}' is no argument of {function}"))),
            }
        }
        let wrong = || SqlError::invalid(at, format!("Invalid number of arguments to function '{function}'"));
        if !placed.is_empty() && !named.is_empty() {
            return Err(SqlError::syntax(at, "arguments are given by place or by name, not both"));
        }
        let order: Vec<&str> =
            ["DATA", "TIMECOL"].into_iter().chain(lengths.iter().copied()).chain(["OFFSET"]).collect();
        if placed.len() > order.len() {
            return Err(wrong());
        }
        named.extend(order.iter().map(|n| (*n).to_owned()).zip(placed));
        if let Some((unknown, e)) = named.iter().find(|(n, _)| !order.contains(&n.as_str())) {
            return Err(SqlError::invalid(e.span(), format!("{function} has no argument '{unknown}'")));
        }
        let find = |name: &str| named.iter().find(|(n, _)| n == name).map(|(_, e)| *e);
        let lengths: Option<Vec<&Parsed>> = lengths.iter().map(|n| find(n)).collect();
        let data = match find("DATA") {
            Some(Parsed::Identifier(ident)) => ObjectName::from(vec![ident.clone()]),
            Some(Parsed::CompoundIdentifier(idents)) => ObjectName::from(idents.clone()),
            Some(other) => {
                return Err(SqlError::not_yet(other.span(), "a window over anything but a named table"));
            }
            None => return Err(wrong()),
        };
        let time = match find("TIMECOL") {
            Some(Parsed::Function(f)) if f.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
                descriptor(f)?
            }
            Some(other) => return Err(SqlError::invalid(other.span(), "expected DESCRIPTOR(column)")),
            None => return Err(wrong()),
        };
        Ok(Self { data, time, lengths: lengths.ok_or_else(wrong)?, offset: find("OFFSET"), partition })
    }
}

/// What the parser calls PARTITION BY among arguments; no name of Flink's begins with `$`.
pub const PARTITION_BY: &str = "$PARTITION_BY";

fn descriptor(function: &Function) -> Result<&Parsed> {
    match super::group_window::arguments(function)?.as_slice() {
        [column] => Ok(column),
        _ => Err(SqlError::invalid(function.name.span(), "DESCRIPTOR needs one column here")),
    }
}

/// `UNNEST(array) [WITH ORDINALITY] [AS alias]`.
struct Unnested<'a> {
    array: &'a Parsed,
    alias: Option<&'a TableAlias>,
    ordinality: bool,
}

/// UNNEST, which the library takes for a table with arguments.
fn unnested(factor: &TableFactor) -> Result<Option<Unnested<'_>>> {
    let TableFactor::Table {
        name, alias, args: Some(TableFunctionArgs { args, .. }), with_ordinality, ..
    } = factor
    else {
        return Ok(None);
    };
    if !name.to_string().eq_ignore_ascii_case("UNNEST") {
        return Ok(None);
    }
    match args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => {
            Ok(Some(Unnested { array, alias: alias.as_ref(), ordinality: *with_ordinality }))
        }
        _ => Err(SqlError::not_yet(factor.span(), "UNNEST of several arrays")),
    }
}

fn unnest(
    (input, scope): Relation,
    unnested: &Unnested<'_>,
    kind: JoinKind,
    on: Option<&Parsed>,
    at: Pos,
) -> Result<Relation> {
    let input = join::settled(input, at)?;
    let (array, alias, ordinality) = (scope.expr(unnested.array)?, unnested.alias, unnested.ordinality);
    let row = |t: &DataType| -> Schema {
        match &t.kind {
            Type::Row(fields) => fields.clone(),
            _ => vec![("EXPR$0".to_owned(), t.clone())],
        }
    };
    let mut columns: Schema = match &array.data_type.kind {
        Type::Array(item) | Type::Multiset(item) => row(item),
        Type::Map(key, value) => {
            vec![("KEY".to_owned(), (**key).clone()), ("VALUE".to_owned(), (**value).clone())]
        }
        other => {
            let message = format!("Cannot apply 'UNNEST' to arguments of type 'UNNEST(<{other}>)'");
            return Err(SqlError::invalid(at, message));
        }
    };
    let name = alias.map(|a| reserved::name(&a.name)).transpose()?;
    // A column alone is called as the table is.
    if let ([(column, _)], Some(name)) = (columns.as_mut_slice(), &name) {
        column.clone_from(name);
    }
    if ordinality {
        if matches!(array.data_type.kind, Type::Multiset(_)) {
            return Err(SqlError::not_yet(at, "WITH ORDINALITY of a MULTISET, which has no order"));
        }
        columns.push(("ORDINALITY".to_owned(), DataType::not_null(Type::Int)));
    }
    if let Some(alias) = alias.filter(|a| !a.columns.is_empty()) {
        if alias.columns.len() != columns.len() {
            let message =
                format!("expected {} names of columns, found {}", columns.len(), alias.columns.len());
            return Err(SqlError::invalid(alias.name.span, message));
        }
        for ((column, _), name) in columns.iter_mut().zip(column_names(alias)?) {
            *column = name;
        }
    }
    let outer = match kind {
        JoinKind::Inner => false,
        JoinKind::Left => true,
        _ => return Err(SqlError::invalid(at, "UNNEST can only be the right side of an inner or left join")),
    };
    if outer {
        columns.iter_mut().for_each(|(_, t)| t.nullable = true);
    }
    let scope = scope.beside(Scope::of(name, columns.clone()));
    let conditions = match on {
        Some(on) => join::conjuncts(scope.condition(on, "ON")?),
        None => vec![always()],
    };
    let plan = Logical::Unnest(Box::new(Unnest { input, array, columns, outer, ordinality }));
    let real: Vec<Expr> = conditions.into_iter().filter(|c| !super::logical::is_true(c)).collect();
    if outer && !real.is_empty() {
        return Err(SqlError::not_yet(at, "a condition on LEFT JOIN UNNEST but TRUE"));
    }
    Ok((super::analyze::filter(plan, real), scope))
}
