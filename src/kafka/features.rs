//! THE table of features (KIP-584): what ApiVersions says is finalized, and what UpdateFeatures takes.
//!
//! One level of each is all there is. It switches clients: `transaction.version` 2 lets them use the second transaction
//! protocol (KIP-890), `group.version` and `share.version` 1 consumer groups (KIP-848) and share groups (KIP-932);
//! `metadata.version` is what Kafka 4.3 runs at.

/// A feature and its level.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    pub name: &'static str,
    pub level: i16,
}

/// By name.
pub const FEATURES: &[Feature] = &[
    Feature { name: "group.version", level: 1 },
    Feature { name: "metadata.version", level: 30 },
    Feature { name: "share.version", level: 1 },
    Feature { name: "transaction.version", level: 2 },
];
