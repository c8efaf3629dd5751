// Use sidecar.mjs as a program would. Usage: node hold_sidecar.mjs EXAMPLES MODEL leave|wrong|hold

const [, , examples, model, task] = process.argv;
const { startGritlite } = await import(`${examples}/sidecar.mjs`);
const gritlite = await startGritlite(model, ["--parallel", "1"]);
const story = [{ role: "user", content: "Tell me a long story about a ferry." }];

if (task === "wrong") {
  try {
    for await (const piece of gritlite.chat(story, { temperature: -1 })) console.log(piece);
  } catch (error) {
    console.log(error.message);
  }
} else {
  for await (const piece of gritlite.chat(story, { max_tokens: 3000 })) {
    if (task === "leave") break;
    if (piece) console.log("answering");
    await new Promise(() => setInterval(() => {}, 1000)); // until it is killed
  }
  console.log("left");
  const stop = new AbortController();
  try {
    for await (const piece of gritlite.chat(story, { max_tokens: 3000, signal: stop.signal })) {
      if (piece) stop.abort();
    }
  } catch (error) {
    console.log(error.name === "AbortError" ? "aborted" : error);
  }
  const headers = { Authorization: `Bearer ${gritlite.key}` };
  for (let metrics = ""; !/^gritlite_answers_running 0/m.test(metrics); ) {
    metrics = await (await fetch(`${gritlite.url}/metrics`, { headers })).text();
  }
  console.log("idle");
}
await gritlite.stop();
