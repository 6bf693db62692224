//! Names and types of queries: SELECT, FROM, WHERE, UNION ALL and views. What needs state is refused here, before a
//! job starts, with its place.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's relations are many, and most are not Flink's"
)]

use sqlparser::ast::{
    Expr as Parsed, GroupByExpr, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias, TableFactor, WildcardAdditionalOptions, With,
};

use super::{
    analyze_expr::Scope,
    catalog::{Catalog, Object},
    logical::Logical,
    types::least_restrictive,
};
use crate::stream::{
    expr::Expr,
    sql::{Pos, SqlError, ast::Name},
};

type Result<T> = std::result::Result<T, SqlError>;

/// Deeper nesting of queries is refused.
const DEPTH_MAX: usize = 32;

/// A query with its views put in may be made of so many nodes: views upon views can double each time.
const NODES_MAX: usize = 20_000;

/// Analyses queries against a catalog, and the WITH clauses around them.
pub struct Analyzer<'a> {
    catalog: &'a Catalog,
    /// Innermost last.
    named: Vec<(String, Logical)>,
    depth: usize,
    nodes: usize,
}

impl<'a> Analyzer<'a> {
    #[must_use]
    pub fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, named: Vec::new(), depth: 0, nodes: 0 }
    }

    /// The relation a query stands for.
    pub fn query(&mut self, query: &Query) -> Result<Logical> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::invalid(query.span(), "the query is nested too deeply"));
        }
        let named_before = self.named.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        let plan = self.body(&query.body)?;
        refuse_around(query)?;
        self.named.truncate(named_before);
        self.depth -= 1;
        Ok(plan)
    }

    fn with(&mut self, with: &With) -> Result<()> {
        if with.recursive {
            return Err(SqlError::not_yet(with.span(), "WITH RECURSIVE"));
        }
        for cte in &with.cte_tables {
            let plan = self.query(&cte.query)?;
            let names: Vec<String> = cte.alias.columns.iter().map(|c| c.name.value.clone()).collect();
            let plan = renamed(plan, names, cte.alias.name.span.into())?;
            self.named.push((cte.alias.name.value.clone(), plan));
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr) -> Result<Logical> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation {
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                left,
                right,
            } => {
                let at = right.span().into();
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(SqlError::invalid(at, "the query is nested too deeply"));
                }
                let (left, right) = (self.body(left)?, self.body(right)?);
                self.depth -= 1;
                union_all(left, right, at)
            }
            SetExpr::SetOperation { op, left, .. } => {
                let what =
                    if *op == SetOperator::Union { "UNION without ALL".to_owned() } else { op.to_string() };
                Err(SqlError::not_yet(left.span(), what))
            }
            SetExpr::Values(_) => Err(SqlError::not_yet(body.span(), "VALUES")),
            SetExpr::Table(_) => Err(SqlError::not_yet(body.span(), "TABLE as a query")),
            _ => Err(SqlError::syntax(body.span(), "expected a query")),
        }
    }

    fn select(&mut self, select: &Select) -> Result<Logical> {
        refuse_stateful(select)?;
        let at: Pos = select.select_token.0.span.into();
        let [from] = select.from.as_slice() else {
            return Err(match select.from.get(1) {
                Some(second) => SqlError::not_yet(second.span(), "a join"),
                None => SqlError::not_yet(at, "SELECT without FROM"),
            });
        };
        if let Some(join) = from.joins.first() {
            return Err(SqlError::not_yet(join.relation.span(), "a join"));
        }
        let (mut plan, scope) = self.relation(&from.relation)?;
        if let Some(selection) = &select.selection {
            let condition = scope.condition(selection, "WHERE")?;
            plan = Logical::Filter { input: Box::new(plan), condition };
        }
        let (exprs, names) = projection(&select.projection, &scope)?;
        Ok(Logical::Project { input: Box::new(plan), exprs, names })
    }

    fn relation(&mut self, factor: &TableFactor) -> Result<(Logical, Scope)> {
        let (plan, default_alias, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let (plan, short) = self.named_relation(name)?;
                (plan, Some(short), alias)
            }
            TableFactor::Table { .. } => {
                return Err(SqlError::not_yet(factor.span(), "this form of a table in FROM"));
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                (self.query(subquery)?, None, alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias } if table_with_joins.joins.is_empty() => {
                let (plan, scope) = self.relation(&table_with_joins.relation)?;
                (plan, scope.alias, alias)
            }
            TableFactor::NestedJoin { .. } => return Err(SqlError::not_yet(factor.span(), "a join")),
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                return Err(SqlError::not_yet(factor.span(), "a table function"));
            }
            TableFactor::UNNEST { .. } => return Err(SqlError::not_yet(factor.span(), "UNNEST")),
            TableFactor::MatchRecognize { .. } => {
                return Err(SqlError::not_yet(factor.span(), "MATCH_RECOGNIZE"));
            }
            _ => return Err(SqlError::syntax(factor.span(), format!("'{factor}' in FROM is not Flink SQL"))),
        };
        let (plan, alias) = aliased(plan, default_alias, alias.as_ref())?;
        let columns = plan.schema();
        Ok((plan, Scope { alias, columns }))
    }

    fn named_relation(&mut self, name: &ObjectName) -> Result<(Logical, String)> {
        let mut parts = Vec::new();
        for part in &name.0 {
            match part.as_ident() {
                Some(ident) => parts.push(ident.value.clone()),
                None => return Err(SqlError::syntax(name.span(), "expected a name")),
            }
        }
        if let [short] = parts.as_slice()
            && let Some((_, plan)) = self.named.iter().rev().find(|(n, _)| n == short)
        {
            let plan = bounded(&mut self.nodes, plan, name.span())?;
            return Ok((plan, short.clone()));
        }
        let short = parts.last().cloned().unwrap_or_default();
        let name = Name { at: name.span().into(), parts };
        match self.catalog.find(&name)? {
            Object::View(view) => Ok((bounded(&mut self.nodes, &view.plan, name.at)?, short)),
            Object::Table(table) if table.connector.is_source() => Ok((Logical::table(table), short)),
            Object::Table(table) => {
                let message = format!(
                    "Connector '{}' can only be used as a sink. It cannot be used as a source.",
                    table.connector.name()
                );
                Err(SqlError::invalid(name.at, message))
            }
        }
    }
}

