// The page of `make review`: shows items, sends decisions. All text from files is set as text.

const KINDS = {
  copies: ["Copies", "One picture and its edits: the first stays, the others are rejected. The most doubtful groups come first."],
  apart: ["Labels apart", "Pairs that look like copies and have different labels: both stay, in one split. Call them the same, give the right label, or agree that they are two."],
  candidates: ["Close calls", "Pairs that were nearly or barely taken for copies. The most open ones come first."],
  leaks: ["Leaks", "Copies across official splits: test keeps its image before validation, validation before train. Keeping a copy lets it leak."],
  conflicts: ["Label conflicts", "Identical files whose labels differ. Give the right one."],
  rejected: ["Rejected", "What clean rejected, and why. What does not decode cannot be kept."],
  decided: ["Your decisions", "All that data/review.csv says, also about images that are not here now. dvc repro applies it."],
};
const ACTS = {
  keep: { about: "status", text: "Keep", key: "P", done: "Kept" },
  reject: { about: "status", text: "Reject", key: "X", done: "Rejected" },
  duplicate: { about: "pair", text: "Same", key: "S", done: "The same", style: "same" },
  not_duplicate: { about: "pair", text: "Different", key: "D", done: "Not a duplicate", style: "apart" },
};
const TITLES = {
  keep: "This image stays, whatever flags say and whosever copy it is", reject: "This image goes",
  duplicate: "One is a copy of the other", not_duplicate: "Not a duplicate: both are pictures of their own",
};
const VERDICTS = {
  whole: "copy, the whole picture agrees", matches: "copy, by matching places", covered: "copy, under a caption or sticker", likeness: "copy, by likeness", scene: "same scene, no copy", difference: "alike, but they show different things", none: "no proof of a copy",
};

const $ = (id) => document.getElementById(id);
const view = { kind: "copies", start: 0, query: "", undecided: false, items: [], at: 0, image: 0, next: null, earlier: false };
let state = { counts: {}, undo: 0, redo: 0, labels: [], rated: false, scale: [1, 10] };
let token = "";

// --- talking to the server ---------------------------------------------------------------------

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { "X-Token": token }, cache: "no-store" });
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(answer.error || response.statusText);
  if (answer.counts) { state = { ...state, ...answer }; renderState(); }
  return answer;
}
const post = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body ?? {}) });
const busy = { chain: Promise.resolve() };
// One action after the other, in the order in which keys were pressed.
const act = (work) => (busy.chain = busy.chain.then(work).catch((error) => say(
  error instanceof TypeError && /fetch/i.test(error.message) ? "The server has ended: start make review again." : error.message, true)));

async function begin() {
  const given = location.hash.slice(1);
  if (given.length > 20) { token = given; history.replaceState(null, "", "/"); }
  else token = sessionStorage.getItem("token") || "";
  const kept = JSON.parse(sessionStorage.getItem("view") || "{}");
  for (const name of ["kind", "start", "undecided"]) if (name in kept) view[name] = kept[name];
  try {
    token = (await post("/api/session")).token;
    sessionStorage.setItem("token", token);
    $("undecided").checked = view.undecided;
    await load(kept.item);
    if (!kept.kind && !view.items.length) {
      const kind = Object.keys(KINDS).find((name) => state.counts[name]?.total);
      if (kind) await open(kind);
    }
  } catch (error) {
    $("empty").hidden = false;
    $("empty").textContent = `No session: ${error.message}.`;
  }
}

async function load(focus, extra = {}) {
  const asked = new URLSearchParams({ kind: view.kind, start: view.start, query: view.query, undecided: view.undecided ? "1" : "0", ...extra });
  const answer = await ask(`/api/items?${asked}`);
  view.kind = answer.kind; view.items = answer.items; view.next = answer.next; view.earlier = answer.earlier;
  view.start = answer.items[0]?.position ?? 0;
  const found = focus ? answer.items.findIndex((item) => item.id === focus) : -1;
  view.at = focus === "last" ? answer.items.length - 1 : Math.max(0, found);
  view.image = startingImage(view.items[view.at]);
  render();
}

