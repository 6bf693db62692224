//! `SELECT /*+ STATE_TTL('t' = '1d'), BROADCAST(t) */`: hints of a query. (Flink: query hints)
#![expect(clippy::wildcard_enum_match_arm, reason = "the library's tokens are open-ended")]

use sqlparser::{
    ast::{OptimizerHint, OptimizerHintStyle},
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use super::{
    Pos, SqlError,
    dialect::FlinkDialect,
    table::{expect, expected, ident, string},
};

/// One hint as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryHint {
    /// In capitals.
    pub name: String,
    /// `(a, b)`.
    pub list: Vec<String>,
    /// `('key' = 'value')`.
    pub options: Vec<(String, String)>,
}

/// The hints in the comments behind a SELECT; `at` is where it stands.
pub(crate) fn read(comments: &[OptimizerHint], at: Pos) -> Result<Vec<QueryHint>, SqlError> {
    let is_hint = |comment: &&OptimizerHint| {
        comment.prefix.is_empty() && comment.style == OptimizerHintStyle::MultiLine
    };
    let mut hints = Vec::new();
    for comment in comments.iter().filter(is_hint) {
        let tokens = Tokenizer::new(&FlinkDialect, &comment.text).tokenize();
        let tokens = tokens.map_err(|e| SqlError::syntax(at, e.message))?;
        let mut parser = Parser::new(&FlinkDialect).with_tokens(tokens);
        several(&mut parser, &mut hints).map_err(|e| SqlError { at, ..e })?;
    }
    Ok(hints)
}

fn several(p: &mut Parser<'_>, hints: &mut Vec<QueryHint>) -> Result<(), SqlError> {
    loop {
        hints.push(one(p)?);
        // A comma between hints may be left out.
        let _ = p.consume_token(&Token::Comma);
        if p.peek_token_ref().token == Token::EOF {
            return Ok(());
        }
    }
}

fn one(p: &mut Parser<'_>) -> Result<QueryHint, SqlError> {
    let (name, _) = ident(p)?;
    let mut hint = QueryHint { name: name.to_ascii_uppercase(), list: Vec::new(), options: Vec::new() };
    if !p.consume_token(&Token::LParen) {
        return Ok(hint);
    }
    loop {
        let token = p.next_token();
        let item = match token.token {
            Token::SingleQuotedString(text) => text,
            Token::Word(word) => word.value,
            _ => return Err(expected("an option of a hint", &token)),
        };
        if p.consume_token(&Token::Eq) {
            hint.options.push((item, string(p)?));
        } else {
            hint.list.push(item);
        }
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(p, &Token::RParen)?;
    Ok(hint)
}
