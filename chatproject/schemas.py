"""Objects that replies can be (docs/structured-output.md): `"output": "recipe"` in a request of the API."""

from pydantic import BaseModel, Field


class Ingredient(BaseModel):
    name: str = Field(examples=["flour"])
    grams: int = Field(ge=1, examples=[250])


class Recipe(BaseModel):
    """A recipe for one dish."""

    title: str = Field(examples=["Pancakes from the built-in demo, which no model has written"])
    minutes: int = Field(ge=1, description="From the first step to the table.", examples=[25])
    ingredients: list[Ingredient] = Field(min_length=1)
    steps: list[str] = Field(
        description="One sentence each.",
        examples=[
            ["Whisk everything to a smooth batter.", "Let it rest for ten minutes.", "Bake it until it is golden."]
        ],
    )
