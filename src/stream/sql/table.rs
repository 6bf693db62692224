//! What the library cannot read: CREATE TABLE as Flink has it, and Flink's types.
//!
//! A recursive descent over the library's tokens; expressions inside go back to the library.
#![expect(clippy::wildcard_enum_match_arm, reason = "the library's tokens and keywords are open-ended")]

use sqlparser::{
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan},
};

use super::{
    Pos, SqlError,
    ast::{
        ColumnDef, ColumnKind, CreateTable, Creation, Elements, NewTable, OptionDef, TableSource,
        WatermarkDef,
    },
    like, names,
    parser::{self, fault, name},
    reserved,
};
use crate::stream::plan::types::{DECIMAL_PRECISION_MAX, DataType, LENGTH_MAX, Type};

/// CREATE TABLE, from behind the word TABLE.
pub(super) fn create_table(p: &mut Parser<'_>, creation: Creation) -> Result<NewTable, SqlError> {
    let if_not_exists = p.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let creation = Creation { if_not_exists, ..creation };
    let mut table = CreateTable {
        name: name(p)?,
        elements: Elements::default(),
        comment: None,
        partitioned_by: Vec::new(),
        options: Vec::new(),
        options_at: Pos::default(),
    };
    let mut order = Vec::new();
    if p.peek_token_ref().token == Token::LParen {
        if matches!(p.peek_nth_token_ref(2).token, Token::Comma | Token::RParen) {
            p.advance_token();
            order = parser::names(p)?;
        } else {
            elements(p, &mut table.elements)?;
        }
        expect(p, &Token::RParen)?;
    }
    if p.parse_keyword(Keyword::COMMENT) {
        table.comment = Some(string(p)?);
    }
    if peek_word(p, "DISTRIBUTED") {
        return Err(SqlError::not_yet(here(p), "DISTRIBUTED BY"));
    }
    if take_word(p, "PARTITIONED") {
        p.expect_keyword_is(Keyword::BY).map_err(|e| fault(p, &e))?;
        expect(p, &Token::LParen)?;
        table.partitioned_by = parser::names(p)?;
        expect(p, &Token::RParen)?;
    }
    table.options_at = here(p);
    if p.parse_keyword(Keyword::WITH) {
        table.options = options(p)?;
    }
    let source = like::source(p, order, &creation)?;
    let no_columns = matches!(source, TableSource::Definition) && table.elements.columns.is_empty();
    if no_columns {
        return Err(SqlError::not_yet(table.name.at, "a table without columns"));
    }
    Ok(NewTable { table, creation, source })
}

/// From `(` to before `)`.
fn elements(p: &mut Parser<'_>, into: &mut Elements) -> Result<(), SqlError> {
    expect(p, &Token::LParen)?;
    loop {
        element(p, into)?;
        if !p.consume_token(&Token::Comma) {
            return Ok(());
        }
    }
}

/// A column, the watermark or the primary key.
pub(super) fn element(p: &mut Parser<'_>, table: &mut Elements) -> Result<(), SqlError> {
    let at = here(p);
    if peek_word(p, "WATERMARK") && peek_nth_word(p, 1, "FOR") {
        p.advance_token();
        p.advance_token();
        let (column, _) = ident(p)?;
        p.expect_keyword_is(Keyword::AS).map_err(|e| fault(p, &e))?;
        let expr = names::written(p)?;
        if table.watermark.replace(WatermarkDef { at, column, expr }).is_some() {
            return Err(SqlError::invalid(at, "Multiple WATERMARK declarations are not supported yet."));
        }
        return Ok(());
    }
    if peek_word(p, "CONSTRAINT") {
        p.advance_token();
        table.constraint = Some(ident(p)?.0);
        if !peek_word(p, "PRIMARY") {
            return Err(expected("PRIMARY KEY", p.peek_token_ref()));
        }
    }
    if peek_word(p, "PRIMARY") && peek_nth_word(p, 1, "KEY") {
        p.advance_token();
        p.advance_token();
        expect(p, &Token::LParen)?;
        let key = parser::names(p)?;
        expect(p, &Token::RParen)?;
        if !table.primary_key.is_empty() {
            return Err(SqlError::invalid(at, "Duplicate primary key definition"));
        }
        table.primary_key = key;
        return not_enforced(p);
    }
    let (name, at) = ident(p)?;
    let kind = column(p, &name, at, table)?;
    let comment = if p.parse_keyword(Keyword::COMMENT) { Some(string(p)?) } else { None };
    table.columns.push(ColumnDef { at, name, kind, comment });
    Ok(())
}

