// Talks to a server with npm's clients, and prints what they got as one line of JSON.
//
//     node clients.mjs URL KEY MODEL TEXT

import { constructLlmApi } from "@continuedev/openai-adapters";
import OpenAI from "openai";

const [url, key, model, text] = process.argv.slice(2);
const asked = {
  model,
  messages: [{ role: "user", content: text }],
  temperature: 0,
  max_tokens: 10,
};

async function joined(stream) {
  let found = "";
  for await (const chunk of stream) {
    found += chunk.choices[0]?.delta?.content ?? "";
  }
  return found;
}

async function withOpenAI() {
  const client = new OpenAI({ baseURL: url, apiKey: key });
  const whole = await client.chat.completions.create(asked);
  const streamed = await joined(await client.chat.completions.create({ ...asked, stream: true }));
  const vectors = await client.embeddings.create({ model, input: [text] });
  const error = await client.chat.completions
    .create({ ...asked, model: "gpt-9" })
    .catch((problem) => ({ status: problem.status, code: problem.code }));
  return {
    whole: whole.choices[0].message.content,
    streamed,
    vector: vectors.data[0].embedding,
    error,
  };
}

async function withContinue() {
  const api = constructLlmApi({ provider: "openai", apiBase: url, apiKey: key });
  const signal = new AbortController().signal;
  const whole = await api.chatCompletionNonStream({ ...asked, stream: false }, signal);
  const streamed = await joined(api.chatCompletionStream({ ...asked, stream: true }, signal));
  const vectors = await api.embed({ model, input: [text] });
  const error = await api
    .chatCompletionNonStream({ ...asked, model: "gpt-9", stream: false }, signal)
    .catch((problem) => problem.message);
  const long = { ...asked, messages: [{ role: "user", content: "bread ".repeat(3000) }] };
  const tooLong = await joined(api.chatCompletionStream({ ...long, stream: true }, signal)).catch(
    (problem) => problem.message,
  );
  return {
    whole: whole.choices[0].message.content,
    streamed,
    vector: vectors.data[0].embedding,
    error,
    tooLong,
  };
}

const openai = await withOpenAI();
console.log(JSON.stringify({ openai, continuedev: await withContinue() }));
