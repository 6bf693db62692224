// ioredis, as its users call it: a task queue, a stream's group, channels, transactions, keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Redis from 'ioredis';

const [host, port] = (process.env.REDIS ?? '127.0.0.1:6379').split(':');
const connect = (options = {}) => new Redis({ host, port: Number(port), connectionName: 'node', ...options });

async function withClient(work) {
  const client = connect();
  try {
    await work(client);
  } finally {
    client.disconnect();
  }
}

test('a worker that waits is served, in order', () => withClient(async client => {
  const worker = connect();
  await client.del('node:tasks');
  const first = worker.brpop('node:tasks', 10);
  await client.lpush('node:tasks', 'one', 'two');
  assert.deepEqual(await first, ['node:tasks', 'one']);
  assert.equal(await worker.blmove('node:tasks', 'node:at-work', 'RIGHT', 'LEFT', 10), 'two');
  assert.equal(await client.lrem('node:at-work', 1, 'two'), 1);
  worker.disconnect();
}));

test('a pipeline is answered in order, and a transaction is whole', () => withClient(async client => {
  const answers = await client.pipeline().set('node:n', 1).incr('node:n').lpush('node:n', 'x').get('node:n').exec();
  assert.deepEqual(answers.map(([error, answer]) => error?.message.split(' ')[0] ?? answer), ['OK', 2, 'WRONGTYPE', '2']);
  assert.deepEqual(await client.multi().incr('node:n').get('node:n').exec(), [[null, 3], [null, '3']]);
  const other = connect();
  await client.watch('node:n');
  await other.set('node:n', 10);
  assert.equal(await client.multi().incr('node:n').exec(), null);
  other.disconnect();
}));

test('a group reads a stream', () => withClient(async client => {
  await client.del('node:stream');
  await client.xgroup('CREATE', 'node:stream', 'workers', '$', 'MKSTREAM');
  for (let n = 0; n < 5; n++) await client.xadd('node:stream', '*', 'n', n);
  const [[, entries]] = await client.xreadgroup('GROUP', 'workers', 'me', 'COUNT', 3, 'STREAMS', 'node:stream', '>');
  assert.deepEqual(entries.map(([, fields]) => fields), [['n', '0'], ['n', '1'], ['n', '2']]);
  assert.equal(await client.xack('node:stream', 'workers', entries[0][0], entries[1][0]), 2);
  assert.equal((await client.xpending('node:stream', 'workers'))[0], 1);
}));

test('channels are heard', () => withClient(async client => {
  const listener = connect();
  await listener.subscribe('node:news');
  const heard = new Promise(resolve => listener.on('message', (...message) => resolve(message)));
  assert.equal(await client.publish('node:news', 'hello'), 1);
  assert.deepEqual(await heard, ['node:news', 'hello']);
  listener.disconnect();
}));

test('keys are walked, and have their time', () => withClient(async client => {
  const names = Array.from({ length: 30 }, (_, n) => `node:walk:${n}`);
  await client.mset(Object.fromEntries(names.map(name => [name, 'x'])));
  const found = [];
  for await (const some of client.scanStream({ match: 'node:walk:*', count: 7 })) found.push(...some);
  assert.deepEqual(found.sort(), names.sort());
  assert.equal(await client.pexpire(names[0], 10_000), 1);
  assert.ok(await client.pttl(names[0]) > 5_000);
  assert.equal(await client.unlink(...names), 30);
}));

test('errors are Redis\' own', () => withClient(async client => {
  await assert.rejects(client.call('nothing', 'x'), /^ReplyError: ERR unknown command 'nothing', with args beginning with: 'x' $/);
  const buffers = await client.callBuffer('echo', Buffer.from([0, 255, 13, 10]));
  assert.deepEqual(buffers, Buffer.from([0, 255, 13, 10]));
}));
