// @azure/event-hubs reads from the built-in endpoint what azure-iot-device sent.
'use strict';

const assert = require('assert');
const WebSocket = require('ws');
const { AzureNamedKeyCredential, AzureSASCredential } = require('@azure/core-auth');
const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');
const { Registry } = require('azure-iothub');
const { Message, SharedAccessSignature, encodeUriComponentStrict } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');
const { Http } = require('azure-iot-device-http');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ready, newId, check, finish } = require('./hub');
const management = require('./management');

const registry = Registry.fromConnectionString(ready.connectionString);
const once = { retryOptions: { maxRetries: 0 } };
const consumer = (options) =>
  new EventHubConsumerClient('$Default', ready.eventHubConnectionString, { ...once, ...options });
const inWebSocket = { webSocketOptions: { webSocket: WebSocket } };
const fields = Object.fromEntries(ready.eventHubConnectionString.split(';').map((field) => field.split(/=(.*)/s)));

// A device that has sent this.
async function sender(transport) {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const key = identity.authentication.symmetricKey.primaryKey;
  const text = `HostName=${ready.host};DeviceId=${identity.deviceId};SharedAccessKey=${key}`;
  const client = device.Client.fromConnectionString(text, transport);
  await client.open();
  const send = (body, properties = {}) => {
    const message = new Message(body);
    message.messageId = newId('message');
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    Object.entries(properties).forEach(([name, value]) => message.properties.add(name, value));
    return client.sendEvent(message);
  };
  return { deviceId: identity.deviceId, client, send };
}

// Reads until there are so many events of a device.
function read(client, deviceId, count, options, ...partition) {
  const events = [];
  return new Promise((resolve, reject) => {
    const subscription = client.subscribe(
      ...partition,
      {
        processEvents: async (batch) => {
          events.push(...batch.filter((event) => event.systemProperties['iothub-connection-device-id'] === deviceId));
          if (events.length >= count) {
            await subscription.close();
            resolve(events);
          }
        },
        processError: async (error) => reject(error),
      },
      { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, ...options },
    );
  });
}

async function everything(options, door) {
  const client = consumer(options);
  const since = await management.now();
  for (const transport of [Amqp, Http]) {
    const { deviceId, client: sending, send } = await sender(transport);
    await send('{"temperature":21.5}', { level: 'high' });
    if (transport === Http) await sending.sendEventBatch(['{"n":1}', '{"n":2}'].map((text) => new Message(text)));
    else for (const n of [1, 2]) await send(JSON.stringify({ n }));
    const events = await read(client, deviceId, 3);
    const [first] = events;
    assert.deepStrictEqual(first.body, { temperature: 21.5 });
    assert.deepStrictEqual(first.properties, { level: 'high' });
    assert.strictEqual(first.contentType, 'application/json');
    assert.strictEqual(first.partitionKey, deviceId);
    assert.strictEqual(first.systemProperties['iothub-message-source'], 'Telemetry');
    const method = JSON.parse(first.systemProperties['iothub-connection-auth-method']);
    assert.deepStrictEqual([method.scope, method.type, method.issuer], ['device', 'sas', 'iothub']);
    assert.ok(Math.abs(Date.now() - first.enqueuedTimeUtc.getTime()) < 60_000);
    const numbers = events.map((event) => event.sequenceNumber);
    assert.deepStrictEqual(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 2]);
    await sending.close();
  }
  await client.close();
  await management.events(since, 1, (event) => event.type === 'amqp' && event.door === door && readsEvents(event.event));
}

const readsEvents = ({ type, address }) => type === 'attached' && address.includes('/ConsumerGroups/');

async function partitions() {
  const client = consumer();
  const hub = await client.getEventHubProperties();
  assert.deepStrictEqual(hub.partitionIds, ['0', '1', '2', '3']);
  assert.ok(ready.eventHubConnectionString.endsWith(`EntityPath=${hub.name}`));
  const held = await Promise.all(hub.partitionIds.map((id) => client.getPartitionProperties(id)));
  const counts = held.map((one) => (one.isEmpty ? 0 : one.lastEnqueuedSequenceNumber - one.beginningSequenceNumber + 1));
  assert.ok(counts.reduce((sum, count) => sum + count, 0) >= 6, JSON.stringify(counts));
  await assert.rejects(client.getPartitionProperties('99'));
  await client.close();
}

