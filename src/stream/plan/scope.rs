//! What names mean at a place in a query: columns of one or several relations, and what is gathered on the way.
//!
//! Above GROUP BY an expression is made of keys and aggregates only; [`Grouping`] finds the keys in it and gathers the
//! aggregates. [`Overs`] gathers what is computed OVER a window of rows.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and most are not Flink's"
)]

use std::{cell::RefCell, ops::Range, rc::Rc};

use sqlparser::ast::{
    DuplicateTreatment, Expr as Parsed, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Spanned, Value,
};

use super::{
    aggregate::AggFunction,
    analyze_expr::mismatch,
    grouping_sets::Expanded,
    logical::Schema,
    over::Overs,
    types::{DataType, Type},
    window::Window,
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    sql::{Pos, SqlError, SqlErrorKind, reserved},
};

type Result<T> = std::result::Result<T, SqlError>;

/// Relations side by side.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub columns: Schema,
    /// What each relation is called, and its columns.
    pub relations: Vec<(Option<String>, Range<usize>)>,
    /// What a name alone means that several relations have: columns of JOIN … USING and of NATURAL JOIN.
    pub merged: Vec<(String, Expr)>,
    /// Columns that `*` leaves out.
    pub hidden: Vec<usize>,
    /// Sub-queries that stand for a value, and where it is.
    pub values: Rc<Vec<(Parsed, Expr)>>,
    pub grouping: Option<Rc<Grouping>>,
    pub overs: Option<Rc<Overs>>,
}

impl Scope {
    /// One relation.
    #[must_use]
    pub fn of(alias: Option<String>, columns: Schema) -> Self {
        let all = 0..columns.len();
        Self { columns, relations: vec![(alias, all)], ..Self::default() }
    }

    /// With the columns of another behind its own.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        let width = self.columns.len();
        let behind = |(i, (name, t)): (usize, &(String, DataType))| Expr::column(width + i, name, t.clone());
        let behind: Vec<Expr> = other.columns.iter().enumerate().map(behind).collect();
        self.merged.extend(other.merged.into_iter().map(|(name, expr)| (name, expr.over(&behind))));
        self.hidden.extend(other.hidden.into_iter().map(|column| column + width));
        self.columns.extend(other.columns);
        let moved = |r: Range<usize>| r.start + width..r.end + width;
        self.relations.extend(other.relations.into_iter().map(|(alias, columns)| (alias, moved(columns))));
        self
    }

    /// The columns of the relation of that name.
    #[must_use]
    pub fn relation(&self, alias: &str) -> Option<Range<usize>> {
        self.relations.iter().find(|(a, _)| a.as_deref() == Some(alias)).map(|(_, columns)| columns.clone())
    }

    pub(super) fn column(&self, ident: &Ident) -> Result<Expr> {
        reserved::name(ident)?;
        let plain = matches!(ident.quote_style, None | Some('`'));
        match self.merged.iter().filter(|(name, _)| plain && *name == ident.value).collect::<Vec<_>>()[..] {
            [(_, expr)] => return Ok(expr.clone()),
            [] => {}
            _ => {
                return Err(SqlError::invalid(ident.span, format!("Column '{}' is ambiguous", ident.value)));
            }
        }
        self.column_within(ident, 0..self.columns.len())
    }

    fn column_within(&self, ident: &Ident, within: Range<usize>) -> Result<Expr> {
        match ident.quote_style {
            None | Some('`') => {}
            Some(quote) => {
                return Err(SqlError::syntax(
                    ident.span,
                    format!("names are quoted with `, not with {quote}"),
                ));
            }
        }
        let found = self.columns.iter().enumerate().skip(within.start).take(within.len());
        let mut found = found.filter(|(_, (name, _))| *name == ident.value);
        match (found.next(), found.next()) {
            (Some((index, (name, data_type))), None) => Ok(Expr::column(index, name, data_type.clone())),
            (Some(_), Some(_)) => {
                Err(SqlError::invalid(ident.span, format!("Column '{}' is ambiguous", ident.value)))
            }
            (None, _) => {
                Err(SqlError::invalid(ident.span, format!("Column '{}' not found in any table", ident.value)))
            }
        }
    }

    /// `table.column`, `column.field` or `table.column.field`.
    pub(super) fn qualified(&self, parts: &[Ident]) -> Result<Expr> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(SqlError::syntax(Pos::default(), "a name is missing"));
        };
        let Some((second, fields)) = rest.split_first() else { return self.column(first) };
        parts.iter().try_for_each(|part| reserved::name(part).map(|_| ()))?;
        if let Some(within) = self.relation(&first.value) {
            return fields.iter().try_fold(self.column_within(second, within)?, field);
        }
        // The catalog's and the database's name may stand before the table's.
        for (index, part) in parts.iter().enumerate().skip(1) {
            let (_, after) = parts.split_at(index + 1);
            if let (Some(within), Some((column, fields))) = (self.relation(&part.value), after.split_first())
                && matches!(first.value.as_str(), "default_catalog" | "default_database")
            {
                return fields.iter().try_fold(self.column_within(column, within)?, field);
            }
        }
        if self.columns.iter().any(|(name, _)| *name == first.value) {
            return rest.iter().try_fold(self.column(first)?, field);
        }
        Err(SqlError::invalid(first.span, format!("Table '{}' not found", first.value)))
    }
}

