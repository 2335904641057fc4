"""A site that was there before the app; tests.existing copies it and adds the README's lines."""
