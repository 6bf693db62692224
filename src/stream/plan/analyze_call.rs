//! Calls: of functions in the tables, and of those that are made of other expressions or have arguments that are none
//! (units of time, clauses of JSON functions).
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and most are not Flink's"
)]

use sqlparser::ast::{
    AccessExpr, Expr as Parsed, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JsonPredicateType, Spanned, Subscript,
};

use super::{
    analyze_expr::{self, arith, case, comparison, copy, logic, mismatch},
    literals,
    scope::{Scope, field, is_aggregate},
    types::{self, DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{
        Arith, Comparison, Expr, Node,
        builtins::{self, unit},
    },
    sql::{
        Pos, SqlError,
        forms::{BETWEEN_SYMMETRIC, DIFFERENCE},
        reserved::is_reserved,
    },
};

type Result<T> = std::result::Result<T, SqlError>;

/// Functions that Flink lets one write without parentheses.
const BARE: &[&str] =
    &["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "PI"];

impl Scope {
    /// A call without parentheses, where no column has that name.
    pub(super) fn bare_call(&self, ident: &Ident) -> Option<Result<Expr>> {
        let known =
            ident.quote_style.is_none() && BARE.iter().any(|name| ident.value.eq_ignore_ascii_case(name));
        // PI alone may be a column's name; the others are reserved.
        let column = !is_reserved(&ident.value) && self.columns.iter().any(|(name, _)| *name == ident.value);
        (known && !column).then(|| call(&ident.value.to_ascii_uppercase(), Vec::new(), ident.span.into()))
    }

    pub(super) fn function(&self, function: &Function, depth: usize) -> Result<Expr> {
        let at: Pos = function.name.span().into();
        let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
        if function.over.is_some() {
            return match &self.overs {
                Some(overs) => overs.register(function),
                None => Err(SqlError::not_yet(at, format!("{name} OVER here"))),
            };
        }
        if is_aggregate(&name) {
            return Err(SqlError::invalid(at, analyze_expr::ILLEGAL_AGGREGATE));
        }
        if super::group_window::name_of(function).is_some() {
            let message = format!("Group window function {name} is only allowed in GROUP BY");
            return Err(SqlError::invalid(at, message));
        }
        if matches!(name.as_str(), "DENSE_RANK" | "LAG" | "LEAD" | "RANK" | "ROW_NUMBER") {
            return Err(SqlError::invalid(at, "OVER clause is necessary for window functions"));
        }
        if builtins::flink_has(&name) {
            return Err(SqlError::not_yet(at, format!("the function {name}")));
        }
        let plain = function.filter.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none()
            && function.parameters == FunctionArguments::None;
        if !plain {
            return Err(SqlError::invalid(at, format!("{name} is not an aggregate function")));
        }
        let parsed = arguments(&function.args, &name, at)?;
        let sub = |e: &Parsed| self.at_depth(e, depth);
        match (name.as_str(), parsed.as_slice()) {
            ("TIMESTAMPADD", [unit, count, of]) => add(unit, sub(count)?, sub(of)?, at),
            ("TIMESTAMPDIFF", [unit, from, to]) => {
                let (from, to, unit) = (sub(from)?, sub(to)?, unit_literal(unit)?);
                let is_ltz = |of: &Expr| matches!(of.data_type.kind, Type::TimestampLtz(_));
                if is_ltz(&from) != is_ltz(&to) {
                    // Flink's words.
                    let message = "TIMESTAMP_LTZ only supports diff between the same type.";
                    return Err(SqlError::invalid(at, message));
                }
                call("TIMESTAMPDIFF", vec![from, to, unit], at)
            }
            (DIFFERENCE, [a, b, Parsed::Interval(units)]) => {
                difference(sub(a)?, sub(b)?, literals::interval_kind(units), at)
            }
            ("JSON_OBJECT" | "JSON_ARRAY", args) => {
                let args = args.iter().map(|arg| self.json_part(arg, depth)).collect::<Result<_>>()?;
                call(&name, args, at)
            }
            ("JSON", _) => Err(SqlError::invalid(
                at,
                "The JSON() function is currently only supported inside JSON_OBJECT() or JSON_ARRAY() functions.",
            )),
            (_, args) => {
                let args = args.iter().copied().map(sub).collect::<Result<_>>()?;
                special(&name, args, at)
            }
        }
    }

    /// An argument of JSON_OBJECT or JSON_ARRAY, which may be `JSON('…')`.
    fn json_part(&self, parsed: &Parsed, depth: usize) -> Result<Expr> {
        if let Parsed::Function(function) = parsed
            && function.name.to_string().eq_ignore_ascii_case("JSON")
            && let [inner] = arguments(&function.args, "JSON", parsed.span().into())?.as_slice()
        {
            return call("JSON", vec![self.at_depth(inner, depth)?], parsed.span().into());
        }
        self.at_depth(parsed, depth)
    }

    /// `of[1]`, `of['key']`, `of.field`, one behind the other.
    pub(super) fn access(&self, root: &Parsed, chain: &[AccessExpr], depth: usize) -> Result<Expr> {
        // `table.column[1]` and `column.field[1]` come as a root and a chain of names.
        let mut names = match root {
            Parsed::Identifier(ident) => vec![ident.clone()],
            Parsed::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        while !names.is_empty()
            && let Some((AccessExpr::Dot(Parsed::Identifier(ident)), after)) = rest.split_first()
        {
            names.push(ident.clone());
            rest = after;
        }
        let mut of = if names.len() > 1 {
            self.at_depth(&Parsed::CompoundIdentifier(names), depth)?
        } else {
            self.at_depth(root, depth)?
        };
        for step in rest {
            of = match step {
                AccessExpr::Dot(Parsed::Identifier(name)) => field(of, name)?,
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    item(of, self.at_depth(index, depth)?, index.span().into())?
                }
                _ => return Err(SqlError::syntax(root.span(), format!("'{step}' is not Flink SQL"))),
            };
        }
        Ok(of)
    }
}

/// The arguments of a call, none of them named.
fn arguments<'a>(args: &'a FunctionArguments, name: &str, at: Pos) -> Result<Vec<&'a Parsed>> {
    let list = match args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => {
            return Err(SqlError::not_yet(at, "a sub-query in an expression"));
        }
        FunctionArguments::List(list) => list,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(SqlError::invalid(at, format!("{name} is not an aggregate function")));
    }
    let argument = |arg: &'a FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Ok(e),
        FunctionArg::Named { .. } => Err(SqlError::not_yet(at, "named arguments")),
        _ => Err(SqlError::syntax(at, format!("{name}: '{arg}' is no argument"))),
    };
    list.args.iter().map(argument).collect()
}

