//! Splits a text into statements and reads each.
//!
//! The library's own `parse_statement` is never called: it accepts a hundred statements that Flink does not.
//! Constructs of Flink that the library cannot read (window table functions, MATCH_RECOGNIZE, hints) are looked
//! for among the tokens first, so that their refusal names them.

use sqlparser::{
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::{
    Pos, SqlError, alter,
    ast::{
        CreateView, Creation, Drop, DropKind, Explain, Explained, Insert, Name, Statement, StatementKind,
        TableSource,
    },
    dialect::{FlinkDialect, NOT_YET_MARK},
    hints::{Comment, Hints},
    options_hint, show,
    table::{self, expect, expected, here, ident, is_word, peek_nth_word, peek_word, string, take_word},
};
use crate::stream::plan::from::PARTITION_BY;

/// A longer text is refused before it is read.
pub const SQL_BYTES_MAX: usize = 1 << 20;
/// More tokens in one statement are refused: trees grow with them, and trees are walked by recursion.
pub const STATEMENT_TOKENS_MAX: usize = 10_000;
const HINT_MARK: &str = "@warren";

/// Reads a whole text.
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    if text.len() > SQL_BYTES_MAX {
        return Err(SqlError::invalid(Pos { line: 1, column: 1 }, "the text is longer than 1 MiB"));
    }
    let tokens = tokens(text)?;
    let mut statements = Vec::new();
    for piece in split(tokens)? {
        let mut reader = Reader::new(piece)?;
        let at = here(&reader.parser);
        let kind = reader.statement()?;
        reader.end()?;
        statements.push(Statement { at, kind });
    }
    Ok(statements)
}

/// Flink has no operator `>>`: it is the end of two types.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = Tokenizer::new(&FlinkDialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|e| SqlError::syntax(e.location, e.message))?;
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.token == Token::Neq && starts_with_bang(text, token.span.start) {
            let message = "Bang equal '!=' is not allowed under the current SQL conformance level";
            return Err(SqlError::syntax(token.span, message));
        }
        if token.token == Token::ShiftRight {
            let middle = Location { line: token.span.start.line, column: token.span.start.column + 1 };
            split.push(TokenWithSpan { token: Token::Gt, span: Span::new(token.span.start, middle) });
            split.push(TokenWithSpan { token: Token::Gt, span: Span::new(middle, token.span.end) });
        } else {
            split.push(token);
        }
    }
    Ok(split)
}

/// The library has one token for `<>` and `!=`.
fn starts_with_bang(text: &str, at: Location) -> bool {
    let place = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let line = text.split('\n').nth(place(at.line)).unwrap_or_default();
    line.chars().nth(place(at.column)) == Some('!')
}

/// Cuts at the semicolons, but not at those of a statement set. A piece of blanks and comments is dropped, unless
/// it holds one of our comments.
fn split(tokens: Vec<TokenWithSpan>) -> Result<Vec<Vec<TokenWithSpan>>, SqlError> {
    let mut pieces = Vec::new();
    let mut piece: Vec<TokenWithSpan> = Vec::new();
    let mut in_set = false;
    for token in tokens {
        if token.token == Token::SemiColon && !in_set {
            finish(&mut pieces, std::mem::take(&mut piece))?;
            continue;
        }
        if is_word(&token, "BEGIN") && last_word(&piece).is_some_and(|w| is_word(w, "SET"))
            || is_word(&token, "SET") && is_only(&piece, ["BEGIN", "STATEMENT"])
        {
            in_set = true;
        } else if in_set && is_word(&token, "END") && after_semicolon(&piece) {
            in_set = false;
        }
        piece.push(token);
    }
    finish(&mut pieces, piece)?;
    Ok(pieces)
}

fn last_word(piece: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    piece.iter().rev().find(|t| !matches!(t.token, Token::Whitespace(_)))
}

/// Whether there is nothing but these words.
fn is_only(piece: &[TokenWithSpan], words: [&str; 2]) -> bool {
    let solid = piece.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    solid.clone().count() == words.len() && solid.zip(words).all(|(token, word)| is_word(token, word))
}

fn after_semicolon(piece: &[TokenWithSpan]) -> bool {
    last_word(piece).is_some_and(|t| t.token == Token::SemiColon || is_word(t, "BEGIN"))
}

