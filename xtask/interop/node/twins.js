// azure-iothub reads, patches and replaces twins of devices and modules.
'use strict';

const assert = require('assert');
const { registries, generated, newId, refused, refusedToGenerated, check, finish } = require('./hub');

const body = async (call) => (await call).responseBody;

// The twin of a new device, or of a new module on one: the same checks go for both.
const subjects = {
  async device(registry) {
    const deviceId = newId('node');
    await registry.create({ deviceId });
    return {
      deviceId,
      get: () => body(registry.getTwin(deviceId)),
      update: (patch, etag = '*') => body(registry.updateTwin(deviceId, patch, etag)),
    };
  },
  async module(registry) {
    const deviceId = newId('node');
    await registry.create({ deviceId });
    await registry.addModule({ deviceId, moduleId: 'fan' });
    return {
      deviceId,
      moduleId: 'fan',
      get: () => body(registry.getModuleTwin(deviceId, 'fan')),
      update: (patch, etag = '*') => body(registry.updateModuleTwin(deviceId, 'fan', patch, etag)),
    };
  },
};

// Tags and desired properties without what the hub adds.
function content({ tags, properties: { desired } }) {
  const { $metadata, $version, ...rest } = desired;
  return { tags, desired: rest };
}

async function newTwin(subject) {
  const twin = await subject.get();
  assert.deepStrictEqual([twin.deviceId, twin.moduleId], [subject.deviceId, subject.moduleId]);
  assert.deepStrictEqual(content(twin), { tags: {}, desired: {} });
  const written = twin.toJSON();
  assert.deepStrictEqual([written.deviceId, written.moduleId, content(written)], [twin.deviceId, twin.moduleId, content(twin)]);
  assert.deepStrictEqual([twin.properties.desired.$version, twin.properties.reported.$version], [1, 1]);
  assert.deepStrictEqual([twin.etag, twin.status, twin.connectionState], ['AAAAAAAAAAE=', 'enabled', 'Disconnected']);
}

async function patches(subject) {
  const before = await subject.get();
  const first = { tags: { site: { floor: 3, room: 'A' } }, desired: { fan: { speed: 2, on: true } } };
  const after = await subject.update({ tags: first.tags, properties: { desired: first.desired } });
  assert.deepStrictEqual([content(after), content(await subject.get())], [first, first]);
  assert.deepStrictEqual([after.version, after.properties.desired.$version], [before.version + 1, 2]);
  assert.strictEqual(after.properties.desired.$metadata.fan.speed.$lastUpdatedVersion, 2);

  const steps = [
    [{ tags: { site: { room: null } }, properties: { desired: { fan: { speed: 5 } } } },
      { tags: { site: { floor: 3 } }, desired: { fan: { speed: 5, on: true } } }],
    [{ tags: { site: null } }, { tags: {}, desired: { fan: { speed: 5, on: true } } }],
    [{ properties: { desired: { fan: { on: null } } } }, { tags: {}, desired: { fan: { speed: 5 } } }],
    [{ properties: { desired: { fan: null } } }, { tags: {}, desired: {} }],
  ];
  for (const [patch, expected] of steps) {
    assert.deepStrictEqual(content(await subject.update(patch)), expected);
    assert.deepStrictEqual(content(await subject.get()), expected);
  }
}

async function etags(subject) {
  const first = await subject.get();
  const second = await subject.update({ tags: { a: 1 } }, first.etag);
  assert.notStrictEqual(second.etag, first.etag);
  const late = subject.update({ tags: { a: 2 } }, first.etag);
  await refused(late, 'InvalidEtagError', 412, 'PreconditionFailed');
  assert.deepStrictEqual((await subject.get()).tags, { a: 1 });
  assert.deepStrictEqual((await subject.update({ tags: { a: 3 } }, second.etag)).tags, { a: 3 });
}

