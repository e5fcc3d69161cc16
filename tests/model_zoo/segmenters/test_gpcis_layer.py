"""The GP layer: parity with the published head on random weights, and the identities of its posterior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.prompt import Click
from model_zoo.segmenters import gpcis_layer
from model_zoo.segmenters.gpcis_layer import GpLayer, Points, factorise, points, solve

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "data" / "gpcis_parity.npz"  # made by scripts/gpcis_parity.py
NAMES = {
    "theta.weight": "theta.weight",
    "theta.bias": "theta.bias",
    "weight_mean": "omega",
    "log_scale": "logsigma2",
    "colour_share": "weights",
    "target.0.weight": "u_mlp.0.weight",
    "target.0.bias": "u_mlp.0.bias",
    "target.2.weight": "u_mlp.2.weight",
    "target.2.bias": "u_mlp.2.bias",
}


def golden() -> tuple[GpLayer, torch.Tensor, Points, dict[str, np.ndarray]]:
    with np.load(GOLDEN) as file:
        values = dict(file)
    layer = GpLayer()
    state = layer.state_dict()
    for ours, theirs in NAMES.items():
        state[ours] = torch.from_numpy(values[theirs]).reshape(state[ours].shape)
    layer.load_state_dict(state)
    half = values["points"].shape[1] // 2
    clicks = [
        [Click(row, col, place < half) for place, (row, col, _) in enumerate(given)]
        for given in values["points"].tolist()
    ]
    features = torch.from_numpy(values["features"]).float()
    return layer, features, points(clicks, *features.shape[-2:], features.device), values


def test_the_published_head_says_the_same_at_test_time() -> None:
    layer, features, clicks, values = golden()
    with torch.inference_mode():
        output = layer.eval()(features, clicks)
    assert np.abs(output.logits.numpy() - values["test"]).max() < 1e-4
    assert float(output.vi) == 0.0


def test_the_published_head_says_the_same_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, features, clicks, values = golden()
    monkeypatch.setattr(gpcis_layer.torch, "randn_like", torch.zeros_like)
    output = layer.train()(features, clicks)
    assert np.abs(output.logits.detach().numpy() - values["train"]).max() < 1e-4
    assert float(output.penalty.detach()) == pytest.approx(float(values["vi"]), rel=1e-4)


def test_every_parameter_is_trained_but_not_through_the_inverse() -> None:
    torch.manual_seed(0)
    layer, features, clicks, _ = golden()
    features.requires_grad_(True)
    output = layer(features, clicks)
    (features_gradient,) = torch.autograd.grad(output.vi, features, retain_graph=True)
    untouched = torch.ones(2, 32, 32, dtype=torch.bool)
    untouched[clicks.image, clicks.row, clicks.col] = False
    assert not features_gradient.movedim(1, -1)[untouched].any()
    assert torch.autograd.grad(output.vi, layer.log_scale, retain_graph=True, allow_unused=True) == (None,)
    (output.logits.square().mean() + output.vi).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_at_test_time_nothing_is_sampled_and_in_training_something_is() -> None:
    layer, features, clicks, _ = golden()
    with torch.inference_mode():
        assert torch.equal(layer.eval()(features, clicks).logits, layer(features, clicks).logits)
        assert not torch.equal(layer.train()(features, clicks).logits, layer(features, clicks).logits)


def test_every_click_has_its_sign_at_its_pixel() -> None:
    layer, features, clicks, _ = golden()
    with torch.inference_mode():
        logits = layer.eval()(features, clicks).logits[clicks.image, 0, clicks.row, clicks.col]
        z = features[clicks.image, :, clicks.row, clicks.col]
        wanted = layer.target_mean(z, clicks.sign)
    assert torch.equal(torch.sign(logits), clicks.sign)
    assert torch.allclose(logits, wanted, atol=1e-4)


def test_an_image_without_clicks_keeps_its_prior() -> None:
    layer, features, _, _ = golden()
    none = points([[], [Click(3, 3)]], 32, 32, features.device)
    with torch.inference_mode():
        output = layer.eval()(features, none)
        prior = layer.prior(features.movedim(1, -1), layer.weight_mean)
        assert torch.equal(output.logits[0, 0], prior[0])
        assert not torch.equal(output.logits[1, 0], prior[1])
        assert torch.equal(layer(features, points([[], []], 32, 32, features.device)).logits[:, 0], prior)
    assert float(layer.train()(features, points([[], []], 32, 32, features.device)).vi.detach()) == 0.0


def test_the_order_of_clicks_does_not_matter() -> None:
    layer, features, clicks, _ = golden()
    turn = torch.arange(len(clicks.sign) - 1, -1, -1)
    turned = Points(clicks.image[turn], clicks.row[turn], clicks.col[turn], clicks.sign[turn])
    with torch.inference_mode():
        assert torch.allclose(
            layer.eval()(features, clicks).logits, layer(features, turned).logits, atol=1e-5
        )


def test_a_click_given_twice_changes_little() -> None:
    layer, features, clicks, _ = golden()
    twice = Points(*(torch.cat([value, value[:1]]) for value in vars(clicks).values()))
    with torch.inference_mode():
        once, again = layer.eval()(features, clicks).logits, layer(features, twice).logits
    assert torch.allclose(once, again, atol=1e-4)


def test_the_residual_is_noise_times_the_inverse_of_the_former_residual() -> None:
    torch.manual_seed(1)
    layer, z, residual = GpLayer(6), torch.randn(12, 9), torch.randn(12)
    gram = layer.kernel(z, z).detach()
    v = solve(factorise(gram, 1e-3, exact=False), residual)
    assert torch.allclose(residual - gram @ v, 1e-3 * v, rtol=1e-5, atol=1e-5)
    former = torch.linalg.norm(residual)
    bound = 1e-3 / (torch.linalg.eigvalsh(gram)[0] + 1e-3) * former
    assert torch.linalg.norm(residual - gram @ v) <= bound + 1e-6


def test_without_noise_the_map_passes_through_the_targets() -> None:
    torch.manual_seed(2)
    layer, z = GpLayer(6).double(), torch.randn(9, 9, dtype=torch.float64)
    residual = torch.randn(9, dtype=torch.float64)
    gram = layer.kernel(z, z).detach()
    assert torch.allclose(gram @ solve(factorise(gram, 1e-10, exact=True), residual), residual, atol=1e-8)


def test_no_residual_changes_nothing_and_nothing_changes_far_away() -> None:
    torch.manual_seed(3)
    layer, z = GpLayer(6), torch.randn(5, 9)
    factor = factorise(layer.kernel(z, z).detach(), 1e-3, exact=True)
    assert not solve(factor, torch.zeros(5)).any()
    far = layer.kernel(z[:1] + 40.0, z).detach()
    assert float(far.max()) < 1e-6
    assert float((far @ solve(factor, torch.ones(5))).abs()) < 1e-5


def test_a_singular_matrix_gets_more_noise() -> None:
    assert torch.isfinite(factorise(torch.ones(4, 4), 1e-18, exact=True)).all()


def test_clicks_outside_the_map_are_left_out() -> None:
    found = points(
        [[Click(-1, -1), Click(2.9, 3.0, positive=False)], [Click(4, 0), Click(0, 0)]],
        4,
        4,
        torch.device("cpu"),
    )
    assert found.image.tolist() == [0, 1]
    assert (found.row.tolist(), found.col.tolist()) == ([2, 0], [3, 0])
    assert found.sign.tolist() == [-1.0, 1.0]
