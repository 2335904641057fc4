"""What the example site knows, which its chat can look up: see docs/context.md."""

from django.db import models


class Passage(models.Model):
    """A section of an article of the site."""

    slug = models.SlugField(primary_key=True)
    title = models.CharField(max_length=200)
    text = models.TextField()

    def __str__(self) -> str:
        return self.title
