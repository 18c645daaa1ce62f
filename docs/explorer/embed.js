"use strict";
// Inside of another page, which gives it the height that it needs and its colours. Whichever of the two loads first, the other one asks.

if (location.search === "?embed") {
  const say = () => parent.postMessage({height: document.body.getBoundingClientRect().height + 2}, "*");
  document.documentElement.classList.add("embed");
  addEventListener("message", event => {
    if (!event.data?.theme) return;
    document.documentElement.dataset.theme = event.data.theme;
    say();
  });
  new ResizeObserver(say).observe(document.body);
  parent.postMessage({ready: true}, "*");
}