async function open(kind) {
  Object.assign(view, { kind, start: 0 });
  scrollTo(0, 0);
  await load();
}

async function turn(forwards, focus) {
  if (forwards ? view.next === null : !view.earlier) return false;
  if (forwards) view.start = view.next;
  scrollTo(0, 0);
  await load(focus, forwards ? {} : { backwards: "1" });
  return true;
}

// Fetch again the items on the page that a decision is about.
async function renew(keys) {
  const touched = view.items.filter((item) => item.images.some((image) => keys.has(image.key)));
  for (const item of touched) {
    const answer = await ask(`/api/item?id=${encodeURIComponent(item.id)}`).catch(() => null);
    const fresh = answer?.item ?? { ...item, settled: false, gone: true };
    if (!item.all && fresh.images.length > item.images.length) {
      fresh.more = fresh.images.length - item.images.length;
      fresh.images.length = item.images.length;
      fresh.pairs.length = item.images.length - 1;
    }
    const at = view.items.indexOf(item);
    view.items[at] = { ...fresh, all: item.all };
    $("items").children[at].replaceWith(renderItem(view.items[at], at));
  }
  select(view.at, view.image, false);
}

// --- decisions ---------------------------------------------------------------------------------

async function decide(item, decisions, words, { advance = true } = {}) {
  if (!decisions.length) return;
  await post("/api/decide", { decisions, where: item.id });
  await renew(new Set(decisions.flatMap((d) => [d.key, d.other].filter(Boolean))));
  say(words);
  if (advance && $("advance").checked) await moveOn(item.id);
}

// After a decision: the next open image of this item, or the next item.
async function moveOn(id) {
  const item = view.items[view.at];
  if (!item || item.id !== id) return;
  if (!item.settled && item.images.length > 1) {
    const open = item.images.findIndex((image, n) => n > view.image && !image.decision && !item.pairs[n - 1]?.decision);
    return open > 0 ? select(view.at, open) : undefined;
  }
  if (item.settled) await move(1);
}

// What a key or button means for the image that it belongs to.
async function press(kind, at = view.at, number = view.image) {
  const item = view.items[at], image = item?.images[number], { about, done } = ACTS[kind];
  if (!image) return;
  const name = nameOf(image);
  if (about === "status") {
    if (kind === "keep" && !image.decodes) return say("This file does not decode: there is nothing to keep.", true);
    if (image.decision === kind) return decide(item, [{ key: image.key, clear: about }], `Taken back: ${name}`, { advance: false });
    return decide(item, [{ key: image.key, decision: kind }], `${done}: ${name}`);
  }
  const pair = item.pairs[Math.max(0, number - 1)];
  if (!pair || (number === 0 && item.images.length > 2)) return say("Choose a copy first: this key is about a copy and the first image.", true);
  const both = { key: pair.a, other: pair.b };
  if (pair.decision === kind) return decide(item, [{ ...both, clear: about }], "Taken back", { advance: false });
  return decide(item, [{ ...both, decision: kind }], `${done}: ${name}`);
}

function agreement(item) {
  if (item.kind === "candidates") {
    const pair = item.pairs[0];
    return { text: pair.duplicate ? "Agree: the same" : "Agree: two pictures", kind: pair.duplicate ? "duplicate" : "not_duplicate" };
  }
  if (item.kind === "apart") return { text: "Agree: two pictures", kind: "not_duplicate" };
  if (item.kind === "rejected") return { text: "Agree: reject", kind: "reject" };
  if (["copies", "leaks"].includes(item.kind)) {
    return item.pairs.length ? { text: item.pairs.length + item.more > 1 ? "Agree: all the same" : "Agree: the same", kind: "duplicate" } : { text: "Agree: keep one", kind: "keep" };
  }
  return null;
}

