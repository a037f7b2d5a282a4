// azure-iot-device over HTTPS, with azure-iothub as the service; and files, which every device uploads over HTTPS.
'use strict';

const assert = require('assert');
const { Readable } = require('stream');
const { Client, Registry } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { BlockBlobClient } = require('@azure/storage-blob');
const { ready, newId, check, finish } = require('./hub');

const registry = Registry.fromConnectionString(ready.connectionString);
const service = Client.fromConnectionString(ready.connectionString);

async function connected() {
  const { responseBody: identity } = await registry.create({ deviceId: newId('node') });
  const key = identity.authentication.symmetricKey.primaryKey;
  const text = `HostName=${ready.host};DeviceId=${identity.deviceId};SharedAccessKey=${key}`;
  const client = device.Client.fromConnectionString(text, Http);
  await client.open();
  return { deviceId: identity.deviceId, client };
}

async function telemetry() {
  const { client } = await connected();
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = newId('message');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('level', 'high');
  await client.sendEvent(message);
  await client.sendEventBatch(['one', 'two', 'three'].map((text) => new Message(text)));
  await client.close();
}

async function messages() {
  const { deviceId, client } = await connected();
  await client.setOptions({ http: { receivePolicy: { interval: 1, manualPolling: false } } });
  for (const text of ['complete', 'reject', 'abandon']) {
    const message = new Message(text);
    message.messageId = text;
    message.properties.add('reason', 'test');
    await service.send(deviceId, message);
  }
  const seen = [];
  await new Promise((resolve, reject) => {
    client.on('error', reject);
    client.on('message', async (message) => {
      try {
        const text = message.getData().toString();
        assert.strictEqual(message.messageId, text);
        seen.push(text);
        if (text === 'reject') await client.reject(message);
        else if (text === 'abandon' && seen.filter((one) => one === text).length === 1) await client.abandon(message);
        else await client.complete(message);
        if (seen.length === 4) resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  client.removeAllListeners('message');
  assert.deepStrictEqual(seen.sort(), ['abandon', 'abandon', 'complete', 'reject']);
  const { responseBody: identity } = await registry.get(deviceId);
  assert.strictEqual(identity.cloudToDeviceMessageCount, 0);
  await client.close();
}

// Uploads with both ways that the SDK has, while the service waits for the notifications.
async function files() {
  const { deviceId, client } = await connected();
  const notifications = await new Promise((resolve, reject) => {
    service.getFileNotificationReceiver((error, receiver) => (error ? reject(error) : resolve(receiver)));
  });
  const seen = [];
  const notified = new Promise((resolve, reject) => {
    notifications.on('errorReceived', reject);
    notifications.on('message', async (message) => {
      const file = JSON.parse(message.getData());
      if (file.deviceId === deviceId) seen.push([file.blobName, file.blobSizeInBytes]);
      await notifications.complete(message);
      if (seen.length === 2) resolve();
    });
  });

  await client.uploadToBlob('whole.txt', Readable.from([Buffer.from('hello')]), 5);

  const place = await client.getBlobSharedAccessSignature('parts.txt');
  const url = `https://${place.hostName}/${place.containerName}/${place.blobName}${place.sasToken}`;
  const response = await new BlockBlobClient(url).upload('hello again', 11);
  await client.notifyBlobUploadStatus(place.correlationId, true, response._response.status, 'uploaded');

  await notified;
  assert.deepStrictEqual(seen.sort(), [[`${deviceId}/parts.txt`, 11], [`${deviceId}/whole.txt`, 5]]);

  // What went wrong is no news to services, and an upload ends once.
  const failed = await client.getBlobSharedAccessSignature('failed.txt');
  await client.notifyBlobUploadStatus(failed.correlationId, false, 500, 'out of disk');
  await assert.rejects(client.notifyBlobUploadStatus(failed.correlationId, true, 200, 'again'));
  await client.close();
}

async function main() {
  await service.open();
  await check('device, http: sends telemetry, alone and in a batch', telemetry);
  await check('device, http: completes, rejects and abandons messages', messages);
  await check('device, http: uploads files, and the service hears of it', files);
  finish();
}

main();
