//! Rows as Flink's SQL client shows what a statement says.

/// A table with a frame; each text stands at the right of its column. (Flink: TableauStyle)
#[must_use]
pub fn tableau(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "Empty set\n".to_owned();
    }
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let length = |text: &String| text.chars().count();
    let width = |i: usize| [&head].into_iter().chain(rows).filter_map(|row| row.get(i)).map(length).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let line = |row: &Vec<String>| -> String {
        let cell = |(text, width): (&String, &usize)| format!("| {text:>width$} ");
        format!("{}|\n", row.iter().zip(&widths).map(cell).collect::<String>())
    };
    let body: String = rows.iter().map(line).collect();
    let count = rows.len();
    let noun = if count == 1 { "row" } else { "rows" };
    format!("{rule}+\n{}{rule}+\n{body}{rule}+\n{count} {noun} in set\n", line(&head))
}
