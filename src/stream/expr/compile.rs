//! Typed expressions made executable: a tree of code with everything fixed beforehand worked out.
//!
//! Columns and constants are looked at in place; only what is computed is made anew.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use std::cmp::Ordering;

use super::{
    Arith, Comparison, EvalError, Expr, Node, Now, Test,
    builtins::{Args, Call},
    cast, decimal,
};
use crate::stream::{
    datum::{Columns, Datum, Instant, Row},
    plan::types::Type,
};

/// An expression ready to run.
pub struct Code(Op);

enum Op {
    And(Box<Op>, Box<Op>),
    Arith { op: Arith, kind: Type, left: (Box<Op>, u8), right: (Box<Op>, u8) },
    Call { call: Call, args: Vec<Op> },
    Case { whens: Vec<(Op, Op)>, otherwise: Box<Op> },
    Cast { of: Box<Op>, from: Type, to: Type, or_null: bool },
    Coalesce(Vec<Op>),
    Column(usize),
    Compare(Comparison, Box<Op>, Box<Op>),
    Const(Datum),
    Field(Box<Op>, usize),
    Is { test: Test, negated: bool, of: Box<Op> },
    Negate { of: Box<Op>, kind: Type },
    Not(Box<Op>),
    Or(Box<Op>, Box<Op>),
    Shift { of: Box<Op>, by: Box<Op>, months: bool },
}

/// Makes an expression executable.
pub fn compile(expr: &Expr) -> Result<Code, EvalError> {
    Ok(Code(op(expr)?))
}

/// The value of an expression that reads no column and no clock; `None` if it has none.
#[must_use]
pub fn constant(expr: &Expr) -> Option<Datum> {
    let code = expr.is_constant().then(|| unfolded(expr).ok()).flatten()?;
    code.eval(&Row::insert(Columns::new()), Now::default()).ok()
}

/// What is constant is computed once. What fails is left to fail when its row comes.
fn op(expr: &Expr) -> Result<Op, EvalError> {
    let code = unfolded(expr)?;
    let literal = matches!(code, Op::Const(_) | Op::Column(_));
    if literal || !expr.is_constant() {
        return Ok(code);
    }
    Ok(match code.eval(&Row::insert(Columns::new()), Now::default()) {
        // Flink keeps constants as BigDecimals, which have no negative zero.
        Ok(Datum::Double(x)) => Op::Const(Datum::Double(x + 0.0)),
        Ok(value) => Op::Const(value),
        Err(_) => code,
    })
}

fn unfolded(expr: &Expr) -> Result<Op, EvalError> {
    let boxed = |e: &Expr| op(e).map(Box::new);
    let kind = expr.data_type.kind.clone();
    Ok(match &expr.node {
        Node::And(a, b) => Op::And(boxed(a)?, boxed(b)?),
        Node::Arith(arith, a, b) => arith_op(*arith, kind, a, b)?,
        Node::Call(builtin, args) => Op::Call {
            call: (builtin.prepare)(args, &expr.data_type)?,
            args: args.iter().map(op).collect::<Result<_, _>>()?,
        },
        Node::Case { whens, otherwise } => Op::Case {
            whens: whens.iter().map(|(c, r)| Ok((op(c)?, op(r)?))).collect::<Result<_, EvalError>>()?,
            otherwise: boxed(otherwise)?,
        },
        Node::Cast { expr: of, or_null } => {
            Op::Cast { from: of.data_type.kind.clone(), of: boxed(of)?, to: kind, or_null: *or_null }
        }
        Node::Coalesce(args) => Op::Coalesce(args.iter().map(op).collect::<Result<_, _>>()?),
        Node::Column { index, .. } => Op::Column(*index),
        Node::Compare(comparison, a, b) => Op::Compare(*comparison, boxed(a)?, boxed(b)?),
        Node::Field { of, index, .. } => Op::Field(boxed(of)?, *index),
        Node::Is { test, negated, expr } => Op::Is { test: *test, negated: *negated, of: boxed(expr)? },
        Node::Literal(value) => Op::Const(value.clone()),
        Node::Negate(e) => Op::Negate { of: boxed(e)?, kind },
        Node::Not(e) => Op::Not(boxed(e)?),
        Node::Or(a, b) => Op::Or(boxed(a)?, boxed(b)?),
        Node::Shift(a, b) => {
            Op::Shift { of: boxed(a)?, by: boxed(b)?, months: b.data_type.kind == Type::IntervalYear }
        }
    })
}

