//! Holds the Kafka codecs against the field tables in `fixtures/kafka/messages/`.
//!
//! For every message: its table of fields is the definition's, line by line; and for every version that is served,
//! random messages written by the interpreter below come back to the same bytes through our decode and encode.
//! Damaged and arbitrary bytes never panic and never yield more than they hold.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program, helpers included")]

use std::{fs, ops::RangeInclusive, path::Path};

use bytes::Bytes;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use warrenmq::{
    data::record::varint::put_uvarint,
    kafka::{
        api::APIS,
        wire::{Field, Message},
    },
};

/// Calls a generic function for each message.
macro_rules! for_each_message {
    ($check:ident($($argument:expr),*)) => {
        for_each_message! { $check($($argument),*):
            produce ProduceRequest ProduceResponse;
            fetch FetchRequest FetchResponse;
            list_offsets ListOffsetsRequest ListOffsetsResponse;
            metadata MetadataRequest MetadataResponse;
            offset_commit OffsetCommitRequest OffsetCommitResponse;
            offset_delete OffsetDeleteRequest OffsetDeleteResponse;
            share_group_heartbeat ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse;
            share_group_describe ShareGroupDescribeRequest ShareGroupDescribeResponse;
            share_fetch ShareFetchRequest ShareFetchResponse;
            share_acknowledge ShareAcknowledgeRequest ShareAcknowledgeResponse;
            describe_share_group_offsets DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse;
            alter_share_group_offsets AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse;
            delete_share_group_offsets DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse;
            consumer_group_heartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
            consumer_group_describe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
            offset_fetch OffsetFetchRequest OffsetFetchResponse;
            find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
            join_group JoinGroupRequest JoinGroupResponse;
            heartbeat HeartbeatRequest HeartbeatResponse;
            leave_group LeaveGroupRequest LeaveGroupResponse;
            sync_group SyncGroupRequest SyncGroupResponse;
            describe_groups DescribeGroupsRequest DescribeGroupsResponse;
            list_groups ListGroupsRequest ListGroupsResponse;
            sasl_handshake SaslHandshakeRequest SaslHandshakeResponse;
            api_versions ApiVersionsRequest ApiVersionsResponse;
            create_topics CreateTopicsRequest CreateTopicsResponse;
            delete_topics DeleteTopicsRequest DeleteTopicsResponse;
            delete_records DeleteRecordsRequest DeleteRecordsResponse;
            init_producer_id InitProducerIdRequest InitProducerIdResponse;
            add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
            add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse;
            end_txn EndTxnRequest EndTxnResponse;
            txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse;
            describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse;
            offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
            describe_configs DescribeConfigsRequest DescribeConfigsResponse;
            sasl_authenticate SaslAuthenticateRequest SaslAuthenticateResponse;
            create_partitions CreatePartitionsRequest CreatePartitionsResponse;
            delete_groups DeleteGroupsRequest DeleteGroupsResponse;
            describe_cluster DescribeClusterRequest DescribeClusterResponse;
            describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
            write_txn_markers WriteTxnMarkersRequest WriteTxnMarkersResponse;
            describe_acls DescribeAclsRequest DescribeAclsResponse;
            create_acls CreateAclsRequest CreateAclsResponse;
            delete_acls DeleteAclsRequest DeleteAclsResponse;
            alter_configs AlterConfigsRequest AlterConfigsResponse;
            describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse;
            create_delegation_token CreateDelegationTokenRequest CreateDelegationTokenResponse;
            renew_delegation_token RenewDelegationTokenRequest RenewDelegationTokenResponse;
            expire_delegation_token ExpireDelegationTokenRequest ExpireDelegationTokenResponse;
            describe_delegation_token DescribeDelegationTokenRequest DescribeDelegationTokenResponse;
            elect_leaders ElectLeadersRequest ElectLeadersResponse;
            incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
            alter_partition_reassignments AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse;
            list_partition_reassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
            describe_client_quotas DescribeClientQuotasRequest DescribeClientQuotasResponse;
            alter_client_quotas AlterClientQuotasRequest AlterClientQuotasResponse;
            describe_user_scram_credentials DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse;
            alter_user_scram_credentials AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse;
            describe_quorum DescribeQuorumRequest DescribeQuorumResponse;
            update_features UpdateFeaturesRequest UpdateFeaturesResponse;
            describe_producers DescribeProducersRequest DescribeProducersResponse;
            list_transactions ListTransactionsRequest ListTransactionsResponse;
            list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse;
        }
    };
    ($check:ident $arguments:tt: $($module:ident $request:ident $response:ident;)+) => {$(
        for_each_message!(@call $check, $module, $request, $arguments);
        for_each_message!(@call $check, $module, $response, $arguments);
    )+};
    (@call $check:ident, $module:ident, $message:ident, ($($argument:expr),*)) => {
        $check::<warrenmq::kafka::wire::$module::$message>(stringify!($message) $(, $argument)*);
    };
}

