// An ONNX graph in onnxruntime-web (WebAssembly), in Node: node web_worker.mjs NODE_MODULES MODEL.
// Messages as in python_worker.py.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const [modules, model] = process.argv.slice(2);
const say = (message) => fs.writeSync(1, JSON.stringify(message) + "\n");
const describe = (error) => String(error?.message ?? error).split(/\s+/).join(" ");
// What the library prints must not be among the messages.
console.log = console.info = console.error;

let ort, session;
try {
  const require = createRequire(path.resolve(modules) + path.sep);
  ort = require("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  session = await ort.InferenceSession.create(fs.readFileSync(model), {
    executionProviders: ["wasm"],
  });
} catch (error) {
  say({ error: describe(error) });
  process.exit(0);
}
say({ version: ort.env.versions.web });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    const values = new Uint8Array(fs.readFileSync(request.input));
    const images = new ort.Tensor("uint8", values, request.shape);
    const start = process.cpuUsage();
    const found = await session.run({ images });
    const used = process.cpuUsage(start);
    const outputs = {};
    for (const [name, tensor] of Object.entries(found)) {
      const { buffer, byteOffset, byteLength } = tensor.data;
      const bytes = Buffer.from(buffer, byteOffset, byteLength);
      fs.writeFileSync(path.join(request.outputs, name), bytes);
      outputs[name] = { type: tensor.type, shape: tensor.dims };
    }
    say({ seconds: (used.user + used.system) / 1e6, outputs });
  } catch (error) {
    say({ error: describe(error) });
  }
}
