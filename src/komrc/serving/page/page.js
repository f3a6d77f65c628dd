"use strict";
// The page's behaviour. Text only ever reaches the document as text nodes.

const byId = (id) => document.getElementById(id);
const HISTORY_LIMIT = 50;
const CANDIDATES = 5;

const state = {
  language: "ko",
  running: null, // AbortController of the request under way
  history: [], // newest first: { passage, question, result }
  shown: null, // the entry on display
  chosen: 0, // which of its answers
  samples: [],
};

const words = () => WORDS[state.language];
const percent = (score) => {
  const format = new Intl.NumberFormat(state.language, { style: "percent", maximumFractionDigits: 1 });
  return score > 0 && score < 0.001 ? `< ${format.format(0.001)}` : format.format(score);
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// --- language ---

function speak(language) {
  state.language = language;
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = words()[node.dataset.word];
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = words()[node.dataset.placeholder];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", words()[node.dataset.label]);
  byId("language").textContent = words().language;
  byId("language").lang = language === "ko" ? "en" : "ko";
  count();
  if (state.shown) showEntry(state.shown, state.chosen);
  showHistory();
  speakDocuments();
}

// --- the passage ---

function count() {
  byId("count").textContent = words().count([...byId("passage").value].length);
}

function setPassage(text) {
  byId("passage").value = text;
  count();
  editPassage();
}

function editPassage() {
  byId("view").hidden = true;
  byId("passage").hidden = false;
  byId("edit").hidden = true;
}

function viewPassage(text, answer) {
  const view = byId("view");
  view.replaceChildren();
  if (answer && answer.end_utf16 > answer.start_utf16) {
    const mark = element("mark", text.slice(answer.start_utf16, answer.end_utf16));
    view.append(text.slice(0, answer.start_utf16), mark, text.slice(answer.end_utf16));
  } else {
    view.append(text);
  }
  view.hidden = false;
  byId("passage").hidden = true;
  byId("edit").hidden = false;
  const mark = view.querySelector("mark");
  view.scrollTop = mark ? mark.offsetTop - view.offsetTop - view.clientHeight / 3 : 0;
}

async function openFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  for (const encoding of ["utf-8", "euc-kr"]) {
    try {
      const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
      if (text.includes("\0")) break;
      setPassage(text);
      leaveSample();
      complain(null);
      return;
    } catch {
      // the next encoding
    }
  }
  complain(words().badFile);
}

// --- samples ---

async function loadSamples() {
  try {
    const reply = await fetch("v1/samples", { headers: keyHeader() });
    if (!reply.ok) return;
    state.samples = await reply.json();
  } catch {
    return; // the page works without them
  }
  const select = byId("sample");
  state.samples.forEach((sample, i) => select.append(element("option", sample.title || `${i + 1}`, { value: i })));
  select.hidden = state.samples.length === 0;
  if (state.samples.length && !byId("passage").value) chooseSample(0);
}

function chooseSample(index) {
  const sample = state.samples[index];
  if (!sample) return;
  byId("sample").value = String(index);
  setPassage(sample.context);
  suggest(sample.questions);
}

// The suggested questions are about the sample: with another text they go.
function leaveSample() {
  const index = byId("sample").value;
  if (index === "" || byId("passage").value === state.samples[index].context) return;
  byId("sample").value = "";
  suggest([]);
}

function suggest(questions) {
  const list = byId("suggestions");
  list.replaceChildren(
    ...questions.slice(0, 4).map((question) => {
      const button = element("button", question, { type: "button", lang: "ko" });
      button.addEventListener("click", () => {
        byId("question").value = question;
        ask();
      });
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
  list.hidden = questions.length === 0;
}

// --- asking ---

function keyHeader() {
  const key = byId("key").value;
  return key ? { "x-api-key": key } : {};
}

async function ask() {
  const passage = byId("passage").value;
  const question = byId("question").value.trim();
  if (!passage.trim()) return complain(words().emptyPassage, "passage");
  if (!question) return complain(words().emptyQuestion, "question");
  state.running?.abort();
  const running = (state.running = new AbortController());
  complain(null);
  working(true);
  try {
    const body = { question, context: passage, top_k: CANDIDATES, distinct: true };
    if (byId("always").checked) body.allow_no_answer = false;
    const reply = await fetch("v1/answers", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/x-ndjson", ...keyHeader() },
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!reply.ok) {
      if (reply.status === 401) askForKey();
      throw await failure(reply);
    }
    const result = await readLines(reply.body, showProgress);
    const entry = { passage, question, result };
    state.history.unshift(entry);
    state.history.length = Math.min(state.history.length, HISTORY_LIMIT);
    showEntry(entry, 0);
    showHistory();
    byId("answer-card").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error.name !== "AbortError") complain(error.ours || words().network);
  } finally {
    if (state.running === running) {
      state.running = null;
      working(false);
    }
  }
}

async function failure(reply) {
  let said = {};
  try {
    said = await reply.json();
  } catch {
    // not our form: a proxy's
  }
  return refusal(said);
}

function refusal(said) {
  const error = new Error("refused");
  error.ours = words().codes[said.code] || said.error || words().network;
  return error;
}

// Lines of JSON: progress, then the result.
async function readLines(stream, onProgress) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the answer was cut off");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.progress) onProgress(message.progress);
      if (message.failure) throw refusal(message.failure);
      if (message.result) return message.result;
    }
  }
}

