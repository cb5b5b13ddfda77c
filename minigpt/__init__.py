"""See how a GPT works by training one yourself.

The names below are all that most programs need. Each is imported when it is first used, so `import minigpt` is quick
and does not load torch.

>>> import minigpt
>>> minigpt.TransformerConfig(num_layers=2).d_head
32
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigpt.version import __version__

if TYPE_CHECKING:
    from minigpt.config.reading import dump_yaml as dump_yaml
    from minigpt.config.reading import load_config as load_config
    from minigpt.config.sections import GenerationConfig as GenerationConfig
    from minigpt.config.sections import RunConfig as RunConfig
    from minigpt.config.sections import TrainingConfig as TrainingConfig
    from minigpt.config.sections import TransformerConfig as TransformerConfig
    from minigpt.data.corpora import Corpus as Corpus
    from minigpt.data.corpora import corpus_from_text as corpus_from_text
    from minigpt.data.corpora import load_corpus as load_corpus
    from minigpt.data.corpora import read_corpus as read_corpus
    from minigpt.data.dataset import LanguageModelDataset as LanguageModelDataset
    from minigpt.data.order import BatchOrder as BatchOrder
    from minigpt.errors import InputError as InputError
    from minigpt.errors import MinigptError as MinigptError
    from minigpt.errors import RunFault as RunFault
    from minigpt.evaluation.perplexity import Evaluation as Evaluation
    from minigpt.evaluation.perplexity import ModelEvaluator as ModelEvaluator
    from minigpt.generation.constraints import AllowedTokens as AllowedTokens
    from minigpt.generation.constraints import BannedTokens as BannedTokens
    from minigpt.generation.constraints import LogitBias as LogitBias
    from minigpt.generation.generator import TextGenerator as TextGenerator
    from minigpt.generation.penalties import DRYPenalty as DRYPenalty
    from minigpt.generation.penalties import FrequencyPenalty as FrequencyPenalty
    from minigpt.generation.penalties import PresencePenalty as PresencePenalty
    from minigpt.generation.penalties import RepetitionPenalty as RepetitionPenalty
    from minigpt.generation.playful import Alliteration as Alliteration
    from minigpt.generation.playful import NoRepeatedLetter as NoRepeatedLetter
    from minigpt.generation.playful import OnlyWords as OnlyWords
    from minigpt.generation.playful import Rhyme as Rhyme
    from minigpt.generation.playful import SyllableLines as SyllableLines
    from minigpt.generation.playful import TextRule as TextRule
    from minigpt.generation.results import Generation as Generation
    from minigpt.generation.samplers import GreedySampler as GreedySampler
    from minigpt.generation.samplers import Sampler as Sampler
    from minigpt.generation.samplers import SamplerChain as SamplerChain
    from minigpt.generation.samplers import TemperatureSampler as TemperatureSampler
    from minigpt.generation.settings import GenerationSettings as GenerationSettings
    from minigpt.generation.truncation import MinPSampler as MinPSampler
    from minigpt.generation.truncation import MirostatSampler as MirostatSampler
    from minigpt.generation.truncation import TopKSampler as TopKSampler
    from minigpt.generation.truncation import TopNSigmaSampler as TopNSigmaSampler
    from minigpt.generation.truncation import TopPSampler as TopPSampler
    from minigpt.generation.truncation import TypicalSampler as TypicalSampler
    from minigpt.interop.huggingface import export_huggingface as export_huggingface
    from minigpt.interop.huggingface import import_huggingface as import_huggingface
    from minigpt.interop.huggingface import load_huggingface as load_huggingface
    from minigpt.interpret.trace import Trace as Trace
    from minigpt.interpret.trace import trace_forward as trace_forward
    from minigpt.model.block import Block as Block
    from minigpt.model.own_modules import load_modules as load_modules
    from minigpt.model.own_modules import register_module as register_module
    from minigpt.model.positions import PositionScheme as PositionScheme
    from minigpt.model.transformer import Transformer as Transformer
    from minigpt.runs.job import TrainingJob as TrainingJob
    from minigpt.runs.loading import Run as Run
    from minigpt.runs.loading import load_run as load_run
    from minigpt.runs.preparation import create_run as create_run
    from minigpt.tokenizers.base import BaseTokenizer as BaseTokenizer
    from minigpt.tokenizers.bpe import BPETokenizer as BPETokenizer
    from minigpt.tokenizers.byte import ByteTokenizer as ByteTokenizer
    from minigpt.tokenizers.character import CharacterTokenizer as CharacterTokenizer
    from minigpt.training.callbacks import Callback as Callback
    from minigpt.training.trainer import Trainer as Trainer

_LAZY = {
    "Alliteration": "minigpt.generation.playful",
    "AllowedTokens": "minigpt.generation.constraints",
    "BPETokenizer": "minigpt.tokenizers.bpe",
    "BannedTokens": "minigpt.generation.constraints",
    "BaseTokenizer": "minigpt.tokenizers.base",
    "BatchOrder": "minigpt.data.order",
    "Block": "minigpt.model.block",
    "ByteTokenizer": "minigpt.tokenizers.byte",
    "Callback": "minigpt.training.callbacks",
    "CharacterTokenizer": "minigpt.tokenizers.character",
    "Corpus": "minigpt.data.corpora",
    "DRYPenalty": "minigpt.generation.penalties",
    "Evaluation": "minigpt.evaluation.perplexity",
    "FrequencyPenalty": "minigpt.generation.penalties",
    "Generation": "minigpt.generation.results",
    "GenerationConfig": "minigpt.config.sections",
    "GenerationSettings": "minigpt.generation.settings",
    "GreedySampler": "minigpt.generation.samplers",
    "InputError": "minigpt.errors",
    "LanguageModelDataset": "minigpt.data.dataset",
    "LogitBias": "minigpt.generation.constraints",
    "MinPSampler": "minigpt.generation.truncation",
    "MinigptError": "minigpt.errors",
    "MirostatSampler": "minigpt.generation.truncation",
    "ModelEvaluator": "minigpt.evaluation.perplexity",
    "NoRepeatedLetter": "minigpt.generation.playful",
    "OnlyWords": "minigpt.generation.playful",
    "PositionScheme": "minigpt.model.positions",
    "PresencePenalty": "minigpt.generation.penalties",
    "RepetitionPenalty": "minigpt.generation.penalties",
    "Rhyme": "minigpt.generation.playful",
    "Run": "minigpt.runs.loading",
    "RunConfig": "minigpt.config.sections",
    "RunFault": "minigpt.errors",
    "Sampler": "minigpt.generation.samplers",
    "SamplerChain": "minigpt.generation.samplers",
    "SyllableLines": "minigpt.generation.playful",
    "TemperatureSampler": "minigpt.generation.samplers",
    "TextGenerator": "minigpt.generation.generator",
    "TextRule": "minigpt.generation.playful",
    "TopKSampler": "minigpt.generation.truncation",
    "TopNSigmaSampler": "minigpt.generation.truncation",
    "TopPSampler": "minigpt.generation.truncation",
    "Trace": "minigpt.interpret.trace",
    "Trainer": "minigpt.training.trainer",
    "TrainingConfig": "minigpt.config.sections",
    "TrainingJob": "minigpt.runs.job",
    "Transformer": "minigpt.model.transformer",
    "TransformerConfig": "minigpt.config.sections",
    "TypicalSampler": "minigpt.generation.truncation",
    "corpus_from_text": "minigpt.data.corpora",
    "create_run": "minigpt.runs.preparation",
    "dump_yaml": "minigpt.config.reading",
    "export_huggingface": "minigpt.interop.huggingface",
    "import_huggingface": "minigpt.interop.huggingface",
    "load_config": "minigpt.config.reading",
    "load_corpus": "minigpt.data.corpora",
    "load_huggingface": "minigpt.interop.huggingface",
    "load_modules": "minigpt.model.own_modules",
    "load_run": "minigpt.runs.loading",
    "read_corpus": "minigpt.data.corpora",
    "register_module": "minigpt.model.own_modules",
    "trace_forward": "minigpt.interpret.trace",
}
"""Where each public name lives."""

__all__ = [
    "Alliteration",
    "AllowedTokens",
    "BPETokenizer",
    "BannedTokens",
    "BaseTokenizer",
    "BatchOrder",
    "Block",
    "ByteTokenizer",
    "Callback",
    "CharacterTokenizer",
    "Corpus",
    "DRYPenalty",
    "Evaluation",
    "FrequencyPenalty",
    "Generation",
    "GenerationConfig",
    "GenerationSettings",
    "GreedySampler",
    "InputError",
    "LanguageModelDataset",
    "LogitBias",
    "MinPSampler",
    "MinigptError",
    "MirostatSampler",
    "ModelEvaluator",
    "NoRepeatedLetter",
    "OnlyWords",
    "PositionScheme",
    "PresencePenalty",
    "RepetitionPenalty",
    "Rhyme",
    "Run",
    "RunConfig",
    "RunFault",
    "Sampler",
    "SamplerChain",
    "SyllableLines",
    "TemperatureSampler",
    "TextGenerator",
    "TextRule",
    "TopKSampler",
    "TopNSigmaSampler",
    "TopPSampler",
    "Trace",
    "Trainer",
    "TrainingConfig",
    "TrainingJob",
    "Transformer",
    "TransformerConfig",
    "TypicalSampler",
    "__version__",
    "corpus_from_text",
    "create_run",
    "dump_yaml",
    "export_huggingface",
    "import_huggingface",
    "load_config",
    "load_corpus",
    "load_huggingface",
    "load_modules",
    "load_run",
    "read_corpus",
    "register_module",
    "trace_forward",
]

if not TYPE_CHECKING:  # a type checker that sees this would let every misspelt name pass

    def __getattr__(name: str) -> Any:
        """Import the module of a public name when the name is first used."""
        import importlib

        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names whether or not they have been imported yet."""
        return sorted(set(globals()) | set(__all__))
