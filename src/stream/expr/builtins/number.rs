//! Number functions. (Flink: ScalarOperatorGens, SqlFunctionUtils)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{Arg, Builtin, Call, Expr, Ret, Type_, double, int, strict, strict_row, strict_with};
use crate::stream::{
    datum::Datum,
    expr::{EvalError, Node, cast, decimal, text::java_double},
    plan::types::{DECIMAL_PRECISION_MAX, DataType, Type},
};

/// A function of one double.
macro_rules! real {
    ($name:literal, $f:expr) => {
        strict_row($name, &[&[Arg::Double]], Ret::Is(Type_::Double), |_, _| {
            strict(|a| {
                let f: fn(f64) -> f64 = $f;
                Datum::Double(f(double(a, 0)))
            })
        })
    };
}

use Arg::{Double, Int, Number};

pub(super) const TABLE: &[Builtin] = &[
    strict_row("ABS", &[&[Number]], Ret::First, |_, of| abs(of)),
    strict_row("SIGN", &[&[Number]], Ret::First, |_, of| sign(of)),
    strict_row("FLOOR", &[&[Number]], Ret::Of(whole_type), |args, of| to_whole(args, of, true)),
    strict_row("CEIL", &[&[Number]], Ret::Of(whole_type), |args, of| to_whole(args, of, false)),
    strict_row("ROUND", &[&[Number], &[Number, Int]], Ret::Of(round_type), |args, of| round(args, of, true)),
    strict_row("TRUNCATE", &[&[Number], &[Number, Int]], Ret::Of(round_type), |args, of| {
        round(args, of, false)
    }),
    real!("SQRT", f64::sqrt),
    real!("EXP", f64::exp),
    real!("LN", f64::ln),
    real!("LOG10", f64::log10),
    real!("LOG2", |x| x.ln() / std::f64::consts::LN_2),
    real!("SIN", f64::sin),
    real!("COS", f64::cos),
    real!("TAN", f64::tan),
    real!("ASIN", f64::asin),
    real!("ACOS", f64::acos),
    real!("ATAN", f64::atan),
    real!("COT", |x| 1.0 / x.tan()),
    real!("SINH", sinh),
    real!("COSH", cosh),
    real!("TANH", tanh),
    real!("DEGREES", f64::to_degrees),
    real!("RADIANS", f64::to_radians),
    strict_row("LOG", &[&[Double], &[Double, Double]], Ret::Is(Type_::Double), |_, _| {
        strict(|a| {
            Datum::Double(if a.len() == 1 {
                double(a, 0).ln()
            } else {
                double(a, 1).ln() / double(a, 0).ln()
            })
        })
    }),
    strict_row("POWER", &[&[Double, Double]], Ret::Is(Type_::Double), |_, _| {
        strict(|a| Datum::Double(double(a, 0).powf(double(a, 1))))
    }),
    strict_row("ATAN2", &[&[Double, Double]], Ret::Is(Type_::Double), |_, _| {
        strict(|a| Datum::Double(double(a, 0).atan2(double(a, 1))))
    }),
    strict_row("PI", &[&[]], Ret::Is(Type_::Double), |_, _| strict(|_| Datum::Double(std::f64::consts::PI))),
    strict_row("E", &[&[]], Ret::Is(Type_::Double), |_, _| strict(|_| Datum::Double(std::f64::consts::E))),
    strict_row("BIN", &[&[Int]], Ret::Is(Type_::String), |_, _| {
        strict(|a| Datum::str(format!("{:b}", int(a, 0))))
    }),
    strict_row("HEX", &[&[Int], &[Arg::Str]], Ret::Is(Type_::String), |_, _| strict(hex)),
];

/// As fdlibm computes it, which Java's StrictMath is: the last digit differs from that of other libraries.
fn sinh(x: f64) -> f64 {
    let (half, a) = (0.5f64.copysign(x), x.abs());
    if a < 22.0 {
        if a < 2f64.powi(-28) {
            return x;
        }
        let t = a.exp_m1();
        return if a < 1.0 { half * (2.0 * t - t * t / (t + 1.0)) } else { half * (t + t / (t + 1.0)) };
    }
    x.sinh()
}

fn cosh(x: f64) -> f64 {
    let a = x.abs();
    if a < 0.5 * std::f64::consts::LN_2 {
        let t = a.exp_m1();
        return 1.0 + t * t / (2.0 * (1.0 + t));
    }
    if a < 22.0 {
        let t = strict_exp(a);
        return 0.5 * t + 0.5 / t;
    }
    x.cosh()
}