/// A unit of time that stands where an expression could.
fn unit_literal(parsed: &Parsed) -> Result<Expr> {
    let Parsed::Identifier(ident) = parsed else {
        return Err(SqlError::syntax(parsed.span(), format!("'{parsed}' is no unit of time")));
    };
    let unit = ident.value.to_ascii_uppercase();
    if unit::months_of(&unit).is_none()
        && !["WEEK", "DAY", "HOUR", "MINUTE", "SECOND"].contains(&unit.as_str())
    {
        return Err(SqlError::not_yet(ident.span, format!("the unit {unit} here")));
    }
    Ok(Expr::literal(Datum::str(unit), Type::STRING))
}

/// `TIMESTAMPADD(unit, count, of)`: of a DATE and a unit below a day a TIMESTAMP.
fn add(unit: &Parsed, count: Expr, of: Expr, at: Pos) -> Result<Expr> {
    let Node::Literal(Datum::Str(unit)) = unit_literal(unit)?.node else {
        return Err(SqlError::syntax(at, "a unit of time is missing"));
    };
    if !count.data_type.kind.is_integer() && count.data_type.kind != Type::Null {
        return Err(mismatch(at, "TIMESTAMPADD", &[&count.data_type.kind, &of.data_type.kind]));
    }
    let (kind, length) = match unit::months_of(&unit) {
        Some(months) => (Type::IntervalYear, months),
        None => (Type::IntervalDay, unit::unit_ms(&unit)),
    };
    let of_day = kind == Type::IntervalDay && length < unit::unit_ms("DAY");
    let of = if of_day && of.data_type.kind == Type::Date { of.cast_to(&Type::Timestamp(6)) } else { of };
    let count = count.cast_to(&Type::BigInt);
    let by = arith(Arith::Multiply, count, Expr::literal(Datum::Int(length), Type::BigInt), at)?;
    let by = Expr { data_type: DataType { kind, nullable: by.data_type.nullable }, ..by };
    arith(Arith::Add, of, by, at)
}

/// `(a - b) DAY TO SECOND`.
fn difference(a: Expr, b: Expr, kind: Option<Type>, at: Pos) -> Result<Expr> {
    let kind = kind.filter(|kind| *kind == Type::IntervalDay);
    let kind = kind.ok_or_else(|| SqlError::not_yet(at, "a difference of two times in months"))?;
    let whole = call("$MILLISECONDS", vec![a, b], at)?;
    Ok(Expr { data_type: DataType { kind, nullable: whole.data_type.nullable }, ..whole })
}

