"""More of THE table of the Kafka door's answers (test_kafka_rows.py): elections, reassignments, the quorum, features,
ACLs, delegation tokens, and transactions from outside."""

import pytest

from conftest import wait_for
from test_kafka_rows import BAD_NAME, REPLICAS, check, create, door, holds, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

ABSENT = "This server does not host this topic-partition."


def test_every_partition_has_its_preferred_leader(door, topic):
    def electing(version, kind, error, *texts):
        asked = [{"Topic": "{T}", "Partitions": [0, 7]}, {"Topic": "{T}-new", "Partitions": [0]}]
        asked = {"TopicPartitions": asked, "TimeoutMs": 5000, "ElectionType": kind}
        results = [{"ErrorCode": code, "ErrorMessage": text} for code, text in texts]
        found = [{"Topic": "{T}", "PartitionResult": results[:2]}, {"Topic": "{T}-new", "PartitionResult": results[2:]}]
        answer = {"ReplicaElectionResults": found, "ErrorCode": error}
        if version == 0:
            del asked["ElectionType"], answer["ErrorCode"]
        return "ElectLeaders", version, asked, answer

    needless = (84, "Leader election not needed for topic partition.")
    absent = [(3, "No such partition as {T}-7"), (3, "No such topic as {T}-new")]
    rows = [
        electing(0, 0, 0, needless, *absent),
        electing(1, 1, 0, needless, *absent),
        electing(2, 0, 0, needless, *absent),
        electing(2, 2, 42, *[(42, "Unknown election type 2")] * 3),
    ]
    check(door, topic, rows)


def test_partitions_stay_where_they_are(door, topic):
    def moving(error, text, replicas, number=0, name="{T}", version=0):
        partition = {"PartitionIndex": number, "Replicas": replicas}
        asked = {"Topics": [{"Name": name, "Partitions": [partition]}], "TimeoutMs": 5000}
        answer = {"PartitionIndex": number, "ErrorCode": error, "ErrorMessage": text}
        answer = {"ErrorCode": 0, "Responses": [{"Name": name, "Partitions": [answer]}]}
        return "AlterPartitionReassignments", version, asked, answer

    rows = [
        moving(0, None, [1]),
        moving(0, None, [1], version=1),
        moving(85, None, None),
        moving(39, f"{REPLICAS} broker 2, but no such broker is registered.", [1, 2]),
        moving(39, f"{REPLICAS} the broker 1 more than once.", [1, 1]),
        moving(39, f"{REPLICAS} an empty replica list.", []),
        moving(3, "Unable to find partition {T}:9.", [1], number=9),
        moving(3, "Unable to find a topic named {T}-new.", [1], name="{T}-new"),
        ("ListPartitionReassignments", 0, {"Topics": None, "TimeoutMs": 5000}, {"ErrorCode": 0, "Topics": []}),
    ]
    check(door, topic, rows)


def test_a_quorum_of_one(door, topic):
    def quorum(version, name, number, answer):
        asked = {"Topics": [{"TopicName": name, "Partitions": [{"PartitionIndex": number}]}]}
        answer = {"Topics": [{"TopicName": name, "Partitions": [answer | {"PartitionIndex": number}]}]}
        return "DescribeQuorum", version, asked, answer

    leader = {"ErrorCode": 0, "LeaderId": 1, "CurrentVoters": [{"ReplicaId": 1}], "Observers": []}
    absent = {"ErrorCode": 3, "ErrorMessage": ABSENT, "CurrentVoters": [], "LeaderId": 0}
    rows = [quorum(version, "__cluster_metadata", 0, leader) for version in range(3)]
    rows += [quorum(2, "{T}", 0, absent), quorum(2, "__cluster_metadata", 1, absent)]
    check(door, topic, rows)

    def offsets():
        answer = door.call("DescribeQuorum", 2, Topics=[{"TopicName": "__cluster_metadata", "Partitions": [{}]}])
        assert [node["NodeId"] for node in answer["Nodes"]] == [1]
        found = answer["Topics"][0]["Partitions"][0]
        return found["HighWatermark"], found["CurrentVoters"][0]["LogEndOffset"]

    before, end = offsets()
    assert 0 < before <= end
    create(door, f"{topic}-more")
    wait_for(lambda: offsets()[0] > before)
    door.call("DeleteTopics", 6, Topics=[{"Name": f"{topic}-more"}], TimeoutMs=5000)


