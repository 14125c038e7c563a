/*
 * The checkout pages of shop_payments: Stripe's payment element on the pay page, and the question for
 * the outcome on the result page.
 *
 * The server decides everything about the order: what is to be paid, and whether it is paid. This
 * script never reads a result from an address or from Stripe.js alone. Card data never touches it.
 */

const READY_SECONDS = 9;
const POLL_SECONDS = [2, 3, 5, 8, 13, 20, 30, 45, 60, 60, 60, 120, 120, 120];

const SAYS_WHY = ["card_error", "validation_error"]; // other texts of Stripe's are for developers

const data = JSON.parse(document.getElementById("shop-payments-checkout-data")?.textContent ?? "null");

// A page from the browser's memory may show an order that has been paid meanwhile.
addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
});

if (data?.page === "pay") runPayPage();
if (data?.page === "result" && data.isChanging) awaitOutcome();

/** Call the shop; return its answer with `status` and `retryAfter`. Without an answer, `status` is 0. */
async function callShop(url, body) {
    const options = { cache: "no-store", credentials: "same-origin", headers: { Accept: "application/json" } };
    if (body) {
        const csrf = document.querySelector("[data-checkout-form] [name=csrfmiddlewaretoken]");
        const form = new URLSearchParams({ ...body, csrfmiddlewaretoken: csrf?.value ?? "" });
        Object.assign(options, { method: "POST", body: form });
    }
    try {
        const response = await fetch(url, options);
        const retryAfter = Number(response.headers.get("Retry-After")) || 0;
        const answer = await response.json().catch(() => ({}));
        return { ...answer, status: response.status, retryAfter };
    } catch {
        return { status: 0, retryAfter: 0 };
    }
}

function sleep(seconds) {
    return new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
}

/** Ask for the state again and again, at growing intervals; show the page again when it changes. */
async function awaitOutcome() {
    let retryAfter = 0;
    for (const seconds of POLL_SECONDS) {
        await sleep(Math.max(seconds, retryAfter));
        const answer = await callShop(data.statusUrl);
        retryAfter = answer.retryAfter;
        if (answer.state && answer.state !== data.state) {
            location.reload();
            return;
        }
    }
    document.querySelector("[data-checkout-progress]").textContent = data.texts.later;
}

