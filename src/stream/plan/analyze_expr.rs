//! Names and types of expressions: the library's tree becomes a typed one, or an error with its place.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and most are not Flink's"
)]

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType as ParsedType, DateTimeField, Expr as Parsed, Spanned,
    TrimWhereField, UnaryOperator, Value,
};

use super::{
    analyze_call::{call, extract, is_json, overlaps},
    literals,
    scope::Scope,
    types::{self, DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Arith, Comparison, Expr, Node, Test, cast},
    sql::{Pos, SqlError, parser},
};

/// What is said of an aggregate where there are no groups. A SELECT that meets it makes one group of all its rows.
pub(super) const ILLEGAL_AGGREGATE: &str = "Aggregate expression is illegal here";

/// Deeper trees are refused: they are walked by recursion.
const DEPTH_MAX: usize = 200;

type Result<T> = std::result::Result<T, SqlError>;

impl Scope {
    /// The typed expression.
    pub fn expr(&self, parsed: &Parsed) -> Result<Expr> {
        self.at_depth(parsed, 0)
    }

    /// The same, and it must be BOOLEAN.
    pub fn condition(&self, parsed: &Parsed, what: &str) -> Result<Expr> {
        let expr = self.expr(parsed)?;
        match expr.data_type.kind {
            Type::Boolean | Type::Null => Ok(expr.cast_to(&Type::Boolean)),
            _ => Err(SqlError::invalid(parsed.span(), format!("{what} clause must be a condition"))),
        }
    }

