//! A topic's definition as it lies in the store.
//!
//! ```text
//! value  vhost str | name str | flags u8 (1: declared over AMQP, with arguments) | partitions u32 | partition id u64…
//!        | configs u32 | { name str | value str }… | arguments str (with flag 1; a field table)
//!        str: length u32, then that many bytes
//! ```

use bytes::Bytes;

use super::{
    PartitionId, VhostName,
    config::TopicConfig,
    keys::{Reader, Writer},
};
use crate::data::{field::table, value::Table};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) vhost: VhostName,
    pub(super) name: String,
    pub(super) stream_arguments: Option<Table>,
    pub(super) partitions: Vec<PartitionId>,
    pub(super) config: TopicConfig,
}

impl Definition {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes(self.vhost.0.as_bytes());
        w.bytes(self.name.as_bytes());
        w.u8(self.stream_arguments.is_some().into());
        w.count(self.partitions.len());
        self.partitions.iter().for_each(|id| w.u64(id.0));
        w.pairs(self.config.overrides());
        if let Some(arguments) = &self.stream_arguments {
            w.bytes(&table::contents(arguments));
        }
        w.finish()
    }

    pub(super) fn decode(value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let (vhost, name, over_amqp) = (VhostName(r.string()?.into()), r.string()?, r.u8()? & 1 == 1);
        let mut partitions = Vec::new();
        for _ in 0..r.u32()? {
            partitions.push(PartitionId(r.u64()?));
        }
        let values = r.pairs()?;
        let stream_arguments = if over_amqp { Some(table::decode(&r.bytes()?).ok()?) } else { None };
        // A config that this version does not know, or does not allow any more, falls back to its default.
        let known = |(name, value): &&(String, String)| {
            TopicConfig::new([(name.as_str(), Some(value.as_str()))]).is_ok()
        };
        let config =
            TopicConfig::new(values.iter().filter(known).map(|(n, v)| (n.as_str(), Some(v.as_str()))))
                .ok()?;
        r.is_done().then_some(Self { vhost, name, stream_arguments, partitions, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::value::Value;

    #[test]
    fn a_definition_survives_its_encoding() {
        let definition = Definition {
            vhost: "v".into(),
            name: "orders".into(),
            stream_arguments: Some(Table(vec![("x-max-age".to_owned(), Value::LongStr("1h".into()))])),
            partitions: vec![PartitionId(8), PartitionId(9)],
            config: TopicConfig::new([("retention.ms", Some("1000"))]).unwrap(),
        };
        let value = Bytes::from(definition.encode());
        assert_eq!(Definition::decode(&value), Some(definition));
        assert_eq!(Definition::decode(&value.slice(..value.len() - 1)), None);
    }
}
