"""A module of a site that cannot be imported."""

raise RuntimeError("the password is secret")
