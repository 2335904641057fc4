"""What every test module shares."""

from hypothesis import settings

# On two cores that many processes share, any one example may be slow.
settings.register_profile("streaming_chat", deadline=None)
settings.load_profile("streaming_chat")
