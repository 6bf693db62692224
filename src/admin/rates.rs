//! Rates in `message_stats`: what was counted since the same thing was last asked for.
//!
//! Nothing is sampled in the background: a broker nobody looks at does no work. So the first answer for an object
//! says rate 0, and later ones the mean since about the previous answer.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::admin::source::MessageStats;

/// The last samples of everything that was asked for lately.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<String, Track>>);

#[derive(Debug)]
struct Track {
    /// What rates are counted from.
    base: Sample,
    /// What becomes the base once it is old enough.
    last: Sample,
}

#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    values: Vec<u64>,
}

impl Rates {
    /// Values per second since the base sample of that object, in the order given.
    pub fn rates(&self, object: &str, now: Instant, values: &[u64]) -> Vec<f64> {
        let mut tracks = self.0.lock();
        if tracks.len() >= TRACKS_MAX && !tracks.contains_key(object) {
            tracks.retain(|_, t| now.saturating_duration_since(t.last.at) < FORGOTTEN_AFTER);
            if tracks.len() >= TRACKS_MAX {
                return vec![0.0; values.len()];
            }
        }
        let sample = Sample { at: now, values: values.to_vec() };
        let track = tracks
            .entry(object.to_owned())
            .or_insert_with(|| Track { base: sample.clone(), last: sample.clone() });
        if now.saturating_duration_since(track.last.at) >= SAMPLE_INTERVAL {
            track.base = std::mem::replace(&mut track.last, sample);
        }
        let elapsed = now.saturating_duration_since(track.base.at).as_secs_f64();
        let rate = |(value, base): (&u64, &u64)| {
            if elapsed > 0.0 { value.saturating_sub(*base) as f64 / elapsed } else { 0.0 }
        };
        values.iter().zip(&track.base.values).map(rate).collect()
    }

    /// Forgets every sample.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    /// `message_stats`: each counter, and its `_details.rate`.
    pub fn message_stats(&self, object: &str, now: Instant, stats: &MessageStats) -> Value {
        let named = stats.named();
        let rates = self.rates(object, now, &named.map(|(_, value)| value));
        let mut map = Map::new();
        for ((name, value), rate) in named.into_iter().zip(rates) {
            map.insert(name.to_owned(), value.into());
            map.insert(format!("{name}_details"), json!({ "rate": rate }));
        }
        map.into()
    }
}

/// Answers closer together than this are counted from the same base.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Objects with samples; beyond it, those not asked for lately are forgotten.
const TRACKS_MAX: usize = 10_000;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_rate_is_the_mean_since_the_answer_before() {
        let (rates, t0) = (Rates::default(), clock::epoch());
        let at = |s| t0 + Duration::from_secs(s);
        assert_eq!(rates.rates("q", at(0), &[100]), [0.0]);
        assert_eq!(rates.rates("q", at(2), &[300]), [100.0]);
        assert_eq!(rates.rates("q", at(4), &[300]), [0.0]);
    }

    #[test]
    fn answers_in_quick_succession_do_not_reset_the_rate() {
        let (rates, t0) = (Rates::default(), clock::epoch());
        let at = |ms| t0 + Duration::from_millis(ms);
        rates.rates("q", at(0), &[0]);
        rates.rates("q", at(2000), &[200]);
        assert_eq!(rates.rates("q", at(2000), &[200]), [100.0]);
        assert_eq!(rates.rates("q", at(2500), &[250]), [100.0]);
    }

    #[test]
    fn a_counter_that_began_anew_has_no_negative_rate() {
        let (rates, t0) = (Rates::default(), clock::epoch());
        rates.rates("q", t0, &[50]);
        assert_eq!(rates.rates("q", t0 + Duration::from_secs(5), &[1]), [0.0]);
    }
}
