//! Names and types of queries: SELECT, WHERE, GROUP BY, HAVING, DISTINCT, UNION and WITH. What stands in FROM is read
//! in `from.rs`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's queries are many, and most are not Flink's"
)]

use std::{rc::Rc, sync::Arc};

use sqlparser::ast::{
    Distinct, Expr as Parsed, GroupByExpr, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias, Values,
    WildcardAdditionalOptions, With,
};

use super::{
    analyze_expr::ILLEGAL_AGGREGATE,
    catalog::{Catalog, Column, ColumnKind, ObjectPath, Table},
    connector::Connector,
    datagen::{Datagen, Field},
    grouping::{distinct, is_one_of},
    join,
    logical::{Logical, is_true},
    over::Overs,
    qualify, query_hints,
    scope::Scope,
    set_operation::{self, union_all},
    subquery::parts_of,
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    sql::{self, Pos, SqlError, reserved},
};

pub(super) type Result<T> = std::result::Result<T, SqlError>;

/// Deeper nesting of queries is refused.
const DEPTH_MAX: usize = 32;

/// A query with its views put in may be made of so many nodes: views upon views can double each time.
const NODES_MAX: usize = 20_000;

/// Analyses queries against a catalog, and the WITH clauses around them.
pub struct Analyzer<'a> {
    pub(super) catalog: &'a Catalog,
    /// Innermost last.
    pub(super) named: Vec<(String, Logical)>,
    pub(super) depth: usize,
    nodes: usize,
}