fn item(of: Expr, index: Expr, at: Pos) -> Result<Expr> {
    let kind = &index.data_type.kind;
    let index = match of.data_type.kind.entry() {
        // Texts are the same whatever the length of their types.
        Some((key, _)) if kind.is_string() && key.kind.is_string() => index,
        Some((key, _)) if types::casts_implicitly(kind, &key.kind) => index.cast_to(&key.kind),
        Some(_) => return Err(mismatch(at, "ITEM", &[&of.data_type.kind, kind])),
        None => index,
    };
    call("ITEM", vec![of, index], at)
}

/// Functions that are made of other nodes.
fn special(name: &str, mut args: Vec<Expr>, at: Pos) -> Result<Expr> {
    let null = || Expr::literal(Datum::Null, Type::Null);
    match (name, args.len()) {
        ("COALESCE", 1..) | ("IFNULL", 2) => coalesce(args, at),
        ("IF", 3) => {
            let otherwise = args.remove(2);
            let then = args.remove(1);
            let condition = args.remove(0);
            if condition.data_type.kind != Type::Boolean {
                return Err(mismatch(at, "IF", &[&condition.data_type.kind]));
            }
            let unknown = condition.data_type.nullable;
            let mut chosen = case(vec![(condition, then)], otherwise, at)?;
            chosen.data_type.nullable |= unknown;
            Ok(chosen)
        }
        ("NULLIF", 2) => {
            let (b, a) = (args.remove(1), args.remove(0));
            let equal = comparison(Comparison::Equal, copy(&a, at)?, b, at)?;
            case(vec![(equal, null())], a, at)
        }
        ("MOD", 2) => {
            let (b, a) = (args.remove(1), args.remove(0));
            arith(Arith::Remainder, a, b, at)
        }
        ("COALESCE" | "IFNULL" | "IF" | "NULLIF" | "MOD", n) => {
            Err(SqlError::invalid(at, format!("Invalid number of arguments to function '{name}': {n}")))
        }
        (BETWEEN_SYMMETRIC, 3) => {
            let (b, a, x) = (args.remove(2), args.remove(1), args.remove(0));
            between_symmetric(&x, &a, &b, at)
        }
        ("MAP", 2..) => map(args, at),
        ("JSON_VALUE", 7) => json_value(args, at),
        ("TYPEOF", 1 | 2) => {
            let kind = args.first().map(|a| a.data_type.to_string()).unwrap_or_default();
            let kind = if args.first().is_some_and(|a| a.data_type.kind == Type::Null) {
                "NULL".to_owned()
            } else {
                kind
            };
            let mut name = Expr::literal(Datum::str(kind), Type::STRING);
            name.data_type.nullable = true;
            Ok(name)
        }
        ("CURRENT_DATABASE", 0) => Ok(Expr::literal(Datum::str(super::catalog::DATABASE), Type::STRING)),
        (_, count) if EXTRACTS.iter().any(|(function, _)| *function == name) && count == 1 => {
            let unit = EXTRACTS.iter().find(|(function, _)| *function == name).map_or("", |(_, unit)| unit);
            let of = args.remove(0);
            extract(unit, of, at)
        }
        _ => call(name, args, at),
    }
}

/// Functions that are a field of a date or time.
const EXTRACTS: &[(&str, &str)] = &[
    ("YEAR", "YEAR"),
    ("QUARTER", "QUARTER"),
    ("MONTH", "MONTH"),
    ("WEEK", "WEEK"),
    ("DAYOFYEAR", "DOY"),
    ("DAYOFMONTH", "DAY"),
    ("DAYOFWEEK", "DOW"),
    ("HOUR", "HOUR"),
    ("MINUTE", "MINUTE"),
    ("SECOND", "SECOND"),
];

/// `EXTRACT(unit FROM of)`.
pub(super) fn extract(unit: &str, of: Expr, at: Pos) -> Result<Expr> {
    call("EXTRACT", vec![of, Expr::literal(Datum::str(unit), Type::STRING)], at)
}

pub(super) fn coalesce(args: Vec<Expr>, at: Pos) -> Result<Expr> {
    let mut common = DataType::not_null(Type::Null);
    let mut nullable = true;
    for arg in &args {
        nullable &= arg.data_type.nullable;
        common = types::least_restrictive(&common, &arg.data_type)
            .ok_or_else(|| mismatch(at, "COALESCE", &[&common.kind, &arg.data_type.kind]))?;
    }
    let args = args.into_iter().map(|a| a.cast_to(&common.kind)).collect();
    Ok(Expr::new(Node::Coalesce(args), common.with_nullable(nullable)))
}

