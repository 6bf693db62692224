//! Our extensions: `-- @warren key=value …` on a line of its own before a statement.
//!
//! They sit in comments so that the same file runs on Flink. An unknown key, a key given twice and a comment that
//! belongs to no statement are errors: a typing mistake must not be silence.

use super::{Pos, SqlError};

/// What a statement asks for beyond Flink SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Where late rows go. Only of use to jobs with windows.
    pub late_topic: Option<(String, Pos)>,
    /// Where records go that cannot be read or computed, instead of failing the job.
    pub dlq: Option<(String, Pos)>,
    /// The producer's answer waits until the job has committed the epoch that consumed its record.
    pub sync: Option<(bool, Pos)>,
}

/// One `@warren` comment, not yet given to a statement.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) at: Pos,
    pub(super) text: String,
}

const KEYS: &str = "dlq, late-topic, sync";

impl Hints {
    /// Whether nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Where the first of them stands.
    #[must_use]
    pub fn first_at(&self) -> Option<Pos> {
        let at = [
            self.late_topic.as_ref().map(|(_, at)| *at),
            self.dlq.as_ref().map(|(_, at)| *at),
            self.sync.as_ref().map(|(_, at)| *at),
        ];
        at.into_iter().flatten().min()
    }

    /// Reads `key=value` words into this statement's hints.
    pub(super) fn read(&mut self, comment: &Comment) -> Result<(), SqlError> {
        let mut rest = comment.text.as_str();
        let mut column = comment.at.column;
        while let Some(skipped) = rest.find(|c: char| !c.is_whitespace()) {
            let (blank, from_word) = rest.split_at(skipped);
            let end = from_word.find(char::is_whitespace).unwrap_or(from_word.len());
            let (word, after) = from_word.split_at(end);
            column += blank.chars().count() as u64;
            self.set(word, Pos { line: comment.at.line, column })?;
            column += word.chars().count() as u64;
            rest = after;
        }
        Ok(())
    }

    fn set(&mut self, word: &str, at: Pos) -> Result<(), SqlError> {
        let Some((key, value)) = word.split_once('=').filter(|(_, value)| !value.is_empty()) else {
            return Err(SqlError::syntax(at, format!("@warren: expected key=value, found '{word}'")));
        };
        let before = match key {
            "late-topic" => self.late_topic.replace((value.to_owned(), at)).is_some(),
            "dlq" => self.dlq.replace((value.to_owned(), at)).is_some(),
            "sync" => self.sync.replace((truth(value, at)?, at)).is_some(),
            _ => {
                return Err(SqlError::invalid(
                    at,
                    format!("@warren: unknown key '{key}'; known keys: {KEYS}"),
                ));
            }
        };
        if before {
            return Err(SqlError::invalid(at, format!("@warren: '{key}' is given twice")));
        }
        Ok(())
    }
}

fn truth(value: &str, at: Pos) -> Result<bool, SqlError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(SqlError::invalid(at, format!("@warren: sync must be true or false, not '{value}'"))),
    }
}
