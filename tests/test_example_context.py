"""The example site's context: passages of its article, by full-text search on PostgreSQL, and by words elsewhere."""

from io import StringIO

from django.core.management import call_command
from django.test import TestCase

from chatproject.context import context
from chatproject.models import Passage
from streaming_chat.providers.base import RunContext, Turn


class ExampleContextTests(TestCase):
    def ask(self, question: str) -> list[str]:
        """Return the titles of the passages for a question after another one."""
        found = context(RunContext(), [Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", question)])
        return [document.title for document in found.documents] if found else []

    def setUp(self) -> None:
        call_command("seeddemo", stdout=StringIO())

    def test_the_demo_has_the_sections_of_its_article(self):
        assert Passage.objects.count() == 3
        passage = Passage.objects.get(slug="what-the-drawers-could-not-do")

        assert passage.title == "What the drawers could not do"
        assert passage.text.startswith("A catalogue of cards knows the questions for which it was built.")
        assert passage.text.endswith("what it once thought worth knowing about it.")

    def test_the_best_passage_is_the_first(self):
        assert self.ask("Which typewriters and rods did Harvard have?")[0] == "A drawer for everybody"
        assert self.ask("What did the French government ask for in 1791?")[0] == "Playing cards of a revolution"

    def test_a_question_about_something_else_finds_nothing(self):
        assert self.ask("Kubernetes?") == []
        assert self.ask("A or b?") == []