/// fdlibm's exponential, of a number between 0.35 and 22: it is not always the nearest double.
fn strict_exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238e-8,
    ];
    let k = if x < 1.5 * std::f64::consts::LN_2 { 1.0 } else { (x / std::f64::consts::LN_2 + 0.5).trunc() };
    let (high, low) = (x - k * LN2_HIGH, k * LN2_LOW);
    let x = high - low;
    let t = x * x;
    let c = x - t * P.iter().rev().fold(0.0, |sum, p| p + t * sum);
    let y = 1.0 - ((low - x * c / (2.0 - c)) - high);
    y * 2f64.powi(k as i32)
}

fn tanh(x: f64) -> f64 {
    let a = x.abs();
    let z = if a >= 22.0 {
        1.0
    } else if a >= 1.0 {
        1.0 - 2.0 / ((2.0 * a).exp_m1() + 2.0)
    } else if a >= 2f64.powi(-55) {
        let t = (-2.0 * a).exp_m1();
        -t / (t + 2.0)
    } else {
        return x;
    };
    z.copysign(x)
}

fn hex(args: &[Datum]) -> Datum {
    match args.first() {
        Some(Datum::Int(n)) => Datum::str(format!("{n:X}")),
        Some(Datum::Str(s)) => Datum::str(s.bytes().map(|b| format!("{b:02X}")).collect::<String>()),
        _ => Datum::Null,
    }
}

fn abs(of: &DataType) -> Result<Call, EvalError> {
    let kind = of.kind.clone();
    strict_with(move |args, _| {
        Ok(match args.first() {
            Some(Datum::Int(n)) => Datum::Int(cast::wrap(n.wrapping_abs(), &kind)),
            Some(Datum::Double(x)) => Datum::Double(x.abs()),
            Some(Datum::Float(x)) => Datum::Float(x.abs()),
            Some(Datum::Decimal(n)) => Datum::decimal(i128::from(*n).abs()),
            _ => Datum::Null,
        })
    })
}

fn sign(of: &DataType) -> Result<Call, EvalError> {
    let scale = of.kind.as_decimal().map_or(0, |(_, scale)| scale);
    strict_with(move |args, _| {
        Ok(match args.first() {
            Some(Datum::Int(n)) => Datum::Int(n.signum()),
            // Java's Math.signum keeps zeros and NaN.
            Some(Datum::Double(x)) => Datum::Double(if *x == 0.0 || x.is_nan() { *x } else { x.signum() }),
            Some(Datum::Float(x)) => Datum::Float(if *x == 0.0 || x.is_nan() { *x } else { x.signum() }),
            Some(Datum::Decimal(n)) => {
                decimal::fits(i128::from(*n).signum() * decimal::pow10(scale), DECIMAL_PRECISION_MAX)
                    .map_or(Datum::Null, Datum::decimal)
            }
            _ => Datum::Null,
        })
    })
}

fn whole_type(args: &[Expr]) -> Type {
    match args.first().map(|a| &a.data_type.kind) {
        Some(Type::Decimal { precision, .. }) => Type::Decimal { precision: *precision, scale: 0 },
        Some(kind) => kind.clone(),
        None => Type::Null,
    }
}

fn to_whole(args: &[Expr], of: &DataType, down: bool) -> Result<Call, EvalError> {
    let scale = args.first().and_then(|a| a.data_type.kind.as_decimal()).map_or(0, |(_, scale)| scale);
    let precision = of.kind.as_decimal().map_or(DECIMAL_PRECISION_MAX, |(precision, _)| precision);
    strict_with(move |args, _| {
        Ok(match args.first() {
            Some(Datum::Int(n)) => Datum::Int(*n),
            Some(Datum::Double(x)) => Datum::Double(if down { x.floor() } else { x.ceil() }),
            Some(Datum::Float(x)) => Datum::Float(if down { x.floor() } else { x.ceil() }),
            Some(Datum::Decimal(n)) => {
                let (n, unit) = (i128::from(*n), decimal::pow10(scale));
                let floor = n.div_euclid(unit);
                let whole = if down || n.rem_euclid(unit) == 0 { floor } else { floor + 1 };
                decimal::fits(whole, precision).map_or(Datum::Null, Datum::decimal)
            }
            _ => Datum::Null,
        })
    })
}

/// Digits to keep, where they are a literal.
fn digits(args: &[Expr]) -> Option<i64> {
    match args.get(1).map(|a| &a.node) {
        None => Some(0),
        Some(Node::Literal(Datum::Int(n))) => Some(*n),
        Some(Node::Negate(inner)) => match &inner.node {
            Node::Literal(Datum::Int(n)) => Some(-n),
            _ => None,
        },
        Some(_) => None,
    }
}

/// LogicalTypeMerging.findRoundDecimalType.
fn round_type(args: &[Expr]) -> Type {
    let Some(first) = args.first() else { return Type::Null };
    let Type::Decimal { precision, scale } = first.data_type.kind else {
        return first.data_type.kind.clone();
    };
    let Some(keep) = digits(args) else { return first.data_type.kind.clone() };
    if keep >= i64::from(scale) {
        return first.data_type.kind.clone();
    }
    let keep = u8::try_from(keep.max(0)).unwrap_or(scale);
    Type::Decimal { precision: (1 + precision - scale + keep).min(DECIMAL_PRECISION_MAX), scale: keep }
}

