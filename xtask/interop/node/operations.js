// Which operations of Microsoft's SDKs the checks call, for the table in the emulator's README.
//
// An operation counts if a script called it and it came to a good end in a check that passed. What an SDK calls itself does
// not count, which the stack tells. Clients of devices count by the transport that they speak.
'use strict';

const fs = require('fs');

// The package, the module, and the classes in it that talk to a hub.
const watched = [
  ['azure-iothub', 'azure-iothub', ['Client', 'DigitalTwinClient', 'JobClient', 'Registry', 'Twin']],
  ['azure-iothub', 'azure-iothub/dist/service_receiver.js', ['ServiceReceiver']],
  ['azure-iot-device', 'azure-iot-device', ['Client', 'ModuleClient', 'Twin']],
  ['@azure/event-hubs', '@azure/event-hubs', ['EventHubConsumerClient']],
];

// What the types of the SDKs call private, though the names do not say so.
const hidden = new Set([
  'createEventProcessorForAllPartitions',
  'createEventProcessorForSinglePartition',
  'validateEnvironment',
]);

const known = new Map();
const called = new Set();
let passed = 0;

// Watches the classes of the packages that are installed.
function watch() {
  for (const [name, module, classes] of watched) {
    let sdk;
    try {
      sdk = require(module);
    } catch {
      continue;
    }
    for (const className of classes.filter((className) => sdk[className])) {
      const about = { sdk: `${name} ${version(name)}`, className, operations: new Set() };
      for (let each = sdk[className].prototype; each !== Object.prototype && each; each = Object.getPrototypeOf(each)) {
        if (each.constructor.name === 'EventEmitter') break;
        for (const operation of Object.getOwnPropertyNames(each)) wrap(about, sdk[className].prototype, each, operation);
      }
      for (const operation of Object.getOwnPropertyNames(sdk[className])) wrap(about, sdk[className], sdk[className], operation);
    }
  }
}

function version(name) {
  const folder = require.resolve.paths(name).map((path) => `${path}/${name}/package.json`);
  return JSON.parse(fs.readFileSync(folder.find((file) => fs.existsSync(file)))).version;
}

// Puts a watched function into `owner` for the one that `home` has by this name.
function wrap({ sdk, className, operations }, owner, home, operation) {
  const found = Object.getOwnPropertyDescriptor(home, operation).value;
  if (operation === 'constructor' || operation.startsWith('_') || hidden.has(operation) || operations.has(operation)) return;
  if (typeof found !== 'function') return;
  operations.add(operation);
  owner[operation] = function call(...parameters) {
    if (!isCalledByScript(call)) return found.apply(this, parameters);
    const transport = this?._transport?.constructor.name;
    const isDevice = sdk.startsWith('azure-iot-device');
    const label = isDevice && transport ? `${className} over ${transport}` : className;
    known.set(`${sdk} ${label}`, { sdk, class: label, operations });
    const count = () => called.add(`${sdk} ${label} ${operation}`);
    // In the older style the last parameter hears of the end.
    const last = parameters.at(-1);
    const mayHear = typeof owner !== 'function' && !operation.startsWith('on');
    const isCallback = mayHear && typeof last === 'function' && found.length >= parameters.length;
    if (isCallback) {
      parameters[parameters.length - 1] = (error, ...rest) => {
        if (!error) count();
        return last(error, ...rest);
      };
    }
    const answer = found.apply(this, parameters);
    if (typeof answer?.then === 'function') answer.then(count, () => {});
    else if (!isCallback) count();
    return answer;
  };
}

// Whether who called this function is a script, or what Node runs for one, and not a package.
function isCalledByScript(call) {
  const trace = {};
  Error.captureStackTrace(trace, call);
  const isPackage = (line) => line.includes('/node_modules/');
  const caller = trace.stack.split('\n').find((line) => isPackage(line) || line.includes(__dirname));
  return !caller || !isPackage(caller);
}

// Runs a check, and keeps what it called unless it fails.
async function pass(body) {
  const before = [...called];
  try {
    await body();
    passed += 1;
  } catch (error) {
    called.clear();
    before.forEach((operation) => called.add(operation));
    throw error;
  }
}

// Writes what was found to the file that `cargo xtask interop` reads.
function report() {
  const file = process.env.IOTHUB_OPERATIONS;
  if (!file) return;
  const operations = [...known.values()].map(({ sdk, class: label, operations }) => ({
    sdk,
    class: label,
    called: [...operations].filter((operation) => called.has(`${sdk} ${label} ${operation}`)),
    public: [...operations],
  }));
  fs.writeFileSync(file, JSON.stringify({ passed, operations }));
}

module.exports = { watch, pass, report };