/// Brings operands to the form the result's arithmetic needs: decimals keep their scales, all else is cast.
fn arith_op(arith: Arith, kind: Type, a: &Expr, b: &Expr) -> Result<Op, EvalError> {
    let side = |e: &Expr| -> Result<(Box<Op>, u8), EvalError> {
        let from = &e.data_type.kind;
        let target = match (&kind, from.as_decimal()) {
            (Type::Decimal { .. }, Some((precision, scale))) => Type::Decimal { precision, scale },
            _ => kind.clone(),
        };
        // A remainder has its second operand's type and is computed in the wider one.
        let target = if arith == Arith::Remainder && kind.is_integer() { Type::BigInt } else { target };
        let scale = target.as_decimal().map_or(0, |(_, scale)| scale);
        let of = Box::new(op(e)?);
        let whole = |kind: &Type| kind.is_integer() || kind.is_interval();
        let same = *from == target || (whole(from) && whole(&target));
        if same {
            return Ok((of, scale));
        }
        Ok((Box::new(Op::Cast { of, from: from.clone(), to: target, or_null: false }), scale))
    };
    let (left, right) = (side(a)?, side(b)?);
    Ok(Op::Arith { op: arith, kind, left, right })
}

impl Code {
    /// The value for this row.
    pub fn eval(&self, row: &Row, now: Now) -> Result<Datum, EvalError> {
        self.0.eval(row, now)
    }

    /// Whether a condition holds: NULL does not.
    pub fn holds(&self, row: &Row, now: Now) -> Result<bool, EvalError> {
        Ok(self.0.truth(row, now)? == Some(true))
    }
}

impl Op {
    /// A column or constant where it lies.
    fn peek<'a>(&'a self, row: &'a Row) -> Option<&'a Datum> {
        match self {
            Self::Column(index) => Some(row.column(*index)),
            Self::Const(value) => Some(value),
            Self::And(..)
            | Self::Arith { .. }
            | Self::Call { .. }
            | Self::Case { .. }
            | Self::Cast { .. }
            | Self::Coalesce(_)
            | Self::Compare(..)
            | Self::Field(..)
            | Self::Is { .. }
            | Self::Negate { .. }
            | Self::Not(_)
            | Self::Or(..)
            | Self::Shift { .. } => None,
        }
    }

    fn with<T>(
        &self,
        row: &Row,
        now: Now,
        then: impl FnOnce(&Datum) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        match self.peek(row) {
            Some(value) => then(value),
            None => then(&self.eval(row, now)?),
        }
    }

