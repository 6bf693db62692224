//! Functions at the end of a JSON path: `$.a.length()`.

use std::fmt;

use super::Json;
use crate::stream::expr::text::java_double;

/// What is made of what a path finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Average,
    Deviation,
    /// `first()`, `last()`, `index(n)`; a negative one counts from the end.
    Element(i64),
    Keys,
    Length,
    Maximum,
    Minimum,
    Sum,
}

impl Function {
    /// The function of a name and what stands in its parentheses.
    pub(super) fn of(name: &str, argument: &str) -> Result<Self, String> {
        let argument = argument.trim();
        if name == "index" {
            let index = argument.parse().map_err(|_| format!("'{argument}' is no index"))?;
            return Ok(Self::Element(index));
        }
        let function = match name {
            "avg" => Self::Average,
            "first" => Self::Element(0),
            "keys" => Self::Keys,
            "last" => Self::Element(-1),
            "length" | "size" => Self::Length,
            "max" => Self::Maximum,
            "min" => Self::Minimum,
            "stddev" => Self::Deviation,
            "sum" => Self::Sum,
            "append" | "concat" => {
                return Err(format!("the function {name}(): valid Flink, not supported here yet,"));
            }
            _ => return Err(format!("'{name}' is no function")),
        };
        if argument.is_empty() {
            return Ok(function);
        }
        Err(format!("an argument of {name}(): valid Flink, not supported here yet,"))
    }

    /// Its value; a null for what has no length or no names, an error for what has no numbers or elements.
    pub(super) fn of_value(self, value: &Json) -> Result<Json, String> {
        match (self, value) {
            (Self::Length, Json::Array(items)) => Ok(Json::Number(items.len().to_string())),
            (Self::Length, Json::Object(_)) => Ok(Json::Number(value.members().len().to_string())),
            (Self::Keys, Json::Object(_)) => {
                let names = value.members().into_iter().map(|(name, _)| Json::Text(name.clone()));
                Ok(Json::Array(names.collect()))
            }
            (Self::Keys | Self::Length, _) => Ok(Json::Null),
            (Self::Element(index), Json::Array(items)) if !items.is_empty() => {
                let at = if index < 0 { items.len() as i64 + index } else { index };
                let item = usize::try_from(at).ok().and_then(|at| items.get(at));
                item.cloned()
                    .ok_or_else(|| format!("No results for path: {self} of {} elements", items.len()))
            }
            (
                Self::Average | Self::Deviation | Self::Maximum | Self::Minimum | Self::Sum,
                Json::Array(items),
            ) => {
                let number =
                    |item: &Json| if let Json::Number(digits) = item { digits.parse().ok() } else { None };
                let numbers: Vec<f64> = items.iter().filter_map(number).collect();
                self.of_numbers(&numbers)
            }
            _ => Err(EMPTY.to_owned()),
        }
    }

    fn of_numbers(self, numbers: &[f64]) -> Result<Json, String> {
        if numbers.is_empty() {
            return Err(EMPTY.to_owned());
        }
        let (count, sum) = (numbers.len() as f64, numbers.iter().sum::<f64>());
        let value = match self {
            Self::Average => sum / count,
            Self::Deviation => {
                let squares: f64 = numbers.iter().map(|x| x * x).sum();
                (squares / count - sum * sum / count / count).sqrt()
            }
            Self::Maximum => numbers.iter().copied().fold(f64::MIN, f64::max),
            Self::Minimum => numbers.iter().copied().fold(f64::MAX, f64::min),
            Self::Sum => sum,
            Self::Element(_) | Self::Keys | Self::Length => return Err(EMPTY.to_owned()),
        };
        Ok(Json::Number(java_double(value)))
    }
}

/// Jayway's words.
const EMPTY: &str = "Aggregation function attempted to calculate value using empty array";

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Average => "avg()",
            Self::Deviation => "stddev()",
            Self::Element(0) => "first()",
            Self::Element(-1) => "last()",
            Self::Element(_) => "index(...)",
            Self::Keys => "keys()",
            Self::Length => "length()",
            Self::Maximum => "max()",
            Self::Minimum => "min()",
            Self::Sum => "sum()",
        })
    }
}
