"""Groups on a raw socket: what members and others are told that no library lets one ask. Each row is Kafka 4.3.1's."""

import time

import pytest

from kafka_wire import NOBODY
from test_kafka_rows import check, door, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

G, NEWER = "{T}-g", "{T}-c"
UNKNOWN_TOPIC, COORDINATOR_LOADING, COORDINATOR, UNKNOWN_TOPIC_ID = 3, 14, 15, 100
ILLEGAL_GENERATION, INCONSISTENT, INVALID_GROUP, UNKNOWN_MEMBER, SESSION_TIMEOUT = 22, 23, 24, 25, 26
METADATA_TOO_LARGE, INVALID_REQUEST, NON_EMPTY, NOT_FOUND, MEMBER_ID_REQUIRED = 12, 42, 68, 69, 79
SUBSCRIBED, FENCED_MEMBER, ASSIGNOR, STALE_MEMBER = 86, 110, 112, 113
MALFORMED = (
    "This most likely occurs because of a request being malformed by the client library or the message was sent to an "
    "incompatible broker. See the broker logs for more details."
)


@pytest.fixture(autouse=True)
def coordinator(door):  # noqa: F811
    """Kafka makes its offsets topic with the first question, and answers nobody meanwhile."""
    deadline = time.monotonic() + 30
    while door.call("FindCoordinator", 1, Key="any", KeyType=0)["ErrorCode"] == COORDINATOR:
        assert time.monotonic() < deadline, "there is never a coordinator"
    while door.call("Heartbeat", 4, GroupId="any", GenerationId=0, MemberId="x")["ErrorCode"] in (14, 15, 16):
        assert time.monotonic() < deadline, "the coordinator is never there"


def joining(door, group, member="", version=5, protocols=("range",), kind="consumer", session_ms=10_000):  # noqa: F811
    body = {"GroupId": group, "SessionTimeoutMs": session_ms, "RebalanceTimeoutMs": 10_000, "MemberId": member,
            "ProtocolType": kind, "Protocols": [{"Name": name, "Metadata": b"x"} for name in protocols]}
    return door.call("JoinGroup", version, **body)


def joined(door, group):  # noqa: F811
    """The one member of a stable group, whose metadata nobody can read, and its generation."""
    first = joining(door, group)
    member = first["MemberId"]
    assert first["ErrorCode"] == MEMBER_ID_REQUIRED and member.startswith("rows-")
    answer = joining(door, group, member)
    assert (answer["ErrorCode"], answer["Leader"], len(answer["Members"])) == (0, member, 1)
    generation = answer["GenerationId"]
    assigned = [{"MemberId": member, "Assignment": b"all"}]
    answer = door.call("SyncGroup", 5, GroupId=group, GenerationId=generation, MemberId=member,
                       ProtocolType="consumer", ProtocolName="range", Assignments=assigned)
    assert (answer["ErrorCode"], answer["Assignment"]) == (0, b"all")
    return member, generation


def beating(error, member, generation, group=G, **more):
    asked = {"GroupId": group, "GenerationId": generation, "MemberId": member, **more}
    return "Heartbeat", 4, asked, {"ErrorCode": error}


def syncing(error, member, generation, kind="consumer", name="range", group=G):
    asked = {"GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": kind,
             "ProtocolName": name, "Assignments": []}
    return "SyncGroup", 5, asked, {"ErrorCode": error}


def committing(error, generation, member, version=8, group=G, metadata="m", topic="{T}", partition=0):  # noqa: F811
    one = {"PartitionIndex": partition, "CommittedOffset": 5, "CommittedMetadata": metadata}
    asked = {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member,
             "Topics": [{"Name": topic, "Partitions": [one]}]}
    return "OffsetCommit", version, asked, {"Topics": [{"Partitions": [{"ErrorCode": error}]}]}


def deleting(error, *groups):
    return "DeleteGroups", 2, {"GroupsNames": list(groups)}, {"Results": [{"ErrorCode": error}] * len(groups)}


def forgetting(error, partition_error=None, group=G, topic="{T}"):  # noqa: F811
    asked = {"GroupId": group, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0}]}]}
    topics = [] if partition_error is None else [{"Partitions": [{"ErrorCode": partition_error}]}]
    return "OffsetDelete", 0, asked, {"ErrorCode": error, "Topics": topics}


