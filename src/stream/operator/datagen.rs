//! The source of a `datagen` table. The row at a position is a function of the source and the position, so that a
//! restarted job goes on with the rows it would have made.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::stream::{
    datum::{Columns, Datum, Instant, Row},
    expr::{
        EvalError, Now, cast,
        compile::{Code, compile},
    },
    plan::{
        catalog::ColumnKind,
        datagen::{Datagen, Field},
        physical::{OperatorId, Source},
        types::Type,
    },
};

/// Makes rows.
pub struct Generator {
    seed: u64,
    fields: Vec<(Field, Type)>,
    end: Option<i64>,
    rows_per_second: u64,
    second: i64,
    made_in_second: u64,
    watermark: Option<Code>,
}

impl Generator {
    pub fn open(id: OperatorId, plan: &Source, datagen: &Datagen) -> Result<Self, EvalError> {
        let physical = plan.table.columns.iter().filter(|c| c.kind == ColumnKind::Physical);
        let fields: Vec<(Field, Type)> =
            datagen.fields.iter().cloned().zip(physical.map(|c| c.data_type.kind.clone())).collect();
        // The first sequence that ends, or the number of rows.
        let ends = fields.iter().filter_map(|(field, _)| match field {
            Field::Sequence { start, end } => Some(end.saturating_sub(*start).saturating_add(1).max(0)),
            Field::Now
            | Field::RandomBool
            | Field::RandomBytes { .. }
            | Field::RandomDecimal { .. }
            | Field::RandomFloat { .. }
            | Field::RandomInt { .. }
            | Field::RandomText { .. }
            | Field::RandomTime { .. } => None,
        });
        let rows = datagen.number_of_rows.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let end = ends.chain(rows).min();
        Ok(Self {
            seed: id.0,
            fields,
            end,
            rows_per_second: datagen.rows_per_second,
            second: i64::MIN,
            made_in_second: 0,
            watermark: plan.watermark.as_ref().map(compile).transpose()?,
        })
    }

    /// The watermark a row carries, if the table has one.
    pub fn watermark(&self, row: &Row, now: Now) -> Result<Option<i64>, EvalError> {
        let Some(code) = &self.watermark else { return Ok(None) };
        let value = code.eval(row, now)?;
        Ok(if let Datum::Timestamp(at) = value { Some(at.ms) } else { None })
    }

    /// How many rows there are, if they end.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        self.end
    }

    /// Whether another row may be made now: so many a second, all of them at the second's begin, as on Flink.
    pub fn due(&mut self, now_ms: i64) -> bool {
        let second = now_ms.div_euclid(1_000);
        if second != self.second {
            (self.second, self.made_in_second) = (second, 0);
        }
        self.made_in_second < self.rows_per_second
    }

    /// When more rows become due.
    #[must_use]
    pub fn next_due_ms(&self) -> i64 {
        self.second.saturating_add(1).saturating_mul(1_000)
    }

    /// The row at a position.
    pub fn row(&mut self, position: i64, now: Now) -> Row {
        self.made_in_second += 1;
        let mut rng =
            StdRng::seed_from_u64(self.seed ^ position.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut columns = Columns::with_capacity(self.fields.len());
        for (field, kind) in &self.fields {
            columns.push(value(field, kind, position, now, &mut rng));
        }
        Row::insert(columns)
    }
}

/// Not as one range: max - min may be more than a double holds.
fn between(min: f64, max: f64, rng: &mut StdRng) -> f64 {
    let x = rng.random::<f64>();
    min * (1.0 - x) + max * x
}

fn value(field: &Field, kind: &Type, position: i64, now: Now, rng: &mut StdRng) -> Datum {
    match field {
        Field::Now => {
            let at = &Datum::Timestamp(Instant::from_ms(now.ms));
            cast::cast(at, &Type::Timestamp(3), kind).unwrap_or(Datum::Null)
        }
        Field::RandomBool => Datum::Bool(rng.random()),
        Field::RandomBytes { count } => {
            Datum::bytes((0..*count).map(|_| rng.random::<u8>()).collect::<Vec<u8>>())
        }
        Field::RandomDecimal { min, max } => {
            let x = Datum::Double(between(*min, *max, rng));
            cast::cast(&x, &Type::Double, kind).unwrap_or(Datum::Null)
        }
        Field::RandomFloat { min, max } => {
            let x = between(*min, *max, rng);
            if *kind == Type::Float { Datum::Float(x as f32) } else { Datum::Double(x) }
        }
        Field::RandomInt { min, max } => Datum::Int(rng.random_range(*min..=*max)),
        Field::RandomText { chars } => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().map_or('0', char::from);
            Datum::str((0..*chars).map(|_| digit(rng.random())).collect::<String>())
        }
        Field::RandomTime { past_ms } => {
            let past = if *past_ms > 0 { rng.random_range(0..*past_ms) } else { 0 };
            Datum::Timestamp(Instant::from_ms(now.ms.saturating_sub(past)))
        }
        Field::Sequence { start, .. } => {
            let n = Datum::Int(start.saturating_add(position));
            if kind.is_string() { cast::cast(&n, &Type::BigInt, kind).unwrap_or(Datum::Null) } else { n }
        }
    }
}
