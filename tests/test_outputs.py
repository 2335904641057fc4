"""The objects that a site offers: their names, their schemas, and what of the setting is reported."""

from typing import Generic, TypeVar

import pytest
from django.test import SimpleTestCase, override_settings
from pydantic import BaseModel, RootModel

from chatproject.schemas import Ingredient, Recipe
from streaming_chat.checks import check_outputs
from streaming_chat.outputs import output_named, output_of

pytestmark = pytest.mark.once

HERE = f"{__name__}."


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]


class Many(RootModel[list[int]]):
    """No object."""


class Unknown(BaseModel):
    """No JSON."""

    model_config = {"arbitrary_types_allowed": True}
    what: ValueError


class OutputTests(SimpleTestCase):
    def test_it_is_made_once_for_each_class(self):
        assert output_of(Recipe) is output_of(Recipe)
        assert output_of(Recipe).schema is output_of(Recipe).schema

    def test_a_class_has_the_name_of_the_setting_or_its_own(self):
        with override_settings(STREAMING_CHAT_OUTPUTS={"recipe": "chatproject.schemas.Recipe"}):
            assert output_of(Recipe) is output_named("recipe")
            assert output_of(Recipe).name == "recipe"
        assert output_of(Recipe).name == "Recipe"
        assert output_of(Page[Ingredient]).name == "Page_Ingredient_"

    def test_what_an_api_could_not_take_is_refused(self):
        for model in (Many, int, Ingredient(name="", grams=1), list[int]):
            with pytest.raises(TypeError):
                output_of(model)


class CheckTests(SimpleTestCase):
    def test_what_cannot_be_used_is_reported(self):
        for name, path, problem in (
            ("a b", "chatproject.schemas.Recipe", "its name must be"),
            ("", "chatproject.schemas.Recipe", "its name must be"),
            (7, "chatproject.schemas.Recipe", "its name must be"),
            ("a", Recipe, "dotted path"),
            ("a", "chatproject.schemas.Nothing", "Nothing"),
            ("a", "chatproject.middleware.content_security_policy", "pydantic.BaseModel"),
            ("a", f"{HERE}Many", "must be an object"),
            ("a", f"{HERE}Unknown", "no JSON schema"),
        ):
            with self.subTest(path), override_settings(STREAMING_CHAT_OUTPUTS={name: path}):
                [found] = check_outputs()

                assert found.id == "streaming_chat.E010"
                assert problem in found.msg
        with override_settings(STREAMING_CHAT_OUTPUTS=["a"]):
            assert [found.id for found in check_outputs()] == ["streaming_chat.E010"]

    def test_what_can_be_used_is_not(self):
        with override_settings(STREAMING_CHAT_OUTPUTS={"recipe": "chatproject.schemas.Recipe"}):
            assert check_outputs() == []