    pub(super) fn at_depth(&self, parsed: &Parsed, depth: usize) -> Result<Expr> {
        if depth > DEPTH_MAX {
            return Err(SqlError::invalid(parsed.span(), "the expression is nested too deeply"));
        }
        let depth = depth + 1;
        if let Some(grouping) = &self.grouping
            && let Some(found) = grouping.resolve(parsed)?
        {
            return Ok(found);
        }
        let sub = |e: &Parsed| self.at_depth(e, depth);
        let boolean = |e: &Parsed, operator: &str| -> Result<Expr> {
            let expr = sub(e)?;
            match expr.data_type.kind {
                Type::Boolean | Type::Null => Ok(expr.cast_to(&Type::Boolean)),
                ref other => Err(mismatch(e.span().into(), operator, &[other])),
            }
        };
        match parsed {
            Parsed::Identifier(ident) => self.bare_call(ident).unwrap_or_else(|| self.column(ident)),
            Parsed::CompoundIdentifier(parts) => self.qualified(parts),
            Parsed::Nested(inner) => sub(inner),
            Parsed::Value(value) => literals::literal(&value.value, value.span.into()),
            Parsed::TypedString(typed) => literals::typed(typed),
            Parsed::Interval(interval) => literals::interval(interval, false),
            Parsed::UnaryOp { op, expr } => self.unary(*op, expr, depth),
            Parsed::BinaryOp { left, op, right } => self.binary(left, op, right, depth),
            Parsed::IsNull(e) => Ok(is(Test::Null, false, sub(e)?)),
            Parsed::IsNotNull(e) => Ok(is(Test::Null, true, sub(e)?)),
            Parsed::IsTrue(e) => Ok(is(Test::True, false, boolean(e, "IS TRUE")?)),
            Parsed::IsNotTrue(e) => Ok(is(Test::True, true, boolean(e, "IS NOT TRUE")?)),
            Parsed::IsFalse(e) => Ok(is(Test::False, false, boolean(e, "IS FALSE")?)),
            Parsed::IsNotFalse(e) => Ok(is(Test::False, true, boolean(e, "IS NOT FALSE")?)),
            Parsed::IsUnknown(e) => Ok(is(Test::Null, false, boolean(e, "IS UNKNOWN")?)),
            Parsed::IsNotUnknown(e) => Ok(is(Test::Null, true, boolean(e, "IS NOT UNKNOWN")?)),
            Parsed::IsDistinctFrom(a, b) => {
                Ok(not(comparison(Comparison::NotDistinct, sub(a)?, sub(b)?, a.span().into())?))
            }
            Parsed::IsNotDistinctFrom(a, b) => {
                comparison(Comparison::NotDistinct, sub(a)?, sub(b)?, a.span().into())
            }
            Parsed::InList { expr, list, negated } => self.in_list(expr, list, *negated, depth),
            Parsed::Between { expr, negated, low, high } => {
                let (value, at) = (sub(expr)?, expr.span().into());
                let from = comparison(Comparison::GreaterOrEqual, copy(&value, at)?, sub(low)?, at)?;
                let to = comparison(Comparison::LessOrEqual, value, sub(high)?, at)?;
                Ok(negate_if(*negated, logic(Node::And, from, to)))
            }
            Parsed::Like { negated, any: false, expr, pattern, escape_char } => {
                let mut args = vec![sub(expr)?, sub(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(sub(escape)?);
                }
                Ok(negate_if(*negated, call("LIKE", args, parsed.span().into())?))
            }
            Parsed::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut args = vec![sub(expr)?, sub(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(sub(escape)?);
                }
                Ok(negate_if(*negated, call("SIMILAR TO", args, parsed.span().into())?))
            }
            Parsed::IsJson { expr, kind, unique_keys: None, negated } => {
                Ok(negate_if(*negated, is_json(sub(expr)?, *kind, parsed.span().into())?))
            }
            Parsed::Cast { kind, expr, data_type, .. } => self.cast(kind, expr, data_type, depth),
            Parsed::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_deref().map(sub).transpose()?;
                let mut whens = Vec::new();
                for when in conditions {
                    let condition = match &operand {
                        None => boolean(&when.condition, "CASE")?,
                        Some(operand) => {
                            let at = when.condition.span().into();
                            comparison(Comparison::Equal, copy(operand, at)?, sub(&when.condition)?, at)?
                        }
                    };
                    whens.push((condition, sub(&when.result)?));
                }
                let otherwise = match else_result {
                    Some(e) => sub(e)?,
                    None => Expr::literal(Datum::Null, Type::Null),
                };
                case(whens, otherwise, parsed.span().into())
            }
            Parsed::Function(function) => self.function(function, depth),
            Parsed::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![sub(expr)?];
                args.push(match substring_from {
                    Some(from) => sub(from)?,
                    None => Expr::literal(Datum::Int(1), Type::Int),
                });
                if let Some(length) = substring_for {
                    args.push(sub(length)?);
                }
                call("SUBSTRING", args, parsed.span().into())
            }
            Parsed::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "TRIM",
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                };
                let mut args = vec![sub(expr)?];
                if let Some(what) = trim_what {
                    args.push(sub(what)?);
                }
                call(name, args, parsed.span().into())
            }
            Parsed::Position { expr, r#in } => {
                call("POSITION", vec![sub(expr)?, sub(r#in)?], parsed.span().into())
            }
            Parsed::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![sub(expr)?, sub(overlay_what)?, sub(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(sub(length)?);
                }
                call("OVERLAY", args, parsed.span().into())
            }
            Parsed::Extract { field, expr, .. } => {
                extract(&field.to_string(), sub(expr)?, parsed.span().into())
            }
            Parsed::Floor { expr, field } => self.rounded("FLOOR", expr, field, depth),
            Parsed::Ceil { expr, field } => self.rounded("CEIL", expr, field, depth),
            Parsed::AllOp { .. }
            | Parsed::AnyOp { .. }
            | Parsed::Exists { .. }
            | Parsed::InSubquery { .. }
            | Parsed::Subquery(_) => self.value_of(parsed),
            Parsed::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, depth),
            Parsed::Array(array) if array.named => {
                let items = array.elem.iter().map(sub).collect::<Result<_>>()?;
                call("ARRAY", items, parsed.span().into())
            }
            Parsed::Tuple(items) => {
                call("ROW", items.iter().map(sub).collect::<Result<_>>()?, parsed.span().into())
            }
            Parsed::AtTimeZone { .. } => Err(SqlError::not_yet(parsed.span(), "AT TIME ZONE")),
            _ => Err(SqlError::syntax(parsed.span(), format!("'{parsed}' is not Flink SQL"))),
        }
    }

    fn unary(&self, op: UnaryOperator, parsed: &Parsed, depth: usize) -> Result<Expr> {
        let at: Pos = parsed.span().into();
        if op == UnaryOperator::Minus
            && let Parsed::Value(value) = parsed
            && let Value::Number(digits, _) = &value.value
        {
            // So that -2147483648 is an INT.
            return literals::number(&format!("-{digits}"), at);
        }
        if op == UnaryOperator::Minus
            && let Parsed::Interval(interval) = parsed
        {
            return literals::interval(interval, true);
        }
        let expr = self.at_depth(parsed, depth)?;
        match op {
            UnaryOperator::Not if matches!(expr.data_type.kind, Type::Boolean | Type::Null) => {
                Ok(not(expr.cast_to(&Type::Boolean)))
            }
            UnaryOperator::Minus if expr.data_type.kind.is_numeric() || expr.data_type.kind.is_interval() => {
                let data_type = expr.data_type.clone();
                Ok(Expr::new(Node::Negate(Box::new(expr)), data_type))
            }
            UnaryOperator::Plus if expr.data_type.kind.is_numeric() => Ok(expr),
            UnaryOperator::Not | UnaryOperator::Minus | UnaryOperator::Plus => {
                Err(mismatch(at, &op.to_string(), &[&expr.data_type.kind]))
            }
            _ => Err(SqlError::syntax(at, format!("the operator '{op}' is not Flink SQL"))),
        }
    }

    fn binary(&self, left: &Parsed, op: &BinaryOperator, right: &Parsed, depth: usize) -> Result<Expr> {
        let at: Pos = left.span().into();
        if let (BinaryOperator::Overlaps, Parsed::Tuple(left), Parsed::Tuple(right)) = (op, left, right) {
            let all =
                |side: &[Parsed]| side.iter().map(|e| self.at_depth(e, depth)).collect::<Result<Vec<_>>>();
            return overlaps(all(left)?, all(right)?, at);
        }
        let (a, b) = (self.at_depth(left, depth)?, self.at_depth(right, depth)?);
        match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let make = if *op == BinaryOperator::And { Node::And } else { Node::Or };
                for side in [&a, &b] {
                    if !matches!(side.data_type.kind, Type::Boolean | Type::Null) {
                        return Err(mismatch(at, &op.to_string(), &[&a.data_type.kind, &b.data_type.kind]));
                    }
                }
                Ok(logic(make, a.cast_to(&Type::Boolean), b.cast_to(&Type::Boolean)))
            }
            BinaryOperator::Plus => arith(Arith::Add, a, b, at),
            BinaryOperator::Minus => arith(Arith::Subtract, a, b, at),
            BinaryOperator::Multiply => arith(Arith::Multiply, a, b, at),
            BinaryOperator::Divide => arith(Arith::Divide, a, b, at),
            BinaryOperator::Modulo => arith(Arith::Remainder, a, b, at),
            BinaryOperator::StringConcat => {
                let kinds = [a.data_type.kind.clone(), b.data_type.kind.clone()];
                call("||", vec![a, b], at).map_err(|_| mismatch(at, "||", &[&kinds[0], &kinds[1]]))
            }
            BinaryOperator::Eq => comparison(Comparison::Equal, a, b, at),
            BinaryOperator::NotEq => comparison(Comparison::NotEqual, a, b, at),
            BinaryOperator::Lt => comparison(Comparison::Less, a, b, at),
            BinaryOperator::LtEq => comparison(Comparison::LessOrEqual, a, b, at),
            BinaryOperator::Gt => comparison(Comparison::Greater, a, b, at),
            BinaryOperator::GtEq => comparison(Comparison::GreaterOrEqual, a, b, at),
            _ => Err(SqlError::syntax(at, format!("the operator '{op}' is not Flink SQL"))),
        }
    }

    fn in_list(&self, expr: &Parsed, list: &[Parsed], negated: bool, depth: usize) -> Result<Expr> {
        let value = self.at_depth(expr, depth)?;
        let mut equals = Vec::with_capacity(list.len());
        for item in list {
            let at = item.span().into();
            equals.push(comparison(Comparison::Equal, copy(&value, at)?, self.at_depth(item, depth)?, at)?);
        }
        let any = any_of(equals).ok_or_else(|| SqlError::syntax(expr.span(), "IN of an empty list"))?;
        Ok(negate_if(negated, any))
    }

    fn cast(&self, kind: &CastKind, expr: &Parsed, data_type: &ParsedType, depth: usize) -> Result<Expr> {
        let ParsedType::Custom(name, _) = data_type else {
            return Err(SqlError::syntax(expr.span(), "'::' is not Flink SQL, write CAST(… AS …)"));
        };
        let text = name.0.first().and_then(|part| part.as_ident()).map_or("", |ident| ident.value.as_str());
        let mut target = parser::type_of(text).map_err(|e| SqlError { at: name.span().into(), ..e })?;
        if let Type::Time(digits) = &mut target.kind {
            // Flink's TIMEs have no fraction, whatever is asked for.
            *digits = 0;
        }
        let or_null = *kind == CastKind::TryCast;
        let inner = self.at_depth(expr, depth)?;
        let from = &inner.data_type.kind;
        if !cast::supported(from, &target.kind) {
            let message =
                format!("Cast function cannot convert value of type {from} to type {}", target.kind);
            return Err(SqlError::invalid(expr.span(), message));
        }
        let nullable = inner.data_type.nullable || or_null;
        if inner.node == Node::Literal(Datum::Null) {
            return Ok(Expr::literal(Datum::Null, target.kind));
        }
        if let Some(folded) = inner.folded_single(&target.kind) {
            return Ok(folded);
        }
        let data_type = DataType { kind: target.kind, nullable };
        Ok(Expr::new(Node::Cast { expr: Box::new(inner), or_null }, data_type))
    }

    fn rounded(&self, name: &str, expr: &Parsed, field: &CeilFloorKind, depth: usize) -> Result<Expr> {
        let at: Pos = expr.span().into();
        let value = self.at_depth(expr, depth)?;
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => call(name, vec![value], at),
            CeilFloorKind::DateTimeField(field) => {
                let unit = field.to_string().to_uppercase();
                let unit = Expr::literal(Datum::str(unit), Type::STRING);
                call(&format!("{name}_TO"), vec![value, unit], at)
            }
            CeilFloorKind::Scale(_) => Err(SqlError::syntax(at, format!("{name} takes one argument"))),
        }
    }
}

