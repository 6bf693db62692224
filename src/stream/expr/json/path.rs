//! Paths into JSON: `lax $.a[0]['b'].*`, as Flink's JSON functions read them with Jayway's JsonPath.
//!
//! Filters and functions of JsonPath are refused when the path is read. A path without a mode is strict.

use super::Json;

/// Values that one path may find: `..*` of a deep text must not take the broker's memory.
const FOUND_MAX: usize = 100_000;

/// A path that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// What is missing is no error, but nothing.
    pub lax: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// `..`: what follows is looked for at every depth.
    Deep,
    /// `[n, m]`; negative ones count from the end.
    Elements(Vec<i64>),
    /// `.*` or `[*]`.
    Every,
    /// `.name`, or `['a', 'b']`.
    Members(Vec<String>),
    /// `[from:to]`.
    Slice(Option<i64>, Option<i64>),
}

/// What a path finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Nothing is there; the part of the path that leads nowhere.
    Missing(String),
    Value(Json),
}

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
        let steps = steps(rest).map_err(|what| format!("{what} in the JSON path '{text}'"))?;
        Ok(Self { lax, steps })
    }

    /// Whether it leads to one place at most. What it finds otherwise comes as an array.
    fn is_definite(&self) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Deep | Step::Every | Step::Slice(..) => false,
            Step::Elements(indices) => indices.len() == 1,
            Step::Members(names) => names.len() == 1,
        })
    }

    /// What the path finds in a value. In lax mode what is missing is a null.
    #[must_use]
    pub fn find(&self, root: &Json) -> Found {
        if self.is_definite() {
            let mut at = root;
            let mut shown = String::from("$");
            for step in &self.steps {
                let next = match step {
                    Step::Members(names) => {
                        let name = names.first().map_or("", String::as_str);
                        shown.push_str(&format!("['{name}']"));
                        at.member(name)
                    }
                    Step::Elements(indices) => {
                        let index = indices.first().copied().unwrap_or_default();
                        shown.push_str(&format!("[{index}]"));
                        element(at, index)
                    }
                    Step::Deep | Step::Every | Step::Slice(..) => None,
                };
                match next {
                    Some(next) => at = next,
                    None if self.lax => return Found::Value(Json::Null),
                    None => return Found::Missing(shown),
                }
            }
            return Found::Value(at.clone());
        }
        let mut found = vec![root];
        let mut deep = false;
        for step in &self.steps {
            if *step == Step::Deep {
                deep = true;
                continue;
            }
            let mut next = Vec::new();
            for value in found {
                if deep {
                    within(value, &mut |inner| take(step, inner, &mut next));
                } else {
                    take(step, value, &mut next);
                }
            }
            found = next;
            deep = false;
        }
        Found::Value(Json::Array(found.into_iter().cloned().collect()))
    }
}

/// Calls `visit` with a value and all that is in it.
fn within<'a>(value: &'a Json, visit: &mut dyn FnMut(&'a Json)) {
    visit(value);
    match value {
        Json::Array(items) => items.iter().for_each(|item| within(item, visit)),
        Json::Object(members) => members.iter().for_each(|(_, member)| within(member, visit)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

fn take<'a>(step: &Step, value: &'a Json, found: &mut Vec<&'a Json>) {
    if found.len() > FOUND_MAX {
        return;
    }
    match (step, value) {
        (Step::Members(names), _) => found.extend(names.iter().filter_map(|name| value.member(name))),
        (Step::Elements(indices), _) => {
            found.extend(indices.iter().filter_map(|index| element(value, *index)))
        }
        (Step::Every, Json::Array(items)) => found.extend(items),
        (Step::Every, Json::Object(members)) => found.extend(members.iter().map(|(_, member)| member)),
        (Step::Slice(from, to), Json::Array(items)) => {
            let place =
                |at: i64| usize::try_from(if at < 0 { items.len() as i64 + at } else { at }).unwrap_or(0);
            let from = from.map_or(0, place).min(items.len());
            let to = to.map_or(items.len(), place).min(items.len());
            found.extend(items.get(from..to).unwrap_or_default());
        }
        (Step::Deep | Step::Every | Step::Slice(..), _) => {}
    }
}

fn element(value: &Json, index: i64) -> Option<&Json> {
    let Json::Array(items) = value else { return None };
    let index = if index < 0 { items.len() as i64 + index } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn steps(mut rest: &str) -> Result<Vec<Step>, String> {
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
            let (step, after) = bracket(after)?;
            steps.push(step);
            rest = after;
        } else {
            return Err(format!("'{rest}' is not expected"));
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
    if after.starts_with('(') {
        return Err(format!("the function {name}(): valid Flink, not supported here yet,"));
    }
    if name.is_empty() {
        return Err("a name is missing".to_owned());
    }
    steps.push(Step::Members(vec![name.to_owned()]));
    Ok(after)
}

/// What stands between brackets, from behind the opening one.
fn bracket(rest: &str) -> Result<(Step, &str), String> {
    let trimmed = rest.trim_start();
    if trimmed.starts_with(['?', '(']) {
        return Err("a filter: valid Flink, not supported here yet,".to_owned());
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
            let Found::Value(value) = Path::read(path).unwrap().find(&root) else { panic!("{path}") };
            assert_eq!(value.to_text(), expected, "{path}");
        }
        let missing = Path::read("strict $.z.y").unwrap().find(&root);
        assert_eq!(missing, Found::Missing("$['z']".to_owned()));
    }

    #[test]
    fn what_is_no_path_or_not_served_is_refused() {
        for path in ["", "a", "$.", "$.a[", "$.a[x]", "$['a'", "$.a[?(@.b>1)]", "$.a.length()"] {
            assert!(Path::read(path).is_err(), "{path}");
        }
    }
}