async function positions() {
  const { deviceId, send } = await sender(Amqp);
  for (const n of [1, 2, 3]) await send(JSON.stringify({ n }));
  const client = consumer();
  const all = await read(client, deviceId, 3);
  const partition = (await partitionOf(client, deviceId)).toString();
  const after = async (startPosition, count) => {
    const events = await read(client, deviceId, count, { startPosition }, partition);
    return events.map((event) => event.body.n);
  };
  assert.deepStrictEqual(await after({ offset: all[0].offset }, 2), [2, 3]);
  assert.deepStrictEqual(await after({ offset: all[0].offset, isInclusive: true }, 3), [1, 2, 3]);
  assert.deepStrictEqual(await after({ sequenceNumber: all[1].sequenceNumber }, 1), [3]);
  assert.deepStrictEqual(await after({ sequenceNumber: all[1].sequenceNumber, isInclusive: true }, 2), [2, 3]);
  assert.deepStrictEqual(await after({ enqueuedOn: new Date(all[0].enqueuedTimeUtc.getTime() - 1) }, 3), [1, 2, 3]);

  // From now on: what was sent before does not come. Sent until it is read, because attaching takes its time.
  const next = read(client, deviceId, 1, { startPosition: latestEventPosition }, partition);
  const timer = setInterval(() => send('{"n":4}').catch(() => {}), 200);
  assert.strictEqual((await next)[0].body.n, 4);
  clearInterval(timer);
  await client.close();
}

// The partition that a device's events are in.
async function partitionOf(client, deviceId) {
  for (const id of await client.getPartitionIds()) {
    const found = await new Promise((resolve, reject) => {
      const subscription = client.subscribe(
        id,
        {
          processEvents: async (batch) => {
            const own = batch.some((event) => event.systemProperties['iothub-connection-device-id'] === deviceId);
            if (own || batch.length === 0) {
              await subscription.close();
              resolve(own);
            }
          },
          processError: async (error) => reject(error),
        },
        { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 },
      );
    });
    if (found) return id;
  }
  throw new Error(`no partition has events of ${deviceId}`);
}

// Each event goes with what the last one of the partition is, for who tracks that.
async function lastEnqueued() {
  const { deviceId, client: sending, send } = await sender(Amqp);
  for (const n of [1, 2, 3]) await send(JSON.stringify({ n }));
  await sending.close();
  const client = consumer();
  const [events, said] = [[], []];
  await new Promise((resolve, reject) => {
    const subscription = client.subscribe(
      {
        processEvents: async (batch, { lastEnqueuedEventProperties }) => {
          const own = batch.filter((event) => event.systemProperties['iothub-connection-device-id'] === deviceId);
          events.push(...own);
          if (own.length > 0) said.push({ ...lastEnqueuedEventProperties });
          if (events.length < 3) return;
          await subscription.close();
          resolve();
        },
        processError: async (error) => reject(error),
      },
      { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, trackLastEnqueuedEventProperties: true },
    );
  });
  await client.close();
  const last = events[2];
  for (const { sequenceNumber, offset, enqueuedOn, retrievedOn } of said) {
    assert.deepStrictEqual([sequenceNumber, offset], [last.sequenceNumber, last.offset]);
    assert.strictEqual(enqueuedOn.getTime(), last.enqueuedTimeUtc.getTime());
    assert.ok(retrievedOn >= enqueuedOn);
  }
}

async function ownership() {
  const [first, second] = [consumer(), consumer()];
  const ended = new Promise((resolve) => {
    first.subscribe(
      '0',
      { processEvents: async () => {}, processError: async (error) => resolve(error) },
      { startPosition: earliestEventPosition, ownerLevel: 1, maxWaitTimeInSeconds: 1 },
    );
  });
  // Not before the first reads.
  await first.getPartitionProperties('0');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const subscription = second.subscribe(
    '0',
    { processEvents: async () => {}, processError: async () => {} },
    { startPosition: earliestEventPosition, ownerLevel: 2, maxWaitTimeInSeconds: 1 },
  );
  const error = await ended;
  assert.strictEqual(error.code, 'ReceiverDisconnectedError', error);
  await subscription.close();
  await Promise.all([first.close(), second.close()]);
}

