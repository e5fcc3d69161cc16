"use strict";
// Takes over the sections of the page that have changed. What has the keyboard, or asks for a yes, is left alone.
(() => {
  const pulse = document.getElementById("pulse");
  const known = new Map();
  const busy = () => document.querySelector("progress, .tag.busy, .tag.queued") !== null;
  for (const section of document.querySelectorAll("[data-live]")) known.set(section.id, section.innerHTML);

  function say(text, away) {
    pulse.textContent = text;
    pulse.classList.toggle("away", away);
  }

  function take(fresh) {
    const mine = document.getElementById(fresh.id);
    const html = fresh.innerHTML;
    if (!mine || known.get(fresh.id) === html) return;
    if (mine.contains(document.activeElement) || mine.querySelector("details[open]")) return;
    known.set(fresh.id, html);
    mine.replaceChildren(...fresh.childNodes);
  }

  // Behind a balancer another process may have been asked for a picture, which draws it now.
  function forgetMissing() {
    for (const image of document.querySelectorAll("#pictures img")) {
      if (image.complete && image.naturalWidth === 0) known.delete("pictures");
    }
  }

  async function update() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.pathname, { cache: "no-store", credentials: "same-origin" });
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        forgetMissing();
        for (const section of page.querySelectorAll("[data-live]")) take(section);
        say("Live", false);
      } catch {
        say("No answer; trying again", true);
      }
    }
    setTimeout(update, busy() ? 1500 : 4000);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) say("Live", false); });
  say("Live", false);
  setTimeout(update, 1500);
})();
