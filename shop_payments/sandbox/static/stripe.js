/*
 * The sandbox's stand-in for Stripe.js: no real payment.
 *
 * It covers the payment element and payment intents (docs/sandbox.md lists what). As with the real
 * one, the form is in a frame of the script's origin (payment_element.html), so card data never
 * touches the shop's page. It works under a content security policy without 'unsafe-inline'.
 *
 * See: https://docs.stripe.com/js and the types of stripe/stripe-js (checked 2026-11). Messages marked
 * (?) are not Stripe's words.
 */
(() => {
"use strict";

const { origin: ORIGIN, pathname: PATH } = new URL(document.currentScript.src);
/** The release in the script's address, such as `endive`; 3 for `/v3/`. */
const RELEASE = /([a-z]+)\/stripe\.js$/.exec(PATH)?.[1] || 3;
const FRAME_URL = `${ORIGIN}/js.stripe.com/sandbox/payment_element.html`;
const ANSWER_SECONDS = 10;
const POLL_SECONDS = 1;

// For the page and the frame

/** Return the pairs of a form: `{a: {b: [1]}}` becomes `a[b][0]=1`. Null and undefined are left out. */
function encode(params, within = "", pairs = []) {
    for (const [name, value] of Object.entries(params)) {
        const key = within ? `${within}[${name}]` : name;
        if (value === undefined || value === null) continue;
        if (typeof value === "object") encode(value, key, pairs);
        else pairs.push([key, String(value)]);
    }
    return pairs;
}

/** Call the API; return the object or `{error}`. Without headers, so that browsers need not ask first. */
async function request(client, method, path, params) {
    const form = new URLSearchParams(encode({
        ...params,
        key: client.key,
        _stripe_version: client.apiVersion,
        _stripe_account: client.stripeAccount,
    }));
    const url = `${ORIGIN}/v1/${path}`;
    const options = { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" };
    try {
        const response = method === "GET"
            ? await fetch(`${url}?${form}`, options)
            : await fetch(url, { ...options, method, body: form });
        return await response.json();
    } catch {
        return { error: connectionError() };
    }
}

function connectionError() {
    return {
        type: "api_connection_error",
        message: "We are experiencing issues connecting to our payments provider. Please check your internet"
            + " connection and try again.",
    };
}

function intentId(clientSecret) {
    return clientSecret.split("_secret_")[0];
}

const ADDRESS = ["city", "country", "line1", "line2", "postal_code", "state"];

/** Return the billing details that the option `fields` hides, such as `address.country`. */
function hiddenDetails(options) {
    const rules = options.fields?.billingDetails;
    const address = rules === "never" ? "never" : rules?.address;
    return [
        ...["name", "email", "phone"].filter((name) => rules === "never" || rules?.[name] === "never"),
        ...ADDRESS
            .filter((name) => address === "never" || address?.[camelCase(name)] === "never")
            .map((name) => `address.${name}`),
    ];
}

function camelCase(name) {
    return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

function valueAt(node, path) {
    return path.split(".").reduce((inner, name) => inner?.[name], node);
}

function sleep(seconds) {
    return new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
}

// The shop's page

/** An error in the shop's code. Stripe.js throws it instead of returning it. */
class IntegrationError extends Error {
    name = "IntegrationError";
}

class Emitter {
    #handlers = new Map();

    on(event, handler) {
        this.#handlers.set(event, [...(this.#handlers.get(event) || []), handler]);
        return this;
    }

    once(event, handler) {
        const wrapped = (payload) => {
            this.off(event, wrapped);
            handler(payload);
        };
        return this.on(event, wrapped);
    }

    off(event, handler) {
        const kept = handler ? (this.#handlers.get(event) || []).filter((each) => each !== handler) : [];
        this.#handlers.set(event, kept);
        return this;
    }

    emit(event, payload) {
        const handlers = this.#handlers.get(event) || [];
        for (const handler of handlers) handler(payload);
        return handlers.length > 0;
    }
}

/** The payment element: a frame, and the messages to and from it. */
class PaymentElement extends Emitter {
    #group;
    #frame = null;
    #connected = null;
    #connect = null;
    #waiting = new Map();
    #nextId = 1;
    #failed = false;

    constructor(group, options) {
        super();
        this.#group = group;
        this.options = options;
    }

    mount(target) {
        const place = typeof target === "string" ? document.querySelector(target) : target;
        if (!place) {
            throw new IntegrationError(
                `The selector you specified (${target}) applies to no DOM elements that are currently on the`
                + " page. Make sure the element exists on the page before calling mount().",
            );
        }
        this.unmount();
        this.#awaitHello();
        const frame = document.createElement("iframe");
        frame.title = "Secure payment input frame";
        frame.src = FRAME_URL;
        Object.assign(frame.style, {
            border: "0", display: "block", height: "20rem", margin: "-3px", width: "calc(100% + 6px)",
        });
        frame.addEventListener("load", () => this.#open(frame));
        this.#frame = frame;
        this.#matchColors();
        place.replaceChildren(frame);
        sleep(ANSWER_SECONDS).then(() => {
            if (this.#frame === frame && this.#connect) this.#fail();
        });
    }

    unmount() {
        this.#frame?.remove();
        this.#frame = null;
        this.#failed = false;
        for (const resolve of this.#waiting.values()) resolve({ error: connectionError() });
        this.#waiting.clear();
    }

    destroy() {
        this.unmount();
        this.#group.forget(this);
    }

    update(options) {
        this.options = { ...this.options, ...options };
        if (this.#frame) this.ask("update", { options: this.options });
        return this;
    }

    focus() { this.#frame?.focus(); }
    blur() { this.#frame?.blur(); }
    clear() { if (this.#frame) this.ask("clear"); }
    collapse() { return this; }

    get isUsable() {
        return this.#frame !== null && this.#frame.isConnected && !this.#failed;
    }

    /** Ask the frame something; return its answer. */
    async ask(call, args = {}) {
        const port = await this.#connected;
        if (!port) return { error: connectionError() };
        if ("appearance" in (args.group || {})) this.#matchColors();
        const id = this.#nextId++;
        return new Promise((resolve) => {
            this.#waiting.set(id, resolve);
            port.postMessage({ id, call, args });
        });
    }

    #awaitHello() {
        this.#connected = new Promise((resolve) => { this.#connect = resolve; });
    }

    #open(frame) {
        if (this.#frame !== frame) return;
        if (!this.#connect) this.#awaitHello(); // a frame that is moved on the page loads again
        const channel = new MessageChannel();
        channel.port1.onmessage = ({ data }) => this.#receive(channel.port1, data);
        const hello = { client: this.#group.client, group: this.#group.options, options: this.options };
        // Only the sandbox's page gets the message, and with it the port.
        frame.contentWindow.postMessage(hello, ORIGIN, [channel.port2]);
    }

    #receive(port, { id, result, event, payload }) {
        if (id !== undefined) {
            this.#waiting.get(id)?.(result);
            this.#waiting.delete(id);
            return;
        }
        switch (event) {
            case "hello":
                this.#connect?.(port);
                this.#connect = null;
                return;
            case "height":
                if (this.#frame) this.#frame.style.height = `${payload}px`;
                return;
            case "enter":
                this.#frame?.closest("form")?.requestSubmit();
                return;
            case "loaderror":
                this.#failed = true;
                if (!this.emit(event, payload)) {
                    console.error("Unhandled payment Element loaderror", payload);
                }
                return;
            case "change":
                this.#group.isSubmitted = false;
                // falls through
            default:
                this.emit(event, payload);
        }
    }

    #fail() {
        this.#connect(null);
        this.#connect = null;
        const payload = { elementType: "payment", error: connectionError() };
        this.#receive(null, { event: "loaderror", payload });
    }

    /** Browsers paint a frame opaque if its color scheme differs from that of its document. */
    #matchColors() {
        const isNight = this.#group.options.appearance?.theme === "night";
        if (this.#frame) this.#frame.style.colorScheme = isNight ? "dark" : "light";
    }
}

class Elements extends Emitter {
    #element = null;
    isSubmitted = false;

    constructor(client, options) {
        super();
        checkOptions(options);
        const secret = options.clientSecret;
        if (secret !== undefined && !/^pi_[^_]+_secret_[^_]+$/.test(secret)) {
            throw new IntegrationError(
                "Invalid value for elements(): clientSecret should be a client secret of the form"
                + ` \${id}_secret_\${secret}. You specified: ${secret}.`,
            );
        }
        this.client = { ...client, locale: options.locale || client.locale };
        this.options = options;
    }

    get isDeferred() {
        return this.options.clientSecret === undefined;
    }

    create(type, options = {}) {
        if (type !== "payment") throw notCovered(`elements.create("${type}")`);
        if (this.isDeferred && !this.options.mode) {
            throw new IntegrationError(
                "In order to create a payment element, you must pass a clientSecret or mode when creating the"
                + " Elements group.",
            );
        }
        if (this.#element) {
            throw new IntegrationError("Can only create one Element of type payment."); // (?)
        }
        this.#element = new PaymentElement(this, options);
        return this.#element;
    }

    getElement(type) {
        return type === "payment" ? this.#element : null;
    }

    forget(element) {
        if (this.#element === element) this.#element = null;
    }

    /** See: https://docs.stripe.com/changelog/dahlia/2026-03-25/elements-update-returns-promise (checked 2026-11) */
    update(options) {
        checkOptions(options);
        this.options = { ...this.options, ...options };
        this.isSubmitted = false;
        return this.#show(options);
    }

    async #show(options) {
        if (this.#element?.isUsable) await this.#element.ask("update", { group: options });
        this.emit("update-end");
    }

    async fetchUpdates() {
        return this.#element?.isUsable ? this.#element.ask("reload") : {};
    }

    async submit() {
        const result = await this.usableElement("elements.submit()").ask("submit");
        this.isSubmitted = !result.error;
        return result;
    }

    usableElement(caller) {
        if (!this.#element?.isUsable) {
            throw new IntegrationError(
                `Invalid value for ${caller}: elements should have a mounted Payment Element or Express`
                + " Checkout Element.",
            );
        }
        return this.#element;
    }
}

// The methods of stripe/stripe-js 5 to 10, and those that were removed before.
const NOT_COVERED = [
    ...words(`
    collectBankAccountForPayment collectBankAccountForSetup collectBankAccountToken
    collectFinancialConnectionsAccounts confirmPaymentIntent confirmSetup confirmSetupIntent
    createConfirmationToken createEmbeddedCheckoutPage createEphemeralKeyNonce createPaymentMethod
    createRadarSession createSource createToken handleCardAction handleCardPayment handleCardSetup
    handleFpxPayment initCheckout initCheckoutElementsSdk initCheckoutFormSdk initCustomCheckout
    initEmbeddedCheckout initializePricing paymentRequest processOrder redirectToCheckout
    retrieveOrder retrieveSetupIntent retrieveSource verifyIdentity verifyMicrodepositsForPayment
    verifyMicrodepositsForSetup
    `),
    ...words(`
    AcssDebit Affirm AfterpayClearpay Alipay AuBecsDebit Bancontact Billie Blik Boleto Card Cashapp
    CustomerBalance Eps Fpx Giropay GrabPay Ideal Klarna Konbini Mobilepay Multibanco Oxxo P24
    PayByBank PayNow PayPal Pix PromptPay SepaDebit Sofort Twint UsBankAccount WechatPay
    `).map((name) => `confirm${name}Payment`),
    ...words(`
    AcssDebit AmazonPay AuBecsDebit BacsDebit Bancontact Blik Card Cashapp Ideal PayPal SepaDebit
    Sofort UsBankAccount
    `).map((name) => `confirm${name}Setup`),
];

const OPTIONS_NOT_COVERED = words(`
    adaptivePricing customPaymentMethods customerOptions customerSessionClientSecret
    externalPaymentMethodTypes onBehalfOf on_behalf_of paymentMethodConfiguration
    payment_method_configuration paymentMethodOptions payment_method_options
`);

function words(text) {
    return text.trim().split(/\s+/);
}

/** Throw for options of Elements that are not covered, or that the release has removed. */
function checkOptions(options) {
    const found = OPTIONS_NOT_COVERED.find((name) => (options[name] ?? null) !== null);
    if (found) throw notCovered(`the option ${found} of elements()`);
    // The words are not Stripe's (?). See: https://docs.stripe.com/changelog/endive/2026-09-30/
    // remove-elements-deferred-intent-payment-method-types (checked 2026-11)
    if (RELEASE === "endive" && options.paymentMethodTypes !== undefined) {
        throw new IntegrationError(
            "Invalid elements() parameter: paymentMethodTypes is no longer supported. Use"
            + " allowedPaymentMethodTypes instead.",
        );
    }
}

function notCovered(what) {
    return new IntegrationError(`The sandbox does not cover ${what}. Use Stripe's own test mode for it.`);
}

/** Create a client: `Stripe(publishableKey, {locale, apiVersion, stripeAccount})`. */
function Stripe(key, { locale = "auto", apiVersion, stripeAccount } = {}) {
    if (typeof key !== "string" || !key.trim()) {
        throw new IntegrationError(
            "Please call Stripe() with your publishable key. You used an empty string.",
        );
    }
    if (/^[sr]k_/.test(key)) {
        throw new IntegrationError(
            "You should not use your secret key with Stripe.js.\n Please pass a publishable key instead.",
        );
    }
    const client = { key, locale, apiVersion, stripeAccount };

    return {
        ...Object.fromEntries(NOT_COVERED.map((name) => [
            name, () => { throw notCovered(`stripe.${name}`); },
        ])),

        elements: (options = {}) => new Elements(client, options),

        async confirmPayment({ elements, clientSecret, confirmParams = {}, redirect = "always" }) {
            const secret = clientSecret || elements?.options.clientSecret;
            checkConfirmation({ elements, secret, confirmParams, redirect });
            const answer = elements
                ? await elements.getElement("payment").ask("confirm", { secret, confirmParams })
                : await confirm(client, secret, confirmParams);
            return settle(client, answer, { redirect, returnUrl: confirmParams.return_url });
        },

        async handleNextAction({ clientSecret }) {
            const answer = await retrieve(client, clientSecret);
            if (!answer.error && answer.status !== "requires_action") {
                return {
                    error: {
                        type: "invalid_request_error",
                        code: "payment_intent_unexpected_state",
                        message: "handleNextAction: The PaymentIntent supplied is not in the requires_action"
                            + " state.",
                        payment_intent: answer,
                    },
                };
            }
            return settle(client, answer, { redirect: "if_required" });
        },

        async retrievePaymentIntent(clientSecret) {
            const answer = await retrieve(client, clientSecret);
            return answer.error ? { error: answer.error } : { paymentIntent: answer };
        },

        // Wrappers such as react-stripe-js call these.
        registerAppInfo() {},
        _registerWrapper() {},
    };
}
Stripe.version = RELEASE;

function retrieve(client, clientSecret) {
    return request(client, "GET", `payment_intents/${intentId(clientSecret)}`, {
        client_secret: clientSecret, is_stripe_sdk: false,
    });
}

function confirm(client, clientSecret, params) {
    return request(client, "POST", `payment_intents/${intentId(clientSecret)}/confirm`, {
        ...params, use_stripe_sdk: true, client_secret: clientSecret,
    });
}

/** Throw for mistakes in the shop's code, as Stripe.js does. */
function checkConfirmation({ elements, secret, confirmParams, redirect }) {
    if (!secret) {
        throw new IntegrationError("stripe.confirmPayment(): a clientSecret is required."); // (?)
    }
    if (redirect === "always" && typeof confirmParams.return_url !== "string") {
        throw new IntegrationError(
            "stripe.confirmPayment(): confirmParams.return_url is required, unless redirect is" // (?)
            + " 'if_required'.",
        );
    }
    if (!elements) return;
    const element = elements.usableElement("stripe.confirmPayment()");
    if (elements.isDeferred && !elements.isSubmitted) {
        throw new IntegrationError("elements.submit() must be called before stripe.confirmPayment().");
    }
    // That each part of a hidden address has to be passed is an assumption (?).
    const passed = confirmParams.payment_method_data?.billing_details;
    const missing = hiddenDetails(element.options).find((name) => valueAt(passed, name) === undefined);
    if (missing) {
        throw new IntegrationError(
            `You specified "never" for fields.billing_details.${missing} when creating the payment Element, but`
            + ` did not pass confirmParams.payment_method_data.billing_details.${missing} when calling`
            + " stripe.confirmPayment(). If you opt out of collecting data via the payment Element using the"
            + " fields option, the data must be passed in when calling stripe.confirmPayment().",
        );
    }
}

/** Carry out what an intent still requires; return the result, or leave the page. */
async function settle(client, answer, { redirect, returnUrl }) {
    let intent = answer;
    if (!intent.error && intent.status === "requires_action") {
        if (intent.next_action.type === "redirect_to_url") {
            return leaveFor(intent.next_action.redirect_to_url.url);
        }
        intent = await authenticate(client, intent);
        if (intent.status === "requires_payment_method") {
            return { error: { ...intent.last_payment_error, payment_intent: intent } };
        }
    }
    if (intent.error) return { error: intent.error };
    if (redirect === "always") return leaveFor(returnAddress(returnUrl, intent));
    return { paymentIntent: intent };
}

/** Navigate. The promise stays pending, because the page is about to go. */
function leaveFor(url) {
    window.location.assign(url);
    return new Promise(() => {});
}

const REDIRECT_STATUS = { processing: "pending", requires_payment_method: "failed" };

function returnAddress(returnUrl, intent) {
    const url = new URL(returnUrl);
    url.searchParams.set("payment_intent", intent.id);
    url.searchParams.set("payment_intent_client_secret", intent.client_secret);
    url.searchParams.set("redirect_status", REDIRECT_STATUS[intent.status] || "succeeded");
    return url.href;
}

// 3D Secure

/** Show the challenge until it is over, here or in another tab; return the intent or `{error}`. */
async function authenticate(client, { client_secret: secret, next_action: action }) {
    const challenge = openChallenge(ORIGIN + new URL(action.use_stripe_sdk.stripe_js).pathname);
    let failures = 0;
    try {
        for (;;) {
            await Promise.race([challenge.loaded(), sleep(POLL_SECONDS)]);
            const intent = await retrieve(client, secret);
            failures = intent.error ? failures + 1 : 0;
            if (failures > 5 || (!intent.error && intent.status !== "requires_action")) return intent;
        }
    } finally {
        challenge.close();
    }
}

function openChallenge(url) {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", "3D Secure authentication");
    Object.assign(dialog.style, {
        background: "Canvas", border: "0", borderRadius: "8px", boxSizing: "border-box", color: "CanvasText",
        maxWidth: "calc(100vw - 2rem)", padding: "1rem", width: "28rem",
    });
    const frame = document.createElement("iframe");
    frame.title = "3D Secure authentication";
    frame.src = url;
    Object.assign(frame.style, { border: "0", display: "block", height: "20rem", width: "100%" });
    const cancel = document.createElement("button");
    cancel.type = "button";
    cancel.textContent = "Cancel authentication";
    Object.assign(cancel.style, { font: "inherit", padding: "0.5rem 1rem" });

    const fail = (event) => { // the polling then finds the failed intent
        event.preventDefault();
        fetch(url, { method: "POST", mode: "no-cors", body: new URLSearchParams({ outcome: "fail" }) })
            .catch(() => {});
    };
    cancel.addEventListener("click", fail);
    dialog.addEventListener("cancel", fail); // Escape
    dialog.append(frame, cancel);
    document.body.append(dialog);
    dialog.showModal();
    return {
        // The frame loads again when a button on its page is pressed.
        loaded: () => new Promise((resolve) => { frame.addEventListener("load", resolve, { once: true }); }),
        close: () => { dialog.close(); dialog.remove(); },
    };
}

// The page of payment_element.html has no Stripe of its own: its script shares these functions.
if (document.documentElement.dataset.frame === "payment") {
    window.sandboxStripe = { request, confirm, hiddenDetails };
} else if (!window.Stripe) {
    window.Stripe = Stripe;
}
})();
