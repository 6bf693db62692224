//! Order, reading back, recovery, closing.

use super::*;

#[test]
fn what_is_committed_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(options(dir.path())).unwrap();
    commit(&store, &told, 1, vec![put("a", "1"), put("b", "2"), Op::Chunk(b"payload".to_vec())]);
    commit(&store, &told, 2, vec![Op::Delete(Space::State, b"a".to_vec())]);
    let place = told.lock().places[0];
    drop(store);
    for _ in 0..3 {
        let store = Store::open(options(dir.path())).unwrap();
        assert_eq!(store.stats().last_turn, 2);
        assert_eq!(state(&store), pairs(&[("b", "2")]));
        assert_eq!(store.get(Space::State, b"a").unwrap(), None);
        assert_eq!(store.read(place).unwrap(), "payload");
        assert_eq!(wait(store.read_async(place)).unwrap(), "payload");
    }
}

#[test]
fn what_is_closed_needs_no_replay() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(options(dir.path())).unwrap();
    commit(&store, &told, 1, vec![put("a", "1")]);
    wait(store.close()).unwrap();
    let late = submit(&store, &told, 2, vec![put("b", "2")]);
    assert!(matches!(wait(store.durable(late)), Err(StoreError::Closed)));
    // The committer tells it on its thread, perhaps after who waits for the ticket knows; the last handle waits for it.
    drop(store);
    assert_eq!(told.lock().refused, [2]);
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.recovered(), &Recovered::default());
    assert_eq!(state(&store), pairs(&[("a", "1")]));
    assert_eq!((store.stats().turns, store.stats().last_turn), (0, 1));
}

#[test]
fn a_lazy_change_is_committed_though_nothing_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(options(dir.path())).unwrap();
    let lazy = |id| TestChange { id, ops: vec![put("a", "1")], places: Vec::new(), told: told.clone() };
    for id in [1, 3, 5] {
        // The committer sleeps at first; behind a turn it looks again by itself.
        let ticket = store.submit(Box::new(Lazy(lazy(id))));
        assert!(store.promised_to() < ticket);
        while store.durable_to() < ticket {
            std::thread::yield_now();
        }
        commit(&store, &told, id + 1, vec![put("b", "2")]);
        assert_eq!(store.promised_to(), store.durable_to());
    }
    assert_eq!(told.lock().committed, [1, 2, 3, 4, 5, 6]);
    let ticket = store.submit(Box::new(Lazy(lazy(7))));
    wait(store.durable(ticket)).unwrap();
}

#[test]
fn changes_are_told_in_order_and_once() {
    for durability in [Durability::Fsync, Durability::Os, Durability::None] {
        let dir = tempfile::tempdir().unwrap();
        let told = Log::default();
        let store = Store::open(Options { durability, ..options(dir.path()) }).unwrap();
        let mut last = Ticket::default();
        for id in 1..=5_000 {
            last = submit(&store, &told, id, vec![Op::Chunk(id.to_be_bytes().to_vec())]);
        }
        assert_eq!(last, Ticket(5_000));
        wait(store.durable(last)).unwrap();
        let told = told.lock();
        assert_eq!(told.committed, (1..=5_000).collect::<Vec<_>>());
        for (id, place) in (1_u64..).zip(&told.places) {
            assert_eq!(store.read(*place).unwrap(), id.to_be_bytes().as_slice());
        }
        assert_eq!(store.stats().changes, 5_000);
        assert_eq!(wait(store.relieved()), ());
    }
}

#[test]
fn chunks_are_read_together_in_the_order_asked_for_and_each_says_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    for options in [options(dir.path()), Options::ephemeral()] {
        let told = Log::default();
        let store = Store::open(options).unwrap();
        let chunk = |n: u8| Op::Chunk(vec![n; 3_000 + usize::from(n)]);
        commit(&store, &told, 1, (0..100).map(chunk).collect());
        commit(&store, &told, 2, vec![Op::Chunk(vec![b'x'; 400_000]), chunk(100)]);
        let mut places = told.lock().places.clone();
        let large = places.remove(100);
        // From behind, with one that was never written among them, and one twice.
        places.reverse();
        places.insert(50, Place { len: large.len + 1, ..large });
        places.push(large);
        places.push(large);
        let chunks = wait(store.read_all(places.clone()));
        assert_eq!(chunks.len(), places.len());
        for (at, (place, chunk)) in places.iter().zip(chunks).enumerate() {
            let alone = store.read(*place).map_err(|e| e.to_string());
            assert_eq!(chunk.is_err(), at == 50);
            assert_eq!(chunk.map_err(|e| e.to_string()), alone);
        }
    }
}

#[test]
fn an_ephemeral_store_frees_what_is_released() {
    let told = Log::default();
    let store = Store::open(Options::ephemeral()).unwrap();
    commit(&store, &told, 1, vec![put("a", "1"), Op::Chunk(b"payload".to_vec())]);
    let place = told.lock().places[0];
    store.retain(place);
    assert_eq!((store.read(place).unwrap(), store.stats().live_bytes), (Bytes::from_static(b"payload"), 7));
    store.release(place);
    assert!(store.read(place).is_err());
    assert_eq!(store.stats().live_bytes, 0);
    commit(&store, &told, 2, vec![Op::Delete(Space::State, b"a".to_vec())]);
    assert_eq!((state(&store), store.stats().dirty_keys), (vec![], 0));
}

