/* A button that is pressed twice must not refund twice. */
jQuery(document).on("ajaxSend", function () {
    document.querySelectorAll(".shop-payments-form button").forEach(function (button) {
        button.disabled = true;
    });
});
