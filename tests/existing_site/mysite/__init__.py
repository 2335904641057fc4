"""A site that was there before the app, with habits of its own; tests.existing adds the README's lines to a copy."""
