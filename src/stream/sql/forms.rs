//! Forms of Flink's expressions that the library reads differently, or not at all. Each becomes a form that the library
//! has: mostly a call whose name says what it was.
//!
//! `MAP[k, v]`, the JSON functions with their clauses, `BETWEEN SYMMETRIC`, `(a - b) DAY TO SECOND`, and a CASE with
//! several values behind one WHEN. (Calcite's grammar, as Flink 2.2 has it)
#![expect(clippy::wildcard_enum_match_arm, reason = "the library's tokens and keywords are open-ended")]

use sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
        FunctionArguments, Ident, Interval, ObjectName, Value, ValueWithSpan,
        helpers::attached_token::AttachedToken,
    },
    dialect::{Dialect as _, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token},
};

use super::{
    dialect::FlinkDialect,
    table::{is_word, peek_nth_word, peek_word, take_word},
};

type Parsed<T> = Result<T, ParserError>;

/// The call that `(a - b) unit TO unit` becomes: the difference, and an interval that only says the units.
pub(crate) const DIFFERENCE: &str = "$DIFFERENCE";
/// The call that `a BETWEEN SYMMETRIC b AND c` becomes.
pub(crate) const BETWEEN_SYMMETRIC: &str = "$BETWEEN_SYMMETRIC";
const UNITS: &[&str] = &["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"];

/// An expression that begins with the next token, if it is one of ours.
pub(super) fn prefix(p: &mut Parser<'_>) -> Option<Parsed<Expr>> {
    let after = &p.peek_nth_token_ref(1).token;
    if *after == Token::LBracket && peek_word(p, "MAP") {
        return Some(map(p));
    }
    if *after == Token::LParen {
        for (name, read) in JSON {
            if peek_word(p, name) {
                return Some(json(p, name, *read));
            }
        }
    }
    (peek_word(p, "CASE") && !peek_nth_word(p, 1, "WHEN")).then(|| case(p))
}

/// How tightly the next token binds, if it is an operator of ours.
pub(super) fn precedence(p: &Parser<'_>) -> Option<Precedence> {
    let negated = usize::from(peek_word(p, "NOT"));
    if peek_nth_word(p, negated, "BETWEEN") && symmetry(p, negated + 1) {
        return Some(Precedence::Between);
    }
    (UNITS.iter().any(|unit| peek_word(p, unit)) && behind_difference(p)).then_some(Precedence::DoubleColon)
}

/// What follows the operand, if it is an operator of ours.
pub(super) fn infix(p: &mut Parser<'_>, left: &Expr) -> Option<Parsed<Expr>> {
    let negated = usize::from(peek_word(p, "NOT"));
    if peek_nth_word(p, negated, "BETWEEN") && symmetry(p, negated + 1) {
        return Some(between(p, left, negated == 1));
    }
    let units = UNITS.iter().any(|unit| peek_word(p, unit)) && behind_difference(p);
    units.then(|| difference(p, left))
}

fn symmetry(p: &Parser<'_>, n: usize) -> bool {
    peek_nth_word(p, n, "SYMMETRIC") || peek_nth_word(p, n, "ASYMMETRIC")
}

fn between(p: &mut Parser<'_>, left: &Expr, negated: bool) -> Parsed<Expr> {
    let at = p.peek_token_ref().span;
    let _ = take_word(p, "NOT");
    p.advance_token();
    let symmetric = take_word(p, "SYMMETRIC");
    let _ = take_word(p, "ASYMMETRIC");
    let inner = FlinkDialect.prec_value(Precedence::Between);
    let low = p.parse_subexpr(inner)?;
    p.expect_keyword_is(Keyword::AND)?;
    let high = p.parse_subexpr(inner)?;
    if !symmetric {
        let (expr, low, high) = (Box::new(left.clone()), Box::new(low), Box::new(high));
        return Ok(Expr::Between { expr, negated, low, high });
    }
    let between = call(BETWEEN_SYMMETRIC, at, vec![left.clone(), low, high]);
    Ok(if negated {
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(between) }
    } else {
        between
    })
}

/// Whether what stands before is `(… - …)` and no call: looked at backwards, for the parser knows only the next token.
fn behind_difference(p: &Parser<'_>) -> bool {
    let (mut depth, mut minus) = (0usize, false);
    let mut before = (0..=p.get_current_index()).rev().map(|i| p.token_at(i));
    for token in before.by_ref().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth <= 1 => break,
            Token::LParen => depth -= 1,
            Token::Minus if depth == 1 => minus = true,
            _ if depth == 0 => return false,
            _ => {}
        }
    }
    let opener = before.find(|t| !matches!(t.token, Token::Whitespace(_)));
    let called = opener.is_some_and(|t| {
        matches!(&t.token, Token::Word(w) if w.keyword == Keyword::NoKeyword || !STANDALONE.contains(&w.keyword))
    });
    minus && !called
}

