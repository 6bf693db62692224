//! `t /*+ OPTIONS('key' = 'value') */`: a table with other options for one use of it.
//!
//! To the library a hint is a blank. It is made a part of the table's name, which the reader of names takes off again.
//! (Flink: dynamic table options)
#![expect(clippy::wildcard_enum_match_arm, reason = "the library's tokens are open-ended")]

use sqlparser::{
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::{
    Pos, SqlError,
    ast::OptionDef,
    dialect::FlinkDialect,
    table::{expect, expected, is_word},
};

/// How the part of a name begins that a hint has become; no name of Flink's begins with `$`.
const MARK: &str = "$OPTIONS ";

/// The tokens with every hint made a part of the name before it.
pub(super) fn placed(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let text = match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) => text.strip_prefix('+'),
            _ => None,
        };
        let Some(text) = text else {
            out.push(token);
            continue;
        };
        let solid = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
        // A query's hints stay where they are: `query_hints.rs`.
        if out.iter().rev().find(solid).is_some_and(|before| is_word(before, "SELECT")) {
            out.push(token);
            continue;
        }
        let hint = text.trim_start();
        if !hint.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("OPTIONS")) {
            return Err(SqlError::syntax(token.span, "Encountered \"/*+\""));
        }
        if !behind_table(&out) {
            return Err(SqlError::syntax(token.span, "Encountered \"/*+\""));
        }
        let part = Token::make_word(&format!("{MARK}{hint}"), Some('`'));
        out.push(TokenWithSpan { token: Token::Period, span: token.span });
        out.push(TokenWithSpan { token: part, span: token.span });
    }
    Ok(out)
}

/// Whether the tokens end with the name of a table: behind FROM, JOIN, INTO or a comma.
fn behind_table(tokens: &[TokenWithSpan]) -> bool {
    let mut back = tokens.iter().rev().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    loop {
        if !matches!(back.next().map(|t| &t.token), Some(Token::Word(_))) {
            return false;
        }
        match back.next() {
            Some(dot) if dot.token == Token::Period => {}
            Some(before) => {
                return before.token == Token::Comma
                    || ["FROM", "JOIN", "INTO"].iter().any(|word| is_word(before, word));
            }
            None => return false,
        }
    }
}

/// The options that the last part of a name stands for; that part is taken off.
pub(crate) fn taken(parts: &mut Vec<String>, at: Pos) -> Result<Vec<OptionDef>, SqlError> {
    let Some(hint) = parts.last().and_then(|part| part.strip_prefix(MARK)).map(str::to_owned) else {
        return Ok(Vec::new());
    };
    parts.pop();
    let tokens = Tokenizer::new(&FlinkDialect, &hint).tokenize();
    let tokens = tokens.map_err(|e| SqlError::syntax(at, e.message))?;
    options(&mut Parser::new(&FlinkDialect).with_tokens(tokens)).map_err(|e| SqlError { at, ..e }).map(
        |options| {
            let def = |(key, value)| OptionDef { at, key, value, value_at: at };
            options.into_iter().map(def).collect()
        },
    )
}

/// `OPTIONS(…), OPTIONS(…)`. Of two values for one key the last counts, as on Flink.
fn options(p: &mut Parser<'_>) -> Result<Vec<(String, String)>, SqlError> {
    let mut options: Vec<(String, String)> = Vec::new();
    loop {
        let word = p.next_token();
        if !is_word(&word, "OPTIONS") {
            return Err(expected("OPTIONS", &word));
        }
        expect(p, &Token::LParen)?;
        loop {
            let token = p.next_token();
            let key = match token.token {
                Token::SingleQuotedString(text) => text,
                Token::Word(word) => word.value,
                _ => return Err(expected("an option", &token)),
            };
            expect(p, &Token::Eq)?;
            let value = super::table::string(p)?;
            options.retain(|(before, _)| *before != key);
            options.push((key, value));
            if !p.consume_token(&Token::Comma) {
                break;
            }
        }
        expect(p, &Token::RParen)?;
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    let rest = p.peek_token_ref();
    if rest.token == Token::EOF { Ok(options) } else { Err(expected("the end of the hint", rest)) }
}
