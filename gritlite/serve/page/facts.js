// What the server runs.

import { element } from "./elements.js";

const list = document.getElementById("facts");

/** Show the facts of /info. */
export function showFacts(facts) {
  const rows = [
    ["Name", facts.name],
    ["Parameters", short(facts.parameters)],
    ["Weights", [facts.file_type, bytes(facts.file_bytes)].filter(Boolean).join(", ")],
    ["Architecture", facts.architecture],
    ["Context", `${facts.context_length.toLocaleString("en")} tokens`],
    ["Vectors", `${facts.dimension.toLocaleString("en")} numbers`],
    ["Embeds with", facts.embeds_with],
    ["Threads", `${facts.threads}`],
    ["Memory in use", facts.resident_bytes === null ? null : bytes(facts.resident_bytes)],
    ...facts.stores.map((store) => [`Store ${store.name}`, stored(store)]),
    ["gritlite", facts.version],
  ];
  list.replaceChildren(
    ...rows
      .filter(([, value]) => value !== null)
      .flatMap(([name, text]) => [
        element("dt", { text: name }),
        element("dd", { children: [element("bdi", { text })] }),
      ]),
  );
}

function stored(store) {
  if (!store.is_readable) return "cannot be read";
  const documents = counted(store.documents, "document");
  const passages = counted(store.passages, "passage");
  return store.pending ? `${documents}, ${store.pending} not embedded yet` : `${documents}, ${passages}`;
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

function bytes(count) {
  const unit = count >= 2 ** 30 ? ["GiB", 2 ** 30] : ["MiB", 2 ** 20];
  return `${(count / unit[1]).toFixed(count >= 2 ** 30 ? 2 : 1)} ${unit[0]}`;
}

function short(count) {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(count);
}
