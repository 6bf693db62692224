"""confluent-kafka (librdkafka) logs in with every mechanism, and sets credentials itself."""

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from broker import Broker
from conftest import wait_for

pytestmark = pytest.mark.warren


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("guarded"), "--set", "kafka.sasl=true")
    yield broker
    broker.kill()


def options(broker, mechanism="PLAIN", user="guest", password="guest", **more):
    return {
        "bootstrap.servers": broker.kafka,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        **more,
    }


def test_produce_and_consume_by_tls(tmp_path, name):
    certs = tmp_path / "certs"
    secured = ["--dev-tls", str(certs), "--set", "kafka.tls_address=127.0.0.1:0"]
    closed = [f"{door}.tls_address=off" for door in ("amqp", "redis", "admin", "metrics")]
    broker = Broker(tmp_path, *secured, *(word for key in closed for word in ("--set", key)))
    config = {
        "bootstrap.servers": broker.ready["kafka.tls"],
        "security.protocol": "SSL",
        "ssl.ca.location": str(certs / "ca.pem"),
    }
    producer = Producer(config)
    for number in range(100):
        producer.produce(name, b"%d" % number + b"x" * 20_000)
    assert producer.flush(20) == 0
    consumer = Consumer({**config, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([name])
    for number in range(100):
        message = wait_for(lambda: consumer.poll(0.1), seconds=20)
        assert message.value() == b"%d" % number + b"x" * 20_000
    consumer.close()
    broker.kill()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_produce_and_consume_after_a_login(guarded, name, mechanism):
    producer = Producer(options(guarded, mechanism))
    producer.produce(name, b"x")
    assert producer.flush(20) == 0
    reads = {"group.id": name, "auto.offset.reset": "earliest"}
    consumer = Consumer(options(guarded, mechanism, **reads))
    consumer.subscribe([name])
    message = wait_for(lambda: consumer.poll(0.1), seconds=20)
    assert message.value() == b"x"
    consumer.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_refused(guarded, mechanism):
    errors = []
    producer = Producer(options(guarded, mechanism, password="wrong", error_cb=errors.append))

    def refused():
        producer.poll(0.05)
        return [error for error in errors if error.code() == KafkaError._AUTHENTICATION]

    assert "Authentication failed" in wait_for(refused, seconds=20)[0].str()


def test_credentials_are_set_described_and_deleted(guarded, name):
    admin = AdminClient(options(guarded))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 5000)
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, info, b"secret")])[name].result(20)
    described = admin.describe_user_scram_credentials([name])[name].result(20)
    found = [(one.mechanism, one.iterations) for one in described.scram_credential_infos]
    assert found == [(ScramMechanism.SCRAM_SHA_512, 5000)]
    theirs = AdminClient(options(guarded, "SCRAM-SHA-512", name, "secret"))
    assert theirs.list_topics(timeout=20).brokers
    deletion = UserScramCredentialDeletion(name, ScramMechanism.SCRAM_SHA_512)
    admin.alter_user_scram_credentials([deletion])[name].result(20)
    with pytest.raises(Exception, match="does not exist"):
        admin.describe_user_scram_credentials([name])[name].result(20)
