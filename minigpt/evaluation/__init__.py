"""How good a model is at a text; read perplexity, baselines, cache."""

from minigpt.evaluation.baselines import ngram_baselines
from minigpt.evaluation.cache import evaluate_once
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator, TokenScore, TokenScores

__all__ = ["Evaluation", "ModelEvaluator", "TokenScore", "TokenScores", "evaluate_once", "ngram_baselines"]
