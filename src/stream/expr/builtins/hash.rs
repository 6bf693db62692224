//! Hashes of texts, in lower-case hexadecimal.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, int, strict, text};
use crate::stream::{
    datum::Datum,
    plan::types::{DataType, Type},
};

const fn row(
    name: &'static str,
    returns: fn(&[Expr]) -> Type,
    prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
) -> Builtin {
    let returns = Ret::Of(returns);
    Builtin { name, accepts: &[&[Arg::Str]], repeats: false, returns, nulls: Nulls::Args, prepare }
}

pub(super) const TABLE: &[Builtin] = &[
    row("MD5", |_| Type::Char(32), |_, _| strict(|a| digest::<Md5>(text(a, 0)))),
    row("SHA1", |_| Type::Char(40), |_, _| strict(|a| digest::<Sha1>(text(a, 0)))),
    row("SHA224", |_| Type::Char(56), |_, _| strict(|a| digest::<Sha224>(text(a, 0)))),
    row("SHA256", |_| Type::Char(64), |_, _| strict(|a| digest::<Sha256>(text(a, 0)))),
    row("SHA384", |_| Type::Char(96), |_, _| strict(|a| digest::<Sha384>(text(a, 0)))),
    row("SHA512", |_| Type::Char(128), |_, _| strict(|a| digest::<Sha512>(text(a, 0)))),
    Builtin {
        name: "SHA2",
        accepts: &[&[Arg::Str, Arg::Int]],
        repeats: false,
        returns: Ret::Of(|_| Type::Varchar(128)),
        nulls: Nulls::Args,
        prepare: |_, _| super::strict_with(|a, _| sha2(a)),
    },
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