impl Scope {
    /// `row.*`: the fields of a ROW, each with its name.
    pub(super) fn fields_of(&self, name: &ObjectName) -> Result<Vec<(String, Expr)>> {
        let at: Pos = name.span().into();
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let row = self.qualified(&parts).map_err(|e| match e.kind {
            SqlErrorKind::Invalid => SqlError::invalid(at, format!("Unknown identifier '{name}'")),
            _ => e,
        })?;
        let Type::Row(fields) = &row.data_type.kind else {
            return Err(SqlError::invalid(at, "Not a record type. The '*' operator requires a record"));
        };
        if let (Some(_), Some((first, _))) = (&self.grouping, fields.first()) {
            // Even where the ROW is a key.
            return Err(SqlError::invalid(at, format!("Expression '{name}.{first}' is not being grouped")));
        }
        let each = fields.iter().enumerate();
        Ok(each.map(|(index, (name, of))| (name.clone(), field_at(row.clone(), index, name, of))).collect())
    }

    /// The value that a sub-query stands for.
    pub(super) fn value_of(&self, parsed: &Parsed) -> Result<Expr> {
        let found = self.values.iter().find(|(of, _)| of == parsed);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| SqlError::not_yet(parsed.span(), "a sub-query in an expression, at this place"))
    }
}

/// A field of a ROW.
pub(super) fn field(of: Expr, name: &Ident) -> Result<Expr> {
    reserved::name(name)?;
    let Type::Row(fields) = &of.data_type.kind else {
        return Err(SqlError::invalid(name.span, format!("Column '{}' not found in any table", name.value)));
    };
    let Some(index) = fields.iter().position(|(f, _)| *f == name.value) else {
        return Err(SqlError::invalid(name.span, format!("Column '{}' not found in any table", name.value)));
    };
    let data_type = fields.get(index).map_or(DataType::nullable(Type::Null), |(_, t)| t.clone());
    Ok(field_at(of, index, &name.value, &data_type))
}

/// NULL where its ROW is.
fn field_at(of: Expr, index: usize, name: &str, data_type: &DataType) -> Expr {
    let data_type = data_type.clone().with_nullable(data_type.nullable || of.data_type.nullable);
    Expr::new(Node::Field { of: Box::new(of), index, name: name.to_owned() }, data_type)
}

/// An aggregate as it was found, over the columns below GROUP BY.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundCall {
    pub function: AggFunction,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub separator: Option<String>,
    pub data_type: DataType,
}