#[test]
fn every_table_of_fields_is_the_definitions() {
    fn check<M: Message + PartialEq>(name: &str) {
        let definition = Definition::load(name);
        assert_eq!(M::KEY, definition.key, "{name}");
        assert_eq!(M::FLEXIBLE_FROM, definition.flexible_from, "{name}");
        same_fields(name, M::FIELDS, &definition.fields, &definition.versions);
    }
    for_each_message!(check());
}

fn same_fields(path: &str, ours: &[Field], defined: &[Row], served: &RangeInclusive<i16>) {
    // Fields of versions before the first one served are not written down.
    let defined: Vec<_> = defined.iter().filter(|row| row.versions.end() >= served.start()).collect();
    let names: Vec<_> = ours.iter().map(|field| field.name.replace('_', "")).collect();
    let expected: Vec<_> = defined.iter().map(|row| row.name.to_lowercase()).collect();
    assert_eq!(names, expected, "fields of {path}");
    for (field, row) in ours.iter().zip(defined) {
        let path = format!("{path}.{}", row.name);
        let everywhere = served.clone().all(|version| row.versions.contains(&version));
        assert_eq!(range(field.versions), row.versions, "versions of {path}");
        assert_eq!(field.tag, row.tag, "tag of {path}");
        assert!(everywhere || field.ignorable == row.ignorable, "whether {path} is ignorable");
        let (kind, nullable) = match field.kind.strip_prefix("Option<").and_then(|k| k.strip_suffix('>')) {
            Some(inner) => (inner, field.nullable.map_or(0..=i16::MAX, range)),
            None => (field.kind, NEVER),
        };
        for version in served.clone().filter(|version| row.versions.contains(version)) {
            let null = row.nullable.contains(&version);
            assert_eq!(nullable.contains(&version), null, "nullability of {path} in version {version}");
        }
        assert_eq!(rust_kind(&row.kind), if kind == "Records" { "Bytes" } else { kind }, "type of {path}");
        same_fields(&path, field.fields, &row.fields, served);
    }
}

fn rust_kind(kind: &str) -> String {
    if let Some(element) = kind.strip_prefix("[]") {
        return format!("Vec<{}>", rust_kind(element));
    }
    let rust = match kind {
        "string" => "String",
        "int8" => "i8",
        "int16" => "i16",
        "int32" => "i32",
        "int64" => "i64",
        "uint16" => "u16",
        "float64" => "Float64",
        "uuid" => "Uuid",
        "bytes" | "records" => "Bytes",
        other => other,
    };
    rust.to_owned()
}

#[test]
fn the_api_table_serves_what_the_definitions_say() {
    for api in APIS {
        for name in [format!("{}Request", api.name), format!("{}Response", api.name)] {
            let definition = Definition::load(&name);
            assert_eq!(definition.key, api.number, "{name}");
            assert_eq!(definition.versions, api.served_from..=api.version_max, "{name}");
            assert_eq!(definition.flexible_from, api.flexible_from, "{name}");
        }
    }
}

