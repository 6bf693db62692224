//! The names in an expression: which columns it reads, and how it is shown.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many; in one that is not named here names stay as they are"
)]

use sqlparser::{
    ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident},
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use super::{SqlError, ast::Written, parser::fault, reserved};

/// Reads an expression. Flink shows its own form of it, which differs for a few functions (`SUBSTRING(x, 1, 2)`).
pub(super) fn written(p: &mut Parser<'_>) -> Result<Written, SqlError> {
    let start = p.index();
    let expr = p.parse_expr().map_err(|e| fault(p, &e))?;
    let mut names = Vec::new();
    each(&expr, &mut |ident| names.push(ident.value.clone()));
    let tokens: Vec<&TokenWithSpan> = (start..p.index()).map(|index| p.token_at(index)).collect();
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let calls = tokens.get(index + 1).is_some_and(|next| next.token == Token::LParen);
        match &token.token {
            Token::Whitespace(_) if text.is_empty() || text.ends_with(' ') => {}
            Token::Whitespace(_) => text.push(' '),
            Token::SingleQuotedString(literal) => {
                text.push_str(&format!("'{}'", literal.replace('\'', "''")))
            }
            Token::Word(word) if word.quote_style.is_none() && !calls && names.contains(&word.value) => {
                text.push_str(&format!("`{}`", word.value));
            }
            Token::Word(word)
                if word.quote_style.is_none() && (calls || reserved::is_reserved(&word.value)) =>
            {
                text.push_str(&word.value.to_ascii_uppercase());
            }
            token => text.push_str(&token.to_string()),
        }
    }
    Ok(Written { expr: Box::new(expr), text: text.trim_end().to_owned() })
}

/// Whether the expression reads a column.
#[must_use]
pub fn reads(expr: &Expr, column: &str) -> bool {
    let mut found = false;
    each(expr, &mut |ident| found |= ident.value == column);
    found
}

/// Visits the names of columns and fields.
fn each(expr: &Expr, visit: &mut impl FnMut(&Ident)) {
    let mut all = |parts: Vec<&Expr>| parts.into_iter().for_each(|part| each(part, visit));
    match expr {
        Expr::Identifier(ident) => visit(ident),
        Expr::CompoundIdentifier(idents) => idents.iter().for_each(visit),
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::Position { expr: left, r#in: right } => all(vec![left, right]),
        Expr::Nested(e)
        | Expr::UnaryOp { expr: e, .. }
        | Expr::Cast { expr: e, .. }
        | Expr::Extract { expr: e, .. }
        | Expr::Ceil { expr: e, .. }
        | Expr::Floor { expr: e, .. }
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::CompoundFieldAccess { root: e, .. }
        | Expr::Trim { expr: e, .. } => all(vec![e]),
        Expr::Between { expr, low, high, .. } => all(vec![expr, low, high]),
        Expr::Like { expr, pattern, .. } | Expr::SimilarTo { expr, pattern, .. } => all(vec![expr, pattern]),
        Expr::InList { expr, list, .. } => all(std::iter::once(&**expr).chain(list).collect()),
        Expr::Tuple(list) => all(list.iter().collect()),
        Expr::Array(array) => all(array.elem.iter().collect()),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let parts = [Some(expr), substring_from.as_ref(), substring_for.as_ref()];
            all(parts.into_iter().flatten().map(|part| &**part).collect());
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let ends = operand.iter().chain(else_result).map(|e| &**e);
            let whens = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
            all(ends.chain(whens).collect());
        }
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else { return };
            let args = list.args.iter().filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
                _ => None,
            });
            all(args.collect());
        }
        _ => {}
    }
}
