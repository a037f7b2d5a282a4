// azure-iothub settles feedback and file notifications, and stops listening; the journal says what the hub heard.
'use strict';

const assert = require('assert');
const { Readable } = require('stream');
const { Client } = require('azure-iothub');
const { Amqp } = require('azure-iothub/dist/amqp.js');
const { AmqpWs } = require('azure-iothub/dist/amqp_ws.js');
const { Message } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { ready, newId, check, finish } = require('./hub');
const { connectionString, newDevice } = require('./device');
const management = require('./management');

const transports = { amqp: ['amqp', Amqp], 'amqp-ws': ['amqpWebSocket', AmqpWs] };

// What receivers hear of: how it comes about, by a device over HTTPS, and by what it is known.
const kinds = {
  feedback: {
    receiver: 'getFeedbackReceiver',
    async happens(client) {
      const identity = await newDevice();
      const message = new Message('on');
      Object.assign(message, { messageId: newId('message'), ack: 'full' });
      await client.send(identity.deviceId, message);
      const lamp = device.Client.fromConnectionString(connectionString(identity), Http);
      await lamp.setTransportOptions({ interval: 1, manualPolling: false });
      await lamp.open();
      await new Promise((resolve, reject) => {
        lamp.on('message', (received) => lamp.complete(received).then(resolve, reject));
      });
      lamp.removeAllListeners('message');
      await lamp.close();
      // The hub collects for a quarter of a minute.
      await management.advance('16s');
      return message.messageId;
    },
    told: (message) => JSON.parse(message.getData()).map((record) => record.originalMessageId),
  },
  filenotifications: {
    receiver: 'getFileNotificationReceiver',
    async happens() {
      const identity = await newDevice();
      const camera = device.Client.fromConnectionString(connectionString(identity), Http);
      await camera.open();
      await camera.uploadToBlob('whole.txt', Readable.from([Buffer.from('hello')]), 5);
      await camera.close();
      return `${identity.deviceId}/whole.txt`;
    },
    told: (message) => [JSON.parse(message.getData()).blobName],
  },
};

// A client and its receiver, with what comes next at that.
async function listening(transport, kind) {
  const client = Client.fromConnectionString(ready.connectionString, transport);
  await client.open();
  const receiver = await new Promise((resolve, reject) => {
    client[kind.receiver]((error, found) => (error ? reject(error) : resolve(found)));
  });
  const [come, awaited] = [[], []];
  receiver.on('message', (message) => (awaited.length ? awaited.shift()(message) : come.push(message)));
  const next = async () => come.shift() ?? new Promise((resolve) => awaited.push(resolve));
  return { client, receiver, next, come };
}

async function settles([door, transport], name) {
  const kind = kinds[name];
  const { client, receiver, next, come } = await listening(transport, kind);
  const since = await management.now();
  const told = async (what) => {
    const message = await next();
    assert.deepStrictEqual(kind.told(message), [what]);
    return message;
  };
  for (const settle of ['complete', 'abandon', 'reject']) {
    const what = await kind.happens(client);
    await receiver[settle](await told(what));
  }
  const address = `/messages/servicebound/${name}`;
  const isOurs = ({ type, event }) => type === 'amqp' && event.type === 'settled' && event.address.toLowerCase() === address;
  const settled = await management.events(since, 3, isOurs);
  // The SDK accepts what it hands out before anybody can settle it, and the hub takes the first word.
  assert.deepStrictEqual(settled.map((event) => [event.door, event.event.outcome]), Array(3).fill([door, 'accepted']));

  // Who has stopped listening is told no more, and the next one is told all.
  await receiver.detach();
  const third = await kind.happens(client);
  await client.close();
  const later = await listening(transport, kind);
  const message = await later.next();
  assert.deepStrictEqual([kind.told(message), come], [[third], []]);
  await later.receiver.complete(message);
  later.receiver.forceDetach();
  await later.client.close();
}

async function main() {
  for (const [name, transport] of Object.entries(transports)) {
    for (const kind of Object.keys(kinds)) {
      await check(`${kind}, ${name}: completes, abandons, rejects, and stops listening`, () => settles(transport, kind));
    }
  }
  finish();
}

main();
