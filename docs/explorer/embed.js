"use strict";
// Inside of another page, which gives it the height that it needs and its colours.

if (location.search === "?embed") {
  document.documentElement.classList.add("embed");
  addEventListener("message", event => { if (event.data?.theme) document.documentElement.dataset.theme = event.data.theme; });
  new ResizeObserver(() => parent.postMessage({height: document.body.getBoundingClientRect().height + 2}, "*")).observe(document.body);
  parent.postMessage({ready: true}, "*");
}
