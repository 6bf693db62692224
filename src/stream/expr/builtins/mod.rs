//! Flink's scalar functions: one table per family, and this is how they are found and typed.
//!
//! A function that is not in a table is refused with its place. Lazy forms (CASE, COALESCE, IF) are not here: they
//! are nodes of the expression tree.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

pub mod conditional;
pub mod hash;
pub mod number;
pub mod regexp;
pub mod string;
pub mod temporal;

use std::fmt;

use smallvec::SmallVec;

use super::{EvalError, Expr, Node, Now};
use crate::stream::{
    datum::Datum,
    plan::types::{DataType, Type},
};

/// Arguments of one call.
pub type Args = SmallVec<[Datum; 4]>;

type Run = Box<dyn Fn(&[Datum], Now) -> Result<Datum, EvalError> + Send + Sync>;

/// A function with what its arguments fixed beforehand (patterns, formats) worked out.
pub struct Call {
    pub run: Run,
    /// NULL in any argument makes the result NULL without a call.
    pub null_in_null_out: bool,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    Any,
    Bool,
    Bytes,
    /// Any two arguments of this kind are brought to their common type.
    Common,
    /// A number, made a DOUBLE.
    Double,
    /// TINYINT to BIGINT.
    Int,
    /// Any number, as it is.
    Number,
    Str,
    /// TIMESTAMP or TIMESTAMP_LTZ.
    Timestamp,
    /// DATE, TIMESTAMP or TIMESTAMP_LTZ.
    Dated,
    /// DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ.
    Temporal,
}

/// The type of the result; its nullability follows [`Nulls`].
#[derive(Debug, Clone, Copy)]
pub enum Ret {
    /// The first argument's.
    First,
    /// As the function says for its arguments.
    Of(fn(&[Expr]) -> Type),
    Is(Type_),
}

/// Types a table can name as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type_ {
    BigInt,
    Boolean,
    Bytes,
    Date,
    Double,
    Int,
    String,
    Timestamp3,
    TimestampLtz3,
}

/// Where NULLs of the result come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// From the arguments only.
    Args,
    /// From anything.
    Always,
    Never,
}

/// One function.
pub struct Builtin {
    pub name: &'static str,
    /// The lists of arguments it takes.
    pub accepts: &'static [&'static [Arg]],
    /// The last argument may come any number of times.
    pub repeats: bool,
    pub returns: Ret,
    pub nulls: Nulls,
    pub prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Builtin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const FAMILIES: &[&[Builtin]] =
    &[string::TABLE, regexp::TABLE, number::TABLE, conditional::TABLE, hash::TABLE, temporal::TABLE];

/// Other names of the same function.
const ALIASES: &[(&str, &str)] = &[
    ("CEILING", "CEIL"),
    ("CHARACTER_LENGTH", "CHAR_LENGTH"),
    ("SUBSTR", "SUBSTRING"),
    ("POW", "POWER"),
    ("LCASE", "LOWER"),
    ("UCASE", "UPPER"),
];