// The twin object of the SDK, which remembers its registry and its ETag.
async function twinObject(subject) {
  const [mine, yours] = [await subject.get(), await subject.get()];
  await mine.update({ tags: { a: 1 } });
  assert.deepStrictEqual(mine.tags, { a: 1 });
  await mine.update({ properties: { desired: { b: 2 } } });
  assert.deepStrictEqual(content(mine), { tags: { a: 1 }, desired: { b: 2 } });
  await refused(yours.update({ tags: { a: 9 } }), 'InvalidEtagError', 412, 'PreconditionFailed');
  await yours.get();
  assert.deepStrictEqual([yours.etag, content(yours)], [mine.etag, content(mine)]);
}

// Values that an implementation is likely to change on the way.
async function valuesSurvive(subject) {
  const values = {
    date: '2026-01-02T03:04:05.6789012+02:00',
    midnight: '2026-01-01T00:00:00.000Z',
    text: 'Grüße, 世界 🚀 "quoted" \\ / \t',
    empty: '',
    least: -4503599627370496,
    most: 4503599627370495,
    fraction: 0.1,
    small: 1e-9,
    no: false,
    list: [1, 'two', [3.5, { four: true }], []],
    nothing: {},
  };
  const expected = { tags: values, desired: values };
  assert.deepStrictEqual(content(await subject.update({ tags: values, properties: { desired: values } })), expected);
  assert.deepStrictEqual(content(await subject.get()), expected);
}

async function limits(subject) {
  let deep = {};
  for (let at = 0; at < 12; at += 1) deep = { in: deep };
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`k${at}`, 'x'.repeat(4000)]));
  for (const tags of [{ 'a.b': 1 }, { 'a b': 1 }, { $a: 1 }, { a: 'x'.repeat(4097) }, { a: [null] }, deep, many]) {
    await refused(subject.update({ tags }), 'ArgumentError', 400, 'ArgumentInvalid');
  }
  await refused(subject.update({ properties: { desired: many } }), 'ArgumentError', 400, 'ArgumentInvalid');
  assert.deepStrictEqual(content(await subject.get()), { tags: {}, desired: {} });
}

async function strangers(registry) {
  const deviceId = newId('node');
  const notFound = ['DeviceNotFoundError', 404, 'DeviceNotFound'];
  await refused(registry.getTwin(deviceId), ...notFound);
  await refused(registry.updateTwin(deviceId, { tags: { a: 1 } }, '*'), ...notFound);
  await registry.create({ deviceId });
  // The hub's own name for a missing module's twin is that of a missing device.
  await refused(registry.getModuleTwin(deviceId, 'none'), ...notFound);
}

async function throughTheGenerated(client) {
  const deviceId = newId('generated');
  await client.createDeviceWithSas(deviceId, '', '', true);
  await client.createModuleWithSas(deviceId, 'fan', '', '', '');
  const patched = await client.updateTwin(deviceId, { tags: { a: 1, b: { c: 2 } } }, '*');
  assert.deepStrictEqual(patched.tags, { a: 1, b: { c: 2 } });
  await refusedToGenerated(client.updateTwin(deviceId, { tags: { a: 2 } }, '"c3RhbGU="'), 412, 'PreconditionFailed');
  const replaced = await client.replaceTwin(deviceId, { tags: { x: 1 }, properties: { desired: { y: 2 } } });
  assert.deepStrictEqual(content(replaced), { tags: { x: 1 }, desired: { y: 2 } });
  assert.deepStrictEqual(content(await client.getTwin(deviceId)), content(replaced));

  await client.updateModuleTwin(deviceId, 'fan', { tags: { a: 1 } }, '*');
  await client.replaceModuleTwin(deviceId, 'fan', { tags: { m: 1 } });
  const fan = await client.getModuleTwin(deviceId, 'fan');
  assert.deepStrictEqual([fan.moduleId, fan.tags], ['fan', { m: 1 }]);
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`patch a twin, ${auth}`, async () => patches(await subjects.device(make())));
    await check(`twin ETags, ${auth}`, async () => etags(await subjects.device(make())));
    await check(`twins of strangers, ${auth}`, () => strangers(make()));
  }
  for (const [kind, create] of Object.entries(subjects)) {
    for (const story of [newTwin, patches, etags, twinObject, valuesSurvive, limits]) {
      await check(`${kind} twin: ${story.name}`, async () => story(await create(registries.sas())));
    }
  }
  await check('twins, generated client', () => throughTheGenerated(generated()));
  finish();
}

main();
