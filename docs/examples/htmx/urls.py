from django.urls import path

from . import views

app_name = "htmx"

urlpatterns = [
    path("<int:version>/", views.chat, name="chat"),
    path("<int:version>/ask/", views.ask, name="ask"),
]
