// azure-iot-device over HTTPS, which is how every device uploads files; the service is azure-iothub, and then this
// workspace's own.
'use strict';

const assert = require('assert');
const { Readable } = require('stream');
const { Client } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { BlockBlobClient } = require('@azure/storage-blob');
const { ready, newId, check, finish } = require('./hub');
const { registry, connectionString, newDevice, newCertifiedDevice } = require('./device');
const management = require('./management');
const { Peer } = require('./peer');

const client = Client.fromConnectionString(ready.connectionString);
const peer = new Peer();

// Each sends a message, and resolves with the sizes of blobs when it has been told of them.
const services = {
  'azure-iothub': {
    send(deviceId, body) {
      const message = new Message(body);
      Object.assign(message, { messageId: body });
      message.properties.add('reason', 'test');
      return client.send(deviceId, message);
    },
    async uploaded(blobs) {
      const notifications = await new Promise((resolve, reject) => {
        client.getFileNotificationReceiver((error, found) => (error ? reject(error) : resolve(found)));
      });
      const sizes = new Map();
      await new Promise((resolve, reject) => {
        notifications.on('errorReceived', reject);
        notifications.on('message', async (message) => {
          const file = JSON.parse(message.getData());
          sizes.set(file.blobName, file.blobSizeInBytes);
          await notifications.complete(message);
          if (blobs.every((blob) => sizes.has(blob))) resolve();
        });
      });
      // A client has one receiver, and the next one who waits settles what comes then.
      notifications.removeAllListeners('message');
      return blobs.map((blob) => sizes.get(blob));
    },
  },
  iothub: {
    send: (deviceId, body) => peer.call('send', { to: deviceId, messageId: body, body, properties: { reason: 'test' } }),
    uploaded: (blobs) => Promise.all(blobs.map((blob) => peer.call('uploaded', { blob }))),
  },
};

async function connected() {
  const identity = await newDevice();
  const camera = device.Client.fromConnectionString(connectionString(identity), Http);
  await camera.setOptions({ http: { receivePolicy: { interval: 60, manualPolling: false } } });
  await camera.open();
  return { deviceId: identity.deviceId, camera };
}

async function telemetry() {
  const { camera } = await connected();
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = newId('message');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('level', 'high');
  await camera.sendEvent(message);
  await camera.sendEventBatch(['one', 'two', 'three'].map((text) => new Message(text)));
  await camera.close();
}

async function messages(service) {
  const { deviceId, camera } = await connected();
  await camera.setTransportOptions({ interval: 1, manualPolling: false });
  for (const text of ['complete', 'reject', 'abandon']) {
    await service.send(deviceId, text);
  }
  const seen = [];
  await new Promise((resolve, reject) => {
    camera.on('error', reject);
    camera.on('message', async (message) => {
      try {
        const text = message.getData().toString();
        assert.strictEqual(message.messageId, text);
        seen.push(text);
        if (text === 'reject') await camera.reject(message);
        else if (text === 'abandon' && seen.filter((one) => one === text).length === 1) await camera.abandon(message);
        else await camera.complete(message);
        if (seen.length === 4) resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  camera.removeAllListeners('message');
  assert.deepStrictEqual(seen.sort(), ['abandon', 'abandon', 'complete', 'reject']);
  const { responseBody: identity } = await registry.get(deviceId);
  assert.strictEqual(identity.cloudToDeviceMessageCount, 0);
  await camera.close();
}

// Uploads with both ways that the SDK has, while the service waits for the notifications.
async function files(service) {
  const { deviceId, camera } = await connected();
  const names = ['parts.txt', 'whole.txt'].map((name) => `${deviceId}/${name}`);
  const sizes = service.uploaded(names);

  await camera.uploadToBlob('whole.txt', Readable.from([Buffer.from('hello')]), 5);

  const place = await camera.getBlobSharedAccessSignature('parts.txt');
  const url = `https://${place.hostName}/${place.containerName}/${place.blobName}${place.sasToken}`;
  const response = await new BlockBlobClient(url).upload('hello again', 11);
  await camera.notifyBlobUploadStatus(place.correlationId, true, response._response.status, 'uploaded');

  assert.deepStrictEqual(await sizes, [11, 5]);

  // What went wrong is no news to services, and an upload ends once.
  const failed = await camera.getBlobSharedAccessSignature('failed.txt');
  await camera.notifyBlobUploadStatus(failed.correlationId, false, 500, 'out of disk');
  await assert.rejects(camera.notifyBlobUploadStatus(failed.correlationId, true, 200, 'again'));
  await camera.close();
}

// A device that signs in with a certificate sends, receives and uploads.
async function withCertificate(service, type) {
  const { deviceId, cert, key, text } = await newCertifiedDevice(type);
  const camera = device.Client.fromConnectionString(text, Http);
  // Without a policy for receiving the SDK never comes to an end with this.
  await camera.setOptions({ cert, key, http: { receivePolicy: { interval: 1, manualPolling: false } } });
  const since = await management.now();
  await camera.open();
  await camera.sendEvent(new Message('on'));
  await management.events(since, 1, ({ type, source }) => type === 'telemetry' && source === deviceId);
  await service.send(deviceId, 'off');
  const received = await new Promise((resolve, reject) => {
    camera.on('message', (message) => camera.complete(message).then(() => resolve(message), reject));
  });
  camera.removeAllListeners('message');
  assert.strictEqual(received.getData().toString(), 'off');
  assert.strictEqual((await registry.get(deviceId)).responseBody.cloudToDeviceMessageCount, 0);
  const size = service.uploaded([`${deviceId}/whole.txt`]);
  await camera.uploadToBlob('whole.txt', Readable.from([Buffer.from('hello')]), 5);
  assert.deepStrictEqual(await size, [5]);
  await camera.close();
}

const certificates = { 'by thumbprint': 'selfSigned', 'of an authority': 'certificateAuthority' };

async function main() {
  await client.open();
  await check('device, http: sends telemetry, alone and in a batch', telemetry);
  for (const [who, service] of Object.entries(services)) {
    await check(`device, http, service ${who}: completes, rejects and abandons messages`, () => messages(service));
    await check(`device, http, service ${who}: uploads files, and the service hears of it`, () => files(service));
    for (const [what, type] of Object.entries(certificates)) {
      await check(`device, http, service ${who}: signs in with a certificate, ${what}`, () => withCertificate(service, type));
    }
    // A hub tells of each file once: who listens no longer must not be told of what is others'.
    if (who === 'azure-iothub') await client.close();
  }
  peer.close();
  finish();
}

main();