#[test]
fn random_messages_of_every_version_come_back_to_the_same_bytes() {
    fn check<M: Message + PartialEq + std::fmt::Debug>(name: &str) {
        let definition = Definition::load(name);
        for version in definition.versions.clone() {
            for seed in 0..12 {
                let bytes = definition.random(version, seed, false);
                let context = format!("{name} version {version} seed {seed}");
                let message = M::decode(bytes.clone(), version).unwrap_or_else(|e| panic!("{context}: {e}"));
                let again = message.encode(version).unwrap_or_else(|e| panic!("{context}: {e}")).concat();
                assert_eq!(again, bytes, "{context}");
                let with_unknown = definition.random(version, seed, true);
                assert_eq!(M::decode(with_unknown, version), Ok(message), "{context}: unknown tagged fields");
            }
        }
    }
    for_each_message!(check());
}

#[test]
fn a_new_message_holds_the_definitions_defaults() {
    fn check<M: Message + PartialEq>(name: &str) {
        let definition = Definition::load(name);
        for version in definition.versions.clone() {
            let context = format!("{name} version {version}");
            let encoded = M::default().encode(version).unwrap_or_else(|e| panic!("{context}: {e}")).concat();
            let mut expected = Vec::new();
            let flexible = version >= definition.flexible_from;
            let mut interpreter = Interpreter { version, flexible, random: None, unknown_tags: false };
            interpreter.structure(&definition.fields, &mut expected);
            assert_eq!(encoded, expected, "{context}");
        }
    }
    for_each_message!(check());
}

#[test]
fn a_message_cut_short_is_malformed_wherever_it_is_cut() {
    fn check<M: Message + PartialEq>(name: &str) {
        let definition = Definition::load(name);
        for version in definition.versions.clone() {
            let bytes = definition.random(version, 1, false);
            for end in 0..bytes.len().min(600) {
                assert!(
                    M::decode(bytes.slice(..end), version).is_err(),
                    "{name} version {version} cut at {end}"
                );
            }
        }
    }
    for_each_message!(check());
}

/// What was decoded never holds more than the bytes did: lengths and counts are not believed.
fn decode_arbitrary<M: Message + PartialEq>(
    name: &str,
    version: i16,
    bytes: &[u8],
    damage: Option<(usize, u8)>,
) {
    let bytes = match damage {
        Some((at, with)) => {
            let definition = Definition::load(name);
            let version = version.clamp(*definition.versions.start(), *definition.versions.end());
            let mut bytes = definition.random(version, u64::from(with), false).to_vec();
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = with;
            }
            bytes
        }
        None => bytes.to_vec(),
    };
    if let Ok(message) = M::decode(bytes.clone().into(), version)
        && let Ok(encoded) = message.encode(version)
    {
        // Versions where nothing but defaults is written may be longer than an empty frame.
        let slack = M::default().encode(version).map_or(0, |chunks| chunks.concat().len());
        assert!(encoded.concat().len() <= bytes.len() + slack, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn arbitrary_and_damaged_bytes_never_panic(
        version in 0_i16..19,
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(1)], 0..200),
        at: usize,
        with: u8,
    ) {
        for_each_message!(decode_arbitrary(version, &bytes, None));
        for_each_message!(decode_arbitrary(version, &bytes, Some((at, with))));
    }
}

/// A message's table as the fixture has it.
struct Definition {
    key: i16,
    versions: RangeInclusive<i16>,
    flexible_from: i16,
    fields: Vec<Row>,
}

struct Row {
    name: String,
    kind: String,
    versions: RangeInclusive<i16>,
    nullable: RangeInclusive<i16>,
    tag: Option<u32>,
    default: String,
    ignorable: bool,
    fields: Vec<Row>,
}