/// A balanced tree of ORs, so that a long list is not a deep one.
fn any_of(mut conditions: Vec<Expr>) -> Option<Expr> {
    if conditions.len() <= 1 {
        return conditions.pop();
    }
    let right = conditions.split_off(conditions.len() / 2);
    Some(logic(Node::Or, any_of(conditions)?, any_of(right)?))
}

/// Forms that use an operand twice copy it; nested, they could double each time.
const COPY_NODES_MAX: usize = 500;

pub(super) fn copy(expr: &Expr, at: Pos) -> Result<Expr> {
    if expr.size() > COPY_NODES_MAX {
        return Err(SqlError::invalid(at, "the expression is too large"));
    }
    Ok(expr.clone())
}

pub(super) fn case(whens: Vec<(Expr, Expr)>, otherwise: Expr, at: Pos) -> Result<Expr> {
    let mut common = otherwise.data_type.clone();
    for (_, result) in &whens {
        common = types::least_restrictive(&common, &result.data_type)
            .ok_or_else(|| mismatch(at, "CASE", &[&common.kind, &result.data_type.kind]))?;
    }
    let whens = whens.into_iter().map(|(c, r)| (c, r.cast_to(&common.kind))).collect();
    let otherwise = Box::new(otherwise.cast_to(&common.kind));
    Ok(Expr::new(Node::Case { whens, otherwise }, common))
}

