// Each explorer gets the height that it asks for, and the colours that the reader has chosen for the site.
"use strict";

function explorers() { return [...document.querySelectorAll("iframe.explorer")]; }
function tell(frame) { frame.contentWindow.postMessage({theme: document.body.dataset.theme ?? "auto"}, "*"); }

addEventListener("message", event => {
  const frame = explorers().find(f => f.contentWindow === event.source);
  if (frame && typeof event.data?.height === "number") frame.style.height = `${Math.ceil(event.data.height)}px`;
  if (frame && event.data?.ready) tell(frame);
});
addEventListener("DOMContentLoaded", () => {
  explorers().forEach(tell);
  new MutationObserver(() => explorers().forEach(tell)).observe(document.body, {attributes: true, attributeFilter: ["data-theme"]});
});