impl Definition {
    fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kafka/messages").join(name);
        let text = fs::read_to_string(path.with_extension("tsv")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut lines = text.lines();
        let head: Vec<_> = lines.next().unwrap().split('\t').collect();
        let mut lines: Vec<_> = lines.rev().collect();
        Self {
            key: head[1].parse().unwrap(),
            versions: range(head[2]),
            flexible_from: if head[3] == "none" { i16::MAX } else { *range(head[3]).start() },
            fields: Row::level(&mut lines, 0),
        }
    }

    /// A random message of a version.
    fn random(&self, version: i16, seed: u64, unknown_tags: bool) -> Bytes {
        let random = Some(StdRng::seed_from_u64(seed));
        let mut out = Vec::new();
        let flexible = version >= self.flexible_from;
        Interpreter { version, flexible, random, unknown_tags }.structure(&self.fields, &mut out);
        out.into()
    }
}

impl Row {
    /// The rows of one level; `lines` come from the back.
    fn level(lines: &mut Vec<&str>, depth: usize) -> Vec<Self> {
        let mut rows = Vec::new();
        while let Some(line) = lines.pop_if(|line| line.bytes().take_while(|&b| b == b'.').count() == depth) {
            let column: Vec<_> = line.split('\t').collect();
            rows.push(Self {
                name: column[0].trim_start_matches('.').to_owned(),
                kind: column[1].to_owned(),
                versions: range(column[2]),
                nullable: if column[3] == "-" { NEVER } else { range(column[3]) },
                tag: column[4].parse().ok(),
                default: column[5].to_owned(),
                ignorable: column[6] == "ignorable",
                fields: Self::level(lines, depth + 1),
            });
        }
        rows
    }
}

/// Writes messages from their definition: random ones, or with `random` none the default one.
struct Interpreter {
    version: i16,
    flexible: bool,
    random: Option<StdRng>,
    unknown_tags: bool,
}

impl Interpreter {
    fn structure(&mut self, rows: &[Row], out: &mut Vec<u8>) {
        let rows = rows.iter().filter(|row| row.versions.contains(&self.version));
        let (tagged, plain): (Vec<_>, Vec<_>) = rows.partition(|row| row.tag.is_some());
        for row in plain {
            self.field(row, out);
        }
        if self.flexible {
            self.tagged(&tagged, out);
        }
    }

    /// Tagged fields that are not their default; with `unknown_tags`, some that no one knows.
    fn tagged(&mut self, rows: &[&Row], out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        for row in rows {
            let (mut value, mut default) = (Vec::new(), Vec::new());
            self.field(row, &mut value);
            Self { random: None, unknown_tags: false, ..*self }.field(row, &mut default);
            let wanted = self.random.as_mut().is_some_and(|random| random.random_bool(0.5));
            // What is drawn must not depend on `unknown_tags`, but the fields inside have tags of their own.
            let same = value == default || self.unknown_tags && without_unknown(&value) == default;
            if wanted && !same {
                fields.push((row.tag.unwrap(), value));
            }
        }
        if self.unknown_tags {
            fields.push((UNKNOWN_TAG, vec![0xab; 3]));
        }
        put_uvarint(out, u32::try_from(fields.len()).unwrap());
        for (tag, value) in fields {
            put_uvarint(out, tag);
            put_uvarint(out, u32::try_from(value.len()).unwrap());
            out.extend(value);
        }
    }

    fn field(&mut self, row: &Row, out: &mut Vec<u8>) {
        let nullable = row.nullable.contains(&self.version);
        if let Some(element) = row.kind.strip_prefix("[]") {
            let count = self.length(nullable, 3);
            self.put_length(count, 4, out);
            for _ in 0..count.unwrap_or(0) {
                self.value(element, row, false, out);
            }
        } else {
            self.value(&row.kind, row, nullable, out);
        }
    }

