"use strict";
// The second mode of the page: questions on the documents of the server's index, and adding files to it.

const PART = 3000; // characters of a document that are shown on each side of a place, and fetched at a time
const LEAST = 0.001; // probability of a candidate that is shown behind the second
const POLL = 1000; // milliseconds between two looks at the index while it grows
const TRIES = 5; // for a file, while the server is busy

const documents = {
  index: null, // the reply of v1/index
  running: null, // AbortController of the question under way
  uploading: null, // AbortController of the files under way
  shown: null, // { question, result }
  chosen: 0, // which of its answers
  part: null, // of the open document: { document, title, text: code points, start, end, characters, mark: [start, end] }
};

const documentsAreShown = () => !byId("documents-mode").hidden;

// --- the mode ---

async function loadIndex() {
  try {
    const reply = await fetch("v1/index", { headers: keyHeader() });
    if (!reply.ok) return;
    documents.index = await reply.json();
  } catch {
    return; // the page works without it
  }
  if (!documents.index.available) return;
  if (byId("modes").hidden) {
    byId("modes").hidden = false;
    if (location.hash !== "#passage") showMode("documents");
  }
  showIndex();
}

function showMode(mode) {
  byId("documents-mode").hidden = mode !== "documents";
  byId("passage-mode").hidden = mode !== "passage";
  byId("mode-documents").setAttribute("aria-pressed", String(mode === "documents"));
  byId("mode-passage").setAttribute("aria-pressed", String(mode === "passage"));
  byId("skip").href = mode === "documents" ? "#doc-question" : "#question";
  history.replaceState(null, "", `#${mode}`);
}

function speakDocuments() {
  showIndex();
  if (documents.shown) showDocumentAnswer(documents.chosen);
}

function showIndex() {
  const { index } = documents;
  if (!index?.available) return;
  byId("doc-count").textContent = index.documents
    ? words().documentsCount(index.documents, index.passages)
    : words().noDocuments;
  byId("upload-card").hidden = !index.upload;
  if (index.upload) {
    byId("upload-hint").textContent = words().uploadHint(size(index.upload.max_bytes));
    byId("upload-files").accept = index.upload.endings.join(",");
  }
}

