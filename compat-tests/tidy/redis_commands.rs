//! The README's table of Redis commands against the one table in `src/redis/command.rs`: the same names.

use std::collections::BTreeSet;

/// What differs; empty when nothing does.
pub(crate) fn disagreements(table: &str, readme: &str) -> Vec<String> {
    let (served, listed) = (served(table), listed(readme));
    let lacking = served.difference(&listed).map(|name| format!("README lacks {name}"));
    let surplus = listed.difference(&served).map(|name| format!("README lists {name}"));
    lacking.chain(surplus).collect()
}

/// Lines such as `"lpush" list::lpush -3 [WRITE DENYOOM FAST] ONE, List;` of the `commands!` table.
fn served(table: &str) -> BTreeSet<String> {
    let rows = table.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" "));
    rows.filter(|(_, row)| row.contains("::") && row.ends_with(';'))
        .map(|(name, _)| name.to_uppercase())
        .collect()
}

/// The second cells of the table under `### Redis`, without what stands in brackets.
fn listed(readme: &str) -> BTreeSet<String> {
    let section = readme.split("\n### Redis\n").nth(1).unwrap_or_default();
    let section = section.split("\n### ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').nth(1));
    let mut names = BTreeSet::new();
    for cell in cells {
        let mut depth = 0;
        let outside = cell.chars().filter(|&c| {
            depth += i32::from(c == '(');
            let keep = depth == 0;
            depth -= i32::from(c == ')');
            keep
        });
        let outside: String = outside.collect();
        names.extend(outside.split(',').map(|name| name.trim().to_owned()));
    }
    names.retain(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase()));
    names
}

#[test]
fn both_ways_of_differing_are_seen() {
    let table = "    \"lpush\" list::lpush -3 [WRITE] ONE, List;\n    \"client\" client::client -2 [] NONE, Server;\n";
    let readme = "\n### Redis\n\n| family | commands |\n|---|---|\n| a | CLIENT (ID, LIST), LPOP |\n\n### Next\n| b | GET |\n";
    assert_eq!(disagreements(table, readme), ["README lacks LPUSH", "README lists LPOP"]);
}
