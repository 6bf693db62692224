//! The kinds of things that have configs (`ConfigResource.Type`), by their numbers on the wire.

/// What has configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

const NUMBERS: &[(i8, ResourceType)] = &[
    (2, ResourceType::Topic),
    (4, ResourceType::Broker),
    (8, ResourceType::BrokerLogger),
    (16, ResourceType::ClientMetrics),
    (32, ResourceType::Group),
];

pub(super) fn resource_type(number: i8) -> Option<ResourceType> {
    NUMBERS.iter().find(|(n, _)| *n == number).map(|(_, kind)| *kind)
}

pub(super) fn number(kind: ResourceType) -> i8 {
    NUMBERS.iter().find(|(_, k)| *k == kind).map_or(0, |(n, _)| *n)
}
