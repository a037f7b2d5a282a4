// What a device says through azure-iot-device-http, a topic at a time: `session.js TOPIC`.
'use strict';

// So that the SDKs sign their tokens for the end of the year 2099 and an hour more.
Date.now = () => 4102441200000;

const assert = require('assert');
const { Registry } = require('azure-iothub');
const { Client, Message } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');

const keys = { primaryKey: 'AAECAwQFBgcICQoLDA0ODw==', secondaryKey: 'EBESExQVFhcYGRobHB0eHw==' };
const registry = Registry.fromConnectionString(
  `HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=${keys.primaryKey}`,
);
const deviceId = "a%b#?'(c)";

async function connected() {
  await registry.create({ deviceId, authentication: { symmetricKey: keys } });
  const client = Client.fromConnectionString(
    `HostName=localhost;DeviceId=${deviceId};SharedAccessKey=${keys.primaryKey}`, Http,
  );
  await client.open();
  return client;
}

const topics = {
  async telemetry() {
    const client = await connected();
    const message = new Message('{"t":21.5}');
    message.messageId = 'm1';
    message.correlationId = 'c1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('reason', 'test');
    await client.sendEvent(message);
    await client.sendEventBatch([message, new Message('plain')]);
  },

  async messages() {
    const client = await connected();
    const message = new Message('never sent');
    message.lockToken = 'f1f1f1f1-0000-4000-8000-000000000000';
    // Nobody is told that the queue was empty, so the answer is looked at on its way.
    const http = client._transport._http;
    const build = http.buildRequest.bind(http);
    const status = await new Promise((resolve) => {
      http.buildRequest = (...request) => {
        const done = request.pop();
        return build(...request, (error, body, response) => resolve(response.statusCode, done(error, body, response)));
      };
      client._transport.receive();
    });
    http.buildRequest = build;
    assert.strictEqual(status, 204);
    await assert.rejects(client.complete(message));
    await assert.rejects(client.abandon(message));
    await assert.rejects(client.reject(message));
  },

  async files() {
    const client = await connected();
    const place = await client.getBlobSharedAccessSignature('a/b.txt');
    await client.notifyBlobUploadStatus(place.correlationId, false, 500, 'no');
  },
};

topics[process.argv[2]]().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