def test_coordinators_are_found_by_key_and_type(door, topic):  # noqa: F811
    def finding(version, kind, keys, error, text):
        found = [{"Key": key, "ErrorCode": error, "ErrorMessage": text} for key in keys]
        return "FindCoordinator", version, {"KeyType": kind, "CoordinatorKeys": keys}, {"Coordinators": found}

    partition = f"{G}:{NOBODY}:0"
    check(door, topic, [
        finding(4, 0, [G, "", "other"], 0, ""),
        finding(4, 2, [G], INVALID_REQUEST, ""),
        finding(6, 2, [G, f"{G}:x", partition], INVALID_REQUEST, ""),
        finding(4, 3, [G], INVALID_REQUEST, MALFORMED),
        ("FindCoordinator", 1, {"KeyType": 0, "Key": G}, {"ErrorCode": 0, "ErrorMessage": "NONE"}),
        ("FindCoordinator", 3, {"KeyType": 9, "Key": G}, {"ErrorCode": INVALID_REQUEST, "ErrorMessage": MALFORMED}),
        ("FindCoordinator", 0, {"Key": ""}, {"ErrorCode": 0}),
    ])


def test_a_group_that_is_not_there(door, topic):  # noqa: F811
    dead = {"GroupState": "Dead", "ProtocolType": "", "ProtocolData": "", "Members": []}
    nobody = [{"ErrorCode": UNKNOWN_MEMBER}]

    def fetching(version, **group):
        return "OffsetFetch", version, {"Groups": [{"GroupId": G, **group}]}

    rows = [
        ("DescribeGroups", 5, {"Groups": [G]}, {"Groups": [{"ErrorCode": 0, "GroupId": G, **dead}]}),
        ("DescribeGroups", 6, {"Groups": [G]},
         {"Groups": [{"ErrorCode": NOT_FOUND, "ErrorMessage": f"Group {G} not found.", **dead}]}),
        beating(UNKNOWN_MEMBER, "nobody", 0), beating(INVALID_GROUP, "nobody", 0, group=""),
        syncing(UNKNOWN_MEMBER, "nobody", 0), syncing(INVALID_GROUP, "nobody", 0, group=""),
        ("LeaveGroup", 0, {"GroupId": G, "MemberId": "nobody"}, {"ErrorCode": UNKNOWN_MEMBER}),
        ("LeaveGroup", 5, {"GroupId": G, "Members": [{"MemberId": "nobody"}]}, {"ErrorCode": 0, "Members": nobody}),
        ("LeaveGroup", 3, {"GroupId": G, "Members": []}, {"ErrorCode": 0, "Members": []}),
        deleting(NOT_FOUND, G), forgetting(NOT_FOUND),
        ("OffsetFetch", 5, {"GroupId": G, "Topics": [{"Name": "{T}", "PartitionIndexes": [0, 9]}]},
         {"ErrorCode": 0, "Topics": [{"Partitions": [
             {"CommittedOffset": -1, "ErrorCode": 0, "Metadata": ""}, {"CommittedOffset": -1, "ErrorCode": 0}]}]}),
        ("OffsetFetch", 5, {"GroupId": G, "Topics": None}, {"ErrorCode": 0, "Topics": []}),
        (*fetching(8, Topics=None), {"Groups": [{"ErrorCode": 0, "Topics": []}]}),
        (*fetching(10, Topics=[{"TopicId": NOBODY, "PartitionIndexes": [0]}]),
         {"Groups": [{"Topics": [{"Partitions": [{"ErrorCode": UNKNOWN_TOPIC_ID}]}]}]}),
        committing(ILLEGAL_GENERATION, 1, "nobody"), committing(NOT_FOUND, 1, "nobody", version=9),
        committing(ILLEGAL_GENERATION, 0, ""),
    ]
    for api, kind in (("ConsumerGroupDescribe", "consumer"), ("ShareGroupDescribe", "share")):
        rows += [
            (api, 1, {"GroupIds": [G]},
             {"Groups": [{"ErrorCode": NOT_FOUND, "ErrorMessage": f"Group {G} not found.", "GroupState": ""}]}),
            (api, 1, {"GroupIds": [""]}, {"Groups": [{"ErrorCode": INVALID_GROUP, "ErrorMessage": None}]}),
        ]
    check(door, topic, rows)


def test_who_is_in_no_group_may_commit(door, topic):  # noqa: F811
    empty = {"ErrorCode": 0, "GroupState": "Empty", "ProtocolType": "", "ProtocolData": "", "Members": []}
    mine = door.call("OffsetFetch", 5, GroupId=topic + "-g", Topics=None)
    assert mine["Topics"] == []
    check(door, topic, [
        committing(METADATA_TOO_LARGE, -1, "", metadata="x" * 5000),
        committing(UNKNOWN_TOPIC, -1, "", topic="{T}-new"), committing(UNKNOWN_TOPIC, -1, "", partition=9),
        committing(0, -1, "", metadata=None), committing(0, -1, ""),
        ("OffsetFetch", 5, {"GroupId": G, "Topics": None}, {"ErrorCode": 0, "Topics": [
            {"Name": "{T}", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 5, "Metadata": "m"}]}]}),
        ("DescribeGroups", 6, {"Groups": [G]}, {"Groups": [empty]}),
        committing(UNKNOWN_MEMBER, 1, "nobody"),
        forgetting(0, 0), forgetting(0, UNKNOWN_TOPIC, topic="{T}-new"),
        deleting(0, G),
    ])


