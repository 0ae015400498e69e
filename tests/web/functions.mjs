// Functions of the kernel on values from stdin: {kernel: folder, calls: [[module, name, arguments...]]}.
//
// A class is called too: what it makes is printed with all its fields, a task's with those of its addition.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { kernel, calls } = JSON.parse(readFileSync(0, "utf8"));

const plain = (value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (!value || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries({ ...value, ...value.addition }).map(([name, inner]) => [name, plain(inner)]));
};

const found = [];
for (const [module, name, ...given] of calls) {
  const called = (await import(pathToFileURL(`${kernel}/${module}.js`)))[name];
  try {
    found.push(plain(name === "Task" ? new called(...given) : called(...given)));
  } catch (error) {
    found.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(found));
