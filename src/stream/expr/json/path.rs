//! Paths into JSON: `lax $.a[0]['b'].*`, as Flink's JSON functions read them with Jayway's JsonPath.
//!
//! Here they are read; `find` walks them, `filter` reads what stands in `[?(…)]`. A path
//! without a mode is strict.

use super::{
    Json,
    filter::{self, Filter},
    find,
    function::Function,
};

/// A path that has been read.
#[derive(Debug, Clone)]
pub struct Path {
    /// What is missing is no error, but nothing.
    pub lax: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A function behind the path, of what the path finds.
    Call(Function),
    /// `..`: what follows is looked for at every depth.
    Deep,
    /// `[n, m]`; negative ones count from the end.
    Elements(Vec<i64>),
    /// `.*` or `[*]`.
    Every,
    /// `[?(…)]`: the elements of an array that pass, or the object itself.
    Filter(Filter),
    /// `.name`, or `['a', 'b']`.
    Members(Vec<String>),
    /// `[from:to]`.
    Slice(Option<i64>, Option<i64>),
}

/// Filters within filters, and negations and parentheses of one: a path may come with a record.
pub(super) const DEPTH_MAX: usize = 32;

impl Path {
    /// Reads a path, or says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_start();
        let mode = |word: &str| {
            let head = trimmed.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word))?;
            trimmed.get(head.len()..).filter(|rest| rest.starts_with(char::is_whitespace)).map(str::trim)
        };
        let (lax, spec) = match (mode("lax"), mode("strict")) {
            (Some(spec), _) => (true, spec),
            (None, Some(spec)) => (false, spec),
            (None, None) => (false, text.trim()),
        };
        let rest =
            spec.strip_prefix('$').ok_or_else(|| format!("the JSON path '{text}' does not begin with $"))?;
        let steps = steps(rest, 0).map_err(|what| format!("{what} in the JSON path '{text}'"))?;
        Ok(Self { lax, steps })
    }

    /// What the path finds in a value, or why it finds nothing. In lax mode what is missing is a null.
    pub fn find(&self, root: &Json) -> Result<Json, String> {
        find::outermost(&self.steps, root, self.lax)
    }
}

/// Steps of one path: a walk calls itself for each, and a filter may stay at one value for ever.
const STEPS_MAX: usize = 256;

/// Reads what follows the `$` of a path, or the `@` of one in a filter, which lies in `depth` others.
pub(super) fn steps(mut rest: &str, depth: usize) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Deep);
            if after.starts_with('[') {
                rest = after;
                continue;
            }
            rest = member(after, &mut steps)?;
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = if after.starts_with('[') { after } else { member(after, &mut steps)? };
        } else if let Some(after) = rest.strip_prefix('[') {
            let (step, after) = bracket(after, depth)?;
            steps.push(step);
            rest = after;
        } else {
            return Err(format!("'{rest}' is not expected"));
        }
        if steps.len() > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps"));
        }
        if matches!(steps.last(), Some(Step::Call(_))) && !rest.is_empty() {
            return Err(format!("'{rest}' behind a function"));
        }
    }
    Ok(steps)
}

/// A name behind a point.
fn member<'a>(rest: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, String> {
    if let Some(after) = rest.strip_prefix('*') {
        steps.push(Step::Every);
        return Ok(after);
    }
    let end = rest.find(['.', '[', '(', ' ']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if let Some(inner) = after.strip_prefix('(') {
        let (argument, after) = inner.split_once(')').ok_or("a ')' is missing")?;
        // Jayway counts what `..` finds in ways of its own.
        if steps.iter().any(|step| matches!(step, Step::Deep)) {
            return Err(format!("the function {name}() behind '..': valid Flink, not supported here yet,"));
        }
        steps.push(Step::Call(Function::of(name, argument)?));
        return Ok(after);
    }
    if name.is_empty() {
        return Err("a name is missing".to_owned());
    }
    steps.push(Step::Members(vec![name.to_owned()]));
    Ok(after)
}

