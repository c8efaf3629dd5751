// The chat: what was said, the answer as it comes, and Stop.

import { ask, events } from "./api.js";
import { element, passage } from "./elements.js";

const log = document.getElementById("log");
const messages = document.getElementById("messages");
const welcome = document.getElementById("welcome");
const composer = document.getElementById("composer");
const question = document.getElementById("question");
const source = document.getElementById("source");
const send = document.getElementById("send");
const fresh = document.getElementById("new");

let history = []; // as /v1/chat/completions takes it
let running = null; // the AbortController of the answer that is coming

/** Make the chat work. `whenAnswered` is called after each answer. */
export function startChat(facts, whenAnswered) {
  const names = [facts.name, ...facts.stores.map((store) => `${facts.name}+${store.name}`)];
  const labels = ["the model alone", ...facts.stores.map((store) => store.name)];
  source.replaceChildren(...names.map((name, i) => new Option(labels[i], name)));
  source.value = names.at(-1); // with a store, its passages are what people are here for
  document.getElementById("source-choice").hidden = names.length === 1;
  if (names.length > 1) {
    document.getElementById("welcome-text").textContent =
      "Answers from a store cite the passages they are from.";
  }
  if (!facts.generates) {
    composer.hidden = true;
    document.getElementById("welcome-text").textContent = "This model's file is for embedding only.";
  }
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) stop();
    else answer(whenAnswered);
  });
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) answer(whenAnswered);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && running) stop();
  });
  fresh.addEventListener("click", () => {
    stop();
    history = [];
    messages.replaceChildren();
    showEmpty(true);
    question.focus();
  });
}

function stop() {
  running?.abort(); // the server stops to generate when its client leaves
  question.focus();
}

async function answer(whenAnswered) {
  const text = question.value.trim();
  if (!text) return;
  const asked = element("li", { className: "question text", text, dir: "auto" });
  const answering = new Answering();
  showEmpty(false);
  messages.append(asked, answering.item);
  log.scrollTop = log.scrollHeight;
  question.value = "";
  const controller = new AbortController();
  showRunning(controller);
  const chat = [...history, { role: "user", content: text }];
  try {
    await answering.read(chat, controller.signal);
  } catch (error) {
    if (controller.signal.aborted) answering.remark("Stopped.");
    else answering.fail(error.message);
  }
  answering.end();
  if (running === controller) { // else a new chat has begun
    if (answering.text) history = [...chat, { role: "assistant", content: answering.text }];
    else question.value ||= text;
    showRunning(null);
  }
  whenAnswered();
}

/** An answer in the list of messages. */
class Answering {
  constructor() {
    this.text = "";
    this.content = element("div", { className: "text", dir: "auto" });
    this.item = element("li", { className: "answer", children: [this.content] });
    this.item.setAttribute("aria-busy", "true"); // read aloud when it is whole
  }

  async read(chat, signal) {
    const body = { model: source.value, messages: chat, stream: true };
    let citations = null;
    let list = null; // of citations, by which the text ends
    let finish = null;
    for await (const chunk of events(await ask("/v1/chat/completions", { body, signal }))) {
      if (chunk.citations) {
        citations = chunk.citations;
        list = `\n\n${citations.map((each) => `[${each.number}] ${each.reference}`).join("\n")}`;
      }
      const piece = chunk.choices[0]?.delta.content ?? "";
      if (piece !== list) this.add(piece);
      finish ??= chunk.choices[0]?.finish_reason;
    }
    if (!finish) throw new Error("The server ended before the answer did.");
    if (finish === "length") this.remark("The answer was cut: it reached its limit.");
    if (citations?.length) this.cite(citations);
  }

  add(piece) {
    if (!piece) return;
    this.text += piece;
    keepingAtEnd(() => this.content.append(piece));
  }

  cite(citations) {
    const list = element("ol", {
      className: "passages",
      children: citations.map((each) => passage(each)),
    });
    list.setAttribute("aria-label", "Passages");
    keepingAtEnd(() => this.item.append(list));
  }

  remark(text) {
    keepingAtEnd(() => this.item.append(element("p", { className: "remark", text })));
  }

  fail(message) {
    const text = message.charAt(0).toUpperCase() + message.slice(1);
    const failure = element("p", { className: "remark failure", text, dir: "auto" });
    failure.setAttribute("role", "alert");
    keepingAtEnd(() => this.item.append(failure));
  }

  end() {
    this.item.setAttribute("aria-busy", "false");
  }
}

function showEmpty(isEmpty) {
  welcome.hidden = !isEmpty;
  fresh.hidden = isEmpty;
}

function showRunning(controller) {
  running = controller;
  send.textContent = controller ? "Stop" : "Send";
  send.classList.toggle("stop", Boolean(controller));
}

/** Change the log; whoever reads its end still sees the end. */
function keepingAtEnd(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}
