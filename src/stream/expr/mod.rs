//! Typed expressions: what the analysis makes of SQL, and what is compiled and run.
//!
//! [`Expr`] is a tree with a type at every node, used for plans, ids and EXPLAIN; [`compile`] makes it executable.
//! Semantics are Flink's: NULL propagates, logic has three values, whole numbers wrap and divide to whole numbers.

pub mod builtins;
pub mod calendar;
pub mod cast;
pub mod compile;
pub mod decimal;
pub mod json;
pub mod text;

use std::fmt;

use super::{
    datum::Datum,
    plan::types::{DataType, Type},
};
use builtins::Builtin;

/// Why a row could not be computed. It fails the job, as on Flink, or sends the record to the dead letter topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

/// What an expression sees besides the row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Domain time.
    pub ms: i64,
    /// The watermark of the operator that asks, if there has been one.
    pub watermark_ms: Option<i64>,
}

/// A typed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub node: Node,
    pub data_type: DataType,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    And(Box<Expr>, Box<Expr>),
    Arith(Arith, Box<Expr>, Box<Expr>),
    Call(&'static Builtin, Vec<Expr>),
    Case {
        whens: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
    },
    Cast {
        expr: Box<Expr>,
        or_null: bool,
    },
    Coalesce(Vec<Expr>),
    Column {
        index: usize,
        name: String,
    },
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// A field of a ROW.
    Field {
        of: Box<Expr>,
        index: usize,
        name: String,
    },
    Is {
        test: Test,
        negated: bool,
        expr: Box<Expr>,
    },
    Literal(Datum),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// TIMESTAMP or DATE plus an INTERVAL.
    Shift(Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arith {
    Add,
    Divide,
    Multiply,
    Remainder,
    Subtract,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    NotEqual,
    /// NULL equals NULL.
    NotDistinct,
}

/// What `IS` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    False,
    Null,
    True,
}

impl Expr {
    #[must_use]
    pub fn new(node: Node, data_type: DataType) -> Self {
        Self { node, data_type }
    }

    #[must_use]
    pub fn column(index: usize, name: &str, data_type: DataType) -> Self {
        Self::new(Node::Column { index, name: name.to_owned() }, data_type)
    }

    #[must_use]
    pub fn literal(value: Datum, kind: Type) -> Self {
        let nullable = value.is_null();
        Self::new(Node::Literal(value), DataType { kind, nullable })
    }

    #[must_use]
    pub fn is_null_literal(&self) -> bool {
        if let Node::Cast { expr, .. } = &self.node {
            return expr.is_null_literal();
        }
        self.node == Node::Literal(Datum::Null)
    }

    /// Whether it has the same value for every row.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        let varies = matches!(&self.node, Node::Column { .. })
            || matches!(&self.node, Node::Call(builtin, args) if !builtin.is_fixed(args));
        let mut constant = !varies;
        self.children(&mut |child| constant &= child.is_constant());
        constant
    }

    /// This expression as another type; unchanged when it has it.
    #[must_use]
    pub fn cast_to(self, kind: &Type) -> Self {
        if self.data_type.kind == *kind {
            return self;
        }
        let nullable = self.data_type.nullable;
        let data_type = DataType { kind: kind.clone(), nullable };
        if self.node == Node::Literal(Datum::Null) {
            return Self { data_type, ..self };
        }
        if let Some(folded) = self.folded_single(kind) {
            return folded;
        }
        Self::new(Node::Cast { expr: Box::new(self), or_null: false }, data_type)
    }

    /// A constant FLOAT as a DOUBLE: Flink takes the decimal digits of the one for the other.
    #[must_use]
    pub fn folded_single(&self, to: &Type) -> Option<Self> {
        if self.data_type.kind != Type::Float || *to != Type::Double || !self.is_constant() {
            return None;
        }
        let Datum::Float(x) = compile::constant(self)? else { return None };
        Some(Self::literal(Datum::Double(text::java_single(x).parse().ok()?), Type::Double))
    }

    /// Calls `visit` with every column this reads.
    pub fn columns(&self, visit: &mut impl FnMut(usize)) {
        if let Node::Column { index, .. } = self.node {
            visit(index);
        }
        self.children(&mut |child| child.columns(visit));
    }

    /// How many nodes the tree has.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut size = 1;
        self.children(&mut |child| size += child.size());
        size
    }

    /// How many nodes [`Expr::over`] would make, for expressions of these sizes.
    #[must_use]
    pub fn size_over(&self, sizes: &[usize]) -> usize {
        if let Node::Column { index, .. } = self.node {
            return sizes.get(index).copied().unwrap_or(1);
        }
        let mut size = 1usize;
        self.children(&mut |child| size = size.saturating_add(child.size_over(sizes)));
        size
    }

    /// This expression over the input of a projection, with the projection's expressions put in for its columns.
    #[must_use]
    pub fn over(&self, projection: &[Self]) -> Self {
        if let Node::Column { index, .. } = &self.node {
            return projection.get(*index).cloned().unwrap_or_else(|| self.clone());
        }
        self.with_children(&mut |child| child.over(projection))
    }

    /// The same expression of other parts.
    #[must_use]
    pub fn with_children(&self, part: &mut dyn FnMut(&Self) -> Self) -> Self {
        let node = match &self.node {
            Node::Column { .. } | Node::Literal(_) => self.node.clone(),
            Node::And(a, b) => Node::And(Box::new(part(a)), Box::new(part(b))),
            Node::Arith(op, a, b) => Node::Arith(*op, Box::new(part(a)), Box::new(part(b))),
            Node::Call(builtin, args) => Node::Call(builtin, args.iter().map(part).collect()),
            Node::Case { whens, otherwise } => Node::Case {
                whens: whens.iter().map(|(condition, result)| (part(condition), part(result))).collect(),
                otherwise: Box::new(part(otherwise)),
            },
            Node::Cast { expr, or_null } => Node::Cast { expr: Box::new(part(expr)), or_null: *or_null },
            Node::Coalesce(args) => Node::Coalesce(args.iter().map(part).collect()),
            Node::Compare(op, a, b) => Node::Compare(*op, Box::new(part(a)), Box::new(part(b))),
            Node::Field { of, index, name } => {
                Node::Field { of: Box::new(part(of)), index: *index, name: name.clone() }
            }
            Node::Is { test, negated, expr } => {
                Node::Is { test: *test, negated: *negated, expr: Box::new(part(expr)) }
            }
            Node::Negate(e) => Node::Negate(Box::new(part(e))),
            Node::Not(e) => Node::Not(Box::new(part(e))),
            Node::Or(a, b) => Node::Or(Box::new(part(a)), Box::new(part(b))),
            Node::Shift(a, b) => Node::Shift(Box::new(part(a)), Box::new(part(b))),
        };
        Self::new(node, self.data_type.clone())
    }

    /// Calls `visit` with what this is made of.
    pub fn each_child(&self, visit: &mut dyn FnMut(&Self)) {
        self.children(visit);
    }

    fn children(&self, visit: &mut dyn FnMut(&Self)) {
        match &self.node {
            Node::Column { .. } | Node::Literal(_) => {}
            Node::And(a, b)
            | Node::Arith(_, a, b)
            | Node::Compare(_, a, b)
            | Node::Or(a, b)
            | Node::Shift(a, b) => {
                visit(a);
                visit(b);
            }
            Node::Call(_, args) | Node::Coalesce(args) => args.iter().for_each(visit),
            Node::Case { whens, otherwise } => {
                for (condition, result) in whens {
                    visit(condition);
                    visit(result);
                }
                visit(otherwise);
            }
            Node::Cast { expr, .. }
            | Node::Field { of: expr, .. }
            | Node::Is { expr, .. }
            | Node::Negate(expr)
            | Node::Not(expr) => visit(expr),
        }
    }
}

