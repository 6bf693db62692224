//! Topic patterns as a trie of words: `*` is one word, `#` is none or more; an empty word is a word.

use std::collections::HashMap;

/// A trie from patterns to values of `T`.
#[derive(Debug)]
pub struct Patterns<T> {
    words: HashMap<Box<str>, Patterns<T>>,
    star: Option<Box<Patterns<T>>>,
    hash: Option<Box<Patterns<T>>>,
    here: Vec<T>,
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { words: HashMap::new(), star: None, hash: None, here: Vec::new() }
    }
}

/// The words of a key; an empty key has none.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

impl<T: Clone> Patterns<T> {
    /// Adds a value under a pattern.
    pub fn insert(&mut self, pattern: &str, value: T) {
        let mut node = self;
        for word in words(pattern) {
            node = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                word => node.words.entry(word.into()).or_default(),
            };
        }
        node.here.push(value);
    }

    /// Removes the values under a pattern for which `is` holds, and the branches that die of it.
    pub fn remove(&mut self, pattern: &str, is: impl Fn(&T) -> bool) {
        self.remove_words(&words(pattern), &is);
    }

    fn remove_words(&mut self, words: &[&str], is: &impl Fn(&T) -> bool) {
        let Some((word, rest)) = words.split_first() else {
            self.here.retain(|value| !is(value));
            return;
        };
        match *word {
            "*" => prune(&mut self.star, rest, is),
            "#" => prune(&mut self.hash, rest, is),
            word => {
                if let Some(node) = self.words.get_mut(word) {
                    node.remove_words(rest, is);
                    if node.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    /// Adds the values of every pattern that matches; a value may come more than once.
    pub fn matches(&self, key: &str, found: &mut Vec<T>) {
        self.matches_words(&words(key), found);
    }

    fn matches_words(&self, words: &[&str], found: &mut Vec<T>) {
        if let Some(hash) = &self.hash {
            // `#` takes any number of words, and `#.#` is `#`: try every rest.
            for skip in 0..=words.len() {
                hash.matches_words(words.get(skip..).unwrap_or_default(), found);
            }
        }
        let Some((word, rest)) = words.split_first() else {
            found.extend(self.here.iter().cloned());
            return;
        };
        if let Some(node) = self.words.get(*word) {
            node.matches_words(rest, found);
        }
        if let Some(star) = &self.star {
            star.matches_words(rest, found);
        }
    }
}

fn prune<T: Clone>(branch: &mut Option<Box<Patterns<T>>>, rest: &[&str], is: &impl Fn(&T) -> bool) {
    if let Some(node) = branch {
        node.remove_words(rest, is);
        if node.is_empty() {
            *branch = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, key: &str, expected: bool) {
        let mut patterns = Patterns::default();
        patterns.insert(pattern, ());
        let mut found = Vec::new();
        patterns.matches(key, &mut found);
        assert_eq!(!found.is_empty(), expected, "{pattern:?} against {key:?}");
        patterns.remove(pattern, |()| true);
        assert!(patterns.is_empty(), "{pattern:?} leaves nothing behind");
    }

    #[test]
    fn patterns_match_as_rabbitmq_matches_them() {
        for (pattern, key, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a..c", true),
            ("a.*.c", "a.c", false),
            ("a.#", "a", true),
            ("a.#", "a.", true),
            ("*.*", "a.", true),
            ("#", "", true),
            ("", "", true),
            ("*", "", false),
            ("#.b", "a.b.b", true),
            ("#.#", "x", true),
            ("#.b.#", "a.b.c.d", true),
            ("#.b.#", "a.c", false),
        ] {
            check(pattern, key, expected);
        }
    }
}