function working(on) {
  byId("working").hidden = !on;
  byId("cancel").hidden = !on;
  byId("progress").removeAttribute("value");
  byId("form").setAttribute("aria-busy", String(on));
}

function showProgress({ done, total }) {
  const bar = byId("progress");
  bar.max = total;
  bar.value = done;
  bar.setAttribute("aria-valuetext", words().progress(done, total));
}

function complain(message, field) {
  byId("error").textContent = message || "";
  byId("error").hidden = !message;
  if (field) {
    if (field === "passage") editPassage();
    byId(field).focus();
  }
}

function askForKey() {
  byId(documentsAreShown() ? "doc-form" : "form").append(byId("key-row"));
  byId("key-row").hidden = false;
  byId("key").focus();
}

// --- answers ---

function showEntry(entry, chosen) {
  state.shown = entry;
  state.chosen = chosen;
  const { answers, no_answer: noAnswer } = entry.result.results[0];
  const answer = answers[chosen];
  const empty = !answer || !answer.text;
  byId("answer-card").hidden = false;
  byId("asked").textContent = entry.question;
  byId("answer").textContent = empty ? words().noAnswer : answer.text;
  byId("answer").classList.toggle("empty", empty);
  byId("score").textContent = answer ? words().score(percent(answer.score)) : "";
  const guess = noAnswer && chosen === 0 ? answers.find((one) => one.text) : null;
  byId("guess").hidden = !guess;
  byId("guess").textContent = guess ? words().guess(guess.text, percent(guess.score)) : "";
  showSentence(empty ? null : answer);
  byId("others-block").hidden = answers.length < 2;
  byId("others").replaceChildren(...answers.map((one, i) => candidate(one, i, entry)));
  byId("timing").textContent = words().timing(Math.round(entry.result.timing_ms.total), entry.result.windows);
  if (byId("passage").value !== entry.passage) {
    byId("passage").value = entry.passage;
    count();
    leaveSample();
  }
  viewPassage(entry.passage, noAnswer && chosen === 0 ? null : answer);
}

function showSentence(answer) {
  const line = byId("sentence");
  line.replaceChildren();
  line.hidden = !answer?.sentence;
  if (line.hidden) return;
  const { sentence } = answer;
  const from = answer.start_utf16 - sentence.start_utf16;
  const to = answer.end_utf16 - sentence.start_utf16;
  line.append(sentence.text.slice(0, from), element("strong", sentence.text.slice(from, to)), sentence.text.slice(to));
}

function candidate(answer, index, entry) {
  const text = answer.text || words().none;
  const button = element("button", undefined, {
    type: "button",
    "aria-pressed": String(index === state.chosen),
    "aria-label": words().candidate(index + 1, text, percent(answer.score)),
  });
  const bar = element("span", undefined, { class: "bar" });
  bar.style.inlineSize = `${Math.max(1, answer.score * 100)}%`;
  button.append(bar, element("span", text, { class: "text" }), element("span", percent(answer.score), { class: "number" }));
  button.addEventListener("click", () => {
    showEntry(entry, index);
    byId("others").children[index].firstChild.focus();
  });
  const item = element("li");
  item.append(button);
  return item;
}

function showHistory() {
  byId("history-card").hidden = state.history.length === 0;
  byId("history").replaceChildren(
    ...state.history.map((entry) => {
      const best = entry.result.results[0].answers[0];
      const button = element("button", undefined, { type: "button" });
      if (entry === state.shown) button.setAttribute("aria-current", "true");
      button.append(element("span", entry.question), element("b", best?.text || words().none));
      button.addEventListener("click", () => {
        byId("question").value = entry.question;
        const place = state.history.indexOf(entry);
        showEntry(entry, 0);
        showHistory();
        byId("history").children[place].firstChild.focus();
      });
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
}

// --- events ---

function listen() {
  byId("language").addEventListener("click", () => speak(state.language === "ko" ? "en" : "ko"));
  byId("passage").addEventListener("input", () => {
    count();
    leaveSample();
  });
  byId("edit").addEventListener("click", () => {
    editPassage();
    byId("passage").focus();
  });
  byId("sample").addEventListener("change", (event) => event.target.value !== "" && chooseSample(Number(event.target.value)));
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) openFile(file);
  });
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("cancel").addEventListener("click", () => {
    state.running?.abort();
    byId("question").focus();
  });
  byId("forget").addEventListener("click", () => {
    state.history = [];
    showHistory();
    byId("question").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      if (documentsAreShown()) askDocuments();
      else ask();
    }
    if (event.key === "Escape") state.running?.abort();
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId(documentsAreShown() ? "doc-drop" : "drop").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hideDrop();
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    hideDrop();
    if (documentsAreShown()) return dropDocuments(event.dataTransfer);
    const [file] = event.dataTransfer.files;
    if (file) openFile(file);
  });
}

function hideDrop() {
  byId("drop").hidden = true;
  byId("doc-drop").hidden = true;
}

// The other script is loaded next; both are ready then.
document.addEventListener("DOMContentLoaded", () => {
  listen();
  listenDocuments();
  speak(navigator.language.startsWith("ko") ? "ko" : "en");
  loadSamples();
  loadIndex();
});
