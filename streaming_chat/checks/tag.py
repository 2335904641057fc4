"""The tag of all checks, with which their ids begin."""

TAG = "streaming_chat"
