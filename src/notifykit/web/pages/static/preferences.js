// Saves a form as soon as something in it is changed; without this script it has a button.
"use strict";

for (const form of document.querySelectorAll("form[data-autosave]")) {
  const button = form.querySelector("[data-save]"), notice = document.getElementById("notice");
  let sending = Promise.resolve();
  button.hidden = true;
  const tell = (text, isGood) => {
    const shown = document.createElement("div");
    shown.className = `alert ${isGood ? "good" : "bad"}`;
    shown.textContent = text;
    notice.replaceChildren(shown);
  };
  form.addEventListener("change", ({ target }) => { // sent alone: the rest may have been changed elsewhere
    const body = new URLSearchParams({ form_token: form.elements.form_token.value, [target.name]: target.value });
    sending = sending.then(async () => { // one after the other
      try {
        const answer = await fetch(form.action, { method: "POST", body });
        tell(answer.ok ? "Saved." : "This could not be saved. Load the page again.", answer.ok);
      } catch {
        tell("This could not be saved: there is no connection.", false);
        button.hidden = false;
      }
    });
  });
}
