//! Tests of the whole store. Here is only what they share: a Change that records what becomes of it.

mod basics;
mod damage;
mod faults;
mod model;
mod space;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;

/// What a test Change writes.
#[derive(Debug, Clone)]
enum Op {
    Chunk(Vec<u8>),
    Put(Space, Vec<u8>, Vec<u8>),
    Insert(Space, Vec<u8>, Vec<u8>),
    Delete(Space, Vec<u8>),
}

/// What became of the Changes, in order.
#[derive(Debug, Default)]
struct Told {
    committed: Vec<u64>,
    refused: Vec<u64>,
    places: Vec<Place>,
}

type Log = Arc<Mutex<Told>>;

struct TestChange {
    id: u64,
    ops: Vec<Op>,
    places: Vec<Place>,
    told: Log,
}

impl Change for TestChange {
    fn bytes_max(&self) -> usize {
        self.ops
            .iter()
            .map(|op| match op {
                Op::Chunk(bytes) => bytes.len(),
                Op::Put(_, key, value) | Op::Insert(_, key, value) => key.len() + value.len(),
                Op::Delete(_, key) => key.len(),
            })
            .sum()
    }

    fn stage(&mut self, turn: &mut Turn) {
        for op in &self.ops {
            match op {
                Op::Chunk(bytes) => self.places.push(turn.chunk(&[bytes])),
                Op::Put(space, key, value) => turn.put(*space, key, value),
                Op::Insert(space, key, value) => turn.insert(*space, key, value),
                Op::Delete(space, key) => turn.delete(*space, key),
            }
        }
    }

    fn committed(self: Box<Self>) {
        let mut told = self.told.lock();
        told.committed.push(self.id);
        told.places.extend(&self.places);
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        self.told.lock().refused.push(self.id);
    }
}

/// A Change that nobody waits for.
struct Lazy(TestChange);

impl Change for Lazy {
    fn bytes_max(&self) -> usize {
        self.0.bytes_max()
    }

    fn lazy(&self) -> bool {
        true
    }

    fn stage(&mut self, turn: &mut Turn) {
        self.0.stage(turn);
    }

    fn committed(self: Box<Self>) {
        Box::new(self.0).committed();
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        Box::new(self.0).refused(error);
    }
}

fn submit(store: &Store, told: &Log, id: u64, ops: Vec<Op>) -> Ticket {
    store.submit(Box::new(TestChange { id, ops, places: Vec::new(), told: told.clone() }))
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(Space::State, key.into(), value.into())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Submits one Change and waits for it.
fn commit(store: &Store, told: &Log, id: u64, ops: Vec<Op>) {
    let ticket = submit(store, told, id, ops);
    wait(store.durable(ticket)).unwrap();
}

fn options(dir: &Path) -> Options {
    Options::new(dir, Durability::Fsync)
}

/// Segments of 64 KiB, for stores in memory.
fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        first_segment_bytes: 16 << 10,
        turn_bytes_max: 8 << 10,
        ..Options::new("", Durability::Fsync)
    }
}

fn state(store: &Store) -> Vec<(Bytes, Bytes)> {
    store.scan(Space::State, b"").unwrap()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(Bytes, Bytes)> {
    expected
        .iter()
        .map(|(k, v)| (Bytes::copy_from_slice(k.as_bytes()), Bytes::copy_from_slice(v.as_bytes())))
        .collect()
}
