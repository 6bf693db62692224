//! Expressions over a row's columns, as Flink SQL writes them.

use std::{
    fmt,
    ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Rem, Sub},
    time::Duration,
};

use crate::stream::{
    plan::types::Type,
    sql::{SqlError, parser},
};

/// An expression, and the name of the column that it becomes. Types are checked when the job is planned.
///
/// `+ - * / %` and unary `-` are SQL's; `&`, `|` and `!` are `AND`, `OR` and `NOT`.
///
/// ```
/// use warrenmq::stream::dsl::{col, lit};
/// let dear = (col("price") * 2).gt(lit(100)) & !col("sold");
/// assert_eq!(dear.to_string(), "(((`price` * 2) > 100) AND (NOT `sold`))");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    /// What it is called, where it is a column of its own.
    name: Option<String>,
}

/// A column; `relation.column` on top of a join.
///
/// ```
/// # use warrenmq::stream::dsl::col;
/// assert_eq!(col("bid.price").to_string(), "`bid`.`price`");
/// ```
#[must_use]
pub fn col(name: &str) -> Expression {
    let parts: Vec<String> = name.split('.').map(quoted).collect();
    let own = name.rsplit('.').next().map(str::to_owned);
    Expression { text: parts.join("."), name: own }
}

/// A constant: numbers, texts and truth values.
///
/// ```
/// # use warrenmq::stream::dsl::lit;
/// assert_eq!(lit("it's").to_string(), "'it''s'");
/// assert_eq!(lit(0.5).to_string(), "5e-1");
/// ```
#[must_use]
pub fn lit(value: impl Into<Expression>) -> Expression {
    value.into()
}

/// A function of Flink SQL, by its name: `call("UPPER", [col("v")])`.
#[must_use]
pub fn call(function: &str, arguments: impl IntoIterator<Item = Expression>) -> Expression {
    let arguments: Vec<String> = arguments.into_iter().map(|a| a.text).collect();
    Expression::of(format!("{function}({})", arguments.join(", ")))
}

/// What has no function here, in Flink SQL's own words: `sql("CASE WHEN x > 0 THEN 1 ELSE 0 END")`.
///
/// # Errors
/// When the text is not one expression.
pub fn sql(text: &str) -> Result<Expression, SqlError> {
    parser::expr_of(text)?;
    Ok(Expression::of(format!("({text})")))
}

/// How many rows there are in a group.
#[must_use]
pub fn count() -> Expression {
    Expression::of("COUNT(*)".to_owned())
}

/// A span of time, to the millisecond. Flink takes no more than three digits of the largest unit that fits, so that
/// `1000.5` seconds are refused there.
///
/// ```
/// # use std::time::Duration;
/// # use warrenmq::stream::dsl::interval;
/// assert_eq!(interval(Duration::from_secs(7_200)).to_string(), "INTERVAL '2' HOUR");
/// assert_eq!(interval(Duration::from_secs(150)).to_string(), "INTERVAL '150' SECOND(3)");
/// assert_eq!(interval(Duration::from_millis(1_500)).to_string(), "INTERVAL '1.500' SECOND");
/// ```
#[must_use]
pub fn interval(span: Duration) -> Expression {
    let (seconds, ms) = (span.as_secs(), span.subsec_millis());
    // Two digits are what SQL allows without a precision.
    if ms > 0 {
        let precision = if seconds > 99 { "(3, 3)" } else { "" };
        return Expression::of(format!("INTERVAL '{seconds}.{ms:03}' SECOND{precision}"));
    }
    let units = [("DAY", 86_400), ("HOUR", 3_600), ("MINUTE", 60)];
    let whole = units.into_iter().find(|(_, length)| seconds > 0 && seconds.is_multiple_of(*length));
    let (unit, length) = whole.unwrap_or(("SECOND", 1));
    let count = seconds / length;
    let precision = if count > 99 { "(3)" } else { "" };
    Expression::of(format!("INTERVAL '{count}' {unit}{precision}"))
}

impl Expression {
    fn of(text: String) -> Self {
        Self { text, name: None }
    }

    fn binary(self, operator: &str, other: Self) -> Self {
        Self::of(format!("({} {operator} {})", self.text, other.text))
    }

    fn after(self, operator: &str) -> Self {
        Self::of(format!("({} {operator})", self.text))
    }

    fn aggregate(self, function: &str) -> Self {
        Self::of(format!("{function}({})", self.text))
    }

