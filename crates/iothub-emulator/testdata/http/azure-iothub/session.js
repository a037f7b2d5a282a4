// Each call of azure-iothub over HTTPS, a topic at a time: `session.js TOPIC`.
'use strict';

// So that the SDK signs its tokens for the end of the year 2099 and an hour more.
Date.now = () => 4102441200000;

const assert = require('assert');
const { Client, Registry } = require('azure-iothub');

const keys = { primaryKey: 'AAECAwQFBgcICQoLDA0ODw==', secondaryKey: 'EBESExQVFhcYGRobHB0eHw==' };
const hub = `HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=${keys.primaryKey}`;
const sha1 = '0123456789ABCDEF0123456789ABCDEF01234567';
const registry = Registry.fromConnectionString(hub);
const body = async (call) => (await call).responseBody;
const refused = (call, name) => assert.rejects(call, { name });

const topics = {
  async devices() {
    await registry.create({ deviceId: 'lamp' });
    const deviceId = "a%b#?'(c)";
    const created = await body(registry.create({ deviceId, authentication: { symmetricKey: keys } }));
    await registry.update({ ...created, status: 'disabled', statusReason: 'broken' });
    await registry.get(deviceId);
    const x509Thumbprint = { primaryThumbprint: sha1, secondaryThumbprint: sha1 };
    await registry.create({ deviceId: 'pinned', authentication: { x509Thumbprint } });
    const edge = await body(registry.create({ deviceId: 'edge', capabilities: { iotEdge: true } }));
    await registry.create({ deviceId: 'leaf', deviceScope: edge.deviceScope });
    await refused(registry.create({ deviceId: 'lamp' }), 'DeviceAlreadyExistsError');
    assert.strictEqual((await body(registry.list())).length, 5);
    await registry.delete('lamp');
    await refused(registry.get('lamp'), 'DeviceNotFoundError');
    await refused(registry.create({ deviceId: 'no spaces' }), 'ArgumentError');
    await registry.getRegistryStatistics();
  },

  async modules() {
    await registry.create({ deviceId: 'lamp', authentication: { symmetricKey: keys } });
    const created = await body(registry.addModule({ deviceId: 'lamp', moduleId: 'fan' }));
    await registry.updateModule({ ...created, managedBy: 'me' });
    await registry.getModule('lamp', 'fan');
    await registry.getModulesOnDevice('lamp');
    await registry.removeModule('lamp', 'fan');
    await assert.rejects(registry.getModule('lamp', 'fan'));
  },

  async twins() {
    await registry.create({ deviceId: 'lamp', authentication: { symmetricKey: keys } });
    await registry.addModule({ deviceId: 'lamp', moduleId: 'fan' });
    const twin = await body(registry.getTwin('lamp'));
    const change = { tags: { site: { floor: 3 } }, properties: { desired: { fan: { speed: 2.5, on: true } } } };
    await registry.updateTwin('lamp', change, twin.etag);
    await refused(registry.updateTwin('lamp', change, twin.etag), 'InvalidEtagError');
    await registry.getModuleTwin('lamp', 'fan');
    await registry.updateModuleTwin('lamp', 'fan', change, '*');
  },

  async bulk() {
    const authentication = { type: 'sas', symmetricKey: keys };
    const items = ['a', 'b', 'c'].map((deviceId) => ({ deviceId, status: 'enabled', authentication }));
    await registry.addDevices(items);
    await refused(registry.addDevices(items.slice(0, 1)), 'ArgumentError');
    await registry.updateDevices(items.slice(0, 1), true);
    await registry.removeDevices(items.slice(0, 1), true);
    const query = registry.createQuery('SELECT * FROM devices', 1);
    while (query.hasMoreResults) await query.nextAsTwin();
    await registry.createQuery('SELECT COUNT() AS n FROM devices').next();
    await refused(registry.createQuery('SELECT').next(), 'ArgumentError');
  },

  async configurations() {
    await registry.create({ deviceId: 'edge', capabilities: { iotEdge: true } });
    const content = { deviceContent: { 'properties.desired.fan': { speed: 1 } } };
    const configuration = { id: 'c', content, targetCondition: "tags.site = 'x'", priority: 5, labels: { a: 'b' } };
    await registry.addConfiguration({ schemaVersion: '1.0', ...configuration });
    const read = await body(registry.getConfiguration('c'));
    await registry.updateConfiguration({ ...read, priority: 6 });
    await registry.getConfigurations();
    const modulesContent = { $edgeAgent: { 'properties.desired': {} }, $edgeHub: { 'properties.desired': {} } };
    await registry.applyConfigurationContentOnDevice('edge', { modulesContent });
    await registry.removeConfiguration('c');
    await assert.rejects(registry.getConfiguration('c'));
  },

  async methods() {
    await registry.create({ deviceId: 'lamp', authentication: { symmetricKey: keys } });
    const client = Client.fromConnectionString(hub);
    const method = { methodName: 'dim', payload: { to: 3 }, responseTimeoutInSeconds: 5 };
    await assert.rejects(client.invokeDeviceMethod('lamp', method));
    await assert.rejects(client.invokeDeviceMethod('lamp', 'fan', method));
  },
};

topics[process.argv[2]]().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
