// Keeps a page true while it is open, and plays a session back with its real timing. Works without: pages are whole.
"use strict";

// What somebody has opened, by the words on it.
const opened = (within) => [...within.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);

// An element with data-live="/path" is fetched again whenever an approval changes; it keeps its focus and what was opened.
function keepLive() {
  const live = document.querySelector("[data-live]");
  if (!live || !window.EventSource) return;
  const refresh = async () => {
    const answer = await fetch(live.dataset.live, { headers: { accept: "text/html" } });
    if (answer.redirected || answer.status === 401) { location.reload(); return; }
    if (!answer.ok) return;
    const fresh = await answer.text(); // from here on nothing is awaited: no key falls between
    const typing = live.contains(document.activeElement) && /INPUT|TEXTAREA/.test(document.activeElement.tagName);
    if (typing) return;
    const focused = document.activeElement && document.activeElement.id;
    const open = opened(live);
    live.innerHTML = fresh;
    live.querySelectorAll("details > summary").forEach((summary) => { summary.parentElement.open ||= open.includes(summary.textContent); });
    if (focused) document.getElementById(focused)?.focus();
  };
  const events = new EventSource("/v1/approvals/events");
  events.addEventListener("resync", refresh);
  events.addEventListener("approval", refresh);
}

// A timeline with data-replay hides what has not happened yet and shows it when its time comes.
function replay() {
  const timeline = document.querySelector("[data-replay]");
  const button = document.getElementById("play");
  if (!timeline || !button) return;
  let timers = [];
  const entries = [...timeline.querySelectorAll("[data-at]")];
  const showAll = () => { timers.forEach(clearTimeout); timers = []; entries.forEach((entry) => { entry.hidden = false; }); button.textContent = "Play"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    if (timers.length) { showAll(); return; }
    const start = Math.min(...entries.map((entry) => Number(entry.dataset.at)));
    entries.forEach((entry) => { entry.hidden = true; });
    timers = entries.map((entry) => setTimeout(() => { entry.hidden = false; }, Number(entry.dataset.at) - start));
    timers.push(setTimeout(showAll, Math.max(...entries.map((entry) => Number(entry.dataset.at))) - start + 100));
    button.textContent = "Show all";
  });
}

// The code of a one-time link stands in the fragment, which no server sees; the form sends it once. By itself only while
// nobody is signed in: whoever made the link would put somebody in their place, unseen.
function redeem() {
  const form = document.querySelector("form[data-code]");
  const code = location.hash.slice(1);
  if (!form || !code) return;
  history.replaceState(null, "", location.pathname);
  form.elements.code.value = code;
  if (!form.dataset.who) form.submit();
}

// As `_distance` of rendering.py.
function distance(seconds) {
  const [length, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => Math.abs(seconds) >= size) || [];
  if (!unit) return seconds <= 0 ? "just now" : "in less than a minute";
  const number = Math.floor(Math.abs(seconds) / length);
  return seconds < 0 ? `${number} ${unit} ago` : `in ${number} ${unit}`;
}

// Counts from the server's clock, which this machine's may not agree with.
function keepTimes() {
  const ahead = Date.now() - Date.parse(document.body.dataset.now);
  setInterval(() => {
    const now = Date.now() - ahead;
    document.querySelectorAll("time[data-relative]").forEach((time) => { time.textContent = distance((Date.parse(time.dateTime) - now) / 1000); });
  }, 15000);
}

// Keys move the focus and open; none decides: a button is pressed by whoever has read what is above it.
function takeKeys() {
  const step = (by) => {
    const links = [...document.querySelectorAll(".cards tbody tr a[id], .timeline a")];
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
  };
  const focus = (id) => document.getElementById(id)?.focus();
  const keys = { j: () => step(1), k: () => step(-1), a: () => focus("approve"), d: () => focus("reason"), c: () => focus("comment"), u: () => location.assign("/") };
  document.addEventListener("keydown", (event) => {
    const typing = /INPUT|TEXTAREA|SELECT/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

redeem();
takeKeys();
keepTimes();
keepLive();
replay();
