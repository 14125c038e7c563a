"use strict";

// What staff have typed is not lost if their session has expired: after the login, the text is back
// in its field. Only texts are kept, never amounts, and only in this tab.
{
  const PREFIX = "shop-payments-draft:";
  const SENT = "shop-payments-sent";
  const form = document.querySelector("#content-main form[autocomplete=off]");
  const fields = form ? form.querySelectorAll("textarea") : [];
  const nameOf = (field) => `${PREFIX}${window.location.pathname}:${field.name}`;

  try {
    const drafts = window.sessionStorage;
    if (fields.length === 0) {
      // Another page of the admin, to which a form that was accepted leads.
      const sent = drafts.getItem(SENT);
      Object.keys(drafts)
        .filter((name) => sent && name.startsWith(`${PREFIX}${sent}:`))
        .forEach((name) => drafts.removeItem(name));
    }
    drafts.removeItem(SENT);
    for (const field of fields) {
      field.value ||= drafts.getItem(nameOf(field)) || "";
      field.addEventListener("input", () => drafts.setItem(nameOf(field), field.value));
    }
    form?.addEventListener("submit", () => drafts.setItem(SENT, window.location.pathname));
  } catch (error) {
    // A browser may forbid storage; then nothing is kept.
  }
}
