//! Walks a path through a value, as Jayway's tokens do it: what is missing is an error as long as the path leads to one
//! place, and passed over behind a step that may lead to several.

use std::borrow::Cow;

use super::{Json, path::Step};

/// Values that one path may find: `..*` of a deep text must not take the broker's memory.
const FOUND_MAX: usize = 100_000;

/// Places that one path may come to: `[0,0][0,0]…` comes to twice as many with each step, and a job has other rows.
const VISITS_MAX: usize = 1_000_000;

/// Why a path finds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// What a filter is asked for makes no sense for the value: the value does not pass. (InvalidPathException)
    Absurd(String),
    Failed(String),
    /// Nothing is there. (PathNotFoundException)
    Missing(String),
}

/// How what is missing is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A filter asks whether something is there: it is missing at every place.
    Exists,
    Lax,
    Strict,
}

/// What a whole path finds in a value.
pub(super) fn outermost(steps: &[Step], root: &Json, lax: bool) -> Result<Json, String> {
    let mode = if lax { Mode::Lax } else { Mode::Strict };
    found(steps, root, root, mode).map(Cow::into_owned).map_err(|stop| match stop {
        Stop::Absurd(why) | Stop::Failed(why) | Stop::Missing(why) => why,
    })
}

/// What a path finds from `from` on, `root` being what `$` means in its filters. Several values are an array.
pub(super) fn found<'a>(
    steps: &[Step],
    root: &'a Json,
    from: &'a Json,
    mode: Mode,
) -> Result<Cow<'a, Json>, Stop> {
    let mut walk = Walk { steps, root, mode, found: Vec::new(), visits: 0 };
    walk.step(0, from, true)?;
    if !(0..steps.len()).all(|at| walk.is_definite(at)) {
        return Ok(Cow::Owned(Json::Array(walk.found.into_iter().map(Cow::into_owned).collect())));
    }
    match walk.found.pop() {
        Some(value) => Ok(value),
        None if mode == Mode::Lax => Ok(Cow::Owned(Json::Null)),
        None => Err(Stop::Missing(format!("No results for path: {}", shown(steps)))),
    }
}

struct Walk<'a, 's> {
    steps: &'s [Step],
    root: &'a Json,
    mode: Mode,
    found: Vec<Cow<'a, Json>>,
    visits: usize,
}