impl<'a> Analyzer<'a> {
    #[must_use]
    pub fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, named: Vec::new(), depth: 0, nodes: 0 }
    }

    /// The relation a query stands for. As a part of another it has no order: only its first rows are its own.
    pub fn query(&mut self, query: &Query) -> Result<Logical> {
        let plan = self.whole_query(query)?;
        Ok(match plan {
            Logical::Sort(sort) => sort.input,
            Logical::Project { input, exprs, names } => {
                let input = if let Logical::Sort(sort) = *input { Box::new(sort.input) } else { input };
                Logical::Project { input, exprs, names }
            }
            plan => plan,
        })
    }

    /// The relation that an INSERT writes, in its order.
    pub fn whole_query(&mut self, query: &Query) -> Result<Logical> {
        self.deeper(query.span())?;
        let named_before = self.named.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        let plan = self.ordered(query)?;
        refuse_foreign_query(query)?;
        self.named.truncate(named_before);
        self.depth -= 1;
        Ok(plan)
    }

    pub(super) fn deeper(&mut self, at: impl Into<Pos>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::invalid(at, "the query is nested too deeply"));
        }
        Ok(())
    }

    fn with(&mut self, with: &With) -> Result<()> {
        if with.recursive {
            return Err(SqlError::not_yet(with.span(), "WITH RECURSIVE"));
        }
        for cte in &with.cte_tables {
            let plan = self.query(&cte.query)?;
            let names = column_names(&cte.alias)?;
            let plan = renamed(plan, names, cte.alias.name.span.into())?;
            self.named.push((reserved::name(&cte.alias.name)?, plan));
        }
        Ok(())
    }

    pub(super) fn body(&mut self, body: &SetExpr) -> Result<Logical> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { op, set_quantifier, left, right }
                if matches!(op, SetOperator::Except | SetOperator::Intersect | SetOperator::Union)
                    && matches!(
                        set_quantifier,
                        SetQuantifier::All | SetQuantifier::None | SetQuantifier::Distinct
                    ) =>
            {
                let at = right.span().into();
                self.deeper(at)?;
                let (left, right) = (self.body(left)?, self.body(right)?);
                self.depth -= 1;
                set_operation::combined(*op, *set_quantifier == SetQuantifier::All, left, right, at)
            }
            SetExpr::SetOperation { left, .. } => Err(SqlError::syntax(
                left.span(),
                "MINUS is not allowed under the current SQL conformance level",
            )),
            SetExpr::Values(values) => values_of(values, body.span().into()),
            SetExpr::Table(_) => Err(SqlError::not_yet(body.span(), "TABLE as a query")),
            _ => Err(SqlError::syntax(body.span(), "expected a query")),
        }
    }

    fn select(&mut self, select: &Select) -> Result<Logical> {
        refuse_foreign(select)?;
        let at: Pos = select.select_token.0.span.into();
        let (plan, scope) = self.from(&select.from)?;
        let hints = sql::query_hints::read(&select.optimizer_hints, at)?;
        let (ttl, relations) = (query_hints::checked(&hints, &scope, at)?, scope.clone());
        let (mut plan, scope) = self.with_values(plan, scope, &parts_of(select))?;
        if let Some(selection) = &select.selection {
            plan = self.filtered(plan, &scope, selection, "WHERE")?;
        }
        plan = ttl.of_joins(join::settled(plan, at)?, &relations);
        let plan = ttl.of_groups(self.projected(select, plan, scope, at)?, &relations);
        match &select.distinct {
            None | Some(Distinct::All) => Ok(plan),
            Some(Distinct::Distinct) => distinct(plan, at),
            Some(Distinct::On(_)) => Err(SqlError::syntax(at, "DISTINCT ON is not Flink SQL")),
        }
    }

    /// What stands above FROM and WHERE: groups or none.
    fn projected(&mut self, select: &Select, plan: Logical, scope: Scope, at: Pos) -> Result<Logical> {
        let keys = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                if let Some(modifier) = modifiers.first() {
                    return Err(SqlError::not_yet(at, modifier));
                }
                exprs.as_slice()
            }
            GroupByExpr::All(_) => return Err(SqlError::syntax(at, "GROUP BY ALL is not Flink SQL")),
        };
        if keys.is_empty() && select.having.is_none() {
            let overs = Rc::new(Overs::new(scope.clone(), &select.named_window));
            let seen = Scope { overs: Some(overs.clone()), ..scope.clone() };
            match projection(&select.projection, &seen) {
                Ok((exprs, names)) => {
                    let kept = qualify::conditions(select, &seen, &exprs)?;
                    let projected = exprs.len();
                    let (plan, mut exprs) = overs.plan(plan, [exprs, kept].concat())?;
                    let kept = exprs.split_off(projected);
                    return Ok(join::push_down(plan, kept, at)?.project(exprs, names));
                }
                // An aggregate without GROUP BY makes one group of all rows.
                Err(e) if e.message == ILLEGAL_AGGREGATE => {}
                Err(e) => return Err(e),
            }
        }
        qualify::refuse(select)?;
        self.grouped(select, (keys, &[]), plan, scope, at)
    }

    /// A copy of a view's plan, counted.
    pub(super) fn bounded(&mut self, plan: &Logical, at: impl Into<Pos>) -> Result<Logical> {
        self.nodes = self.nodes.saturating_add(plan.size());
        if self.nodes > NODES_MAX {
            return Err(SqlError::invalid(
                at,
                format!("with its views put in, the query has more than {NODES_MAX} nodes"),
            ));
        }
        Ok(plan.clone())
    }
}

/// Clauses around a query that its reader has no use for.
pub(super) fn refuse_around(query: &Query) -> Result<()> {
    if let Some(order) = &query.order_by {
        return Err(SqlError::not_yet(order.span(), "ORDER BY"));
    }
    if let Some(limit) = &query.limit_clause {
        return Err(SqlError::not_yet(limit.span(), "LIMIT"));
    }
    if query.fetch.is_some() {
        return Err(SqlError::not_yet(query.body.span(), "FETCH"));
    }
    refuse_foreign_query(query)
}

fn refuse_foreign_query(query: &Query) -> Result<()> {
    let at = query.body.span();
    let foreign = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if foreign { Err(SqlError::syntax(at, "a clause of this query is not Flink SQL")) } else { Ok(()) }
}

