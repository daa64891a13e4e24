"""A card tells what is known of a model, and that nothing is known where it is not."""

from __future__ import annotations

import pytest
import yaml

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.model_card import Figure, ModelFacts, readme, words

FACTS = ModelFacts(
    name="a student",
    use="Reads bone.",
    data=("9 patients",),
    simulated=True,
    limits=("Adults alone.",),
    figures=(
        Figure(name="ICC", value=0.5, interval=(0.25, 0.75)),
        Figure(name="AUC", value=None, reason="one class"),
    ),
    licence="Apache-2.0",
    files={"fold-0.safetensors": "ab" * 32},
)


@pytest.mark.parametrize("text", [words(FACTS), readme(FACTS)])
def test_everything_that_is_known_is_told(text: str) -> None:
    for told in ("9 patients", "0.50 [0.25, 0.75]", "not estimable: one class", "Adults alone", "ab" * 32):
        assert told in text
    assert "yes, every image comes from a model of bone and scanner" in text


def test_the_front_matter_is_yaml_with_a_licence() -> None:
    front = yaml.safe_load(readme(FACTS).split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "srrd-ray"
    assert "knee" in front["tags"]


def test_a_licence_that_nobody_stated_is_not_invented() -> None:
    facts = ModelFacts(name="m", use="u", data=(), simulated=None, limits=())
    front = yaml.safe_load(readme(facts).split("---\n")[1])
    assert front["license"] == "other"
    assert "whoever owns the data decides" in words(facts)
    assert "not known" in words(facts)


@pytest.mark.parametrize("licence", ["a\nb: c", "two words", "-x", "x" * 3 + "\n"])
def test_a_licence_cannot_add_to_the_front_matter(licence: str) -> None:
    with pytest.raises(ConfigError, match="licence-invalid"):
        ModelFacts(name="m", use="u", data=(), simulated=None, limits=(), licence=licence)