impl<'a> Walk<'a, '_> {
    /// Whether a step leads to one place at most. Several members of one object at the end are put together.
    fn is_definite(&self, at: usize) -> bool {
        match self.steps.get(at) {
            Some(Step::Elements(indices)) => indices.len() == 1,
            Some(Step::Members(names)) => names.len() == 1 || self.is_last(at),
            Some(Step::Call(_)) | None => true,
            Some(Step::Deep | Step::Every | Step::Filter(_) | Step::Slice(..)) => false,
        }
    }

    fn is_last(&self, at: usize) -> bool {
        at + 1 == self.steps.len()
    }

    fn add(&mut self, value: Cow<'a, Json>) -> Result<(), Stop> {
        if self.found.len() >= FOUND_MAX {
            return Err(Stop::Failed(format!("the JSON path finds more than {FOUND_MAX} values")));
        }
        self.found.push(value);
        Ok(())
    }

    /// Takes the steps from `at` on. `definite`: those before lead to one place.
    fn step(&mut self, at: usize, value: &'a Json, definite: bool) -> Result<(), Stop> {
        self.visits += 1;
        if self.visits > VISITS_MAX {
            return Err(Stop::Failed(format!("the JSON path comes to more than {VISITS_MAX} places")));
        }
        let steps = self.steps;
        let Some(step) = steps.get(at) else { return self.add(Cow::Borrowed(value)) };
        match step {
            Step::Call(function) => {
                let result = function.of_value(value).map_err(Stop::Failed)?;
                self.add(Cow::Owned(result))
            }
            Step::Deep => self.deep(at + 1, value),
            Step::Elements(indices) => {
                let Json::Array(items) = value else {
                    return self.other(at, definite, "can only be applied to arrays");
                };
                self.elements(at, items, indices.iter().copied(), definite)
            }
            Step::Every => match value {
                Json::Array(items) => items.iter().try_for_each(|item| self.step(at + 1, item, false)),
                Json::Object(_) => {
                    value.members().into_iter().try_for_each(|(_, member)| self.step(at + 1, member, false))
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => Ok(()),
            },
            Step::Filter(filter) => match value {
                Json::Array(items) => {
                    for item in items {
                        if filter.passes(self.root, item, self.mode)? {
                            self.step(at + 1, item, false)?;
                        }
                    }
                    Ok(())
                }
                Json::Object(_) if filter.passes(self.root, value, self.mode)? => {
                    self.step(at + 1, value, false)
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) if definite => {
                    Err(Stop::Absurd("a filter can not be applied to primitives".to_owned()))
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) | Json::Text(_) => Ok(()),
            },
            Step::Members(names) => self.members(at, value, names, definite),
            Step::Slice(from, to) => {
                let Json::Array(items) = value else {
                    return self.other(at, definite, "can only be applied to arrays");
                };
                self.elements(at, items, slice(*from, *to, items.len()), false)
            }
        }
    }

    fn elements(
        &mut self,
        at: usize,
        items: &'a [Json],
        indices: impl Iterator<Item = i64>,
        definite: bool,
    ) -> Result<(), Stop> {
        let definite = definite && self.is_definite(at);
        for index in indices {
            let index = if index < 0 { items.len() as i64 + index } else { index };
            if let Some(item) = usize::try_from(index).ok().and_then(|index| items.get(index)) {
                self.step(at + 1, item, definite)?;
            }
        }
        Ok(())
    }

    fn members(&mut self, at: usize, value: &'a Json, names: &[String], definite: bool) -> Result<(), Stop> {
        if !matches!(value, Json::Object(_)) {
            return self.other(at, definite, "can only be applied to objects");
        }
        let (last, one) = (self.is_last(at), names.len() == 1);
        if last && !one {
            let mut merged = Vec::with_capacity(names.len());
            for name in names {
                match value.member(name) {
                    Some(member) => merged.push((name.clone(), member.clone())),
                    None if self.mode == Mode::Exists => return Err(self.missing(at)),
                    None => {}
                }
            }
            return self.add(Cow::Owned(Json::Object(merged)));
        }
        for name in names {
            match value.member(name) {
                Some(member) => self.step(at + 1, member, definite && one)?,
                None if self.mode == Mode::Exists => return Err(self.missing(at)),
                None if !last && definite && one && self.mode == Mode::Strict => {
                    return Err(self.missing(at));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn missing(&self, at: usize) -> Stop {
        let path = shown(self.steps.get(..=at).unwrap_or_default());
        Stop::Missing(format!("Missing property in path {path}"))
    }

    /// The value is none that the step is for.
    fn other(&self, at: usize, definite: bool, why: &str) -> Result<(), Stop> {
        if !definite || self.mode == Mode::Lax {
            return Ok(());
        }
        let path = shown(self.steps.get(..=at).unwrap_or_default());
        Err(Stop::Missing(format!("{path}: the last step {why}")))
    }

    /// Takes the step `at` at a value and at everything in it.
    fn deep(&mut self, at: usize, value: &'a Json) -> Result<(), Stop> {
        let here = match (self.steps.get(at), value) {
            (Some(Step::Members(names)), Json::Object(_)) => {
                !self.is_definite(at) || names.iter().all(|name| value.member(name).is_some())
            }
            (Some(Step::Elements(_) | Step::Slice(..)), Json::Array(_)) => true,
            (Some(Step::Every), Json::Array(_) | Json::Object(_)) => true,
            (Some(Step::Filter(filter)), Json::Array(_) | Json::Object(_)) => {
                filter.passes(self.root, value, self.mode)?
            }
            _ => false,
        };
        if here {
            self.step(at, value, false)?;
        }
        match value {
            Json::Array(items) => items.iter().try_for_each(|item| self.deep(at, item)),
            Json::Object(_) => value.members().into_iter().try_for_each(|(_, member)| self.deep(at, member)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => Ok(()),
        }
    }
}

/// The places of `[from:to]`. With both bounds negative ones are not counted from the end, but are places.
fn slice(from: Option<i64>, to: Option<i64>, length: usize) -> std::ops::Range<i64> {
    let length = length as i64;
    let place = |at: i64| if at < 0 { length + at } else { at };
    match (from, to) {
        (Some(from), Some(to)) => from.max(-length)..to.min(length),
        (from, to) => from.map_or(0, place).max(0)..to.map_or(length, place).min(length),
    }
}

/// A path in brackets, as errors name it.
fn shown(steps: &[Step]) -> String {
    let mut out = String::from("$");
    for step in steps {
        match step {
            Step::Call(function) => out.push_str(&format!(".{function}")),
            Step::Deep => out.push_str(".."),
            Step::Elements(indices) => {
                let indices: Vec<String> = indices.iter().map(i64::to_string).collect();
                out.push_str(&format!("[{}]", indices.join(",")));
            }
            Step::Every => out.push_str("[*]"),
            Step::Filter(_) => out.push_str("[?]"),
            Step::Members(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
                out.push_str(&format!("[{}]", names.join(",")));
            }
            Step::Slice(from, to) => {
                let bound = |at: &Option<i64>| at.map_or_else(String::new, |at| at.to_string());
                out.push_str(&format!("[{}:{}]", bound(from), bound(to)));
            }
        }
    }
    out
}
