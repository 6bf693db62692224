"""Logging in over the Kafka door: SASL PLAIN and SCRAM with the users of the AMQP door, in both ways that clients do it."""

import base64
import hashlib
import hmac

import pytest

from broker import Broker
from conftest import wait_for
from kafka_wire import Closed, Connection
from test_permissions import api

pytestmark = pytest.mark.warren

FAILED = 58
MECHANISMS = ["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256"]
INVALID = "Authentication failed during authentication due to invalid credentials with SASL mechanism"
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
    assert answer == {"ErrorCode": 33, "Mechanisms": MECHANISMS}
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
        (b"guest", f"{INVALID} PLAIN"),
    ],
)
def test_a_login_is_refused_in_kafkas_words_and_the_connection_closed(connect, given, text):
    client = connect()
    assert client.call("SaslHandshake", 1, Mechanism="PLAIN") == {"ErrorCode": 0, "Mechanisms": MECHANISMS}
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
        text = "Cannot change principals during re-authentication from User.alice: User.guest"
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


class Scram:
    """A client's side of RFC 5802."""

    def __init__(self, mechanism, user, password):
        self.hash, self.password = "sha" + mechanism[-3:], password.encode()
        self.bare = f"n={user},r=rOprNGfwEbeRWgbNEkqO"
        self.first = b"n,," + self.bare.encode()

    def mac(self, key, message):
        return hmac.new(key, message, self.hash).digest()

    def last(self, challenge, rest="c=biws,r={r}"):
        parts = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(parts["s"]), int(parts["i"]))
        rest = rest.format(**parts)
        signed = f"{self.bare},{challenge.decode()},{rest}".encode()
        key = self.mac(salted, b"Client Key")
        signature = self.mac(hashlib.new(self.hash, key).digest(), signed)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature)))
        self.signature = b"v=" + base64.b64encode(self.mac(self.mac(salted, b"Server Key"), signed))
        return f"{rest},p=".encode() + proof


def scram(client, mechanism, user, password, first=None, rest="c=biws,r={r}"):
    """Code and text of the last answer of a login; when it is good, the server has proven itself too."""
    exchange = Scram(mechanism, user, password)
    client.call("SaslHandshake", 1, Mechanism=mechanism)
    answer = client.call("SaslAuthenticate", 2, AuthBytes=first or exchange.first)
    if answer["ErrorCode"] == 0:
        answer = client.call("SaslAuthenticate", 2, AuthBytes=exchange.last(answer["AuthBytes"], rest))
        assert answer["AuthBytes"] == (b"" if answer["ErrorCode"] else exchange.signature)
    return answer["ErrorCode"], answer["ErrorMessage"]


@pytest.mark.parametrize("mechanism", MECHANISMS[1:])
def test_scram_is_spoken_as_kafka_speaks_it(connect, mechanism):
    other = "Authentication failed: Client requested an authorization id that is different from username"
    invalid = (FAILED, f"{INVALID} {mechanism}")
    client = connect()
    assert scram(client, mechanism, "guest", "guest")[0] == 0
    assert client.call("Metadata", 12, Topics=None)["Brokers"]
    for first, expected in [
        (b"n,a=guest,n=guest,r=rOprNGfwEbeRWgbNEkqO", 0),
        (b"n,a=other,n=guest,r=rOprNGfwEbeRWgbNEkqO", (FAILED, other)),
        (b"n,,n=guest,r=rOprNGfwEbeRWgbNEkqO,tokenauth=true", invalid),
        (b"n,,n=guest,r=rOprNGfwEbeRWgbNEkqO,tokenauth=false", invalid),
        (b"n,,m=x,n=guest,r=rOprNGfwEbeRWgbNEkqO", 0),
        (b"y,,n=guest,r=rOprNGfwEbeRWgbNEkqO", invalid),
        (b"junk", invalid),
    ]:
        answer = scram(connect(), mechanism, "guest", "guest", first)
        assert answer == expected or answer[0] == expected, first
    for user, password in [("guest", "wrong"), ("nobody", "guest"), ("nowhere:guest", "guest")]:
        refused = connect()
        assert scram(refused, mechanism, user, password) == invalid
        with pytest.raises(Closed):
            refused.call("ApiVersions", 0)
    for rest, expected in [("c=eSws,r={r}", 0), ("c=biws,r={r}x", FAILED), ("c=biws,r={r},x=y", FAILED), ("junk", FAILED)]:
        assert scram(connect(), mechanism, "guest", "guest", rest=rest)[0] == expected, rest


