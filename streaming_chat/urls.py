"""Addresses of the app. API paths have no trailing slash: SDKs build their own, and a redirect loses a POST's body."""

from django.urls import path, re_path

from .views import health, pages, shared, tokens
from .views.api import (
    ag_ui,
    ai_chat,
    available_models,
    call_answers,
    chat,
    conversations,
    csrf_tokens,
    diagnosis,
    exports,
    feedback,
    formatted,
    lookups,
    merging,
    messages,
    openapi,
    replies,
    sharing,
)
from .views.openai import answers as openai_answers
from .views.openai import chat_completions
from .views.openai import models as openai_models

app_name = "streaming_chat"

urlpatterns = [
    # First, since addresses are tried in this order.
    path("api/messages", messages.messages_view, name="api-messages"),
    path("api/chat", chat.chat_view, name="api-chat"),
    path("", pages.chat, name="chat"),
    path("c/<uuid:conversation_id>", pages.conversation, name="conversation"),
    path("tokens", tokens.tokens_view, name="tokens"),
    # Also what was copied with something after it: the site's own page would log the address, which has the token.
    path("shared/<path:token>", shared.shared, name="shared"),
    path("api/conversations", conversations.conversations_view, name="api-conversations"),
    path("api/conversations/search", conversations.search_view, name="api-search"),
    path("api/conversations/<uuid:conversation_id>", conversations.conversation_view, name="api-conversation"),
    path("api/conversations/<uuid:conversation_id>/restore", conversations.restore_view, name="api-restore"),
    path(
        "api/conversations/<uuid:conversation_id>/export",
        exports.conversation_export_view,
        name="api-conversation-export",
    ),
    path(
        "api/conversations/<uuid:conversation_id>/messages",
        messages.conversation_messages_view,
        name="api-conversation-messages",
    ),
    path("api/conversations/<uuid:conversation_id>/share", sharing.share_view, name="api-share"),
    path("api/messages/<uuid:message_id>", messages.message_view, name="api-message"),
    path("api/messages/<uuid:message_id>/html", formatted.formatted_message_view, name="api-message-html"),
    path("api/messages/<uuid:message_id>/events", replies.events_view, name="api-events"),
    path("api/messages/<uuid:message_id>/stop", replies.stop_view, name="api-stop"),
    path("api/messages/<uuid:message_id>/answers", call_answers.answers_view, name="api-answers"),
    path("api/messages/<uuid:message_id>/regenerate", replies.regenerate_view, name="api-regenerate"),
    path("api/messages/<uuid:message_id>/continue", replies.continue_view, name="api-continue"),
    path("api/messages/<uuid:message_id>/feedback", feedback.feedback_view, name="api-feedback"),
    path("ai/chat", ai_chat.send_view, name="ai-chat"),
    # A chat id may have a slash.
    path("ai/chat/<path:chat_id>/stream", ai_chat.stream_view, name="ai-chat-stream"),
    path("ai/chat/<path:chat_id>/stop", ai_chat.stop_view, name="ai-chat-stop"),
    path("ai/chat/<path:chat_id>", ai_chat.messages_view, name="ai-chat-messages"),
    path("ai/ag_ui", ag_ui.ag_ui_view, name="ai-ag-ui"),
    path("v1/chat/completions", chat_completions.chat_completions_view, name="openai-chat-completions"),
    path("v1/models", openai_models.models_view, name="openai-models"),
    path("api/claim", merging.merge_view, name="api-claim"),
    path("api/export", exports.export_view, name="api-export"),
    path("api/models", available_models.models_view, name="api-models"),
    path("api/token", csrf_tokens.token_view, name="api-token"),
    path("api/openapi.json", openapi.openapi_view, name="api-openapi"),
    path("api/diagnosis", diagnosis.diagnosis_view, name="api-diagnosis"),
    # Any path, also with a line break in it.
    re_path(r"^api(?:/[\s\S]*)?\Z", lookups.unknown_view, name="api-unknown"),
    re_path(r"^v1(?:/[\s\S]*)?\Z", openai_answers.unknown_view, name="openai-unknown"),
    path(health.ROUTE, health.health_view, name="health"),
]
