//! What a filter compares, and how, with Jayway's conversions: a number equals the text of its digits, what is missing
//! equals nothing, and what makes no sense (a size of a text that is no number) lets nothing pass.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operator is for some kinds of values, and all others are one case"
)]

use std::cmp::Ordering;

use super::{
    Json, exact,
    find::{self, Mode, Stop},
    function::Function,
    path::{self, Step},
};
use crate::stream::expr::builtins::pattern::Pattern;

/// A path within a filter.
#[derive(Debug, Clone)]
pub(super) struct SubPath {
    /// `$` instead of `@`.
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Path(SubPath),
    Value(Value),
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Array(Vec<Json>),
    Bool(bool),
    Null,
    Number(String),
    Object(Json),
    Pattern(Pattern),
    Text(String),
    /// A path led nowhere.
    Undefined,
}

/// An operator by its name in capitals. `ALL`, `TYPE` and `MATCHES` let nothing pass that a path can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    AnyOf,
    Contains,
    Empty,
    Equal,
    Greater,
    GreaterOrEqual,
    In,
    Less,
    LessOrEqual,
    Never,
    NoneOf,
    NotEqual,
    NotIn,
    /// `!==`
    NotSame,
    Regex,
    /// `===`: equal, and of one type.
    Same,
    Size,
    SubsetOf,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::NotEqual),
    ("!==", Operator::NotSame),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    ("==", Operator::Equal),
    ("===", Operator::Same),
    ("=~", Operator::Regex),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("ALL", Operator::Never),
    ("ANYOF", Operator::AnyOf),
    ("CONTAINS", Operator::Contains),
    ("EMPTY", Operator::Empty),
    ("IN", Operator::In),
    ("MATCHES", Operator::Never),
    ("NIN", Operator::NotIn),
    ("NONEOF", Operator::NoneOf),
    ("SIZE", Operator::Size),
    ("SUBSETOF", Operator::SubsetOf),
    ("TYPE", Operator::Never),
];

impl SubPath {
    /// Reads `@.a` or `$.a` of a filter that lies in `depth` others.
    pub(super) fn read(text: &str, depth: usize) -> Result<Self, String> {
        let rest = text.get(1..).unwrap_or_default();
        Ok(Self { from_root: text.starts_with('$'), steps: path::steps(rest, depth)? })
    }

    pub(super) fn found(&self, root: &Json, item: &Json, mode: Mode) -> Result<Json, Stop> {
        let from = if self.from_root { root } else { item };
        find::found(&self.steps, root, from, mode).map(std::borrow::Cow::into_owned)
    }
}

impl Operand {
    pub(super) fn value(&self, root: &Json, item: &Json, mode: Mode) -> Result<Value, Stop> {
        // Whether something exists is asked of the whole path, not of the filters in it.
        let mode = if mode == Mode::Exists { Mode::Strict } else { mode };
        match self {
            Self::Path(path) => match path.found(root, item, mode) {
                Ok(Json::Array(_)) if matches!(path.steps.last(), Some(Step::Call(Function::Keys))) => {
                    Err(Stop::Failed("keys() in a filter are no value".to_owned()))
                }
                Ok(json) => Ok(Value::of(json)),
                Err(Stop::Missing(_)) => Ok(Value::Undefined),
                Err(stop) => Err(stop),
            },
            Self::Value(value) => Ok(value.clone()),
        }
    }
}

impl Value {
    pub(super) fn of(json: Json) -> Self {
        match json {
            Json::Array(items) => Self::Array(items),
            Json::Bool(b) => Self::Bool(b),
            Json::Null => Self::Null,
            Json::Number(digits) => Self::Number(digits),
            Json::Object(_) => Self::Object(json),
            Json::Text(text) => Self::Text(text),
        }
    }