/// What stands above GROUP BY: keys first, then the window's bounds if it has one, then the aggregates.
#[derive(Debug)]
pub struct Grouping {
    pub below: Scope,
    pub keys: Vec<Expr>,
    pub names: Vec<String>,
    /// With several grouping sets: the keys as they are in each.
    pub expanded: Option<Expanded>,
    /// A group window (`TUMBLE(ts, INTERVAL …)` in GROUP BY), and the type of its time.
    pub window: Option<GroupWindow>,
    pub calls: RefCell<Vec<FoundCall>>,
}

/// TUMBLE, HOP or SESSION in GROUP BY.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupWindow {
    pub window: Window,
    pub time: Expr,
    pub event: bool,
    pub name: &'static str,
}

impl Grouping {
    /// One group of all rows.
    #[must_use]
    pub fn of(below: Scope) -> Self {
        let (keys, names, calls) = (Vec::new(), Vec::new(), Vec::new().into());
        Self { below, keys, names, expanded: None, window: None, calls }
    }

    /// The columns by which rows are grouped.
    #[must_use]
    pub fn grouped(&self) -> Vec<Expr> {
        match &self.expanded {
            None => self.keys.clone(),
            Some(expanded) => {
                expanded.keys.iter().chain(expanded.lacking.iter().flatten()).cloned().collect()
            }
        }
    }

