// The services that devices meet: Microsoft's SDK, and the clients of this workspace. Each sends a message and resolves with
// what the hub says became of it, and invokes a method.
'use strict';

const { Client } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const { ready } = require('./hub');
const { Peer } = require('./peer');

class Sdk {
  static async start() {
    const service = new Sdk();
    await service.client.open();
    // A client has one receiver of feedback.
    const feedback = await new Promise((resolve, reject) => {
      service.client.getFeedbackReceiver((error, found) => (error ? reject(error) : resolve(found)));
    });
    feedback.on('errorReceived', (error) => service.fates.forEach(({ reject }) => reject(error)));
    feedback.on('message', async (batch) => {
      await feedback.complete(batch);
      for (const record of JSON.parse(batch.getData())) service.fates.get(record.originalMessageId)?.resolve(record.statusCode);
    });
    return service;
  }

  constructor() {
    this.client = Client.fromConnectionString(ready.connectionString);
    this.fates = new Map();
    this.notOnline = (error) => error.response?.headers['iothub-errorcode'] === 'DeviceNotOnline';
  }

  async send(deviceId, { messageId, body, properties = {} }) {
    const message = new Message(body);
    Object.assign(message, { messageId, ack: 'full' });
    for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
    const fate = new Promise((resolve, reject) => this.fates.set(messageId, { resolve, reject }));
    await this.client.send(deviceId, message);
    return fate;
  }

  async invoke(deviceId, moduleId, methodName, payload, connectTimeoutInSeconds = 15) {
    const call = { methodName, payload, responseTimeoutInSeconds: 30, connectTimeoutInSeconds };
    const answer = moduleId
      ? await this.client.invokeDeviceMethod(deviceId, moduleId, call)
      : await this.client.invokeDeviceMethod(deviceId, call);
    return answer.result;
  }

  close() {
    return this.client.close();
  }
}

class Ours {
  static async start() {
    return new Ours();
  }

  constructor() {
    this.peer = new Peer();
    this.notOnline = { code: 'DeviceNotOnline' };
  }

  async send(deviceId, message) {
    await this.peer.call('send', { to: deviceId, ack: 'full', ...message });
    return this.peer.call('feedback', { messageId: message.messageId });
  }

  invoke(deviceId, moduleId, method, payload, connectTimeout = 15) {
    const to = moduleId ? `${deviceId}/${moduleId}` : deviceId;
    return this.peer.call('invoke', { to, method, payload, connectTimeout });
  }

  close() {
    this.peer.close();
  }
}

// Runs checks against each. The hub gives feedback to one of those who wait for it, so that there is one at a time.
async function withEach(body) {
  for (const [name, service] of Object.entries({ 'azure-iothub': Sdk, iothub: Ours })) {
    const started = await service.start();
    await body(name, started);
    await started.close();
  }
}

module.exports = { withEach };
