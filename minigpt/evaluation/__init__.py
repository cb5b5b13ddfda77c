"""How good a model is at a text, and how much of its own text is copied; read perplexity, baselines, cache, copying."""

from minigpt.evaluation.baselines import ngram_baselines
from minigpt.evaluation.cache import evaluate_once
from minigpt.evaluation.copying import SharedSpan, copied_share, shared_spans
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator, TokenScore, TokenScores

__all__ = [
    "Evaluation",
    "ModelEvaluator",
    "SharedSpan",
    "TokenScore",
    "TokenScores",
    "copied_share",
    "evaluate_once",
    "ngram_baselines",
    "shared_spans",
]