/// `x BETWEEN SYMMETRIC a AND b`: in either order.
fn between_symmetric(x: &Expr, a: &Expr, b: &Expr, at: Pos) -> Result<Expr> {
    let within = |low: &Expr, high: &Expr| -> Result<Expr> {
        let from = comparison(Comparison::GreaterOrEqual, copy(x, at)?, copy(low, at)?, at)?;
        let to = comparison(Comparison::LessOrEqual, copy(x, at)?, copy(high, at)?, at)?;
        Ok(logic(Node::And, from, to))
    };
    Ok(logic(Node::Or, within(a, b)?, within(b, a)?))
}

/// `MAP[key, value, …]`: keys of one type, values of one type.
fn map(args: Vec<Expr>, at: Pos) -> Result<Expr> {
    if !args.len().is_multiple_of(2) {
        return Err(SqlError::invalid(at, "Map requires an even number of arguments"));
    }
    let common = |start: usize| -> Result<Type> {
        let mut common = DataType::not_null(Type::Null);
        for arg in args.iter().skip(start).step_by(2) {
            common = types::least_restrictive(&common, &arg.data_type)
                .ok_or_else(|| SqlError::invalid(at, "Parameters must be of the same type"))?;
        }
        Ok(common.kind)
    };
    let (keys, values) = (common(0)?, common(1)?);
    let side = |i: usize| if i.is_multiple_of(2) { &keys } else { &values };
    call("MAP", args.into_iter().enumerate().map(|(i, arg)| arg.cast_to(side(i))).collect(), at)
}

/// The defaults of JSON_VALUE have the type that is returned.
fn json_value(args: Vec<Expr>, at: Pos) -> Result<Expr> {
    let returned = match args.get(2).map(|a| a.data_type.kind.clone()) {
        None | Some(Type::Null) => Type::STRING,
        Some(kind) => kind,
    };
    let typed = |(i, arg): (usize, Expr)| if i == 4 || i == 6 { arg.cast_to(&returned) } else { arg };
    call("JSON_VALUE", args.into_iter().enumerate().map(typed).collect(), at)
}

/// `x IS [NOT] JSON kind`.
pub(super) fn is_json(of: Expr, kind: Option<JsonPredicateType>, at: Pos) -> Result<Expr> {
    let kind = kind.unwrap_or(JsonPredicateType::Value).to_string();
    call("IS JSON", vec![of, Expr::literal(Datum::str(kind), Type::STRING)], at)
}

/// `(a, b) OVERLAPS (c, d)`, where the second of each may be how long it is.
pub(super) fn overlaps(left: Vec<Expr>, right: Vec<Expr>, at: Pos) -> Result<Expr> {
    let period = |mut side: Vec<Expr>| -> Result<(Expr, Expr)> {
        let (Some(second), Some(first), None) = (side.pop(), side.pop(), side.pop()) else {
            return Err(SqlError::invalid(
                at,
                "OVERLAPS takes two periods: (start, end) OVERLAPS (start, end)",
            ));
        };
        let end = if second.data_type.kind.is_interval() {
            arith(Arith::Add, copy(&first, at)?, second, at)?
        } else {
            second
        };
        Ok((first, end))
    };
    let ((a, b), (c, d)) = (period(left)?, period(right)?);
    // Either may be given backwards. With a NULL the second is the smaller. (Calcite: convertOverlaps)
    let ordered = |x: &Expr, y: &Expr| -> Result<(Expr, Expr)> {
        let forwards = || comparison(Comparison::LessOrEqual, copy(x, at)?, copy(y, at)?, at);
        let smaller = case(vec![(forwards()?, copy(x, at)?)], copy(y, at)?, at)?;
        Ok((smaller, case(vec![(forwards()?, copy(y, at)?)], copy(x, at)?, at)?))
    };
    let ((start, end), (from, to)) = (ordered(&a, &b)?, ordered(&c, &d)?);
    let first = comparison(Comparison::GreaterOrEqual, end, from, at)?;
    let second = comparison(Comparison::GreaterOrEqual, to, start, at)?;
    Ok(logic(Node::And, first, second))
}

/// A call of a function of the tables, checked so far that running it can only fail by its values.
pub(super) fn call(name: &str, args: Vec<Expr>, at: Pos) -> Result<Expr> {
    let Some(builtin) = builtins::find(name) else {
        return Err(SqlError::invalid(at, format!("No match found for function signature {name}")));
    };
    let given: Vec<String> = args.iter().map(|a| format!("<{}>", a.data_type.kind)).collect();
    let expr = builtin.call(args).ok_or_else(|| {
        let message = format!(
            "Cannot apply '{name}' to arguments of type '{name}({})'. Supported form(s): '{}'",
            given.join(", "),
            builtin.usage()
        );
        SqlError::invalid(at, message)
    })?;
    if let Node::Call(builtin, args) = &expr.node {
        (builtin.prepare)(args, &expr.data_type).map_err(|e| SqlError::invalid(at, e.0))?;
    }
    Ok(expr)
}