/// Words that a parenthesis may follow without being called.
const STANDALONE: &[Keyword] = &[
    Keyword::AND,
    Keyword::BETWEEN,
    Keyword::BY,
    Keyword::CASE,
    Keyword::DISTINCT,
    Keyword::ELSE,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::NOT,
    Keyword::ON,
    Keyword::OR,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::WHEN,
    Keyword::WHERE,
];

fn difference(p: &mut Parser<'_>, left: &Expr) -> Parsed<Expr> {
    let at = p.peek_token_ref().span;
    let minus = match left {
        Expr::Nested(inner) => match &**inner {
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => Some((left, right)),
            _ => None,
        },
        _ => None,
    };
    let Some((a, b)) = minus else {
        return p.expected("an operator", p.peek_token_ref().clone());
    };
    let leading = p.parse_date_time_field()?;
    let last_field = if p.parse_keyword(Keyword::TO) { Some(p.parse_date_time_field()?) } else { None };
    let units = Expr::Interval(Interval {
        value: Box::new(text("0", at)),
        leading_field: Some(leading),
        leading_precision: None,
        last_field,
        fractional_seconds_precision: None,
    });
    Ok(call(DIFFERENCE, at, vec![(**a).clone(), (**b).clone(), units]))
}

fn map(p: &mut Parser<'_>) -> Parsed<Expr> {
    let at = p.next_token().span;
    p.advance_token();
    let items = p.parse_comma_separated0(Parser::parse_expr, Token::RBracket)?;
    p.expect_token(&Token::RBracket)?;
    Ok(call("MAP", at, items))
}

/// `CASE a WHEN b, c THEN …`: the library reads one value behind each WHEN.
fn case(p: &mut Parser<'_>) -> Parsed<Expr> {
    let case_token = AttachedToken(p.next_token());
    let operand = Some(Box::new(p.parse_expr()?));
    let mut conditions = Vec::new();
    while p.parse_keyword(Keyword::WHEN) {
        let values = p.parse_comma_separated(Parser::parse_expr)?;
        p.expect_keyword_is(Keyword::THEN)?;
        let result = p.parse_expr()?;
        conditions.extend(values.into_iter().map(|condition| CaseWhen { condition, result: result.clone() }));
    }
    if conditions.is_empty() {
        return p.expected("WHEN", p.peek_token_ref().clone());
    }
    let else_result = if p.parse_keyword(Keyword::ELSE) { Some(Box::new(p.parse_expr()?)) } else { None };
    let end_token = AttachedToken(p.expect_keyword(Keyword::END)?);
    Ok(Expr::Case { case_token, end_token, operand, conditions, else_result })
}

type ReadArguments = fn(&mut Parser<'_>) -> Parsed<Vec<Expr>>;

/// The JSON functions whose arguments have clauses; each clause becomes an argument, see the reader.
const JSON: &[(&str, ReadArguments)] = &[
    ("JSON_ARRAY", json_array),
    ("JSON_ARRAYAGG", json_arrayagg),
    ("JSON_EXISTS", json_exists),
    ("JSON_OBJECT", json_object),
    ("JSON_OBJECTAGG", json_objectagg),
    ("JSON_QUERY", json_query),
    ("JSON_VALUE", json_value),
];

fn json(p: &mut Parser<'_>, name: &str, read: ReadArguments) -> Parsed<Expr> {
    let at = p.next_token().span;
    p.expect_token(&Token::LParen)?;
    let args = read(p)?;
    p.expect_token(&Token::RParen)?;
    Ok(call(name, at, args))
}

/// The text and the path.
fn json_path(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let input = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    Ok(vec![input, p.parse_expr()?])
}

/// (text, path, on error).
fn json_exists(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let mut args = json_path(p)?;
    let at = p.peek_token_ref().span;
    let mut on_error = "FALSE";
    for word in ["TRUE", "FALSE", "UNKNOWN", "ERROR"] {
        if peek_word(p, word) {
            p.advance_token();
            p.expect_keyword_is(Keyword::ON)?;
            expect_word(p, "ERROR")?;
            on_error = word;
            break;
        }
    }
    args.push(text(on_error, at));
    Ok(args)
}

/// (text, path, a NULL of the type that is returned, on empty, default on empty, on error, default on error).
fn json_value(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let mut args = json_path(p)?;
    args.push(returning(p)?);
    let at = p.peek_token_ref().span;
    let nothing = || (text("NULL", at), null(at));
    let behaviour = |p: &mut Parser<'_>| {
        Ok(if take_word(p, "NULL") {
            Some(nothing())
        } else if take_word(p, "ERROR") {
            Some((text("ERROR", at), null(at)))
        } else if take_word(p, "DEFAULT") {
            Some((text("DEFAULT", at), p.parse_expr()?))
        } else {
            None
        })
    };
    let (on_empty, on_error) = on_empty_on_error(p, nothing(), behaviour)?;
    args.extend([on_empty.0, on_empty.1, on_error.0, on_error.1]);
    Ok(args)
}