function runPayPage() {
    const part = (name) => document.querySelector(`[data-checkout-${name}]`);
    const form = part("form");
    const button = part("pay");
    const texts = data.texts;

    let stripe;
    let elements;
    let intent; // the shop's answer: what is to be paid, and the client secret
    let isReady = false;
    let isBusy = false;

    part("retry").addEventListener("click", () => location.reload());
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (isReady && !isBusy) pay();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        elements?.update({ appearance: appearance() });
    });
    start();

    // What is shown

    function setBusy(busy, progress = "") {
        isBusy = busy;
        button.disabled = busy || !isReady;
        form.setAttribute("aria-busy", String(busy));
        part("progress").textContent = progress;
    }

    function say(text, { help = false } = {}) {
        const message = part("message");
        message.textContent = text;
        part("help").hidden = !help;
        if (text) message.focus();
    }

    /** Show what goes wrong before the customer can pay, or while nothing was charged. */
    function giveUp(problem) {
        say(texts[problem], { help: true });
        setBusy(false);
        if (["not_loaded", "not_set_up"].includes(problem)) callShop(data.statusUrl, { problem });
    }

    function showAmount({ amount, asked, summary }) {
        data.asked = asked;
        for (const place of document.querySelectorAll("[data-checkout-amount]")) place.textContent = amount;
        part("summary").innerHTML = summary; // rendered by the shop's own template
    }

    /** The element matches the colors around it. */
    function appearance() {
        const [red, green, blue] = getComputedStyle(form).color.match(/[\d.]+/g).map(Number);
        return { theme: (red + green + blue) / 3 > 128 ? "night" : "stripe" };
    }

    // The payment intent

    /** Ask the shop what is to be paid. Return false if nothing is: then the page has been left. */
    async function ask() {
        const answer = await callShop(data.payUrl, {});
        if (answer.client_secret) return answer;
        if (answer.state && answer.state !== "unavailable") {
            if (answer.state === "expired") location.reload(); // with a fragment, assign() loads nothing
            else location.assign(data.resultUrl);
            return new Promise(() => {});
        }
        giveUp({ 0: "unreachable", 403: "refused" }[answer.status] ?? "unavailable");
        return null;
    }

    // Loading

    async function start() {
        setBusy(true, texts.loading);
        let isLate = false;
        sleep(READY_SECONDS).then(() => {
            if (isReady || part("message").textContent) return;
            isLate = true;
            giveUp(intent ? "not_loaded" : "unreachable");
        });
        const script = loadStripe();
        intent = await ask();
        if (!intent) return;
        if (intent.asked !== data.asked) showAmount(intent);
        try {
            await script;
            stripe = window.Stripe(data.key, { locale: data.locale });
        } catch (error) {
            console.error(error);
            giveUp(window.Stripe ? "not_set_up" : "not_loaded");
            return;
        }
        mount(() => {
            isReady = true;
            if (isLate) say("");
            setBusy(false);
        });
    }

    function loadStripe() {
        return new Promise((resolve, reject) => {
            if (window.Stripe) {
                resolve();
                return;
            }
            const script = document.createElement("script");
            script.src = data.stripeJs;
            script.addEventListener("load", resolve);
            script.addEventListener("error", () => reject(new Error("Stripe.js was not loaded")));
            document.head.append(script);
        });
    }

    function mount(onReady) {
        elements = stripe.elements({ clientSecret: intent.client_secret, locale: data.locale, appearance: appearance() });
        const element = elements.create("payment"); // no field is hidden, so none is passed at confirm
        element.on("ready", onReady);
        element.on("loaderror", ({ error }) => {
            console.error(error?.message);
            isReady = false;
            giveUp(error?.type === "invalid_request_error" ? "not_set_up" : "not_loaded");
        });
        element.on("change", ({ complete, empty }) => {
            if (complete || !empty) say(""); // the element also sends it when it has loaded
        });
        element.mount(part("element"));
    }

    // Paying

    async function pay() {
        say("");
        setBusy(true, texts.working);
        const submitted = await elements.submit();
        if (submitted.error) {
            fail(submitted.error);
            return;
        }
        const latest = await ask();
        if (!latest) return;
        if (!isAsShown(latest)) return;
        let outcome;
        try {
            outcome = await stripe.confirmPayment({
                elements,
                redirect: "if_required",
                confirmParams: { return_url: latest.return_url },
            });
        } catch (error) {
            console.error(error);
            outcome = { error: { type: "integration_error" } };
        }
        if (outcome.error) await fail(outcome.error);
        else location.assign(data.resultUrl);
    }

    /** Return whether the customer pays what they have seen; if not, ask them again. */
    function isAsShown(latest) {
        const isOther = latest.intent !== intent.intent;
        const isChanged = latest.asked !== data.asked;
        intent = latest;
        if (!isOther && !isChanged) return true;
        if (isChanged) showAmount(latest);
        if (isOther) {
            isReady = false;
            elements.getElement("payment").destroy();
            mount(() => { isReady = true; setBusy(false); });
        } else {
            elements.fetchUpdates();
        }
        setBusy(false);
        const changed = isChanged ? texts.changed.replace("%(amount)s", latest.amount) : "";
        say([changed, isOther ? texts.prepared : ""].filter(Boolean).join(" "));
        return false;
    }

    async function fail(error) {
        if (SAYS_WHY.includes(error.type)) {
            setBusy(false);
            say(error.message);
            return;
        }
        // Perhaps another tab has paid, or the intent was cancelled. The shop knows.
        console.error(error.message);
        const { state } = await callShop(data.statusUrl);
        if (!state) {
            giveUp("unreachable");
            return;
        }
        if (!["unpaid", "failed", "partially_paid"].includes(state)) {
            location.assign(data.resultUrl);
            return;
        }
        const latest = await ask();
        if (!latest || !isAsShown(latest)) return;
        setBusy(false);
        say(texts.not_completed);
    }
}
