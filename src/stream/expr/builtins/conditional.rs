//! Functions that choose, and tests of texts. CASE, COALESCE, IF, IFNULL and NULLIF are made of CASE by the analysis,
//! so that only the branch that is taken is computed.

use std::cmp::Ordering;

use super::{Arg, Builtin, Call, Expr, Nulls, Ret, Type_, lenient, lenient_with, strict, text};
use crate::stream::{
    datum::Datum,
    expr::{EvalError, cast},
    plan::types::DataType,
};

pub(super) const TABLE: &[Builtin] = &[
    Builtin {
        name: "GREATEST",
        accepts: &[&[Arg::Common]],
        repeats: true,
        returns: Ret::First,
        nulls: Nulls::Args,
        prepare: |_, _| strict(|args| extreme(args, Ordering::Greater)),
    },
    Builtin {
        name: "LEAST",
        accepts: &[&[Arg::Common]],
        repeats: true,
        returns: Ret::First,
        nulls: Nulls::Args,
        prepare: |_, _| strict(|args| extreme(args, Ordering::Less)),
    },
    test("IS_ALPHA", |_, _| lenient(|args| every(args, char::is_alphabetic))),
    test("IS_DIGIT", |_, _| {
        // Digits of all scripts, as Character.isDigit has them.
        let digits = regex::Regex::new("^\\p{Nd}+$").map_err(|e| EvalError(e.to_string()))?;
        lenient_with(move |args, _| Ok(Datum::Bool(digits.is_match(text(args, 0)))))
    }),
    test("IS_DECIMAL", |_, _| lenient(|args| Datum::Bool(cast::parse_double(text(args, 0)).is_ok()))),
];

const fn test(name: &'static str, prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>) -> Builtin {
    let returns = Ret::Is(Type_::Boolean);
    Builtin { name, accepts: &[&[Arg::Str]], repeats: false, returns, nulls: Nulls::Never, prepare }
}

fn extreme(args: &[Datum], wanted: Ordering) -> Datum {
    let mut items = args.iter();
    let Some(mut best) = items.next() else { return Datum::Null };
    for item in items {
        if item.compare(best) == Some(wanted) {
            best = item;
        }
    }
    best.clone()
}

fn every(args: &[Datum], is: fn(char) -> bool) -> Datum {
    let s = text(args, 0);
    Datum::Bool(!s.is_empty() && s.chars().all(is))
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn choices_are_flinks() {
        let rows = [
            ("CASE WHEN 1 > 2 THEN 'a' WHEN 2 > 1 THEN 'bc' ELSE 'd' END", "bc"),
            ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"),
            ("CASE WHEN 1 > 2 THEN 1 END", "null"),
            ("CASE WHEN TRUE THEN 1 ELSE 1 / 0 END", "1"),
            ("COALESCE(CAST(NULL AS INT), 5, 1 / 0)", "5"),
            ("NULLIF(5, 5)", "null"),
            ("NULLIF(5, 0)", "5"),
            ("IF(1 > 2, 'x', 'y')", "y"),
            ("IFNULL(CAST(NULL AS INT), 5)", "5"),
            ("GREATEST(1, 2.5, 2)", "2.5"),
            ("LEAST(3, 2, 1)", "1"),
            ("GREATEST(1, CAST(NULL AS INT))", "null"),
            ("IS_ALPHA('abc')", "true"),
            ("IS_DIGIT('12a')", "false"),
            ("IS_DECIMAL('12.5')", "true"),
            ("IS_DIGIT(CAST(NULL AS STRING))", "false"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }

    #[test]
    fn logic_has_three_values() {
        let unknown = "CAST(NULL AS BOOLEAN)";
        let rows = [
            (format!("{unknown} AND FALSE"), "false"),
            (format!("{unknown} AND TRUE"), "null"),
            (format!("{unknown} OR TRUE"), "true"),
            (format!("{unknown} OR FALSE"), "null"),
            (format!("NOT {unknown}"), "null"),
            (format!("{unknown} IS TRUE"), "false"),
            (format!("{unknown} IS NOT TRUE"), "true"),
            (format!("{unknown} IS UNKNOWN"), "true"),
            (format!("{unknown} IS NOT FALSE"), "true"),
            ("1 = CAST(NULL AS INT)".to_owned(), "null"),
            ("1 IS DISTINCT FROM CAST(NULL AS INT)".to_owned(), "true"),
            ("CAST(NULL AS INT) IS NOT DISTINCT FROM CAST(NULL AS INT)".to_owned(), "true"),
            ("1 IN (2, 1)".to_owned(), "true"),
            ("1 IN (2, CAST(NULL AS INT))".to_owned(), "null"),
            ("1 NOT IN (2, 3)".to_owned(), "true"),
            ("2 BETWEEN 1 AND 3".to_owned(), "true"),
            ("2 NOT BETWEEN 1 AND 3".to_owned(), "false"),
            ("1 < 1.5".to_owned(), "true"),
            ("'a' < 'b'".to_owned(), "true"),
            ("CAST(NULL AS INT) IS NULL".to_owned(), "true"),
        ];
        for (sql, expected) in rows {
            check(&sql, expected);
        }
    }
}
