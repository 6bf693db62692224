//! Redis' patterns: `*`, `?`, `[a-z]`, `[^a]` and `\`.

/// Whether `text` is as `pattern` says.
///
/// In a time that grows with the product of both: a star that leads nowhere is given up for the next one.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = pattern.split_first() {
            pattern = rest;
            star = Some((rest, text));
            continue;
        }
        let step = text.split_first().and_then(|(&b, rest)| Some((one(pattern, b)?, rest)));
        match (step, star) {
            (Some((pattern_rest, text_rest)), _) => (pattern, text) = (pattern_rest, text_rest),
            (None, _) if text.is_empty() && pattern.is_empty() => return true,
            (None, Some((behind, from))) => {
                let Some((_, from)) = from.split_first() else { return false };
                (pattern, text) = (behind, from);
                star = Some((behind, from));
            }
            (None, None) => return false,
        }
    }
}

/// The pattern behind its first element, if that is as `b`.
fn one(pattern: &[u8], b: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, b),
        [b'\\', escaped, rest @ ..] => (*escaped == b).then_some(rest),
        [first, rest @ ..] => (*first == b).then_some(rest),
    }
}

/// What is behind a class, if `b` is in it. One that is not closed ends with the pattern.
fn class(mut rest: &[u8], b: u8) -> Option<&[u8]> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = rest.get(1..).unwrap_or_default();
    }
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', behind @ ..] => {
                rest = behind;
                break;
            }
            [b'\\', escaped, behind @ ..] => {
                found |= *escaped == b;
                behind
            }
            [from, b'-', to, behind @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&b);
                behind
            }
            [one, behind @ ..] => {
                found |= *one == b;
                behind
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h*llo*", "hllo", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[a", "a", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("task:*", "task:1", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches("*a".repeat(2_000).as_bytes(), "a".repeat(1_000).as_bytes()));
    }
}