fn finish(pieces: &mut Vec<Vec<TokenWithSpan>>, piece: Vec<TokenWithSpan>) -> Result<(), SqlError> {
    let Some(first) = piece.iter().find(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)) else {
        return match piece.iter().find_map(hint) {
            Some(comment) => Err(SqlError::invalid(comment.at, "@warren: no statement follows this comment")),
            None => Ok(()),
        };
    };
    if piece.len() > STATEMENT_TOKENS_MAX {
        return Err(SqlError::invalid(
            first.span,
            format!("a statement of more than {STATEMENT_TOKENS_MAX} tokens"),
        ));
    }
    pieces.push(piece);
    Ok(())
}

fn hint(token: &TokenWithSpan) -> Option<Comment> {
    let Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) = &token.token else {
        return None;
    };
    let text = comment.trim_start();
    let after =
        text.strip_prefix(HINT_MARK).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n']))?;
    let before = prefix.chars().count() + (comment.len() - text.len()) + HINT_MARK.len();
    let at = Pos { line: token.span.start.line, column: token.span.start.column + before as u64 };
    Some(Comment { at, text: after.trim_end().to_owned() })
}

/// Reads one statement.
struct Reader {
    parser: Parser<'static>,
    comments: Vec<Comment>,
}

impl Reader {
    fn new(tokens: Vec<TokenWithSpan>) -> Result<Self, SqlError> {
        refuse_early(&tokens)?;
        let tokens = window_arguments(options_hint::placed(tokens)?)?;
        let comments = tokens.iter().filter_map(hint).collect();
        let end = tokens.last().map_or(Location { line: 1, column: 1 }, |t| t.span.end);
        let mut tokens = tokens;
        tokens.push(TokenWithSpan { token: Token::EOF, span: Span::new(end, end) });
        Ok(Self { parser: Parser::new(&FlinkDialect).with_tokens_with_locations(tokens), comments })
    }

    /// Our comments that stand before the next token.
    fn hints(&mut self) -> Result<Hints, SqlError> {
        let next = here(&self.parser);
        let mut hints = Hints::default();
        let (before, after) = std::mem::take(&mut self.comments).into_iter().partition(|c| c.at < next);
        self.comments = after;
        let before: Vec<Comment> = before;
        for comment in &before {
            hints.read(comment)?;
        }
        Ok(hints)
    }

    fn statement(&mut self) -> Result<StatementKind, SqlError> {
        let hints = self.hints()?;
        let token = self.parser.peek_token();
        let Token::Word(word) = &token.token else { return Err(expected("a statement", &token)) };
        let word = word.value.to_ascii_uppercase();
        match word.as_str() {
            "INSERT" => return Ok(StatementKind::Insert(self.insert(hints)?)),
            "EXECUTE" | "BEGIN" => return self.execute(hints),
            _ => {}
        }
        if let Some(at) = hints.first_at() {
            return Err(SqlError::invalid(
                at,
                format!("@warren: {word} takes no such comment, only INSERT does"),
            ));
        }
        let p = &mut self.parser;
        match word.as_str() {
            "ALTER" => alter::alter(p),
            "CREATE" => create(p),
            "DESC" | "DESCRIBE" => show::describe(p),
            "DROP" => drop_statement(p),
            "EXPLAIN" => self.explain(),
            "RESET" => show::reset(p),
            "SET" => set(p),
            "SHOW" => show::show(p),
            "USE" => show::use_statement(p),
            _ if FLINK_STATEMENTS.contains(&word.as_str()) => Err(SqlError::not_yet(token.span, word)),
            _ => Err(expected("a statement of Flink SQL", &token)),
        }
    }

    fn insert(&mut self, hints: Hints) -> Result<Insert, SqlError> {
        let p = &mut self.parser;
        let at = here(p);
        p.expect_keyword_is(Keyword::INSERT).map_err(|e| fault(p, &e))?;
        if peek_word(p, "OVERWRITE") {
            return Err(SqlError::not_yet(here(p), "INSERT OVERWRITE"));
        }
        p.expect_keyword_is(Keyword::INTO).map_err(|e| fault(p, &e))?;
        let target = name(p)?;
        if peek_word(p, "PARTITION") {
            return Err(SqlError::not_yet(here(p), "INSERT INTO … PARTITION"));
        }
        let mut columns = Vec::new();
        if p.peek_token_ref().token == Token::LParen && !starts_query(p, 1) {
            p.advance_token();
            columns = names(p)?;
            expect(p, &Token::RParen)?;
        }
        let query = p.parse_query().map_err(|e| fault(p, &e))?;
        Ok(Insert { at, hints, target, columns, query })
    }

