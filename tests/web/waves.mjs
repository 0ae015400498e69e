// The pure functions of the kernel on values from stdin: {kernel: folder, calls: [[module, name, arguments...]]}.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { kernel, calls } = JSON.parse(readFileSync(0, "utf8"));
const plain = (value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (value && typeof value === "object" && !Array.isArray(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  }
  return value;
};
const found = [];
for (const [module, name, ...given] of calls) {
  const functions = await import(pathToFileURL(`${kernel}/${module}.js`));
  try {
    found.push(plain(name === "Task" ? { ...new functions.Task(...given), ...new functions.Task(...given).addition } : functions[name](...given)));
  } catch (error) {
    found.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(found));