    /// What `self.equals(other)` is in Jayway: the left side says how.
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b) | Self::Text(b)) => {
                exact::is_number(b) && exact::compare(a, b).is_eq()
            }
            (Self::Text(a), Self::Number(b) | Self::Text(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_text() == b.to_text())
            }
            (Self::Object(a), Self::Object(b)) => a.to_text() == b.to_text(),
            _ => false,
        }
    }

    fn is_in(&self, items: &[Json]) -> bool {
        items.iter().any(|item| self.equals(&Self::of(item.clone())))
    }

    /// The order of two numbers or two texts.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(exact::compare(a, b)),
            (Self::Text(a), Self::Text(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
            _ => None,
        }
    }

    /// As a pattern sees it.
    fn text(&self) -> &str {
        match self {
            Self::Number(text) | Self::Text(text) => text,
            Self::Bool(b) => {
                if *b {
                    "true"
                } else {
                    "false"
                }
            }
            Self::Array(_) | Self::Null | Self::Object(_) | Self::Pattern(_) | Self::Undefined => "",
        }
    }

    /// The items of a list; of another value that is JSON none.
    fn items(&self) -> Result<Option<&[Json]>, Stop> {
        match self {
            Self::Array(items) => Ok(Some(items)),
            Self::Object(_) => Ok(None),
            Self::Bool(_)
            | Self::Null
            | Self::Number(_)
            | Self::Pattern(_)
            | Self::Text(_)
            | Self::Undefined => Err(Stop::Absurd("Expected value list node".to_owned())),
        }
    }
}

impl Operator {
    pub(super) fn of(word: &str) -> Option<Self> {
        OPERATORS.iter().find(|(name, _)| *name == word).map(|(_, operator)| *operator)
    }

    pub(super) fn holds(self, left: &Value, right: &Value) -> Result<bool, Stop> {
        let order = || left.compare(right);
        let same = || std::mem::discriminant(left) == std::mem::discriminant(right) && left.equals(right);
        Ok(match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Same => same(),
            Self::NotSame => !same(),
            Self::Greater => order().is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Self::Less => order().is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::In => is_in(left, right)?,
            Self::NotIn => !is_in(left, right)?,
            Self::Contains => match (left, right) {
                (Value::Text(text), Value::Text(part)) => text.contains(part.as_str()),
                (Value::Array(items), right) => right.is_in(items),
                _ => false,
            },
            Self::Empty => empty(left, right)?,
            Self::Size => {
                let Value::Number(size) = right else { return Ok(false) };
                let found = match left {
                    Value::Array(items) => Some(items.len()),
                    Value::Text(text) => Some(text.encode_utf16().count()),
                    _ => None,
                };
                found.is_some_and(|found| exact::compare(&found.to_string(), size).is_eq())
            }
            Self::AnyOf | Self::NoneOf | Self::SubsetOf => {
                let (Some(right), Some(left)) = (right.items()?, left.items()?) else { return Ok(false) };
                let mut within = left.iter().map(|item| Value::of(item.clone()).is_in(right));
                match self {
                    Self::SubsetOf => within.all(|found| found),
                    Self::NoneOf => !within.any(|found| found),
                    _ => within.any(|found| found),
                }
            }
            Self::Regex => matches(left, right),
            Self::Never => false,
        })
    }
}

fn is_in(left: &Value, right: &Value) -> Result<bool, Stop> {
    Ok(right.items()?.is_some_and(|items| left.is_in(items)))
}

fn empty(left: &Value, right: &Value) -> Result<bool, Stop> {
    let found = match left {
        Value::Text(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => return Err(Stop::Failed("EMPTY is asked of an object".to_owned())),
        _ => return Ok(false),
    };
    match right {
        Value::Bool(wanted) => Ok(found == *wanted),
        _ => Err(Stop::Absurd("Expected boolean node".to_owned())),
    }
}

/// One side must be a pattern. Of a list any item will do.
fn matches(left: &Value, right: &Value) -> bool {
    let (pattern, value) = match (left, right) {
        (Value::Pattern(_), Value::Pattern(_)) => return false,
        (Value::Pattern(pattern), value) | (value, Value::Pattern(pattern)) => (pattern, value),
        _ => return false,
    };
    match value {
        Value::Array(items) => items.iter().any(|item| pattern.is_match(Value::of(item.clone()).text())),
        value => pattern.is_match(value.text()),
    }
}