pub(super) fn arith(op: Arith, a: Expr, b: Expr, at: Pos) -> Result<Expr> {
    let (x, y) = (&a.data_type.kind, &b.data_type.kind);
    let nullable = a.data_type.nullable || b.data_type.nullable;
    let interval = Type::is_interval;
    let dated = |t: &Type| t.is_timestamp() || matches!(t, Type::Date | Type::Time(_));
    if dated(x) && interval(y) && matches!(op, Arith::Add | Arith::Subtract) {
        let data_type = a.data_type.clone().with_nullable(nullable);
        let by = if op == Arith::Subtract { negative(b) } else { b };
        return Ok(Expr::new(Node::Shift(Box::new(a), Box::new(by)), data_type));
    }
    if interval(x) && dated(y) && op == Arith::Add {
        let data_type = b.data_type.clone().with_nullable(nullable);
        return Ok(Expr::new(Node::Shift(Box::new(b), Box::new(a)), data_type));
    }
    // Intervals of one kind, and so many times an interval.
    let sum = x == y && interval(x) && matches!(op, Arith::Add | Arith::Subtract);
    if sum || op == Arith::Multiply && (interval(x) && y.is_integer() || x.is_integer() && interval(y)) {
        let kind = if interval(x) { x.clone() } else { y.clone() };
        return Ok(Expr::new(Node::Arith(op, Box::new(a), Box::new(b)), DataType { kind, nullable }));
    }
    let known = |t: &Type| t.is_numeric();
    let exact = |t: &Type| t.is_exact();
    let allowed = if op == Arith::Remainder { exact(x) && exact(y) } else { known(x) && known(y) };
    if !allowed {
        return Err(mismatch(at, op.sign(), &[x, y]));
    }
    let is_decimal = |t: &Type| matches!(t, Type::Decimal { .. });
    let kind = match (x.as_decimal(), y.as_decimal()) {
        (Some(p), Some(q)) if is_decimal(x) || is_decimal(y) => match op {
            Arith::Add | Arith::Subtract => types::decimal_sum(p, q),
            Arith::Multiply => types::decimal_product(p, q),
            Arith::Divide => types::decimal_quotient(p, q),
            Arith::Remainder => types::decimal_remainder(p, q),
        },
        // That of the second, though it is computed in the wider one.
        _ if op == Arith::Remainder => y.clone(),
        _ => types::common_numeric(x, y).ok_or_else(|| mismatch(at, op.sign(), &[x, y]))?,
    };
    // A DECIMAL result that does not fit is NULL, though its type does not say so. (Flink)
    Ok(Expr::new(Node::Arith(op, Box::new(a), Box::new(b)), DataType { kind, nullable }))
}

