"""TLS on every door but ZeroMQ's, with certificates that the broker makes for tests."""

import json
import os
import pathlib
import socket
import ssl
import subprocess
import urllib.parse
import urllib.request

import pika
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer

from broker import DOORS, Broker

pytestmark = pytest.mark.warren

WITH_TLS = [door for door in DOORS if door != "zmq"]


def start(tmp_path, *options):
    options = ["--dev-tls", str(tmp_path / "certs"), *options]
    for door in WITH_TLS:
        options += ["--set", f"{door}.tls_address=127.0.0.1:0"]
    return Broker(tmp_path, *options)


@pytest.fixture
def broker(tmp_path):
    broker = start(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def strict(tmp_path):
    """Asks every client for a certificate."""
    broker = start(tmp_path, "--set", "tls.client_auth=required", "--set", "kafka.sasl=true")
    yield broker
    broker.kill()


def certificate(broker, name):
    return str(broker.directory / "certs" / name)


def context(broker, shows=False):
    made = ssl.create_default_context(cafile=certificate(broker, "ca.pem"))
    if shows:
        made.load_cert_chain(certificate(broker, "client.pem"), certificate(broker, "client.key"))
    return made


def address(broker, door):
    host, port = broker.ready[f"{door}.tls"].rsplit(":", 1)
    return host, int(port)


def amqp(broker, tls, **options):
    host, port = address(broker, "amqp")
    secured = pika.SSLOptions(tls, "localhost")
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, ssl_options=secured, socket_timeout=10, **options))


def call(broker, method, path, tls, body=None):
    host, port = address(broker, "admin")
    request = urllib.request.Request(f"https://{host}:{port}{path}", body and json.dumps(body).encode(), method=method)
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
        return json.loads(answer.read() or b"null")


def get(broker, path, tls):
    return call(broker, "GET", path, tls)


