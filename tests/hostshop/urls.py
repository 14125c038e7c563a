from django.urls import path

from config.urls import urlpatterns as demo_urlpatterns

from .views import order_page

urlpatterns = [*demo_urlpatterns, path("orders/<uuid:pk>", order_page)]