fn column(p: &mut Parser<'_>, name: &str, at: Pos, table: &mut Elements) -> Result<ColumnKind, SqlError> {
    if p.parse_keyword(Keyword::AS) {
        return Ok(ColumnKind::Computed(names::written(p)?));
    }
    let mut data_type = parse_type(p)?;
    if take_word(p, "METADATA") {
        let key = if p.parse_keyword(Keyword::FROM) { Some(string(p)?) } else { None };
        let is_virtual = take_word(p, "VIRTUAL");
        return Ok(ColumnKind::Metadata { data_type, key, is_virtual });
    }
    if p.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        if !table.primary_key.is_empty() {
            return Err(SqlError::invalid(at, "Duplicate primary key definition"));
        }
        table.primary_key.push((name.to_owned(), at));
        data_type.nullable = false;
        not_enforced(p)?;
    }
    Ok(ColumnKind::Physical(data_type))
}

fn not_enforced(p: &mut Parser<'_>) -> Result<(), SqlError> {
    let at = here(p);
    if p.parse_keyword(Keyword::NOT) && take_word(p, "ENFORCED") {
        return Ok(());
    }
    // Flink's words.
    Err(SqlError::invalid(
        at,
        "Flink doesn't support ENFORCED mode for PRIMARY KEY constraint. ENFORCED/NOT ENFORCED  controls if the \
         constraint checks are performed on the incoming/outgoing data. Flink does not own the data therefore the \
         only supported mode is the NOT ENFORCED mode",
    ))
}

pub(super) fn options(p: &mut Parser<'_>) -> Result<Vec<OptionDef>, SqlError> {
    expect(p, &Token::LParen)?;
    let mut options: Vec<OptionDef> = Vec::new();
    loop {
        let at = here(p);
        let key = string(p)?;
        expect(p, &Token::Eq)?;
        let value_at = here(p);
        let value = string(p)?;
        if options.iter().any(|o| o.key == key) {
            return Err(SqlError::invalid(at, format!("The option '{key}' is given twice")));
        }
        options.push(OptionDef { at, key, value, value_at });
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(p, &Token::RParen)?;
    Ok(options)
}

/// One type with its nullability: `DECIMAL(10, 2) NOT NULL`.
pub fn parse_type(p: &mut Parser<'_>) -> Result<DataType, SqlError> {
    let mut kind = plain_type(p)?;
    let mut nullable = nullability(p);
    while peek_word(p, "ARRAY") || peek_word(p, "MULTISET") {
        let item = Box::new(DataType { kind, nullable });
        kind = if take_word(p, "MULTISET") { Type::Multiset(item) } else { Type::Array(item) };
        let _ = take_word(p, "ARRAY");
        nullable = nullability(p);
    }
    Ok(DataType { kind, nullable })
}

fn nullability(p: &mut Parser<'_>) -> bool {
    if p.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
        return false;
    }
    let _ = p.parse_keyword(Keyword::NULL);
    true
}

