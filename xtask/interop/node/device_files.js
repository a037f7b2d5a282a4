// azure-iot-device uploads files into the emulator's own storage account beside its connection, and this workspace's service
// hears of them.
'use strict';

const assert = require('assert');
const { Readable } = require('stream');
const { BlockBlobClient } = require('@azure/storage-blob');
const { NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { check, finish } = require('./hub');
const { connectionString, newDevice, newCertifiedDevice } = require('./device');
const { Peer } = require('./peer');

const transports = { amqp: Amqp, 'amqp-ws': AmqpWs, mqtt: Mqtt, 'mqtt-ws': MqttWs };
const peer = new Peer();

// A device, by how it signs in.
const cameras = {
  async key(transport) {
    const identity = await newDevice();
    const camera = device.Client.fromConnectionString(connectionString(identity), transport);
    return { deviceId: identity.deviceId, camera };
  },
  async certificate(transport) {
    const { deviceId, cert, key, text } = await newCertifiedDevice('selfSigned');
    const camera = device.Client.fromConnectionString(text, transport);
    await camera.setOptions({ cert, key });
    return { deviceId, camera };
  },
};

async function files(make, transport) {
  const { deviceId, camera } = await make(transport);
  camera.setRetryPolicy(new NoRetry());
  await camera.open();
  await camera.uploadToBlob('whole.txt', Readable.from([Buffer.from('hello')]), 5);
  assert.strictEqual(await peer.call('uploaded', { blob: `${deviceId}/whole.txt` }), 5);

  const place = await camera.getBlobSharedAccessSignature('parts.txt');
  const url = `https://${place.hostName}/${place.containerName}/${place.blobName}${place.sasToken}`;
  const response = await new BlockBlobClient(url).upload('hello again', 11);
  await camera.notifyBlobUploadStatus(place.correlationId, true, response._response.status, 'uploaded');
  assert.strictEqual(await peer.call('uploaded', { blob: place.blobName }), 11);

  // An upload ends once.
  await assert.rejects(camera.notifyBlobUploadStatus(place.correlationId, true, 200, 'again'));
  await camera.close();
}

async function main() {
  for (const [name, transport] of Object.entries(transports)) {
    for (const [how, make] of Object.entries(cameras)) {
      await check(`device, ${name}, by ${how}: uploads files, and the service hears of it`, () => files(make, transport));
    }
  }
  peer.close();
  finish();
}

main();
