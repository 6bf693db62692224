//! `share.auto.offset.reset`: where a share group begins.

/// Where a share group begins in a partition that it has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// The records of so long ago, in milliseconds.
    ByDuration(i64),
}

impl OffsetReset {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            other => duration_ms(other.strip_prefix("by_duration:")?).map(Self::ByDuration),
        }
    }
}

/// `PnDTnHnMn.nS` in milliseconds; never negative.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.strip_prefix('P')?;
    let (days, time) = text.split_once('T').map_or((text, ""), |(days, time)| (days, time));
    let mut total = 0.0;
    let mut any = false;
    for (part, units) in
        [(days, &[('D', 86_400_000.0)][..]), (time, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1_000.0)])]
    {
        let mut rest = part;
        for (unit, ms) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                let number: f64 =
                    number.parse().ok().filter(|n: &f64| n.is_finite() && !n.is_sign_negative())?;
                total += number * ms;
                (rest, any) = (after, true);
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let fits = any && total < 9.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "within 53 bits, as was just checked")]
    fits.then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::group::config::{Defaults, GroupConfig};

    #[test]
    fn a_share_group_begins_where_it_is_told() {
        fn check(value: &str, expected: Option<OffsetReset>) {
            let config = GroupConfig::new([("share.auto.offset.reset", value)], &Defaults::default());
            assert_eq!(config.ok().map(|c| c.share_offset_reset(&Defaults::default())), expected, "{value}");
        }
        check("earliest", Some(OffsetReset::Earliest));
        check("latest", Some(OffsetReset::Latest));
        check("by_duration:P1DT2H3M4.5S", Some(OffsetReset::ByDuration(93_784_500)));
        check("by_duration:PT0S", Some(OffsetReset::ByDuration(0)));
        for wrong in ["by_duration:P", "by_duration:PT-1S", "by_duration:1D", "none", "by_duration:PT1S2"] {
            check(wrong, None);
        }
        assert_eq!(GroupConfig::default().share_offset_reset(&Defaults::default()), OffsetReset::Latest);
    }
}
