//! Flink itself, on this machine; only with `WARREN_COMPAT=all`.
//!
//! As the oracle of stream jobs: `fixtures/streams/*/*.golden` and what Flink tells of itself there (`options.tsv`,
//! `values.tsv`, `words.tsv`) are made anew and compared with those of the tree; with `WARREN_REGENERATE=1` they are
//! written. What Warren makes of the same queries is in `src/stream/run/fixtures.rs`, and needs no Java. As a client: its
//! tutorials' jobs at the Kafka door, in `door.rs`; and Beam's, in `beam.rs`.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod beam;
mod door;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use support::{
    Tier,
    environment::{self, Missing},
    process, report,
};

/// Runs a program over a copy of a folder, so that the tree is written only when that is asked for.
fn made_anew(program: &str, folder: &str, limit: Duration) {
    let suite = format!("flink {folder}");
    if !report::included(&suite, Tier::All) {
        return;
    }
    let Some(class_path) = report::available(&suite, class_path("flink")) else { return };
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams").join(folder);
    let regenerate = std::env::var_os("WARREN_REGENERATE").is_some();
    let copy = tempfile::tempdir().expect("a temporary directory");
    let target: PathBuf = if regenerate { ours.clone() } else { copied(&ours, copy.path()) };
    let mut java = flink(&class_path);
    java.arg(program).arg(&target);
    let done = report::suite(&suite, || process::within(&mut java, limit));
    assert!(done.success(), "{}\n{}", done.said, done.errors);
    if !regenerate {
        assert_eq!(results(&ours), results(&target), "{}", done.said);
    }
}

/// The libraries of a folder, and its programs compiled; `Door.java` belongs to all.
fn class_path(folder: &str) -> Result<String, Missing> {
    let mut programs = environment::java_programs(folder)?;
    let door = environment::sources("flink").join("Door.java");
    if !programs.contains(&door) {
        programs.push(door);
    }
    environment::compiled(&environment::java(folder)?, &programs)
}

/// A machine for Flink, before the program's name.
fn flink(class_path: &str) -> Command {
    let mut java = Command::new("java");
    for package in ["java.util", "java.lang", "java.nio"] {
        java.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    java.args(["-Xmx1g", "-cp", class_path]);
    java
}

fn copied(from: &Path, to: &Path) -> PathBuf {
    for entry in fs::read_dir(from).expect("the fixtures are there").filter_map(Result::ok) {
        let name = entry.file_name();
        if !is_result(&entry.path()) {
            fs::copy(entry.path(), to.join(name)).expect("a fixture can be copied");
        }
    }
    to.to_path_buf()
}

/// Whether Flink writes it; `differs.tsv` is what we make of its values.
fn is_result(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "golden")
        || ["options.tsv", "values.tsv", "words.tsv"].iter().any(|name| path.ends_with(name))
}

fn results(folder: &Path) -> BTreeMap<String, String> {
    let files =
        fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok).map(|entry| entry.path());
    files
        .filter(|path| is_result(path))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a result can be read"))
        })
        .collect()
}

#[test]
fn nexmark() {
    made_anew("Golden", "nexmark", Duration::from_secs(300));
}

#[test]
fn language() {
    made_anew("Golden", "language", Duration::from_secs(600));
}

#[test]
fn statements() {
    made_anew("Said", "statements", Duration::from_secs(120));
}

#[test]
fn csv() {
    made_anew("Csv", "csv", Duration::from_secs(60));
}

#[test]
fn options() {
    made_anew("Options", "options", Duration::from_secs(60));
}

#[test]
fn words() {
    made_anew("Words", "words", Duration::from_secs(60));
}

#[test]
fn paths() {
    made_anew("Paths", "paths", Duration::from_secs(60));
}

#[test]
fn functions() {
    made_anew("Functions", "functions", Duration::from_secs(300));
}
