// What the broker promises, through amqplib: confirms, dead letters, priorities, replies, streams, errors.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import amqp from 'amqplib';
import callbacks from 'amqplib/callback_api.js';

const url = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/';
const PATIENCE_MS = 15_000;

/** Runs a body with a connection and a channel of either kind, named queues included. */
async function withChannel(kind, body) {
  const connection = await amqp.connect(url, { timeout: PATIENCE_MS });
  connection.on('error', () => {});
  try {
    const channel = await connection[kind]();
    channel.on('error', () => {});
    await body(channel, connection, `node-${randomUUID()}`);
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Fails instead of waiting for ever. */
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} never came`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Consumes, and gives the next deliveries one by one. */
async function subscribe(channel, queue, options = {}) {
  const waiting = [];
  const ready = [];
  const { consumerTag } = await channel.consume(queue, (message) => {
    if (waiting.length) waiting.shift()(message);
    else ready.push(message);
  }, options);
  const next = () => soon(ready.length ? Promise.resolve(ready.shift()) : new Promise((resolve) => waiting.push(resolve)), 'a delivery');
  return { next, consumerTag, ready };
}

const declare = async (channel, queue, args = {}) => (await channel.assertQueue(queue, { exclusive: true, arguments: args })).queue;
const text = (message) => message.content.toString();

test('amqplib confirms one by one, in bulk, and refuses', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const queue = await declare(channel, name, { 'x-max-length': 500, 'x-overflow': 'reject-publish' });
  const outcomes = await Promise.all(Array.from({ length: 600 }, (_, i) => new Promise((resolve) => {
    channel.sendToQueue(queue, Buffer.from(String(i)), { persistent: true }, (error) => resolve(error === null));
  })));
  assert.equal(outcomes.filter(Boolean).length, 500);
  assert.ok(outcomes.slice(0, 500).every(Boolean), 'the first 500 fit');
  await assert.rejects(async () => {
    channel.sendToQueue(queue, Buffer.from('one more'));
    await channel.waitForConfirms();
  });
}));

test('amqplib rejects, nacks and expires into a dead letter queue', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const dead = await declare(channel, `${name}-dead`);
  const work = await declare(channel, `${name}-work`, { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead });
  const workers = await subscribe(channel, work);
  const letters = await subscribe(channel, dead, { noAck: true });
  channel.sendToQueue(work, Buffer.from('rejected'));
  channel.reject(await workers.next(), false);
  channel.sendToQueue(work, Buffer.from('nacked'));
  channel.nack(await workers.next(), false, false);
  await channel.cancel(workers.consumerTag);
  channel.sendToQueue(work, Buffer.from('expired'), { expiration: 50 });
  for (const [body, reason] of [['rejected', 'rejected'], ['nacked', 'rejected'], ['expired', 'expired']]) {
    const letter = await letters.next();
    const [death] = letter.properties.headers['x-death'];
    assert.equal(text(letter), body);
    assert.deepEqual([death.reason, death.queue, death.count, death['routing-keys']], [reason, work, 1, [work]]);
    assert.equal(letter.properties.headers['x-first-death-reason'], reason);
    assert.equal(letter.properties.expiration, undefined);
  }
}));

test('amqplib options of queues become their arguments', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const dead = await declare(channel, `${name}-dead`);
  const options = { exclusive: true, messageTtl: 60_000, expires: 60_000, deadLetterExchange: '', deadLetterRoutingKey: dead, maxLength: 2, maxPriority: 5 };
  await channel.assertQueue(name, options);
  await channel.assertQueue(name, options);
  for (let i = 0; i < 3; i++) channel.sendToQueue(name, Buffer.from(String(i)), { priority: i });
  await channel.waitForConfirms();
  const letters = await subscribe(channel, dead, { noAck: true });
  const letter = await letters.next();
  // The head of a priority queue is its highest priority, and that is what overflows.
  assert.deepEqual([text(letter), letter.properties.headers['x-death'][0].reason], ['2', 'maxlen']);
  assert.equal(text(await channel.get(name, { noAck: true })), '1');
}));

test('amqplib priorities of messages', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const queue = await declare(channel, name, { 'x-max-priority': 10 });
  for (const priority of [1, 9, 4, 9, 0]) channel.sendToQueue(queue, Buffer.from(String(priority)), { priority });
  await channel.waitForConfirms();
  const messages = await subscribe(channel, queue, { noAck: true });
  const got = [];
  for (let i = 0; i < 5; i++) got.push(text(await messages.next()));
  assert.deepEqual(got, ['9', '9', '4', '1', '0']);
}));

test('amqplib priorities of consumers', () => withChannel('createChannel', async (channel, _, name) => {
  const queue = await declare(channel, name);
  const low = await subscribe(channel, queue, { noAck: true, priority: 1 });
  const high = await subscribe(channel, queue, { noAck: true, priority: 10 });
  for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from('x'));
  for (let i = 0; i < 5; i++) await high.next();
  assert.equal(low.ready.length, 0);
}));

test('amqplib calls over direct reply-to', () => withChannel('createChannel', async (channel, connection, name) => {
  const queue = await declare(channel, name);
  await channel.consume(queue, (call) => {
    channel.sendToQueue(call.properties.replyTo, Buffer.from(text(call).toUpperCase()), { correlationId: call.properties.correlationId });
  }, { noAck: true });
  const client = await connection.createChannel();
  const replies = await subscribe(client, 'amq.rabbitmq.reply-to', { noAck: true });
  for (let i = 0; i < 5; i++) {
    client.sendToQueue(queue, Buffer.from('call'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: String(i) });
    const reply = await replies.next();
    assert.deepEqual([text(reply), reply.properties.correlationId], ['CALL', String(i)]);
  }
}));

test('amqplib direct reply-to needs noAck and a consumer', () => withChannel('createChannel', async (channel, connection) => {
  await assert.rejects(channel.consume('amq.rabbitmq.reply-to', () => {}), /PRECONDITION_FAILED - reply consumer cannot acknowledge/);
  const other = await connection.createChannel();
  const error = once(other, 'error');
  other.sendToQueue('anything', Buffer.from('x'), { replyTo: 'amq.rabbitmq.reply-to' });
  const [reason] = await soon(error, 'the refusal');
  assert.match(reason.message, /PRECONDITION_FAILED - fast reply consumer does not exist/);
}));

test('amqplib exchanges of every type, bound to each other', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const exchange = (kind, options = {}) => channel.assertExchange(`${name}-${kind}`, kind, { durable: false, autoDelete: true, ...options });
  for (const kind of ['fanout', 'topic', 'headers']) await exchange(kind);
  await exchange('direct', { alternateExchange: `${name}-fanout` });
  await channel.bindExchange(`${name}-headers`, `${name}-topic`, 'to.headers');
  const queues = {};
  for (const [kind, key, args] of [['fanout', '', {}], ['direct', 'key', {}], ['topic', 'a.*.#', {}], ['headers', '', { 'x-match': 'any', n: 1 }]]) {
    queues[kind] = await declare(channel, `${name}-${kind}`);
    await channel.bindQueue(queues[kind], `${name}-${kind}`, key, args);
  }
  channel.publish(`${name}-direct`, 'key', Buffer.from('direct'));
  channel.publish(`${name}-direct`, 'other', Buffer.from('alternate'));
  channel.publish(`${name}-topic`, 'a.b', Buffer.from('topic'));
  channel.publish(`${name}-topic`, 'to.headers', Buffer.from('headers'), { headers: { n: 1 } });
  channel.publish(`${name}-topic`, 'to.headers', Buffer.from('nowhere'), { headers: { n: 2 } });
  await channel.waitForConfirms();
  for (const [kind, expected] of Object.entries({ fanout: ['alternate'], direct: ['direct'], topic: ['topic'], headers: ['headers'] })) {
    const got = [];
    for (let message; (message = await channel.get(queues[kind], { noAck: true }));) got.push(text(message));
    assert.deepEqual(got, expected, kind);
  }
}));

test('amqplib CC and BCC', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  for (const part of ['to', 'cc', 'bcc']) await declare(channel, `${name}-${part}`);
  channel.sendToQueue(`${name}-to`, Buffer.from('x'), { CC: [`${name}-cc`], BCC: [`${name}-bcc`] });
  await channel.waitForConfirms();
  for (const part of ['to', 'cc', 'bcc']) {
    const { properties: { headers } } = await channel.get(`${name}-${part}`, { noAck: true });
    assert.deepEqual([headers.CC, headers.BCC], [[`${name}-cc`], undefined]);
  }
}));

test('amqplib prefetch per consumer and per channel', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const queue = await declare(channel, name);
  await channel.prefetch(3, false);
  for (let i = 0; i < 10; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  await channel.waitForConfirms();
  const messages = await subscribe(channel, queue);
  const held = [await messages.next(), await messages.next(), await messages.next()];
  assert.equal((await channel.checkQueue(queue)).messageCount, 7);
  channel.ack(held[1], true);
  assert.deepEqual([text(await messages.next()), text(await messages.next())], ['3', '4']);
  channel.nackAll(true);
  assert.equal((await messages.next()).fields.redelivered, true);
}));

test('amqplib a consumer is told when its queue goes', () => withChannel('createChannel', async (channel, connection, name) => {
  const queue = await declare(channel, name);
  const messages = await subscribe(channel, queue);
  await (await connection.createChannel()).deleteQueue(queue);
  assert.equal(await messages.next(), null);
}));

test('amqplib a quorum queue and its delivery limit', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  const dead = await declare(channel, `${name}-dead`);
  const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 1, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead };
  await channel.assertQueue(name, { durable: true, arguments: args });
  try {
    channel.sendToQueue(name, Buffer.from('x'), { persistent: true });
    await channel.waitForConfirms();
    const messages = await subscribe(channel, name);
    for (let i = 0; i < 2; i++) channel.nack(await messages.next(), false, true);
    const letter = await (await subscribe(channel, dead, { noAck: true })).next();
    assert.equal(letter.properties.headers['x-death'][0].reason, 'delivery_limit');
  } finally {
    await channel.deleteQueue(name);
  }
}));

test('amqplib a stream from an offset', () => withChannel('createConfirmChannel', async (channel, _, name) => {
  await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': 'stream' } });
  try {
    for (let i = 0; i < 5; i++) channel.sendToQueue(name, Buffer.from(String(i)));
    await channel.waitForConfirms();
    await channel.prefetch(10);
    const messages = await subscribe(channel, name, { arguments: { 'x-stream-offset': 2 } });
    for (const expected of ['2', '3', '4']) {
      const message = await messages.next();
      assert.deepEqual([text(message), message.properties.headers['x-stream-offset']], [expected, Number(expected)]);
      channel.ack(message);
    }
  } finally {
    await channel.deleteQueue(name);
  }
}));

test('amqplib channel errors with code, text and method', async () => {
  const name = `node-${randomUUID()}`;
  const rows = [
    [404, `NOT_FOUND - no queue '${name}' in vhost '/'`, 50, 10, (channel) => channel.checkQueue(name)],
    [404, `NOT_FOUND - no exchange '${name}' in vhost '/'`, 40, 10, (channel) => channel.checkExchange(name)],
    [404, `NOT_FOUND - no queue '${name}' in vhost '/'`, 60, 20, (channel) => channel.consume(name, () => {})],
    [403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", 50, 10, (channel) => channel.assertQueue('amq.mine')],
    [406, "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/': received 'false' but current is 'true'", 40, 10,
      (channel) => channel.assertExchange('amq.topic', 'topic', { durable: false })],
  ];
  await withChannel('createChannel', async (_, connection) => {
    for (const [code, reason, classId, methodId, action] of rows) {
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      await assert.rejects(action(channel), (error) => {
        assert.equal(error.code, code);
        assert.ok(error.message.includes(reason), `${error.message} instead of ${reason}`);
        assert.deepEqual([error.classId, error.methodId], [classId, methodId]);
        return true;
      });
    }
  });
});

test('amqplib refuses a wrong password and a missing vhost', async () => {
  const wrong = new URL(url);
  wrong.password = 'wrong';
  await assert.rejects(amqp.connect(wrong.href), /ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN/);
  const elsewhere = new URL(url);
  elsewhere.pathname = '/missing';
  await assert.rejects(amqp.connect(elsewhere.href), /ConnectionClose/);
});

test('amqplib heartbeats keep an idle connection', async () => {
  const connection = await amqp.connect(`${url}?heartbeat=1`);
  let failed;
  connection.on('error', (error) => { failed = error; });
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  assert.equal(failed, undefined);
  await (await connection.createChannel()).assertQueue('', { exclusive: true });
  await connection.close();
});

test('amqplib with callbacks', async () => {
  const call = (object, method, ...args) => soon(new Promise((resolve, reject) => {
    object[method](...args, (error, value) => (error ? reject(error) : resolve(value)));
  }), method);
  const connection = await call(callbacks, 'connect', url);
  const channel = await call(connection, 'createConfirmChannel');
  const { queue } = await call(channel, 'assertQueue', '', { exclusive: true });
  await call(channel, 'publish', '', queue, Buffer.from('x'), {});
  const message = await call(channel, 'get', queue, {});
  assert.equal(text(message), 'x');
  channel.ack(message);
  assert.equal((await call(channel, 'purgeQueue', queue)).messageCount, 0);
  await call(connection, 'close');
});

// The runner gives a rabbitmqctl; by hand the test is left out.
test('amqplib is told that it is blocked and free again', { skip: !process.env.RABBITMQCTL }, () => withChannel('createConfirmChannel', async (channel, connection, name) => {
  const ctl = (...args) => execFileSync(process.env.RABBITMQCTL, args, { stdio: 'pipe' });
  const queue = await declare(channel, name);
  const blocked = once(connection, 'blocked');
  const unblocked = once(connection, 'unblocked');
  ctl('set_vm_memory_high_watermark', '0.00001');
  try {
    channel.sendToQueue(queue, Buffer.from('held'));
    assert.deepEqual(await soon(blocked, 'connection.blocked'), ['low on memory']);
  } finally {
    ctl('set_vm_memory_high_watermark', '0.6');
  }
  await soon(unblocked, 'connection.unblocked');
  await soon(channel.waitForConfirms(), 'the confirm of what was held');
}));
