// A device of azure-iot-device, for scripts that want one at the other end.
'use strict';

const { Registry } = require('azure-iothub');
const { SharedAccessSignature, encodeUriComponentStrict } = require('azure-iot-common');
const { ready, newId } = require('./hub');

const registry = Registry.fromConnectionString(ready.connectionString);

const connectionString = ({ deviceId, moduleId, authentication }) =>
  `HostName=${ready.host};DeviceId=${deviceId}${moduleId ? `;ModuleId=${moduleId}` : ''}` +
  `;SharedAccessKey=${authentication.symmetricKey.primaryKey}`;

// The identity of a device that is new.
const newDevice = async () => (await registry.create({ deviceId: newId('node') })).responseBody;

// The identity of a module that is new, of a device that is, too.
async function newModule() {
  const { deviceId } = await newDevice();
  return (await registry.addModule({ deviceId, moduleId: 'bulb' })).responseBody;
}

// What a device shows instead of its key.
function token({ deviceId, moduleId, authentication }, lifetime = 3600) {
  const resource = `${ready.host}/devices/${deviceId}${moduleId ? `/modules/${moduleId}` : ''}`;
  const key = authentication.symmetricKey.primaryKey;
  const expiry = Math.floor(Date.now() / 1000) + lifetime;
  return SharedAccessSignature.create(encodeUriComponentStrict(resource), null, key, expiry).toString();
}

// The same identity with a key that is not its own.
const withWrongKey = (identity) => ({
  ...identity,
  authentication: { symmetricKey: { primaryKey: Buffer.alloc(32, 7).toString('base64') } },
});

module.exports = { registry, connectionString, newDevice, newModule, token, withWrongKey };
