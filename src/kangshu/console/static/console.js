// Comfort only: every page works without this file.
"use strict";

const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

function typing(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

// Keys: "/" to the search field, "g" and a letter to a page, "?" for the list of keys.
let waitingForPlace = 0;
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (event.key === "/") {
    const field = document.querySelector("[data-search]") || document.querySelector("main form input:not([type=hidden])");
    if (!field) return;
    event.preventDefault();
    field.focus();
    if (field.select) field.select();
  } else if (event.key === "?") {
    const help = document.getElementById("help");
    if (help && help.togglePopover) help.togglePopover();
  } else if (event.key === "g") {
    waitingForPlace = Date.now();
  } else if (Date.now() - waitingForPlace < 1500) {
    waitingForPlace = 0;
    const place = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (place) place.click();
  } else {
    onOwnKey(event);
  }
}
document.addEventListener("keydown", onKey);

// Keys of a page's own links and buttons; a decision is chosen by the first press and made by the second.
function onOwnKey(event) {
  const own = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!own || event.repeat) return;
  event.preventDefault();
  if ("twice" in own.dataset && document.activeElement !== own) own.focus();
  else own.click();
}

// A table wider than its place can be scrolled by keyboard.
each(".scroll", (box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
});

// Demo accounts fill the form; they exist only on a demonstration site.
each("[data-fill]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    const form = document.getElementById("sign-in");
    form.elements.name.value = button.dataset.name;
    form.elements.password.value = button.dataset.password;
    form.querySelector("button[type=submit]").focus();
  });
});

// Selects that filter at once.
each("[data-submit-on-change]", (field) => {
  field.addEventListener("change", () => field.form.requestSubmit());
});

// Printing.
each("[data-print]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
});

// A file can be dropped; the upload shows how far it is.
each("[data-drop]", (zone) => {
  const field = zone.querySelector("input[type=file]");
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("is-over", on);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files.length) field.files = event.dataTransfer.files;
  });
});
each("form[data-upload]", (form) => {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = form.querySelector("progress");
    const note = form.querySelector("[data-note]");
    const button = form.querySelector("button[type=submit]");
    const refuse = (text) => {
      button.disabled = false;
      bar.hidden = true;
      note.textContent = text;
      note.setAttribute("role", "alert");
      note.className = "field-error";
    };
    const file = form.querySelector("input[type=file]").files[0];
    if (file && file.size > Number(note.dataset.limit)) {
      refuse(note.dataset.tooLarge);
      return;
    }
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (sent) => {
      bar.value = sent.loaded / sent.total;
      note.textContent = sent.loaded < sent.total ? `${Math.floor(100 * bar.value)}%` : note.dataset.checking;
    });
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = {};
      }
      if (answer.href) {
        location.assign(answer.href);
        return;
      }
      refuse(answer.message || note.dataset.failed);
    });
    request.addEventListener("error", () => refuse(note.dataset.failed));
    button.disabled = true;
    bar.hidden = false;
    note.className = "hint";
    request.send(new FormData(form));
  });
});

// A receipt that is still being worked on is asked for until it is done.
each("[data-watch]", (place) => {
  const ask = async (pause) => {
    await new Promise((done) => setTimeout(done, pause));
    try {
      const answer = await fetch(place.dataset.watch, { headers: { Accept: "application/json" } });
      const { state } = await answer.json();
      if (state && state !== place.dataset.state) {
        location.reload();
        return;
      }
    } catch {
      // The server may be restarting: ask again later.
    }
    ask(Math.min(pause * 1.3, 8000));
  };
  ask(900);
});

// Reveal the reason field only for purposes that need it.
each("[data-reason-for]", (block) => {
  const radios = document.querySelectorAll("input[name=purpose]");
  const show = () => {
    const chosen = document.querySelector("input[name=purpose]:checked");
    const needed = chosen !== null && block.dataset.reasonFor.split(" ").includes(chosen.value);
    block.querySelector("textarea").required = needed;
    block.hidden = !needed;
  };
  radios.forEach((radio) => radio.addEventListener("change", show));
  show();
});
