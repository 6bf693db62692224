//! Statements that only look, or say where: DESCRIBE, SHOW, USE, RESET.

use sqlparser::{keywords::Keyword, parser::Parser, tokenizer::Token};

use super::{
    Pos, SqlError,
    ast::{Name, Pattern, Show, StatementKind, Use},
    parser::{name, names},
    table::{expected, here, ident, peek_nth_word, peek_word, string, take_word},
};
use crate::stream::plan::{
    catalog::{CATALOG, DATABASE},
    functions::CORE,
};

/// `DESCRIBE [EXTENDED] t`; Flink shows the same with EXTENDED.
pub(super) fn describe(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    for what in ["CATALOG", "DATABASE", "FUNCTION", "JOB", "MODEL"] {
        if peek_word(p, what) && p.peek_nth_token_ref(1).token != Token::EOF {
            return Err(SqlError::not_yet(here(p), format!("DESCRIBE {what}")));
        }
    }
    let _ = take_word(p, "EXTENDED");
    Ok(StatementKind::Describe(name(p)?))
}

pub(super) fn show(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    let at = here(p);
    let show = if take_word(p, "TABLES") {
        database(p)?;
        Show::Tables(pattern(p)?)
    } else if take_word(p, "VIEWS") {
        database(p)?;
        Show::Views(pattern(p)?)
    } else if take_word(p, "CATALOGS") {
        Show::Catalogs(pattern(p)?)
    } else if take_word(p, "DATABASES") {
        if from(p) {
            check_catalog(p)?;
        }
        Show::Databases(pattern(p)?)
    } else if take_word(p, "COLUMNS") {
        if !from(p) {
            return Err(expected("FROM or IN", p.peek_token_ref()));
        }
        Show::Columns(name(p)?, pattern(p)?)
    } else if take_word(p, "FUNCTIONS") {
        database(p)?;
        Show::Functions(any_pattern(p)?)
    } else if let Some(full) = modules(p) {
        Show::Modules { full }
    } else if nothing(p)? {
        Show::Nothing
    } else if peek_word(p, "CREATE") && peek_nth_word(p, 1, "TABLE") {
        p.advance_token();
        p.advance_token();
        Show::CreateTable(name(p)?)
    } else if peek_word(p, "CURRENT") && peek_nth_word(p, 1, "CATALOG") {
        p.advance_token();
        p.advance_token();
        Show::CurrentCatalog
    } else if peek_word(p, "CURRENT") && peek_nth_word(p, 1, "DATABASE") {
        p.advance_token();
        p.advance_token();
        Show::CurrentDatabase
    } else {
        let mut what = format!("SHOW {}", p.peek_token_ref().token);
        if peek_word(p, "CREATE") || peek_word(p, "USER") || peek_word(p, "FULL") {
            what = format!("{what} {}", p.peek_nth_token_ref(1).token);
        }
        return Err(SqlError::not_yet(at, what.to_ascii_uppercase()));
    };
    Ok(StatementKind::Show(show))
}

pub(super) fn use_statement(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    let at = here(p);
    if take_word(p, "MODULES") {
        use_modules(p, at)?;
        return Ok(StatementKind::Use(Use::Modules));
    }
    if take_word(p, "CATALOG") {
        let (catalog, at) = ident(p)?;
        if catalog != CATALOG {
            let message = format!("A catalog with name [{catalog}] does not exist.");
            return Err(SqlError::invalid(at, message));
        }
        return Ok(StatementKind::Use(Use::Catalog(catalog)));
    }
    let name = name(p)?;
    check_database(&name, |database| {
        format!("A database with name [{database}] does not exist in the catalog: [{CATALOG}].")
    })?;
    Ok(StatementKind::Use(Use::Database(name)))
}

pub(super) fn reset(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    let all = p.peek_token_ref().token == Token::EOF;
    Ok(StatementKind::Reset(if all { None } else { Some(string(p)?) }))
}

fn from(p: &mut Parser<'_>) -> bool {
    p.parse_keyword(Keyword::FROM) || p.parse_keyword(Keyword::IN)
}

fn check_catalog(p: &mut Parser<'_>) -> Result<(), SqlError> {
    let (catalog, at) = ident(p)?;
    if catalog == CATALOG {
        return Ok(());
    }
    Err(SqlError::invalid(at, format!("Catalog '{catalog}' doesn't exist.")))
}

/// `FROM database`, if it is there: there is one.
fn database(p: &mut Parser<'_>) -> Result<(), SqlError> {
    if !from(p) {
        return Ok(());
    }
    let name = name(p)?;
    check_database(&name, |database| format!("Database '{CATALOG}'.'{database}' doesn't exist."))
}

fn check_database(name: &Name, message: impl Fn(&str) -> String) -> Result<(), SqlError> {
    let (catalog, database) = match name.parts.as_slice() {
        [database] => (CATALOG, database.as_str()),
        [catalog, database] => (catalog.as_str(), database.as_str()),
        _ => return Err(SqlError::syntax(name.at, "expected a database")),
    };
    if catalog != CATALOG {
        return Err(SqlError::invalid(name.at, format!("Catalog {catalog} doesn't exist.")));
    }
    if database == DATABASE { Ok(()) } else { Err(SqlError::invalid(name.at, message(database))) }
}

/// `MODULES` and `FULL MODULES`.
fn modules(p: &mut Parser<'_>) -> Option<bool> {
    if peek_word(p, "FULL") && peek_nth_word(p, 1, "MODULES") {
        p.advance_token();
        p.advance_token();
        return Some(true);
    }
    take_word(p, "MODULES").then_some(false)
}

/// `USER FUNCTIONS`, `JARS` and `MODELS`, of which there are none.
fn nothing(p: &mut Parser<'_>) -> Result<bool, SqlError> {
    if peek_word(p, "USER") && peek_nth_word(p, 1, "FUNCTIONS") {
        p.advance_token();
        p.advance_token();
        database(p)?;
        return any_pattern(p).map(|_| true);
    }
    if take_word(p, "MODELS") {
        database(p)?;
        return pattern(p).map(|_| true);
    }
    Ok(take_word(p, "JARS"))
}

/// The names of modules, of which there is `core`.
fn use_modules(p: &mut Parser<'_>, at: Pos) -> Result<(), SqlError> {
    let names: Vec<String> = names(p)?.into_iter().map(|(name, _)| name).collect();
    let why = if let Some(other) = names.iter().find(|name| *name != CORE) {
        format!("No module with name '{other}' exists")
    } else if names.len() > 1 {
        format!("Module '{CORE}' appears more than once")
    } else {
        return Ok(());
    };
    Err(SqlError::invalid(at, format!("Could not execute USE MODULES: [{}]. {why}", names.join(", "))))
}

fn pattern(p: &mut Parser<'_>) -> Result<Option<Pattern>, SqlError> {
    match any_pattern(p)? {
        Some(pattern) if pattern.any_case => Err(expected("LIKE", p.peek_token_ref())),
        pattern => Ok(pattern),
    }
}

/// Of functions Flink takes ILIKE too.
fn any_pattern(p: &mut Parser<'_>) -> Result<Option<Pattern>, SqlError> {
    let negated = p.parse_keyword(Keyword::NOT);
    let any_case = take_word(p, "ILIKE");
    if !any_case && !take_word(p, "LIKE") {
        return if negated { Err(expected("LIKE", p.peek_token_ref())) } else { Ok(None) };
    }
    Ok(Some(Pattern { like: string(p)?, negated, any_case }))
}