def test_features_stay_as_they_are(door, topic):
    def updating(error, text, level, kind=1, name="metadata.version"):
        why = "The update failed for all features since the following feature had an error: "
        update = {"Feature": name, "MaxVersionLevel": level, "UpgradeType": kind}
        asked = {"FeatureUpdates": [update], "ValidateOnly": True, "timeoutMs": 5000}
        text = text and f"{why}Invalid update version {level} for feature {name}. {text}"
        return "UpdateFeatures", 2, asked, {"ErrorCode": error, "ErrorMessage": text}

    rows = [
        updating(0, None, 30),
        updating(95, "A feature version cannot be less than 0.", -1),
        updating(95, "Local controller 1 does not support this feature.", 1, name="foo"),
        updating(95, "The controller does not support the given upgrade type.", 30, kind=7),
    ]
    check(door, topic, rows)
    update = {"Feature": "metadata.version", "MaxVersionLevel": 30, "UpgradeType": 1}
    answer = door.call("UpdateFeatures", 1, FeatureUpdates=[update], ValidateOnly=True, timeoutMs=5000)
    holds({"Results": [{"Feature": "metadata.version", "ErrorCode": 0, "ErrorMessage": "NONE"}]}, answer)


def test_without_an_authorizer_there_are_no_acls(door, topic):
    acl = {"ResourceType": 2, "ResourceName": "{T}", "Principal": "User:a", "Host": "*", "Operation": 3}
    everything = {"ResourceTypeFilter": 1, "PrincipalFilter": None, "Operation": 1, "PermissionType": 1}
    everything |= {"ResourceNameFilter": None, "HostFilter": None}
    none = {"ErrorCode": 54, "ErrorMessage": "No Authorizer is configured."}
    for version in (1, 3):
        rows = [
            ("DescribeAcls", version, everything,
             {"ErrorCode": 54, "ErrorMessage": "No Authorizer is configured on the broker", "Resources": []}),
            ("CreateAcls", version, {"Creations": [acl | {"PermissionType": 3}]}, {"Results": [none]}),
            ("DeleteAcls", version, {"Filters": [everything]}, {"FilterResults": [none | {"MatchingAcls": []}]}),
        ]
        check(door, topic, rows)


def test_whoever_has_not_logged_in_gets_no_delegation_token(door, topic):
    refused = {"ErrorCode": 64, "ExpiryTimestampMs": -1}
    rows = [
        ("CreateDelegationToken", 1, {"MaxLifetimeMs": -1}, {"ErrorCode": 64, "PrincipalName": "ANONYMOUS"}),
        ("CreateDelegationToken", 3, {"MaxLifetimeMs": -1}, refused | {"TokenRequesterPrincipalName": "ANONYMOUS"}),
        ("RenewDelegationToken", 2, {"Hmac": b"x"}, refused),
        ("ExpireDelegationToken", 2, {"Hmac": b"x"}, refused),
        ("DescribeDelegationToken", 3, {"Owners": None}, {"ErrorCode": 64, "Tokens": []}),
    ]
    rows[1][3].pop("ExpiryTimestampMs")
    check(door, topic, rows)


def test_transactions_are_listed_and_filters_told_apart(door, topic):
    def listing(version, answer, **asked):
        return "ListTransactions", version, asked, answer

    rows = [
        listing(0, {"ErrorCode": 0, "UnknownStateFilters": ["Bogus"]}, StateFilters=["Bogus", "Ongoing"]),
        listing(2, {"ErrorCode": 128, "TransactionStates": []}, TransactionalIdPattern="["),
        listing(2, {"ErrorCode": 0, "TransactionStates": []}, TransactionalIdPattern="{T}.*"),
    ]
    check(door, topic, rows)