    /// The name of one of them.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        self.names.get(index).cloned().unwrap_or_else(|| format!("$g{index}"))
    }

    /// Columns before the aggregates.
    #[must_use]
    pub fn first_call(&self) -> usize {
        self.grouped().len() + if self.window.is_some() { 3 } else { 0 }
    }

    /// What the expression is above GROUP BY; `None` if it must be taken apart.
    pub(super) fn resolve(&self, parsed: &Parsed) -> Result<Option<Expr>> {
        match parsed {
            Parsed::Identifier(_) | Parsed::CompoundIdentifier(_) => {
                let expr = self.below.expr(parsed)?;
                match self.key(&expr) {
                    Some(key) => Ok(Some(key)),
                    None => Err(SqlError::invalid(
                        parsed.span(),
                        format!("Expression '{parsed}' is not being grouped"),
                    )),
                }
            }
            Parsed::Function(function) if function.over.is_none() => {
                let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
                if let Some(bound) = self.window_bound(&name, function)? {
                    return Ok(Some(bound));
                }
                if let Some(lacking) = self.lacking(&name, function)? {
                    return Ok(Some(lacking));
                }
                if is_aggregate(&name) {
                    return self.aggregate(&name, function).map(Some);
                }
                Ok(self.whole(parsed))
            }
            Parsed::Value(_) | Parsed::Nested(_) => Ok(None),
            _ => Ok(self.whole(parsed)),
        }
    }

    /// A key that is more than a column.
    fn whole(&self, parsed: &Parsed) -> Option<Expr> {
        let complex = self.keys.iter().any(|k| !matches!(k.node, Node::Column { .. }));
        if !complex {
            return None;
        }
        self.key(&self.below.expr(parsed).ok()?)
    }

    /// The key that an expression below is.
    pub(super) fn key(&self, expr: &Expr) -> Option<Expr> {
        let index = self.keys.iter().position(|k| k == expr)?;
        let name = self.names.get(index)?;
        let data_type = match &self.expanded {
            Some(expanded) => expanded.keys.get(index)?.data_type.clone(),
            None => expr.data_type.clone(),
        };
        Some(Expr::column(index, name, data_type))
    }

    /// GROUPING and GROUPING_ID: a bit for each argument, 1 where the set lacks it. GROUP_ID is always 0, as on Flink.
    fn lacking(&self, name: &str, function: &Function) -> Result<Option<Expr>> {
        if !matches!(name, "GROUPING" | "GROUPING_ID" | "GROUP_ID") {
            return Ok(None);
        }
        let at: Pos = function.name.span().into();
        let mut id = Expr::literal(Datum::Int(0), Type::BigInt);
        let arguments = super::group_window::arguments(function)?;
        if arguments.is_empty() != (name == "GROUP_ID") {
            return Err(SqlError::invalid(at, format!("Invalid number of arguments to function '{name}'")));
        }
        for argument in arguments {
            let key = self.below.expr(argument)?;
            let index = self.keys.iter().position(|k| *k == key).ok_or_else(|| {
                let message = format!("Argument to {name} operator must be a grouped expression");
                SqlError::invalid(argument.span(), message)
            })?;
            let bit = match self.expanded.as_ref().and_then(|e| e.lacking.get(index).map(|l| (e, l.as_ref())))
            {
                Some((expanded, Some(_))) => {
                    let before = expanded.lacking.iter().take(index).flatten().count();
                    Expr::column(
                        self.keys.len() + before,
                        &format!("$g{index}"),
                        DataType::not_null(Type::BigInt),
                    )
                }
                _ => Expr::literal(Datum::Int(0), Type::BigInt),
            };
            id = super::analyze_expr::shifted_in(id, bit, at)?;
        }
        Ok(Some(id))
    }

    /// `TUMBLE_START(ts, INTERVAL …)` and its like, with the arguments of the window itself.
    fn window_bound(&self, name: &str, function: &Function) -> Result<Option<Expr>> {
        let Some((kind, bound)) = name.split_once('_') else { return Ok(None) };
        if !matches!(kind, "TUMBLE" | "HOP" | "SESSION")
            || !matches!(bound, "START" | "END" | "ROWTIME" | "PROCTIME")
        {
            return Ok(None);
        }
        let at: Pos = function.name.span().into();
        let matching = |window: &&GroupWindow| -> Result<bool> {
            let own = super::group_window::read(&self.below, kind, function)?;
            Ok(own.window == window.window && own.time == window.time)
        };
        let window = match self.window.as_ref() {
            Some(window) if window.name == kind && matching(&window)? => window,
            _ => {
                let message = format!(
                    "Call to auxiliary group function '{name}' must have matching call to group function '${kind}' in \
                     GROUP BY clause"
                );
                return Err(SqlError::invalid(at, message));
            }
        };
        let index = self.grouped().len();
        let bound_type = DataType::not_null(Type::Timestamp(3));
        let time_type = window.time.data_type.clone().with_nullable(false);
        Ok(Some(match bound {
            "START" => Expr::column(index, "window_start", bound_type),
            "END" => Expr::column(index + 1, "window_end", bound_type),
            "ROWTIME" if !window.event => {
                let message = "A proctime window cannot provide a rowtime attribute.";
                return Err(SqlError::invalid(at, message));
            }
            _ => Expr::column(index + 2, "window_time", time_type),
        }))
    }

    fn aggregate(&self, name: &str, function: &Function) -> Result<Expr> {
        let at: Pos = function.name.span().into();
        if super::json_aggregate::is_one(name) {
            return self.json(name, function);
        }
        let grouped = !self.keys.is_empty() && self.expanded.is_none();
        if matches!(name, "STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP" | "VAR_SAMP" | "VARIANCE") {
            return self.deviation(name, function, at);
        }
        let call = found_call(&self.below, name, function, grouped, at)?;
        Ok(self.register(call))
    }

    pub(super) fn register(&self, call: FoundCall) -> Expr {
        let mut calls = self.calls.borrow_mut();
        let index = match calls.iter().position(|c| *c == call) {
            Some(index) => index,
            None => {
                calls.push(call.clone());
                calls.len() - 1
            }
        };
        Expr::column(self.first_call() + index, &format!("$f{index}"), call.data_type)
    }

    /// STDDEV and VAR are made of sums and a count, in the argument's type, as Flink does: whole numbers give whole
    /// numbers. (Calcite: AggregateReduceFunctionsRule)
    fn deviation(&self, name: &str, function: &Function, at: Pos) -> Result<Expr> {
        let call = found_call(&self.below, "AVG", function, true, at)
            .map_err(|e| SqlError { message: e.message.replace("AVG", name), ..e })?;
        let result = call.data_type.clone().with_nullable(true);
        let argument = call.args.first().cloned().ok_or_else(|| SqlError::invalid(at, name))?;
        let argument = argument.cast_to(&result.kind);
        let squared = super::analyze_expr::product(argument.clone(), argument.clone(), at)?;
        let sum = |of: Expr| -> Expr {
            let data_type = DataType::nullable(super::aggregate::sum_type(&of.data_type.kind));
            let call = FoundCall {
                function: AggFunction::Sum,
                args: vec![of],
                data_type,
                separator: None,
                ..call.clone()
            };
            self.register(call)
        };
        let (sum_of_squares, sum_of) = (sum(squared), sum(argument.clone()));
        let count = self.register(FoundCall {
            function: AggFunction::Count,
            args: vec![argument],
            data_type: DataType::not_null(Type::BigInt),
            separator: None,
            ..call
        });
        let sample = matches!(name, "STDDEV_SAMP" | "STDDEV" | "VAR_SAMP" | "VARIANCE");
        super::analyze_expr::deviation(
            sum_of_squares,
            sum_of,
            count,
            sample,
            name.starts_with("STDDEV"),
            &result.kind,
            at,
        )
    }
}

