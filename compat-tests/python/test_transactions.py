"""tx: publishes and acks wait for the commit; a rollback leaves no trace."""

import pytest
from conftest import bodies, count, refused


@pytest.fixture
def tx(connection):
    channel = connection.channel()
    channel.tx_select()
    return channel


def test_publishes_appear_at_commit_and_not_before(tx, channel, queue):
    tx.basic_publish("", queue, b"0")
    tx.basic_publish("", queue, b"1")
    assert count(channel, queue) == 0
    tx.tx_commit()
    assert bodies(channel, queue) == [b"0", b"1"]


def test_a_rollback_discards_publishes(tx, channel, queue):
    tx.basic_publish("", queue, b"0")
    tx.tx_rollback()
    tx.tx_commit()
    assert count(channel, queue) == 0


def test_acks_count_at_commit_and_a_rollback_takes_them_back(tx, channel, queue):
    channel.confirm_delivery()
    for body in (b"0", b"1"):
        channel.basic_publish("", queue, body)
    tags = [tx.basic_get(queue)[0].delivery_tag for _ in range(2)]
    tx.basic_ack(tags[0])
    tx.tx_rollback()
    tx.basic_ack(tags[0])
    tx.tx_commit()
    tx.basic_ack(tags[1])
    tx.close()
    # The second ack was never committed.
    assert bodies(channel, queue) == [b"1"]


def test_tx_and_confirm_exclude_each_other(connection, tx):
    text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
    refused(tx, 406, text, tx.confirm_delivery)
    channel = connection.channel()
    channel.confirm_delivery()
    refused(channel, 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", channel.tx_select)


@pytest.mark.parametrize("method", ["tx_commit", "tx_rollback"])
def test_without_select_there_is_no_transaction(channel, method):
    refused(channel, 406, "PRECONDITION_FAILED - channel is not transactional", getattr(channel, method))
