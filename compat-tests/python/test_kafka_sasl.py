"""Logging in over the Kafka door: SASL PLAIN with the users of the AMQP door, in both ways that clients do it."""

import pytest

from broker import Broker
from conftest import wait_for
from kafka_wire import Closed, Connection
from test_permissions import api

pytestmark = pytest.mark.warren

FAILED = 58
WRONG = "Authentication failed: Invalid username or password"


@pytest.fixture
def guarded(tmp_path):
    broker = Broker(tmp_path, "--set", "kafka.sasl=true")
    yield broker
    broker.kill()


@pytest.fixture
def connect(guarded):
    opened = []

    def open_one():
        opened.append(Connection(guarded.kafka))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def token(user, password, authorization=""):
    return f"{authorization}\0{user}\0{password}".encode()


def test_nothing_is_heard_before_a_login(connect):
    early = connect()
    assert early.call("ApiVersions", 0)["ErrorCode"] == 0
    early.send("Metadata", 12, Topics=None)
    with pytest.raises(Closed):
        early.frame()
    early = connect()
    early.send("SaslAuthenticate", 2, AuthBytes=token("guest", "guest"))
    with pytest.raises(Closed):
        early.frame()


def test_an_unknown_mechanism_is_answered_with_those_there_are(connect):
    client = connect()
    answer = client.call("SaslHandshake", 1, Mechanism="GSSAPI")
    assert answer == {"ErrorCode": 33, "Mechanisms": ["PLAIN"]}
    with pytest.raises(Closed):
        client.call("SaslHandshake", 1, Mechanism="PLAIN")


@pytest.mark.parametrize(
    "given, text",
    [
        (token("guest", "wrong"), WRONG),
        (token("nobody", "guest"), WRONG),
        (token("nowhere:guest", "guest"), WRONG),
        (token("", "guest"), "Authentication failed: username not specified"),
        (token("guest", ""), "Authentication failed: password not specified"),
        (
            token("guest", "guest", "other"),
            "Authentication failed: Client requested an authorization id that is different from username",
        ),
        (
            b"guest",
            "Authentication failed during authentication due to invalid credentials with SASL mechanism PLAIN",
        ),
    ],
)
def test_a_login_is_refused_in_kafkas_words_and_the_connection_closed(connect, given, text):
    client = connect()
    assert client.call("SaslHandshake", 1, Mechanism="PLAIN") == {"ErrorCode": 0, "Mechanisms": ["PLAIN"]}
    answer = client.call("SaslAuthenticate", 2, AuthBytes=given)
    assert (answer["ErrorCode"], answer["ErrorMessage"]) == (FAILED, text)
    with pytest.raises(Closed):
        client.call("ApiVersions", 0)


def test_whoever_is_in_is_in(connect):
    client = connect()
    client.call("SaslHandshake", 1, Mechanism="PLAIN")
    answer = client.call("SaslAuthenticate", 2, AuthBytes=token("guest", "guest"))
    assert (answer["ErrorCode"], answer["AuthBytes"], answer["SessionLifetimeMs"]) == (0, b"", 0)
    assert client.call("Metadata", 12, Topics=None)["Brokers"]
    assert client.call("SaslHandshake", 1, Mechanism="PLAIN") == {"ErrorCode": 34, "Mechanisms": []}
    again = client.call("SaslAuthenticate", 2, AuthBytes=token("guest", "guest"))
    text = "SaslAuthenticate request received after successful authentication"
    assert (again["ErrorCode"], again["ErrorMessage"]) == (34, text)
    assert client.call("CreateDelegationToken", 1, MaxLifetimeMs=-1)["PrincipalName"] == "guest"


def test_bare_tokens_of_old_clients(connect):
    client = connect()
    assert client.call("SaslHandshake", 0, Mechanism="PLAIN")["ErrorCode"] == 0
    given = token("guest", "guest")
    client.socket.sendall(len(given).to_bytes(4, "big") + given)
    assert client.frame() == b""
    assert client.call("Metadata", 12, Topics=None)["Brokers"]
    wrong = connect()
    wrong.call("SaslHandshake", 0, Mechanism="PLAIN")
    given = token("guest", "wrong")
    wrong.socket.sendall(len(given).to_bytes(4, "big") + given)
    with pytest.raises(Closed):
        wrong.frame()


def test_a_login_that_ends_must_be_renewed_by_the_same_user(tmp_path):
    broker = Broker(tmp_path, "--set", "kafka.sasl=true", "--set", "kafka.login_lifetime_ms=400")
    client = Connection(broker.kafka)
    try:
        def log_in(user, password):
            client.call("SaslHandshake", 1, Mechanism="PLAIN")
            return client.call("SaslAuthenticate", 2, AuthBytes=token(user, password))

        api(broker, "PUT", "users/alice", {"password": "secret", "tags": ""})
        api(broker, "PUT", "permissions/%2F/alice", {"configure": ".*", "write": ".*", "read": ".*"})
        assert log_in("alice", "secret")["SessionLifetimeMs"] == 400
        assert client.call("Metadata", 12, Topics=[])["Brokers"]
        assert log_in("alice", "secret")["ErrorCode"] == 0
        answer = log_in("guest", "guest")
        text = "Cannot change principals during re-authentication from User.alice to User.guest"
        assert (answer["ErrorCode"], answer["ErrorMessage"]) == (FAILED, text)

        late = Connection(broker.kafka)
        late.call("SaslHandshake", 1, Mechanism="PLAIN")
        late.call("SaslAuthenticate", 2, AuthBytes=token("guest", "guest"))

        def expired():
            try:
                return not late.call("Metadata", 12, Topics=[])
            except Closed:
                return True

        wait_for(expired)
    finally:
        client.close()
        broker.kill()


def test_a_user_sees_the_vhost_that_its_name_says(guarded):
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic

    api(guarded, "PUT", "vhosts/other")
    api(guarded, "PUT", "users/alice", {"password": "secret", "tags": ""})
    api(guarded, "PUT", "permissions/other/alice", {"configure": ".*", "write": ".*", "read": ".*"})

    def options(user, password):
        return {
            "bootstrap_servers": guarded.kafka,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }

    admin = KafkaAdminClient(**options("other:alice", "secret"))
    admin.create_topics([NewTopic("theirs", num_partitions=1, replication_factor=1)])
    producer = KafkaProducer(**options("other:alice", "secret"))
    producer.send("theirs", b"x").get(timeout=20)
    consumer = KafkaConsumer("theirs", auto_offset_reset="earliest", group_id="g", **options("other:alice", "secret"))
    assert next(consumer).value == b"x"
    mine = KafkaConsumer(**options("guest", "guest"))
    assert "theirs" in consumer.topics() and "theirs" not in mine.topics()
    for client in (admin, producer, consumer, mine):
        client.close()
    with pytest.raises(Exception):
        KafkaConsumer(**options("alice", "secret"), api_version_auto_timeout_ms=3000).topics()
