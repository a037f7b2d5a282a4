// azure-iothub asks for twins: pages, projections, aggregates, modules, refusals.
'use strict';

const assert = require('assert');
const { registries, generated, newId, refused, refusedToGenerated, check, finish } = require('./hub');

const site = newId('site');
const count = 25;
const id = (at) => `${site}-${String(at).padStart(2, '0')}`;
const all = Array.from({ length: count }, (_, at) => id(at));

const body = async (call) => (await call).responseBody;

// Twenty-five devices on three floors; each fifth has a module, and each one after that is disabled.
async function fill(registry) {
  const devices = all.map((deviceId, at) => ({
    deviceId,
    status: at % 5 === 1 ? 'disabled' : 'enabled',
    tags: { site, floor: at % 3, n: at },
    properties: { desired: { fan: { speed: at * 1.5 } } },
  }));
  assert.strictEqual((await body(registry.addDevices(devices))).isSuccessful, true);
  for (let at = 0; at < count; at += 5) await registry.addModule({ deviceId: id(at), moduleId: 'fan' });
}

// All pages of a query, each with its type.
async function pages(registry, text, size, next = 'next') {
  const query = registry.createQuery(text, size);
  const found = [];
  while (query.hasMoreResults) {
    const { result, message } = await query[next](query.continuationToken);
    found.push({ rows: result, type: message.headers['x-ms-item-type'] });
  }
  return found;
}

const rows = (pages) => pages.flatMap((page) => page.rows);
const ids = (pages) => rows(pages).map((row) => row.deviceId).sort();

async function paging(registry) {
  const text = `SELECT * FROM devices WHERE tags.site = '${site}'`;
  for (const size of [1, 10, 25, 100]) {
    const answer = await pages(registry, text, size, 'nextAsTwin');
    const full = Math.ceil(count / size);
    const expected = Array.from({ length: full }, (_, at) => Math.min(size, count - at * size));
    // A last page that is empty is allowed: the hub need not know that nothing follows.
    assert.deepStrictEqual(answer.slice(0, full).map((page) => page.rows.length), expected);
    assert.deepStrictEqual(ids(answer), all);
    assert.ok(answer.every((page) => page.type === 'Twin'));
  }
  assert.deepStrictEqual(ids(await pages(registry, text)), all);
}

// What nextAsTwin gives is a twin that can be changed.
async function twinsAreAlive(registry) {
  const [page] = await pages(registry, `SELECT * FROM devices WHERE deviceId = '${id(7)}'`, 10, 'nextAsTwin');
  const [twin] = page.rows;
  assert.deepStrictEqual([twin.tags.n, twin.properties.desired.fan], [7, { speed: 10.5 }]);
  await twin.update({ tags: { seen: true } });
  assert.strictEqual((await body(registry.getTwin(id(7)))).tags.seen, true);
  await twin.update({ tags: { seen: null } });
}

async function resumes(registry) {
  const text = `SELECT * FROM devices WHERE tags.site = '${site}'`;
  const first = registry.createQuery(text, 10);
  const { result: before } = await first.nextAsTwin();
  const second = registry.createQuery(text, 100);
  const { result: after } = await second.nextAsTwin(first.continuationToken);
  assert.deepStrictEqual([...before, ...after].map((twin) => twin.deviceId).sort(), all);
}

async function conditions(registry) {
  for (const [condition, expected] of [
    ['tags.n < 3', [0, 1, 2]],
    ["tags.floor = 1 AND status = 'disabled'", [1, 16]],
    ['tags.n IN [3, 5, 99]', [3, 5]],
    ['properties.desired.fan.speed = 10.5', [7]],
    ['(tags.n = 1 OR tags.n = 2) AND NOT tags.n = 2', [1]],
    ['tags.n = 4 AND IS_DEFINED(tags.nothing)', []],
  ]) {
    const answer = await pages(registry, `SELECT * FROM devices WHERE tags.site = '${site}' AND ${condition}`, 100);
    assert.deepStrictEqual(ids(answer), expected.map(id), condition);
  }
}

async function raw(registry) {
  const where = `FROM devices WHERE tags.site = '${site}'`;
  const answer = async (text) => {
    const answer = await pages(registry, text, 100);
    assert.ok(answer.every((page) => page.type === 'Raw'));
    return rows(answer);
  };
  assert.deepStrictEqual(
    await answer(`SELECT deviceId, tags.n AS n ${where} AND tags.n = 9`), [{ deviceId: id(9), n: 9 }],
  );
  assert.deepStrictEqual(await answer(`SELECT COUNT() AS count ${where}`), [{ count }]);
  const summary = 'SUM(tags.n) AS sum, AVG(tags.n) AS avg, MIN(tags.n) AS min, MAX(tags.n) AS max';
  assert.deepStrictEqual(await answer(`SELECT ${summary} ${where}`), [{ sum: 300, avg: 12, min: 0, max: 24 }]);
  const groups = await answer(`SELECT tags.floor AS floor, COUNT() AS count ${where} GROUP BY tags.floor`);
  const floors = Object.fromEntries(groups.map((group) => [group.floor, group.count]));
  assert.deepStrictEqual(floors, { 0: 9, 1: 8, 2: 8 });
}

async function modules(registry) {
  const answer = await pages(registry, "SELECT * FROM devices.modules WHERE moduleId = 'fan'", 2, 'nextAsTwin');
  assert.deepStrictEqual(ids(answer), [0, 5, 10, 15, 20].map(id));
  assert.deepStrictEqual(rows(answer)[0], await body(registry.getModuleTwin(rows(answer)[0].deviceId, 'fan')));
}

async function refusals(registry) {
  const texts = ['SELECT', 'SELECT * FROM nowhere', 'SELECT * FROM devices WHERE', 'SELECT * FROM devices ORDER BY a'];
  for (const text of texts) {
    await refused(registry.createQuery(text).next(), 'ArgumentError', 400, 'ArgumentInvalid');
  }
  const query = registry.createQuery('SELECT * FROM devices', 5);
  await query.next();
  const other = registry.createQuery('SELECT deviceId FROM devices', 5).next(query.continuationToken);
  await refused(other, 'ArgumentError', 400, 'ArgumentInvalid');
  await refused(query.next('nonsense'), 'ArgumentError', 400, 'ArgumentInvalid');
}

async function throughTheGenerated(client) {
  const query = `SELECT * FROM devices WHERE tags.site = '${site}' AND tags.n < 4`;
  const twins = await client.queryIoTHub({ query });
  assert.deepStrictEqual(twins.map((twin) => twin.deviceId).sort(), [0, 1, 2, 3].map(id));
  assert.strictEqual(twins.xMsItemType, 'Twin');
  await refusedToGenerated(client.queryIoTHub({ query: 'SELECT' }), 400, 'ArgumentInvalid');
}

async function main() {
  await fill(registries.sas());
  for (const [auth, make] of Object.entries(registries)) {
    await check(`query in pages, ${auth}`, () => paging(make()));
    await check(`projections and aggregates, ${auth}`, () => raw(make()));
  }
  for (const story of [twinsAreAlive, resumes, conditions, modules, refusals]) {
    await check(`query: ${story.name}`, () => story(registries.sas()));
  }
  await check('query, generated client', () => throughTheGenerated(generated()));
  finish();
}

main();
