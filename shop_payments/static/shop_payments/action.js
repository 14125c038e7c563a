"use strict";

// Back must not offer a form that can be sent once more. The form's key goes into the address, and
// the answer to a form becomes an ordinary page of the history. So the browser asks for the page of
// a form that was used, and the server leads to the payment.
{
  const key = document.querySelector("#content-main input[name=key]");
  const address = new URL(window.location.href);
  if (key) {
    address.searchParams.set("key", key.value);
  }
  window.history.replaceState(null, "", address);
}

// Some browsers show a page again as it was left, without asking for it.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    window.location.reload();
  }
});
