// azure-iothub keeps configurations, which apply themselves to devices, and applies content to edge devices.
'use strict';

const assert = require('assert');
const { setTimeout: sleep } = require('timers/promises');
const { isDeepStrictEqual } = require('util');
const { registries, newId, refused, check, finish } = require('./hub');

const content = { deviceContent: { 'properties.desired.fan': { speed: 5 } } };
const edge = {
  $edgeAgent: {
    'properties.desired': {
      schemaVersion: '1.1',
      runtime: { type: 'docker', settings: { minDockerVersion: 'v1.25' } },
      systemModules: {},
      modules: { filter: { type: 'docker', status: 'running', settings: { image: 'filter:1.0' } } },
    },
  },
  $edgeHub: { 'properties.desired': { schemaVersion: '1.1', routes: {} } },
  filter: { 'properties.desired.threshold': 42 },
};

const body = async (call) => (await call).responseBody;
const configuration = (more) => ({
  id: newId('fans'), schemaVersion: '1.0', content, priority: 7, targetCondition: "tags.nobody = 'here'", ...more,
});

// Waits until the hub has done on its own what was asked of it.
async function eventually(read, expected) {
  const until = Date.now() + 20_000;
  for (;;) {
    const seen = await read();
    if (isDeepStrictEqual(seen, expected)) return;
    if (Date.now() > until) assert.deepStrictEqual(seen, expected);
    await sleep(50);
  }
}

async function life(registry) {
  const asked = configuration({ labels: { team: 'air' }, targetCondition: 'tags.floor = 1' });
  const created = await body(registry.addConfiguration(asked));
  for (const name of Object.keys(asked)) assert.deepStrictEqual(created[name], asked[name], name);
  assert.ok(created.etag && Date.parse(created.createdTimeUtc) > 0, created);
  assert.strictEqual((await body(registry.getConfiguration(asked.id))).etag, created.etag);
  const listed = async () => (await body(registry.getConfigurations())).map((each) => each.id);
  assert.ok((await listed()).includes(asked.id));

  const updated = await body(registry.updateConfiguration({ ...created, priority: 8, labels: { team: 'water' } }));
  assert.deepStrictEqual([updated.priority, updated.labels], [8, { team: 'water' }]);
  assert.notStrictEqual(updated.etag, created.etag);
  const late = registry.updateConfiguration({ ...created, priority: 9 });
  await refused(late, 'InvalidEtagError', 412, 'PreconditionFailed');
  const other = { deviceContent: { 'properties.desired.fan': { speed: 9 } } };
  const forced = await body(registry.updateConfiguration({ ...asked, content: other }, true));
  assert.deepStrictEqual(forced.content.deviceContent, content.deviceContent, 'content is immutable');
  await registry.removeConfiguration(asked.id);
  await refused(registry.getConfiguration(asked.id), 'Error', 404, 'ConfigurationNotFound');
  assert.ok(!(await listed()).includes(asked.id));
}

async function refusals(registry) {
  const existing = await body(registry.addConfiguration(configuration()));
  const again = registry.addConfiguration(configuration({ id: existing.id }));
  await refused(again, 'DeviceAlreadyExistsError', 409, 'ConfigurationAlreadyExists');
  for (const [wrong, code] of [
    [{ id: 'UPPER' }, 'ArgumentInvalid'],
    [{ targetCondition: 'tags.a =' }, 'InvalidConfigurationTargetCondition'],
    [{ metrics: { queries: { broken: 'SELECT FROM' } } }, 'InvalidConfigurationCustomMetricsQuery'],
    [{ content: { deviceContent: { 'tags.a': 1 } } }, 'InvalidConfigurationContent'],
  ]) {
    await refused(registry.addConfiguration(configuration(wrong)), 'ArgumentError', 400, code);
  }
}

async function appliesItself(registry) {
  const site = newId('site');
  const ids = [newId('node'), newId('node'), newId('node')];
  for (const [at, deviceId] of ids.entries()) {
    await registry.create({ deviceId });
    await registry.updateTwin(deviceId, { tags: { site, n: at } }, '*');
  }
  const fast = `SELECT deviceId FROM devices WHERE tags.site = '${site}' AND properties.desired.fan.speed = 5`;
  const asked = configuration({
    targetCondition: `tags.site = '${site}' AND tags.n < 2`, metrics: { queries: { fast } },
  });
  await registry.addConfiguration(asked);

  const fans = () => Promise.all(ids.map(async (id) => (await body(registry.getTwin(id))).properties.desired.fan));
  await eventually(fans, [{ speed: 5 }, { speed: 5 }, undefined]);
  const metrics = async () => {
    const { systemMetrics, metrics } = await body(registry.getConfiguration(asked.id));
    return [systemMetrics.results, metrics.results];
  };
  await eventually(metrics, [{ targetedCount: 2, appliedCount: 2 }, { fast: 2 }]);
  const twin = await body(registry.getTwin(ids[0]));
  assert.strictEqual(twin.configurations[asked.id].status, 'applied');

  await registry.addConfiguration(configuration({
    priority: 8,
    targetCondition: `tags.site = '${site}' AND tags.n = 1`,
    content: { deviceContent: { 'properties.desired.fan': { speed: 9 } } },
  }));
  await eventually(fans, [{ speed: 5 }, { speed: 9 }, undefined]);
}

async function edgeContent(registry) {
  const deviceId = newId('edge');
  await registry.create({ deviceId, capabilities: { iotEdge: true } });
  await registry.applyConfigurationContentOnDevice(deviceId, { modulesContent: edge });
  const desired = async (module) => (await body(registry.getModuleTwin(deviceId, module))).properties.desired;
  assert.deepStrictEqual((await desired('$edgeAgent')).modules, edge.$edgeAgent['properties.desired'].modules);
  assert.deepStrictEqual((await desired('$edgeHub')).routes, {});
  assert.strictEqual((await desired('filter')).threshold, 42);
  const modules = (await body(registry.getModulesOnDevice(deviceId))).map((module) => module.moduleId).sort();
  assert.deepStrictEqual(modules, ['$edgeAgent', '$edgeHub', 'filter']);
  const tagged = { modulesContent: { ...edge, filter: { 'tags.a': 1 } } };
  const wrong = registry.applyConfigurationContentOnDevice(deviceId, tagged);
  await refused(wrong, 'ArgumentError', 400, 'InvalidConfigurationContent');
  const nowhere = registry.applyConfigurationContentOnDevice(newId('nobody'), { modulesContent: edge });
  await refused(nowhere, 'DeviceNotFoundError', 404, 'DeviceNotFound');
}

async function main() {
  for (const [auth, make] of Object.entries(registries)) {
    await check(`configuration life and ETags, ${auth}`, () => life(make()));
    await check(`configurations apply themselves, ${auth}`, () => appliesItself(make()));
    await check(`content for an edge device, ${auth}`, () => edgeContent(make()));
  }
  await check('configurations that are refused', () => refusals(registries.sas()));
  finish();
}

main();
