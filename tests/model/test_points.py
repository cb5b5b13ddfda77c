"""The table of points in the docstring equals the list in the code."""

import re

from minigpt.config import TransformerConfig
from minigpt.model import points


def test_the_table_names_every_point_and_no_other():
    rows = [line for line in points.__doc__.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z_.{}]+)`", row.split("|")[1])]
    config = TransformerConfig(num_layers=1, positions="learned")
    assert [name.replace("{l}", "0") for name in named] == points.point_names(config)


def test_rotary_models_have_no_position_vectors():
    assert "pos_embed" not in points.point_names(TransformerConfig(positions="rotary"))