/// (text, path, a NULL of the type that is returned, wrapper, on empty, on error).
fn json_query(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let mut args = json_path(p)?;
    args.push(returning(p)?);
    let at = p.peek_token_ref().span;
    let mut wrapper = "WITHOUT";
    if take_word(p, "WITHOUT") {
        let _ = take_word(p, "ARRAY");
        expect_word(p, "WRAPPER")?;
    } else if take_word(p, "WITH") {
        wrapper = if take_word(p, "CONDITIONAL") { "CONDITIONAL" } else { "UNCONDITIONAL" };
        let _ = take_word(p, "UNCONDITIONAL");
        let _ = take_word(p, "ARRAY");
        expect_word(p, "WRAPPER")?;
    }
    let behaviour = |p: &mut Parser<'_>| {
        Ok(if take_word(p, "NULL") {
            Some("NULL")
        } else if take_word(p, "ERROR") {
            Some("ERROR")
        } else if take_word(p, "EMPTY") {
            if take_word(p, "OBJECT") {
                Some("{}")
            } else {
                expect_word(p, "ARRAY")?;
                Some("[]")
            }
        } else {
            None
        })
    };
    let (on_empty, on_error) = on_empty_on_error(p, "NULL", behaviour)?;
    args.extend([text(wrapper, at), text(on_empty, at), text(on_error, at)]);
    Ok(args)
}

/// `… ON EMPTY` and `… ON ERROR`, in either order: what is made where there is nothing, and where something is wrong.
fn on_empty_on_error<T: Clone>(
    p: &mut Parser<'_>,
    unsaid: T,
    behaviour: impl Fn(&mut Parser<'_>) -> Parsed<Option<T>>,
) -> Parsed<(T, T)> {
    let (mut on_empty, mut on_error) = (unsaid.clone(), unsaid);
    while let Some(said) = behaviour(p)? {
        p.expect_keyword_is(Keyword::ON)?;
        if take_word(p, "EMPTY") {
            on_empty = said;
        } else {
            expect_word(p, "ERROR")?;
            on_error = said;
        }
    }
    Ok((on_empty, on_error))
}

/// (on null, key, value, key, value …).
fn json_object(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let at = p.peek_token_ref().span;
    let mut args = vec![text("NULL", at)];
    while p.peek_token_ref().token != Token::RParen && on_null(p).is_none() {
        args.extend(member(p)?);
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    take_on_null(p, &mut args);
    Ok(args)
}

/// `KEY key VALUE value`, also without KEY and with a colon.
fn member(p: &mut Parser<'_>) -> Parsed<[Expr; 2]> {
    let _ = peek_nth_word(p, 1, "VALUE") || take_word(p, "KEY");
    // A colon is no operator here.
    let key = p.parse_subexpr(FlinkDialect.prec_value(Precedence::Colon))?;
    if !take_word(p, "VALUE") {
        p.expect_token(&Token::Colon)?;
    }
    Ok([key, p.parse_expr()?])
}

/// (on null, value).
fn json_arrayagg(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let mut args = vec![text("ABSENT", p.peek_token_ref().span), p.parse_expr()?];
    take_on_null(p, &mut args);
    Ok(args)
}

/// (on null, key, value).
fn json_objectagg(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let mut args = vec![text("NULL", p.peek_token_ref().span)];
    args.extend(member(p)?);
    take_on_null(p, &mut args);
    Ok(args)
}

/// (on null, value, value …).
fn json_array(p: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    let at = p.peek_token_ref().span;
    let mut args = vec![text("ABSENT", at)];
    while p.peek_token_ref().token != Token::RParen && on_null(p).is_none() {
        args.push(p.parse_expr()?);
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    take_on_null(p, &mut args);
    Ok(args)
}

fn on_null(p: &Parser<'_>) -> Option<&'static str> {
    let clause = peek_nth_word(p, 1, "ON") && peek_nth_word(p, 2, "NULL");
    ["NULL", "ABSENT"].into_iter().find(|word| clause && peek_word(p, word))
}

fn take_on_null(p: &mut Parser<'_>, args: &mut [Expr]) {
    if let (Some(behaviour), Some(first)) = (on_null(p), args.first_mut()) {
        *first = text(behaviour, p.peek_token_ref().span);
        for _ in 0..3 {
            p.advance_token();
        }
    }
}

/// `RETURNING type` as a NULL cast to it; STRING where there is none.
fn returning(p: &mut Parser<'_>) -> Parsed<Expr> {
    let at = p.peek_token_ref().span;
    if take_word(p, "RETURNING") {
        return super::dialect::cast_to_type(p, null(at));
    }
    Ok(null(at))
}

fn expect_word(p: &mut Parser<'_>, word: &str) -> Parsed<()> {
    if is_word(p.peek_token_ref(), word) {
        p.advance_token();
        return Ok(());
    }
    p.expected(word, p.peek_token_ref().clone())
}

fn text(text: &str, at: Span) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text.to_owned()), span: at })
}

fn null(at: Span) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Null, span: at })
}

fn call(name: &str, at: Span, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    let name = Ident { value: name.to_owned(), quote_style: None, span: at };
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        within_group: Vec::new(),
        filter: None,
        null_treatment: None,
        over: None,
    })
}
