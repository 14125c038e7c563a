"use strict";

// Copies a link instead of opening it. If the browser does not allow that (it wants HTTPS), the link
// opens, and its address can be copied there.
for (const link of document.querySelectorAll("a[data-copied]")) {
  link.setAttribute("aria-live", "polite");
  link.addEventListener("click", async (event) => {
    if (!navigator.clipboard) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(link.href);
      link.textContent = link.dataset.copied;
    } catch {
      window.location.assign(link.href);
    }
  });
}
