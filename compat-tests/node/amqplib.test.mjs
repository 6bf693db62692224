// The tutorial and everyday use, with amqplib.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import amqp from 'amqplib';

const url = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/';

async function withChannel(kind, body) {
  const connection = await amqp.connect(url);
  try {
    const channel = await connection[kind]();
    channel.on('error', () => {});
    await body(channel, connection);
  } finally {
    await connection.close();
  }
}

/** The first `number` deliveries of a consumer. */
function take(channel, queue, number, options = { noAck: true }) {
  return new Promise((resolve, reject) => {
    const got = [];
    const late = setTimeout(() => reject(new Error(`${got.length} of ${number} messages came`)), 10_000);
    channel.consume(queue, (message) => {
      if (message === null) return reject(new Error('the consumer was cancelled'));
      got.push(message);
      if (got.length === number) {
        clearTimeout(late);
        resolve(got);
      }
    }, options).catch(reject);
  });
}

test('amqplib hello', () => withChannel('createChannel', async (channel) => {
  const queue = 'hello';
  await channel.assertQueue(queue, { durable: false });
  channel.sendToQueue(queue, Buffer.from('Hello World!'));
  const [message] = await take(channel, queue, 1);
  assert.equal(message.content.toString(), 'Hello World!');
}));

test('amqplib work queue', () => withChannel('createConfirmChannel', async (channel) => {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.prefetch(2);
  for (let i = 0; i < 20; i++) channel.sendToQueue(queue, Buffer.from(String(i)), { persistent: true });
  await channel.waitForConfirms();
  const got = [];
  await new Promise((resolve) => channel.consume(queue, (message) => {
    got.push(message.content.toString());
    channel.ack(message);
    if (got.length === 20) resolve();
  }));
  assert.deepEqual(got, Array.from({ length: 20 }, (_, i) => String(i)));
}));

test('amqplib topic exchange, properties and headers', () => withChannel('createChannel', async (channel) => {
  await channel.assertExchange('node-logs', 'topic', { durable: false, autoDelete: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'node-logs', 'a.#');
  const headers = { text: 't', number: 7, flag: true, list: [1, 'x'], table: { deep: 'yes' } };
  const late = take(channel, queue, 1);
  channel.publish('node-logs', 'b.c', Buffer.from('not this'));
  channel.publish('node-logs', 'a.b.c', Buffer.from('this'), { headers, correlationId: 'c', contentType: 'text/plain' });
  const [message] = await late;
  assert.equal(message.content.toString(), 'this');
  assert.equal(message.fields.routingKey, 'a.b.c');
  assert.deepEqual(message.properties.headers, headers);
  assert.equal(message.properties.correlationId, 'c');
}));

test('amqplib returns, gets and purges', () => withChannel('createConfirmChannel', async (channel) => {
  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.publish('', 'no-such-queue-node', Buffer.from('lost'), { mandatory: true });
  const message = await returned;
  assert.equal(message.fields.replyText, 'NO_ROUTE');
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  await channel.waitForConfirms();
  const first = await channel.get(queue);
  assert.equal(first.content.toString(), '0');
  channel.nack(first, false, true);
  assert.equal((await channel.purgeQueue(queue)).messageCount, 3);
  assert.equal(await channel.get(queue), false);
}));

test('amqplib errors name the reason', async () => {
  const connection = await amqp.connect(url);
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await assert.rejects(channel.checkQueue('missing-node'), (error) => {
      assert.equal(error.code, 404);
      assert.match(error.message, /NOT_FOUND - no queue 'missing-node' in vhost '\/'/);
      return true;
    });
  } finally {
    await connection.close();
  }
});
