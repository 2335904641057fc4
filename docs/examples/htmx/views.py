"""A chat with htmx 2 or 4: a form, and a fragment for each reply, which follows the reply by itself."""

from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django.views.decorators.http import require_POST

from streaming_chat.shortcuts import send_message


@login_required
def chat(request, version):
    return render(request, f"htmx/chat_{version}.html")


@login_required
@require_POST
def ask(request, version):
    reply = send_message(request.user, request.POST["content"])
    return render(request, f"htmx/reply_{version}.html", {"reply": reply, "question": request.POST["content"]})
