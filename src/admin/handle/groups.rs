//! Our own part of the API: groups of all types, with their members and how far they are.
//!
//! ```text
//! {"name", "vhost", "type", "state", "epoch", "protocol", "lag",
//!  "members": [{"member_id", "instance_id", "client_id", "client_host", "partitions": [{"topic", "partition"}]}],
//!  "partitions": [{"topic", "partition", "offset", "log_end_offset", "lag"}]}
//! ```

use serde_json::{Value, json};

use crate::{
    admin::{
        listing::{list, one},
        request::{Reply, Request},
    },
    broker::{
        Broker,
        group::{
            Description, GroupKey, GroupType, MemberDescription, assignor::Partitions, embedded::Assignment,
        },
        topic::VhostName,
    },
};

/// `GET /api/groups`.
pub(crate) fn groups(request: &Request) -> Reply {
    let vhosts = request.state.broker.vhosts().into_iter().filter(|vhost| request.sees(&vhost.name));
    list(vhosts.flat_map(|vhost| rows(&request.state.broker, &vhost.name)).collect(), &request.query)
}

/// `GET /api/groups/:vhost`.
pub(crate) fn groups_of_vhost(request: &Request) -> Reply {
    match request.vhost() {
        Ok(vhost) => list(rows(&request.state.broker, vhost), &request.query),
        Err(reply) => reply,
    }
}

/// `GET /api/groups/:vhost/:group`.
pub(crate) fn group(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => VhostName::from(vhost),
        Err(reply) => return reply,
    };
    let key = GroupKey { vhost, id: request.parameter(1).into() };
    match request.state.broker.groups.describe(&key) {
        Some(described) => one(row(&request.state.broker, &key.vhost, described), &request.query),
        None => Reply::not_found(),
    }
}

fn rows(broker: &Broker, vhost: &str) -> Vec<Value> {
    let vhost = VhostName::from(vhost);
    broker.groups.list(&vhost).into_iter().map(|described| row(broker, &vhost, described)).collect()
}

fn row(broker: &Broker, vhost: &VhostName, described: Description) -> Value {
    let key = GroupKey { vhost: vhost.clone(), id: described.id.clone() };
    let progress = broker.groups.progress(&key);
    let partitions = progress.iter().map(|p| {
        json!({
            "topic": &*p.topic,
            "partition": p.partition,
            "offset": p.offset,
            "log_end_offset": p.log_end,
            "lag": p.lag,
        })
    });
    let members = described.members.iter().map(|member| {
        json!({
            "member_id": &*member.member_id.0,
            "instance_id": member.group_instance_id,
            "client_id": member.client_id,
            "client_host": member.client_host.trim_start_matches('/'),
            "partitions": assigned(broker, &key, described.group_type, member),
        })
    });
    json!({
        "name": &*described.id,
        "vhost": &*vhost.0,
        "type": described.group_type.name(),
        "state": described.state.to_string(),
        "epoch": described.generation_id,
        "protocol": described.protocol,
        "members": members.collect::<Vec<Value>>(),
        "partitions": partitions.collect::<Vec<Value>>(),
        "lag": progress.iter().map(|p| p.lag).sum::<i64>(),
    })
}

/// What a member reads. A classic group of another protocol than the consumers' does not say.
fn assigned(
    broker: &Broker,
    key: &GroupKey,
    group_type: GroupType,
    member: &MemberDescription,
) -> Vec<Value> {
    let named = |partitions: &Partitions| {
        let named = partitions.iter().filter_map(|at| {
            let topic = broker.core.topics.by_id(at.topic)?;
            Some(json!({"topic": &*topic.name, "partition": at.partition}))
        });
        named.collect::<Vec<Value>>()
    };
    match group_type {
        GroupType::Classic => {
            let assignment = Assignment::decode(&member.assignment).unwrap_or_default();
            let of_topic = |(topic, partitions): (String, Vec<i32>)| {
                partitions.into_iter().map(move |partition| json!({"topic": topic, "partition": partition}))
            };
            assignment.partitions.into_iter().flat_map(of_topic).collect()
        }
        GroupType::Consumer => {
            let described = broker.groups.describe_consumer(key).flatten();
            let members = described.into_iter().flat_map(|group| group.members);
            members.filter(|m| m.member_id == member.member_id).flat_map(|m| named(&m.assignment)).collect()
        }
        GroupType::Share => {
            let described = broker.groups.describe_share(key).flatten();
            let members = described.into_iter().flat_map(|group| group.members);
            members.filter(|m| m.member_id == member.member_id).flat_map(|m| named(&m.assignment)).collect()
        }
    }
}
