//! GROUPING SETS, ROLLUP and CUBE: every row goes into a group of each set, with NULL for the keys that the set lacks.
//! (Calcite: AggregateExpandDistinctAggregatesRule; Flink: Expand)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the library's expressions only those of GROUP BY are looked for here"
)]

use sqlparser::ast::{Expr as Parsed, Spanned};

use super::{
    analyze::Result,
    logical::{Expand, Logical},
    scope::Scope,
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::Expr,
    sql::{Pos, SqlError},
};

/// More sets are refused: CUBE doubles them with each key.
const SETS_MAX: usize = 64;

/// Positions of keys, one list for each set; in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSets(Vec<Vec<usize>>);

/// Columns of keys once rows have been put into each of several sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Expanded {
    /// The key in each set, or NULL.
    pub keys: Vec<Expr>,
    /// For each key: 1 in the sets that lack it, or 0. `None` for a key of all sets.
    pub lacking: Vec<Option<Expr>>,
}

impl GroupingSets {
    /// The keys of a GROUP BY, each once, and its sets: those of its items, each with each.
    pub(super) fn read(scope: &Scope, items: &[&Parsed]) -> Result<(Vec<Expr>, Self)> {
        let mut keys: Vec<Expr> = Vec::new();
        let mut key_of = |parsed: &Parsed| -> Result<usize> {
            let key = scope.expr(parsed)?;
            Ok(keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            }))
        };
        let mut sets = vec![Vec::new()];
        for item in items {
            let own = sets_of(item, &mut key_of)?;
            sets = sets
                .iter()
                .flat_map(|set| own.iter().map(move |more| [set.as_slice(), more].concat()))
                .collect();
            if sets.len() > SETS_MAX {
                return Err(SqlError::invalid(item.span(), format!("more than {SETS_MAX} grouping sets")));
            }
        }
        for set in &mut sets {
            set.sort_unstable();
            set.dedup();
        }
        for (index, set) in sets.iter().enumerate() {
            if let (true, Some(item)) = (sets.iter().take(index).any(|before| before == set), items.first()) {
                return Err(SqlError::not_yet(item.span(), "a grouping set that is given twice"));
            }
        }
        Ok((keys, Self(sets)))
    }

    /// Groups by one more key, which must be no key of several sets: some of them would lack it.
    pub(super) fn add(&mut self, keys: &mut Vec<Expr>, key: &Expr, at: Pos) -> Result<()> {
        let [set] = self.0.as_mut_slice() else {
            return Err(SqlError::not_yet(at, "grouping sets in a sub-query that names the query around it"));
        };
        if !keys.contains(key) {
            set.push(keys.len());
            keys.push(key.clone());
        }
        Ok(())
    }

    /// The relation with each row once for each set; unchanged if there is one.
    pub(super) fn expand(
        &self,
        input: Logical,
        keys: &[Expr],
        names: &[String],
        at: Pos,
    ) -> Result<(Logical, Option<Expanded>)> {
        if self.0.len() == 1 {
            return Ok((input, None));
        }
        let schema = input.schema();
        let own: Vec<Expr> =
            schema.iter().enumerate().map(|(i, (n, t))| Expr::column(i, n, t.clone())).collect();
        let everywhere = |key: usize| self.0.iter().all(|set| set.contains(&key));
        let flag = DataType::not_null(Type::BigInt);
        let (mut expanded_keys, mut lacking) = (Vec::new(), Vec::new());
        let mut all_names: Vec<String> = schema.iter().map(|(name, _)| name.clone()).collect();
        for (index, (key, name)) in keys.iter().zip(names).enumerate() {
            if everywhere(index) {
                expanded_keys.push(key.clone());
                lacking.push(None);
                continue;
            }
            let key_type = key.data_type.clone().with_nullable(true);
            expanded_keys.push(Expr::column(all_names.len(), name, key_type));
            all_names.push(name.clone());
            lacking.push(Some(Expr::column(all_names.len(), &format!("$g{index}"), flag.clone())));
            all_names.push(format!("$g{index}"));
        }
        let projection = |set: &Vec<usize>| -> Vec<Expr> {
            let mut exprs = own.clone();
            for (index, key) in keys.iter().enumerate().filter(|(index, _)| !everywhere(*index)) {
                let held = set.contains(&index);
                let value =
                    if held { key.clone() } else { Expr::literal(Datum::Null, key.data_type.kind.clone()) };
                let nullable = value.data_type.clone().with_nullable(true);
                exprs.push(Expr::new(value.node, nullable));
                exprs.push(Expr::literal(Datum::Int(i64::from(!held)), Type::BigInt));
            }
            exprs
        };
        let sets: Vec<Vec<Expr>> = self.0.iter().map(projection).collect();
        if sets.is_empty() {
            return Err(SqlError::invalid(at, "GROUPING SETS needs a set"));
        }
        let expand = Expand { input, sets, names: all_names };
        Ok((Logical::Expand(Box::new(expand)), Some(Expanded { keys: expanded_keys, lacking })))
    }
}

/// The sets of one item of GROUP BY.
fn sets_of(item: &Parsed, key_of: &mut impl FnMut(&Parsed) -> Result<usize>) -> Result<Vec<Vec<usize>>> {
    let mut all = |lists: &[Vec<Parsed>]| -> Result<Vec<Vec<usize>>> {
        lists.iter().map(|list| list.iter().map(&mut *key_of).collect()).collect()
    };
    match item {
        Parsed::Rollup(lists) => {
            let parts = all(lists)?;
            Ok((0..=parts.len()).rev().map(|n| parts.iter().take(n).flatten().copied().collect()).collect())
        }
        Parsed::Cube(lists) => {
            let parts = all(lists)?;
            let too_many = || SqlError::invalid(item.span(), format!("more than {SETS_MAX} grouping sets"));
            let count =
                u32::try_from(parts.len()).ok().and_then(|n| 1usize.checked_shl(n)).ok_or_else(too_many)?;
            if count > SETS_MAX {
                return Err(too_many());
            }
            // The first key is the last to be left out.
            let within = |mask: usize, i: usize| mask >> (parts.len() - 1 - i) & 1 == 1;
            let set = |mask: usize| {
                let held = parts.iter().enumerate().filter(|(i, _)| within(mask, *i));
                held.flat_map(|(_, part)| part.iter().copied()).collect()
            };
            Ok((0..count).rev().map(set).collect())
        }
        Parsed::GroupingSets(lists) => all(lists),
        Parsed::Tuple(list) => Ok(vec![list.iter().map(&mut *key_of).collect::<Result<_>>()?]),
        key => Ok(vec![vec![key_of(key)?]]),
    }
}
