"""What every test module shares. Hypothesis: no deadline, since two cores shared by many processes make any test slow once."""

from hypothesis import settings

settings.register_profile("streaming_chat", deadline=None)
settings.load_profile("streaming_chat")