pub(super) fn refuse_foreign(select: &Select) -> Result<()> {
    let at: Pos = select.select_token.0.span.into();
    let foreign = select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
        || select.select_modifiers.is_some();
    if foreign { Err(SqlError::syntax(at, "a clause of this SELECT is not Flink SQL")) } else { Ok(()) }
}

/// Of a SELECT that becomes a join with the query around it.
pub(super) fn refuse_hints(select: &Select) -> Result<()> {
    let at: Pos = select.select_token.0.span.into();
    if sql::query_hints::read(&select.optimizer_hints, at)?.is_empty() {
        return Ok(());
    }
    Err(SqlError::not_yet(at, "a hint in a sub-query that may name the query around it"))
}

pub(super) fn projection(items: &[SelectItem], scope: &Scope) -> Result<(Vec<Expr>, Vec<String>)> {
    let (mut exprs, mut names) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            SelectItem::UnnamedExpr(parsed) => {
                exprs.push(scope.expr(parsed)?);
                names.push(match parsed {
                    Parsed::Identifier(ident) => ident.value.clone(),
                    Parsed::CompoundIdentifier(parts) => {
                        parts.last().map(|p| p.value.clone()).unwrap_or_default()
                    }
                    _ => format!("EXPR${}", exprs.len() - 1),
                });
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                exprs.push(scope.expr(expr)?);
                names.push(reserved::name(alias)?);
            }
            SelectItem::Wildcard(options) => {
                for (name, expr) in scope.merged.iter().filter(|_| scope.grouping.is_none()) {
                    exprs.push(expr.clone());
                    names.push(name.clone());
                }
                all(options, scope, 0..scope.columns.len(), &mut exprs, &mut names)?;
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                match relation_of(name, scope)? {
                    Some(columns) => all(options, scope, columns, &mut exprs, &mut names)?,
                    None => {
                        refuse_additions(options)?;
                        for (field, expr) in scope.fields_of(name)? {
                            names.push(field);
                            exprs.push(expr);
                        }
                    }
                }
            }
            _ => return Err(SqlError::syntax(item.span(), format!("'{item}' is not Flink SQL"))),
        }
    }
    unique(&mut names);
    Ok((exprs, names))
}

/// The columns of the table before `.*`; `None` if it is no table that stands there.
fn relation_of(name: &ObjectName, scope: &Scope) -> Result<Option<std::ops::Range<usize>>> {
    let within = |part: Option<&ObjectNamePart>| -> Result<_> {
        let name = part.and_then(|part| part.as_ident()).map(reserved::name).transpose()?;
        Ok(name.and_then(|name| scope.relation(&name)))
    };
    if name.0.len() > 1 && within(name.0.first())?.is_some() {
        return Ok(None);
    }
    within(name.0.last())
}

/// Columns of one name are told apart by a number, as Calcite does.
fn unique(names: &mut [String]) {
    for index in 0..names.len() {
        let (before, rest) = names.split_at_mut(index);
        let Some(name) = rest.first_mut() else { break };
        let base = name.clone();
        let mut number = 0;
        while before.contains(name) {
            *name = format!("{base}{number}");
            number += 1;
        }
    }
}

fn refuse_additions(options: &WildcardAdditionalOptions) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if !plain {
        return Err(SqlError::syntax(options.wildcard_token.0.span, "'*' with an addition is not Flink SQL"));
    }
    Ok(())
}

fn all(
    options: &WildcardAdditionalOptions,
    scope: &Scope,
    columns: std::ops::Range<usize>,
    exprs: &mut Vec<Expr>,
    names: &mut Vec<String>,
) -> Result<()> {
    refuse_additions(options)?;
    let at = options.wildcard_token.0.span;
    let whole = columns == (0..scope.columns.len());
    for (index, (name, data_type)) in scope.columns.iter().enumerate().skip(columns.start).take(columns.len())
    {
        if whole && scope.hidden.contains(&index) {
            continue;
        }
        if let Some(grouping) = &scope.grouping {
            let key = grouping.keys.iter().position(|k| is_one_of(k, &[index]));
            let Some(key) = key else {
                return Err(SqlError::invalid(at, format!("Expression '{name}' is not being grouped")));
            };
            exprs.push(Expr::column(key, name, data_type.clone()));
        } else {
            exprs.push(Expr::column(index, name, data_type.clone()));
        }
        names.push(name.clone());
    }
    Ok(())
}

