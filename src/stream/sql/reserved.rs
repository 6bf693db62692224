//! Words of the language that are no names unless they stand in backticks.
//!
//! The library knows fewer of them, and takes them for names where no other reading is left; a text that runs here must
//! run on Flink. (`fixtures/streams/words/words.tsv` has all words of Flink 2.2.1's parser, as it tells of them itself)

use sqlparser::ast::Ident;

use super::{Pos, SqlError};

/// The text of a name.
pub(crate) fn name(ident: &Ident) -> Result<String, SqlError> {
    checked(&ident.value, ident.quote_style, ident.span.into())
}

/// The same of a name's parts.
pub(super) fn checked(word: &str, quote: Option<char>, at: Pos) -> Result<String, SqlError> {
    if quote.is_none() && is_reserved(word) {
        let message =
            format!("Encountered \"{word}\", a reserved word: a name that is one is written `{word}`");
        return Err(SqlError::syntax(at, message));
    }
    Ok(word.to_owned())
}

/// Whether Flink's parser has the word for itself.
pub(crate) fn is_reserved(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    RESERVED.binary_search(&upper.as_str()).is_ok()
}

/// In the order of their characters.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "ABS", "ALL", "ALLOCATE", "ALLOW", "ALTER", "AND", "ANY", "ARE", "ARRAY", "ARRAY_CONCAT_AGG",
    "ARRAY_MAX_CARDINALITY", "AS", "ASENSITIVE", "ASYMMETRIC", "AT", "ATOMIC", "AUTHORIZATION", "AVG",
    "BEGIN", "BEGIN_FRAME", "BEGIN_PARTITION", "BETWEEN", "BIGINT", "BINARY", "BIT", "BLOB", "BOOLEAN",
    "BOTH", "BUCKETS", "BY", "BYTES", "CALL", "CALLED", "CARDINALITY", "CASCADED", "CASE", "CAST", "CATALOGS",
    "CEIL", "CEILING", "CHAR", "CHARACTER", "CHARACTER_LENGTH", "CHAR_LENGTH", "CHECK", "CLASSIFIER", "CLOB",
    "CLOSE", "COALESCE", "COLLATE", "COLLECT", "COLUMN", "COMMENT", "COMMIT", "CONDITION", "CONNECT",
    "CONSTRAINT", "CONTAINS", "CONTAINS_SUBSTR", "CONTINUOUS", "CONVERT", "CORR", "CORRESPONDING", "COUNT",
    "COVAR_POP", "COVAR_SAMP", "CREATE", "CROSS", "CUBE", "CUME_DIST", "CURRENT", "CURRENT_CATALOG",
    "CURRENT_DATE", "CURRENT_DEFAULT_TRANSFORM_GROUP", "CURRENT_PATH", "CURRENT_ROLE", "CURRENT_ROW",
    "CURRENT_SCHEMA", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_TRANSFORM_GROUP_FOR_TYPE", "CURRENT_USER",
    "CURSOR", "CYCLE", "DATABASES", "DATE", "DATETIME", "DATETIME_TRUNC", "DATE_TRUNC", "DAY", "DEALLOCATE",
    "DEC", "DECIMAL", "DECLARE", "DEFAULT", "DEFINE", "DELETE", "DENSE_RANK", "DEREF", "DESCRIBE",
    "DETERMINISTIC", "DISALLOW", "DISCONNECT", "DISTINCT", "DISTRIBUTED", "DISTRIBUTION", "DOT", "DOUBLE",
    "DROP", "DYNAMIC", "EACH", "ELEMENT", "ELSE", "EMPTY", "END", "END-EXEC", "END_FRAME", "END_PARTITION",
    "EQUALS", "ESCAPE", "EVERY", "EXCEPT", "EXEC", "EXECUTE", "EXISTS", "EXP", "EXPLAIN", "EXTEND",
    "EXTENDED", "EXTERNAL", "EXTRACT", "FALSE", "FETCH", "FILTER", "FIRST_VALUE", "FLOAT", "FLOOR", "FOR",
    "FOREIGN", "FRAME_ROW", "FREE", "FRESHNESS", "FRIDAY", "FROM", "FULL", "FUNCTION", "FUNCTIONS", "FUSION",
    "GET", "GLOBAL", "GRANT", "GROUP", "GROUPING", "GROUPS", "GROUP_CONCAT", "HASH", "HAVING", "HOLD", "HOUR",
    "IDENTITY", "ILIKE", "IMPORT", "IN", "INCLUDE", "INDICATOR", "INITIAL", "INNER", "INOUT", "INSENSITIVE",
    "INSERT", "INT", "INTEGER", "INTERSECT", "INTERSECTION", "INTERVAL", "INTO", "IS", "JOIN", "JSON_ARRAY",
    "JSON_ARRAYAGG", "JSON_EXISTS", "JSON_OBJECT", "JSON_OBJECTAGG", "JSON_QUERY", "JSON_SCOPE", "JSON_VALUE",
    "LAG", "LANGUAGE", "LARGE", "LAST_VALUE", "LATERAL", "LEAD", "LEADING", "LEFT", "LIKE", "LIKE_REGEX",
    "LIMIT", "LN", "LOCAL", "LOCALTIME", "LOCALTIMESTAMP", "LOWER", "MATCH", "MATCHES", "MATCH_NUMBER",
    "MATCH_RECOGNIZE", "MATERIALIZED", "MAX", "MEASURES", "MEMBER", "MERGE", "METHOD", "MIN", "MINUS",
    "MINUTE", "MOD", "MODELS", "MODIFIES", "MODIFY", "MODULE", "MODULES", "MONDAY", "MONTH", "MULTISET",
    "NATIONAL", "NATURAL", "NCHAR", "NCLOB", "NEW", "NEXT", "NO", "NONE", "NORMALIZE", "NOT", "NTH_VALUE",
    "NTILE", "NULL", "NULLIF", "NUMERIC", "OCCURRENCES_REGEX", "OCTET_LENGTH", "OF", "OFFSET", "OLD", "OMIT",
    "ON", "ONE", "ONLY", "OPEN", "OR", "ORDER", "ORDINAL", "OUT", "OUTER", "OVER", "OVERLAPS", "OVERLAY",
    "PARAMETER", "PARTITION", "PATTERN", "PER", "PERCENT", "PERCENTILE_CONT", "PERCENTILE_DISC",
    "PERCENT_RANK", "PERIOD", "PERMUTE", "PIVOT", "PORTION", "POSITION", "POSITION_REGEX", "POWER",
    "PRECEDES", "PRECISION", "PREPARE", "PREV", "PRIMARY", "PROCEDURE", "PROCEDURES", "QUALIFY", "QUARTERS",
    "RANGE", "RANK", "RAW", "READS", "REAL", "RECURSIVE", "REF", "REFERENCES", "REFERENCING", "REFRESH",
    "REFRESH_MODE", "REGR_AVGX", "REGR_AVGY", "REGR_COUNT", "REGR_INTERCEPT", "REGR_R2", "REGR_SLOPE",
    "REGR_SXX", "REGR_SXY", "REGR_SYY", "RELEASE", "RENAME", "RESET", "RESULT", "RESUME", "RETURN", "RETURNS",
    "REVOKE", "RIGHT", "RLIKE", "ROLLBACK", "ROLLUP", "ROW", "ROWS", "ROW_NUMBER", "RUNNING", "SAFE_CAST",
    "SAFE_OFFSET", "SAFE_ORDINAL", "SATURDAY", "SAVEPOINT", "SCALA", "SCOPE", "SCROLL", "SEARCH", "SECOND",
    "SEEK", "SELECT", "SENSITIVE", "SEPARATOR", "SESSION_USER", "SET", "SHOW", "SIMILAR", "SKIP", "SMALLINT",
    "SOME", "SPECIFIC", "SPECIFICTYPE", "SQL", "SQLEXCEPTION", "SQLSTATE", "SQLWARNING", "SQRT", "START",
    "STATEMENT", "STATIC", "STDDEV_POP", "STDDEV_SAMP", "STREAM", "STRING", "STRING_AGG", "STRUCTURED",
    "SUBMULTISET", "SUBSET", "SUBSTRING", "SUBSTRING_REGEX", "SUCCEEDS", "SUM", "SUNDAY", "SUSPEND",
    "SYMMETRIC", "SYSTEM", "SYSTEM_TIME", "SYSTEM_USER", "TABLE", "TABLES", "TABLESAMPLE", "THEN", "THURSDAY",
    "TIME", "TIMESTAMP", "TIMESTAMP_DIFF", "TIMESTAMP_LTZ", "TIMESTAMP_TRUNC", "TIMEZONE_HOUR",
    "TIMEZONE_MINUTE", "TIME_DIFF", "TIME_TRUNC", "TINYINT", "TO", "TRAILING", "TRANSLATE", "TRANSLATE_REGEX",
    "TRANSLATION", "TREAT", "TRIGGER", "TRIM", "TRIM_ARRAY", "TRUE", "TRUNCATE", "TRY_CAST", "TUESDAY",
    "UESCAPE", "UNION", "UNIQUE", "UNKNOWN", "UNNEST", "UNPIVOT", "UPDATE", "UPPER", "UPSERT", "USE", "USER",
    "USING", "VALUE", "VALUES", "VALUE_OF", "VARBINARY", "VARCHAR", "VARIANT", "VARYING", "VAR_POP",
    "VAR_SAMP", "VERSIONING", "VIEWS", "WATERMARK", "WATERMARKS", "WEDNESDAY", "WEEKS", "WHEN", "WHENEVER",
    "WHERE", "WIDTH_BUCKET", "WINDOW", "WITH", "WITHIN", "WITHOUT", "YEAR",
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::RESERVED;
    use crate::stream::{compile, sql::SqlErrorKind};

    /// Flink's words, and whether each is reserved.
    fn words() -> Vec<(String, bool)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/words/words.tsv");
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(w, k)| (w.to_owned(), k == "reserved"))
            .collect()
    }

    /// A text that names columns, a type's field, an alias, a table and a view by this.
    fn texts(name: &str) -> Vec<String> {
        let table = "CREATE TABLE t (a INT) WITH ('connector'='datagen');
            CREATE TABLE s (a INT) WITH ('connector'='blackhole');\n";
        [
            format!("CREATE TABLE u ({name} INT) WITH ('connector'='print')"),
            format!("CREATE TABLE u (a ROW<{name} INT>) WITH ('connector'='print')"),
            format!("CREATE TABLE {name} (a INT) WITH ('connector'='print')"),
            format!("INSERT INTO s SELECT a FROM (SELECT a, a AS {name} FROM t)"),
            format!("INSERT INTO s SELECT a FROM t AS {name}"),
            format!("INSERT INTO s WITH {name} AS (SELECT a FROM t) SELECT a FROM t"),
            format!(
                "INSERT INTO s SELECT q.{name} FROM (SELECT a AS `{}` FROM t) AS q",
                name.replace('`', "")
            ),
        ]
        .map(|statement| format!("{table}{statement}"))
        .to_vec()
    }

    #[test]
    fn the_words_are_those_of_flinks_parser() {
        let theirs: Vec<String> =
            words().into_iter().filter(|(_, reserved)| *reserved).map(|(w, _)| w).collect();
        assert_eq!(RESERVED, theirs);
    }

    #[test]
    fn a_reserved_word_is_a_name_only_in_backticks() {
        for (word, reserved) in words().into_iter().filter(|(word, _)| !word.contains('-')) {
            for text in texts(&format!("`{word}`")) {
                compile(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            }
            for text in texts(&word.to_ascii_lowercase()).into_iter().filter(|_| reserved) {
                let error = compile(&text).expect_err(&text);
                // Some begin what is refused by name.
                assert_ne!(error.kind, SqlErrorKind::Invalid, "{text}: {error}");
            }
        }
    }

    #[test]
    fn all_other_words_are_names() {
        for (word, _) in words().into_iter().filter(|(_, reserved)| !reserved) {
            for text in texts(&word.to_ascii_lowercase()) {
                compile(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            }
        }
    }
}
