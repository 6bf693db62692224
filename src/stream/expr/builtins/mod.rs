//! Flink's scalar functions: one table per family, and this is how they are found and typed.
//!
//! A function that is not in a table is refused with its place. Lazy forms (CASE, COALESCE, IF) are not here: they
//! are nodes of the expression tree.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

pub mod array;
pub mod charset;
pub mod conditional;
pub mod date_pattern;
pub mod hash;
pub mod json;
pub mod map;
pub mod number;
pub mod pattern;
pub mod printf;
pub mod random;
pub mod regexp;
pub mod string;
pub mod temporal;
pub mod unit;
pub mod url;
pub mod zone;

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
    Array,
    Bool,
    Bytes,
    /// Any two arguments of this kind are brought to their common type.
    Common,
    /// The same for arrays.
    CommonArray,
    /// The same for maps.
    CommonMap,
    /// A number, made a DOUBLE.
    Double,
    /// What the array that is the first argument holds.
    Element,
    /// TINYINT to BIGINT.
    Int,
    Interval,
    Map,
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
    /// From the first argument only.
    First,
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
    pub prepare: Prepare,
}

/// Makes a call, given its arguments and the type it returns.
type Prepare = fn(&[Expr], &DataType) -> Result<Call, EvalError>;

/// A row of a family's table.
const fn row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    returns: Ret,
    nulls: Nulls,
    prepare: Prepare,
) -> Builtin {
    Builtin { name, accepts, repeats: false, returns, nulls, prepare }
}

/// As [`row`], of a function whose type does not depend on its arguments.
const fn typed_row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    returns: Type_,
    nulls: Nulls,
    prepare: Prepare,
) -> Builtin {
    row(name, accepts, Ret::Is(returns), nulls, prepare)
}

