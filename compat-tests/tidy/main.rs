//! Holds the invariants of `src/ARCHITECTURE.md` that a compiler does not: layers, the one clock, the one table of
//! maps, file heads and lengths, unfinished code, and the README's table of Kafka versions.
//!
//! Each rule is a pure function from a path and its text to what is wrong with it, in `rules.rs`; a test beside it
//! feeds it a violation and proves that it is caught. What names are used where is read in `names.rs`.
#![cfg(test)]

mod architecture;
mod kafka_rows;
mod names;
mod redis_commands;
mod rules;

use std::path::{Path, PathBuf};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below the folders, relative to the package, in a fixed order; build results and dependencies left out.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&package().join(folder), &mut paths);
    }
    paths.sort();
    let wanted = |path: &PathBuf| {
        path.extension().and_then(|found| found.to_str()).is_some_and(|found| extensions.contains(&found))
    };
    paths
        .into_iter()
        .filter(wanted)
        .map(|path| {
            let relative =
                path.strip_prefix(package()).expect("below the package").to_string_lossy().into_owned();
            (relative, String::from_utf8_lossy(&std::fs::read(&path).expect("it can be read")).into_owned())
        })
        .collect()
}

fn collect(path: &Path, paths: &mut Vec<PathBuf>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_file() {
        paths.push(path.to_path_buf());
    } else if !["target", "node_modules", "__pycache__", ".git"].contains(&name) {
        // A folder that is not there yet holds nothing.
        for entry in std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
            collect(&entry.path(), paths);
        }
    }
}

fn complain(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(|one| format!("{}: {}", one.rule, one.what)).collect();
    assert!(lines.is_empty(), "{} violations\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn sources_hold_every_rule() {
    let sources = files(&["src"], &["rs"]);
    assert!(!sources.is_empty());
    complain(&sources.iter().flat_map(|(path, text)| rules::of_source(path, text)).collect::<Vec<_>>());
    complain(&rules::siblings(sources.iter().map(|(path, _)| path.as_str())));
}

#[test]
fn tests_and_benches_hold_the_rules_that_concern_them() {
    let sources = files(&["compat-tests", "benches"], &["rs"]);
    complain(&sources.iter().flat_map(|(path, text)| rules::of_any_rust(path, text)).collect::<Vec<_>>());
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let kept = [
        "rs", "py", "go", "mjs", "java", "toml", "md", "json", "sql", "yml", "yaml", "lock", "xml", "txt",
        "sum",
    ];
    let folders =
        ["src", "compat-tests", "benches", "fixtures", "config", "README.md", "CHANGELOG.md", "Cargo.toml"];
    complain(
        &files(&folders, &kept)
            .iter()
            .flat_map(|(path, text)| rules::machine(path, text))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_architecture_is_what_the_page_says() {
    let sources = files(
        &["src", "compat-tests", "fixtures", "benches", "config", "Cargo.toml"],
        &["rs", "py", "toml", "tsv"],
    );
    let read = |path: &str| std::fs::read_to_string(package().join(path)).unwrap_or_default();
    complain(&architecture::violations(&read("src/ARCHITECTURE.md"), &sources, &read("Cargo.toml")));
}

#[test]
fn the_readme_lists_exactly_the_kafka_versions_that_are_advertised() {
    let read = |path: &str| std::fs::read_to_string(package().join(path)).unwrap_or_default();
    let wrong = kafka_rows::disagreements(&read("src/kafka/api.rs"), &read("README.md"));
    assert!(wrong.is_empty(), "README.md and src/kafka/api.rs disagree:\n{}", wrong.join("\n"));
    let wrong = redis_commands::disagreements(&read("src/redis/command.rs"), &read("README.md"));
    assert!(wrong.is_empty(), "README.md and src/redis/command.rs disagree:\n{}", wrong.join("\n"));
}
