"""Pages on which the customer of a storefront pays: the pay page and the result page.

Mount ``shop_payments.checkout.urls``. Nothing is imported here, so that a settings module can
import ``shop_payments.checkout.csp``.
"""