/// `a * b`.
pub(super) fn product(a: Expr, b: Expr, at: Pos) -> Result<Expr> {
    arith(Arith::Multiply, a, b, at)
}

/// `(sum_of_squares - sum * sum / count) / count`, or `/ (count - 1)`, and its root.
/// `bits * 2 + bit`.
pub(super) fn shifted_in(bits: Expr, bit: Expr, at: Pos) -> Result<Expr> {
    let doubled = product(bits, Expr::literal(Datum::Int(2), Type::BigInt), at)?;
    arith(Arith::Add, doubled, bit, at)
}

pub(super) fn deviation(
    sum_of_squares: Expr,
    sum: Expr,
    count: Expr,
    sample: bool,
    root: bool,
    kind: &Type,
    at: Pos,
) -> Result<Expr> {
    let squared = product(sum.clone(), sum, at)?;
    let mean = arith(Arith::Divide, squared, count.clone(), at)?;
    let difference = arith(Arith::Subtract, sum_of_squares, mean, at)?;
    let divisor = if sample {
        let one = || Expr::literal(Datum::Int(1), Type::BigInt);
        let single = comparison(Comparison::Equal, count.clone(), one(), at)?;
        let less = arith(Arith::Subtract, count, one(), at)?;
        case(vec![(single, Expr::literal(Datum::Null, Type::Null))], less, at)?
    } else {
        count
    };
    let mut result = arith(Arith::Divide, difference, divisor, at)?;
    if root {
        result = call("POWER", vec![result, Expr::literal(Datum::Double(0.5), Type::Double)], at)?;
    }
    let mut result = result.cast_to(kind);
    result.data_type.nullable = true;
    Ok(result)
}