fn round(args: &[Expr], of: &DataType, half_up: bool) -> Result<Call, EvalError> {
    let from = args.first().and_then(|a| a.data_type.kind.as_decimal()).map_or(0, |(_, scale)| scale);
    let of = of.kind.clone();
    strict_with(move |args, _| {
        let keep = args.get(1).map_or(0, |_| int(args, 1)).clamp(-400, 400);
        Ok(match args.first() {
            Some(Datum::Int(n)) => Datum::Int(cast::wrap(
                i64::try_from(round_at((*n).into(), 0, keep, half_up)).unwrap_or(i64::MAX),
                &of,
            )),
            // As BigDecimal.valueOf(double) rounds: by its shortest digits.
            Some(Datum::Double(x)) => Datum::Double(round_text(*x, keep, half_up)),
            // By way of the double it is, digits and all.
            Some(Datum::Float(x)) => Datum::Float(round_text(f64::from(*x), keep, half_up) as f32),
            Some(Datum::Decimal(n)) => {
                let rounded = round_at((*n).into(), from, keep, half_up);
                let (precision, scale) = of.as_decimal().unwrap_or((DECIMAL_PRECISION_MAX, 0));
                decimal::rescale(rounded, from, scale, precision).map_or(Datum::Null, Datum::decimal)
            }
            _ => Datum::Null,
        })
    })
}

/// The number rounded to `keep` digits behind the point, still at its scale.
fn round_at(n: i128, scale: u8, keep: i64, half_up: bool) -> i128 {
    let Ok(dropped) = u32::try_from(i64::from(scale) - keep) else { return n };
    let Some(unit) = (dropped > 0).then(|| 10i128.checked_pow(dropped)) else { return n };
    let Some(unit) = unit else { return 0 };
    let rest = n % unit;
    let up = half_up && rest.unsigned_abs() >= unit.unsigned_abs() - rest.unsigned_abs();
    n - rest + if up { unit * n.signum() } else { 0 }
}

fn round_text(x: f64, keep: i64, half_up: bool) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let text = java_double(x);
    let exact = u8::try_from(keep.max(0)).unwrap_or(u8::MAX).saturating_add(2).min(36);
    // What has more digits than a DECIMAL holds is not touched by rounding at this place.
    let scale = if keep >= 0 { exact } else { 2 };
    match decimal::parse(&text, DECIMAL_PRECISION_MAX, DECIMAL_PRECISION_MAX.min(30)).flatten() {
        Some(n) => decimal::to_f64(round_at(n, 30, keep, half_up), 30),
        None => match decimal::parse(&text, DECIMAL_PRECISION_MAX, scale).flatten() {
            Some(n) => decimal::to_f64(round_at(n, scale, keep, half_up), scale),
            None => x,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn numbers_are_flinks() {
        let rows = [
            ("1 + 1", "2"),
            ("5 / 2", "2"),
            ("-5 / 2", "-2"),
            ("5 % -3", "2"),
            ("-5 % 3", "-2"),
            ("MOD(7, 3)", "1"),
            ("2147483647 + 1", "-2147483648"),
            ("2147483648 + 1", "2147483649"),
            ("1.5 + 1", "2.5"),
            ("1.50 * 2.0", "3.000"),
            ("CAST(1 AS DECIMAL(5,2)) / CAST(3 AS DECIMAL(5,2))", "0.33333333"),
            ("1E0 / 0", "Infinity"),
            ("CAST(1 AS FLOAT) / 3", "0.33333334"),
            ("1E0 + 1", "2.0"),
            ("- 3", "-3"),
            ("1 + CAST(NULL AS INT)", "null"),
            ("ABS(-3)", "3"),
            ("ABS(-1.5)", "1.5"),
            ("SIGN(-2)", "-1"),
            ("FLOOR(-1.5)", "-2"),
            ("CEIL(1.2)", "2"),
            ("FLOOR(1.5E0)", "1.0"),
            ("ROUND(2.555, 2)", "2.56"),
            ("ROUND(2.5E0)", "3.0"),
            ("ROUND(-2.5E0)", "-3.0"),
            ("ROUND(1.005E0, 2)", "1.01"),
            ("ROUND(125, -1)", "130"),
            ("TRUNCATE(42.345, 2)", "42.34"),
            ("POWER(2, 10)", "1024.0"),
            ("SQRT(16)", "4.0"),
            ("LOG10(100)", "2.0"),
            ("LOG(2, 8)", "3.0"),
            ("BIN(4)", "100"),
            ("HEX(20)", "14"),
            ("HEX('hello')", "68656C6C6F"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }
}
