"""Views: pages, and the native API of docs/http-api.md."""
