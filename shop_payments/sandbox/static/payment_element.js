/*
 * The form of the sandbox's payment element, in its frame. stripe.js is on the page around it.
 *
 * What the customer enters goes to the sandbox only. The page gets the events of the element and the
 * API's answers, over a port that came with its first message.
 */
(() => {
"use strict";

const { request, confirm, hiddenDetails } = window.sandboxStripe;

const MESSAGES = {
    incomplete_number: "Your card number is incomplete.",
    invalid_number: "Your card number is invalid.",
    incomplete_expiry: "Your card's expiration date is incomplete.",
    invalid_expiry_month_past: "Your card's expiration date is in the past.",
    invalid_expiry_year_past: "Your card's expiration year is in the past.",
    incomplete_cvc: "Your card's security code is incomplete.",
    incomplete_zip: "Your postal code is incomplete.",
    incomplete_name: "Your name is incomplete.",
    incomplete_email: "Your email is incomplete.",
    invalid_email: "Your email is invalid.",
    incomplete_iban: "The IBAN you entered is incomplete.",
    invalid_iban: "The IBAN you entered is invalid.",
};

const COUNTRIES = (
    "AE AR AT AU BE BG BR CA CH CL CN CO CY CZ DE DK EE ES FI FR GB GI GR HK HR HU ID IE IL IN IS IT JP KR KW"
    + " LI LT LU LV MT MX MY NL NO NZ PH PL PT RO SA SE SG SI SK TH TR TW UA US VN ZA"
).split(" ");
const COUNTRIES_WITH_POSTAL_CODE = ["CA", "GB", "US"];

const FIELDS = {
    card: ["number", "expiry", "cvc", "postal_code"],
    us_bank_account: ["name", "email"],
    sepa_debit: ["name", "email", "iban"],
    amazon_pay: [],
};
const IN_SESSION = [
    "allowedPaymentMethodTypes", "amount", "captureMethod", "currency", "excludedPaymentMethodTypes", "mode",
    "paymentMethodTypes", "setupFutureUsage",
];
const DEBITS = ["us_bank_account", "sepa_debit"];

const digitsOf = (text) => text.replace(/\D/g, "");
const isAmex = (number) => /^3[47]/.test(digitsOf(number));

/** Functions of a field's value that return the code of what is wrong, or "". */
const CHECKS = {
    number(text) {
        const digits = digitsOf(text);
        const length = isAmex(digits) ? 15 : digits.startsWith("36") ? 14 : 16;
        if (digits.length < length) return "incomplete_number";
        const sum = [...digits].reverse().reduce((total, digit, index) => {
            const value = Number(digit) * (index % 2 ? 2 : 1);
            return total + (value > 9 ? value - 9 : value);
        }, 0);
        return sum % 10 ? "invalid_number" : "";
    },
    expiry(text) {
        const date = readExpiry(text);
        if (!date) return "incomplete_expiry";
        const now = new Date();
        if (date.year < now.getFullYear()) return "invalid_expiry_year_past";
        const isPast = date.year === now.getFullYear() && date.month <= now.getMonth();
        return isPast ? "invalid_expiry_month_past" : "";
    },
    cvc: (text, form) => (digitsOf(text).length < (isAmex(form.number) ? 4 : 3) ? "incomplete_cvc" : ""),
    postal_code: (text) => (text.length < 3 ? "incomplete_zip" : ""),
    name: (text) => (text ? "" : "incomplete_name"),
    email(text) {
        if (!text) return "incomplete_email";
        return /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(text) ? "" : "invalid_email";
    },
    iban(text) {
        const iban = text.replace(/\s/g, "").toUpperCase();
        if (iban.length < 15) return "incomplete_iban";
        return /^[A-Z]{2}\d{2}[A-Z0-9]+$/.test(iban) ? "" : "invalid_iban";
    },
};

function readExpiry(text) {
    const found = /^(0?[1-9]|1[0-2])\s*\/?\s*(\d{2}|\d{4})$/.exec(text);
    return found && { month: Number(found[1]), year: Number(found[2]) + (found[2].length === 2 ? 2000 : 0) };
}

/** Run the form. The page that embeds it has sent the first message, with the port for the others. */
function runForm(port, { client, group, options }) {
    const get = (id) => document.getElementById(id);
    const form = get("form");
    const pasted = new Set();
    const startedAt = Date.now();
    let type = "";
    let types = [];
    let hasLoaded = false;
    let lastChange = "";

    const send = (event, payload) => port.postMessage({ event, payload });
    const isHidden = (input) => input.closest("[hidden]") !== null;
    const fields = () => FIELDS[type].filter((id) => !isHidden(get(id)));
    const values = () => Object.fromEntries(Object.keys(CHECKS).map((id) => [id, get(id).value.trim()]));
    const problemOf = (id) => CHECKS[id](values()[id], values());

    // What is shown

    function show() {
        const hidden = hiddenDetails(options);
        for (const part of form.querySelectorAll("[data-type]")) {
            part.hidden = !part.dataset.type.split(" ").includes(type);
        }
        for (const part of form.querySelectorAll("[data-billing]")) {
            part.hidden = hidden.includes(part.dataset.billing);
        }
        if (!COUNTRIES_WITH_POSTAL_CODE.includes(get("country").value)) {
            get("postal_code").closest(".field").hidden = true;
        }
        for (const choice of form.querySelectorAll("[data-choice]")) {
            choice.hidden = !types.includes(choice.dataset.choice);
            choice.querySelector("input").checked = choice.dataset.choice === type;
        }
        get("types").hidden = types.length < 2;
        for (const control of form.elements) control.disabled = Boolean(options.readOnly);
    }

    function paint() {
        const root = document.documentElement;
        const { theme = "stripe", variables = {} } = group.appearance || {};
        root.dataset.theme = theme;
        for (const [name, value] of Object.entries(variables)) root.style.setProperty(`--${name}`, value);
    }

    function fillCountries(countryCode) {
        const given = options.defaultValues?.billingDetails?.address?.country || countryCode;
        const locale = knownLocale(client.locale);
        const names = new Intl.DisplayNames([locale, "en"], { type: "region" });
        const choices = [...new Set([...COUNTRIES, given])].map((code) => new Option(names.of(code), code));
        choices.sort((one, other) => one.text.localeCompare(other.text, locale));
        get("country").replaceChildren(...choices);
        get("country").value = given;
    }

    function fillDefaults() {
        const { name, email, address } = options.defaultValues?.billingDetails || {};
        for (const [id, value] of Object.entries({ name, email, postal_code: address?.postal_code })) {
            if (value) get(id).value = value;
        }
    }

    function showProblem(id, code) {
        get(`${id}-error`).textContent = code ? MESSAGES[code] : "";
        get(id).setAttribute("aria-invalid", String(Boolean(code)));
    }

    /** Show all problems and go to the first one; return Stripe's error for it. */
    function validate() {
        const problems = fields().map((id) => ({ id, code: problemOf(id) }));
        for (const { id, code } of problems) showProblem(id, code);
        const first = problems.find(({ code }) => code);
        if (!first) return null;
        get(first.id).focus();
        return { type: "validation_error", code: first.code, message: MESSAGES[first.code] };
    }

    /** Send the event, if something changed: browsers report a change again when a field is left. */
    function sendChange() {
        const entered = values();
        const state = JSON.stringify([type, get("country").value, get("account").value, entered]);
        if (state === lastChange) return;
        lastChange = state;
        send("change", {
            elementType: "payment",
            collapsed: false,
            complete: fields().every((id) => !problemOf(id)),
            empty: fields().every((id) => !entered[id]),
            value: { type },
        });
    }

    // The session

    async function load() {
        const deferred = {
            mode: group.mode,
            amount: group.amount,
            currency: group.currency,
            capture_method: group.captureMethod,
            payment_method_types: group.paymentMethodTypes,
            allowed_payment_method_types: group.allowedPaymentMethodTypes,
            excluded_payment_method_types: group.excludedPaymentMethodTypes,
            setup_future_usage: group.setupFutureUsage,
        };
        const session = await request(client, "GET", "elements/sessions", {
            ...(group.clientSecret
                ? { type: "payment_intent", client_secret: group.clientSecret }
                : { type: "deferred_intent", deferred_intent: deferred }),
            expand: ["payment_method_preference.payment_intent.payment_method"],
            locale: client.locale,
        });
        const preference = session.payment_method_preference;
        const covered = (preference?.ordered_payment_method_types || []).filter((each) => each in FIELDS);
        const error = session.error || (covered.length ? null : {
            type: "invalid_request_error",
            message: "The sandbox's payment element covers none of the payment method types of this payment.",
        });
        if (error) {
            if (hasLoaded) return { error };
            get("loading").textContent = "The payment form could not be loaded.";
            send("loaderror", { elementType: "payment", error });
            return { error };
        }
        types = covered;
        type = types.includes(type) ? type : types[0];
        if (!hasLoaded) fillCountries(preference.country_code);
        show();
        form.hidden = false;
        get("loading").hidden = true;
        if (!hasLoaded) {
            send("ready", { elementType: "payment" });
            sendChange(); // See: https://github.com/stripe/stripe-js/issues/507
        }
        hasLoaded = true;
        return {};
    }

    // Confirming

    function paymentMethod(passed = {}) {
        const entered = values();
        const own = Object.fromEntries(
            ["name", "email"].filter((id) => fields().includes(id)).map((id) => [id, entered[id]]),
        );
        const address = type === "card" ? {
            country: isHidden(get("country")) ? undefined : get("country").value,
            postal_code: isHidden(get("postal_code")) ? undefined : entered.postal_code,
        } : {};
        const expiry = readExpiry(entered.expiry);
        const details = {
            card: {
                number: digitsOf(entered.number),
                exp_month: expiry?.month,
                exp_year: expiry?.year,
                cvc: entered.cvc,
            },
            sepa_debit: { iban: entered.iban },
        }[type];
        return {
            ...passed,
            type,
            [type]: details,
            billing_details: {
                ...own,
                ...passed.billing_details,
                address: { ...address, ...passed.billing_details?.address },
            },
            pasted_fields: [...pasted].join(",") || undefined,
            payment_user_agent: "stripe.js/sandbox; stripe-js-v3/sandbox; payment-element",
            time_on_page: Date.now() - startedAt,
            client_attribution_metadata: { merchant_integration_source: "elements" },
        };
    }

    async function confirmWithForm({ secret, confirmParams }) {
        const problem = validate();
        if (problem) return { error: problem };
        const { payment_method_data: passed, ...others } = confirmParams;
        // At Stripe the customer chooses the account of a test bank. Here it is one of the test names.
        const method = type === "us_bank_account"
            ? { payment_method: get("account").value }
            : { payment_method_data: paymentMethod(passed) };
        form.inert = true;
        try {
            return await confirm(client, secret, {
                ...others,
                ...method,
                expected_payment_method_type: type,
                client_context: { mode: group.mode, currency: group.currency },
                mandate_data: DEBITS.includes(type)
                    ? { customer_acceptance: { type: "online", online: { infer_from_client: true } } }
                    : undefined,
            });
        } finally {
            form.inert = false;
        }
    }

    const CALLS = {
        clear() {
            for (const id of Object.keys(CHECKS)) {
                get(id).value = "";
                showProblem(id, "");
            }
            sendChange();
        },
        confirm: confirmWithForm,
        reload: load,
        submit() {
            const error = validate();
            return error ? { error } : { selectedPaymentMethod: type };
        },
        async update({ group: changes, options: newOptions }) {
            options = newOptions || options;
            group = { ...group, ...changes };
            client = { ...client, locale: changes?.locale || client.locale };
            paint();
            const isOther = IN_SESSION.some((name) => name in (changes || {}));
            const { error } = isOther ? await load() : {};
            if (error) console.error("The update of the payment Element failed", error);
            show();
        },
    };

    // Events

    form.addEventListener("change", (event) => {
        if (event.target.name === "type") type = event.target.value;
        show();
        sendChange();
    });
    form.addEventListener("input", ({ target }) => {
        if (target.name === "type" || target.tagName === "SELECT") return; // `change` follows
        if (target.id === "number" || target.id === "expiry") groupDigits(target);
        if (target.getAttribute("aria-invalid") === "true") showProblem(target.id, problemOf(target.id));
        sendChange();
    });
    form.addEventListener("paste", ({ target }) => pasted.add(target.id));
    form.addEventListener("focusout", ({ target }) => {
        if (target.value && target.id in CHECKS) showProblem(target.id, problemOf(target.id));
    });
    form.addEventListener("keydown", (event) => {
        if (event.key === "Escape") send("escape", { elementType: "payment" });
        if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
        event.preventDefault();
        send("enter");
    });
    form.addEventListener("click", ({ target }) => {
        if (!target.dataset.card) return;
        const test = { number: target.dataset.card, expiry: "12 / 34", cvc: "123", postal_code: "94107" };
        for (const [id, value] of Object.entries(test)) {
            get(id).value = value;
            showProblem(id, "");
        }
        groupDigits(get("number"));
        sendChange();
    });
    for (const name of ["focus", "blur"]) {
        window.addEventListener(name, () => send(name, { elementType: "payment" }));
    }
    const root = document.documentElement;
    new ResizeObserver(() => send("height", root.offsetHeight)).observe(root);

    // Start

    paint();
    fillDefaults();
    send("hello");
    const loading = load();
    port.onmessage = async ({ data: { id, call, args } }) => {
        const { error } = await loading;
        port.postMessage({ id, result: error ? { error } : await CALLS[call](args) });
    };
}

/** Return the locale, or the browser's for `auto` and for what is none. */
function knownLocale(locale) {
    try {
        return Intl.getCanonicalLocales(locale)[0] || navigator.language;
    } catch {
        return navigator.language;
    }
}

/** Write `1234 5678` or `12 / 34` while digits are added at the end. */
function groupDigits(input) {
    if (input.selectionStart !== input.value.length) return;
    const digits = digitsOf(input.value);
    if (input.id === "number") {
        const groups = isAmex(digits) ? /^(\d{4})(\d{1,6})?(\d+)?/ : /^(\d{4})(\d{1,4})?(\d{1,4})?(\d{1,4})?(\d+)?/;
        const parts = groups.exec(digits)?.slice(1).filter(Boolean);
        input.value = parts ? parts.join(" ") : digits;
    } else if (digits.length > 2 && digits.length < 5) {
        input.value = `${digits.slice(0, 2)} / ${digits.slice(2)}`;
    }
}

/** Return whether the page that embeds the frame is on this machine, as the sandbox's CORS rule has it. */
function isLoopback(origin) {
    const { hostname } = new URL(origin);
    return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

window.addEventListener("message", function start({ source, origin, ports, data }) {
    if (source !== window.parent || !ports[0] || !isLoopback(origin)) return;
    window.removeEventListener("message", start);
    runForm(ports[0], data);
});
})();