/// Functions of Flink that we know not to have, so that their refusal can say so.
const FLINK_ONLY: &[&str] = &[
    "APPROX_COUNT_DISTINCT",
    "ARRAY_AGG",
    "ARRAY_APPEND",
    "ARRAY_CONCAT",
    "ARRAY_CONTAINS",
    "ARRAY_DISTINCT",
    "ARRAY_JOIN",
    "ARRAY_MAX",
    "ARRAY_MIN",
    "ARRAY_POSITION",
    "ARRAY_PREPEND",
    "ARRAY_REMOVE",
    "ARRAY_REVERSE",
    "ARRAY_SLICE",
    "ARRAY_SORT",
    "ARRAY_UNION",
    "AVG",
    "CARDINALITY",
    "COLLECT",
    "CONVERT_TZ",
    "COUNT",
    "CUME_DIST",
    "DATEDIFF",
    "DECODE",
    "DENSE_RANK",
    "ELEMENT",
    "ENCODE",
    "FIRST_VALUE",
    "GROUPING",
    "JSON_ARRAY",
    "JSON_ARRAYAGG",
    "JSON_EXISTS",
    "JSON_OBJECT",
    "JSON_OBJECTAGG",
    "JSON_QUERY",
    "JSON_QUOTE",
    "JSON_STRING",
    "JSON_UNQUOTE",
    "JSON_VALUE",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LISTAGG",
    "MAP_ENTRIES",
    "MAP_FROM_ARRAYS",
    "MAP_KEYS",
    "MAP_UNION",
    "MAP_VALUES",
    "MAX",
    "MD5",
    "MIN",
    "NTILE",
    "OVERLAPS",
    "PARSE_JSON",
    "PARSE_URL",
    "PERCENTILE",
    "PERCENT_RANK",
    "PRINTF",
    "RAND",
    "RAND_INTEGER",
    "RANK",
    "REGEXP_COUNT",
    "REGEXP_EXTRACT_ALL",
    "REGEXP_INSTR",
    "REGEXP_SUBSTR",
    "ROWTIME",
    "ROW_NUMBER",
    "SOUNDEX",
    "SPLIT",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STR_TO_MAP",
    "SUM",
    "SUM0",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TRANSLATE",
    "TYPEOF",
    "TRY_PARSE_JSON",
    "UNHEX",
    "URL_DECODE",
    "URL_ENCODE",
    "UUID",
    "VAR_POP",
    "VAR_SAMP",
    "WEEK",
];

/// The function of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    let upper = name.to_ascii_uppercase();
    let real = ALIASES.iter().find(|(alias, _)| *alias == upper).map_or(upper.as_str(), |(_, real)| real);
    FAMILIES.iter().flat_map(|family| family.iter()).find(|b| b.name == real)
}

/// Whether Flink has a function of that name and we do not.
#[must_use]
pub fn flink_has(name: &str) -> bool {
    FLINK_ONLY.contains(&name.to_ascii_uppercase().as_str())
}

impl Builtin {
    /// A call with its arguments cast to what the function takes; `None` if it does not take them.
    #[must_use]
    pub fn call(&'static self, args: Vec<Expr>) -> Option<Expr> {
        let kinds = self.kinds_for(&args)?;
        let common = common_of(&args, &kinds)?;
        let nulls_in = args.iter().any(|a| a.data_type.nullable);
        let args: Vec<Expr> =
            args.into_iter().zip(&kinds).map(|(arg, kind)| coerce(arg, *kind, common.as_ref())).collect();
        let kind = match self.returns {
            Ret::First => args.first()?.data_type.kind.clone(),
            Ret::Of(derive) => derive(&args),
            Ret::Is(kind) => kind.into(),
        };
        let nullable = match self.nulls {
            Nulls::Args => nulls_in,
            Nulls::Always => true,
            Nulls::Never => false,
        };
        Some(Expr::new(Node::Call(self, args), DataType { kind, nullable }))
    }

    fn kinds_for(&self, args: &[Expr]) -> Option<Vec<Arg>> {
        self.accepts.iter().find_map(|list| {
            let mut kinds = list.to_vec();
            if self.repeats && args.len() > kinds.len() {
                kinds.resize(args.len(), *list.last()?);
            }
            let fits =
                kinds.len() == args.len() && args.iter().zip(&kinds).all(|(a, k)| k.takes(&a.data_type.kind));
            fits.then_some(kinds)
        })
    }

    /// The lists of arguments, for an error's text.
    #[must_use]
    pub fn usage(&self) -> String {
        let list = |args: &[Arg]| {
            let args: Vec<&str> = args.iter().map(|a| a.name()).collect();
            format!("{}({}{})", self.name, args.join(", "), if self.repeats { "…" } else { "" })
        };
        self.accepts.iter().map(|args| list(args)).collect::<Vec<_>>().join(" or ")
    }
}

fn common_of(args: &[Expr], kinds: &[Arg]) -> Option<Option<Type>> {
    let mut common: Option<DataType> = None;
    for (arg, _) in args.iter().zip(kinds).filter(|(_, kind)| **kind == Arg::Common) {
        common = Some(match common {
            None => arg.data_type.clone(),
            Some(before) => crate::stream::plan::types::least_restrictive(&before, &arg.data_type)?,
        });
    }
    Some(common.map(|c| c.kind))
}

