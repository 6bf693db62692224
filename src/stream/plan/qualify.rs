//! QUALIFY: a filter behind what is computed OVER windows. Of a ROW_NUMBER it makes a Top-N, as a filter around the query
//! does.

use sqlparser::ast::{Select, SelectItem, Spanned};

use super::{join, scope::Scope};
use crate::stream::{
    expr::Expr,
    sql::{SqlError, reserved},
};

type Result<T> = std::result::Result<T, SqlError>;

/// The conditions that rows must meet. `seen` gathers what is computed OVER windows; `exprs` are those of the select list,
/// whose names QUALIFY knows.
pub(super) fn conditions(select: &Select, seen: &Scope, exprs: &[Expr]) -> Result<Vec<Expr>> {
    let Some(qualify) = &select.qualify else { return Ok(Vec::new()) };
    if !select.named_window.is_empty() && !select.window_before_qualify {
        return Err(SqlError::syntax(qualify.span(), "WINDOW stands before QUALIFY"));
    }
    let named =
        Scope { merged: [seen.merged.clone(), aliases(select, seen, exprs)?].concat(), ..seen.clone() };
    let condition = named.condition(qualify, "QUALIFY")?;
    let mut over = false;
    condition.columns(&mut |column| over |= column >= seen.columns.len());
    if !over {
        let message = format!("QUALIFY expression '{qualify}' must contain a window function");
        return Err(SqlError::invalid(qualify.span(), message));
    }
    Ok(join::conjuncts(condition))
}

/// What the names of the select list mean. One that a column has too, and another, means both.
fn aliases(select: &Select, seen: &Scope, exprs: &[Expr]) -> Result<Vec<(String, Expr)>> {
    let mut aliases = Vec::new();
    // Behind a `*` there are more expressions than items: those that follow it are counted from the end.
    let is_all =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let last_all = select.projection.iter().rposition(is_all);
    let first_all = select.projection.iter().position(is_all);
    for (index, item) in select.projection.iter().enumerate() {
        let SelectItem::ExprWithAlias { alias, .. } = item else { continue };
        let name = reserved::name(alias)?;
        let expr = if first_all.is_none_or(|all| index < all) {
            exprs.get(index)
        } else if last_all.is_some_and(|all| index > all) {
            (exprs.len() + index).checked_sub(select.projection.len()).and_then(|index| exprs.get(index))
        } else {
            return Err(SqlError::not_yet(alias.span, "QUALIFY with a name between two '*'"));
        };
        let Some(expr) = expr else { continue };
        aliases.push((name.clone(), expr.clone()));
        let columns = seen.columns.iter().enumerate().filter(|(_, (column, _))| *column == name);
        let columns = columns.map(|(index, (name, data_type))| Expr::column(index, name, data_type.clone()));
        aliases.extend(columns.filter(|column| column != expr).map(|column| (name.clone(), column)));
    }
    Ok(aliases)
}

/// Where nothing is computed OVER windows. (Above GROUP BY Flink 2.2 takes it, and fails to plan it.)
pub(super) fn refuse(select: &Select) -> Result<()> {
    match &select.qualify {
        Some(qualify) => Err(SqlError::not_yet(qualify.span(), "QUALIFY here")),
        None => Ok(()),
    }
}
