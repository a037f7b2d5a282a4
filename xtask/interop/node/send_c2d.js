// azure-iothub creates a device and sends it messages: SAS and Entra, AMQP and AMQP over WebSocket.
'use strict';

const assert = require('assert');
const { Client, Registry } = require('azure-iothub');
const { Amqp } = require('azure-iothub/dist/amqp.js');
const { AmqpWs } = require('azure-iothub/dist/amqp_ws.js');
const { Message, NoRetry } = require('azure-iot-common');
const { ready, entra, newId, check, finish } = require('./hub');

const transports = { amqp: Amqp, 'amqp-ws': AmqpWs };
const clients = {
  sas: (transport) => ({
    registry: Registry.fromConnectionString(ready.connectionString),
    client: Client.fromConnectionString(ready.connectionString, transport),
  }),
  entra: (transport) => ({
    registry: Registry.fromTokenCredential(ready.host, entra()),
    client: Client.fromTokenCredential(ready.host, entra(), transport),
  }),
};

async function send(auth, transport) {
  const { registry, client } = clients[auth](transports[transport]);
  const deviceId = newId('node');
  const created = (await registry.create({ deviceId })).responseBody;
  assert.strictEqual(created.deviceId, deviceId);
  assert.ok(created.authentication.symmetricKey.primaryKey);

  await client.open();
  const message = new Message('on');
  message.messageId = newId('message');
  message.properties.add('reason', 'test');
  await client.send(deviceId, message);
  await client.send(deviceId, new Message('off'));
  await client.close();

  const read = (await registry.get(deviceId)).responseBody;
  assert.strictEqual(read.cloudToDeviceMessageCount, 2);
  await registry.delete(deviceId);
}

async function sendToNobody() {
  const { client } = clients.sas(Amqp);
  client.setRetryPolicy(new NoRetry());
  await client.open();
  await assert.rejects(client.send(newId('nobody'), new Message('on')), { name: 'DeviceNotFoundError' });
  await client.close();
}

async function main() {
  for (const auth of Object.keys(clients)) {
    for (const transport of Object.keys(transports)) {
      await check(`create device, send C2D, ${auth}, ${transport}`, () => send(auth, transport));
    }
  }
  await check('send C2D to an unknown device is refused', sendToNobody);
  finish();
}

main();