#[test]
fn the_inbox_is_congested_above_its_limit_and_relieved_below_half_of_it() {
    let store = Store::manual(Options { inbox_changes_max: 10, ..small() });
    let told = Log::default();
    for id in 0..11 {
        assert!(!store.congested());
        submit(&store, &told, id, vec![Op::Chunk(vec![0; 1024])]);
    }
    assert!(store.congested());
    assert!(store.step(crate::clock::epoch()));
    assert!(!store.congested());
}

#[test]
fn a_catalog_that_failed_is_opened_again_by_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(Options { checkpoint_every_ms: 3_600_000, ..options(dir.path()) }).unwrap();
    commit(&store, &told, 1, vec![put("a", "1")]);
    checkpoint::run(store.shared(), false).unwrap();
    commit(&store, &told, 2, vec![put("b", "2")]);
    store.shared().catalog_failed.store(true, Ordering::Relaxed);
    checkpoint::run(store.shared(), false).unwrap();
    assert_eq!((state(&store), store.stats().dirty_keys), (pairs(&[("a", "1"), ("b", "2")]), 0));
    commit(&store, &told, 3, vec![put("c", "3")]);
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.recovered().replayed_turns, 1);
    assert_eq!(state(&store), pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
}

#[test]
fn a_large_checkpoint_is_a_table_and_a_small_one_before_or_behind_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let options = Options { checkpoint_every_ms: 3_600_000, checkpoint_table_keys: 3, ..options(dir.path()) };
    let store = Store::open(options.clone()).unwrap();
    let insert = |key: &str| Op::Insert(Space::State, key.into(), b"1".to_vec());
    let delete = |key: &str| Op::Delete(Space::State, key.into());
    let turns = [
        vec![put("a", "1"), insert("b")],
        vec![put("a", "2"), delete("b"), insert("c"), insert("d")],
        vec![put("a", "3"), delete("c")],
        vec![put("a", "4"), put("b", "4"), delete("d"), insert("e")],
    ];
    for (number, turn) in turns.into_iter().enumerate() {
        commit(&store, &told, number as u64, turn);
        checkpoint::run(store.shared(), false).unwrap();
        assert_eq!(store.stats().dirty_keys, 0);
    }
    drop(store);
    let store = Store::open(options).unwrap();
    assert_eq!(store.recovered().replayed_turns, 0);
    assert_eq!(state(&store), pairs(&[("a", "4"), ("b", "4"), ("e", "1")]));
}

#[test]
fn a_crash_between_a_table_and_the_position_behind_it_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let options = Options { checkpoint_every_ms: 3_600_000, checkpoint_table_keys: 1, ..options(dir.path()) };
    let store = Store::open(options.clone()).unwrap();
    commit(&store, &told, 1, vec![put("a", "1")]);
    checkpoint::run(store.shared(), false).unwrap();
    let before = *store.shared().checkpointed.lock();
    let insert = Op::Insert(Space::State, b"b".to_vec(), b"2".to_vec());
    commit(&store, &told, 2, vec![put("a", "2"), insert]);
    let part = store.shared().dirty.lock().begin();
    store.shared().catalog.read().write(&part.maps, before, false, &options).unwrap();
    drop((part, store));
    let store = Store::open(options.clone()).unwrap();
    assert_eq!(store.recovered().replayed_turns, 1);
    assert_eq!(state(&store), pairs(&[("a", "2"), ("b", "2")]));
    // The table has it, so that it goes must reach the catalog.
    commit(&store, &told, 3, vec![Op::Delete(Space::State, b"b".to_vec())]);
    checkpoint::run(store.shared(), false).unwrap();
    drop(store);
    let store = Store::open(options).unwrap();
    assert_eq!((store.recovered().replayed_turns, state(&store)), (0, pairs(&[("a", "2")])));
}

#[test]
fn a_durability_that_changes_between_starts_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    for (id, durability) in
        [Durability::Os, Durability::Fsync, Durability::Os, Durability::Fsync].iter().enumerate()
    {
        let store = Store::open(Options { durability: *durability, ..options(dir.path()) }).unwrap();
        assert_eq!(state(&store).len(), id);
        commit(&store, &told, id as u64, vec![put(&id.to_string(), "1")]);
    }
}

#[test]
fn a_directory_is_open_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    assert!(matches!(Store::open(options(dir.path())), Err(OpenError::Locked { .. })));
    drop(store);
    assert!(Store::open(options(dir.path())).is_ok());
}

#[test]
fn a_segment_whose_making_was_interrupted_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    commit(&Store::open(options(dir.path())).unwrap(), &told, 1, vec![put("a", "1")]);
    let making = dir.path().join("log").join(disk::MAKING);
    // A kill between a file's creation and its length.
    std::fs::write(&making, "").unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(state(&store), pairs(&[("a", "1")]));
    assert!(!making.exists());
}

#[test]
fn a_catalog_whose_making_was_interrupted_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(options(dir.path())).unwrap();
    commit(&store, &told, 1, vec![put("a", "1")]);
    drop(store);
    let catalog = dir.path().join("catalog");
    let _ = std::fs::remove_dir_all(&catalog);
    std::fs::create_dir(&catalog).unwrap();
    std::fs::write(catalog.join("half"), "").unwrap();
    std::fs::write(dir.path().join("catalog.making"), "").unwrap();
    for _ in 0..2 {
        let store = Store::open(options(dir.path())).unwrap();
        assert_eq!(state(&store), pairs(&[("a", "1")]));
        wait(store.close()).unwrap();
        assert!(!dir.path().join("catalog.making").exists());
    }
}