async function agree(at = view.at) {
  let item = view.items[at];
  const wanted = item && agreement(item);
  if (!wanted) return;
  if (item.more) { await showAll(at); item = view.items[at]; }
  const decisions = item.pairs.length
    ? item.pairs.filter((pair, n) => !pair.decision && !item.images[n + 1].decision).map((pair) => ({ key: pair.a, other: pair.b, decision: wanted.kind }))
    : item.images.filter((image) => !image.decision).map((image) => ({ key: image.key, decision: wanted.kind }));
  if (!decisions.length) return move(1);
  await decide(item, decisions, wanted.text.replace("Agree: ", "Agreed: "));
}

async function relabel(item, image, value) {
  if (value === "") return decide(item, [{ key: image.key, clear: state.rated ? "mean" : "label" }], "Label as it was", { advance: false });
  await decide(item, [{ key: image.key, decision: state.rated ? "mean" : "label", value }], `Label of ${nameOf(image)}: ${value}`, { advance: item.kind === "conflicts" });
}

async function step(path) {
  const answer = await post(path);
  if (answer.where === null) return say(path.endsWith("undo") ? "Nothing to undo." : "Nothing to redo.");
  if (!view.items.some((item) => item.id === answer.where)) {
    $("query").value = view.query = ""; $("undecided").checked = view.undecided = false;
    await load(answer.where, { at: answer.where });
  } else {
    view.at = view.items.findIndex((item) => item.id === answer.where);
    await renew(new Set(view.items.flatMap((item) => item.images.map((image) => image.key))));
  }
  say(path.endsWith("undo") ? "Undone" : "Done again");
  select(view.at, startingImage(view.items[view.at]));
}

async function showAll(at) {
  const item = (await ask(`/api/item?id=${encodeURIComponent(view.items[at].id)}`)).item;
  view.items[at] = { ...item, all: true };
  $("items").children[at].replaceWith(renderItem(view.items[at], at));
  select(at, view.image, false);
}

// --- moving ------------------------------------------------------------------------------------

const startingImage = (item) => (item && item.images.length > 1 && item.kind !== "decided" ? 1 : 0);

async function move(by) {
  const at = view.at + by;
  if (at >= 0 && at < view.items.length) return select(at, startingImage(view.items[at]));
  if (!(await turn(by > 0, by > 0 ? undefined : "last"))) say(by > 0 ? "This was the last one." : "This is the first one.");
}

function aside(by) {
  const images = view.items[view.at]?.images.length ?? 0;
  if (view.image + by >= 0 && view.image + by < images) select(view.at, view.image + by);
  else act(() => move(by));
}

function select(at, number, focus = true, scroll = true) {
  const item = view.items[at];
  if (!item) return;
  view.at = at;
  view.image = Math.min(Math.max(0, number), item.images.length - 1);
  const card = $("items").children[at], moved = !card.classList.contains("now");
  const figure = card.querySelectorAll(".image")[view.image];
  document.querySelectorAll(".now").forEach((element) => element.classList.remove("now"));
  document.querySelectorAll(".image").forEach((element) => (element.tabIndex = -1));
  card.classList.add("now"); figure.classList.add("now"); figure.tabIndex = 0;
  if (focus) figure.focus({ preventScroll: true });
  if (focus && scroll) {
    const room = innerHeight - document.querySelector("header").offsetHeight - 32;
    if (moved) card.scrollIntoView({ block: card.offsetHeight > room ? "start" : "nearest" });
    if (!moved || view.image > 1) figure.scrollIntoView({ block: "nearest" });
  }
  remember();
  if ($("large").open) showLarge();
}

function remember() {
  sessionStorage.setItem("view", JSON.stringify({ kind: view.kind, start: view.start, undecided: view.undecided, item: view.items[view.at]?.id }));
}

