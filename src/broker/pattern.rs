//! Regular expressions as RabbitMQ's users write them, over names: permissions and policies.
//!
//! RabbitMQ hands them to PCRE, so they may look around (`^(?!amq\.).*` is the commonest policy there is), and they
//! match anywhere in a name unless they are anchored. The pattern that matches everything is not worth an engine.

use fancy_regex::{Regex, RegexBuilder};

/// A pattern, with its text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Everything,
    Nothing,
    Regex(Box<Regex>),
}

/// Why a text is no pattern: PCRE's words where we know them, and where in the text it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{{\"{reason}\",{at}}}")]
pub struct BadPattern {
    pub reason: String,
    pub at: usize,
}

impl Pattern {
    /// # Errors
    /// When the text is not a regular expression.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let engine = match text {
            ".*" | "^.*" | "^.*$" | ".*$" => Engine::Everything,
            _ => {
                let built = RegexBuilder::new(text).backtrack_limit(BACKTRACKS_MAX).build();
                Engine::Regex(Box::new(built.map_err(|error| bad(text, &error))?))
            }
        };
        Ok(Self { text: text.to_owned(), engine })
    }

    /// A pattern of permissions: there an empty text matches only an empty name, which nothing has.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn of_permission(text: &str) -> Result<Self, BadPattern> {
        match text {
            "" | "^$" => Ok(Self { text: text.to_owned(), engine: Engine::Nothing }),
            _ => Self::new(text),
        }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in that name. One that would take for ever is not.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.engine {
            Engine::Everything => true,
            Engine::Nothing => name.is_empty(),
            Engine::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn bad(text: &str, error: &fancy_regex::Error) -> BadPattern {
    // A quantifier with nothing before it is what people write who mean a glob (`*`): clients test for PCRE's words.
    if let Some(first) = text.chars().next()
        && matches!(first, '*' | '+' | '?')
    {
        return BadPattern { reason: "nothing to repeat".to_owned(), at: 0 };
    }
    let at = if let fancy_regex::Error::ParseError(at, _) = error { *at } else { 0 };
    let reason = error.to_string().replace(['\n', '"'], " ");
    BadPattern { reason, at }
}

/// Beyond it a match is given up: a pattern must not hold up whoever publishes.
const BACKTRACKS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} on {name}");
    }

    #[test]
    fn patterns_match_anywhere_and_may_look_around() {
        check(".*", "", true);
        check("a", "banana", true);
        check("^a", "banana", false);
        check("^(?!amq\\.).*", "amq.gen-1", false);
        check("^(?!amq\\.).*", "mine", true);
        check("^(a+)+$", &format!("{}b", "a".repeat(64)), false);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_in_pcres_words() {
        let error = Pattern::new("*").unwrap_err();
        assert_eq!(error.to_string(), "{\"nothing to repeat\",0}");
        assert!(Pattern::new("(").is_err());
    }

    #[test]
    fn an_empty_permission_gives_nothing() {
        let nothing = Pattern::of_permission("").unwrap();
        assert!(!nothing.matches("q") && nothing.matches(""));
        assert!(Pattern::new("").unwrap().matches("q"));
    }
}