/// What stands between brackets, from behind the opening one.
fn bracket(rest: &str, depth: usize) -> Result<(Step, &str), String> {
    let trimmed = rest.trim_start();
    if let Some(criteria) = trimmed.strip_prefix('?') {
        let (filter, after) = filter::read(criteria.trim_start(), depth)?;
        return Ok((Step::Filter(filter), after));
    }
    if trimmed.starts_with(['\'', '"']) {
        return names(trimmed);
    }
    let (inner, after) = rest.split_once(']').ok_or("a ']' is missing")?;
    let inner = inner.trim();
    if inner == "*" {
        return Ok((Step::Every, after));
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("'{text}' is no index"));
    if let Some((from, to)) = inner.split_once(':') {
        let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        return Ok((Step::Slice(bound(from)?, bound(to)?), after));
    }
    let indices = inner.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    Ok((Step::Elements(indices), after))
}

fn names(mut rest: &str) -> Result<(Step, &str), String> {
    let mut names = Vec::new();
    loop {
        let mut chars = rest.char_indices();
        let Some((_, quote)) = chars.next().filter(|(_, c)| matches!(c, '\'' | '"')) else {
            return Err("a name in quotes is missing".to_owned());
        };
        let (mut name, mut end) = (String::new(), None);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    end = Some(at + 1);
                    break;
                }
                c => name.push(c),
            }
        }
        let after = end.and_then(|end| rest.get(end..)).ok_or("a quote is missing")?.trim_start();
        names.push(name);
        if let Some(after) = after.strip_prefix(']') {
            return Ok((Step::Members(names), after));
        }
        rest = after.strip_prefix(',').ok_or("a ']' is missing")?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_what_jayway_finds() {
        let root = Json::parse(r#"{"a": [1, {"b": 2}, {"b": 3, "c d": 4}], "e": {"b": 5}}"#).unwrap();
        let rows = [
            ("$", r#"{"a":[1,{"b":2},{"b":3,"c d":4}],"e":{"b":5}}"#),
            ("$.a[0]", "1"),
            ("$.a[-1].b", "3"),
            ("$['a'][2]['c d']", "4"),
            ("$.a[*].b", "[2,3]"),
            ("$..b", "[2,3,5]"),
            ("$.a[0:2]", r#"[1,{"b":2}]"#),
            ("$.a[0,1]", r#"[1,{"b":2}]"#),
            ("$.e.*", "[5]"),
            ("$['a','e']..b", "[2,3,5]"),
            ("lax $.z.y", "null"),
            ("LAX  $.e.b ", "5"),
        ];
        for (path, expected) in rows {
            let value = Path::read(path).unwrap().find(&root).unwrap();
            assert_eq!(value.to_text(), expected, "{path}");
        }
        let missing = Path::read("strict $.z.y").unwrap().find(&root);
        assert_eq!(missing, Err("Missing property in path $['z']".to_owned()));
    }

    #[test]
    fn what_is_no_path_or_not_served_is_refused() {
        let rows = [
            "",
            "a",
            "$.",
            "$.a[",
            "$.a[x]",
            "$['a'",
            "$.a[?(@.b>1]",
            "$.a.concat('x')",
            "$.a.length().b",
            "$..a.length()",
        ];
        for path in rows {
            assert!(Path::read(path).is_err(), "{path}");
        }
        for nested in ["(", "!("] {
            let path = format!("$[?({})]", nested.repeat(100_000));
            assert!(Path::read(&path).is_err());
        }
        let within = format!("$[?({}", "@[?(".repeat(100_000));
        assert!(Path::read(&within).is_err());
        assert!(Path::read(&format!("${}", "..[?(@)]".repeat(100_000))).is_err(), "each step is a call");
    }

    #[test]
    fn a_path_that_comes_to_too_many_places_finds_nothing() {
        let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        let path = format!("lax ${}.x", "[0,0]".repeat(40));
        assert!(Path::read(&path).unwrap().find(&Json::parse(&nested).unwrap()).is_err());
    }

    #[test]
    fn a_pattern_fits_a_whole_text_whatever_its_flags_are() {
        let root = Json::parse(r#"[{"t": "a\nb"}, {"t": "b"}, {"t": "😀"}]"#).unwrap();
        let rows = [
            ("$[?(@.t =~ /b/m)]", r#"[{"t":"b"}]"#),
            ("$[?(@.t =~ /b # that/x)]", r#"[{"t":"b"}]"#),
            (r"$[?(@.t == '\ud83d\ude00')]", r#"[{"t":"😀"}]"#),
        ];
        for (path, expected) in rows {
            assert_eq!(Path::read(path).unwrap().find(&root).unwrap().to_text(), expected, "{path}");
        }
    }
}
