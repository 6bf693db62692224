//! Super streams: `rabbitmq-streams add_super_stream`, and RabbitMQ's `PUT /api/stream/super-streams`.

use crate::{
    admin::{
        fault,
        request::{Change, Done, Reply, Request},
    },
    broker::refusal::Access,
};

/// Of a super stream whose declaration does not say.
const PARTITIONS_DEFAULT: i64 = 3;

/// `PUT /api/stream/super-streams/:vhost/:name`, with `partitions` and the arguments of a stream, `x-` left out or not.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object()?;
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    if body.text("binding-keys").is_some() {
        return Err(Reply::bad_request("the keys of a super stream are the numbers of its partitions"));
    }
    let partitions = body.integer("partitions")?.unwrap_or(PARTITIONS_DEFAULT);
    let partitions = u32::try_from(partitions)
        .map_err(|_| Reply::bad_request("the number of partitions must be over 0"))?;
    let mut arguments = body.arguments()?;
    for (name, _) in &mut arguments.0 {
        if !name.starts_with("x-") {
            *name = format!("x-{name}");
        }
    }
    request.allow(Access::Configure, &vhost.name, name)?;
    let declared = vhost.declare_super_stream(name, partitions, &arguments);
    Done::put((true, declared.map_err(|refusal| fault::reply(&refusal, &vhost.name))?))
}

/// `DELETE /api/stream/super-streams/:vhost/:name`.
pub(crate) fn delete(request: &Request) -> Change {
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    request.allow(Access::Configure, &vhost.name, name)?;
    Done::deleted(vhost.delete_super_stream(name))
}