// --- drawing -----------------------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
const words = (text) => String(text ?? "").replaceAll("_", " ");
const count = (number) => Number(number).toLocaleString("en");
const nameOf = (image) => image.records[0]?.name ?? image.key.slice(0, 12);
const real = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
const size = (bytes) => (bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1000))} KB`);

function render() {
  $("items").className = view.kind === "rejected" ? "tiles" : "";
  $("items").dataset.kind = view.kind;
  $("items").replaceChildren(...view.items.map(renderItem));
  $("about").textContent = KINDS[view.kind][1];
  $("empty").hidden = view.items.length > 0;
  $("empty").textContent = view.query || view.undecided ? "Nothing here matches, or all of it is decided." : "Nothing of this kind.";
  document.querySelector(".pager").hidden = !view.earlier && view.next === null;
  $("earlier").disabled = !view.earlier;
  $("later").disabled = view.next === null;
  renderState();
  if (view.items.length) select(view.at, view.image, !document.activeElement.closest("header"), view.at > 0);
  else remember();
}

function renderState() {
  $("undo").disabled = !state.undo; $("redo").disabled = !state.redo;
  for (const kind of Object.keys(KINDS)) {
    const { total, decided } = state.counts[kind] ?? { total: 0, decided: 0 };
    const left = total - decided, tab = $(`kind-${kind}`);
    tab.querySelector("b").textContent = kind === "decided" ? count(total) : left ? `${count(left)} open` : total ? "all done" : "none";
    if (kind === view.kind) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
  }
  const { total, decided } = state.counts[view.kind] ?? { total: 0, decided: 0 };
  $("progress").hidden = view.kind === "decided" || !total;
  $("done").style.width = `${total ? (100 * decided) / total : 0}%`;
  $("share").textContent = `${count(decided)} of ${count(total)} decided`;
}

function renderItem(item, at) {
  const first = item.images[0], wanted = agreement(item);
  const total = item.images.length + item.more;
  const pair = ["candidates", "apart"].includes(item.kind) || (item.kind === "decided" && item.images.length === 2);
  const what = pair ? null : total > 1 ? `${count(total - 1)} ${total === 2 ? "copy" : "copies"}` : null;
  const shape = pair ? "images two" : total === 1 ? "images one" : "images";
  const images = make("div", { class: shape }, ...item.images.map((image, n) => renderImage(item, image, n, at, pair)));
  if (pair) images.append(make("div", { class: "between" }, evidence(item.pairs[0]), verdict(item.pairs[0]), pairActs(item, at, 1)));
  if (total === 1 && item.kind !== "rejected") images.append(records(item, first, at));
  if (item.more) images.append(make("button", { class: "all", type: "button", onclick: () => act(() => showAll(at)) }, `Show ${count(item.more)} more`));
  return make("li", { class: "item", "aria-label": `${KINDS[item.kind][0]}: ${nameOf(first)}` },
    make("div", { class: "top" },
      make("span", { class: "number" }, count(item.position + 1)),
      make("h2", {}, pair ? `${nameOf(first)}  ·  ${nameOf(item.images[1])}` : nameOf(first)),
      what && make("span", { class: "what" }, what),
      make("div", { class: "side" },
        item.gone ? make("span", { class: "muted" }, "no decision any more") : item.settled && make("span", { class: first.decodes || first.decision ? "tick" : "muted" }, first.decodes || first.decision ? "✓ decided" : "nothing to decide"),
        wanted && !item.settled && make("button", { type: "button", "aria-keyshortcuts": "Enter", onclick: () => act(() => { view.at = at; return agree(at); }) }, wanted.text, make("kbd", {}, "Enter")))),
    images);
}

function renderImage(item, image, n, at, pair) {
  const name = nameOf(image);
  const link = n > 0 ? item.pairs[n - 1] : null;
  const tell = [image.width && `${image.width} × ${image.height}`, image.format, image.bytes && size(image.bytes)].filter(Boolean).join(" · ");
  const figure = make("figure", { class: `image decision-${image.decision ?? "none"}`, tabindex: "-1", "data-key": image.key, "aria-label": `${name}, ${stateOf(image, n, item)}${image.decision ? `, you decided: ${image.decision}` : ""}` },
    thumbnail(image, at, n),
    make("div", { class: "pills" }, pill(image, n, item),
      image.decision && make("span", { class: `pill mine ${image.decision === "keep" ? "kept" : "gone"}` }, image.decision === "keep" ? "you: keep" : "you: reject"),
      image.decided_label && make("span", { class: "pill mine" }, `you: ${image.decided_label}`),
      link?.decision && !pair && make("span", { class: "pill mine pairs" }, link.decision === "duplicate" ? "you: the same" : "you: not a duplicate"),
      ...(image.flags ?? []).filter((flag) => flag !== image.reason).map((flag) => make("span", { class: "pill flag" }, words(flag)))),
    make("div", { class: "name" }, name),
    make("div", { class: "facts" }, ...[image.label && make("b", {}, image.label), image.split && make("b", {}, image.split), tell, image.records[0]?.source]
      .filter(Boolean).flatMap((part, i) => (i ? [" · ", part] : [part]))),
    image.count > 1 && (item.images.length > 1 || item.kind === "rejected") && make("details", {}, make("summary", {}, `${count(image.count)} identical files`),
      make("ul", {}, ...image.records.map((record) => make("li", {}, [record.name, record.label, record.split, words(record.reason)].filter(Boolean).join(" · "))))),
    link && !pair && evidence(link), link && !pair && verdict(link),
    make("div", { class: "acts" }, imageAct("keep", image, at, n), imageAct("reject", image, at, n),
      image.known && image.decodes && make("button", { type: "button", "aria-keyshortcuts": "l", onclick: () => edit(at, n) }, state.rated ? "Score" : "Label", make("kbd", {}, "L")),
      ...(link && !pair ? pairButtons(link, at, n) : [])));
  figure.addEventListener("focusin", (event) => { if (event.target === figure && (view.at !== at || view.image !== n)) select(at, n, false); });
  figure.addEventListener("click", (event) => { if (!event.target.closest("button, input, summary")) select(at, n); else { view.at = at; view.image = n; select(at, n, false); } });
  return figure;
}

function stateOf(image, n, item) {
  if (!image.known) return "not here now";
  if (image.status === "kept") return n === 0 && item.images.length > 1 && ["copies", "leaks"].includes(item.kind) ? "kept: the best" : "kept";
  return image.status ? `${image.status}: ${words(image.reason)}` : "withdrawn by its source";
}
const pill = (image, n, item) => make("span", { class: `pill ${image.status === "kept" ? "kept" : image.status ? "gone" : ""}` }, stateOf(image, n, item));

function thumbnail(image, at, n) {
  const none = (text) => make("div", { class: "thumbnail none" }, text);
  if (!image.known) return none("This image is not in data/raw now");
  if (!image.decodes) return none(`No picture: ${words(image.reason ?? "it does not decode")}`);
  const button = make("button", { class: "thumbnail", type: "button", tabindex: "-1", "aria-label": `See ${nameOf(image)} large`, onclick: () => { select(at, n); showLarge(true); } });
  const picture = make("img", { src: `/picture/${image.key}`, alt: "", loading: "lazy", decoding: "async" });
  picture.addEventListener("error", () => button.replaceWith(none("This image cannot be shown")));
  button.append(picture);
  return button;
}

function evidence(pair) {
  if (pair.similarity === undefined) return null;
  const values = [["normalised", real(pair.normalised), "similarity beyond that to foreign photographs"], ["cosine", real(pair.similarity), "similarity of the embeddings"],
    ["inliers", pair.inliers === null ? "–" : count(pair.inliers), "matching places that agree on one map"], ["agreement", real(pair.agreement), "of detail, after alignment"],
    ["SSIM", real(pair.ssim), "structure, after alignment"], ["MSE", real(pair.mse), "difference of grey values, after alignment"]];
  return make("dl", { class: "evidence" }, ...values.map(([name, value, title]) => make("div", { title }, make("dt", {}, name), make("dd", {}, value))));
}
function verdict(pair) {
  const said = pair.similarity === undefined ? "never compared" : VERDICTS[pair.decided_by] ?? words(pair.decided_by);
  return make("p", { class: "verdict" }, `Darkroom: ${said}`);
}

function button(kind, pressed, onclick, disabled) {
  const { text, key, style } = ACTS[kind];
  return make("button", { type: "button", class: style ?? kind, title: TITLES[kind], "aria-pressed": String(pressed), "aria-keyshortcuts": key.toLowerCase(), "data-act": kind, onclick, disabled }, text, make("kbd", {}, key));
}
const imageAct = (kind, image, at, n) => button(kind, image.decision === kind, () => act(() => press(kind, at, n)), !image.known || (kind === "keep" && !image.decodes));
const pairButtons = (pair, at, n) => ["duplicate", "not_duplicate"].map((kind) => button(kind, pair.decision === kind, () => act(() => { view.at = at; view.image = n; return press(kind, at, n); })));
const pairActs = (item, at, n) => make("div", { class: "acts" }, ...pairButtons(item.pairs[0], at, n));

function records(item, image, at) {
  const rows = image.records.map((record) => make("tr", {}, ...[record.name, record.label, record.split, record.reason ? words(record.reason) : record.status].map((cell) => make("td", {}, cell ?? "–"))));
  const table = rows.length > 0 && make("table", {}, make("thead", {}, make("tr", {}, ...["file", "label", "split", "what became of it"].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
  const more = image.count > image.records.length && make("p", { class: "muted" }, `and ${count(image.count - image.records.length)} more`);
  const choices = item.kind === "conflicts" && make("div", { class: "acts" }, ...choicesOf(image).map((value, n) =>
    make("button", { type: "button", "aria-pressed": String(image.decided_label === value), onclick: () => act(() => { view.at = at; return relabel(item, image, value); }) }, value, n < 9 && make("kbd", {}, String(n + 1)))));
  return make("div", { class: "records" }, table, more, choices);
}
// A mean is offered without its spread: what a person says has none.
const choicesOf = (image) => [...new Set(image.records.map((record) => record.label).filter(Boolean).map((label) => (state.rated ? meanOf(label) : label)))];
const meanOf = (label) => label.split(" ")[0];

function edit(at, n) {
  select(at, n);
  const item = view.items[at], image = item.images[n];
  if (!image.known || !image.decodes) return;
  const place = document.querySelectorAll(".item")[at].querySelectorAll(".image")[n].querySelector(".acts");
  const old = image.decided_label ?? (state.rated ? meanOf(image.label ?? "") : image.label ?? "");
  const field = make("input", { value: old, maxlength: "500", list: state.rated ? null : "labels", "aria-label": state.rated ? `Mean score, ${state.scale.join(" to ")}` : "Label; empty as it was", placeholder: state.rated ? `${state.scale.join(" to ")}` : "label",
    ...(state.rated ? { type: "number", step: "any", min: state.scale[0], max: state.scale[1] } : {}) });
  const list = make("datalist", { id: "labels" }, ...state.labels.map((label) => make("option", { value: label })));
  const done = () => { form.replaceWith(place); select(at, n); };
  const form = make("form", { class: "edit", onsubmit: (event) => { event.preventDefault(); const value = field.value.trim(); done(); act(() => relabel(view.items[at], image, value)); } },
    field, list, make("button", { type: "submit" }, "Save"), make("button", { type: "button", onclick: done }, "Cancel"));
  field.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); done(); } });
  place.replaceWith(form);
  field.focus(); field.select();
}

function showLarge(start) {
  const item = view.items[view.at], number = view.image;
  if (!item) return;
  const shown = item.images.length > 1 ? [item.images[0], item.images[Math.max(1, number)]] : [item.images[0]];
  if (start && !shown.some((image) => image.decodes)) return;
  $("pictures").replaceChildren(...shown.map((image, n) => make("figure", {},
    image.decodes ? make("img", { src: `/picture/${image.key}?large=1`, alt: nameOf(image) }) : make("div", { class: "thumbnail none" }, "No picture"),
    make("figcaption", {}, make("b", {}, nameOf(image)), ` ${[stateOf(image, n, item), image.width && `${image.width} × ${image.height}`, image.label, image.decision && `you: ${image.decision}`].filter(Boolean).join(" · ")}`))));
  const pair = item.pairs[Math.max(0, number - 1)];
  $("compared").textContent = pair && pair.similarity !== undefined
    ? `normalised ${real(pair.normalised)} · cosine ${real(pair.similarity)} · agreement ${real(pair.agreement)} · SSIM ${real(pair.ssim)} · ${count(pair.inliers ?? 0)} inliers · ${VERDICTS[pair.decided_by] ?? words(pair.decided_by)}${pair.decision ? ` · you: ${words(pair.decision)}` : ""}` : "";
  if (start) $("large").showModal();
}

let hide = 0;
function say(text, wrong = false) {
  const said = $("large").open ? $("compared") : $("said");
  said.textContent = text;
  $("said").className = `said shown${wrong ? " wrong" : ""}`;
  clearTimeout(hide);
  hide = setTimeout(() => $("said").classList.remove("shown"), wrong ? 6000 : 2500);
}

// --- keys and controls -------------------------------------------------------------------------

const KEYS = {
  j: () => act(() => move(1)), ArrowDown: () => act(() => move(1)), k: () => act(() => move(-1)), ArrowUp: () => act(() => move(-1)),
  ArrowRight: () => aside(1), ArrowLeft: () => aside(-1),
  "]": () => act(() => turn(true)), "[": () => act(() => turn(false)),
  Enter: () => act(() => agree()),
  p: () => act(() => press("keep")), x: () => act(() => press("reject")), s: () => act(() => press("duplicate")), d: () => act(() => press("not_duplicate")),
  l: () => edit(view.at, view.image), " ": () => ($("large").open ? $("large").close() : showLarge(true)),
  u: () => act(() => step("/api/undo")), U: () => act(() => step("/api/redo")),
  "/": () => $("query").focus(), "?": () => $("keys").showModal(),
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox])");
  if (event.altKey || typing || $("keys").open) {
    if (typing && event.key === "Escape") event.target.blur();
    return;
  }
  let name = event.key.length === 1 && !event.shiftKey ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key === "z") name = event.shiftKey ? "U" : "u";
    else if (key === "y") name = "U";
    else return;
  } else if (["Enter", " "].includes(event.key) && event.target.closest("button, a, summary, input")) return;
  if (/^[1-9]$/.test(name) && view.kind === "conflicts") {
    const item = view.items[view.at], value = item && choicesOf(item.images[0])[Number(name) - 1];
    if (value) { event.preventDefault(); act(() => relabel(item, item.images[0], value)); }
    return;
  }
  if ($("large").open && ["l", "/", "?", "[", "]"].includes(name)) return;
  if (KEYS[name]) { event.preventDefault(); KEYS[name](); }
});

for (const [kind, [title]] of Object.entries(KINDS)) {
  $("kinds").append(make("button", { id: `kind-${kind}`, type: "button", onclick: () => act(() => open(kind)) }, title, make("b")));
}
$("undo").onclick = KEYS.u;
$("redo").onclick = KEYS.U;
$("help").onclick = KEYS["?"];
$("earlier").onclick = KEYS["["];
$("later").onclick = KEYS["]"];
$("filter").onsubmit = (event) => { event.preventDefault(); $("items").focus(); select(view.at, view.image); };
let typed = 0;
$("query").oninput = () => { clearTimeout(typed); typed = setTimeout(() => act(() => { Object.assign(view, { query: $("query").value, start: 0 }); return load(); }), 200); };
$("undecided").onchange = () => act(() => { Object.assign(view, { undecided: $("undecided").checked, start: 0 }); return load(); });
document.querySelectorAll("[data-close]").forEach((element) => (element.onclick = () => element.closest("dialog").close()));
$("large").addEventListener("close", () => select(view.at, view.image));

act(begin);
