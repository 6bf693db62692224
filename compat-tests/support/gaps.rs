//! `known-gaps.toml`: failing tests that are tolerated, each with its reason. A listed gap that passes is an error,
//! so that the list only ever tells the truth.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gap: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    suite: String,
    test: String,
    reason: String,
}

/// Test name → reason, for one suite.
pub(crate) fn of(suite: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat-tests/known-gaps.toml");
    let text = std::fs::read_to_string(&path).expect("compat-tests/known-gaps.toml can be read");
    parse(&text, suite)
}

fn parse(text: &str, suite: &str) -> BTreeMap<String, String> {
    let file: File = toml::from_str(text).expect("known-gaps.toml holds [[gap]] suite, test, reason");
    for gap in &file.gap {
        assert!(!gap.reason.trim().is_empty(), "the gap {} / {} needs a reason", gap.suite, gap.test);
    }
    file.gap.into_iter().filter(|gap| gap.suite == suite).map(|gap| (gap.test, gap.reason)).collect()
}

/// One test of a foreign suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub test: String,
    pub passed: bool,
}

/// What is wrong with a suite's outcomes, given its known gaps; empty when nothing is.
pub(crate) fn judge(gaps: &BTreeMap<String, String>, outcomes: &[Outcome]) -> Vec<String> {
    let mut wrong = Vec::new();
    if outcomes.is_empty() {
        wrong.push("no test ran".into());
    }
    for Outcome { test, passed } in outcomes {
        match (gaps.get(test), passed) {
            (None, false) => wrong.push(format!("{test} failed")),
            (Some(reason), true) => {
                wrong.push(format!("{test} passes: take it off known-gaps.toml ({reason})"))
            }
            (None, true) | (Some(_), false) => {}
        }
    }
    for test in gaps.keys() {
        if !outcomes.iter().any(|outcome| outcome.test == *test) {
            wrong.push(format!("{test} of known-gaps.toml did not run: renamed or removed?"));
        }
    }
    wrong
}

/// The outcomes of TAP output, nested or not (`ok 1 - name`).
pub(crate) fn from_tap(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for line in text.lines() {
        let (line, passed) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => continue,
        };
        if let Some((_, name)) = line.split_once(" - ") {
            outcomes.push(Outcome { test: name.trim().to_string(), passed });
        }
    }
    outcomes
}

/// The outcomes of mocha's JSON report.
pub(crate) fn from_mocha(text: &str) -> Vec<Outcome> {
    let report: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (list, passed) in [("passes", true), ("failures", false)] {
        for test in report.get(list).and_then(serde_json::Value::as_array).into_iter().flatten() {
            if let Some(title) = test.get("fullTitle").and_then(serde_json::Value::as_str) {
                outcomes.push(Outcome { test: title.to_string(), passed });
            }
        }
    }
    outcomes
}

/// The outcomes of `go test -json`; a package that does not build fails under its own name.
pub(crate) fn from_go(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut silent_failures = Vec::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let field = |name: &str| event.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let package = field("Package").rsplit('/').next().unwrap_or_default().to_string();
        let passed = match field("Action") {
            "pass" => true,
            "fail" => false,
            _ => continue,
        };
        match field("Test") {
            "" if !passed => silent_failures.push(package),
            "" => {}
            test => outcomes.push(Outcome { test: format!("{package}/{test}"), passed }),
        }
    }
    for package in silent_failures {
        let prefix = format!("{package}/");
        if !outcomes.iter().any(|outcome| !outcome.passed && outcome.test.starts_with(&prefix)) {
            outcomes.push(Outcome { test: package, passed: false });
        }
    }
    outcomes
}

mod tests {
    use super::{Outcome, from_go, from_mocha, from_tap, judge, parse};

    fn outcome(test: &str, passed: bool) -> Outcome {
        Outcome { test: test.into(), passed }
    }

    #[test]
    fn a_listed_failure_is_tolerated_and_a_listed_pass_is_not() {
        let text = "[[gap]]\nsuite = \"go\"\ntest = \"a/TestOne\"\nreason = \"later\"\n";
        let gaps = parse(text, "go");
        assert!(judge(&gaps, &[outcome("a/TestOne", false), outcome("a/TestTwo", true)]).is_empty());
        assert_eq!(judge(&gaps, &[outcome("a/TestOne", true)]).len(), 1);
        assert_eq!(judge(&gaps, &[outcome("a/TestOne", false), outcome("a/TestTwo", false)]).len(), 1);
        assert_eq!(judge(&gaps, &[outcome("a/TestTwo", true)]).len(), 1, "a gap that did not run");
        assert!(parse(text, "node").is_empty());
    }

    #[test]
    fn a_suite_in_which_nothing_ran_has_not_passed() {
        assert_eq!(judge(&parse("", "go"), &[]), ["no test ran"]);
    }

    #[test]
    fn outcomes_are_read_from_tap_go_and_mocha() {
        assert_eq!(
            from_tap("TAP version 13\nok 1 - hello\n  ---\nnot ok 2 - work queue\n1..2\n"),
            [outcome("hello", true), outcome("work queue", false)]
        );
        let go = "{\"Action\":\"run\",\"Package\":\"x/amqp091\",\"Test\":\"TestHello\"}\n\
                  {\"Action\":\"pass\",\"Package\":\"x/amqp091\",\"Test\":\"TestHello\"}\n\
                  {\"Action\":\"fail\",\"Package\":\"x/streadway\"}\n";
        assert_eq!(from_go(go), [outcome("amqp091/TestHello", true), outcome("streadway", false)]);
        let mocha = r#"{"passes": [{"fullTitle": "a b"}], "failures": [{"fullTitle": "a c"}]}"#;
        assert_eq!(from_mocha(mocha), [outcome("a b", true), outcome("a c", false)]);
    }
}
