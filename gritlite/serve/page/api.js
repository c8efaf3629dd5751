// Requests to the server this page is from. Nothing is asked of any other.

const KEY = "gritlite-key"; // in sessionStorage: each tab asks once

takeKeyFromAddress();

/** Ask for a path, POST if there is a body. Throws an Error with the server's own words. */
export async function ask(path, { body, signal } = {}) {
  for (;;) {
    const headers = { "Content-Type": "application/json" };
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    const response = await reach(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
    });
    if (response.status === 401) {
      // another request may have asked meanwhile
      if (sessionStorage.getItem(KEY) === key) await askForKey(Boolean(key));
      continue;
    }
    if (!response.ok) throw await failure(response);
    return response;
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server cannot be reached.");
  }
}

async function failure(response) {
  const content = await response.json().catch(() => null);
  const error = new Error(content?.error?.message ?? `The server answered ${response.status}.`);
  error.status = response.status;
  return error;
}

let asking = null; // one dialog for all requests that wait for a key

function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key-dialog");
    const input = document.getElementById("key");
    if (wasWrong) document.getElementById("key-text").textContent = "That key is not right. Try again.";
    dialog.oncancel = (event) => event.preventDefault(); // without a key there is nothing to do
    dialog.onclose = () => {
      if (!input.value) return dialog.showModal();
      sessionStorage.setItem(KEY, headerSafe(input.value));
      input.value = "";
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/** Keep the key of an address that ends with #key=..., as apps open it; no server sees that end. */
function takeKeyFromAddress() {
  const [name, value] = location.hash.slice(1).split(/=(.*)/s);
  if (name !== "key" || !value) return;
  sessionStorage.setItem(KEY, headerSafe(decoded(value)));
  history.replaceState(null, "", location.pathname + location.search);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not encoded
  }
}

/** A key as a header can hold it: keys are ASCII, so any other is wrong anyway. */
function headerSafe(key) {
  return key.trim().replace(/[^\x20-\x7e]/g, "?");
}

/** The objects of a stream of server-sent events, as they come. Throws what the server tells. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      if (!block.startsWith("data: ") || block === "data: [DONE]") continue; // a comment, the end
      const content = JSON.parse(block.slice("data: ".length));
      if (content.error) throw new Error(content.error.message);
      yield content;
    }
  }
}
