//! Frames, order, and what must not be.

use proptest::prelude::*;

use super::*;
use crate::kafka::{
    api::{APIS, ApiKey},
    wire::{
        api_versions::{ApiVersionsRequest, ApiVersionsResponse},
        metadata::{MetadataRequest, MetadataResponse},
        produce::ProduceResponse,
    },
};

fn software() -> ApiVersionsRequest {
    ApiVersionsRequest { client_software_name: "test".into(), client_software_version: "1.0".into() }
}

/// A request frame with nothing after its header.
fn bare(key: i16, version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 10];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 7, 0xff, 0xff]);
    frame
}

#[test]
fn api_versions_gives_the_table() {
    let world = World::new();
    for version in 0..=4 {
        let response: ApiVersionsResponse = world.client().call(version, &software());
        let listed: Vec<_> =
            response.api_keys.iter().map(|a| (a.api_key, a.min_version, a.max_version)).collect();
        let table: Vec<_> = APIS.iter().map(|a| (a.number, a.version_min, a.version_max)).collect();
        assert_eq!((response.error_code, listed), (OK, table));
    }
}

#[test]
fn a_newer_api_versions_is_answered_in_version_0_with_the_versions_to_use() {
    let world = World::new();
    let mut client = world.client();
    // Its header is a flexible one.
    let mut frame = bare(18, 5);
    frame.push(0);
    frame[3] += 1;
    client.bytes(&frame);
    let (correlation_id, response) = client.receive::<ApiVersionsResponse>(0).unwrap();
    let listed: Vec<_> =
        response.api_keys.iter().map(|a| (a.api_key, a.min_version, a.max_version)).collect();
    assert_eq!((correlation_id, response.error_code, listed), (7, 35, vec![(18, 0, 4)]));
    let again: ApiVersionsResponse = client.call(4, &software());
    assert_eq!(again.error_code, OK);
}

#[test]
fn what_is_not_spoken_closes_the_connection() {
    fn check(frame: &[u8]) {
        let world = World::new();
        let mut client = world.client();
        client.bytes(frame);
        assert!(client.connection.finished() && client.frame().is_none(), "{frame:?}");
        assert!(!client.connection.reading());
    }
    check(&bare(999, 0));
    check(&bare(-1, 0));
    check(&bare(3, 99));
    check(&bare(3, -1));
    check(&bare(1, 3));
    check(&bare(8, 0));
    // Too short, negative, too long; and a body that is not what its key says.
    check(&[0, 0, 0, 7, 0, 3, 0, 0, 0, 0, 0]);
    check(&[0xff, 0xff, 0xff, 0xff]);
    check(&[0x7f, 0xff, 0xff, 0xff]);
    check(&bare(11, 2));
}

#[test]
fn only_produce_may_be_large_and_that_is_known_before_the_body_comes() {
    let world = World::new();
    let length = (9_i32 << 20).to_be_bytes();
    let mut client = world.client();
    client.bytes(&[&length[..], &[0, 3]].concat());
    assert!(client.connection.finished());
    let mut client = world.client();
    client.bytes(&[&length[..], &[0, 0]].concat());
    assert!(!client.connection.finished() && client.connection.reading());
    assert!(client.input.capacity() < 2 << 20);
}

#[test]
fn a_frame_in_pieces_is_one_request() {
    let world = World::new();
    let mut client = world.client();
    let frame = bare(18, 0);
    for byte in &frame[..frame.len() - 1] {
        client.bytes(&[*byte]);
        assert!(client.frame().is_none());
    }
    client.bytes(&frame[frame.len() - 1..]);
    assert!(client.receive::<ApiVersionsResponse>(0).is_some());
}

#[test]
fn answers_keep_the_order_of_the_requests_and_produces_overlap() {
    let world = World::new();
    let mut client = world.client();
    _ = client.call::<_, MetadataResponse>(5, &super::topics::asking(&["t"]));
    client.send(7, &super::log::produce("t", -1, &["a"]));
    client.send(7, &super::log::produce("t", -1, &["b"]));
    client.send(5, &MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() });
    // Two batches are on their way to disk; Metadata has not begun, and nothing more is read.
    assert!(client.frame().is_none() && !client.connection.reading() && !client.input.is_empty());
    world.commit();
    client.poll();
    assert!(client.connection.reading() && client.input.is_empty());
    let first = client.receive::<ProduceResponse>(7).unwrap();
    let second = client.receive::<ProduceResponse>(7).unwrap();
    let offset = |r: &ProduceResponse| r.responses[0].partition_responses[0].base_offset;
    assert_eq!((first.0, offset(&first.1), second.0, offset(&second.1)), (2, 0, 3, 1));
    assert_eq!(client.receive::<MetadataResponse>(5).unwrap().0, 4);
}

#[test]
fn a_connection_holds_only_so_many_requests() {
    let world = World::new();
    let mut client = world.client();
    _ = client.call::<_, MetadataResponse>(5, &super::topics::asking(&["t"]));
    for _ in 0..100 {
        client.send(7, &super::log::produce("t", -1, &["a"]));
    }
    assert!(!client.connection.reading());
    world.commit();
    client.poll();
    world.commit();
    client.poll();
    let answered = std::iter::from_fn(|| client.frame()).count();
    assert_eq!(answered, 100);
}

#[test]
fn going_down_confirms_what_is_on_its_way_and_cuts_off_who_waits() {
    let world = World::new();
    let mut producer = world.client();
    _ = producer.call::<_, MetadataResponse>(5, &super::topics::asking(&["t"]));
    producer.send(7, &super::log::produce("t", -1, &["a"]));
    let mut consumer = world.client();
    consumer.send(4, &super::log::fetch("t", 0, 1, 60_000));
    for client in [&mut producer, &mut consumer] {
        client.connection.on_shutdown(world.clock.now());
    }
    assert!(!producer.connection.finished() && consumer.connection.finished());
    world.commit();
    producer.poll();
    assert!(producer.connection.finished() && producer.frame().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let world = World::new();
        world.client().bytes(&bytes);
    }

    #[test]
    fn garbage_behind_a_good_header_never_panics(
        api in prop::sample::select(APIS),
        version in 0_i16..20,
        body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1_u8), Just(2_u8), any::<u8>()], 0..120),
    ) {
        let world = World::new();
        let mut client = world.client();
        let length = i32::try_from(10 + body.len()).unwrap();
        let mut frame = bare(api.number, version);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame.extend(body);
        client.bytes(&frame);
        world.commit();
        client.poll();
        let waits = matches!(api.key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Produce);
        let answered = client.frame().is_some();
        prop_assert!(waits || answered || client.connection.finished());
    }
}
