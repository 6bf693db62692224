//! Paths over one document, against what Flink's JSON_QUERY finds (`fixtures/streams/paths`, made by
//! `compat-tests/flink`).

use std::{collections::BTreeMap, fs, path::Path as FilePath};

use super::{Json, path::Path};

#[test]
fn every_path_finds_what_flink_finds() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/paths");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (values, differs) = (read("values.tsv"), read("differs.tsv"));
    let lines = differs.lines().filter(|line| !line.starts_with("# "));
    let mut differs: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('\t')).collect();
    let document = Json::parse(&read("document.json")).unwrap();
    let mut wrong = Vec::new();
    for line in values.lines() {
        let (path, flink) = line.split_once('\t').unwrap();
        let found = match Path::read(path).and_then(|path| path.find(&document)) {
            Ok(Json::Null) if path.starts_with("lax ") => "null".to_owned(),
            Ok(Json::Null) | Err(_) => "!".to_owned(),
            Ok(json) => Json::Array(vec![json]).to_text(),
        };
        match differs.remove(path).and_then(|differs| differs.split_once('\t')) {
            None if found == flink => {}
            Some((ours, why)) if found == ours && found != flink && !why.is_empty() => {}
            _ => wrong.push(format!("{path} finds {found}, with Flink {flink}")),
        }
    }
    wrong.extend(differs.keys().map(|path| format!("{path} differs, but is not in values.tsv")));
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
