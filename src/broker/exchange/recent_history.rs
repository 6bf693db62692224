//! `x-recent-history`: a fanout whose last messages are given to whoever is bound next (RabbitMQ's plugin of that name;
//! `x-recent-history-length`, 20 by default; a message with the header `x-recent-history-no-store` true is not kept).
//!
//! Here is what the arguments ask for; `history.rs` keeps the messages.

use super::{Binding, Envelope, Keeps, Route, Target, fanout::Fanout};
use crate::{
    broker::refusal::Refusal,
    data::{
        term,
        value::{Table, Value},
    },
};

/// The plugin's own.
const LENGTH_DEFAULT: usize = 20;

#[derive(Debug)]
struct RecentHistory {
    fanout: Fanout,
    length: usize,
}

/// A recent history exchange without bindings.
///
/// # Errors
/// When the length is no positive whole number.
pub fn open(arguments: &Table) -> Result<Box<dyn Route>, Refusal> {
    let length = match arguments.field("x-recent-history-length") {
        None => LENGTH_DEFAULT,
        Some(value) => match value.integer().and_then(|n| usize::try_from(n).ok()) {
            None | Some(0) => {
                let value = term::value_term(value);
                return Err(Refusal::Binding(format!(
                    "Invalid argument {value}, 'x-recent-history-length' must be a positive integer"
                )));
            }
            Some(length) => length,
        },
    };
    Ok(Box::new(RecentHistory { fanout: Fanout::default(), length }))
}

/// Whether a message with these headers is kept.
#[must_use]
pub fn is_kept(headers: Option<&Table>) -> bool {
    headers.and_then(|headers| headers.field("x-recent-history-no-store")) != Some(&Value::Bool(true))
}

impl Route for RecentHistory {
    fn bind(&mut self, binding: &Binding) {
        self.fanout.bind(binding);
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        self.fanout.unbind(binding, last);
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        self.fanout.route(envelope, targets);
    }

    /// Every message must be seen.
    fn by_key(&self) -> bool {
        false
    }

    fn keeps(&self) -> Keeps {
        Keeps::History(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_a_positive_whole_number() {
        let open =
            |value| open(&Table(vec![("x-recent-history-length".to_owned(), value)])).map(|r| r.keeps());
        let text = |value: &str| {
            let text =
                format!("Invalid argument {value}, 'x-recent-history-length' must be a positive integer");
            Err(Refusal::Binding(text))
        };
        assert_eq!(open(Value::I32(5)), Ok(Keeps::History(5)));
        assert_eq!(open(Value::U8(1)), Ok(Keeps::History(1)));
        assert_eq!(open(Value::I32(0)), text("0"));
        assert_eq!(open(Value::I32(-1)), text("-1"));
        assert_eq!(open(Value::LongStr("x".into())), text("<<\"x\">>"));
    }
}
