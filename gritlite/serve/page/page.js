// The page's start: waits for the model, then makes its parts work.

import { ask } from "./api.js";
import { startChat } from "./chat.js";
import { showFacts } from "./facts.js";
import { startSearch } from "./search.js";

const state = document.getElementById("state");
const RETRY = 1000; // milliseconds

function tell(text, name) {
  state.textContent = text;
  state.dataset.state = name;
}

async function info() {
  return (await ask("/info")).json();
}

async function refresh() {
  try {
    showFacts(await info());
  } catch (error) {
    tell(error.message, "failed");
  }
}

async function firstFacts() {
  for (;;) {
    try {
      return await info();
    } catch (error) {
      tell(error.status === 503 ? "The model is loading …" : error.message, "waiting");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

function startViews() {
  const buttons = document.querySelectorAll("nav button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      document.body.dataset.view = button.dataset.view;
      for (const each of buttons) each.toggleAttribute("aria-current", each === button);
      button.setAttribute("aria-current", "true");
    });
  }
}

startViews();
const facts = await firstFacts();
tell(facts.name, "ready");
document.title = `${facts.name} – gritlite`;
showFacts(facts);
startSearch(facts, refresh);
startChat(facts, refresh);
