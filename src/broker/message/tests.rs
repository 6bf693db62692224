//! Batches go out, lie in the log and come back as they were published.

use super::*;
use crate::store::Place;

fn draft() -> Draft {
    let mut draft = Draft::default();
    for (key, body) in [("hello", &b"Hello World!"[..]), ("", b"")] {
        let traits = Traits { persistent: body.is_empty(), priority: Some(3), expiration_ms: Some(60) };
        draft.open(&Publish { exchange: "ex", routing_key: key, properties: b"\0\0", traits }, 7, body.len());
        draft.body(body);
    }
    draft
}

#[test]
fn a_batch_gives_back_what_was_published() {
    let blob = draft().seal();
    let m = blob.message(0).unwrap();
    assert_eq!(
        (m.exchange(), m.routing_key(), m.properties(), m.body()),
        ("ex", "hello", &b"\0\0"[..], &b"Hello World!"[..])
    );
    assert_eq!(
        (m.persistent(), m.priority(), m.published_ms(), m.expiration_ms()),
        (false, Some(3), 7, Some(60))
    );
    let m = blob.message(1).unwrap();
    assert_eq!((m.routing_key(), m.body(), m.persistent()), ("", &b""[..], true));
    assert!(blob.message(2).is_none());
}

#[test]
fn a_key_that_no_short_string_holds_is_cut_and_nothing_else_is() {
    let (key, mut draft) = (format!("{}€", "k".repeat(254)), Draft::default());
    let traits = Traits { persistent: true, priority: None, expiration_ms: None };
    draft.open(&Publish { exchange: "ex", routing_key: &key, properties: b"\0\0", traits }, 7, 4);
    draft.body(b"body");
    let blob = draft.seal();
    let m = blob.message(0).unwrap();
    assert_eq!((m.routing_key(), m.body(), m.priority()), (&key[..254], &b"body"[..], None));
}

#[test]
fn a_forgotten_message_holds_its_handle_only() {
    let blob = draft().seal();
    let mut message = blob.message(0).unwrap();
    let weak = Arc::downgrade(&blob);
    drop(blob);
    message.forget();
    assert!(weak.upgrade().is_none() && message.is_paged() && message.body_bytes().is_empty());
    assert_eq!((message.body_len(), message.priority(), message.held_bytes()), (12, Some(3), HANDLE_BYTES));
}

#[test]
fn a_message_that_waited_is_published_when_its_transaction_commits() {
    let mut draft = draft();
    draft.published(7_777);
    let blob = draft.seal();
    assert!((0..2).all(|n| blob.message(n).unwrap().published_ms() == 7_777));
    assert_eq!(blob.message(0).unwrap().body(), b"Hello World!");
}

#[test]
fn a_gathered_message_is_the_one_that_is_published_unless_its_properties_were_rewritten() {
    let traits = Traits { persistent: true, priority: Some(9), expiration_ms: Some(60) };
    let publish = Publish { exchange: "ex", routing_key: "key", properties: b"\x80\0\x01a", traits };
    let gather = || {
        let mut gathered = Draft::gather(publish.exchange, publish.routing_key, publish.properties);
        [&b"Hello "[..], b"World!"].iter().for_each(|part| gathered.body(part));
        gathered
    };
    let (mut adopted, mut copied, mut gathered) = (Draft::default(), Draft::default(), gather());
    assert_eq!(gathered.gathered(), b"Hello World!");
    assert!(adopted.adopt(&mut gathered, &publish, 7));
    copied.open(&publish, 7, 12);
    copied.body(b"Hello World!");
    assert_eq!((adopted.len(), &adopted.bytes), (1, &copied.bytes));
    assert!(!adopted.adopt(&mut gather(), &publish, 7), "there is a message already");
    let rewritten = Publish { properties: b"\x80\0\x01b", ..publish };
    assert!(!Draft::default().adopt(&mut gather(), &rewritten, 7));
}

#[test]
fn hidden_keys_are_no_part_of_the_body_and_survive() {
    let mut draft = draft();
    draft.hide(&["a", ""]);
    draft.open(
        &Publish { exchange: "", routing_key: "k", properties: b"\0\0", traits: Traits::default() },
        0,
        1,
    );
    draft.body(b"z");
    let blob = draft.seal();
    let place = Place { segment: 1, offset: 2, len: 3 };
    for blob in [Blob::read(blob.bytes.clone(), place).unwrap(), blob] {
        let bodies: Vec<_> = (0..3).map(|n| blob.message(n).unwrap().body().to_vec()).collect();
        assert_eq!(bodies, [&b"Hello World!"[..], b"", b"z"]);
        assert_eq!(blob.message(0).unwrap().hidden_keys(), [""; 0]);
        assert_eq!(blob.message(1).unwrap().hidden_keys(), ["a", ""]);
    }
}

#[test]
fn a_batch_read_back_is_the_same_and_a_cut_one_is_refused() {
    let blob = draft().seal();
    let place = Place { segment: 1, offset: 2, len: 3 };
    let again = Blob::read(blob.bytes.clone(), place).unwrap();
    assert_eq!((again.len(), again.message(0).unwrap().body()), (2, &b"Hello World!"[..]));
    for cut in 1..blob.bytes.len() {
        if let Some(part) = Blob::read(blob.bytes.slice(..cut), place) {
            assert_eq!(part.len(), 1, "only a whole first message is a batch of its own");
        }
    }
}