fn plain_type(p: &mut Parser<'_>) -> Result<Type, SqlError> {
    let token = p.next_token();
    let at = Pos::from(token.span);
    let Token::Word(word) = &token.token else { return Err(expected("a data type", &token)) };
    if word.quote_style.is_some() {
        return Err(SqlError::not_yet(at, format!("the user-defined type `{}`", word.value)));
    }
    let kind = match word.value.to_ascii_uppercase().as_str() {
        "BOOLEAN" => Type::Boolean,
        "TINYINT" => Type::TinyInt,
        "SMALLINT" => Type::SmallInt,
        "INT" | "INTEGER" => Type::Int,
        "BIGINT" => Type::BigInt,
        "FLOAT" => Type::Float,
        "DOUBLE" => {
            let _ = take_word(p, "PRECISION");
            Type::Double
        }
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(p, at)?,
        "STRING" => Type::STRING,
        "VARCHAR" => Type::Varchar(length(p, at, 1)?),
        "CHAR" => Type::Char(length(p, at, 1)?),
        "BYTES" => Type::BYTES,
        "VARBINARY" => Type::Varbinary(length(p, at, 1)?),
        "BINARY" => Type::Binary(length(p, at, 1)?),
        "DATE" => Type::Date,
        "TIME" => {
            let digits = fraction(p, 0)?;
            without_zone(p)?;
            Type::Time(digits)
        }
        "TIMESTAMP" => timestamp(p)?,
        "TIMESTAMP_LTZ" => Type::TimestampLtz(fraction(p, 6)?),
        "ARRAY" => Type::Array(Box::new(angled(p, parse_type)?)),
        "MAP" => angled(p, |p| {
            let key = parse_type(p)?;
            expect(p, &Token::Comma)?;
            Ok(Type::Map(Box::new(key), Box::new(parse_type(p)?)))
        })?,
        "ROW" => row(p)?,
        "MULTISET" => Type::Multiset(Box::new(angled(p, parse_type)?)),
        other @ ("RAW" | "INTERVAL" | "NULL" | "VARIANT" | "DESCRIPTOR" | "STRUCTURED" | "BITMAP") => {
            return Err(SqlError::not_yet(at, format!("the type {other}")));
        }
        _ => return Err(SqlError::invalid(at, format!("Unknown data type '{}'", word.value))),
    };
    Ok(kind)
}

fn timestamp(p: &mut Parser<'_>) -> Result<Type, SqlError> {
    let digits = fraction(p, 6)?;
    if p.parse_keyword(Keyword::WITH) {
        let at = here(p);
        if take_word(p, "LOCAL") {
            p.expect_keywords(&[Keyword::TIME, Keyword::ZONE]).map_err(|e| fault(p, &e))?;
            return Ok(Type::TimestampLtz(digits));
        }
        return Err(SqlError::not_yet(at, "TIMESTAMP WITH TIME ZONE"));
    }
    without_zone(p)?;
    Ok(Type::Timestamp(digits))
}

fn without_zone(p: &mut Parser<'_>) -> Result<(), SqlError> {
    if p.parse_keyword(Keyword::WITHOUT) {
        p.expect_keywords(&[Keyword::TIME, Keyword::ZONE]).map_err(|e| fault(p, &e))?;
    }
    Ok(())
}

fn row(p: &mut Parser<'_>) -> Result<Type, SqlError> {
    let round = p.consume_token(&Token::LParen);
    if round {
        let fields = row_fields(p)?;
        expect(p, &Token::RParen)?;
        return Ok(Type::Row(fields));
    }
    angled(p, |p| Ok(Type::Row(row_fields(p)?)))
}

fn row_fields(p: &mut Parser<'_>) -> Result<Vec<(String, DataType)>, SqlError> {
    let mut fields = Vec::new();
    loop {
        let (name, _) = ident(p)?;
        fields.push((name, parse_type(p)?));
        if matches!(p.peek_token_ref().token, Token::SingleQuotedString(_)) {
            string(p)?;
        }
        if !p.consume_token(&Token::Comma) {
            return Ok(fields);
        }
    }
}

