// A device of azure-iot-device, for scripts that want one at the other end.
'use strict';

const { Registry } = require('azure-iothub');
const { SharedAccessSignature, encodeUriComponentStrict } = require('azure-iot-common');
const { ready, newId, selfSigned, signed } = require('./hub');

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

const certificates = { selfSigned, certificateAuthority: signed };

// A device that is new and shows who it is with a certificate, with its connection string. By `type` the hub knows it: by its
// thumbprint, or by the authority that it is of.
async function newCertifiedDevice(type) {
  const deviceId = newId('node');
  const { cert, key, thumbprint } = certificates[type](deviceId);
  const x509Thumbprint = type === 'selfSigned' ? { primaryThumbprint: thumbprint } : undefined;
  await registry.create({ deviceId, authentication: { type, x509Thumbprint } });
  return { deviceId, cert, key, text: `HostName=${ready.host};DeviceId=${deviceId};x509=true` };
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

module.exports = { registry, connectionString, newDevice, newModule, newCertifiedDevice, token, withWrongKey };
