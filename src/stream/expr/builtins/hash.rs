//! Hashes of texts, in lower-case hexadecimal. (MD5 and SHA1 are Flink's too; we have no library for them.)

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, Type_, int, strict, text};
use crate::stream::{datum::Datum, plan::types::DataType};

const fn row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    nulls: Nulls,
    prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
) -> Builtin {
    Builtin { name, accepts, repeats: false, returns: Ret::Is(Type_::String), nulls, prepare }
}

pub(super) const TABLE: &[Builtin] = &[
    row("SHA224", &[&[Arg::Str]], Nulls::Args, |_, _| strict(|a| digest::<Sha224>(text(a, 0)))),
    row("SHA256", &[&[Arg::Str]], Nulls::Args, |_, _| strict(|a| digest::<Sha256>(text(a, 0)))),
    row("SHA384", &[&[Arg::Str]], Nulls::Args, |_, _| strict(|a| digest::<Sha384>(text(a, 0)))),
    row("SHA512", &[&[Arg::Str]], Nulls::Args, |_, _| strict(|a| digest::<Sha512>(text(a, 0)))),
    row("SHA2", &[&[Arg::Str, Arg::Int]], Nulls::Always, |_, _| super::strict_with(|a, _| sha2(a))),
];

fn digest<D: Digest>(text: &str) -> Datum {
    Datum::str(D::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect::<String>())
}

fn sha2(args: &[Datum]) -> Result<Datum, EvalError> {
    match int(args, 1) {
        224 => Ok(digest::<Sha224>(text(args, 0))),
        256 => Ok(digest::<Sha256>(text(args, 0))),
        384 => Ok(digest::<Sha384>(text(args, 0))),
        512 => Ok(digest::<Sha512>(text(args, 0))),
        bits => Err(EvalError(format!("Unsupported algorithm for bitLength {bits}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn hashes_are_lower_case_hexadecimal() {
        check("SHA256('test')", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
        check("SHA2('test', 224)", "90a3ed9e32b2aaf4c61c410eb925426119e1a9dc53d4286ade99a809");
        check("SHA256(CAST(NULL AS STRING))", "null");
    }
}
