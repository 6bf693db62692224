//! Why a member is not let in, in Kafka's words.

use super::Moment;
use crate::broker::group::{
    error::{GroupError, Refused},
    member::MemberId,
};

pub(super) fn unknown_member(at: Moment<'_>, id: &MemberId) -> Refused {
    let text = format!("Member {id} is not a member of group {}.", at.group);
    Refused::new(GroupError::UnknownMemberId, text)
}

pub(super) fn unreleased(id: &MemberId, instance: &str, holder: &MemberId) -> Refused {
    Refused::new(
        GroupError::UnreleasedInstanceId,
        format!(
            "Static member {id} with instance id {instance} cannot join the group because the instance id is owned \
             by {holder} member."
        ),
    )
}

pub(super) fn fenced_instance(id: &MemberId, instance: &str, holder: &MemberId) -> Refused {
    Refused::new(
        GroupError::FencedInstanceId,
        format!("Static member {id} with instance id {instance} was fenced by member {holder}."),
    )
}
