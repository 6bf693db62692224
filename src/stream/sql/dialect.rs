//! What the library must know of Flink's lexis and expressions: backtick names, and CAST to Flink's types.
//!
//! CAST and TRY_CAST are read by us, because the library's types lack `ROW<…>`, `MAP<…>` and
//! `TIMESTAMP WITH LOCAL TIME ZONE`; the type travels through the library's tree as a custom type in its text form.

#![expect(clippy::wildcard_enum_match_arm, reason = "the library's tokens and keywords are open-ended")]

use sqlparser::{
    ast::{CastKind, DataType as ParsedType, Expr, Ident, ObjectName, TrimWhereField},
    dialect::Dialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use super::{SqlErrorKind, forms, table};

/// Flink SQL's default dialect.
#[derive(Debug, Default)]
pub struct FlinkDialect;

/// Between an error's message and the marker of its kind, so that it survives the library's error type.
pub(super) const NOT_YET_MARK: &str = "\u{1}";

impl Dialect for FlinkDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        if let Some(side) = bare_trim(parser) {
            return Some(parse_bare_trim(parser, side));
        }
        if let Some(form) = forms::prefix(parser) {
            return Some(form);
        }
        let kind = match parser.peek_token_ref().token {
            Token::Word(ref word) if word.quote_style.is_none() && word.keyword == Keyword::CAST => {
                CastKind::Cast
            }
            Token::Word(ref word) if word.quote_style.is_none() && word.keyword == Keyword::TRY_CAST => {
                CastKind::TryCast
            }
            _ => return None,
        };
        (parser.peek_nth_token_ref(1).token == Token::LParen).then(|| parse_cast(parser, kind))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        forms::infix(parser, expr)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        forms::precedence(parser).map(|precedence| Ok(self.prec_value(precedence)))
    }
}

/// `TRIM(LEADING FROM …`, which the library wants a set of characters for.
fn bare_trim(parser: &Parser<'_>) -> Option<TrimWhereField> {
    let [trim, open, side, from] = parser.peek_tokens_ref().map(|t| &t.token);
    let keyword = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    let bare = keyword(trim) == Some(Keyword::TRIM)
        && *open == Token::LParen
        && keyword(from) == Some(Keyword::FROM);
    match keyword(side) {
        Some(Keyword::BOTH) if bare => Some(TrimWhereField::Both),
        Some(Keyword::LEADING) if bare => Some(TrimWhereField::Leading),
        Some(Keyword::TRAILING) if bare => Some(TrimWhereField::Trailing),
        _ => None,
    }
}

fn parse_bare_trim(parser: &mut Parser<'_>, side: TrimWhereField) -> Result<Expr, ParserError> {
    for _ in 0..4 {
        parser.advance_token();
    }
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Trim { trim_where: Some(side), trim_what: None, expr, trim_characters: None })
}

fn parse_cast(parser: &mut Parser<'_>, kind: CastKind) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_expr()?;
    parser.expect_keyword_is(Keyword::AS)?;
    let mut cast = cast_to_type(parser, expr)?;
    parser.expect_token(&Token::RParen)?;
    if let Expr::Cast { kind: made, .. } = &mut cast {
        *made = kind;
    }
    Ok(cast)
}

/// The expression cast to the type that stands next.
pub(super) fn cast_to_type(parser: &mut Parser<'_>, expr: Expr) -> Result<Expr, ParserError> {
    let type_at = parser.peek_token_ref().span;
    let data_type = table::parse_type(parser).map_err(|e| {
        let mark = if e.kind == SqlErrorKind::NotYet { NOT_YET_MARK } else { "" };
        ParserError::ParserError(format!(
            "{}{mark} at Line: {}, Column: {}",
            e.message, e.at.line, e.at.column
        ))
    })?;
    let name = Ident { value: data_type.to_string(), quote_style: None, span: type_at };
    Ok(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: ParsedType::Custom(ObjectName::from(vec![name]), Vec::new()),
        format: None,
    })
}
