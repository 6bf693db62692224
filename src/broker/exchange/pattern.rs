//! Topic patterns as a trie of words: `*` is one word, `#` is none or more; an empty word is a word.
//!
//! A key is matched against all patterns at once, word by word, keeping the set of nodes that the words so far lead to.
//! No node is in that set twice, so a key costs its words times the nodes it can reach, however many `#` a pattern has
//! (trying every rest for every `#` is exponential in their number).

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

/// A trie from patterns to values of `T`, each under a key `K` of its own.
#[derive(Debug)]
pub struct Patterns<K, T> {
    words: HashMap<Box<str>, Self>,
    star: Option<Box<Self>>,
    hash: Option<Box<Self>>,
    here: BTreeMap<K, T>,
}

impl<K, T> Default for Patterns<K, T> {
    fn default() -> Self {
        Self { words: HashMap::new(), star: None, hash: None, here: BTreeMap::new() }
    }
}

/// The words of a key; an empty key has none.
fn words(key: &str) -> impl Iterator<Item = &str> {
    // `split` gives one empty word for an empty key.
    key.split('.').take(if key.is_empty() { 0 } else { usize::MAX })
}

/// The nodes that the words so far lead to; those that a `#` leads to first, as they stay with every word.
struct Reached<'t, K, T> {
    hashes: SmallVec<[&'t Patterns<K, T>; 8]>,
    others: SmallVec<[&'t Patterns<K, T>; 8]>,
}

impl<K: Ord, T> Patterns<K, T> {
    /// Adds a value under a pattern; one of the same key is replaced.
    pub fn insert(&mut self, pattern: &str, key: K, value: T) {
        let mut node = self;
        for word in words(pattern) {
            node = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                word => node.words.entry(word.into()).or_default(),
            };
        }
        node.here.insert(key, value);
    }

    /// Removes a value from under a pattern, and the branches that die of it.
    pub fn remove(&mut self, pattern: &str, key: &K) {
        self.remove_words(&words(pattern).collect::<Vec<_>>(), key);
    }

    fn remove_words(&mut self, words: &[&str], key: &K) {
        let Some((word, rest)) = words.split_first() else {
            self.here.remove(key);
            return;
        };
        match *word {
            "*" => prune(&mut self.star, rest, key),
            "#" => prune(&mut self.hash, rest, key),
            word => {
                if let Some(node) = self.words.get_mut(word) {
                    node.remove_words(rest, key);
                    if node.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    /// Hears the values of every pattern that matches; a value under several comes as often.
    pub fn matches<'t>(&'t self, key: &str, mut found: impl FnMut(&'t T)) {
        let mut reached = Reached::new();
        reached.other(self);
        for word in words(key) {
            reached = reached.next(word);
        }
        let nodes = reached.hashes.iter().chain(&reached.others);
        nodes.flat_map(|node| node.here.values()).for_each(&mut found);
    }
}

impl<'t, K, T> Reached<'t, K, T> {
    fn new() -> Self {
        Self { hashes: SmallVec::new(), others: SmallVec::new() }
    }

    fn next(&self, word: &str) -> Self {
        let mut next = Self::new();
        // What a `#` has reached it keeps: it takes this word, too.
        next.hashes.clone_from(&self.hashes);
        for node in self.hashes.iter().chain(&self.others) {
            if let Some(node) = node.words.get(word) {
                next.other(node);
            }
            if let Some(node) = &node.star {
                next.other(node);
            }
        }
        next
    }

    /// A node reached by a word; and with it those behind `#`, which need none. Each node has one way to it, so only
    /// the first `#` behind it can have been reached before.
    fn other(&mut self, node: &'t Patterns<K, T>) {
        self.others.push(node);
        let mut hash = node.hash.as_deref();
        while let Some(node) =
            hash.filter(|node| !self.hashes.iter().any(|other| std::ptr::eq(*other, *node)))
        {
            self.hashes.push(node);
            hash = node.hash.as_deref();
        }
    }
}

fn prune<K: Ord, T>(branch: &mut Option<Box<Patterns<K, T>>>, rest: &[&str], key: &K) {
    if let Some(node) = branch {
        node.remove_words(rest, key);
        if node.is_empty() {
            *branch = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, key: &str, expected: bool) {
        let mut patterns = Patterns::default();
        patterns.insert(pattern, 0, ());
        let mut found = 0;
        patterns.matches(key, |()| found += 1);
        assert_eq!(found, usize::from(expected), "{pattern:?} against {key:?}");
        patterns.remove(pattern, &0);
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
            ("*", ".", false),
            ("*.*", ".", true),
            ("#.b", "a.b.b", true),
            ("#.b", "b.a", false),
            ("#.#", "x", true),
            ("#.#.#", "", true),
            ("#.*", "", false),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("#.b.#", "a.b.c.d", true),
            ("#.b.#", "a.c", false),
            ("#.*.#.*.#", "a", false),
            ("#.*.#.*.#", "a.b", true),
        ] {
            check(pattern, key, expected);
        }
    }

    #[test]
    fn many_hashes_cost_little() {
        // Trying every rest for every `#` would take longer than anybody waits.
        let (pattern, key) = (["#"; 60].join(".a."), ["a"; 120].join("."));
        check(&pattern, &key, true);
        check(&format!("{pattern}.b"), &key, false);
    }

    /// The specification's sentence, said slowly.
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((&"#", rest)), None) => naive(rest, key),
            (Some((&"#", rest)), Some((_, tail))) => naive(rest, key) || naive(pattern, tail),
            (Some(_), None) => false,
            (Some((&"*", rest)), Some((_, tail))) => naive(rest, tail),
            (Some((word, rest)), Some((head, tail))) => word == head && naive(rest, tail),
        }
    }

    fn key_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(words), 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_a_naive_matcher_finds(
            patterns in proptest::collection::vec(key_of(&["a", "b", "", "*", "#", "#"]), 0..20),
            removed in proptest::collection::vec(any::<bool>(), 20),
            keys in proptest::collection::vec(key_of(&["a", "b", "c", ""]), 1..6),
        ) {
            let mut trie = Patterns::default();
            for (n, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, n, n);
            }
            for (n, pattern) in patterns.iter().enumerate().filter(|(n, _)| removed[*n]) {
                trie.remove(pattern, &n);
            }
            for key in &keys {
                let mut found = Vec::new();
                trie.matches(key, |&n| found.push(n));
                found.sort_unstable();
                let key: Vec<_> = words(key).collect();
                let matching = |(n, pattern): &(usize, &String)| {
                    !removed[*n] && naive(&words(pattern).collect::<Vec<_>>(), &key)
                };
                let expected: Vec<_> = patterns.iter().enumerate().filter(matching).map(|(n, _)| n).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