/// Whether GROUP BY gives the function a meaning.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    AggFunction::of(name).is_some()
        || super::json_aggregate::is_one(name)
        || matches!(name, "STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP" | "VAR_SAMP" | "VARIANCE")
}

/// Reads the call of an aggregate function. `grouped` says that there is a row in every group.
pub(super) fn found_call(
    below: &Scope,
    name: &str,
    function: &Function,
    grouped: bool,
    at: Pos,
) -> Result<FoundCall> {
    let Some(kind) = AggFunction::of(name) else {
        return Err(SqlError::not_yet(at, format!("the function {name}")));
    };
    if !function.within_group.is_empty() {
        return Err(SqlError::not_yet(at, format!("{name} WITHIN GROUP")));
    }
    if function.null_treatment.is_some() {
        return Err(SqlError::not_yet(at, format!("{name} with IGNORE or RESPECT NULLS")));
    }
    let FunctionArguments::List(list) = &function.args else {
        return Err(SqlError::invalid(at, format!("Invalid number of arguments to function '{name}'")));
    };
    if !list.clauses.is_empty() {
        return Err(SqlError::not_yet(at, format!("a clause within {name}")));
    }
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let mut args = Vec::new();
    let mut separator = None;
    for (index, arg) in list.args.iter().enumerate() {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if kind == AggFunction::Count => {}
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) if kind == AggFunction::ListAgg && index == 1 => {
                separator = match e {
                    Parsed::Value(v) => match &v.value {
                        Value::SingleQuotedString(text) => Some(text.clone()),
                        _ => None,
                    },
                    _ => None,
                };
                if separator.is_none() {
                    return Err(SqlError::not_yet(e.span(), "a separator that is no literal in LISTAGG"));
                }
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(below.expr(e)?),
            _ => return Err(SqlError::syntax(at, format!("{name}: '{arg}' is no argument"))),
        }
    }
    let types: Vec<&DataType> = args.iter().map(|a| &a.data_type).collect();
    let wrong_count = args.is_empty() && (kind != AggFunction::Count || list.args.is_empty());
    if wrong_count {
        return Err(SqlError::invalid(at, format!("Invalid number of arguments to function '{name}'")));
    }
    let result = kind.returns(&types).ok_or_else(|| {
        let kinds: Vec<&Type> = types.iter().map(|t| &t.kind).collect();
        mismatch(at, name, &kinds)
    })?;
    let filter = function.filter.as_deref().map(|f| below.condition(f, "FILTER")).transpose()?;
    let never_null = grouped && filter.is_none() && args.iter().all(|a| !a.data_type.nullable);
    let nullable = !kind.is_never_null() && !never_null;
    // COUNT of what is never NULL counts rows.
    let counts_rows = kind == AggFunction::Count && !distinct && args.iter().all(|a| !a.data_type.nullable);
    if counts_rows {
        args.clear();
    }
    let distinct = distinct && !matches!(kind, AggFunction::Max | AggFunction::Min);
    let data_type = DataType { kind: result, nullable };
    Ok(FoundCall { function: kind, args, distinct, filter, separator, data_type })
}
