//! `src/ARCHITECTURE.md` against the tree: what it names is there, every folder has its place on the page, and every
//! invariant names what holds it.

use crate::{Violation, rules::wrong};

/// What the page says that is not so. `files` are those of `src`, `compat-tests`, `fixtures` and `benches`.
pub(crate) fn violations(page: &str, files: &[(String, String)], manifest: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for name in quoted(page).filter(|name| is_path(name)) {
        if !files.iter().any(|(path, _)| is_at(path, name)) {
            violations.push(wrong("ARCHITECTURE.md names what there is", name.to_string()));
        }
    }
    for folder in folders(files).filter(|folder| !has_place(page, folder)) {
        violations.push(wrong("ARCHITECTURE.md has every folder of src", folder.to_string()));
    }
    violations.extend(invariants(page).filter_map(|invariant| unheld(&invariant, files, manifest)));
    violations
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A file of the tree or a folder, and no pattern for one.
fn is_path(name: &str) -> bool {
    let ends = [".rs", ".py", ".toml", ".tsv", "/"];
    ends.iter().any(|end| name.ends_with(end)) && !name.contains(['<', '*', ' ']) && !name.starts_with('/')
}

/// Whether the name, from whatever folder it is told, is that file or a folder on the way to it.
fn is_at(path: &str, name: &str) -> bool {
    let name = name.trim_start_matches("../");
    let tail = format!("/{name}");
    let path = format!("/{path}");
    path.ends_with(&tail) || (name.ends_with('/') && path.contains(&tail))
}

/// The names of the folders of `src`; a folder of tests needs no place of its own.
fn folders(files: &[(String, String)]) -> impl Iterator<Item = &str> {
    let mut names: Vec<&str> = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("src/"))
        .filter_map(|path| path.rsplit_once('/'))
        .map(|(folder, _)| folder.rsplit('/').next().unwrap_or(folder))
        .filter(|name| *name != "tests")
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

/// Told itself, or by the file that it belongs to.
fn has_place(page: &str, folder: &str) -> bool {
    page.contains(&format!("{folder}/")) || page.contains(&format!("{folder}.rs"))
}

/// Each on one line.
fn invariants(page: &str) -> impl Iterator<Item = String> {
    page.split("- **Invariant:** ").skip(1).map(|text| {
        let end = text.find("\n\n").into_iter().chain(text.find("\n- ")).min().unwrap_or(text.len());
        text[..end].split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// An invariant ends with what holds it, in italics; a file or a suite that it names there has tests.
fn unheld(invariant: &str, files: &[(String, String)], manifest: &str) -> Option<Violation> {
    let rule = "an invariant names the test that holds it";
    let Some((_, holder)) = invariant.strip_suffix('*').and_then(|text| text.rsplit_once(" *")) else {
        return Some(wrong(rule, invariant.to_string()));
    };
    let missing = quoted(holder).find(|name| !holds(name, files, manifest))?;
    Some(wrong(rule, format!("{missing} in: {invariant}")))
}

/// Tests in that file, beside it or below that folder; or a lint or a suite of the manifest; or a macro of ours.
fn holds(name: &str, files: &[(String, String)], manifest: &str) -> bool {
    if manifest.contains(&format!("\"{name}\""))
        || manifest.contains(&format!("{name} ="))
        || name.ends_with('!')
    {
        return true;
    }
    let has_tests =
        |text: &str| ["#[test]", "::test]", "proptest!", "def test_"].iter().any(|mark| text.contains(mark));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    files.iter().any(|(path, text)| {
        let path = format!("/{path}");
        let data = name.contains("fixtures") && path.contains(name);
        let inside = path.ends_with(&format!("/{name}")) || path.contains(&format!("/{stem}/"));
        data || (inside && has_tests(text))
    })
}

mod tests {
    use super::violations;

    fn check(page: &str, expected: usize) {
        let files = [
            ("src/store/mod.rs".to_owned(), String::new()),
            ("src/store/tests/faults.rs".to_owned(), "#[test]\nfn f() {}".to_owned()),
        ];
        let page = format!("`store/` {page}");
        let found = violations(&page, &files, "unsafe_code = \"forbid\"\nname = \"tidy\"");
        assert_eq!(found.len(), expected, "{page}: {found:?}");
    }

    #[test]
    fn what_is_named_must_be_there() {
        check("`store/mod.rs` and `mod.rs`, `store/<table>.rs`", 0);
        check("`store/gone.rs`", 1);
        check("`gone/`", 1);
    }

    #[test]
    fn every_folder_has_a_place_on_the_page() {
        let files = [("src/store/mod.rs".to_owned(), String::new())];
        assert_eq!(violations("nothing", &files, "").len(), 1);
    }

    #[test]
    fn an_invariant_ends_with_what_holds_it() {
        check(
            "\n- **Invariant:** a\n  b. *`store/tests/faults.rs`*\n- **Invariant:** c. *`tidy`, `forbid`*",
            0,
        );
        check("\n- **Invariant:** nothing holds this.\n", 1);
        check("\n- **Invariant:** a file without tests. *`store/mod.rs`*\n\nMore.", 1);
        check("\n- **Invariant:** no such file. *`store/tests/gone.rs`*", 2);
    }
}