impl Arith {
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Divide => "/",
            Self::Multiply => "*",
            Self::Remainder => "%",
            Self::Subtract => "-",
        }
    }
}

impl Comparison {
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::NotEqual => "<>",
            Self::NotDistinct => "IS NOT DISTINCT FROM",
        }
    }
}

impl fmt::Display for Expr {
    /// Close to Flink's EXPLAIN, and whole: the ids of operators are made from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::And(a, b) => write!(f, "AND({a}, {b})"),
            Node::Arith(op, a, b) => write!(f, "({a} {} {b})", op.sign()),
            Node::Call(builtin, args) => write!(f, "{}({})", builtin.name, List(args)),
            Node::Case { whens, otherwise } => {
                f.write_str("CASE(")?;
                for (condition, result) in whens {
                    write!(f, "{condition}, {result}, ")?;
                }
                write!(f, "{otherwise})")
            }
            Node::Cast { expr, or_null } => {
                write!(f, "{}({expr} AS {})", if *or_null { "TRY_CAST" } else { "CAST" }, self.data_type.kind)
            }
            Node::Coalesce(args) => write!(f, "COALESCE({})", List(args)),
            Node::Column { name, .. } => f.write_str(name),
            Node::Compare(op, a, b) => write!(f, "({a} {} {b})", op.sign()),
            Node::Field { of, name, .. } => write!(f, "{of}.{name}"),
            Node::Is { test, negated, expr } => {
                let test = match test {
                    Test::False => "FALSE",
                    Test::Null => "NULL",
                    Test::True => "TRUE",
                };
                write!(f, "{expr} IS {}{test}", if *negated { "NOT " } else { "" })
            }
            Node::Literal(value) if self.data_type.kind.is_string() && !value.is_null() => {
                write!(f, "'{}'", text::display(value, &self.data_type.kind).replace('\'', "''"))
            }
            Node::Literal(value) => {
                write!(f, "{}:{}", text::display(value, &self.data_type.kind), self.data_type.kind)
            }
            Node::Negate(e) => write!(f, "-({e})"),
            Node::Not(e) => write!(f, "NOT({e})"),
            Node::Or(a, b) => write!(f, "OR({a}, {b})"),
            Node::Shift(a, b) => write!(f, "({a} + {b})"),
        }
    }
}

/// A point in time some months later, on the last day of a month that is too short.
pub(crate) fn calendar_shift(at: super::datum::Instant, months: i64) -> super::datum::Instant {
    let mut civil = calendar::Civil::of(at);
    let month = i64::from(civil.year) * 12 + i64::from(civil.month) - 1 + months;
    civil.year = i32::try_from(month.div_euclid(12)).unwrap_or(i32::MAX);
    civil.month = u32::try_from(month.rem_euclid(12)).unwrap_or_default() + 1;
    while !calendar::is_date(civil.year, civil.month, civil.day) && civil.day > 28 {
        civil.day -= 1;
    }
    civil.instant()
}

struct List<'a>(&'a [Expr]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
