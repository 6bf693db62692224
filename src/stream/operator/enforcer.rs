//! What a table asks of the rows that are written to it: NULL in a NOT NULL column fails, or the row is left out
//! (`table.exec.sink.not-null-enforcer`); texts and bytes of another length than declared fail, or are cut and filled up
//! (`table.exec.sink.type-length-enforcer`; unset they stay as they are). Whoever sees a table's rows first enforces it: its
//! sink, or what makes them rows by its key.

use crate::stream::{
    datum::{Datum, Row},
    expr::{EvalError, cast::cast},
    plan::{
        physical::{Enforced, TypeLengths},
        types::Type,
    },
};

pub(super) struct Enforcer(Enforced);

impl Enforcer {
    pub(super) fn open(plan: &Enforced) -> Self {
        Self(plan.clone())
    }

    /// Makes the row fit. Whether it is to be written.
    ///
    /// # Errors
    /// When it must not be there at all, in Flink's words.
    pub(super) fn admits(&self, row: &mut Row) -> Result<bool, EvalError> {
        let null = self.0.not_null.iter().find(|(index, _)| row.column(*index).is_null());
        if let Some((_, name)) = null {
            if self.0.drops {
                return Ok(false);
            }
            return Err(EvalError(format!(
                "Column '{name}' is NOT NULL, however, a null value is being written into it. You can set job \
                 configuration 'table.exec.sink.not-null-enforcer'='DROP' to suppress this exception and drop \
                 such records silently."
            )));
        }
        for (index, name, declared) in &self.0.lengths {
            let Some(value) = row.columns.get_mut(*index) else { continue };
            let Some(length) = unfit(value, declared) else { continue };
            match self.0.how {
                TypeLengths::Error => {
                    return Err(EvalError(format!(
                        "Column '{name}' is {declared}, however, a string of length {length} is being written into \
                         it. You can set job configuration 'table.exec.sink.type-length-enforcer' to control this \
                         behaviour."
                    )));
                }
                TypeLengths::TrimPad => *value = cast(value, declared, declared)?,
                TypeLengths::Ignore => {}
            }
        }
        Ok(true)
    }
}

/// How long a value is that is not as long as declared: in characters, or in bytes.
fn unfit(value: &Datum, declared: &Type) -> Option<usize> {
    let (length, wanted, exactly) = match (value, declared) {
        // Each character has a byte or more.
        (Datum::Str(s), Type::Varchar(n)) if s.len() <= *n as usize => return None,
        (Datum::Str(s), Type::Varchar(n)) => (s.chars().count(), *n, false),
        (Datum::Str(s), Type::Char(n)) => (s.chars().count(), *n, true),
        (Datum::Bytes(b), Type::Varbinary(n)) => (b.len(), *n, false),
        (Datum::Bytes(b), Type::Binary(n)) => (b.len(), *n, true),
        _ => return None,
    };
    let wanted = wanted as usize;
    (length > wanted || exactly && length < wanted).then_some(length)
}
