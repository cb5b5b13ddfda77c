"""How good a model is at a text; read perplexity, baselines."""

from minigpt.evaluation.baselines import ngram_baselines
from minigpt.evaluation.perplexity import Evaluation, ModelEvaluator, TokenScore, TokenScores

__all__ = ["Evaluation", "ModelEvaluator", "TokenScore", "TokenScores", "ngram_baselines"]