def test_whoever_may_not_join_leaves_no_group_behind(door, topic):  # noqa: F811
    group = topic + "-g"

    def refused(error, **asked):
        answer = joining(door, **{"group": group, **asked})
        assert (answer["ErrorCode"], answer["GenerationId"], answer["ProtocolName"]) == (error, -1, ""), asked

    refused(INVALID_GROUP, group="")
    refused(SESSION_TIMEOUT, session_ms=1)
    refused(SESSION_TIMEOUT, session_ms=10_000_000)
    refused(UNKNOWN_MEMBER, member="nobody")
    check(door, topic, [deleting(NOT_FOUND, G)])
    assert group not in [one["GroupId"] for one in door.call("ListGroups", 4)["Groups"]]
    refused(INCONSISTENT, protocols=())
    refused(INCONSISTENT, kind="")


def test_a_member_and_who_is_none(door, topic):  # noqa: F811
    group = topic + "-g"
    member, generation = joined(door, group)
    check(door, topic, [
        beating(0, member, generation), beating(ILLEGAL_GENERATION, member, generation + 1),
        beating(UNKNOWN_MEMBER, "nobody", generation), beating(UNKNOWN_MEMBER, member, generation, GroupInstanceId="i"),
        syncing(INCONSISTENT, member, generation, kind="other"), syncing(INCONSISTENT, member, generation, name="other"),
        syncing(ILLEGAL_GENERATION, member, generation + 1), syncing(0, member, generation),
        committing(0, generation, member), committing(ILLEGAL_GENERATION, generation + 1, member),
        committing(UNKNOWN_MEMBER, -1, ""), committing(UNKNOWN_MEMBER, generation, "nobody"),
        deleting(NON_EMPTY, G), forgetting(0, SUBSCRIBED),
        ("DescribeGroups", 6, {"Groups": [G], "IncludeAuthorizedOperations": True}, {"Groups": [{
            "GroupState": "Stable", "ProtocolType": "consumer", "ProtocolData": "range", "AuthorizedOperations": 3400,
            "Members": [{"MemberId": member, "MemberMetadata": b"x", "MemberAssignment": b"all"}]}]}),
        ("ConsumerGroupDescribe", 1, {"GroupIds": [G]},
         {"Groups": [{"ErrorCode": NOT_FOUND, "ErrorMessage": f"Group {G} is not a consumer group."}]}),
        ("ShareGroupDescribe", 1, {"GroupIds": [G]},
         {"Groups": [{"ErrorCode": NOT_FOUND, "ErrorMessage": f"Group {G} is not a share group."}]}),
    ])
    for asked in ({"protocols": ("other",)}, {"kind": "connect"}):
        assert joining(door, group, version=2, **asked)["ErrorCode"] == INCONSISTENT
    check(door, topic, [
        ("LeaveGroup", 0, {"GroupId": G, "MemberId": member}, {"ErrorCode": 0}),
        ("DescribeGroups", 6, {"Groups": [G]}, {"Groups": [{"GroupState": "Empty", "ProtocolType": "consumer"}]}),
        deleting(0, G), deleting(NOT_FOUND, G),
    ])


def test_groups_are_listed_by_state_and_type(door, topic):  # noqa: F811
    check(door, topic, [committing(0, -1, "")])

    def listed(states, types):
        groups = door.call("ListGroups", 5, StatesFilter=states, TypesFilter=types)["Groups"]
        return [(one["GroupState"], one["GroupType"]) for one in groups if one["GroupId"] == topic + "-g"]

    empty = [("Empty", "classic")]
    for states, types, expected in (
        ([], [], empty), (["empty"], ["CLASSIC"], empty), (["Stable", "Empty"], [], empty),
        (["Stable"], [], []), ([], ["consumer"], []), (["no state"], [], []), ([], ["no type"], []),
    ):
        assert listed(states, types) == expected, (states, types)
    check(door, topic, [deleting(0, G)])


FULL = {"RebalanceTimeoutMs": 5_000, "SubscribedTopicNames": ["{T}"], "TopicPartitions": []}


