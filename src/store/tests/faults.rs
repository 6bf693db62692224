//! A failed sync, a full disk, a failed checkpoint.

use std::time::{Duration, Instant};

use super::*;
use crate::clock;

fn chunk() -> Vec<Op> {
    vec![Op::Chunk(vec![7; 100])]
}

/// How often a store was synced when each Change was told.
struct Watch {
    store: Arc<std::sync::OnceLock<Store>>,
    seen: Arc<Mutex<Vec<(u64, Ticket)>>>,
}

impl Change for Watch {
    fn bytes_max(&self) -> usize {
        100
    }

    fn stage(&mut self, turn: &mut Turn) {
        turn.chunk(&[&[1; 100]]);
    }

    fn committed(self: Box<Self>) {
        let store = self.store.get().unwrap();
        self.seen.lock().push((store.stats().syncs, store.durable_to()));
    }

    fn refused(self: Box<Self>, _: &StoreError) {}
}

#[test]
fn no_ticket_is_released_before_its_sync() {
    let dir = tempfile::tempdir().unwrap();
    let cell = Arc::new(std::sync::OnceLock::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Store::open(options(dir.path())).unwrap();
    let _ = cell.set(store.clone());
    for turn in 1..=200_u64 {
        let ticket = store.submit(Box::new(Watch { store: cell.clone(), seen: seen.clone() }));
        wait(store.durable(ticket)).unwrap();
        let (syncs, durable_to) = *seen.lock().last().unwrap();
        assert_eq!((syncs, durable_to), (turn, Ticket(turn - 1)), "one sync for each turn, then the ticket");
        assert_eq!((store.stats().turns, store.durable_to()), (turn, Ticket(turn)));
    }
}

#[test]
fn a_failed_sync_poisons_and_reads_go_on() {
    let told = Log::default();
    let store = Store::manual(small());
    submit(&store, &told, 1, vec![Op::Chunk(b"kept".to_vec()), put("a", "1")]);
    store.step(clock::epoch());
    store.fail_syncs();
    submit(&store, &told, 2, vec![put("a", "2")]);
    let waiting = submit(&store, &told, 3, vec![put("a", "3")]);
    store.step(clock::epoch());
    let later = submit(&store, &told, 4, vec![put("a", "4")]);
    store.step(clock::epoch());
    {
        let told = told.lock();
        assert_eq!(
            (told.committed.as_slice(), told.refused.as_slice()),
            ([1].as_slice(), [2, 3, 4].as_slice())
        );
        assert_eq!(store.read(told.places[0]).unwrap(), "kept");
    }
    assert_eq!(state(&store), pairs(&[("a", "1")]));
    for ticket in [waiting, later] {
        assert!(matches!(wait(store.durable(ticket)), Err(StoreError::Poisoned(_))));
    }
    assert!(
        matches!(store.poisoned(), Some(StoreError::Poisoned(reason)) if reason.contains("injected EIO"))
    );
    assert!(wait(store.durable(Ticket(1))).is_ok());
}

#[test]
fn a_full_disk_confirms_nothing_and_loses_nothing() {
    let told = Log::default();
    let store = Store::manual(small());
    store.fill_disk(true);
    for id in 1..=3 {
        submit(&store, &told, id, chunk());
        assert!(!store.step(clock::epoch()));
    }
    assert!(store.full());
    assert_eq!(store.durable_to(), Ticket(0));
    store.fill_disk(false);
    while store.step(clock::epoch()) {}
    assert!(!store.full());
    let told = told.lock();
    assert_eq!((told.committed.as_slice(), told.refused.len()), ([1, 2, 3].as_slice(), 0));
    assert!(told.places.iter().all(|place| store.read(*place).is_ok()));
}

#[test]
fn a_disk_that_is_full_when_a_segment_ends_is_waited_for() {
    let told = Log::default();
    let store = Store::manual(small());
    for id in 0..8 {
        submit(&store, &told, id, vec![Op::Chunk(vec![id as u8; 8000])]);
        store.step(clock::epoch());
        store.fill_disk(true);
        submit(&store, &told, 100 + id, vec![Op::Chunk(vec![id as u8; 8000])]);
        assert!(!store.step(clock::epoch()));
        store.fill_disk(false);
        assert!(store.step(clock::epoch()));
    }
    let told = told.lock();
    assert_eq!(told.committed.len(), 16);
    for (place, id) in told.places.iter().zip(&told.committed) {
        assert_eq!(store.read(*place).unwrap(), vec![(*id % 100) as u8; 8000]);
    }
}

#[test]
fn a_failed_checkpoint_is_repeated_and_loses_nothing() {
    let told = Log::default();
    let store = Store::manual(small());
    let mut now: Instant = clock::epoch();
    let insert = |key: &str| Op::Insert(Space::State, key.into(), b"1".to_vec());
    submit(&store, &told, 1, vec![insert("a"), insert("b"), put("c", "1")]);
    store.step(now);
    for keys in [0, 1, 2, 3] {
        store.fail_checkpoints(Some(keys));
        now += Duration::from_secs(2);
        store.step(now);
        assert_eq!(state(&store), pairs(&[("a", "1"), ("b", "1"), ("c", "1")]));
    }
    // "a" reached the catalog though its checkpoint failed: deleting it must reach it too.
    submit(&store, &told, 2, vec![Op::Delete(Space::State, b"a".to_vec())]);
    store.step(now);
    store.fail_checkpoints(None);
    now += Duration::from_secs(2);
    store.step(now);
    assert_eq!(store.stats().dirty_keys, 0);
    let store = Store::open_on(store.crash(1).unwrap(), small()).unwrap();
    assert_eq!(store.recovered().replayed_turns, 0);
    assert_eq!(state(&store), pairs(&[("b", "1"), ("c", "1")]));
}

#[test]
fn a_crash_inside_a_checkpoint_is_harmless() {
    for keys in 0..4 {
        let told = Log::default();
        let store = Store::manual(small());
        let now = clock::epoch();
        let insert = |key: &str| Op::Insert(Space::State, key.into(), b"1".to_vec());
        submit(&store, &told, 1, vec![insert("a"), insert("b"), put("c", "1")]);
        store.step(now);
        submit(&store, &told, 2, vec![put("c", "2"), put("d", "2")]);
        store.step(now);
        store.fail_checkpoints(Some(keys));
        store.step(now + Duration::from_secs(2));
        submit(&store, &told, 3, vec![Op::Delete(Space::State, b"a".to_vec())]);
        store.step(now + Duration::from_secs(2));
        let store = Store::open_on(store.crash(1).unwrap(), small()).unwrap();
        assert_eq!(store.recovered().replayed_turns, 3);
        assert_eq!(state(&store), pairs(&[("b", "1"), ("c", "2"), ("d", "2")]), "{keys} keys");
    }
}

#[test]
fn a_change_that_panics_poisons_instead_of_hanging_the_rest() {
    struct Panics;
    impl Change for Panics {
        fn bytes_max(&self) -> usize {
            0
        }
        fn stage(&mut self, _: &mut Turn) {
            panic!("on purpose");
        }
        fn committed(self: Box<Self>) {}
        fn refused(self: Box<Self>, _: &StoreError) {}
    }
    let told = Log::default();
    let store = Store::open(Options::ephemeral()).unwrap();
    store.submit(Box::new(Panics));
    let ticket = submit(&store, &told, 2, chunk());
    assert!(matches!(wait(store.durable(ticket)), Err(StoreError::Poisoned(_))));
}
