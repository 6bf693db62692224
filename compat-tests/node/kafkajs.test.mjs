// Producing and consuming, with kafkajs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Kafka, Partitioners, logLevel } from 'kafkajs';

const kafka = new Kafka({
  clientId: 'compat',
  brokers: [process.env.KAFKA ?? 'localhost:9092'],
  logLevel: logLevel.NOTHING,
});
const producerOptions = { createPartitioner: Partitioners.DefaultPartitioner };

/** The first `number` records of a topic, read by a new group from the beginning. */
async function read(topic, number, groupId = `group-${randomUUID()}`) {
  const consumer = kafka.consumer({ groupId });
  const got = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  try {
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${got.length} of ${number} records came`)), 30_000);
      consumer.run({
        eachMessage: async ({ message }) => {
          got.push(message);
          if (got.length === number) {
            clearTimeout(late);
            resolve();
          }
        },
      }).catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return got;
}

test('kafkajs hello', async () => {
  const producer = kafka.producer(producerOptions);
  await producer.connect();
  await producer.send({ topic: 'hello-node', messages: [{ key: 'k', value: 'Hello Kafka', headers: { h: 'v' } }] });
  await producer.disconnect();
  const [message] = await read('hello-node', 1);
  assert.equal(message.value.toString(), 'Hello Kafka');
  assert.equal(message.key.toString(), 'k');
  assert.equal(message.headers.h.toString(), 'v');
});

test('kafkajs many records in order', async () => {
  const topic = `many-${randomUUID()}`;
  const producer = kafka.producer({ ...producerOptions, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = Array.from({ length: 500 }, (_, i) => ({ value: String(i) }));
  await producer.send({ topic, messages, acks: -1 });
  await producer.disconnect();
  const got = await read(topic, 500);
  assert.deepEqual(got.map((message) => message.value.toString()), messages.map((message) => message.value));
  assert.deepEqual(got.map((message) => Number(message.offset)), messages.map((_, i) => i));
});

test('kafkajs admin', async () => {
  const topic = `admin-${randomUUID()}`;
  const admin = kafka.admin();
  await admin.connect();
  assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true }), true);
  assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false);
  const { topics: [metadata] } = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(metadata.partitions.length, 3);
  assert.ok((await admin.listTopics()).includes(topic));
  assert.deepEqual((await admin.fetchTopicOffsets(topic)).map(({ high, low }) => [high, low]), Array(3).fill(['0', '0']));
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
});

test('kafkajs gzip and a group that goes on', async () => {
  const topic = `gzip-${randomUUID()}`;
  const { CompressionTypes } = await import('kafkajs').then((module) => module.default);
  const producer = kafka.producer(producerOptions);
  await producer.connect();
  await producer.send({ topic, compression: CompressionTypes.GZIP, messages: [{ value: 'one' }, { value: 'two' }] });
  const groupId = `group-${randomUUID()}`;
  assert.equal((await read(topic, 2, groupId)).length, 2);
  await producer.send({ topic, messages: [{ value: 'three' }] });
  await producer.disconnect();
  const [third] = await read(topic, 1, groupId);
  assert.equal(third.value.toString(), 'three');
});

for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
  test(`kafkajs logs in with ${mechanism}`, { skip: !process.env.KAFKA_GUARDED }, async () => {
    const options = { clientId: 'compat', brokers: [process.env.KAFKA_GUARDED], logLevel: logLevel.NOTHING };
    const as = (username, password) => new Kafka({ ...options, retry: { retries: 0 }, sasl: { mechanism, username, password } });
    const admin = as('guest', 'guest').admin();
    await admin.connect();
    assert.ok(await admin.createTopics({ topics: [{ topic: `sasl-${mechanism}` }], waitForLeaders: true }));
    await admin.disconnect();
    await assert.rejects(as('guest', 'wrong').admin().connect(), /Authentication failed/);
  });
}
