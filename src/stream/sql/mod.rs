//! The language: a strict subset of Flink SQL, read with `sqlparser` and hooks of our own.
//!
//! Here are positions and errors; [`parser`] splits a text into statements, [`table`] reads what is Flink's own,
//! [`ast`] is what comes out. Names and types are not looked at here: that is `plan/`.
//! (Specification: Flink 2.2 SQL; extensions live in `-- @warren key=value` comments, which Flink ignores.)

pub mod alter;
pub mod ast;
pub mod dialect;
pub mod forms;
pub mod hints;
pub mod like;
pub mod names;
pub mod options_hint;
pub mod parser;
pub mod query_hints;
pub mod reserved;
pub mod show;
pub mod table;

use std::fmt;

pub use parser::parse;

/// A place in the SQL text, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Pos {
    pub line: u64,
    pub column: u64,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<sqlparser::tokenizer::Location> for Pos {
    fn from(at: sqlparser::tokenizer::Location) -> Self {
        Self { line: at.line, column: at.column }
    }
}

impl From<sqlparser::tokenizer::Span> for Pos {
    fn from(span: sqlparser::tokenizer::Span) -> Self {
        span.start.into()
    }
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// Not Flink SQL at all.
    Syntax,
    /// Flink SQL, but wrong: an unknown name, a wrong type, a bad option.
    Invalid,
    /// Right on Flink, and not here.
    NotYet,
}

/// Why a SQL text cannot become jobs. The whole text is refused: nothing has been started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct SqlError {
    pub at: Pos,
    pub kind: SqlErrorKind,
    pub message: String,
}

impl SqlError {
    pub fn syntax(at: impl Into<Pos>, message: impl Into<String>) -> Self {
        Self { at: at.into(), kind: SqlErrorKind::Syntax, message: message.into() }
    }

    pub fn invalid(at: impl Into<Pos>, message: impl Into<String>) -> Self {
        Self { at: at.into(), kind: SqlErrorKind::Invalid, message: message.into() }
    }

    /// `what` names the construct, as in "GROUP BY".
    pub fn not_yet(at: impl Into<Pos>, what: impl fmt::Display) -> Self {
        let message = format!("{what}: valid Flink, not supported here yet");
        Self { at: at.into(), kind: SqlErrorKind::NotYet, message }
    }
}
