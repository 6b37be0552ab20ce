// Full-text search over window.MLKIT_SECTIONS (search-index.js), which needs no network and works from file://.
"use strict";

const field = document.querySelector("input[type=search]");
const results = document.getElementById("results");
const count = results.querySelector("[role=status]");
const list = results.querySelector("ol");
const MOST = 30;      // sections shown
const AROUND = 90;    // characters of text shown on each side of the first word found

function wordsOf(text) {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

// A section counts if some word of it begins with each word that is looked for. First come those whose heading has
// them, then those with the words side by side, then those that have them most often.
function search(query) {
  const wanted = wordsOf(query), phrase = " " + wanted.join(" ");
  const scores = new Map();
  for (const section of window.MLKIT_SECTIONS) {
    const heading = wordsOf(`${section.page} ${section.heading}`), text = wordsOf(section.text);
    const hits = wanted.map((word) => {
      const inHeading = heading.some((other) => other.startsWith(word));
      return Math.min(text.filter((other) => other.startsWith(word)).length, 10) + (inHeading ? 20 : 0);
    });
    const sideBySide = ` ${text.join(" ")}`.includes(phrase) ? 15 : 0;
    if (hits.every(Boolean)) scores.set(section, hits.reduce((sum, each) => sum + each, sideBySide));
  }
  return [...scores.keys()].sort((one, other) => scores.get(other) - scores.get(one));
}

// The words around the first one found, each of them marked; made of text nodes, so that nothing in it is markup.
function excerpt(text, wanted) {
  const begins = new RegExp(`(?<![\\p{L}\\p{N}])(?:${wanted.join("|")})`, "giu");
  const paragraph = document.createElement("p"), first = text.search(begins);
  const begin = first > AROUND ? text.indexOf(" ", first - AROUND) + 1 : 0;
  const shown = text.slice(begin, Math.max(first, 0) + AROUND);
  let end = 0;
  paragraph.append(begin ? "… " : "");
  for (const found of shown.matchAll(begins)) {
    const mark = document.createElement("mark");
    mark.textContent = found[0];
    paragraph.append(shown.slice(end, found.index), mark);
    end = found.index + found[0].length;
  }
  paragraph.append(shown.slice(end), begin + shown.length < text.length ? " …" : "");
  return paragraph;
}

function show() {
  const words = wordsOf(field.value);
  results.hidden = !words.length;
  if (!words.length) return;
  const found = search(field.value);
  count.textContent = found.length ? `${found.length} section${found.length === 1 ? "" : "s"}` : "Nothing found.";
  list.replaceChildren();
  results.scrollTop = 0;
  for (const section of found.slice(0, MOST)) {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = results.dataset.root + section.url;
    link.textContent = section.heading === section.page ? section.page : `${section.page} › ${section.heading}`;
    link.addEventListener("click", () => { results.hidden = true; });
    item.append(link, excerpt(section.text, words));
    list.append(item);
  }
}

field.addEventListener("input", show);
field.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (results.hidden) show();
  else results.querySelector("a")?.click();
});
results.querySelector("button").addEventListener("click", () => { results.hidden = true; });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || results.hidden) return;
  results.hidden = true;
  field.focus();
});

const contents = document.querySelector("details.contents");
if (contents && window.matchMedia("(min-width: 80rem)").matches) contents.open = true;