    /// `EXECUTE STATEMENT SET BEGIN …; END` and its older forms.
    fn execute(&mut self, hints: Hints) -> Result<StatementKind, SqlError> {
        let p = &mut self.parser;
        if take_word(p, "EXECUTE") && peek_word(p, "INSERT") {
            return Ok(StatementKind::Insert(self.insert(hints)?));
        }
        let inserts = if peek_word(&self.parser, "BEGIN") {
            // As Flink's client has it.
            self.words(&["BEGIN", "STATEMENT", "SET"])?;
            expect(&mut self.parser, &Token::SemiColon)?;
            self.inserts_to_end()?
        } else {
            self.statement_set()?
        };
        Ok(StatementKind::StatementSet { hints, inserts })
    }

    fn statement_set(&mut self) -> Result<Vec<Insert>, SqlError> {
        self.words(&["STATEMENT", "SET", "BEGIN"])?;
        self.inserts_to_end()
    }

    fn inserts_to_end(&mut self) -> Result<Vec<Insert>, SqlError> {
        let mut inserts = Vec::new();
        loop {
            let hints = self.hints()?;
            if take_word(&mut self.parser, "END") {
                break;
            }
            inserts.push(self.insert(hints)?);
            expect(&mut self.parser, &Token::SemiColon)?;
        }
        if inserts.is_empty() {
            return Err(SqlError::syntax(here(&self.parser), "NO statements in statement set."));
        }
        Ok(inserts)
    }

    fn explain(&mut self) -> Result<StatementKind, SqlError> {
        let p = &mut self.parser;
        p.advance_token();
        let graph = explain_details(p)?;
        if !graph && take_word(p, "PLAN") {
            p.expect_keyword_is(Keyword::FOR).map_err(|e| fault(p, &e))?;
        }
        Ok(StatementKind::Explain(Explain { graph, of: self.explained()? }))
    }

    fn explained(&mut self) -> Result<Explained, SqlError> {
        let p = &mut self.parser;
        if take_word(p, "EXECUTE") || peek_word(p, "STATEMENT") {
            return self.statement_set().map(Explained::Inserts);
        }
        if starts_query(p, 0) {
            return p.parse_query().map(Explained::Query).map_err(|e| fault(p, &e));
        }
        if peek_word(p, "CREATE") {
            let at = here(p);
            if let StatementKind::CreateTable(new) = create(p)?
                && matches!(new.source, TableSource::Query { .. })
            {
                return Ok(Explained::Create(Box::new(new)));
            }
            let message = "Unsupported CREATE OR REPLACE statement for EXPLAIN. The statement must define a query using \
                           the AS clause (i.e. CTAS/RTAS statements).";
            return Err(SqlError::syntax(at, message));
        }
        if !peek_word(p, "INSERT") {
            return Err(expected("a query, INSERT, STATEMENT SET or CREATE TABLE … AS", p.peek_token_ref()));
        }
        let hints = self.hints()?;
        Ok(Explained::Inserts(vec![self.insert(hints)?]))
    }

    fn words(&mut self, words: &[&str]) -> Result<(), SqlError> {
        for word in words {
            if !take_word(&mut self.parser, word) {
                return Err(expected(word, self.parser.peek_token_ref()));
            }
        }
        Ok(())
    }

    /// Nothing may be left over: neither words nor comments of ours.
    fn end(&self) -> Result<(), SqlError> {
        let rest = self.parser.peek_token_ref();
        if rest.token != Token::EOF {
            return Err(expected("';' or the end of the text", rest));
        }
        match self.comments.first() {
            Some(comment) => {
                Err(SqlError::invalid(comment.at, "@warren: this comment stands before no statement"))
            }
            None => Ok(()),
        }
    }
}

/// What Flink has and we do not read at all.
const FLINK_STATEMENTS: &[&str] = &[
    "ADD", "ANALYZE", "CALL", "COMPILE", "DELETE", "HELP", "LOAD", "REMOVE", "SELECT", "STOP", "TRUNCATE",
    "UNLOAD", "UPDATE", "VALUES", "WITH",
];