def test_producers_are_described_and_markers_written(door, topic):
    def describing(name, number, **answer):
        asked = {"Topics": [{"Name": name, "PartitionIndexes": [number]}]}
        answer = {"Topics": [{"Name": name, "Partitions": [answer | {"PartitionIndex": number}]}]}
        return "DescribeProducers", 0, asked, answer

    def ending(epoch, topics, *expected):
        marker = {"ProducerId": 5, "ProducerEpoch": 0, "TransactionResult": False, "CoordinatorEpoch": epoch}
        asked = {"Markers": [marker | {"Topics": [{"Name": n, "PartitionIndexes": list(p)} for n, *p in topics]}]}
        found = [{"Name": n, "Partitions": [{"ErrorCode": code} for code in codes]} for n, *codes in expected]
        return "WriteTxnMarkers", 1, asked, {"Markers": [{"ProducerId": 5, "Topics": found}]}

    rows = [
        describing("{T}", 0, ErrorCode=0, ErrorMessage=None, ActiveProducers=[]),
        describing("{T}", 9, ErrorCode=3, ErrorMessage=None, ActiveProducers=[]),
        describing("{T}-new", 0, ErrorCode=3, ErrorMessage=ABSENT),
        describing("a b", 0, ErrorCode=17, ErrorMessage=f"Topic name is invalid: 'a b' {BAD_NAME}"),
        ending(0, [("{T}-new", 0)], ("{T}-new", 3)),
        ending(0, [("{T}", 9)], ("{T}", 3)),
        ending(0, [("{T}", 0)], ("{T}", 0)),
        ending(-1, [("{T}", 0)], ("{T}", 52)),
        describing("{T}", 0, ErrorCode=0, ActiveProducers=[
            {"ProducerId": 5, "ProducerEpoch": 0, "LastSequence": -1, "CoordinatorEpoch": 0, "CurrentTxnStartOffset": -1}
        ]),
    ]
    check(door, topic, rows)
    api, version, asked, _ = ending(0, [(topic, 9, 0)])
    [found] = door.call(api, version, **asked)["Markers"][0]["Topics"]
    # Kafka's answer comes out of a hash map: which partition is first depends on the topic's name.
    assert {one["PartitionIndex"]: one["ErrorCode"] for one in found["Partitions"]} == {0: 0, 9: 3}


def test_endpoints_that_are_not_there(door, topic):
    controllers = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
    rows = [
        ("DescribeCluster", 1, {"EndpointType": 2}, {"ErrorCode": 114, "ErrorMessage": controllers, "Brokers": []}),
        ("DescribeCluster", 1, {"EndpointType": 3},
         {"ErrorCode": 115, "ErrorMessage": "Unsupported endpoint type 3", "Brokers": []}),
    ]
    check(door, topic, rows)


def test_credentials_of_users_are_set_and_described(door, topic):
    def setting(name, mechanism=1, iterations=4096):
        return {"Name": name, "Mechanism": mechanism, "Iterations": iterations, "Salt": b"s", "SaltedPassword": b"p" * 32}

    def altering(code, text, name, *upsertions, deletions=()):
        deletions = [{"Name": name, "Mechanism": mechanism} for mechanism in deletions]
        answer = {"Results": [{"User": name, "ErrorCode": code, "ErrorMessage": text}]}
        return "AlterUserScramCredentials", 0, {"Deletions": deletions, "Upsertions": list(upsertions)}, answer

    def describing(asked, *users):
        users = [{"User": user, "ErrorCode": code, "ErrorMessage": text, "CredentialInfos": infos}
                 for user, code, text, infos in users]
        asked = {"Users": [{"Name": name} for name in asked]}
        return "DescribeUserScramCredentials", 0, asked, {"ErrorCode": 0, "ErrorMessage": "", "Results": users}

    twice = (92, "A user credential cannot be altered twice in the same request")
    absent = (91, "Attempt to delete a user credential that does not exist")
    unknown = (91, "Attempt to describe a user credential that does not exist: {T}", [])
    again = "Cannot describe SCRAM credentials for the same user twice in a single request: {T}"
    rows = [
        describing(["{T}"], ("{T}", *unknown)),
        altering(*absent, "{T}", deletions=[1]),
        altering(93, "Username must not be empty", "", setting("")),
        altering(33, "Unknown SCRAM mechanism", "{T}", setting("{T}", mechanism=3)),
        altering(93, "Too few iterations", "{T}", setting("{T}", iterations=4095)),
        altering(93, "Too few iterations", "{T}", setting("{T}", iterations=-1)),
        altering(93, "Too many iterations", "{T}", setting("{T}", iterations=16385)),
        altering(*twice, "{T}", setting("{T}"), setting("{T}", mechanism=2)),
        altering(0, None, "{T}", setting("{T}")),
        altering(0, None, "{T}", setting("{T}", mechanism=2, iterations=16384)),
        describing(["{T}"], ("{T}", 0, "", [{"Mechanism": 1, "Iterations": 4096}, {"Mechanism": 2, "Iterations": 16384}])),
        describing(["{T}", "{T}"], ("{T}", 92, again, [])),
        altering(*twice, "{T}", setting("{T}"), deletions=[1]),
        altering(*twice, "{T}", deletions=[1, 2]),
        altering(0, None, "{T}", deletions=[1]),
        describing(["{T}"], ("{T}", 0, "", [{"Mechanism": 2, "Iterations": 16384}])),
        altering(0, None, "{T}", deletions=[2]),
        describing(["{T}"], ("{T}", *unknown)),
    ]
    check(door, topic, rows)


