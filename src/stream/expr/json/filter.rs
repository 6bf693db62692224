//! `[?(@.a > 1 && @.b)]`: what stands in a filter's parentheses, read as Jayway's FilterCompiler reads it. What values
//! are to each other is in [`operand`](super::operand).

use super::{
    Json, exact,
    find::{Mode, Stop},
    operand::{Operand, Operator, SubPath},
    path::DEPTH_MAX,
};
use crate::stream::expr::builtins::pattern::Pattern;

#[derive(Debug, Clone)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Compare(Operand, Operator, Operand),
    /// Whether the path leads anywhere, or, behind `!`, nowhere.
    Exists(SubPath, bool),
    Not(Box<Filter>),
}

impl Filter {
    /// Whether a value passes. What makes no sense for it does not.
    pub(super) fn passes(&self, root: &Json, item: &Json, mode: Mode) -> Result<bool, Stop> {
        match self.holds(root, item, mode) {
            Err(Stop::Absurd(_) | Stop::Missing(_)) => Ok(false),
            held => held,
        }
    }

    fn holds(&self, root: &Json, item: &Json, mode: Mode) -> Result<bool, Stop> {
        match self {
            Self::All(filters) => {
                for filter in filters {
                    if !filter.holds(root, item, mode)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(filters) => {
                for filter in filters {
                    if filter.holds(root, item, mode)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Compare(left, operator, right) => {
                operator.holds(&left.value(root, item, mode)?, &right.value(root, item, mode)?)
            }
            Self::Exists(path, wanted) => match path.found(root, item, Mode::Exists) {
                Ok(_) => Ok(*wanted),
                Err(Stop::Missing(_)) => Ok(!*wanted),
                Err(stop) => Err(stop),
            },
            Self::Not(filter) => Ok(!filter.holds(root, item, mode)?),
        }
    }
}

/// Reads a filter from its parenthesis on, and the bracket behind it. It lies in `depth` others.
pub(super) fn read(text: &str, depth: usize) -> Result<(Filter, &str), String> {
    if !text.starts_with('(') {
        return Err("a filter without '('".to_owned());
    }
    let end = closing(text, Some('/')).ok_or("a ')' is missing")?;
    let (inner, after) = text.split_at_checked(end).ok_or("a ')' is missing")?;
    let after = after.trim_start().strip_prefix(']').ok_or("a ']' is missing")?;
    let mut reader = Reader { rest: inner, depth };
    let filter = reader.any()?;
    reader.skip_blanks();
    if reader.rest.is_empty() { Ok((filter, after)) } else { Err(format!("'{}' in a filter", reader.rest)) }
}

/// Where what the first character opens ends, behind the character that closes it. What is in quotes does not count, nor
/// what is in `also`.
fn closing(text: &str, also: Option<char>) -> Option<usize> {
    let open = text.chars().next()?;
    let close = match open {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        _ => return None,
    };
    let (mut open_count, mut at) = (0usize, 0);
    loop {
        let c = text.get(at..)?.chars().next()?;
        if c == '\'' || c == '"' || Some(c) == also {
            at = end_of_quoted(text, at)?;
            continue;
        }
        at += c.len_utf8();
        if c == open {
            open_count += 1;
        } else if c == close {
            open_count -= 1;
            if open_count == 0 {
                return Some(at);
            }
        }
    }
}

/// Behind the character that ends what the one at `at` begins, which is the same one, not behind a backslash.
fn end_of_quoted(text: &str, at: usize) -> Option<usize> {
    let mut chars = text.get(at..)?.char_indices();
    let (_, quote) = chars.next()?;
    let mut escaped = false;
    let end = chars.find(|(_, c)| {
        let end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        end
    });
    end.map(|(end, _)| at + end + quote.len_utf8())
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn next(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest.chars().next()
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The text up to `end`.
    fn cut(&mut self, end: usize) -> &'a str {
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        text
    }

    fn any(&mut self) -> Result<Filter, String> {
        self.joined("||", Self::all, Filter::Any)
    }

    fn all(&mut self) -> Result<Filter, String> {
        self.joined("&&", Self::one, Filter::All)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Filter, String>,
        of: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, String> {
        let mut filters = vec![part(self)?];
        while self.take(word) {
            filters.push(part(self)?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { of(filters) })
    }

    fn one(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("a filter that is nested too deeply".to_owned());
        }
        let before = self.rest;
        let filter = if self.take("!") && !matches!(self.next(), Some('$' | '@')) {
            Filter::Not(Box::new(self.one()?))
        } else {
            self.rest = before;
            self.bracketed()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn bracketed(&mut self) -> Result<Filter, String> {
        if !self.take("(") {
            return self.comparison();
        }
        let filter = self.any()?;
        if self.take(")") { Ok(filter) } else { Err("a ')' is missing".to_owned()) }
    }

    /// `left operator right`, or a path alone.
    fn comparison(&mut self) -> Result<Filter, String> {
        // Only where a path stands alone it counts that there is a `!`.
        let wanted = !self.take("!");
        let left = self.operand()?;
        let before = self.rest;
        if let Some(operator) = self.operator() {
            self.take("!");
            return Ok(Filter::Compare(left, operator, self.operand()?));
        }
        self.rest = before;
        match left {
            Operand::Path(path) => Ok(Filter::Exists(path, wanted)),
            Operand::Value(_) => Err("a filter that compares nothing".to_owned()),
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        let first = self.next()?;
        let end =
            if is_relational(first) { self.rest.find(|c| !is_relational(c)) } else { self.rest.find(' ') };
        let word = self.cut(end.unwrap_or(self.rest.len()));
        Operator::of(&word.to_ascii_uppercase())
    }

    fn operand(&mut self) -> Result<Operand, String> {
        use super::operand::Value;
        let value = match self.next() {
            Some('$' | '@') => return self.path().map(Operand::Path),
            Some('\'' | '"') => {
                let end = end_of_quoted(self.rest, 0).ok_or("a quote is missing")?;
                let quoted = self.cut(end);
                Value::Text(unescaped(quoted.get(1..quoted.len() - 1).unwrap_or_default()))
            }
            Some('t') if self.take("true") => Value::Bool(true),
            Some('f') if self.take("false") => Value::Bool(false),
            Some('n') if self.take("null") => Value::Null,
            Some('/') => self.pattern()?,
            Some('[' | '{') => {
                let end = closing(self.rest, None).ok_or("what is opened in a filter is not closed")?;
                let text = self.cut(end);
                Value::of(literal(text).ok_or_else(|| format!("'{text}' is no JSON"))?)
            }
            _ => {
                let of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | 'e' | 'E');
                let end = self.rest.find(|c| !of_number(c)).unwrap_or(self.rest.len());
                let digits = self.cut(end);
                if !exact::is_number(digits) {
                    return Err(format!("'{digits}{}' in a filter", self.rest));
                }
                Value::Number(digits.to_owned())
            }
        };
        Ok(Operand::Value(value))
    }

    /// `/pattern/flags`: it must fit a whole text.
    fn pattern(&mut self) -> Result<super::operand::Value, String> {
        let end = end_of_quoted(self.rest, 0).ok_or("a '/' is missing")?;
        let quoted = self.cut(end);
        let flags = self.rest.find(|c: char| !FLAGS.contains(&c)).unwrap_or(self.rest.len());
        let flags = self.cut(flags);
        // Behind the end of a line, where a comment may stand in it.
        let end = if flags.contains('x') { "\n)\\z" } else { ")\\z" };
        let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
        let text = format!("{flags}\\A(?:{}{end}", quoted.get(1..quoted.len() - 1).unwrap_or_default());
        match Pattern::java(&text) {
            Ok(pattern) => Ok(super::operand::Value::Pattern(pattern)),
            Err(bad) => Err(crate::stream::expr::EvalError::from(bad).0),
        }
    }

    /// A path goes on to a blank, an operator, or a parenthesis that is not a function's.
    fn path(&mut self) -> Result<SubPath, String> {
        let mut at = 1;
        while let Some(c) = self.rest.get(at..).and_then(|rest| rest.chars().next()) {
            if c == '[' {
                let inner = self.rest.get(at..).unwrap_or_default();
                at += closing(inner, None).ok_or("a ']' is missing")?;
                continue;
            }
            let before = self.rest.get(..at).unwrap_or_default();
            let ends_call = before.trim_end_matches(' ').ends_with('(') && before.contains('.');
            if is_relational(c) || c == ' ' || c == ')' && !ends_call {
                break;
            }
            at += c.len_utf8();
        }
        SubPath::read(self.cut(at), self.depth)
    }
}

const FLAGS: [char; 7] = ['U', 'd', 'i', 'm', 's', 'u', 'x'];

fn is_relational(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '~' | '!')
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
                let Some(first) = unit(chars.as_str()) else { continue };
                let rest = chars.as_str().get(4..).unwrap_or_default();
                // A character of two units, or one of its own.
                let second =
                    rest.strip_prefix("\\u").and_then(unit).filter(|_| matches!(first, 0xd800..0xdc00));
                chars = rest.get(if second.is_some() { 6 } else { 0 }..).unwrap_or_default().chars();
                out.extend(char::decode_utf16([first].into_iter().chain(second)).filter_map(Result::ok));
            }
            other => out.extend(other),
        }
    }
    out
}

/// A JSON literal, in which texts may stand in single quotes.
fn literal(text: &str) -> Option<Json> {
    let mut strict = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if c == '\'' || c == '"' {
            let end = end_of_quoted(text, at)?;
            let inner = text.get(at + 1..end - 1)?;
            strict.push_str(&if c == '"' {
                text.get(at..end)?.to_owned()
            } else {
                Json::Text(unescaped(inner)).to_text()
            });
            at = end;
        } else {
            strict.push(c);
            at += c.len_utf8();
        }
    }
    Json::parse(&strict)
}
