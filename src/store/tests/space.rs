//! Segments: rolling, recycling, stale frames, trimming.

use std::time::Duration;

use super::*;
use crate::clock;

/// Commits chunks of 4,000 bytes, one turn each; gives their places.
fn fill(store: &Store, told: &Log, count: u64, now: std::time::Instant) -> Vec<Place> {
    let before = told.lock().places.len();
    for id in 0..count {
        submit(store, told, id, vec![Op::Chunk(vec![id as u8; 4000]), put("last", &id.to_string())]);
        assert!(store.step(now));
        let place = *told.lock().places.last().unwrap();
        store.retain(place);
    }
    told.lock().places[before..].to_vec()
}

fn options() -> Options {
    Options { segment_bytes: 128 << 10, first_segment_bytes: 128 << 10, ..small() }
}

#[test]
fn a_segment_is_recycled_only_when_dead_and_checkpointed_and_only_after_recovery_counted() {
    let told = Log::default();
    let store = Store::manual(options());
    let mut now = clock::epoch();
    let places = fill(&store, &told, 50, now);
    let sealed = places.last().unwrap().segment - 1;
    assert!(sealed >= 2, "{places:?}");
    for place in places.iter().filter(|place| place.segment <= sealed) {
        store.release(*place);
    }
    let segments = store.stats().segments;
    store.step(now);
    assert_eq!(store.stats().segments, segments, "nobody said that all is counted");
    store.start_reclaiming();
    store.step(now);
    assert_eq!(store.stats().segments, segments, "no checkpoint is behind them");
    now += Duration::from_secs(1);
    store.step(now);
    assert_eq!(store.stats().segments, segments - sealed as usize);
    assert!(store.read(places[0]).is_err());
    assert_eq!(&store.read(*places.last().unwrap()).unwrap()[..], [49; 4000]);
}

#[test]
fn stale_frames_of_recycled_segments_never_count() {
    let told = Log::default();
    let mut store = Store::manual(options());
    let mut now = clock::epoch();
    for round in 0..6 {
        store.start_reclaiming();
        let places = fill(&store, &told, 70, now);
        for place in places {
            store.release(place);
        }
        now += Duration::from_secs(1);
        store.step(now);
        // One turn more, at the beginning of a file full of old frames or in the middle of one.
        fill(&store, &told, 1 + round, now);
        let last = round.to_string();
        store = Store::open_on(store.crash(round).unwrap(), options()).unwrap();
        assert_eq!(store.recovered().dropped, None);
        assert_eq!(state(&store), pairs(&[("last", &last)]));
    }
}

#[test]
fn spares_are_kept_while_busy_and_trimmed_when_idle() {
    let told = Log::default();
    let store = Store::manual(options());
    store.start_reclaiming();
    let mut now = clock::epoch();
    for place in fill(&store, &told, 200, now) {
        store.release(place);
    }
    for _ in 0..10 {
        fill(&store, &told, 1, now);
        now += Duration::from_secs(1);
        store.step(now);
    }
    // One may just have been taken.
    assert!((3..=4).contains(&store.stats().spare_segments));
    now += Duration::from_secs(61);
    store.step(now);
    assert_eq!(store.stats().spare_segments, 1);
}

#[test]
fn a_segment_with_little_left_is_sparse() {
    let told = Log::default();
    let store = Store::manual(options());
    let places = fill(&store, &told, 40, clock::epoch());
    assert_eq!(store.sparse_segments(), []);
    let first: Vec<_> = places.iter().filter(|place| place.segment == 1).collect();
    for place in &first[1..] {
        store.release(**place);
    }
    let sparse = store.sparse_segments();
    assert_eq!((sparse.len(), sparse[0].segment, sparse[0].live_bytes), (1, 1, 4008));
}

#[test]
fn a_change_larger_than_a_segment_makes_it_longer() {
    let told = Log::default();
    let store = Store::manual(options());
    let now = clock::epoch();
    fill(&store, &told, 2, now);
    submit(&store, &told, 9, vec![Op::Chunk(vec![9; 400_000]), put("big", "1")]);
    assert!(store.step(now));
    fill(&store, &told, 2, now);
    let place = told.lock().places[2];
    assert_eq!(place.len, 400_000);
    let store = Store::open_on(store.crash(3).unwrap(), options()).unwrap();
    assert_eq!(&store.read(place).unwrap()[..], vec![9; 400_000]);
    assert_eq!(state(&store), pairs(&[("big", "1"), ("last", "1")]));
}
