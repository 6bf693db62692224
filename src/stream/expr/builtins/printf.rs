//! PRINTF: `java.util.Formatter`. A format that does not fit its arguments gives NULL.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an argument of any other type does not fit the conversion, and all of them are one case"
)]

use super::{Arg, Builtin, Nulls, Ret, Type_, lenient_with};
use crate::stream::{
    datum::Datum,
    expr::text::{cast_text, display},
    plan::types::Type,
};

/// A field may not be longer than this: one record must not take the broker's memory.
const WIDTH_MAX: usize = 1 << 16;

pub(super) const TABLE: &[Builtin] = &[Builtin {
    name: "PRINTF",
    accepts: &[&[Arg::Str], &[Arg::Str, Arg::Any]],
    repeats: true,
    returns: Ret::Is(Type_::String),
    nulls: Nulls::Always,
    prepare: |args, _| {
        let types: Vec<Type> = args.iter().skip(1).map(|a| a.data_type.kind.clone()).collect();
        lenient_with(move |args, _| {
            let Some((Datum::Str(format), args)) = args.split_first() else { return Ok(Datum::Null) };
            Ok(formatted(format, args, &types).map_or(Datum::Null, Datum::str))
        })
    },
}];

/// `%[index$][flags][width][.precision]conversion`.
#[derive(Debug, Default)]
struct Field {
    index: Option<usize>,
    left: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    grouped: bool,
    width: usize,
    precision: Option<usize>,
}

fn formatted(format: &str, args: &[Datum], types: &[Type]) -> Option<String> {
    // Flink gives up on a NULL among the arguments.
    if args.iter().any(Datum::is_null) {
        return None;
    }
    let (mut out, mut next) = (String::new(), 0);
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let field = field(&mut chars)?;
        let conversion = chars.next()?;
        let text = match conversion {
            '%' => "%".to_owned(),
            'n' => "\n".to_owned(),
            _ => {
                let index = field.index.map_or_else(
                    || {
                        next += 1;
                        next - 1
                    },
                    |index| index - 1,
                );
                // Flink hands over what it keeps, which of dates and times is a number.
                let value = match args.get(index)? {
                    Datum::Date(n) | Datum::Time(n) => &Datum::Int((*n).into()),
                    value => value,
                };
                let text = field.convert(conversion.to_ascii_lowercase(), value, types.get(index)?)?;
                if conversion.is_ascii_uppercase() { text.to_uppercase() } else { text }
            }
        };
        let missing = field.width.saturating_sub(text.chars().count());
        let padding = " ".repeat(missing);
        out.push_str(&if field.left { text + &padding } else { padding + &text });
    }
    Some(out)
}

fn field(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Field> {
    let mut field = Field::default();
    let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse::<usize>().ok().filter(|n| *n <= WIDTH_MAX)
    };
    if chars.peek().is_some_and(|c| ('1'..='9').contains(c)) {
        let n = number(chars)?;
        if chars.next_if_eq(&'$').is_none() {
            field.width = n;
            return precision(field, chars, number);
        }
        field.index = Some(n);
    }
    while let Some(flag) = chars.next_if(|c| "-+ 0,".contains(*c)) {
        match flag {
            '-' => field.left = true,
            '+' => field.plus = true,
            ' ' => field.blank = true,
            '0' => field.zero = true,
            _ => field.grouped = true,
        }
    }
    if chars.peek().is_some_and(char::is_ascii_digit) {
        field.width = number(chars)?;
    }
    precision(field, chars, number)
}

