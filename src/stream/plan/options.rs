//! The options of a WITH clause, taken one by one; what nobody takes is refused in Flink's words.

use std::collections::BTreeSet;

use crate::stream::sql::{Pos, SqlError, ast::OptionDef};

/// Options not yet taken, and all that could have been.
pub struct Options<'a> {
    connector: &'a str,
    at: Pos,
    rest: Vec<&'a OptionDef>,
    supported: BTreeSet<String>,
}

impl<'a> Options<'a> {
    #[must_use]
    pub fn new(connector: &'a str, at: Pos, options: &'a [OptionDef]) -> Self {
        let supported = BTreeSet::from(["connector".to_owned()]);
        let rest = options.iter().filter(|o| o.key != "connector").collect();
        Self { connector, at, rest, supported }
    }

    #[must_use]
    pub fn at(&self) -> Pos {
        self.at
    }

    /// The option of that key.
    pub fn take(&mut self, key: &str) -> Option<&'a OptionDef> {
        self.supported.insert(key.to_owned());
        let index = self.rest.iter().position(|o| o.key == key)?;
        Some(self.rest.remove(index))
    }

    pub fn text(&mut self, key: &str) -> Option<&'a str> {
        self.take(key).map(|o| o.value.as_str())
    }

    /// A value of one of these.
    pub fn choice<T: Copy>(&mut self, key: &str, default: T, choices: &[(&str, T)]) -> Result<T, SqlError> {
        let Some(option) = self.take(key) else { return Ok(default) };
        match choices.iter().find(|(name, _)| *name == option.value) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(invalid(option, &format!("expected one of: {}", names.join(", "))))
            }
        }
    }

    pub fn truth(&mut self, key: &str, default: bool) -> Result<bool, SqlError> {
        self.choice(key, default, &[("true", true), ("false", false)])
    }

    pub fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, SqlError> {
        let Some(option) = self.take(key) else { return Ok(None) };
        option.value.trim().parse().map(Some).map_err(|_| invalid(option, "expected a number"))
    }

    /// Options of Flink's that would change what the job does, and that we do not have.
    pub fn refuse_if(&mut self, is_known: impl Fn(&str) -> bool) -> Result<(), SqlError> {
        match self.rest.iter().find(|o| is_known(&o.key)) {
            Some(option) => Err(SqlError::not_yet(option.at, format!("the option '{}'", option.key))),
            None => Ok(()),
        }
    }

    /// Takes options that only say how a client reaches a broker, which a job inside the broker need not know.
    pub fn skip_if(&mut self, is_skipped: impl Fn(&str) -> bool) {
        self.rest.retain(|o| !is_skipped(&o.key));
    }

    /// What is left is unknown.
    pub fn end(self) -> Result<(), SqlError> {
        let Some(first) = self.rest.first() else { return Ok(()) };
        let mut unknown: Vec<&str> = self.rest.iter().map(|o| o.key.as_str()).collect();
        unknown.sort_unstable();
        let supported: Vec<&str> = self.supported.iter().map(String::as_str).collect();
        Err(SqlError::invalid(
            first.at,
            format!(
                "Unsupported options found for '{}'.\n\nUnsupported options:\n\n{}\n\nSupported options:\n\n{}",
                self.connector,
                unknown.join("\n"),
                supported.join("\n")
            ),
        ))
    }

    /// An option that must be there.
    pub fn required(&mut self, key: &str) -> Result<&'a OptionDef, SqlError> {
        let at = self.at;
        self.take(key).ok_or_else(|| missing(at, key))
    }
}

pub(super) fn missing(at: Pos, key: &str) -> SqlError {
    let text = "One or more required options are missing.\n\nMissing required options are:\n\n";
    SqlError::invalid(at, format!("{text}{key}"))
}

pub(super) fn invalid(option: &OptionDef, why: &str) -> SqlError {
    SqlError::invalid(
        option.value_at,
        format!("Invalid value for option '{}': '{}'; {why}", option.key, option.value),
    )
}

/// `10 s`, `1 min`, `500 ms`.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "min" | "m" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}
