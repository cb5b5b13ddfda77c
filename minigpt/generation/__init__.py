"""Choosing tokens and writing text; read samplers, generator."""

from minigpt.generation.generator import Candidate, GeneratedToken, Generation, TextGenerator, generate_naive
from minigpt.generation.samplers import (
    GreedySampler,
    MinPSampler,
    ResolvedSampler,
    Sampler,
    SamplerChain,
    TemperatureSampler,
    TopKSampler,
    TopPSampler,
    draw,
    parse_sampler,
    resolve_sampler,
)

__all__ = [
    "Candidate",
    "GeneratedToken",
    "Generation",
    "GreedySampler",
    "MinPSampler",
    "ResolvedSampler",
    "Sampler",
    "SamplerChain",
    "TemperatureSampler",
    "TextGenerator",
    "TopKSampler",
    "TopPSampler",
    "draw",
    "generate_naive",
    "parse_sampler",
    "resolve_sampler",
]
