//! What stands behind a table's options: LIKE another table, AS a query, or nothing.

use sqlparser::parser::Parser;
use sqlparser::{keywords::Keyword, tokenizer::Token};

use super::{
    Pos, SqlError,
    ast::{Creation, Feature, Strategy, TableSource},
    parser::{fault, name},
    table::{expected, here, take_word},
};

const FEATURES: &[(&str, Feature)] = &[
    ("ALL", Feature::All),
    ("CONSTRAINTS", Feature::Constraints),
    ("DISTRIBUTION", Feature::Distribution),
    ("GENERATED", Feature::Generated),
    ("METADATA", Feature::Metadata),
    ("OPTIONS", Feature::Options),
    ("PARTITIONS", Feature::Partitions),
    ("WATERMARKS", Feature::Watermarks),
];

const STRATEGIES: &[(&str, Strategy)] = &[
    ("EXCLUDING", Strategy::Excluding),
    ("INCLUDING", Strategy::Including),
    ("OVERWRITING", Strategy::Overwriting),
];

/// `order` is a list of bare names, which only a query can give types.
pub(super) fn source(
    p: &mut Parser<'_>,
    order: Vec<(String, Pos)>,
    creation: &Creation,
) -> Result<TableSource, SqlError> {
    let at = here(p);
    if p.parse_keyword(Keyword::AS) {
        if creation.temporary {
            let message = "CREATE TABLE AS SELECT syntax does not support to create temporary table yet.";
            return Err(SqlError::invalid(at, message));
        }
        let query = p.parse_query().map_err(|e| fault(p, &e))?;
        return Ok(TableSource::Query { order, query });
    }
    if let Some((_, at)) = order.first() {
        return Err(SqlError::syntax(*at, "a list of names without types needs AS SELECT"));
    }
    if !take_word(p, "LIKE") {
        return Ok(TableSource::Definition);
    }
    let base = name(p)?;
    let mut choices = Vec::new();
    if p.consume_token(&Token::LParen) {
        while !p.consume_token(&Token::RParen) {
            choices.push(choice(p, &choices)?);
        }
        if choices.is_empty() {
            return Err(expected("EXCLUDING, INCLUDING or OVERWRITING", p.peek_token_ref()));
        }
    }
    Ok(TableSource::Like { base, choices })
}

fn choice(p: &mut Parser<'_>, before: &[(Strategy, Feature)]) -> Result<(Strategy, Feature), SqlError> {
    let at = here(p);
    let strategy = STRATEGIES.iter().find(|(word, _)| take_word(p, word));
    let (strategy_word, strategy) =
        strategy.ok_or_else(|| expected("EXCLUDING, INCLUDING or OVERWRITING", p.peek_token_ref()))?;
    let feature = FEATURES.iter().find(|(word, _)| take_word(p, word));
    let (word, feature) = feature.ok_or_else(|| expected("a part of a table", p.peek_token_ref()))?;
    if before.iter().any(|(_, earlier)| earlier == feature) {
        return Err(SqlError::invalid(at, "Each like option feature can be declared only once."));
    }
    let replaceable =
        matches!(feature, Feature::Generated | Feature::Metadata | Feature::Options | Feature::Watermarks);
    if *strategy == Strategy::Overwriting && !replaceable {
        let message = format!("Illegal merging strategy '{strategy_word}' for '{word}' option.");
        return Err(SqlError::invalid(at, message));
    }
    Ok((*strategy, *feature))
}