    fn value(&mut self, kind: &str, row: &Row, nullable: bool, out: &mut Vec<u8>) {
        match kind {
            "bool" => out.push(if self.random.is_some() {
                self.bits(1).unsigned_abs() as u8
            } else {
                u8::from(row.default == "true")
            }),
            "int8" => out.extend((self.number(row) as i8).to_be_bytes()),
            "int16" => out.extend((self.number(row) as i16).to_be_bytes()),
            "int32" => out.extend((self.number(row) as i32).to_be_bytes()),
            "int64" => out.extend(self.number(row).to_be_bytes()),
            "uint16" => out.extend((self.number(row) as u16).to_be_bytes()),
            "float64" => out.extend(self.bits(u64::MAX).to_be_bytes()),
            "uuid" => (0..2).for_each(|_| out.extend(self.bits(u64::MAX).to_be_bytes())),
            "string" => {
                let length = self.length(nullable, 12);
                self.put_length(length, 2, out);
                out.extend((0..length.unwrap_or(0)).map(|_| b'a' + self.bits(15) as u8));
            }
            "bytes" | "records" => {
                // Empty, not null, is our answer's default record set (see the note in `wire/fetch.rs`).
                let nullable = nullable && (self.random.is_some() || row.default != "empty");
                let length = self.length(nullable, 1_500);
                self.put_length(length, 4, out);
                out.extend((0..length.unwrap_or(0)).map(|_| self.bits(255) as u8));
            }
            _ => {
                if nullable {
                    let present = self.length(true, 1).is_some();
                    out.push(if present { 1 } else { 0xff });
                    if !present {
                        return;
                    }
                }
                self.structure(&row.fields, out);
            }
        }
    }

    /// Random bits under a mask; 0 for a default message.
    fn bits(&mut self, mask: u64) -> i64 {
        self.random.as_mut().map_or(0, |random| (random.random::<u64>() & mask) as i64)
    }

    /// A random number, or the default.
    fn number(&mut self, row: &Row) -> i64 {
        match (&mut self.random, row.default.as_str()) {
            (Some(random), _) => random.random(),
            (None, "-") => 0,
            (None, hex) if hex.starts_with("0x") => i64::from_str_radix(&hex[2..], 16).unwrap(),
            (None, number) => number.parse().unwrap(),
        }
    }

    /// The length of a value, or none for null; a nullable value's default is null.
    fn length(&mut self, nullable: bool, max: usize) -> Option<usize> {
        let Some(random) = &mut self.random else { return (!nullable).then_some(0) };
        let null = nullable && random.random_bool(0.3);
        (!null).then(|| random.random_range(0..=max))
    }

    fn put_length(&self, length: Option<usize>, width: usize, out: &mut Vec<u8>) {
        if self.flexible {
            put_uvarint(out, length.map_or(0, |length| u32::try_from(length).unwrap() + 1));
        } else {
            let stated = length.map_or(-1, |length| i32::try_from(length).unwrap());
            out.extend(&stated.to_be_bytes()[4 - width..]);
        }
    }
}

const UNKNOWN_TAG: u32 = 99;
/// No version.
const NEVER: RangeInclusive<i16> = -1..=-1;

/// A structure's bytes with the unknown tagged field taken out again.
fn without_unknown(value: &[u8]) -> Vec<u8> {
    match value.strip_suffix(&[1, UNKNOWN_TAG as u8, 3, 0xab, 0xab, 0xab]) {
        Some(rest) => [rest, &[0]].concat(),
        None => value.to_vec(),
    }
}

/// `3+`, `3-5`, `3`, and Rust's `3..`, `3..=5`.
fn range(text: &str) -> RangeInclusive<i16> {
    let text = text.replace("..=", "-").replace("..", "+");
    match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(from), _) => from.parse().unwrap()..=i16::MAX,
        (None, Some((from, to))) => from.parse().unwrap()..=to.parse().unwrap(),
        (None, None) => text.parse().unwrap()..=text.parse().unwrap(),
    }
}
