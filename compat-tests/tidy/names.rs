//! Which modules of this crate a file names: every path that begins with `crate`, `self` or `super`, in `use` trees
//! and in expressions, resolved from the file's place. Comments, strings and the file's own tests are left out.

/// The module a file defines: `src/amqp/wire/basic.rs` → `amqp::wire::basic`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut module: Vec<String> = inner.split('/').map(ToString::to_string).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        module.pop();
    }
    module
}

/// Every module path the text names, absolute, longest known part first to last.
pub(crate) fn named(path: &str, text: &str) -> Vec<Vec<String>> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let code = code_only(text);
    let tokens = tokens(without_tests(&code));
    let module = module_of(path);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = ["crate", "self", "super"].contains(&tokens[at].as_str());
        let continues = tokens.get(at + 1).is_some_and(|next| next == "::");
        let is_inner = at > 0 && tokens[at - 1] == "::";
        if starts && continues && !is_inner {
            at = tree(&tokens, at, &[], &module, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path or use tree from `at`; returns the position after it.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    module: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    if tokens[at] == "," {
                        at += 1;
                    } else {
                        let next = tree(tokens, at, &path, module, found);
                        // `as name` and anything unforeseen: on to the next branch.
                        at = next.max(at + 1);
                        while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                            at += 1;
                        }
                    }
                }
                return at + 1;
            }
            Some(segment) if is_name(segment) || segment == "*" => {
                path.push(segment.to_string());
                at += 1;
            }
            _ => {
                found.push(resolve(&path, module));
                return at;
            }
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
        } else {
            found.push(resolve(&path, module));
            return at;
        }
    }
}

fn resolve(path: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        rest = tail;
    }
    base.extend(rest.iter().cloned());
    base
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and the brackets of use trees; everything else as single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, tail) = rest.split_at(length);
        tokens.push(token.to_string());
        rest = tail.trim_start();
    }
    tokens
}

/// The part before the file's tests: they may use what the code may not.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or(code)
}

/// The text with comments, strings and character literals blanked; lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else if let Some(length) = raw_string_length(rest, code.chars().last()) {
            length
        } else if first == '\'' {
            character_length(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, tail) = rest.split_at(skipped);
            // A literal stays something between its neighbours.
            code.push(' ');
            code.extend(gone.chars().filter(|c| *c == '\n'));
            rest = tail;
        }
    }
    code
}

/// The length of a string literal, its quotes included.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str, before: Option<char>) -> Option<usize> {
    let inner = rest.strip_prefix('r')?;
    let is_prefix = before.is_none_or(|c| !(c.is_alphanumeric() && c != 'b') && c != '_');
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    if !is_prefix || !inner[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()))
}

/// The length of a character literal, or zero for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(0, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

mod tests {
    use super::{code_only, module_of, named};

    fn check(path: &str, text: &str, expected: &[&str]) {
        let found: Vec<String> = named(path, text).iter().map(|path| path.join("::")).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_file_is_a_module() {
        assert_eq!(module_of("src/amqp/wire/basic.rs"), ["amqp", "wire", "basic"]);
        assert_eq!(module_of("src/amqp/mod.rs"), ["amqp"]);
        assert!(module_of("src/lib.rs").is_empty());
    }

    #[test]
    fn paths_are_found_in_use_trees_and_in_expressions() {
        check("src/a.rs", "use crate::b::C;", &["b::C"]);
        check("src/a.rs", "use crate::{b::{C, d::*}, e};", &["b::C", "b::d::*", "e"]);
        check("src/a.rs", "use crate::{b as c, e};", &["b", "e"]);
        check("src/a/tests.rs", "use crate::b::C;", &[]);
        check("src/a/tests/mod.rs", "use crate::b::C;", &[]);
        check("src/a.rs", "fn f() -> crate::b::C { crate::d::e::<u8>() }", &["b::C", "d::e"]);
        check("src/a.rs", "macro_rules! m { () => { $crate::b::C } }", &["b::C"]);
        check("src/a/b.rs", "use super::c::D; use super::super::e;", &["a::c::D", "e"]);
        check("src/a/b.rs", "use self::c::D;", &["a::b::c::D"]);
        check("src/a.rs", "use std::{fmt, io}; use tokio::net;", &[]);
    }

    #[test]
    fn comments_strings_and_tests_name_nothing() {
        check(
            "src/a.rs",
            "// crate::b\n/* crate::b */ \"crate::b\" r#\"crate::b\"# 'c' b'\\'' fn f<'a>() {}",
            &[],
        );
        check("src/a.rs", "use crate::b;\n#[cfg(test)]\nmod tests { use crate::c; }", &["b"]);
        assert_eq!(code_only("a\n// b\n\"c\nd\" e"), "a\n \n \n e");
    }
}