async function security() {
  const client = consumer();
  for (const transport of [Amqp, Http, Mqtt]) {
    const { deviceId, client: sending } = await sender(transport);
    const message = new Message('{}');
    message.setAsSecurityMessage();
    await sending.sendEvent(message);
    const [event] = await read(client, deviceId, 1);
    assert.strictEqual(event.systemProperties['iothub-interface-id'], 'urn:azureiot:Security:SecurityAgent:1');
    await sending.close();
  }
  await client.close();
}

// Where consumers have come to, in memory.
class Checkpoints {
  constructor() {
    this.owned = new Map();
    this.reached = new Map();
  }

  async listOwnership() {
    return [...this.owned.values()];
  }

  async claimOwnership(wanted) {
    const claimed = wanted.filter(({ partitionId, etag }) => this.owned.get(partitionId)?.etag === etag);
    const renewed = claimed.map((one) => ({ ...one, etag: newId('etag'), lastModifiedTimeInMs: Date.now() }));
    renewed.forEach((one) => this.owned.set(one.partitionId, one));
    return renewed;
  }

  async updateCheckpoint(checkpoint) {
    this.reached.set(checkpoint.partitionId, checkpoint);
  }

  async listCheckpoints() {
    return [...this.reached.values()];
  }
}

// Who comes later goes on behind the event that the one before had come to, though it would read all.
async function checkpoints() {
  const { deviceId, client: sending, send } = await sender(Amqp);
  for (const n of [1, 2, 3]) await send(JSON.stringify({ n }));
  const store = new Checkpoints();
  const reads = async (last) => {
    const options = { ...once, loadBalancingOptions: { strategy: 'greedy', updateIntervalInMs: 500 } };
    const client = new EventHubConsumerClient('$Default', ready.eventHubConnectionString, store, options);
    const seen = [];
    await new Promise((resolve, reject) => {
      client.subscribe(
        {
          processEvents: async (batch, context) => {
            for (const event of batch) {
              if (event.systemProperties['iothub-connection-device-id'] !== deviceId) continue;
              seen.push(event.body.n);
              if (event.body.n === 2) await context.updateCheckpoint(event);
              if (event.body.n === last) resolve();
            }
          },
          processError: async (error) => reject(error),
        },
        { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 },
      );
    });
    await client.close();
    return seen;
  };
  assert.deepStrictEqual(await reads(3), [1, 2, 3]);
  await send('{"n":4}');
  assert.deepStrictEqual(await reads(4), [3, 4]);
  await sending.close();
}

// Event Hubs sign with the text of a key, where hubs sign with the bytes that it stands for.
const signature = (key) => {
  const resource = encodeUriComponentStrict(`sb://${ready.host}/${fields.EntityPath}`);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const bytes = Buffer.from(key).toString('base64');
  return SharedAccessSignature.create(resource, fields.SharedAccessKeyName, bytes, expiry).toString();
};
const wrongKey = Buffer.alloc(32, 7).toString('base64');
const credentials = {
  'the name of a key': (key) => new AzureNamedKeyCredential(fields.SharedAccessKeyName, key),
  'a signature': (key) => new AzureSASCredential(signature(key)),
};

async function signsIn(make) {
  const { deviceId, client: sending, send } = await sender(Amqp);
  await send('{"n":1}');
  await sending.close();
  const connect = (key) => new EventHubConsumerClient('$Default', ready.host, fields.EntityPath, make(key), once);
  const client = connect(fields.SharedAccessKey);
  assert.deepStrictEqual((await read(client, deviceId, 1))[0].body, { n: 1 });
  await client.close();
  const stranger = connect(wrongKey);
  await assert.rejects(stranger.getPartitionIds(), { code: 'UnauthorizedError' });
  await stranger.close();
}

async function main() {
  await check('event hubs: everything that devices sent, over AMQP and HTTPS', () => everything({}, 'amqp'));
  await check('event hubs, amqp-ws: everything that devices sent', () => everything(inWebSocket, 'amqpWebSocket'));
  await check('event hubs: what partitions there are and what they hold', partitions);
  await check('event hubs: from an offset, a number, a time, and from now on', positions);
  await check('event hubs: the last enqueued event', lastEnqueued);
  await check('event hubs: a higher owner level takes over', ownership);
  await check('event hubs: messages of security agents', security);
  await check('event hubs: goes on at a checkpoint', checkpoints);
  for (const [name, make] of Object.entries(credentials)) {
    await check(`event hubs: signs in with ${name}`, () => signsIn(make));
  }
  finish();
}

main();
