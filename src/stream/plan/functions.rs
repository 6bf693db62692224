//! What SHOW FUNCTIONS shows: Flink's own names of the functions that are served, aggregates and operators among them.

/// The module that Flink's functions are in: there is no other.
pub const CORE: &str = "core";

/// The names as Flink has them, in its order.
#[rustfmt::skip]
pub(super) const FUNCTIONS: &[&str] = &[
    "ARRAY_AGG", "ARRAY_APPEND", "ARRAY_CONCAT", "ARRAY_CONTAINS", "ARRAY_DISTINCT", "ARRAY_EXCEPT",
    "ARRAY_INTERSECT", "ARRAY_JOIN", "ARRAY_MAX", "ARRAY_MIN", "ARRAY_POSITION", "ARRAY_PREPEND", "ARRAY_REMOVE",
    "ARRAY_REVERSE", "ARRAY_SLICE", "ARRAY_SORT", "ARRAY_UNION", "BTRIM", "COALESCE", "CURRENT_WATERMARK", "ELT",
    "ENDSWITH", "GREATEST", "IFNULL", "IS_JSON", "JSON", "JSON_ARRAY", "JSON_ARRAYAGG_ABSENT_ON_NULL",
    "JSON_ARRAYAGG_NULL_ON_NULL", "JSON_EXISTS", "JSON_OBJECT", "JSON_OBJECTAGG_ABSENT_ON_NULL",
    "JSON_OBJECTAGG_NULL_ON_NULL", "JSON_QUERY", "JSON_QUOTE", "JSON_STRING", "JSON_UNQUOTE", "JSON_VALUE", "LEAST",
    "LIKE", "MAP_ENTRIES", "MAP_FROM_ARRAYS", "MAP_KEYS", "MAP_UNION", "MAP_VALUES", "PRINTF", "REGEXP_COUNT",
    "REGEXP_EXTRACT_ALL", "REGEXP_INSTR", "REGEXP_SUBSTR", "SPLIT", "STARTSWITH", "TO_TIMESTAMP_LTZ", "TRANSLATE3",
    "TRY_CAST", "TYPEOF", "UNHEX", "URL_DECODE", "URL_ENCODE", "abs", "acos", "and", "array", "as", "asc", "ascii",
    "asin", "at", "atan", "atan2", "avg", "between", "bin", "cardinality", "cast", "ceil", "charLength", "chr",
    "collect", "concat", "concat_ws", "convertTz", "cos", "cosh", "cot", "count", "currentDatabase", "currentDate",
    "currentRowTimestamp", "currentTime", "currentTimestamp", "dateFormat", "decode", "degrees", "desc", "distinct",
    "divide", "e", "element", "encode", "end", "equals", "exp", "extract", "first_value", "flatten", "floor",
    "fromBase64", "fromUnixtime", "get", "greaterThan", "greaterThanOrEqual", "hex", "ifThenElse", "in", "initCap",
    "instr", "isFalse", "isNotFalse", "isNotNull", "isNotTrue", "isNull", "isTrue", "last_value", "left",
    "lessThan", "lessThanOrEqual", "listAgg", "ln", "localTime", "localTimestamp", "locate", "log", "log10", "log2",
    "lower", "lowerCase", "lpad", "ltrim", "map", "max", "md5", "min", "minus", "minusPrefix", "mod", "not",
    "notBetween", "notEquals", "now", "or", "over", "overlay", "parseUrl", "pi", "plus", "position", "power",
    "proctime", "radians", "rand", "randInteger", "regexp", "regexpExtract", "regexpReplace", "repeat", "replace",
    "reverse", "right", "round", "row", "rpad", "rtrim", "sha1", "sha2", "sha224", "sha256", "sha384", "sha512",
    "sign", "similar", "sin", "sinh", "splitIndex", "sqrt", "start", "stddevPop", "stddevSamp", "strToMap",
    "substr", "substring", "sum", "tan", "tanh", "temporalOverlaps", "times", "timestampDiff", "toBase64", "toDate",
    "toTimestamp", "trim", "truncate", "unixTimestamp", "upper", "upperCase", "uuid", "varPop", "varSamp",
];
