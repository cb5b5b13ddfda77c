"""The settings of a run: checked when they are given, never changed afterwards, readable as YAML.

There is one frozen section per owner (`model`, `tokenizer`, `data`, `training`, `generation`), joined in `RunConfig`.
Each field's docstring is its only description: it becomes the comment in YAML, the line in `--help` and the help of the
widget, and its bounds are what a message about a wrong value names. Derived values are properties and are never stored.

Precedence, strongest first: `--set section.key=value` > environment `MINIGPT__SECTION__KEY` > YAML file > preset >
default. Only `load_config` knows this order. A resumed run uses its own `config.yaml` and none of these.

Read fields (what a setting is), sections (the settings), reading (where their values come from).
"""

from minigpt.config.fields import SECTIONS as SECTIONS
from minigpt.config.fields import allowed_values as allowed_values
from minigpt.config.fields import dotted_fields as dotted_fields
from minigpt.config.fields import field_bounds as field_bounds
from minigpt.config.fields import field_info as field_info
from minigpt.config.fields import field_names as field_names
from minigpt.config.fields import unknown_setting as unknown_setting
from minigpt.config.reading import dump_yaml as dump_yaml
from minigpt.config.reading import environment_values as environment_values
from minigpt.config.reading import load_config as load_config
from minigpt.config.reading import parse_assignments as parse_assignments
from minigpt.config.reading import read_yaml as read_yaml
from minigpt.config.sections import MOST as MOST
from minigpt.config.sections import DataConfig as DataConfig
from minigpt.config.sections import GenerationConfig as GenerationConfig
from minigpt.config.sections import RunConfig as RunConfig
from minigpt.config.sections import TokenizerConfig as TokenizerConfig
from minigpt.config.sections import TrainingConfig as TrainingConfig
from minigpt.config.sections import TransformerConfig as TransformerConfig
from minigpt.config.sections import wrong_fields as wrong_fields