/// A copy of a view's plan, counted.
fn bounded(nodes: &mut usize, plan: &Logical, at: impl Into<Pos>) -> Result<Logical> {
    *nodes = nodes.saturating_add(plan.size());
    if *nodes > NODES_MAX {
        return Err(SqlError::invalid(
            at,
            format!("with its views put in, the query has more than {NODES_MAX} nodes"),
        ));
    }
    Ok(plan.clone())
}

/// Clauses around a query, all of which need state or an end of the input.
fn refuse_around(query: &Query) -> Result<()> {
    let at = query.body.span();
    if let Some(order) = &query.order_by {
        return Err(SqlError::not_yet(order.span(), "ORDER BY"));
    }
    if let Some(limit) = &query.limit_clause {
        return Err(SqlError::not_yet(limit.span(), "LIMIT"));
    }
    if query.fetch.is_some() {
        return Err(SqlError::not_yet(at, "FETCH"));
    }
    let foreign = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if foreign { Err(SqlError::syntax(at, "a clause of this query is not Flink SQL")) } else { Ok(()) }
}

fn refuse_stateful(select: &Select) -> Result<()> {
    let at: Pos = select.select_token.0.span.into();
    if select.distinct.is_some() {
        return Err(SqlError::not_yet(at, "SELECT DISTINCT"));
    }
    match &select.group_by {
        GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty() => {}
        GroupByExpr::Expressions(..) => return Err(SqlError::not_yet(select.group_by.span(), "GROUP BY")),
        GroupByExpr::All(_) => return Err(SqlError::syntax(at, "GROUP BY ALL is not Flink SQL")),
    }
    if let Some(having) = &select.having {
        return Err(SqlError::not_yet(having.span(), "HAVING"));
    }
    if let Some(qualify) = &select.qualify {
        return Err(SqlError::not_yet(qualify.span(), "QUALIFY"));
    }
    if let Some(window) = select.named_window.first() {
        return Err(SqlError::not_yet(window.span(), "WINDOW"));
    }
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
        || select.select_modifiers.is_some()
        || !select.optimizer_hints.is_empty();
    if foreign { Err(SqlError::syntax(at, "a clause of this SELECT is not Flink SQL")) } else { Ok(()) }
}

