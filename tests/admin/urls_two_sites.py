"""A project with a second admin site, whose name is its own."""

from django.contrib import admin
from django.urls import path

from config.urls import urlpatterns as urls_of_the_project
from shop_payments.admin import register

ops = admin.AdminSite(name="ops")
register(ops)

urlpatterns = [*urls_of_the_project, path("ops/", ops.urls)]
