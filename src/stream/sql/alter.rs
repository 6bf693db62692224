//! ALTER TABLE and ALTER VIEW.

use sqlparser::{keywords::Keyword, parser::Parser, tokenizer::Token};

use super::{
    Pos, SqlError,
    ast::{AlterTable, AlterView, Elements, Place, Placed, StatementKind, TableChange, ViewChange},
    parser::{fault, name, names},
    table::{element, expect, expected, here, ident, options, peek_nth_word, peek_word, string, take_word},
};

/// From the word ALTER.
pub(super) fn alter(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    if take_word(p, "VIEW") {
        let name = name(p)?;
        let change = match take_word(p, "RENAME") {
            true => ViewChange::Rename(renamed(p)?),
            false => {
                p.expect_keyword_is(Keyword::AS).map_err(|e| fault(p, &e))?;
                ViewChange::As(p.parse_query().map_err(|e| fault(p, &e))?)
            }
        };
        return Ok(StatementKind::AlterView(AlterView { name, change }));
    }
    if !take_word(p, "TABLE") {
        return Err(SqlError::not_yet(here(p), format!("ALTER {}", p.peek_token_ref().token)));
    }
    let if_exists = p.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = name(p)?;
    Ok(StatementKind::AlterTable(AlterTable { name, if_exists, change: change(p)? }))
}

fn change(p: &mut Parser<'_>) -> Result<TableChange, SqlError> {
    let at = here(p);
    if take_word(p, "ADD") {
        refuse_partition(p, "ADD")?;
        return Ok(TableChange::Add(placed(p)?));
    }
    if take_word(p, "MODIFY") {
        return Ok(TableChange::Modify(placed(p)?));
    }
    if take_word(p, "RENAME") {
        if peek_word(p, "TO") && !peek_nth_word(p, 1, "TO") {
            return Ok(TableChange::Rename(renamed(p)?));
        }
        let from = ident(p)?;
        to(p)?;
        return Ok(TableChange::RenameColumn { from, to: ident(p)? });
    }
    if p.parse_keyword(Keyword::SET) {
        return Ok(TableChange::Set(options(p)?));
    }
    if take_word(p, "RESET") {
        return Ok(TableChange::Reset(keys(p, at)?));
    }
    if p.parse_keyword(Keyword::DROP) {
        refuse_partition(p, "DROP")?;
        return dropped(p);
    }
    Err(expected("ADD, DROP, MODIFY, RENAME, RESET or SET", p.peek_token_ref()))
}

fn refuse_partition(p: &Parser<'_>, what: &str) -> Result<(), SqlError> {
    let partition = peek_word(p, "PARTITION") || peek_word(p, "IF");
    if partition {
        Err(SqlError::not_yet(here(p), format!("ALTER TABLE … {what} PARTITION")))
    } else {
        Ok(())
    }
}

fn to(p: &mut Parser<'_>) -> Result<(), SqlError> {
    if take_word(p, "TO") { Ok(()) } else { Err(expected("TO", p.peek_token_ref())) }
}

fn renamed(p: &mut Parser<'_>) -> Result<super::ast::Name, SqlError> {
    to(p)?;
    name(p)
}

/// One element, or several in parentheses.
fn placed(p: &mut Parser<'_>) -> Result<Placed, SqlError> {
    let mut placed = Placed { at: here(p), elements: Elements::default(), places: Vec::new() };
    let several = p.consume_token(&Token::LParen);
    loop {
        element(p, &mut placed.elements)?;
        if placed.elements.columns.len() > placed.places.len() {
            placed.places.push(place(p)?);
        }
        if !(several && p.consume_token(&Token::Comma)) {
            break;
        }
    }
    if several {
        expect(p, &Token::RParen)?;
    }
    Ok(placed)
}

fn place(p: &mut Parser<'_>) -> Result<Place, SqlError> {
    if take_word(p, "FIRST") {
        return Ok(Place::First);
    }
    if take_word(p, "AFTER") {
        let (name, at) = ident(p)?;
        return Ok(Place::After(name, at));
    }
    Ok(Place::Unsaid)
}

fn dropped(p: &mut Parser<'_>) -> Result<TableChange, SqlError> {
    let at = here(p);
    if take_word(p, "WATERMARK") {
        return Ok(TableChange::DropWatermark(at));
    }
    if peek_word(p, "PRIMARY") && peek_nth_word(p, 1, "KEY") {
        p.advance_token();
        p.advance_token();
        return Ok(TableChange::DropPrimaryKey(at));
    }
    if take_word(p, "CONSTRAINT") {
        let (name, at) = ident(p)?;
        return Ok(TableChange::DropConstraint(name, at));
    }
    if take_word(p, "DISTRIBUTION") {
        return Err(SqlError::not_yet(at, "ALTER TABLE … DROP DISTRIBUTION"));
    }
    if !p.consume_token(&Token::LParen) {
        return Ok(TableChange::DropColumns(vec![ident(p)?]));
    }
    let columns = names(p)?;
    expect(p, &Token::RParen)?;
    Ok(TableChange::DropColumns(columns))
}

/// `('key', …)`.
fn keys(p: &mut Parser<'_>, at: Pos) -> Result<Vec<(String, Pos)>, SqlError> {
    expect(p, &Token::LParen)?;
    let mut keys = Vec::new();
    if p.consume_token(&Token::RParen) {
        return Err(SqlError::invalid(at, "ALTER TABLE RESET does not support empty key"));
    }
    loop {
        let at = here(p);
        keys.push((string(p)?, at));
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(p, &Token::RParen)?;
    Ok(keys)
}
