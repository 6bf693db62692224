//! What a suite says: its time, what it skipped and why. Past the test harness's capture, which hides what passing
//! tests print.

use std::io::Write as _;

use super::{Tier, environment::Missing, now, tier};

/// One line on the real standard error.
pub(crate) fn say(line: &str) {
    let mut stderr = std::io::stderr().lock();
    // A closed standard error is no reason to fail a suite.
    let _ = writeln!(stderr, "compat | {line}");
}

/// Runs one suite and prints how long it took.
pub(crate) fn suite<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let started = now();
    let result = run();
    say(&format!("{name}: {:.1} s", started.elapsed().as_secs_f64()));
    result
}

/// Whether this run includes `wanted`; says so when it does not.
pub(crate) fn included(name: &str, wanted: Tier) -> bool {
    let included = tier() >= wanted;
    if !included {
        let value = match wanted {
            Tier::Quick => "quick",
            Tier::Ci => "ci",
            Tier::All => "all",
        };
        say(&format!("{name}: not in this tier (WARREN_COMPAT={value} runs it)"));
    }
    included
}

/// The environment, or a loud skip; with `CI=true` a missing toolchain or network is a failure.
pub(crate) fn available<T>(name: &str, environment: Result<T, Missing>) -> Option<T> {
    match environment {
        Ok(environment) => Some(environment),
        Err(Missing(reason)) => {
            assert!(!in_ci(), "{name} cannot run, and CI=true says that it must: {reason}");
            where_there_is_one(name, Err(Missing(reason)))
        }
    }
}

/// What a machine may lack, CI's too, because no registry has it; a loud skip all the same.
pub(crate) fn where_there_is_one<T>(name: &str, tool: Result<T, Missing>) -> Option<T> {
    tool.inspect_err(|Missing(reason)| say(&format!("{name}: SKIPPED ****** {reason}"))).ok()
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
