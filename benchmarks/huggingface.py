"""How long it takes to load a model of Hugging Face, and how much memory, as a whole process.

    python benchmarks/huggingface.py
    python benchmarks/huggingface.py --layers 2 --width 64 --vocabulary 1000

The model has the shape of the smallest GPT-2 and random weights. Each line is a process of its own that also computes
the logits of 64 tokens, so that every weight has been read. The file is in the system's cache, as after a download.

- **load**: `load_huggingface`, which maps the file (goal: 3 s, and less than twice the size of the file);
- **import**: `import_huggingface`, which writes a run;
- **run**: `load_run` of this run.

Seconds do not count the import of the libraries. Megabytes are the most that the process held at a time; the number in
brackets divides them by the size of the file. `nothing` is a process that only imports the libraries. Runs on Linux and
macOS.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def make(folder: Path, layers: int, width: int, vocabulary: int) -> None:
    """Write a model with random weights in the form of Hugging Face's GPT-2."""
    import minigpt

    config = minigpt.TransformerConfig(
        num_layers=layers, num_heads=max(1, width // 64), d_model=width, sequence_length=1024, norm="layernorm",
        positions="learned", activation="gelu_tanh", bias=True,
    )  # fmt: skip
    tokenizer = minigpt.BPETokenizer(300).train((ROOT / "README.md").read_text("utf-8"))
    model = minigpt.Transformer(config, vocabulary)
    minigpt.export_huggingface(SimpleNamespace(model=model, tokenizer=tokenizer), folder)


def measure(what: str, folder: Path, run: Path, out: multiprocessing.connection.Connection) -> None:
    """Do one thing in this process and send its seconds and its peak in MB."""
    import torch

    import minigpt
    from minigpt.interop import huggingface  # noqa: F401 - so that only the loading is timed

    began = time.perf_counter()
    if what == "load":
        model = minigpt.load_huggingface(folder).model
    elif what == "import":
        minigpt.import_huggingface(folder, path=run)
    elif what == "run":
        model = minigpt.load_run(run).model
    seconds = time.perf_counter() - began
    if what in ("load", "run"):
        with torch.inference_mode():
            model(torch.arange(64)[None])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    out.send((seconds, peak / 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=50257)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder, run = Path(temporary) / "model", Path(temporary) / "run"
        making = context.Process(target=make, args=(folder, arguments.layers, arguments.width, arguments.vocabulary))
        making.start()
        making.join()
        megabytes = (folder / "model.safetensors").stat().st_size / 1e6
        print(f"model.safetensors: {megabytes:,.0f} MB")
        for what in ("nothing", "load", "import", "run"):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(what, folder, run, theirs))
            process.start()
            seconds, peak = ours.recv()
            process.join()
            print(f"{what:8} {seconds:6.2f} s {peak:8,.0f} MB ({peak / megabytes:.2f})")


if __name__ == "__main__":
    main()