pub(super) fn aliased(
    plan: Logical,
    default: Option<String>,
    alias: Option<&TableAlias>,
) -> Result<(Logical, Option<String>)> {
    let Some(alias) = alias else { return Ok((plan, default)) };
    let plan = renamed(plan, column_names(alias)?, alias.name.span.into())?;
    Ok((plan, Some(reserved::name(&alias.name)?)))
}

/// `AS t (a, b)`: the names of the columns.
pub(super) fn column_names(alias: &TableAlias) -> Result<Vec<String>> {
    alias.columns.iter().map(|column| reserved::name(&column.name)).collect()
}

/// The relation with other names for its columns; with none, unchanged.
pub(super) fn renamed(plan: Logical, names: Vec<String>, at: Pos) -> Result<Logical> {
    if names.is_empty() {
        return Ok(plan);
    }
    let schema = plan.schema();
    if schema.len() != names.len() {
        let message = format!("expected {} names of columns, found {}", schema.len(), names.len());
        return Err(SqlError::invalid(at, message));
    }
    let exprs = schema.into_iter().enumerate().map(|(i, (name, t))| Expr::column(i, &name, t)).collect();
    Ok(plan.project(exprs, names))
}

/// VALUES: rows of expressions over nothing.
fn values_of(values: &Values, at: Pos) -> Result<Logical> {
    if values.value_keyword {
        return Err(SqlError::syntax(at, "VALUE is not Flink SQL: write VALUES"));
    }
    let (one, scope) = one_row();
    let mut all: Option<Logical> = None;
    for row in &values.rows {
        let exprs: Vec<Expr> = row.content.iter().map(|parsed| scope.expr(parsed)).collect::<Result<_>>()?;
        let names = (0..exprs.len()).map(|i| format!("EXPR${i}")).collect();
        let row = one.clone().project(exprs, names);
        all = Some(match all {
            Some(before) => union_all(before, row, at)?,
            None => row,
        });
    }
    all.ok_or_else(|| SqlError::syntax(at, "VALUES needs a row"))
}

/// What stands in FROM where nothing does: one row. Its column has no name, so nobody can read it.
pub(super) fn one_row() -> (Logical, Scope) {
    let column = Column {
        name: String::new(),
        data_type: DataType::not_null(Type::BigInt),
        kind: ColumnKind::Physical,
    };
    let connector = Connector::Datagen(Datagen {
        rows_per_second: 1,
        number_of_rows: Some(1),
        fields: vec![Field::Sequence { start: 0, end: 0 }],
    });
    let path = ObjectPath("(one row)".to_owned());
    let (options_at, columns) = (Pos::default(), vec![column]);
    let table =
        Table { path, columns, watermark: None, connector, options_at, primary_key: Vec::new(), fault: None };
    let plan = Logical::Scan(Arc::new(table));
    let scope = Scope { hidden: vec![0], ..Scope::of(None, plan.schema()) };
    (plan, scope)
}

/// A filter, unless it is always true.
pub(super) fn filter(input: Logical, conditions: Vec<Expr>) -> Logical {
    let all = conditions.into_iter().filter(|c| !is_true(c)).reduce(|a, b| {
        let data_type = DataType::nullable(Type::Boolean);
        Expr::new(Node::And(Box::new(a), Box::new(b)), data_type)
    });
    match all {
        Some(condition) => Logical::Filter { input: Box::new(input), condition },
        None => input,
    }
}

/// TRUE, as an ON clause may say it.
pub(super) fn always() -> Expr {
    Expr::literal(Datum::Bool(true), Type::Boolean)
}