def make_user(broker, user):
    """One that can do everything in /, and whose password nobody uses."""
    tls, user = context(broker), urllib.parse.quote(user, safe="")
    call(broker, "PUT", f"/api/users/{user}", tls, {"password": "unused", "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    call(broker, "PUT", f"/api/permissions/%2F/{user}", tls, everything)


def warren(broker, *words, ca="ca.pem", door="admin.tls", scheme="https", host="localhost"):
    """The command line against the admin door; gives its exit code and what it says."""
    port = broker.ready[door].rsplit(":", 1)[1]
    command = [os.environ["WARREN_BIN"], *words, "--url", f"{scheme}://{host}:{port}"]
    command += ["--cacert", certificate(broker, ca)] if ca else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pika_publishes_and_consumes(broker, name, version):
    tls = context(broker)
    tls.minimum_version = tls.maximum_version = version
    connection = amqp(broker, tls)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(name, durable=True)
    bodies = [b"", b"x", b"y" * 300_000]
    for body in bodies:
        channel.basic_publish("", name, body, pika.BasicProperties(delivery_mode=2))
    got = [channel.basic_get(name, auto_ack=True)[2] for _ in bodies]
    assert got == bodies

    (row,) = get(broker, "/api/connections", tls)
    agreed = {ssl.TLSVersion.TLSv1_2: ("tlsv1.2", "ecdhe_ecdsa"), ssl.TLSVersion.TLSv1_3: ("tlsv1.3", "any")}[version]
    assert (row["ssl"], row["ssl_protocol"], row["ssl_key_exchange"]) == (True, *agreed)
    assert (row["ssl_cipher"], row["ssl_hash"]) == ("aes_256_gcm", "aead")
    assert row["peer_cert_subject"] is None
    connection.close()


def test_a_deep_consumer_that_reads_slowly_gets_everything(broker, name):
    """More than the kernel and the session hold, each way: nothing may be stuck in either."""
    connection = amqp(broker, context(broker))
    channel = connection.channel()
    channel.queue_declare(name)
    for number in range(2_000):
        channel.basic_publish("", name, number.to_bytes(4, "big") * 2_500)
    seen = 0
    for method, _, body in channel.consume(name, inactivity_timeout=20):
        assert method is not None and body[:4] == seen.to_bytes(4, "big")
        channel.basic_ack(method.delivery_tag)
        seen += 1
        if seen == 2_000:
            break
    connection.close()


def test_kafka_python_produces_and_consumes(broker, name):
    host, port = address(broker, "kafka")
    options = {
        "bootstrap_servers": f"{host}:{port}",
        "security_protocol": "SSL",
        "ssl_cafile": certificate(broker, "ca.pem"),
    }
    producer = KafkaProducer(**options)
    sent = producer.send(name, b"x" * 500_000).get(20)
    producer.close()
    consumer = KafkaConsumer(name, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **options)
    record = next(consumer)
    assert (record.offset, len(record.value)) == (sent.offset, 500_000)
    # Metadata names the address that the client came by.
    assert {(node.host, node.port) for node in consumer._client.cluster.brokers()} == {(host, port)}
    consumer.close()


def test_redis_and_metrics(broker):
    host, port = address(broker, "redis")
    client = redis.Redis(host, port, ssl=True, ssl_ca_certs=certificate(broker, "ca.pem"))
    assert client.lpush("l", "x" * 200_000) == 1
    assert len(client.rpop("l")) == 200_000
    host, port = address(broker, "metrics")
    with urllib.request.urlopen(f"https://{host}:{port}/metrics", timeout=10, context=context(broker)) as page:
        assert b"rabbitmq_connections" in page.read()
    protocols = {row["protocol"] for row in get(broker, "/api/overview", context(broker))["listeners"]}
    assert {"amqp", "amqp/ssl", "http", "https", "https/prometheus"} <= protocols


def test_who_shows_no_certificate_is_refused_where_one_is_required(strict, name):
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        amqp(strict, context(strict))
    connection = amqp(strict, context(strict, shows=True))
    (row,) = get(strict, "/api/connections", context(strict, shows=True))
    assert (row["peer_cert_subject"], row["peer_cert_issuer"]) == ("CN=client", "CN=Warren development CA")
    connection.close()

    host, port = address(strict, "kafka")
    producer = KafkaProducer(
        bootstrap_servers=f"{host}:{port}",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_plain_username="guest",
        sasl_plain_password="guest",
        ssl_cafile=certificate(strict, "ca.pem"),
        ssl_certfile=certificate(strict, "client.pem"),
        ssl_keyfile=certificate(strict, "client.key"),
    )
    assert producer.send(name, b"x").get(20).offset == 0
    producer.close()


def test_an_unknown_authority_is_the_clients_to_refuse(broker):
    with pytest.raises(ssl.SSLCertVerificationError):
        amqp(broker, ssl.create_default_context())
    # The door goes on for others.
    amqp(broker, context(broker)).close()


def test_who_speaks_no_tls_is_let_go(broker):
    for door in WITH_TLS:
        with socket.create_connection(address(broker, door), timeout=10) as plain:
            plain.sendall(b"AMQP\x00\x00\x09\x01")
            said = b""
            try:
                while part := plain.recv(1_000):
                    said += part
            except ConnectionResetError:
                pass
            # An alert of TLS at the most.
            assert said[:1] in (b"", b"\x15"), (door, said)


def test_certificates_are_kept_and_connections_live_through_new_ones(broker):
    connection = amqp(broker, context(broker))
    ca = open(certificate(broker, "ca.pem")).read()
    broker.restart()
    assert open(certificate(broker, "ca.pem")).read() == ca
    with pytest.raises(pika.exceptions.AMQPError):
        connection.channel()
    amqp(broker, context(broker)).close()


def test_the_command_line_speaks_tls_and_says_what_is_wrong(broker):
    assert warren(broker, "sql", "list") == (0, "")
    wrong = [
        ({"ca": "client.pem"}, "UnknownIssuer: nobody who is believed has signed it; name its authority's with --cacert"),
        ({"host": "0.0.0.0"}, "use a name in the URL that it is for"),
        ({"scheme": "http", "ca": None}, "no HTTP is spoken there; is it https://?"),
        ({"door": "admin"}, "no TLS is spoken there; is it http://?"),
        ({"ca": "none.pem"}, "none.pem: no certificates in PEM"),
    ]
    for options, expected in wrong:
        code, said = warren(broker, "sql", "list", **options)
        assert code != 0 and expected in said, (options, said)


def test_the_command_line_shows_its_certificate(strict):
    code, said = warren(strict, "sql", "list")
    assert code == 1 and "the server wants a certificate; give it with --cert and --key" in said, said
    shown = ["--cert", certificate(strict, "client.pem"), "--key", certificate(strict, "client.key")]
    assert warren(strict, "sql", "list", *shown) == (0, "")
    ctl = [pathlib.Path(os.environ["WARREN_BIN"]).with_name("rabbitmqctl"), "-q", "list_vhosts", *shown]
    where = {"WARREN_URL": f"https://localhost:{address(strict, 'admin')[1]}", "WARREN_CACERT": certificate(strict, "ca.pem")}
    done = subprocess.run(ctl, capture_output=True, text=True, timeout=30, env=os.environ | where)
    assert (done.returncode, done.stdout) == (0, "name\n/\n"), done.stderr


@pytest.mark.parametrize("login_from, user", [("distinguished_name", "CN=client"), ("common_name", "client")])
def test_pika_logs_in_by_its_certificate(tmp_path, name, login_from, user):
    asked = ["--set", "tls.client_auth=requested", "--set", f"amqp.ssl_cert_login_from={login_from}"]
    broker = start(tmp_path, *asked)
    external = {"credentials": pika.credentials.ExternalCredentials()}
    refused = "Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile."
    try:
        # No user has that name yet; and then the client shows no certificate.
        for shows in (True, False):
            with pytest.raises(pika.exceptions.ProbableAuthenticationError) as error:
                amqp(broker, context(broker, shows), **external)
            assert f"(403) 'ACCESS_REFUSED - {refused}'" in str(error.value)
            make_user(broker, user)
        connection = amqp(broker, context(broker, shows=True), **external)
        channel = connection.channel()
        channel.queue_declare(name, exclusive=True)
        (row,) = get(broker, "/api/connections", context(broker))
        assert (row["user"], row["auth_mechanism"]) == (user, "EXTERNAL")
        connection.close()
        # A password is as good as before.
        amqp(broker, context(broker, shows=True)).close()
        # Without TLS the mechanism is not offered.
        host, port = broker.ready["amqp"].rsplit(":", 1)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(pika.ConnectionParameters(host, int(port), **external))
    finally:
        broker.kill()