fn negative(by: Expr) -> Expr {
    let data_type = by.data_type.clone();
    match by.node {
        Node::Literal(Datum::Int(n)) => Expr::new(Node::Literal(Datum::Int(n.wrapping_neg())), data_type),
        node => Expr::new(Node::Negate(Box::new(Expr::new(node, data_type.clone()))), data_type),
    }
}

/// A comparison with both sides brought to one type.
pub(super) fn comparison(op: Comparison, a: Expr, b: Expr, at: Pos) -> Result<Expr> {
    let nullable = op != Comparison::NotDistinct && (a.data_type.nullable || b.data_type.nullable);
    let (x, y) = (&a.data_type.kind, &b.data_type.kind);
    let common = if x.is_string() && y.is_string() {
        None
    } else if x.is_timestamp() && y.is_timestamp() {
        // Both show UTC; digits do not change a point in time.
        None
    } else {
        match types::least_restrictive(&a.data_type, &b.data_type) {
            Some(common) => Some(common.kind),
            // A literal's text is read as what it is compared with.
            None if reads_as(&a, y) => Some(y.clone()),
            None if reads_as(&b, x) => Some(x.clone()),
            None => return Err(mismatch(at, op.sign(), &[x, y])),
        }
    };
    let (a, b) = match common {
        Some(common)
            if common.is_nested()
                && !matches!(op, Comparison::Equal | Comparison::NotEqual | Comparison::NotDistinct) =>
        {
            return Err(mismatch(at, op.sign(), &[x, y]));
        }
        Some(common) => (a.cast_to(&common), b.cast_to(&common)),
        None => (a, b),
    };
    let data_type = DataType { kind: Type::Boolean, nullable };
    Ok(Expr::new(Node::Compare(op, Box::new(a), Box::new(b)), data_type))
}

fn reads_as(literal: &Expr, kind: &Type) -> bool {
    matches!(literal.node, Node::Literal(Datum::Str(_)))
        && (kind.is_timestamp() || matches!(kind, Type::Date | Type::Time(_)))
}

pub(super) fn is(test: Test, negated: bool, expr: Expr) -> Expr {
    Expr::new(Node::Is { test, negated, expr: Box::new(expr) }, DataType::not_null(Type::Boolean))
}

pub(super) fn not(expr: Expr) -> Expr {
    let data_type = expr.data_type.clone();
    Expr::new(Node::Not(Box::new(expr)), data_type)
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { not(expr) } else { expr }
}

pub(super) fn logic(make: fn(Box<Expr>, Box<Expr>) -> Node, a: Expr, b: Expr) -> Expr {
    let nullable = a.data_type.nullable || b.data_type.nullable;
    Expr::new(make(Box::new(a), Box::new(b)), DataType { kind: Type::Boolean, nullable })
}

pub(super) fn mismatch(at: Pos, operator: &str, kinds: &[&Type]) -> SqlError {
    let kinds: Vec<String> = kinds.iter().map(|k| format!("<{k}>")).collect();
    let shown = if let [a, b] = kinds.as_slice() {
        format!("{a} {operator} {b}")
    } else {
        format!("{operator}({})", kinds.join(", "))
    };
    SqlError::invalid(at, format!("Cannot apply '{operator}' to arguments of type '{shown}'"))
}