def newer(error, text, epoch=0, member="m", group=NEWER, without=(), **more):
    """ConsumerGroupHeartbeat of a member that says everything, but for what it is asked to leave out."""
    full = {key: value for key, value in FULL.items() if key not in without} if epoch <= 0 and epoch != -1 else {}
    asked = {"GroupId": group, "MemberId": member, "MemberEpoch": epoch, **full, **more}
    expected = {"ErrorCode": error} | ({"ErrorMessage": text} if text else {})
    return "ConsumerGroupHeartbeat", 1, asked, expected


def test_a_consumer_group_is_joined_by_whoever_says_everything(door, topic):  # noqa: F811
    first = "must be provided in first request."
    check(door, topic, [
        newer(INVALID_REQUEST, f"RebalanceTimeoutMs {first}", RebalanceTimeoutMs=-1),
        newer(INVALID_REQUEST, None, without=["TopicPartitions"]),
        newer(INVALID_REQUEST, None, without=["SubscribedTopicNames"]),
        newer(INVALID_REQUEST, None, member=""), newer(INVALID_REQUEST, None, group=""),
        newer(INVALID_REQUEST, None, InstanceId=""), newer(INVALID_REQUEST, None, RackId=""),
        newer(INVALID_REQUEST, None, epoch=-3),
        newer(ASSIGNOR, "ServerAssignor nope is not supported. Supported assignors: uniform, range.",
              ServerAssignor="nope"),
        newer(NOT_FOUND, f"Consumer group {NEWER} not found.", epoch=5),
        newer(NOT_FOUND, f"Group {NEWER} not found.", epoch=-1),
        newer(NOT_FOUND, f"Group {NEWER} not found.", epoch=-2, InstanceId="i"),
        newer(0, None),
    ])


def test_a_consumer_group_knows_its_members_by_epoch(door, topic):  # noqa: F811
    group = topic + "-c"
    full = FULL | {"SubscribedTopicNames": [topic]}
    joined_now = door.call("ConsumerGroupHeartbeat", 1, GroupId=group, MemberId="m", MemberEpoch=0, **full)
    assert (joined_now["ErrorCode"], joined_now["HeartbeatIntervalMs"]) == (0, 5000)
    assert [one["Partitions"] for one in joined_now["Assignment"]["TopicPartitions"]] == [[0]]
    epoch = joined_now["MemberEpoch"]
    newer_epoch = (
        f"The consumer group member has a greater member epoch ({epoch + 1}) than the one known by the group "
        f"coordinator ({epoch}). The member must abandon all its partitions and rejoin."
    )

    def fetching(error, member, member_epoch):
        asked = {"GroupId": NEWER, "MemberId": member, "MemberEpoch": member_epoch, "Topics": None}
        return "OffsetFetch", 9, {"Groups": [asked]}, {"Groups": [{"ErrorCode": error}]}

    check(door, topic, [
        newer(0, None, epoch=epoch), newer(FENCED_MEMBER, newer_epoch, epoch=epoch + 1),
        newer(UNKNOWN_MEMBER, None, epoch=epoch, member="other"),
        beating(UNKNOWN_MEMBER, "m", epoch, group=NEWER),
        committing(0, epoch, "m", version=9, group=NEWER),
        committing(STALE_MEMBER, epoch + 1, "m", version=9, group=NEWER),
        committing(UNKNOWN_MEMBER, epoch, "other", version=9, group=NEWER),
        committing(UNKNOWN_MEMBER, -1, "", version=9, group=NEWER),
        fetching(0, "m", epoch), fetching(STALE_MEMBER, "m", epoch + 1), fetching(UNKNOWN_MEMBER, "other", epoch),
        fetching(0, None, -1),
        ("DescribeGroups", 6, {"Groups": [NEWER]},
         {"Groups": [{"ErrorCode": NOT_FOUND, "ErrorMessage": f"Group {NEWER} is not a classic group."}]}),
        ("DescribeGroups", 5, {"Groups": [NEWER]}, {"Groups": [{"ErrorCode": 0, "GroupState": "Dead"}]}),
        ("ConsumerGroupDescribe", 1, {"GroupIds": [NEWER]}, {"Groups": [{
            "ErrorCode": 0, "GroupState": "Stable", "GroupEpoch": epoch, "AssignmentEpoch": epoch,
            "AssignorName": "uniform", "Members": [{"MemberId": "m", "MemberEpoch": epoch, "MemberType": 1}]}]}),
        deleting(NON_EMPTY, NEWER), forgetting(0, SUBSCRIBED, group=NEWER),
        newer(0, None, epoch=-1), deleting(0, NEWER),
    ])
