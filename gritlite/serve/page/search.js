// The box that searches a store.

import { ask } from "./api.js";
import { passage } from "./elements.js";

const form = document.getElementById("search-form");
const query = document.getElementById("query");
const choice = document.getElementById("search-store");
const state = document.getElementById("search-state");
const found = document.getElementById("found");

let latest = null; // the AbortController of the last search

/** Make the box work, if there is a store. */
export function startSearch(facts, whenFound) {
  document.getElementById("no-store").hidden = facts.stores.length > 0;
  form.hidden = facts.stores.length === 0;
  choice.replaceChildren(...facts.stores.map((store) => new Option(store.name)));
  choice.hidden = facts.stores.length < 2;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (query.value.trim()) await search();
    whenFound();
  });
}

async function search() {
  latest?.abort(); // only what was asked last is shown
  const controller = (latest = new AbortController());
  state.textContent = "Searching …";
  try {
    const body = { query: query.value.trim(), store: choice.value, k: 5 };
    const response = await ask("/v1/search", { body, signal: controller.signal });
    const { data } = await response.json();
    found.replaceChildren(...data.map((each) => passage(each, { open: true })));
    state.textContent = data.length === 1 ? "1 passage" : `${data.length || "No"} passages`;
  } catch (error) {
    if (controller.signal.aborted) return;
    found.replaceChildren();
    state.textContent = error.message;
  }
}
