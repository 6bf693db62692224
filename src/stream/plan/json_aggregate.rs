//! JSON_ARRAYAGG and JSON_OBJECTAGG: the rows' values, each as JSON already, are gathered by ARRAY_AGG, which takes back
//! what changes, and made one text above GROUP BY. (Flink: WrapJsonAggFunctionArgumentsRule, JsonArrayAggFunction,
//! JsonObjectAggFunction)

use sqlparser::ast::{Expr as Parsed, Function, Spanned};

use super::{
    aggregate::AggFunction,
    analyze::Result,
    analyze_call::call,
    analyze_expr::mismatch,
    group_window::arguments,
    scope::{FoundCall, Grouping},
    types::{DataType, Type},
};
use crate::stream::{
    expr::{Expr, Node, builtins::json},
    sql::{Pos, SqlError},
};

/// Whether the function is one of these.
pub(super) fn is_one(name: &str) -> bool {
    matches!(name, "JSON_ARRAYAGG" | "JSON_OBJECTAGG")
}

impl Grouping {
    /// The text, over the columns above GROUP BY.
    pub(super) fn json(&self, name: &str, function: &Function) -> Result<Expr> {
        let at: Pos = function.name.span().into();
        let (on_null, item, made) = match arguments(function)?.as_slice() {
            [on_null, value] if name == "JSON_ARRAYAGG" => {
                (*on_null, self.as_json(value)?, json::ARRAY_OF_ROWS)
            }
            [on_null, key, value] if name == "JSON_OBJECTAGG" => {
                let key_expr = self.below.expr(key)?;
                let value = self.as_json(value)?;
                if !key_expr.data_type.kind.is_string() {
                    let called = format!("JSON_OBJECTAGG_{}_ON_NULL", word(on_null));
                    return Err(mismatch(at, &called, &[&key_expr.data_type.kind, &value.data_type.kind]));
                }
                (*on_null, call("ROW", vec![key_expr, value], key.span().into())?, json::OBJECT_OF_ROWS)
            }
            _ => {
                let message = format!("Invalid number of arguments to function '{name}'");
                return Err(SqlError::invalid(at, message));
            }
        };
        let data_type = Type::Array(Box::new(item.data_type.clone().with_nullable(true)));
        let gathered = self.register(FoundCall {
            function: AggFunction::ArrayAgg,
            args: vec![item],
            distinct: false,
            filter: None,
            separator: None,
            data_type: DataType::nullable(data_type),
        });
        call(made, vec![self.below.expr(on_null)?, gathered], at)
    }

    /// A value as JSON; what a JSON function has made is JSON already.
    fn as_json(&self, parsed: &Parsed) -> Result<Expr> {
        let value = self.below.expr(parsed)?;
        if let Node::Call(builtin, _) = &value.node
            && matches!(builtin.name, "JSON_ARRAY" | "JSON_OBJECT")
        {
            return Ok(value);
        }
        call("JSON_STRING", vec![value], parsed.span().into())
    }
}

/// `NULL` or `ABSENT`, as the reader of the call has put it.
fn word(on_null: &Parsed) -> String {
    on_null.to_string().trim_matches('\'').to_owned()
}
