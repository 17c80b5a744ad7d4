// What pages can do beyond what they do without scripts: times in the reader's zone, a copy button, live lists.
"use strict";

const localTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function showLocalTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    element.title = element.textContent;
    element.textContent = localTime.format(new Date(element.dateTime));
  }
}

function addCopying(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch { // a frame may not: the text is selected instead
        getSelection().selectAllChildren(source);
      }
    });
  }
}

// A list with data-live="<URL of a stream>" is read again whenever the stream says that something has changed.
function follow(list) {
  const status = document.getElementById(list.dataset.liveStatus);
  const source = new EventSource(list.dataset.live);
  let reading = false, again = false;
  const read = () => {
    if (reading) { again = true; return; }
    reading = true;
    const request = new XMLHttpRequest(); // parses the page without running anything in it
    request.responseType = "document";
    request.onloadend = () => {
      const fresh = request.status === 200 && request.response && request.response.getElementById(list.id);
      if (fresh) replace(list, fresh);
      reading = false;
      if (again) { again = false; read(); }
    };
    request.open("GET", location.href);
    request.send();
  };
  source.addEventListener("activity", read);
  source.addEventListener("reset", read);
  source.onopen = () => { status.textContent = "Live"; };
  source.onerror = () => { status.textContent = "Connecting again …"; };
  addEventListener("pagehide", () => source.close());
}

function replace(list, fresh) {
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  list.replaceChildren(...fresh.childNodes);
  showLocalTimes(list);
  if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

document.documentElement.classList.add("has-script");
showLocalTimes(document);
addCopying(document);
document.querySelectorAll("[data-live]").forEach(follow);
