// zeromq.js (Node's own binding of libzmq), as its README calls it: each pattern against the broker.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as zmq from 'zeromq';

const url = `tcp://${process.env.ZMQ}`;

async function using(kinds, body) {
  const sockets = kinds.map((Kind) => new Kind({ linger: 0 }));
  try {
    sockets.forEach((socket) => socket.connect(url));
    await body(...sockets);
  } finally {
    sockets.forEach((socket) => socket.close());
  }
}

const text = (parts) => parts.map((part) => part.toString());

test('a request is answered OK', () =>
  using([zmq.Request], async (requester) => {
    for (let n = 0; n < 10; n++) {
      await requester.send(`request ${n}`);
      assert.deepEqual(text(await requester.receive()), ['OK']);
    }
  }));

test('a pipeline keeps order and parts', () =>
  using([zmq.Push, zmq.Pull], async (push, pull) => {
    const messages = Array.from({ length: 1000 }, (_, n) => [`${n}`, '', 'x'.repeat(n)]);
    const sent = (async () => {
      for (const message of messages) await push.send(message);
    })();
    for (const message of messages) assert.deepEqual(text(await pull.receive()), message);
    await sent;
  }));

test('a subscriber hears its topics', () =>
  using([zmq.Publisher, zmq.Subscriber], async (publisher, subscriber) => {
    subscriber.subscribe('node');
    let heard = false;
    const first = subscriber.receive().then((parts) => {
      heard = true;
      return parts;
    });
    // A subscription is on its way for a while.
    while (!heard) {
      await publisher.send(['node.first', '1']);
      await Promise.race([first, new Promise((later) => setTimeout(later, 20))]);
    }
    assert.deepEqual(text(await first), ['node.first', '1']);
    await publisher.send(['other', '2']);
    await publisher.send(['node.last', '3']);
    let parts = await subscriber.receive();
    while (parts[0].toString() === 'node.first') parts = await subscriber.receive();
    assert.deepEqual(text(parts), ['node.last', '3']);
  }));

test('a dealer with PLAIN gets its envelopes back', async () => {
  const dealer = new zmq.Dealer({ linger: 0, plainUsername: 'guest', plainPassword: 'guest' });
  dealer.connect(url);
  for (let n = 0; n < 100; n++) await dealer.send([`${n}`, '', 'request']);
  for (let n = 0; n < 100; n++) assert.deepEqual(text(await dealer.receive()), [`${n}`, '', 'OK']);
  dealer.close();
});
