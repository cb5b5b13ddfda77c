"""Choosing tokens and writing text; read samplers, settings, generator."""

from minigpt.generation.generator import TextGenerator as TextGenerator
from minigpt.generation.generator import generate_naive as generate_naive
from minigpt.generation.results import Candidate as Candidate
from minigpt.generation.results import GeneratedToken as GeneratedToken
from minigpt.generation.results import Generation as Generation
from minigpt.generation.samplers import GreedySampler as GreedySampler
from minigpt.generation.samplers import MinPSampler as MinPSampler
from minigpt.generation.samplers import Sampler as Sampler
from minigpt.generation.samplers import SamplerChain as SamplerChain
from minigpt.generation.samplers import TemperatureSampler as TemperatureSampler
from minigpt.generation.samplers import TopKSampler as TopKSampler
from minigpt.generation.samplers import TopPSampler as TopPSampler
from minigpt.generation.samplers import draw as draw
from minigpt.generation.settings import GenerationSettings as GenerationSettings
from minigpt.generation.settings import ResolvedSampler as ResolvedSampler
from minigpt.generation.settings import parse_sampler as parse_sampler
from minigpt.generation.settings import resolve_sampler as resolve_sampler