const size = (bytes) => {
  const unit = bytes >= 1e6 ? "megabyte" : "kilobyte";
  const value = bytes / (bytes >= 1e6 ? 1e6 : 1e3);
  return new Intl.NumberFormat(state.language, { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
};

// --- asking ---

async function askDocuments() {
  const question = byId("doc-question").value.trim();
  if (!question) return complainDocuments(words().emptyQuestion, "doc-question");
  documents.running?.abort();
  const running = (documents.running = new AbortController());
  complainDocuments(null);
  searching(true);
  try {
    const body = { question, top_k: CANDIDATES };
    if (byId("doc-always").checked) body.allow_no_answer = false;
    const reply = await fetch("v1/ask", {
      method: "POST",
      headers: { "content-type": "application/json", ...keyHeader() },
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!reply.ok) {
      if (reply.status === 401) askForKey();
      throw await failure(reply);
    }
    const result = await reply.json();
    result.answers = result.answers.filter((answer, i) => i < 2 || answer.score >= LEAST);
    documents.shown = { question, result };
    showDocumentAnswer(0);
    closeDocument();
    byId("doc-answer-card").scrollIntoView({ block: "nearest" });
    loadIndex(); // another program may have changed it
  } catch (error) {
    if (error.name !== "AbortError") complainDocuments(error.ours || words().network);
  } finally {
    if (documents.running === running) {
      documents.running = null;
      searching(false);
    }
  }
}

function searching(on) {
  byId("doc-working").hidden = !on;
  byId("doc-cancel").hidden = !on;
  byId("doc-form").setAttribute("aria-busy", String(on));
}

function complainDocuments(message, field) {
  byId("doc-error").textContent = message || "";
  byId("doc-error").hidden = !message;
  if (field) byId(field).focus();
}

// --- answers ---

const fileOf = (answer) => answer.document.split("/").pop();
const placeOf = (answer) => words().place(answer.page, answer.line);

function showDocumentAnswer(chosen) {
  const { question, result } = documents.shown;
  documents.chosen = chosen;
  const answer = result.answers[chosen];
  const empty = !answer?.text;
  const guess = empty ? result.answers.find((one) => one.text) : null;
  const placed = empty ? guess : answer; // whose place is shown
  byId("doc-answer-card").hidden = false;
  byId("doc-asked").textContent = question;
  byId("doc-answer").textContent = empty ? words().documentsNoAnswer : answer.text;
  byId("doc-answer").lang = empty ? state.language : "ko";
  byId("doc-answer").classList.toggle("empty", empty);
  byId("doc-score").textContent = answer ? words().score(percent(answer.score)) : "";
  byId("doc-guess").hidden = !guess;
  byId("doc-guess").textContent = guess ? words().guess(guess.text, percent(guess.score)) : "";
  byId("doc-place").hidden = !placed;
  if (placed) showPlace(placed);
  byId("doc-others-block").hidden = result.answers.length < 2;
  byId("doc-others").replaceChildren(...result.answers.map(documentCandidate));
  const { search, read } = result.timing_ms;
  byId("doc-timing").textContent = words().documentsTiming(Math.round(search), Math.round(read), result.passages);
}

function showPlace(answer) {
  const { passage, in_passage: span } = answer;
  const where = [passage.heading, answer.document, placeOf(answer)].filter((part) => part && part !== passage.title);
  byId("doc-source").replaceChildren(passage.title, " ", element("span", where.join(" · ")));
  const { text } = passage;
  byId("doc-passage").replaceChildren(
    text.slice(0, span.start_utf16),
    element("mark", text.slice(span.start_utf16, span.end_utf16)),
    text.slice(span.end_utf16),
  );
  byId("doc-open").onclick = () => openDocument(answer.document, passage.title, answer.start, answer.end);
  byId("doc-also").replaceChildren(
    ...answer.also.map((place) => {
      const button = element("button", words().alsoIn(fileOf(place), placeOf(place)), { type: "button" });
      button.addEventListener("click", () => openDocument(place.document, fileOf(place), place.start, place.end));
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
}

function documentCandidate(answer, index) {
  const text = answer.text || words().none;
  const where = answer.document ? `${fileOf(answer)} · ${placeOf(answer)}` : "";
  const button = element("button", undefined, {
    type: "button",
    "aria-pressed": String(index === documents.chosen),
    "aria-label": words().documentCandidate(index + 1, text, percent(answer.score), where),
  });
  const bar = element("span", undefined, { class: "bar" });
  bar.style.inlineSize = `${Math.max(1, answer.score * 100)}%`;
  button.append(bar, element("span", text, { class: "text" }), element("span", percent(answer.score), { class: "number" }));
  if (where) button.append(element("span", where, { class: "file" }));
  button.addEventListener("click", () => {
    showDocumentAnswer(index);
    byId("doc-others").children[index].firstChild.focus();
  });
  const item = element("li");
  item.append(button);
  return item;
}

// --- the document ---

async function fetchPart(name, start, end) {
  const query = new URLSearchParams({ document: name, start, end, around: PART });
  const reply = await fetch(`v1/documents/text?${query}`, { headers: keyHeader() });
  if (!reply.ok) throw await failure(reply);
  const part = await reply.json();
  return { ...part, text: Array.from(part.text) }; // offsets count code points
}

async function openDocument(name, title, start, end) {
  try {
    documents.part = { ...(await fetchPart(name, start, end)), title, mark: [start, end] };
  } catch (error) {
    return complainDocuments(error.ours || words().network);
  }
  byId("document-card").hidden = false;
  byId("documents-mode").classList.add("open");
  showPart();
  const view = byId("document-view");
  const mark = view.querySelector("mark");
  view.focus({ preventScroll: true });
  byId("document-card").scrollIntoView({ block: "nearest" });
  if (mark) view.scrollTop = mark.offsetTop - view.clientHeight / 3;
}

async function extendDocument(earlier) {
  const { part } = documents;
  try {
    const place = earlier ? part.start : part.end;
    const more = await fetchPart(part.document, place, place);
    if (documents.part !== part) return;
    const view = byId("document-view");
    const fromEnd = view.scrollHeight - view.scrollTop;
    if (earlier) {
      part.text = [...more.text.slice(0, part.start - more.start), ...part.text];
      part.start = more.start;
    } else {
      part.text = [...part.text, ...more.text.slice(part.end - more.start)];
      part.end = more.end;
    }
    showPart();
    if (earlier) view.scrollTop = view.scrollHeight - fromEnd; // what was in view stays there
    view.focus({ preventScroll: true });
  } catch (error) {
    complainDocuments(error.ours || words().network);
  }
}

function showPart() {
  const { document: name, title, text, start, end, characters, mark } = documents.part;
  const slice = (from, to) => text.slice(Math.max(0, from - start), Math.max(0, to - start)).join("");
  byId("document-title").textContent = title;
  byId("document-id").textContent = name;
  byId("document-view").replaceChildren(
    slice(start, mark[0]),
    ...(mark[1] > mark[0] ? [element("mark", slice(...mark))] : []),
    slice(mark[1], end),
  );
  byId("document-earlier").hidden = start === 0;
  byId("document-later").hidden = end >= characters;
}

function closeDocument() {
  documents.part = null;
  byId("document-card").hidden = true;
  byId("documents-mode").classList.remove("open");
}

// --- adding files ---

function dropDocuments(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  const files = [...transfer.files];
  const folders = files.filter((file, i) => entries[i]?.isDirectory);
  addFiles(files.filter((file) => !folders.includes(file)), folders);
}

async function addFiles(files, folders = []) {
  const limits = documents.index?.upload;
  if (!limits) return complainDocuments(words().uploadsOff);
  if (documents.uploading || files.length + folders.length === 0) return;
  const running = (documents.uploading = new AbortController());
  byId("upload-unread").replaceChildren();
  byId("upload-result").textContent = "";
  for (const folder of folders) reportUnread(folder.name, words().isFolder, state.language);
  byId("upload-working").hidden = false;
  byId("upload-progress").max = files.length;
  const poll = setInterval(loadIndex, POLL);
  let added = 0;
  let read = 0;
  let message = "";
  try {
    for (const [number, file] of files.entries()) {
      byId("upload-progress").value = number;
      byId("upload-label").textContent = words().uploading(number + 1, files.length, file.name);
      if (file.size > limits.max_bytes) {
        reportUnread(file.name, words().tooLarge(size(limits.max_bytes)), state.language);
        continue;
      }
      const result = await addFile(file, running.signal);
      added += result.documents;
      read += result.documents > 0;
      for (const { name, reason } of result.unread) reportUnread(name, reason, "en");
    }
  } catch (error) {
    message = error.name === "AbortError" ? words().uploadStopped : error.ours || words().network;
  } finally {
    clearInterval(poll);
    documents.uploading = null;
    byId("upload-working").hidden = true;
    byId("upload-result").textContent = `${message} ${words().uploaded(read, added)}`.trim();
    loadIndex();
  }
}

async function addFile(file, signal) {
  for (let attempt = 1; ; attempt += 1) {
    const reply = await fetch(`v1/documents?${new URLSearchParams({ name: file.name })}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", ...keyHeader() },
      body: file,
      signal,
    });
    if (reply.ok) return reply.json();
    if (reply.status === 401) askForKey();
    if (![429, 503].includes(reply.status) || attempt === TRIES) throw await failure(reply);
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(reply.headers.get("retry-after") || 1)));
    signal.throwIfAborted();
  }
}

function reportUnread(name, reason, language) {
  const item = element("li");
  item.append(element("b", name), ": ", element("span", reason, { lang: language }));
  byId("upload-unread").append(item);
}

// --- events ---

function listenDocuments() {
  byId("mode-documents").addEventListener("click", () => showMode("documents"));
  byId("mode-passage").addEventListener("click", () => showMode("passage"));
  byId("key").addEventListener("change", loadIndex);
  byId("doc-form").addEventListener("submit", (event) => {
    event.preventDefault();
    askDocuments();
  });
  byId("doc-cancel").addEventListener("click", () => {
    documents.running?.abort();
    byId("doc-question").focus();
  });
  byId("document-close").addEventListener("click", () => {
    closeDocument();
    byId("doc-open").focus();
  });
  byId("document-earlier").addEventListener("click", () => extendDocument(true));
  byId("document-later").addEventListener("click", () => extendDocument(false));
  byId("upload-files").addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    addFiles(files);
  });
  byId("upload-cancel").addEventListener("click", () => documents.uploading?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && documentsAreShown()) documents.running?.abort();
  });
}
