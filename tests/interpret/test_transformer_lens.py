"""The same weights in TransformerLens (if it is installed, up to version 3) give the same activations and logits.

Not among the requirements: `pip install transformer_lens==2.16.1`. With one option its rotary positions
pair neighbours as ours do; everything else has the same name.
"""

import pytest
import torch

from minigpt.interpret.lens import head_outputs
from minigpt.interpret.patching import patch_heads
from minigpt.interpret.trace import trace_forward

pytestmark = pytest.mark.filterwarnings("ignore")
OTHER = torch.tensor([[1, 2, 8, 2, 3, 9, 4]])
SAME_NAME = {"q": "attn.hook_q", "attn_pattern": "attn.hook_pattern", "z": "attn.hook_z", "attn_out": "hook_attn_out",
             "ff_out": "hook_mlp_out", "resid_post": "hook_resid_post"}  # fmt: skip


@pytest.fixture(params=["rotary", "learned"])
def pair(request, make):
    """Our model, and theirs with its weights."""
    lens = pytest.importorskip("transformer_lens")
    try:
        build, configure = lens.HookedTransformer, lens.HookedTransformerConfig
    except ImportError:
        pytest.skip("TransformerLens 4 builds no model from a configuration")
    learned = request.param == "learned"
    model = make(norm="layernorm" if learned else "rmsnorm", bias=learned, positions=request.param, num_kv_heads=None)
    config, heads, width = model.config, model.config.num_heads, model.config.d_head
    theirs = build(
        configure(
            n_layers=config.num_layers, d_model=config.d_model, n_ctx=config.sequence_length, d_head=width,
            n_heads=heads, d_mlp=config.ff_width, d_vocab=model.vocab_size, act_fn="gelu", eps=1e-5, device="cpu",
            normalization_type="LN" if learned else "RMS", positional_embedding_type="standard" if learned else "rotary",
            rotary_dim=None if learned else width, rotary_adjacent_pairs=True, gated_mlp=False, init_weights=False,
        )
    ).eval()  # fmt: skip
    ours = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    state = {"embed.W_E": ours["embedding.weight"], "unembed.W_U": ours["embedding.weight"].T}
    for theirs_name, name in [("ln_final", "final_norm"), *(
        (f"blocks.{layer}.{a}", f"blocks.{layer}.{b}")
        for layer in range(config.num_layers) for a, b in (("ln1", "attention_norm"), ("ln2", "feedforward_norm"))
    )]:  # fmt: skip
        state[f"{theirs_name}.w"] = ours[f"{name}.weight"]
        if learned:
            state[f"{theirs_name}.b"] = ours[f"{name}.bias"]
    if learned:
        state["pos_embed.W_pos"] = ours["positions.weight"]
    for layer in range(config.num_layers):
        at, block = f"blocks.{layer}", f"blocks.{layer}"
        rows = ours[f"{block}.attention.qkv.weight"].view(3, heads, width, -1)
        for letter, weight in zip("QKV", rows, strict=True):
            state[f"{at}.attn.W_{letter}"] = weight.transpose(1, 2)  # (H, D, K)
        state[f"{at}.attn.W_O"] = ours[f"{block}.attention.out.weight"].T.reshape(heads, width, -1)
        state[f"{at}.mlp.W_in"] = ours[f"{block}.feedforward.up.weight"].T
        state[f"{at}.mlp.W_out"] = ours[f"{block}.feedforward.down.weight"].T
        if learned:
            for letter, bias in zip("QKV", ours[f"{block}.attention.qkv.bias"].view(3, heads, width), strict=True):
                state[f"{at}.attn.b_{letter}"] = bias
            state[f"{at}.attn.b_O"] = ours[f"{block}.attention.out.bias"]
            state[f"{at}.mlp.b_in"] = ours[f"{block}.feedforward.up.bias"]
            state[f"{at}.mlp.b_out"] = ours[f"{block}.feedforward.down.bias"]
    missing = theirs.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    with torch.no_grad():  # biases that ours does not have
        for name in missing.missing_keys:
            if ".b_" in name and "mask" not in name.lower():
                theirs.get_parameter(name).zero_()
    return model, theirs


def test_activations_and_logits_are_the_same(pair, ids):
    model, theirs = pair
    trace = trace_forward(model, ids)
    with torch.no_grad():
        logits, cache = theirs.run_with_cache(ids)
    torch.testing.assert_close(trace.logits, logits, rtol=1e-4, atol=1e-4)
    for layer in range(3):
        for ours, name in SAME_NAME.items():
            if ours == "q" and model.config.positions == "rotary":
                name = "attn.hook_rot_q"
            other = cache[f"blocks.{layer}.{name}"]
            other = other.transpose(1, 2) if ours in ("q", "z") else other
            torch.testing.assert_close(trace[f"blocks.{layer}.{ours}"], other, rtol=1e-4, atol=1e-4)


def test_outputs_of_heads_are_the_same(pair, ids):
    model, theirs = pair
    with torch.no_grad():
        _, cache = theirs.run_with_cache(ids)
    stacked = cache.stack_head_results(layer=-1)[:12, 0]  # (L H, T, D)
    torch.testing.assert_close(torch.cat(head_outputs(model, ids)), stacked, rtol=1e-4, atol=1e-4)


def test_patching_of_heads_is_the_same(pair, ids):
    model, theirs = pair
    with torch.no_grad():
        clean_logits, clean = theirs.run_with_cache(ids)

        def answer(logits):
            return float(logits[0, -1, 9] - logits[0, -1, 6])

        start = answer(theirs(OTHER))
        measured = patch_heads(model, ids, OTHER, target=9, versus=6)
        for layer, head in ((0, 1), (2, 3)):
            name = f"blocks.{layer}.attn.hook_z"

            def put(z, hook, name=name, head=head):
                z[:, :, head] = clean[name][:, :, head]
                return z

            patched = answer(theirs.run_with_hooks(OTHER, fwd_hooks=[(name, put)]))
            wanted = (patched - start) / (answer(clean_logits) - start)
            assert measured[layer, head] == pytest.approx(wanted, abs=1e-3)
