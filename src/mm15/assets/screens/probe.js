// What a person can see and use on a page, with boxes in pixels of the window. A function expression; see
// mm15/build/_screens.py for what it returns. `scroll`: how far down to go first, in pixels.
async (scroll) => {
  const still = document.createElement("style");
  // Nothing moves or blinks, and hit tests find decorations as well.
  still.textContent = `*, *::before, *::after { animation: none !important; transition: none !important;
    caret-color: transparent !important; scroll-behavior: auto !important; pointer-events: auto !important; }`;
  document.documentElement.append(still);
  const settle = (wanted) => Promise.race([wanted, new Promise((done) => setTimeout(done, 3000))]);
  await settle(document.fonts.ready);
  await settle(Promise.all([...document.images].map((image) => image.decode().catch(() => 0))));
  scrollTo(0, scroll);
  await new Promise((done) => setTimeout(done, 30));

  const clean = (text) => (text || "").replace(/\s+/g, " ").trim();
  const FIELDS = ["", "text", "search", "email", "password", "tel", "url", "number", "date", "time", "month", "week"];
  const STATES = ["checkbox", "radio button", "toggle"];
  const TEXTLESS = [...STATES, "slider", "progress bar"];
  const INLINE = /^(a|abbr|b|br|cite|code|em|i|kbd|mark|small|span|strong|sub|sup|time|u|var|wbr)$/i;
  const SKIPPED = /^(script|style|noscript|template|option|optgroup|head|iframe|object|embed|math)$/i;
  const MARK = /(^|[\s-])(icon|bi|fa|fas|far|mdi|glyphicon)([\s-]|$)/;

  // What kind of control an element is, by tag, type and role; empty for none.
  const controlOf = (el) => {
    const tag = el.tagName.toLowerCase(), role = el.getAttribute("role") || "";
    const type = tag === "input" ? (el.getAttribute("type") || "").toLowerCase() : "";
    if (role === "switch") return "toggle";
    if (role === "checkbox" || type === "checkbox") return "checkbox";
    if (role === "radio" || type === "radio") return "radio button";
    if (role === "slider" || type === "range") return "slider";
    if (role === "tab") return "tab";
    if (tag === "select" || role === "combobox" || role === "listbox") return "dropdown";
    if (["progress", "meter"].includes(tag) || ["progressbar", "meter"].includes(role)) return "progress bar";
    if (["button", "submit", "reset"].includes(type) || tag === "button" || role === "button") return "button";
    if (tag === "textarea" || ["textbox", "searchbox"].includes(role) || el.isContentEditable) return "text field";
    if (tag === "input") return FIELDS.includes(type) ? "text field" : "";
    return (tag === "a" && el.hasAttribute("href")) || role === "link" ? "link" : "";
  };
  // A mark: a drawing that stands by itself.
  const isMark = (el) => {
    const tag = el.tagName.toLowerCase();
    if (tag === "svg") return !el.parentElement?.closest("svg");
    return tag === "img" || (tag === "i" && !clean(el.textContent) && MARK.test(el.className));
  };
  const labelOf = (el) => {
    const ids = (el.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const told = ids.map((id) => document.getElementById(id)?.textContent).join(" ");
    const inside = el.tagName.toLowerCase() === "svg" ? el.querySelector(":scope > title")?.textContent : "";
    const beside = el.labels?.length ? el.labels[0].innerText : "";
    const named = [el.getAttribute("aria-label"), told, el.getAttribute("alt"), el.getAttribute("title"), inside, beside];
    return clean(named.find((text) => clean(text)) || el.getAttribute("placeholder"));
  };
  // What a mark itself is called: its label, or the name that icon fonts and sprites give in a class.
  const nameOf = (el) => {
    const named = /(?:^|\s)(?:bi|fa|mdi|glyphicon|icon|ui-icon)-([a-z][a-z-]+)/.exec(el.getAttribute("class") || "");
    return labelOf(el) || (named ? named[1].replace(/-/g, " ") : "");
  };
  const valueOf = (el) => {
    if (el.tagName === "SELECT") return el.selectedOptions[0]?.text;
    return ["INPUT", "TEXTAREA"].includes(el.tagName) ? el.value || el.placeholder : el.innerText;
  };
  const isTappable = (el) => {
    for (let at = el; at; at = at.parentElement) {
      const control = controlOf(at);
      if (control && control !== "progress bar") return !at.disabled;
      if (/^(label|summary)$/i.test(at.tagName) || at.hasAttribute("onclick")) return true;
      if (getComputedStyle(at).cursor === "pointer") return true;
    }
    return false;
  };

  const boxOf = (el) => { const r = el.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const longest = (box) => Math.max(box[2] - box[0], box[3] - box[1]);
  const shows = (el) => el.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  // The part of a box that the window and clipping elements leave.
  const clipped = (el, box) => {
    let [x1, y1, x2, y2] = [Math.max(0, box[0]), Math.max(0, box[1]), Math.min(innerWidth, box[2]), Math.min(innerHeight, box[3])];
    for (let at = el; at && at !== document.body && at !== document.documentElement; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.overflowX !== "visible" || style.overflowY !== "visible") {
        const around = boxOf(at);
        [x1, y1] = [Math.max(x1, around[0]), Math.max(y1, around[1])];
        [x2, y2] = [Math.min(x2, around[2]), Math.min(y2, around[3])];
      }
      if (style.position === "fixed") break;
    }
    return [x1, y1, x2, y2];
  };
  const isRound = (el, side) => {
    const radius = getComputedStyle(el).borderTopLeftRadius;
    return parseFloat(radius) >= (radius.endsWith("%") ? 20 : side / 5);
  };
  // Whole, and nothing foreign on top at any of nine points, the corners of a round element left out.
  const isSeen = (el, box) => {
    const [x1, y1, x2, y2] = box;
    if (x2 - x1 < 4 || y2 - y1 < 4 || clipped(el, box).some((side, k) => Math.abs(side - box[k]) > 0.75)) return false;
    const round = isRound(el, Math.min(x2 - x1, y2 - y1));
    let own = 0;
    for (const across of [0.1, 0.5, 0.9]) for (const down of [0.15, 0.5, 0.85]) {
      if (round && across !== 0.5 && down !== 0.5) continue;
      const top = document.elementFromPoint(x1 + across * (x2 - x1), y1 + down * (y2 - y1));
      if (!top) return false;
      if (el.contains(top) || [...(el.labels || [])].some((label) => label.contains(top))) own++;
      else if (!top.contains(el)) return false;
    }
    return own > 0;
  };

  const elements = [], numberOf = new Map();
  const add = (el, type, box, text, more = {}) => {
    if (!isSeen(el, box)) return;
    let parent = -1;
    for (let at = el.parentElement; at && parent < 0; at = at.parentElement) parent = numberOf.get(at) ?? -1;
    if (!numberOf.has(el)) numberOf.set(el, elements.length);
    elements.push({ type, text: clean(text), label: labelOf(el), box, parent, tappable: isTappable(el), ...more });
  };
  const isOneLine = (el) => {
    const rects = [...el.getClientRects()], box = boxOf(el);
    return rects.length > 0 && box[3] - box[1] < 1.6 * Math.min(...rects.map((rect) => rect.height));
  };
  const addControl = (el, control) => {
    const marks = [...el.querySelectorAll("svg, img, i")].filter(isMark);
    const text = TEXTLESS.includes(control) ? "" : clean(valueOf(el));
    if (["button", "link", "tab"].includes(control) && !text) {
      // A control that shows nothing but one mark is that icon, or a picture.
      if (marks.length !== 1) return;
      const mark = nameOf(marks[0]), label = labelOf(el) || mark;
      add(el, longest(boxOf(marks[0])) <= 64 ? "icon" : "picture", boxOf(el), "", { label, mark });
    } else if (control !== "link" || isOneLine(el)) {
      const state = STATES.includes(control) ? { on: el.checked ?? el.getAttribute("aria-checked") === "true" } : {};
      add(el, control, boxOf(el), text, state);
    }
  };
  // The texts of an element that show, or of its whole run.
  const textsOf = (el, whole) => {
    const texts = document.createTreeWalker(el, NodeFilter.SHOW_TEXT), found = [];
    for (let node = texts.nextNode(); node; node = texts.nextNode())
      if (clean(node.nodeValue) && shows(node.parentElement) && (whole || node.parentElement === el)) found.push(node);
    return found;
  };
  const addText = (el) => {
    const own = textsOf(el, false);
    if (!own.length) return false;
    // One run of text with inline marks in it is one element; a text beside other things is taken if there is one.
    const isInline = (child) => INLINE.test(child.tagName) && !isMark(child) && ["", "link"].includes(controlOf(child));
    const run = [...el.children].every(isInline);
    if (!run && (own.length > 1 || getComputedStyle(el).textTransform !== "none")) return false;
    const range = document.createRange(), rects = [];
    for (const node of run ? textsOf(el, true) : own) {
      range.selectNode(node);
      rects.push(...[...range.getClientRects()].filter((rect) => rect.width > 1 && rect.height > 1));
    }
    if (!rects.length) return run;
    const box = ["left", "top"].map((side) => Math.min(...rects.map((rect) => rect[side])));
    box.push(...["right", "bottom"].map((side) => Math.max(...rects.map((rect) => rect[side]))));
    const lines = Math.max(1, Math.round((box[3] - box[1]) / Math.min(...rects.map((rect) => rect.height))));
    add(el, "text", box, run ? el.innerText : own[0].nodeValue, { lines });
    return run;
  };
  // Of what lies in a control or a run of text only controls and marks count by themselves.
  const walk = (el, inControl, inText) => {
    if (SKIPPED.test(el.tagName) || !shows(el)) return;
    const control = controlOf(el);
    if (control) {
      addControl(el, control);
      if (["button", "link", "tab"].includes(control)) for (const child of el.children) walk(child, true, true);
      return;
    }
    if (isMark(el)) {
      // The only mark of a control without text has been counted as the control.
      if (inControl && !clean(el.closest("button, a, [role=button], [role=tab]")?.innerText)) return;
      const box = boxOf(el), small = el.tagName === "IMG" ? 32 : 64;
      add(el, longest(box) <= small ? "icon" : "picture", box, "", { mark: nameOf(el) });
      return;
    }
    if (/^(canvas|video)$/i.test(el.tagName)) { add(el, "picture", boxOf(el), ""); return; }
    const run = !inText && addText(el);
    for (const child of el.children) walk(child, inControl, inText || run);
  };
  if (document.body) walk(document.body, false, false);
  const told = [...document.querySelectorAll('meta[name="description"]')].map((meta) => clean(meta.content));
  return {
    elements, width: innerWidth, height: innerHeight, scroll: Math.round(scrollY), title: clean(document.title),
    page_height: Math.max(document.documentElement.scrollHeight, document.body?.scrollHeight || 0),
    summaries: told.filter(Boolean), heading: clean(document.querySelector("h1")?.innerText),
  };
}