def test_groups_are_configured(door, topic):
    session, reset = "consumer.session.timeout.ms", "share.auto.offset.reset"
    GROUP, SET, DELETE, APPEND = 32, 0, 1, 2

    def altering(code, text, *changes, name="{T}", validate=False):
        configs = [{"Name": key, "ConfigOperation": operation, "Value": value} for key, operation, value in changes]
        asked = {"ResourceType": GROUP, "ResourceName": name, "Configs": configs}
        answer = {"ErrorCode": code, "ErrorMessage": text, "ResourceType": GROUP, "ResourceName": name}
        asked = {"Resources": [asked], "ValidateOnly": validate}
        return "IncrementalAlterConfigs", 1, asked, {"Responses": [answer]}

    def replacing(**configs):
        configs = [{"Name": key.replace("_", "."), "Value": value} for key, value in configs.items()]
        asked = {"ResourceType": GROUP, "ResourceName": "{T}", "Configs": configs}
        return "AlterConfigs", 2, {"Resources": [asked]}, {"Responses": [{"ErrorCode": 0, "ErrorMessage": None}]}

    def describing(key, value, source, kind, *synonyms):
        synonyms = [{"Name": name, "Value": value, "Source": source} for name, value, source in synonyms]
        found = {"Name": key, "Value": value, "ReadOnly": False, "ConfigSource": source, "ConfigType": kind}
        asked = {"ResourceType": GROUP, "ResourceName": "{T}", "ConfigurationKeys": [key]}
        answer = {"ErrorCode": 0, "Configs": [found | {"Synonyms": synonyms}]}
        return "DescribeConfigs", 4, {"Resources": [asked], "IncludeSynonyms": True}, {"Results": [answer]}

    by_default = (f"group.{session}", "45000", 5)
    as_it_was = describing(session, "45000", 5, 3, by_default)
    unnamed = {"Resources": [{"ResourceType": GROUP, "ResourceName": "", "ConfigurationKeys": None}]}
    must = "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
    wrong = f"Invalid value x for configuration {reset}: Invalid value `x` for configuration {reset}. {must}"
    at_least = f"{session} must be greater than or equal to group.consumer.min.session.timeout.ms"
    rows = [
        as_it_was,
        altering(0, None, (session, SET, "50000"), validate=True),
        as_it_was,
        altering(0, None, (session, SET, " 50000 ")),
        describing(session, "50000", 8, 3, (session, "50000", 8), by_default),
        altering(40, f"Invalid value x for configuration {session}: Not a number of type INT", (session, SET, "x")),
        altering(40, at_least, (session, SET, "1")),
        altering(40, "Unknown group config name: bogus", ("bogus", SET, "1")),
        altering(40, f"Can't APPEND to key {session} because its type is not LIST.", (session, APPEND, "1")),
        altering(40, wrong, (reset, SET, "x")),
        altering(
            40,
            "Invalid value READ for configuration share.isolation.level: String must be one of: read_committed, "
            "read_uncommitted",
            ("share.isolation.level", SET, "READ"),
        ),
        altering(42, f"Null value not supported for : {session}", (session, SET, None)),
        altering(42, "Default group resources are not allowed.", (session, SET, "50000"), name=""),
        altering(0, None, ("bogus", DELETE, None)),
        ("DescribeConfigs", 4, unnamed, {"Results": [{"ErrorCode": 42, "ErrorMessage": "Group name must not be empty"}]}),
        replacing(share_auto_offset_reset="earliest"),
        as_it_was,
        describing(reset, "earliest", 8, 2, (reset, "earliest", 8), (reset, "latest", 5)),
    ]
    check(door, topic, rows)

    def is_listed():
        listed = door.call("ListConfigResources", 1, ResourceTypes=[GROUP])["ConfigResources"]
        return {"ResourceName": topic, "ResourceType": GROUP} in listed

    assert is_listed()
    check(door, topic, [replacing(), as_it_was])
    wait_for(lambda: not is_listed())


def test_two_phase_commit_is_not_advertised(door):
    versions = {one["ApiKey"]: one["MaxVersion"] for one in door.call("ApiVersions", 0)["ApiKeys"]}
    assert versions[22] == 5