/// The details that EXPLAIN is asked for: whether the graph is. The others tell of Flink's planner, which is not here.
fn explain_details(p: &mut Parser<'_>) -> Result<bool, SqlError> {
    const DETAILS: [&str; 4] = ["CHANGELOG_MODE", "ESTIMATED_COST", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"];
    let mut asked: Vec<&str> = Vec::new();
    loop {
        let at = here(p);
        let Some(detail) = DETAILS.iter().find(|detail| take_word(p, detail)) else {
            return if asked.is_empty() { Ok(false) } else { Err(expected("a detail", p.peek_token_ref())) };
        };
        if asked.contains(detail) {
            return Err(SqlError::syntax(at, "Duplicate EXPLAIN DETAIL is not allowed."));
        }
        if *detail != "JSON_EXECUTION_PLAN" {
            return Err(SqlError::not_yet(at, format!("EXPLAIN {detail}")));
        }
        asked.push(detail);
        if !p.consume_token(&Token::Comma) {
            return Ok(true);
        }
    }
}

fn create(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    let or_replace = take_word(p, "OR");
    if or_replace && !take_word(p, "REPLACE") {
        return Err(expected("REPLACE", p.peek_token_ref()));
    }
    let temporary = take_word(p, "TEMPORARY");
    let creation = Creation { temporary, or_replace, if_not_exists: false };
    let token = p.next_token();
    if is_word(&token, "TABLE") {
        return Ok(StatementKind::CreateTable(table::create_table(p, creation)?));
    }
    if is_word(&token, "VIEW") {
        return Ok(StatementKind::CreateView(create_view(p, creation)?));
    }
    const OTHERS: &[&str] =
        &["CATALOG", "CONNECTION", "DATABASE", "FUNCTION", "MATERIALIZED", "MODEL", "SYSTEM"];
    match OTHERS.iter().find(|word| is_word(&token, word)) {
        Some(word) => Err(SqlError::not_yet(token.span, format!("CREATE {word}"))),
        None if temporary => Err(expected("TABLE or VIEW", &token)),
        None => Err(expected("TABLE, TEMPORARY or VIEW", &token)),
    }
}

fn create_view(p: &mut Parser<'_>, creation: Creation) -> Result<CreateView, SqlError> {
    let if_not_exists = p.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = name(p)?;
    let mut columns = Vec::new();
    if p.consume_token(&Token::LParen) {
        columns = names(p)?;
        expect(p, &Token::RParen)?;
    }
    if p.parse_keyword(Keyword::COMMENT) {
        string(p)?;
    }
    p.expect_keyword_is(Keyword::AS).map_err(|e| fault(p, &e))?;
    let query = p.parse_query().map_err(|e| fault(p, &e))?;
    Ok(CreateView { name, creation: Creation { if_not_exists, ..creation }, columns, query })
}

fn drop_statement(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    let temporary = take_word(p, "TEMPORARY");
    let token = p.next_token();
    let kind = if is_word(&token, "TABLE") {
        DropKind::Table
    } else if is_word(&token, "VIEW") {
        DropKind::View
    } else {
        return Err(SqlError::not_yet(token.span, format!("DROP {}", token.token)));
    };
    let if_exists = p.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    Ok(StatementKind::Drop(Drop { name: name(p)?, temporary, if_exists, kind }))
}

fn set(p: &mut Parser<'_>) -> Result<StatementKind, SqlError> {
    p.advance_token();
    if p.peek_token_ref().token == Token::EOF {
        return Err(SqlError::not_yet(here(p), "SET without a key"));
    }
    let key = string(p)?;
    expect(p, &Token::Eq)?;
    Ok(StatementKind::Set { key, value: string(p)? })
}

pub(super) fn name(p: &mut Parser<'_>) -> Result<Name, SqlError> {
    let (first, at) = ident(p)?;
    let mut parts = vec![first];
    while p.consume_token(&Token::Period) {
        parts.push(ident(p)?.0);
    }
    let options = options_hint::taken(&mut parts, at)?;
    if parts.len() > 3 {
        return Err(SqlError::syntax(at, "a name has at most three parts: catalog, database, object"));
    }
    Ok(Name { at, parts, options })
}

pub(super) fn names(p: &mut Parser<'_>) -> Result<Vec<(String, Pos)>, SqlError> {
    let mut names = vec![ident(p)?];
    while p.consume_token(&Token::Comma) {
        names.push(ident(p)?);
    }
    Ok(names)
}

fn starts_query(p: &Parser<'_>, n: usize) -> bool {
    ["SELECT", "VALUES", "WITH"].iter().any(|word| peek_nth_word(p, n, word))
        || p.peek_nth_token_ref(n).token == Token::LParen
}

/// Makes arguments of window table functions into what the library can read: `TABLE t` becomes `t`, and
/// `t PARTITION BY (a, b)` becomes `t, $PARTITION_BY(a, b)`.
fn window_arguments(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let solid = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Depths of parentheses at which a window's arguments stand.
    let (mut depth, mut windows) = (0usize, Vec::new());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let inside = windows.last() == Some(&depth);
        if inside && is_word(&token, "TABLE") {
            continue;
        }
        if inside && is_word(&token, "PARTITION") {
            partition_by(&token, &mut rest, &mut out)?;
            continue;
        }
        if token.token == Token::LParen {
            let before = out.iter().rev().find(|t| solid(t));
            let opens = |word: &&str| before.is_some_and(|before| is_word(before, word));
            depth += 1;
            if ["TUMBLE", "HOP", "CUMULATE", "SESSION"].iter().any(opens) {
                windows.push(depth);
            }
        } else if token.token == Token::RParen {
            if inside {
                windows.pop();
            }
            depth = depth.saturating_sub(1);
        }
        out.push(token);
    }
    Ok(out)
}