def test_scram_in_bare_tokens(connect):
    client, exchange = connect(), Scram("SCRAM-SHA-512", "guest", "guest")

    def bare(given):
        client.socket.sendall(len(given).to_bytes(4, "big") + given)
        return client.frame()

    client.call("SaslHandshake", 0, Mechanism="SCRAM-SHA-512")
    assert bare(exchange.last(bare(exchange.first))) == exchange.signature
    assert client.call("Metadata", 12, Topics=None)["Brokers"]


def test_credentials_come_with_a_password_in_clear_and_outlive_a_kill(guarded):
    def logs_in(user, password):
        client = Connection(guarded.kafka)
        try:
            return [scram(client, "SCRAM-SHA-256", user, password)[0], client][0] == 0
        finally:
            client.close()

    def setting(user, **more):
        api(guarded, "PUT", f"users/{user}", {"tags": "", **more})
        api(guarded, "PUT", f"permissions/%2F/{user}", {"configure": ".*", "write": ".*", "read": ".*"})

    setting("alice", password="secret")
    row = {"password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"}
    setting("hashed", **row)
    setting("changed", password="one")
    setting("changed", password="two")
    setting("gone", password="secret")
    setting("gone", **row)
    guarded.restart()
    found = {user: logs_in(user, p) for user, p in [("alice", "secret"), ("hashed", "test12"), ("gone", "test12")]}
    assert found == {"alice": True, "hashed": False, "gone": False}
    assert logs_in("changed", "two") and not logs_in("changed", "one")
    assert logs_in("guest", "guest")
    # The same hash again, as definitions bring it at every start, takes nothing away.
    hashed = api(guarded, "GET", "users/alice")[1]["password_hash"]
    setting("alice", password_hash=hashed)
    assert logs_in("alice", "secret")


def test_only_administrators_may_set_credentials(guarded, connect):
    api(guarded, "PUT", "users/alice", {"password": "secret", "tags": "management"})
    api(guarded, "PUT", "permissions/%2F/alice", {"configure": ".*", "write": ".*", "read": ".*"})
    salted = hashlib.pbkdf2_hmac("sha256", b"new", b"salt", 4096)
    wanted = {"Mechanism": 1, "Iterations": 4096, "Salt": b"salt", "SaltedPassword": salted}

    def alter(client, name):
        answer = client.call("AlterUserScramCredentials", 0, Upsertions=[{"Name": name, **wanted}])
        return [(one["User"], one["ErrorCode"]) for one in answer["Results"]]

    client = connect()
    assert scram(client, "SCRAM-SHA-256", "alice", "secret")[0] == 0
    assert alter(client, "guest") == [("guest", 31)]
    assert client.call("DescribeUserScramCredentials", 0, Users=None)["ErrorCode"] == 31
    client = connect()
    assert scram(client, "SCRAM-SHA-256", "guest", "guest")[0] == 0
    api(guarded, "PUT", "vhosts/other")
    assert alter(client, "nowhere:new") == [("nowhere:new", 93)]
    assert alter(client, "other:new") == [("other:new", 0)]
    assert alter(client, "alice") == [("alice", 0)]
    assert scram(connect(), "SCRAM-SHA-256", "other:new", "new")[0] == 0
    assert scram(connect(), "SCRAM-SHA-256", "new", "new")[0] == FAILED, "not in this vhost"
    assert scram(connect(), "SCRAM-SHA-256", "alice", "new")[0] == 0
    assert scram(connect(), "SCRAM-SHA-512", "alice", "secret")[0] == 0, "the other mechanism is as it was"


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_user_sees_the_vhost_that_its_name_says(guarded, mechanism):
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic

    api(guarded, "PUT", "vhosts/other")
    api(guarded, "PUT", "users/alice", {"password": "secret", "tags": ""})
    api(guarded, "PUT", "permissions/other/alice", {"configure": ".*", "write": ".*", "read": ".*"})

    def options(user, password):
        return {
            "bootstrap_servers": guarded.kafka,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
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
