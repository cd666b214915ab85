// The live part of the page: takes frames from the server, counts times on, and says when it cannot be believed.
const STALE_MS = 2000;
const KEYS = { h: "halt", r: "resume", a: "approve" };

function morph(old, made) {
  // Makes the children of `old` those of `made`, keeping nodes that are the same, so that focus and scroll stay.
  const byId = new Map();
  for (const node of old.children) if (node.id) byId.set(node.id, node);
  let at = old.firstChild;
  for (const want of [...made.childNodes]) {
    let have = want.id ? byId.get(want.id) : at && !at.id && at.nodeName === want.nodeName ? at : null;
    if (have && have.nodeName !== want.nodeName) have = null;
    if (!have) {
      old.insertBefore(want, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else old.insertBefore(have, at);
    if (have.nodeType !== Node.ELEMENT_NODE) {
      if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      continue;
    }
    for (const { name } of [...have.attributes]) if (!want.hasAttribute(name)) have.removeAttribute(name);
    for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    morph(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} days`;
}

export default {
  template: `
    <div class="kw" ref="root">
      <a class="skip" href="#detail">To what is halted</a>
      <header class="top">
        <span class="brand"><b>KNIGHTWATCH</b> halt desk</span>
        <span class="where" data-block="where"></span>
        <span class="counts" data-block="counts" aria-live="polite"></span>
        <span class="fresh" data-fresh></span>
        <span class="utc" data-utc></span>
        <span class="who" data-block="who"></span>
        <button class="halt small" data-verb="halt" data-scope="firm" data-halt="" data-epoch="0" aria-keyshortcuts="F">Halt the firm …<kbd>F</kbd></button>
      </header>
      <div class="banner" data-banner hidden><b role="alert" data-banner-title></b><span data-banner-text></span><a href="/runbook#desk-silent" target="_blank">What to do</a></div>
      <main>
        <section id="detail" class="detail" data-block="detail" aria-label="The scope shown" tabindex="-1"></section>
        <aside class="side">
          <div class="listhead"><h2>Scopes</h2><input type="search" placeholder="find  /" aria-label="Find a scope" data-find></div>
          <div class="list" role="listbox" aria-label="Scopes, the worst first" tabindex="0" data-block="rows"></div>
          <button class="halt small" data-other hidden data-verb="halt" data-halt="" data-epoch="0"></button>
          <h2>Timeline</h2>
          <ol class="timeline" data-block="timeline" tabindex="0" aria-label="Timeline"></ol>
        </aside>
      </main>
      <footer class="keys"><span><kbd>↑</kbd><kbd>↓</kbd> choose</span><span><kbd>w</kbd> the worst</span><span><kbd>h</kbd> halt</span><span><kbd>r</kbd> ask to reopen</span><span><kbd>a</kbd> approve</span><span><kbd>e</kbd> evidence</span><span><kbd>/</kbd> find</span><span><kbd>l</kbd> log in or out</span><span><kbd>Esc</kbd> close</span></footer>
    </div>`,
  props: { first: Object },
  mounted() {
    this.root = this.$refs.root;
    this.chosen = "";
    this.shown = "";
    this.pulse = null;
    this.at = performance.now();
    this.root.addEventListener("click", (e) => this.click(e));
    this.root.querySelector("[data-find]").addEventListener("input", () => this.filter());
    this.onKey = (e) => this.key(e);
    document.addEventListener("keydown", this.onKey);
    this.timer = setInterval(() => this.tick(), 200);
    if (this.first) this.apply(this.first);
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (wanted && wanted !== "detail") this.pick(wanted);
  },
  unmounted() {
    clearInterval(this.timer);
    document.removeEventListener("keydown", this.onKey);
  },
  methods: {
    apply(frame) {
      this.pulse = frame.pulse;
      this.at = performance.now();
      this.shown = frame.shown;
      for (const [name, html] of Object.entries(frame.blocks)) {
        const block = this.root.querySelector(`[data-block="${name}"]`);
        const made = document.createElement("template");
        made.innerHTML = html;
        morph(block, made.content);
      }
      this.mark();
      this.filter();
      this.tick();
    },
    mark() {
      for (const row of this.root.querySelectorAll(".row")) {
        row.setAttribute("aria-selected", row.dataset.pick === this.shown);
      }
    },
    filter() {
      const typed = this.root.querySelector("[data-find]").value.trim();
      const want = typed.toLowerCase();
      const other = this.root.querySelector("[data-other]");
      other.hidden = !/^((server|strategy|account|symbol):\S+|firm)$/.test(typed) || Boolean(this.root.querySelector(`.row[data-pick="${CSS.escape(typed)}"]`));
      other.dataset.scope = typed;
      other.textContent = `Halt ${typed} …`;
      for (const row of this.root.querySelectorAll(".row")) {
        row.hidden = want && !row.dataset.pick.toLowerCase().includes(want) && !row.textContent.toLowerCase().includes(want);
      }
    },
    now() {
      return this.pulse.now_ms + (performance.now() - this.at);
    },
    tick() {
      if (!this.pulse) return;
      const now = this.now();
      for (const el of this.root.querySelectorAll("time[data-since]")) {
        const words = span(now - Number(el.dataset.since));
        el.textContent = el.dataset.as === "ago" ? `${words} ago` : `for ${words}`;
      }
      for (const el of this.root.querySelectorAll("[data-cost]")) {
        const usd = (Number(el.dataset.cost) * Math.max(0, now - Number(el.dataset.since))) / 1000;
        el.textContent = Math.round(usd).toLocaleString("en-US");
      }
      this.root.querySelector("[data-utc]").textContent = new Date(now).toISOString().slice(11, 19) + " UTC";
      this.doubt(performance.now() - this.at);
    },
    doubt(silent_ms) {
      const p = this.pulse;
      const age = p.age_ms === null ? null : p.age_ms + silent_ms;
      let title = "", text = "";
      if (silent_ms > STALE_MS) {
        title = `STALE: this page heard nothing from its server for ${Math.floor(silent_ms / 1000)} s`;
        text = "What you see is old, and buttons may not work. Use the command line: knightwatch status.";
      } else if (!p.connected) {
        title = "STALE: this page cannot read Kafka";
        text = `What you see is old. ${p.problem} Gates that cannot read it either are closed.`;
      } else if (p.trouble) {
        title = "GATES CLOSED: a record on halts cannot be read";
        text = p.trouble;
      } else if (age === null) {
        title = "NO DESK: no heartbeat was ever heard";
        text = "Nothing is being watched, and every gate is closed. Start a worker: knightwatch worker.";
      } else if (age > STALE_MS || !p.alive) {
        title = `STALE: the desk is silent for ${(age / 1000).toFixed(0)} s`;
        text = "Nothing is being watched. Every gate closes by itself after 2 s; what is halted stays halted. Start a worker.";
      }
      const banner = this.root.querySelector("[data-banner]");
      this.root.classList.toggle("stale", Boolean(title));
      banner.hidden = !title;
      this.set("[data-banner-title]", title);
      this.set("[data-banner-text]", text);
      this.set("[data-fresh]", title ? "■ STALE" : `heartbeat ${(age / 1000).toFixed(1)} s ago`);
      document.title = title ? "STALE – Knightwatch" : p.title;
    },
    set(where, text) {
      const el = this.root.querySelector(where);
      if (el.textContent !== text) el.textContent = text;
    },
    pick(scope) {
      this.chosen = scope;
      history.replaceState(null, "", scope ? "#" + encodeURIComponent(scope) : location.pathname);
      this.$emit("pick", scope);
    },
    act(button) {
      const d = button.dataset;
      this.$emit("act", { verb: d.verb, scope: d.scope, halt_id: d.halt, epoch: Number(d.epoch) });
    },
    click(e) {
      const row = e.target.closest("[data-pick]");
      const button = e.target.closest("[data-verb]");
      if (row) this.pick(row.dataset.pick);
      else if (button) this.act(button);
    },
    step(by) {
      const rows = [...this.root.querySelectorAll(".row")].filter((r) => !r.hidden);
      const here = rows.findIndex((r) => r.dataset.pick === (this.chosen || this.shown));
      const next = rows[Math.min(Math.max(here + by, 0), rows.length - 1)];
      if (next) {
        next.scrollIntoView({ block: "nearest" });
        this.pick(next.dataset.pick);
      }
    },
    key(e) {
      if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector(".q-dialog")) return;
      const typing = e.target.closest?.("input, textarea");
      if (e.key === "Escape" && typing) {
        typing.value = "";
        typing.blur();
        this.filter();
      }
      if (typing && e.key !== "ArrowDown" && e.key !== "ArrowUp") return;
      const button = KEYS[e.key] && this.root.querySelector(`.detail [data-verb="${KEYS[e.key]}"]`);
      if (button) this.act(button);
      else if (e.key === "F") this.act(this.root.querySelector('.top [data-verb="halt"]'));
      else if (e.key === "ArrowDown" || e.key === "j") this.step(1);
      else if (e.key === "ArrowUp" || e.key === "k") this.step(-1);
      else if (e.key === "w") this.pick("");
      else if (e.key === "l") this.$emit("act", { verb: "login" });
      else if (e.key === "e") this.root.querySelector("#evidence")?.click();
      else if (e.key === "/") this.root.querySelector("[data-find]").focus();
      else return;
      e.preventDefault();
    },
  },
};