/// From behind PARTITION: BY, and a name or names in parentheses.
fn partition_by(
    at: &TokenWithSpan,
    rest: &mut std::iter::Peekable<std::vec::IntoIter<TokenWithSpan>>,
    out: &mut Vec<TokenWithSpan>,
) -> Result<(), SqlError> {
    let made = |token: Token| TokenWithSpan { token, span: at.span };
    let mut next = || rest.by_ref().find(|t| !matches!(t.token, Token::Whitespace(_)));
    if !next().is_some_and(|t| is_word(&t, "BY")) {
        return Err(SqlError::syntax(at.span, "expected PARTITION BY"));
    }
    let Some(first) = next() else { return Err(SqlError::syntax(at.span, "expected a column")) };
    out.push(made(Token::Comma));
    out.push(made(Token::make_word(PARTITION_BY, None)));
    if first.token == Token::LParen {
        out.push(first);
        for token in rest.by_ref() {
            let end = token.token == Token::RParen;
            out.push(token);
            if end {
                return Ok(());
            }
        }
        return Err(SqlError::syntax(at.span, "expected ')'"));
    }
    out.push(made(Token::LParen));
    out.push(first);
    out.push(made(Token::RParen));
    Ok(())
}

/// Refuses by name what the library would only stumble over.
fn refuse_early(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    const FUNCTIONS: &[(&str, &str)] =
        &[("MATCH_RECOGNIZE", "MATCH_RECOGNIZE"), ("LATERAL", "LATERAL"), ("ML_PREDICT", "ML_PREDICT")];
    let mut solid = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).peekable();
    while let Some(token) = solid.next() {
        let Some(next) = solid.peek() else { break };
        let called = next.token == Token::LParen || (is_word(token, "LATERAL") && is_word(next, "TABLE"));
        if let Some((_, what)) = FUNCTIONS.iter().find(|(word, _)| called && is_word(token, word)) {
            return Err(SqlError::not_yet(token.span, what));
        }
        if is_word(token, "EMIT") && ["CHANGES", "FINAL", "ON"].iter().any(|word| is_word(next, word)) {
            return Err(SqlError::syntax(token.span, "EMIT is not part of Flink SQL"));
        }
    }
    Ok(())
}

/// The library's error with its place taken out of its text; without one, the parser's place.
pub(super) fn fault(p: &Parser<'_>, error: &ParserError) -> SqlError {
    const PLACE: &str = " at Line: ";
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::invalid(here(p), "the expression is nested too deeply");
        }
    };
    let placed = text.rsplit_once(PLACE).and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Pos { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    let (message, at) = placed.filter(|(_, at)| at.line > 0).unwrap_or((text, here(p)));
    match message.strip_suffix(NOT_YET_MARK) {
        Some(message) => SqlError { at, kind: super::SqlErrorKind::NotYet, message: message.to_owned() },
        None => SqlError::syntax(at, lower_first(message)),
    }
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// A type on its own, from the text that [`FlinkDialect`]'s CAST made of it.
pub(crate) fn type_of(text: &str) -> Result<crate::stream::plan::types::DataType, SqlError> {
    let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens(text)?);
    table::parse_type(&mut parser)
}

/// An expression on its own.
pub(crate) fn expr_of(text: &str) -> Result<sqlparser::ast::Expr, SqlError> {
    let start = Pos { line: 1, column: 1 };
    let parser = Parser::new(&FlinkDialect).try_with_sql(text);
    let mut parser = parser.map_err(|e| SqlError::syntax(start, e.to_string()))?;
    let expr = parser.parse_expr().map_err(|e| fault(&parser, &e))?;
    let next = parser.peek_token_ref();
    if next.token == Token::EOF { Ok(expr) } else { Err(expected("the end of the expression", next)) }
}
