// gritlite beside a program in Node, Electron or Tauri: a server that the program starts and that
// ends with it, also when the program is killed.
//
// Usage: node sidecar.mjs [MODEL]
//
// GRITLITE names the program "gritlite", if it is not on the path: an app brings a frozen one.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

/** Start the server and wait until the model is loaded; throws if it cannot be. */
export async function startGritlite(model = "default", options = []) {
  const parent = ["--parent-pid", String(process.pid)];
  const server = spawn(
    process.env.GRITLITE ?? "gritlite",
    ["serve", model, "--port", "0", "--ready-json", ...parent, ...options],
    { stdio: ["ignore", "pipe", "inherit"], windowsHide: true },
  );
  const ended = once(server, "exit");
  const [line] = await Promise.race([once(createInterface(server.stdout), "line"), ended]);
  if (typeof line !== "string") throw new Error("gritlite could not start; see what it printed");
  const { url, pid, key } = JSON.parse(line);
  return new Gritlite(url, pid, key, async () => {
    server.kill();
    await ended;
  });
}

/** A server that runs. */
class Gritlite {
  constructor(url, pid, key, stop) {
    Object.assign(this, { url, pid, key, stop });
  }

  /** The pieces of an answer. Leaving the loop, or aborting `signal`, ends it at the server. */
  async *chat(messages, { signal, ...options } = {}) {
    const body = { messages, stream: true, ...options };
    const response = await this.#post("/v1/chat/completions", body, signal);
    let rest = "";
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const events = (rest + text).split("\n\n");
      rest = events.pop(); // not whole yet
      for (const event of events) {
        if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
        const { choices, error } = JSON.parse(event.slice("data: ".length));
        if (error) throw new Error(error.message);
        if (choices[0]?.delta.content) yield choices[0].delta.content;
      }
    }
  }

  /** A vector for each text. */
  async embed(texts) {
    const response = await this.#post("/v1/embeddings", { input: texts });
    return (await response.json()).data.map((each) => each.embedding);
  }

  async #post(path, body, signal) {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${this.key}` };
    const request = { method: "POST", headers, body: JSON.stringify(body), signal };
    const response = await fetch(this.url + path, request);
    if (!response.ok) throw new Error((await response.json()).error.message);
    return response;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const gritlite = await startGritlite(process.argv[2]);
  const question = "In one sentence: why do leaves look green?";
  const messages = [{ role: "user", content: question }];
  for await (const piece of gritlite.chat(messages, { max_tokens: 100 })) {
    process.stdout.write(piece);
  }
  const [leaves, ferry, green] = await gritlite.embed([
    "Chlorophyll reflects green light.",
    "The ferry leaves at seven.",
    question,
  ]);
  const cosine = (one, other) => one.reduce((sum, x, i) => sum + x * other[i], 0);
  console.log(`\n${cosine(green, leaves).toFixed(2)} > ${cosine(green, ferry).toFixed(2)}`);
  await gritlite.stop();
}
