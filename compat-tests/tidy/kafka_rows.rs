//! The README's table of Kafka APIs against the one table in `src/kafka/api.rs`: same keys, names and versions.

use std::collections::BTreeMap;

/// Key → name and versions, as text.
type Rows = BTreeMap<u16, (String, String)>;

/// What differs; empty when nothing does, or when there is no API table yet.
pub(crate) fn disagreements(api: &str, readme: &str) -> Vec<String> {
    let (advertised, listed) = (advertised(api), listed(readme));
    let mut wrong = Vec::new();
    for (key, (name, versions)) in &advertised {
        match listed.get(key) {
            Some(found) if *found == (name.clone(), versions.clone()) => {}
            Some((name, versions)) => {
                wrong.push(format!("README: | {key} | {name} | {versions} | is not what api.rs says"))
            }
            None => wrong.push(format!("README lacks: | {key} | {name} | {versions} |")),
        }
    }
    if !advertised.is_empty() {
        wrong.extend(
            listed
                .keys()
                .filter(|key| !advertised.contains_key(key))
                .map(|key| format!("README lists {key}")),
        );
    }
    wrong
}

/// Lines such as `12 Heartbeat heartbeat 0..=4;` of the `apis!` table.
fn advertised(api: &str) -> Rows {
    let mut rows = Rows::new();
    for line in api.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = line.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
        let Some((key, name)) = words.first().and_then(|key| key.parse().ok()).zip(words.get(1)) else {
            continue;
        };
        let versions = words.iter().find_map(|word| word.split_once("..="));
        if let Some((from, to)) = versions {
            rows.insert(key, (name.to_string(), range(from, to)));
        }
    }
    rows
}

/// Rows such as `| 12 | Heartbeat | 0–4 |`.
fn listed(readme: &str) -> Rows {
    let mut rows = Rows::new();
    for line in readme.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [key, name, versions, ..] = cells.as_slice() else { continue };
        let Ok(key) = key.parse() else { continue };
        let (from, to) = versions.split_once(['–', '-']).unwrap_or((versions, versions));
        rows.insert(key, (name.to_string(), range(from, to)));
    }
    rows
}

fn range(from: &str, to: &str) -> String {
    if from == to { from.to_string() } else { format!("{from}–{to}") }
}

mod tests {
    use super::disagreements;

    const API: &str = "apis! {\n    3  Metadata   metadata   0..=13;\n    12 Heartbeat  heartbeat  0..=4; // v4 flexible\n    60 DescribeCluster describe_cluster 0..=0;\n}";

    #[test]
    fn an_agreeing_table_is_fine() {
        let readme = "| key | API | versions |\n|---|---|---|\n| 3 | Metadata | 0–13 |\n| 12 | Heartbeat | 0-4 |\n| 60 | DescribeCluster | 0 |\n";
        assert_eq!(disagreements(API, readme), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_wrong_and_a_spare_row_are_caught() {
        let readme = "| 3 | Metadata | 0–12 |\n| 12 | Heartbeat | 0–4 |\n| 99 | Invented | 0 |\n";
        assert_eq!(disagreements(API, readme).len(), 3);
    }
}