    fn eval(&self, row: &Row, now: Now) -> Result<Datum, EvalError> {
        match self {
            Self::Column(index) => Ok(row.column(*index).clone()),
            Self::Const(value) => Ok(value.clone()),
            Self::And(..) | Self::Compare(..) | Self::Is { .. } | Self::Not(_) | Self::Or(..) => {
                Ok(self.truth(row, now)?.map_or(Datum::Null, Datum::Bool))
            }
            Self::Arith { op, kind, left: (a, s1), right: (b, s2) } => {
                a.with(row, now, |a| b.with(row, now, |b| arithmetic(*op, kind, (a, *s1), (b, *s2))))
            }
            Self::Call { call, args } => eval_call(call, args, row, now),
            Self::Case { whens, otherwise } => {
                for (condition, result) in whens {
                    if condition.truth(row, now)? == Some(true) {
                        return result.eval(row, now);
                    }
                }
                otherwise.eval(row, now)
            }
            Self::Cast { of, from, to, or_null } => {
                // TRY_CAST catches what the cast does, not what its operand does.
                of.with(row, now, |value| match cast::cast(value, from, to) {
                    Err(_) if *or_null => Ok(Datum::Null),
                    other => other,
                })
            }
            Self::Coalesce(args) => {
                for arg in args {
                    let value = arg.eval(row, now)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Self::Field(of, index) => of.with(row, now, |of| match of {
                Datum::Row(fields) => Ok(fields.get(*index).cloned().unwrap_or(Datum::Null)),
                _ => Ok(Datum::Null),
            }),
            Self::Negate { of, kind } => Ok(match of.eval(row, now)? {
                Datum::Int(n) => Datum::Int(cast::wrap(n.wrapping_neg(), kind)),
                Datum::Double(x) => Datum::Double(-x),
                Datum::Float(x) => Datum::Float(-x),
                Datum::Decimal(n) => Datum::decimal(-i128::from(n)),
                _ => Datum::Null,
            }),
            Self::Shift { of, by, months } => {
                of.with(row, now, |of| by.with(row, now, |by| shift(of, by, *months)))
            }
        }
    }

    /// SQL's three values: `None` is unknown.
    fn truth(&self, row: &Row, now: Now) -> Result<Option<bool>, EvalError> {
        match self {
            Self::And(a, b) => Ok(match a.truth(row, now)? {
                Some(false) => Some(false),
                a => match b.truth(row, now)? {
                    Some(false) => Some(false),
                    b => a.zip(b).map(|_| true),
                },
            }),
            Self::Or(a, b) => Ok(match a.truth(row, now)? {
                Some(true) => Some(true),
                a => match b.truth(row, now)? {
                    Some(true) => Some(true),
                    b => a.zip(b).map(|_| false),
                },
            }),
            Self::Not(e) => Ok(e.truth(row, now)?.map(|b| !b)),
            Self::Is { test: Test::Null, negated, of } => {
                of.with(row, now, |value| Ok(Some(value.is_null() != *negated)))
            }
            Self::Is { test, negated, of } => {
                Ok(Some((of.truth(row, now)? == Some(*test == Test::True)) != *negated))
            }
            Self::Compare(op, a, b) => a.with(row, now, |a| b.with(row, now, |b| Ok(compare(*op, a, b)))),
            Self::Arith { .. }
            | Self::Call { .. }
            | Self::Case { .. }
            | Self::Cast { .. }
            | Self::Coalesce(_)
            | Self::Column(_)
            | Self::Const(_)
            | Self::Field(..)
            | Self::Negate { .. }
            | Self::Shift { .. } => self.with(row, now, |value| match value {
                Datum::Bool(b) => Ok(Some(*b)),
                _ => Ok(None),
            }),
        }
    }
}

fn eval_call(call: &Call, args: &[Op], row: &Row, now: Now) -> Result<Datum, EvalError> {
    let mut values = Args::new();
    for arg in args {
        let value = arg.eval(row, now)?;
        if value.is_null() && call.null_in_null_out {
            return Ok(Datum::Null);
        }
        values.push(value);
    }
    (call.run)(&values, now)
}

fn compare(op: Comparison, a: &Datum, b: &Datum) -> Option<bool> {
    if op == Comparison::NotDistinct {
        return Some(a.same(b));
    }
    if a.is_null() || b.is_null() {
        return None;
    }
    // What has no order (arrays, NaN) still is or is not equal.
    let order = a.compare(b);
    let equal = order.map_or_else(|| a.same(b), |o| o == Ordering::Equal);
    Some(match op {
        Comparison::Equal | Comparison::NotDistinct => equal,
        Comparison::NotEqual => !equal,
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn arithmetic(
    op: Arith,
    kind: &Type,
    (a, s1): (&Datum, u8),
    (b, s2): (&Datum, u8),
) -> Result<Datum, EvalError> {
    Ok(match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Datum::Int(cast::wrap(whole(op, *a, *b)?, kind)),
        (Datum::Double(a), Datum::Double(b)) => Datum::Double(match op {
            Arith::Add => a + b,
            Arith::Divide => a / b,
            Arith::Multiply => a * b,
            Arith::Remainder => a % b,
            Arith::Subtract => a - b,
        }),
        (Datum::Float(a), Datum::Float(b)) => Datum::Float(match op {
            Arith::Add => a + b,
            Arith::Divide => a / b,
            Arith::Multiply => a * b,
            Arith::Remainder => a % b,
            Arith::Subtract => a - b,
        }),
        (Datum::Decimal(a), Datum::Decimal(b)) => {
            let (precision, scale) = kind.as_decimal().unwrap_or((38, 0));
            let (a, b) = ((i128::from(*a), s1), (i128::from(*b), s2));
            if b.0 == 0 && matches!(op, Arith::Divide | Arith::Remainder) {
                return Err(EvalError("Division by zero".to_owned()));
            }
            let result = match op {
                Arith::Add => decimal::add(a, b, precision, scale),
                Arith::Divide => decimal::divide(a, b, precision, scale),
                Arith::Multiply => decimal::multiply(a, b, precision, scale),
                Arith::Remainder => decimal::remainder(a, b, precision, scale),
                Arith::Subtract => decimal::add(a, (-b.0, b.1), precision, scale),
            };
            result.map_or(Datum::Null, Datum::decimal)
        }
        _ => Datum::Null,
    })
}

fn whole(op: Arith, a: i64, b: i64) -> Result<i64, EvalError> {
    if b == 0 && matches!(op, Arith::Divide | Arith::Remainder) {
        // Java's words.
        return Err(EvalError("/ by zero".to_owned()));
    }
    Ok(match op {
        Arith::Add => a.wrapping_add(b),
        Arith::Divide => a.wrapping_div(b),
        Arith::Multiply => a.wrapping_mul(b),
        Arith::Remainder => a.wrapping_rem(b),
        Arith::Subtract => a.wrapping_sub(b),
    })
}

fn shift(of: &Datum, by: &Datum, months: bool) -> Result<Datum, EvalError> {
    let Datum::Int(by) = by else { return Ok(Datum::Null) };
    Ok(match of {
        Datum::Timestamp(at) if months => Datum::Timestamp(super::calendar_shift(*at, *by)),
        Datum::Timestamp(at) => Datum::Timestamp(Instant { ms: at.ms.wrapping_add(*by), nanos: at.nanos }),
        // Around midnight.
        Datum::Time(ms) => {
            let moved = i64::from(*ms).wrapping_add(*by).rem_euclid(super::calendar::DAY_MS);
            i32::try_from(moved).map_or(Datum::Null, Datum::Time)
        }
        Datum::Date(days) => {
            let at = Instant::from_ms(i64::from(*days) * super::calendar::DAY_MS);
            let moved = if months { super::calendar_shift(at, *by).ms } else { at.ms.wrapping_add(*by) };
            i32::try_from(moved.div_euclid(super::calendar::DAY_MS)).map_or(Datum::Null, Datum::Date)
        }
        _ => Datum::Null,
    })
}