/// `<…>`; `>>` has been made two tokens before.
fn angled<T>(
    p: &mut Parser<'_>,
    inside: impl FnOnce(&mut Parser<'_>) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    expect(p, &Token::Lt)?;
    let value = inside(p)?;
    expect(p, &Token::Gt)?;
    Ok(value)
}

fn decimal(p: &mut Parser<'_>, at: Pos) -> Result<Type, SqlError> {
    let (mut precision, mut scale) = (10, 0);
    if p.consume_token(&Token::LParen) {
        precision = number(p)?;
        if p.consume_token(&Token::Comma) {
            scale = number(p)?;
        }
        expect(p, &Token::RParen)?;
    }
    let max = u64::from(DECIMAL_PRECISION_MAX);
    if precision == 0 || precision > max {
        return Err(SqlError::invalid(at, "Decimal precision must be between 1 and 38 (both inclusive)."));
    }
    if scale > precision {
        return Err(SqlError::invalid(
            at,
            format!("Decimal scale must be between 0 and the precision {precision} (both inclusive)."),
        ));
    }
    let small = |n: u64| u8::try_from(n).unwrap_or(DECIMAL_PRECISION_MAX);
    Ok(Type::Decimal { precision: small(precision), scale: small(scale) })
}

fn fraction(p: &mut Parser<'_>, default: u8) -> Result<u8, SqlError> {
    if !p.consume_token(&Token::LParen) {
        return Ok(default);
    }
    let at = here(p);
    let digits = number(p)?;
    expect(p, &Token::RParen)?;
    match u8::try_from(digits) {
        Ok(digits @ 0..=9) => Ok(digits),
        _ => Err(SqlError::invalid(at, "Timestamp precision must be between 0 and 9 (both inclusive).")),
    }
}

fn length(p: &mut Parser<'_>, at: Pos, default: u32) -> Result<u32, SqlError> {
    if !p.consume_token(&Token::LParen) {
        return Ok(default);
    }
    let length = number(p)?;
    expect(p, &Token::RParen)?;
    match u32::try_from(length) {
        Ok(length @ 1..=LENGTH_MAX) => Ok(length),
        _ => Err(SqlError::invalid(at, "The length must be between 1 and 2147483647 (both inclusive).")),
    }
}

fn number(p: &mut Parser<'_>) -> Result<u64, SqlError> {
    p.parse_literal_uint().map_err(|e| fault(p, &e))
}

pub(super) fn string(p: &mut Parser<'_>) -> Result<String, SqlError> {
    let token = p.next_token();
    match token.token {
        Token::SingleQuotedString(text) => Ok(text),
        _ => Err(expected("a string in single quotes", &token)),
    }
}

pub(super) fn ident(p: &mut Parser<'_>) -> Result<(String, Pos), SqlError> {
    let token = p.next_token();
    match token.token {
        Token::Word(word) => {
            let at = token.span.into();
            Ok((reserved::checked(&word.value, word.quote_style, at)?, at))
        }
        _ => Err(expected("a name", &token)),
    }
}

pub(super) fn expect(p: &mut Parser<'_>, token: &Token) -> Result<(), SqlError> {
    p.expect_token(token).map(|_| ()).map_err(|e: ParserError| fault(p, &e))
}

pub(super) fn here(p: &Parser<'_>) -> Pos {
    p.peek_token_ref().span.into()
}

pub(super) fn peek_word(p: &Parser<'_>, word: &str) -> bool {
    peek_nth_word(p, 0, word)
}

pub(super) fn peek_nth_word(p: &Parser<'_>, n: usize, word: &str) -> bool {
    is_word(p.peek_nth_token_ref(n), word)
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

pub(super) fn take_word(p: &mut Parser<'_>, word: &str) -> bool {
    let found = peek_word(p, word);
    if found {
        p.advance_token();
    }
    found
}

pub(super) fn expected(what: &str, found: &TokenWithSpan) -> SqlError {
    let found_text = match &found.token {
        Token::EOF => "the end of the text".to_owned(),
        token => format!("'{token}'"),
    };
    SqlError::syntax(found.span, format!("expected {what}, found {found_text}"))
}