fn precision(
    mut field: Field,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    number: impl Fn(&mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize>,
) -> Option<Field> {
    if chars.next_if_eq(&'.').is_some() {
        field.precision = Some(number(chars)?);
    }
    Some(field)
}

impl Field {
    fn convert(&self, conversion: char, value: &Datum, kind: &Type) -> Option<String> {
        match (conversion, value) {
            ('s', _) => Some(self.cut(java_text(value, kind))),
            ('b', Datum::Bool(b)) => Some(self.cut(b.to_string())),
            ('b', _) => Some(self.cut("true".to_owned())),
            ('d', Datum::Int(n)) => Some(self.signed(*n < 0, n.unsigned_abs().to_string())),
            // Negative numbers in as many bits as their type has.
            ('x', Datum::Int(n)) => Some(self.filled(format!("{:x}", bits(*n, kind)))),
            ('o', Datum::Int(n)) => Some(self.filled(format!("{:o}", bits(*n, kind)))),
            ('c', Datum::Int(n)) => u32::try_from(*n).ok().and_then(char::from_u32).map(|c| c.to_string()),
            ('c', Datum::Str(s)) if s.chars().count() == 1 => Some(s.to_string()),
            ('f', _) => {
                let (negative, digits) = plain_digits(value)?;
                Some(self.signed(negative, rounded(&digits, self.precision.unwrap_or(6))))
            }
            ('e', _) => {
                let (negative, digits) = plain_digits(value)?;
                Some(self.signed(negative, scientific(&digits, self.precision.unwrap_or(6))))
            }
            _ => None,
        }
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text,
        }
    }

    fn signed(&self, negative: bool, digits: String) -> String {
        let sign = match (negative, self.plus, self.blank) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let digits = if self.grouped { grouped(&digits) } else { digits };
        let zeros = if self.zero { self.width.saturating_sub(sign.len() + digits.len()) } else { 0 };
        format!("{sign}{}{digits}", "0".repeat(zeros))
    }

    fn filled(&self, digits: String) -> String {
        let zeros = if self.zero { self.width.saturating_sub(digits.len()) } else { 0 };
        "0".repeat(zeros) + &digits
    }
}

fn java_text(value: &Datum, kind: &Type) -> String {
    match value {
        Datum::Decimal(_) | Datum::Str(_) => cast_text(value, kind),
        Datum::Int(n) => n.to_string(),
        _ => display(value, kind),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value has the width of its type"
)]
fn bits(n: i64, kind: &Type) -> u64 {
    match kind {
        Type::TinyInt => (n as u8).into(),
        Type::SmallInt => (n as u16).into(),
        Type::Int => (n as u32).into(),
        _ => n as u64,
    }
}

/// Sign and digits with a point, but without an exponent; of floats the shortest that read back, as Java takes them.
fn plain_digits(value: &Datum) -> Option<(bool, String)> {
    let text = match value {
        Datum::Double(x) if x.is_finite() => format!("{x}"),
        Datum::Float(x) if x.is_finite() => format!("{x}"),
        // Of a DECIMAL Java knows only the text.
        _ => return None,
    };
    let digits = text.strip_prefix('-');
    Some((digits.is_some(), digits.unwrap_or(&text).to_owned()))
}

/// Rounded half up to so many digits behind the point.
fn rounded(digits: &str, keep: usize) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{fraction:0<keep$}");
    let (kept, dropped) = padded.split_at(keep);
    let mut all: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    if dropped.as_bytes().first().is_some_and(|b| *b >= b'5') {
        let mut carry = true;
        for digit in all.iter_mut().rev() {
            if *digit != b'9' {
                *digit += 1;
                carry = false;
                break;
            }
            *digit = b'0';
        }
        if carry {
            all.insert(0, b'1');
        }
    }
    let text = String::from_utf8(all).unwrap_or_default();
    let (whole, fraction) = text.split_at(text.len() - keep);
    if keep == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

fn scientific(digits: &str, keep: usize) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return format!("{}e+00", rounded("0", keep));
    }
    let mut exponent = whole.len() as i64 - 1 - (all.len() - significant.len()) as i64;
    let (first, rest) = significant.split_at(1);
    let mut mantissa = rounded(&format!("{first}.{rest}"), keep);
    if mantissa.starts_with("10") {
        exponent += 1;
        mantissa = rounded("1", keep);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}