fn projection(items: &[SelectItem], scope: &Scope) -> Result<(Vec<Expr>, Vec<String>)> {
    let (mut exprs, mut names) = (Vec::new(), Vec::new());
    let mut unnamed = 0;
    for item in items {
        match item {
            SelectItem::UnnamedExpr(parsed) => {
                exprs.push(scope.expr(parsed)?);
                names.push(match parsed {
                    Parsed::Identifier(ident) => ident.value.clone(),
                    Parsed::CompoundIdentifier(parts) => {
                        parts.last().map(|p| p.value.clone()).unwrap_or_default()
                    }
                    _ => {
                        unnamed += 1;
                        format!("EXPR${}", exprs.len() - 1)
                    }
                });
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                exprs.push(scope.expr(expr)?);
                names.push(alias.value.clone());
            }
            SelectItem::Wildcard(options) => all(options, scope, &mut exprs, &mut names)?,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let qualifier = name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone());
                if qualifier.is_none() || qualifier != scope.alias {
                    return Err(SqlError::invalid(name.span(), format!("Table '{name}' not found")));
                }
                all(options, scope, &mut exprs, &mut names)?;
            }
            _ => return Err(SqlError::syntax(item.span(), format!("'{item}' is not Flink SQL"))),
        }
    }
    let _ = unnamed;
    unique(&mut names);
    Ok((exprs, names))
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

fn all(
    options: &WildcardAdditionalOptions,
    scope: &Scope,
    exprs: &mut Vec<Expr>,
    names: &mut Vec<String>,
) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if !plain {
        return Err(SqlError::syntax(options.wildcard_token.0.span, "'*' with an addition is not Flink SQL"));
    }
    for (index, (name, data_type)) in scope.columns.iter().enumerate() {
        exprs.push(Expr::column(index, name, data_type.clone()));
        names.push(name.clone());
    }
    Ok(())
}

fn aliased(
    plan: Logical,
    default: Option<String>,
    alias: Option<&TableAlias>,
) -> Result<(Logical, Option<String>)> {
    let Some(alias) = alias else { return Ok((plan, default)) };
    let names = alias.columns.iter().map(|c| c.name.value.clone()).collect();
    let plan = renamed(plan, names, alias.name.span.into())?;
    Ok((plan, Some(alias.name.value.clone())))
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
    Ok(Logical::Project { input: Box::new(plan), exprs, names })
}

fn union_all(left: Logical, right: Logical, at: Pos) -> Result<Logical> {
    let (a, b) = (left.schema(), right.schema());
    if a.len() != b.len() {
        return Err(SqlError::invalid(at, "Column count mismatch in UNION ALL"));
    }
    let mut common = Vec::new();
    for (index, ((name, x), (_, y))) in a.iter().zip(&b).enumerate() {
        let merged = least_restrictive(x, y).ok_or_else(|| {
            SqlError::invalid(at, format!("Type mismatch in column {} of UNION ALL", index + 1))
        })?;
        common.push((name.clone(), merged));
    }
    let cast = |input: Logical| {
        let schema = input.schema();
        let exprs = schema.iter().zip(&common).enumerate();
        let exprs = exprs.map(|(i, ((name, from), (_, to)))| {
            let mut expr = Expr::column(i, name, from.clone()).cast_to(&to.kind);
            expr.data_type.nullable = to.nullable;
            expr
        });
        let exprs = exprs.collect();
        let names = common.iter().map(|(name, _)| name.clone()).collect();
        Logical::Project { input: Box::new(input), exprs, names }
    };
    let mut inputs = match left {
        Logical::UnionAll { inputs } if common == a => inputs,
        left => vec![cast(left)],
    };
    inputs.push(cast(right));
    Ok(Logical::UnionAll { inputs })
}