fn coerce(arg: Expr, kind: Arg, common: Option<&Type>) -> Expr {
    match kind {
        Arg::Double => arg.cast_to(&Type::Double),
        Arg::Common => match common {
            Some(common) => arg.cast_to(common),
            None => arg,
        },
        Arg::Any
        | Arg::Bool
        | Arg::Bytes
        | Arg::Dated
        | Arg::Int
        | Arg::Number
        | Arg::Str
        | Arg::Temporal
        | Arg::Timestamp => arg,
    }
}

impl Arg {
    fn takes(self, kind: &Type) -> bool {
        if *kind == Type::Null {
            return true;
        }
        match self {
            Self::Any | Self::Common => true,
            Self::Bool => *kind == Type::Boolean,
            Self::Bytes => kind.is_binary(),
            Self::Dated => kind.is_timestamp() || *kind == Type::Date,
            Self::Double | Self::Number => kind.is_numeric(),
            Self::Int => kind.is_integer(),
            Self::Str => kind.is_string(),
            Self::Temporal => kind.is_timestamp() || matches!(kind, Type::Date | Type::Time(_)),
            Self::Timestamp => kind.is_timestamp(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any | Self::Common => "<ANY>",
            Self::Bool => "<BOOLEAN>",
            Self::Bytes => "<BYTES>",
            Self::Dated => "<DATE or TIMESTAMP>",
            Self::Double | Self::Number => "<NUMERIC>",
            Self::Int => "<INTEGER>",
            Self::Str => "<STRING>",
            Self::Temporal => "<DATE, TIME or TIMESTAMP>",
            Self::Timestamp => "<TIMESTAMP>",
        }
    }
}

impl From<Type_> for Type {
    fn from(kind: Type_) -> Self {
        match kind {
            Type_::BigInt => Self::BigInt,
            Type_::Boolean => Self::Boolean,
            Type_::Bytes => Self::BYTES,
            Type_::Date => Self::Date,
            Type_::Double => Self::Double,
            Type_::Int => Self::Int,
            Type_::String => Self::STRING,
            Type_::Timestamp3 => Self::Timestamp(3),
            Type_::TimestampLtz3 => Self::TimestampLtz(3),
        }
    }
}

/// A function of arguments that are not NULL.
pub(super) fn strict(run: fn(&[Datum]) -> Datum) -> Result<Call, EvalError> {
    Ok(Call { run: Box::new(move |args, _| Ok(run(args))), null_in_null_out: true })
}

/// The same, for what has something worked out beforehand, or can fail.
pub(super) fn strict_with(
    run: impl Fn(&[Datum], Now) -> Result<Datum, EvalError> + Send + Sync + 'static,
) -> Result<Call, EvalError> {
    Ok(Call { run: Box::new(run), null_in_null_out: true })
}

/// A function that looks at NULLs itself.
pub(super) fn lenient(run: fn(&[Datum]) -> Datum) -> Result<Call, EvalError> {
    Ok(Call { run: Box::new(move |args, _| Ok(run(args))), null_in_null_out: false })
}

/// The text at `index`; empty where it is something else, which the types have excluded.
pub(super) fn text(args: &[Datum], index: usize) -> &str {
    match args.get(index) {
        Some(Datum::Str(text)) => text,
        _ => "",
    }
}

pub(super) fn int(args: &[Datum], index: usize) -> i64 {
    match args.get(index) {
        Some(Datum::Int(n)) => *n,
        _ => 0,
    }
}

pub(super) fn double(args: &[Datum], index: usize) -> f64 {
    match args.get(index) {
        Some(Datum::Double(x)) => *x,
        _ => f64::NAN,
    }
}

/// The text of an argument that is a literal.
pub(super) fn literal_text(args: &[Expr], index: usize) -> Option<&str> {
    match &args.get(index)?.node {
        Node::Literal(Datum::Str(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
pub(super) fn check(sql: &str, expected: &str) {
    let got = crate::stream::plan::evaluate(sql);
    assert_eq!(got, expected, "{sql}");
}
