"use strict";
// Texts that come from the server or from file names go into the page as text, never as HTML.
(() => {
  const AT_ONCE = 4; // requests; the server computes what comes together in one batch
  const SHOWN = 8; // labels of an image, until all are asked for
  const TRIES = 8;
  const id = (name) => document.getElementById(name);
  const results = id("results");
  const waiting = [];
  let running = 0;
  let done = 0;
  let failed = 0;
  let all = 0;
  let generation = 0; // of the list: what comes back after it was cleared is dropped
  let model = null;

  const reading = fetch("/model")
    .then((answer) => answer.json())
    .then((found) => { model = found; describe(); })
    .catch(() => { id("model").textContent = "The server cannot be reached. Load the page again once it is back."; });

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function percent(share) {
    const value = share * 100;
    if (value > 0 && value < 1) return "<\u00a01\u00a0%";
    if (value > 99 && value < 100) return ">\u00a099\u00a0%";
    return `${Math.round(value)}\u00a0%`;
  }

  function megabytes(bytes) {
    return `${(bytes / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
  }

  function describe() {
    const count = model.labels.length;
    const decides = model.exactly_one ? "decides on exactly one of them" : "decides on any number of them";
    id("model").textContent = `The model knows ${count} label${count === 1 ? "" : "s"} and ${decides} for each image.`;
    const formats = model.image.formats.map((name) => name.toUpperCase()).join(", ");
    id("accepted").textContent = `${formats}; up to ${megabytes(model.limits.request_bytes)} each`;
    id("digest").textContent = `Model ${model.digest.slice(0, 12)}, posterity ${model.version}.`;
    id("commands").textContent =
      `curl -F images=@a.jpg -F images=@b.png ${location.origin}/predict\n` +
      `curl -H 'Content-Type: image/jpeg' --data-binary @a.jpg ${location.origin}/predict`;
  }

  function tell() {
    id("bar").hidden = all === 0;
    const parts = [`${done - failed} of ${all} image${all === 1 ? "" : "s"} labelled`];
    if (failed) parts.push(`${failed} could not be`);
    id("status").textContent = parts.join(", ") + (done < all ? " …" : ".");
  }

  function add(files) {
    const cards = files.map(cardOf);
    all += cards.length;
    results.prepend(...cards.map((card) => card.element)); // the newest on top, in the order in which they came
    waiting.push(...cards);
    tell();
    next();
  }

  function next() {
    while (running < AT_ONCE && waiting.length) {
      const card = waiting.shift();
      const mine = generation;
      running += 1;
      label(card).finally(() => {
        running -= 1;
        if (mine === generation) { done += 1; tell(); }
        next();
      });
    }
  }

  function cardOf(file) {
    const element = make("li", "card");
    const figure = make("figure");
    const picture = make("div", "picture");
    const caption = make("figcaption");
    const image = make("img");
    const url = URL.createObjectURL(file);
    image.alt = `The image ${file.name}`;
    image.addEventListener("error", () => {
      if (image.src === url) picture.replaceChildren(make("p", "", "No preview in this browser."));
    });
    image.src = url;
    picture.append(image);
    figure.append(picture, caption);
    const text = make("div");
    text.append(make("h2", "", file.name), make("p", "waiting", "Waiting …"));
    element.append(figure, text);
    return { file, element, picture, caption, image, text, url, marked: null, pressed: null };
  }

  async function label(card) {
    const mine = generation;
    try {
      await reading;
      if (model && card.file.size > model.limits.request_bytes) {
        throw new Error(`The file has ${megabytes(card.file.size)}; at most ${megabytes(model.limits.request_bytes)} are read.`);
      }
      const answer = await (await send("/predict?per_image=true", { images: card.file })).json();
      if (answer.images[0].error) throw new Error(answer.images[0].error.reason);
      if (mine === generation) show(card, answer);
    } catch (error) {
      if (mine !== generation) return;
      failed += 1;
      card.element.classList.add("bad");
      card.text.replaceChildren(card.text.firstChild, make("p", "problem", error.message));
    }
  }

  async function send(path, fields) {
    for (let attempt = 1; ; attempt += 1) {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      let answer;
      try {
        answer = await fetch(path, { method: "POST", body: form });
      } catch {
        throw new Error("The image could not be sent: the server cannot be reached, or the file cannot be read (a folder?).");
      }
      if (answer.ok) return answer;
      if (answer.status === 503 && attempt < TRIES) {
        const seconds = Number(answer.headers.get("Retry-After")) || 1;
        await new Promise((resolve) => { setTimeout(resolve, seconds * 1000 * (0.5 + Math.random())); });
        continue;
      }
      let reason = `The server answered ${answer.status}.`;
      try { reason = (await answer.json()).error.reason; } catch { /* not one of its own answers */ }
      throw new Error(reason);
    }
  }

  function show(card, answer) {
    const [found] = answer.images;
    const decided = new Set(found.labels);
    const parts = [card.text.firstChild];
    if (found.labels.length) {
      const list = make("ul", "decided");
      list.setAttribute("aria-label", "Labels");
      for (const name of found.labels) list.append(make("li", "", name));
      parts.push(list);
    } else {
      parts.push(make("p", "none", "No label reaches its threshold."));
    }
    // Entries of an object come in another order if names look like numbers: the order is made here.
    const ranked = Object.entries(found.scores).sort((one, other) => other[1] - one[1]);
    const list = make("ul", "labels");
    list.setAttribute("aria-label", "Probabilities");
    ranked.forEach(([name, share], place) => {
      const item = make("li");
      item.append(rowOf(card, name, share, answer, decided.has(name)));
      item.hidden = place >= SHOWN && !decided.has(name);
      list.append(item);
    });
    parts.push(list, under(list, ranked.length, answer.exactly_one));
    card.text.replaceChildren(...parts);
    if (model && model.can_explain) card.caption.textContent = "Press a label to see what speaks for it.";
  }

  function rowOf(card, name, share, answer, isDecided) {
    const canExplain = model && model.can_explain;
    const row = make(canExplain ? "button" : "div", isDecided ? "row is-decided" : "row");
    const threshold = answer.thresholds[name];
    const track = make("span", "track");
    const fill = make("span", "fill");
    fill.style.setProperty("--share", String(share));
    track.append(fill);
    track.setAttribute("aria-hidden", "true");
    if (!answer.exactly_one) {
      const mark = make("span", "threshold");
      mark.style.setProperty("--at", String(Math.min(1, Math.max(0, threshold))));
      track.append(mark);
      row.title = `Threshold ${percent(threshold)}`;
    }
    const more = answer.exactly_one ? [] : [`threshold ${percent(threshold)}`];
    if (isDecided) more.push("decided");
    row.append(make("span", "label", name), track, make("span", "share", percent(share)),
      make("span", "unseen", more.length ? `(${more.join(", ")})` : ""));
    if (canExplain) {
      row.type = "button";
      row.setAttribute("aria-pressed", "false");
      row.addEventListener("click", () => explain(card, row, name));
    }
    return row;
  }

  function under(list, count, exactlyOne) {
    const line = make("div", "under");
    line.append(make("p", "small", exactlyOne ? "" : "The upright mark is the label's threshold."));
    if (count > SHOWN) {
      const more = make("button", "plain", `All ${count} labels`);
      more.type = "button";
      more.setAttribute("aria-expanded", "false");
      const hidden = [...list.children].filter((item) => item.hidden);
      more.addEventListener("click", () => {
        const open = more.getAttribute("aria-expanded") === "false";
        more.setAttribute("aria-expanded", String(open));
        more.textContent = open ? "Fewer labels" : `All ${count} labels`;
        for (const item of hidden) item.hidden = !open;
      });
      if (hidden.length) line.append(more);
    }
    return line;
  }

  function restore(card) {
    if (card.pressed) card.pressed.setAttribute("aria-pressed", "false");
    card.pressed = null;
    card.image.src = card.url;
    card.image.alt = `The image ${card.file.name}`;
    card.caption.textContent = "Press a label to see what speaks for it.";
    if (card.marked) URL.revokeObjectURL(card.marked);
    card.marked = null;
  }

  async function explain(card, row, name) {
    const wasPressed = card.pressed === row;
    restore(card);
    if (wasPressed) return;
    card.pressed = row;
    row.setAttribute("aria-pressed", "true");
    card.caption.textContent = `Looking for what speaks for ${name} …`;
    try {
      const marked = await (await send("/explain", { image: card.file, label: name })).blob();
      if (card.pressed !== row) return;
      card.marked = URL.createObjectURL(marked);
      card.image.src = card.marked;
      card.image.alt = `The image ${card.file.name} with what speaks for ${name} marked`;
      card.picture.replaceChildren(card.image);
      card.caption.textContent =
        `What speaks for ${name}: the brighter, the more. Shown as the network gets it, ` +
        `${model.image.width} × ${model.image.height}. Press again, or Esc, for the image.`;
    } catch (error) {
      if (card.pressed === row) { restore(card); card.caption.textContent = error.message; }
    }
  }

  function clear() {
    generation += 1;
    waiting.length = 0;
    for (const image of results.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    results.replaceChildren();
    done = failed = all = 0;
    tell();
    id("files").focus();
  }

  const drop = id("drop");
  let over = 0; // elements under the pointer: entering one comes before leaving another

  document.addEventListener("dragenter", (event) => { event.preventDefault(); over += 1; drop.classList.add("over"); });
  document.addEventListener("dragleave", () => { over -= 1; if (over <= 0) drop.classList.remove("over"); });
  document.addEventListener("dragover", (event) => { event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    drop.classList.remove("over");
    const files = event.dataTransfer.files;
    if (files.length) add([...files]);
    else notice("What was dropped is no file: save the image first, or copy it and paste it here.");
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData.files;
    if (files.length) add([...files]);
    else notice("What was pasted is no image: copy an image, not its address or text.");
  });
  id("files").addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
  id("clear").addEventListener("click", clear);
  document.addEventListener("keydown", (event) => {
    const card = event.target instanceof Element && event.target.closest(".card");
    if (event.key === "Escape" && card) card.querySelector('[aria-pressed="true"]')?.click();
  });

  function notice(text) {
    id("bar").hidden = false;
    id("status").textContent = text;
  }
})();