/// As [`row`], of a function that is NULL where an argument is.
const fn strict_row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    returns: Ret,
    prepare: Prepare,
) -> Builtin {
    row(name, accepts, returns, Nulls::Args, prepare)
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

const FAMILIES: &[&[Builtin]] = &[
    string::TABLE,
    regexp::TABLE,
    number::TABLE,
    conditional::TABLE,
    hash::TABLE,
    temporal::TABLE,
    unit::TABLE,
    zone::TABLE,
    array::TABLE,
    map::TABLE,
    json::TABLE,
    charset::TABLE,
    url::TABLE,
    printf::TABLE,
    random::TABLE,
];

/// Functions whose value is another for every row, though their arguments are constants.
const UNFIXED: &[&str] = &[
    "CURRENT_DATE",
    "CURRENT_ROW_TIMESTAMP",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_WATERMARK",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "PROCTIME",
    "RAND",
    "RAND_INTEGER",
    "UUID",
];

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
    "ASSIGNMENT",
    "CLASSIFIER",
    "CUME_DIST",
    "DENSE_RANK",
    "GROUPING",
    "GROUPING_ID",
    "GROUP_ID",
    "HASH_CODE",
    "LAG",
    "LEAD",
    "MATCH_PROCTIME",
    "MATCH_ROWTIME",
    "ML_EVALUATE",
    "ML_PREDICT",
    "NTILE",
    "OBJECT_OF",
    "OBJECT_UPDATE",
    "PARSE_JSON",
    "PERCENTILE",
    "PERCENT_RANK",
    "RANK",
    "ROWTIME",
    "ROW_NUMBER",
    "SOURCE_WATERMARK",
    "STREAMRECORD_TIMESTAMP",
    "SUM0",
    "TRY_PARSE_JSON",
    "VECTOR_SEARCH",
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
    /// Whether a call with these arguments gives the same value as long as they are the same.
    #[must_use]
    pub fn is_fixed(&self, args: &[Expr]) -> bool {
        let clock = self.name == "UNIX_TIMESTAMP" && args.is_empty();
        !clock && !UNFIXED.contains(&self.name)
    }

    /// A call with its arguments cast to what the function takes; `None` if it does not take them.
    #[must_use]
    pub fn call(&'static self, args: Vec<Expr>) -> Option<Expr> {
        let kinds = self.kinds_for(&args)?;
        let common = common_of(&args, &kinds)?;
        let nulls_in = args.iter().any(|a| a.data_type.nullable);
        let element = args.first().and_then(|a| a.data_type.kind.item()).map(|item| item.kind.clone());
        let args: Vec<Expr> = args
            .into_iter()
            .zip(&kinds)
            .map(|(arg, kind)| coerce(arg, *kind, common.as_ref(), element.as_ref()))
            .collect::<Option<_>>()?;
        let kind = match self.returns {
            Ret::First => args.first()?.data_type.kind.clone(),
            Ret::Of(derive) => derive(&args),
            Ret::Is(kind) => kind.into(),
        };
        let nullable = match self.nulls {
            Nulls::Args => nulls_in,
            Nulls::Always => true,
            Nulls::First => args.first().is_some_and(|a| a.data_type.nullable),
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
    let shared = |kind: Arg| matches!(kind, Arg::Common | Arg::CommonArray | Arg::CommonMap);
    for (arg, _) in args.iter().zip(kinds).filter(|(_, kind)| shared(**kind)) {
        common = Some(match common {
            None => arg.data_type.clone(),
            Some(before) => crate::stream::plan::types::least_restrictive(&before, &arg.data_type)?,
        });
    }
    Some(common.map(|c| c.kind))
}

fn coerce(arg: Expr, kind: Arg, common: Option<&Type>, element: Option<&Type>) -> Option<Expr> {
    Some(match kind {
        Arg::Double => arg.cast_to(&Type::Double),
        Arg::Common | Arg::CommonArray | Arg::CommonMap => match common {
            Some(common) => arg.cast_to(common),
            None => arg,
        },
        Arg::Element => {
            let element = element?;
            if !crate::stream::plan::types::casts_implicitly(&arg.data_type.kind, element) {
                return None;
            }
            // A shorter text needs no cast; a longer one must not be cut.
            if arg.data_type.kind.is_string() { arg } else { arg.cast_to(element) }
        }
        Arg::Any
        | Arg::Array
        | Arg::Bool
        | Arg::Bytes
        | Arg::Dated
        | Arg::Int
        | Arg::Interval
        | Arg::Map
        | Arg::Number
        | Arg::Str
        | Arg::Temporal
        | Arg::Timestamp => arg,
    })
}

impl Arg {
    fn takes(self, kind: &Type) -> bool {
        if *kind == Type::Null {
            return true;
        }
        match self {
            Self::Any | Self::Common | Self::Element => true,
            Self::Array | Self::CommonArray => matches!(kind, Type::Array(_)),
            Self::Map | Self::CommonMap => matches!(kind, Type::Map(..)),
            Self::Interval => kind.is_interval(),
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
            Self::Array | Self::CommonArray => "<ARRAY>",
            Self::Map | Self::CommonMap => "<MAP>",
            Self::Element => "<ARRAY ELEMENT>",
            Self::Interval => "<INTERVAL>",
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

/// A function that is NULL where its first argument is, and looks at the other NULLs itself.
pub(super) fn first_strict(run: fn(&[Datum]) -> Datum) -> Result<Call, EvalError> {
    lenient_with(move |args, _| {
        Ok(if args.first().is_none_or(Datum::is_null) { Datum::Null } else { run(args) })
    })
}

pub(super) fn lenient_with(
    run: impl Fn(&[Datum], Now) -> Result<Datum, EvalError> + Send + Sync + 'static,
) -> Result<Call, EvalError> {
    Ok(Call { run: Box::new(run), null_in_null_out: false })
}

pub(super) fn int(args: &[Datum], index: usize) -> i64 {
    match args.get(index) {
        Some(Datum::Int(n)) => *n,
        _ => 0,
    }
}

/// The elements of the array at `index`.
pub(super) fn items(args: &[Datum], index: usize) -> &[Datum] {
    match args.get(index) {
        Some(Datum::Array(items)) => items,
        _ => &[],
    }
}

/// The entries of the map at `index`.
pub(super) fn entries(args: &[Datum], index: usize) -> &[(Datum, Datum)] {
    match args.get(index) {
        Some(Datum::Map(entries)) => entries,
        _ => &[],
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
