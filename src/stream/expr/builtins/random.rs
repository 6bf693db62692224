//! What is another at every row: RAND, RAND_INTEGER, UUID. With a seed the numbers are those of `java.util.Random`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arg, Builtin, EvalError, Expr, Ret, Type_, int, strict_row, strict_with};
use crate::stream::{datum::Datum, expr::Node, plan::types::Type};

use Arg::Int;

pub(super) const TABLE: &[Builtin] = &[
    strict_row("RAND", &[&[], &[Int]], Ret::Is(Type_::Double), |args, _| {
        let random = Random::of(args, 0)?;
        strict_with(move |_, _| Ok(Datum::Double(random.next_double())))
    }),
    strict_row("RAND_INTEGER", &[&[Int], &[Int, Int]], Ret::Is(Type_::Int), |args, _| {
        let (random, bound) =
            (Random::of(args, args.len().saturating_sub(1).max(1))?, args.len().saturating_sub(1));
        strict_with(move |args, _| match i32::try_from(int(args, bound)) {
            Ok(bound) if bound > 0 => Ok(Datum::Int(random.next_int(bound).into())),
            _ => Err(EvalError("bound must be positive".to_owned())),
        })
    }),
    strict_row("UUID", &[&[]], Ret::Of(|_| Type::Char(36)), |_, _| {
        strict_with(|_, _| Ok(Datum::str(uuid::Uuid::new_v4().to_string())))
    }),
];

/// `java.util.Random`: a linear congruential generator of 48 bits.
struct Random(AtomicU64);

const MASK: u64 = (1 << 48) - 1;

impl Random {
    /// With the seed that is the first of `args`, if there are more than `without`.
    fn of(args: &[Expr], without: usize) -> Result<Self, EvalError> {
        let seed = match args.first().filter(|_| args.len() > without).map(|a| &a.node) {
            None => rand::random::<u64>(),
            Some(Node::Literal(Datum::Int(seed))) => seed.cast_unsigned(),
            Some(_) => {
                return Err(EvalError(
                    "a seed that is not a literal: valid Flink, not supported here yet".to_owned(),
                ));
            }
        };
        Ok(Self(AtomicU64::new((seed ^ 0x5_DEEC_E66D) & MASK)))
    }

    fn next(&self, bits: u32) -> u64 {
        let step = |seed: u64| seed.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & MASK;
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| Some(step(seed)));
        step(before.unwrap_or_else(|seed| seed)) >> (48 - bits)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    fn next_double(&self) -> f64 {
        ((self.next(26) << 27) + self.next(27)) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to below the bound, which is positive.
    #[expect(clippy::cast_possible_truncation, reason = "31 bits")]
    fn next_int(&self, bound: i32) -> i32 {
        let wide = i64::from(bound);
        if bound & (bound - 1) == 0 {
            return ((wide * self.next(31).cast_signed()) >> 31) as i32;
        }
        loop {
            let bits = self.next(31).cast_signed();
            let value = bits % wide;
            // The last, incomplete run of numbers would favour small ones.
            if bits - value + (wide - 1) <= i64::from(i32::MAX) {
                return value as i32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn seeded_numbers_are_javas() {
        // new java.util.Random(42)
        check("RAND(42)", "0.7275636800328681");
        check("RAND_INTEGER(42, 100)", "30");
        check("RAND_INTEGER(42, 16)", "11");
        check("RAND() < 1", "true");
        check("CHAR_LENGTH(UUID())", "36");
    }
}
