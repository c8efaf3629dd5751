// Elements with text. Whatever comes from the model or a store is text, never HTML.

/** A new element with a class and a text. */
export function element(tag, { className = "", text = "", children = [], dir = "" } = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  if (dir) made.dir = dir;
  made.append(...children);
  return made;
}

/** A passage of a store: its source and score, and its text once it is opened. */
export function passage(citation, { open = false } = {}) {
  const place = citation.place.replace(/^line /, ":").replace(/^(?=[^:])/, ", ");
  const where = element("span", {
    className: "where",
    children: [
      element("bdi", { text: citation.source + place }),
      " ",
      element("bdi", { className: "heading", text: citation.heading }),
      citation.gone ? " [the file is gone]" : "",
    ],
  });
  const score = element("span", { className: "score", text: citation.score.toFixed(2) });
  score.title = "How well it matches: higher is better";
  const summary = element("summary", {
    children: [element("span", { className: "number", text: `${citation.number}` }), where, score],
  });
  const text = element("div", { className: "text", text: citation.text, dir: "auto" });
  text.tabIndex = 0; // long ones scroll
  const details = element("details", { className: "passage", children: [summary, text] });
  details.open = open;
  return element("li", { children: [details] });
}
