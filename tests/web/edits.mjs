// What the kernel makes of networks: reads a JSON document from stdin, prints one result for each of its jobs.
//
//   {kernel: folder, compiled: true or false, networks: [{model, task, weights}],
//    jobs: [{network: which, edits, sources: {name: which}, keep}]}

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const document = JSON.parse(readFileSync(0, "utf8"));
const { Kernel } = await import(pathToFileURL(`${document.kernel}/kernel.js`));
const kernel = await Kernel.load(document.compiled ? readFileSync(`${document.kernel}/kernel.wasm`) : undefined);

const typed = (weights) =>
  new Map(Object.entries(weights).map(([name, { shape, data }]) => [name, { shape, data: Float64Array.from(data) }]));
const floats = (weights) => {
  const found = typed(weights);
  for (const [name, { shape, data }] of document.compiled ? found : []) {
    found.set(name, { shape, data: Float32Array.from(data) });
  }
  return found;
};

const weights = document.networks.map((network) => floats(network.weights));
const networks = document.networks.map((network, i) => kernel.network({ ...network, weights: weights[i] }));

const results = document.jobs.map(({ network, edits, sources = {}, keep = [] }) => {
  try {
    const given = Object.fromEntries(Object.entries(sources).map(([name, other]) => [name, weights[other]]));
    const out = networks[network].run(edits, { sources: given, keep });
    const plain = (value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
    return Object.fromEntries(Object.entries(out).map(([name, value]) => [name, plain(value)]));
  } catch (error) {
    return { error: error.message };
  }
});
process.stdout.write(JSON.stringify(results));
