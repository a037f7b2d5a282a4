// azure-iot-device uploads files into Azurite, the storage emulator of Microsoft, and this workspace's service hears of them.
'use strict';

const assert = require('assert');
const { spawnSync } = require('child_process');
const path = require('path');
const { Readable } = require('stream');
const { BlockBlobClient } = require('@azure/storage-blob');
const { NoRetry } = require('azure-iot-common');
const device = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');
const { Http } = require('azure-iot-device-http');
const { Mqtt } = require('azure-iot-device-mqtt');
const { azurite } = require('./azurite');
const { ready, check, finish } = require('./hub');
const { connectionString, newDevice } = require('./device');
const { Peer } = require('./peer');

const transports = { amqp: Amqp, http: Http, mqtt: Mqtt };
const peer = new Peer();

// Devices dial storage by HTTPS, so Azurite gets a certificate from the root that everybody here trusts.
function certificate() {
  const folder = path.dirname(ready.caFile);
  const [certificate, certificateKey] = ['azurite.pem', 'azurite.key'].map((name) => path.join(folder, name));
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=azurite'];
  const extensions = ['-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const authority = ['-CA', ready.caFile, '-CAkey', path.join(folder, 'ca.key')];
  const made = spawnSync('openssl', [...request, ...extensions, ...authority, '-keyout', certificateKey, '-out', certificate]);
  assert.strictEqual(made.status, 0, String(made.stderr));
  return { certificate, certificateKey };
}

async function files(container, transport) {
  const identity = await newDevice();
  const camera = device.Client.fromConnectionString(connectionString(identity), transport);
  camera.setRetryPolicy(new NoRetry());
  await camera.open();
  await camera.uploadToBlob('dir/whole file.txt', Readable.from([Buffer.from('hello')]), 5);
  const whole = `${identity.deviceId}/dir/whole file.txt`;
  assert.strictEqual(await peer.call('uploaded', { blob: whole }), 5);
  assert.strictEqual((await container.getBlobClient(whole).downloadToBuffer()).toString(), 'hello');

  const place = await camera.getBlobSharedAccessSignature('parts.txt');
  assert.strictEqual(`https://${place.hostName}/${place.containerName}`, container.url);
  const url = `https://${place.hostName}/${place.containerName}/${place.blobName}${place.sasToken}`;
  // Nothing is there yet, and the signature is for this blob alone.
  await assert.rejects(camera.notifyBlobUploadStatus(place.correlationId, true, 201, 'uploaded'));
  const other = new BlockBlobClient(url.replace('parts.txt', 'other.txt'));
  await assert.rejects(other.upload('x', 1), (error) => error.statusCode === 403);

  const again = await camera.getBlobSharedAccessSignature('parts.txt');
  const target = `https://${again.hostName}/${again.containerName}/${again.blobName}${again.sasToken}`;
  const response = await new BlockBlobClient(target).upload('hello again', 11);
  await camera.notifyBlobUploadStatus(again.correlationId, true, response._response.status, 'uploaded');
  assert.strictEqual(await peer.call('uploaded', { blob: again.blobName }), 11);
  await camera.close();
}

async function main() {
  const service = await azurite({ port: 10000, ...certificate() });
  const container = service.getContainerClient('device-uploads');
  await container.create();
  for (const [name, transport] of Object.entries(transports)) {
    await check(`device, ${name}: uploads files into Azurite, and the service hears of it`, () => files(container, transport));
  }
  peer.close();
  finish();
}

main();