    /// Names the column that this becomes.
    #[must_use]
    pub fn alias(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// The name of the column that this becomes; `None` where it has none yet.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// As a column of SELECT.
    pub(super) fn selected(&self) -> String {
        match &self.name {
            Some(name) if self.text == quoted(name) => self.text.clone(),
            Some(name) => format!("{} AS {}", self.text, quoted(name)),
            None => self.text.clone(),
        }
    }

    #[must_use]
    pub fn eq(self, other: impl Into<Self>) -> Self {
        self.binary("=", other.into())
    }

    #[must_use]
    pub fn not_eq(self, other: impl Into<Self>) -> Self {
        self.binary("<>", other.into())
    }

    #[must_use]
    pub fn lt(self, other: impl Into<Self>) -> Self {
        self.binary("<", other.into())
    }

    #[must_use]
    pub fn lt_eq(self, other: impl Into<Self>) -> Self {
        self.binary("<=", other.into())
    }

    #[must_use]
    pub fn gt(self, other: impl Into<Self>) -> Self {
        self.binary(">", other.into())
    }

    #[must_use]
    pub fn gt_eq(self, other: impl Into<Self>) -> Self {
        self.binary(">=", other.into())
    }

    /// Both bounds included.
    #[must_use]
    pub fn between(self, low: impl Into<Self>, high: impl Into<Self>) -> Self {
        Self::of(format!("({} BETWEEN {} AND {})", self.text, low.into().text, high.into().text))
    }

    #[must_use]
    pub fn is_null(self) -> Self {
        self.after("IS NULL")
    }

    #[must_use]
    pub fn is_not_null(self) -> Self {
        self.after("IS NOT NULL")
    }

    /// Texts behind each other.
    #[must_use]
    pub fn concat(self, other: impl Into<Self>) -> Self {
        self.binary("||", other.into())
    }

    #[must_use]
    pub fn cast(self, to: Type) -> Self {
        Self::of(format!("CAST({} AS {to})", self.text))
    }

    /// How many rows of a group have it.
    #[must_use]
    pub fn count(self) -> Self {
        self.aggregate("COUNT")
    }

    /// How many different values of it a group has.
    #[must_use]
    pub fn count_distinct(self) -> Self {
        Self::of(format!("COUNT(DISTINCT {})", self.text))
    }

    #[must_use]
    pub fn sum(self) -> Self {
        self.aggregate("SUM")
    }

    #[must_use]
    pub fn min(self) -> Self {
        self.aggregate("MIN")
    }

    #[must_use]
    pub fn max(self) -> Self {
        self.aggregate("MAX")
    }

    #[must_use]
    pub fn avg(self) -> Self {
        self.aggregate("AVG")
    }

    /// An aggregate over those rows alone for which the condition holds.
    #[must_use]
    pub fn only(self, condition: impl Into<Self>) -> Self {
        Self::of(format!("{} FILTER (WHERE {})", self.text, condition.into().text))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A name as SQL quotes it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as SQL quotes it.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

impl From<&str> for Expression {
    fn from(value: &str) -> Self {
        Self::of(text(value))
    }
}

impl From<i32> for Expression {
    fn from(value: i32) -> Self {
        i64::from(value).into()
    }
}

impl From<i64> for Expression {
    fn from(value: i64) -> Self {
        Self::of(if value < 0 { format!("({value})") } else { value.to_string() })
    }
}

impl From<bool> for Expression {
    fn from(value: bool) -> Self {
        Self::of(if value { "TRUE" } else { "FALSE" }.to_owned())
    }
}

impl From<f64> for Expression {
    /// With an exponent it is a DOUBLE, without one a DECIMAL.
    fn from(value: f64) -> Self {
        Self::of(match value {
            _ if value.is_nan() => "CAST('NaN' AS DOUBLE)".to_owned(),
            f64::INFINITY => "CAST('Infinity' AS DOUBLE)".to_owned(),
            f64::NEG_INFINITY => "CAST('-Infinity' AS DOUBLE)".to_owned(),
            _ if value.is_sign_negative() => format!("({value:e})"),
            _ => format!("{value:e}"),
        })
    }
}

macro_rules! operators {
    ($($operation:ident $method:ident $sign:literal;)+) => {$(
        impl<T: Into<Expression>> $operation<T> for Expression {
            type Output = Self;

            fn $method(self, other: T) -> Self {
                self.binary($sign, other.into())
            }
        }
    )+};
}

operators! {
    Add add "+";
    Sub sub "-";
    Mul mul "*";
    Div div "/";
    Rem rem "%";
    BitAnd bitand "AND";
    BitOr bitor "OR";
}

impl Not for Expression {
    type Output = Self;

    fn not(self) -> Self {
        Self::of(format!("(NOT {})", self.text))
    }
}

impl Neg for Expression {
    type Output = Self;

    fn neg(self) -> Self {
        Self::of(format!("(- {})", self.text))
    }
}
