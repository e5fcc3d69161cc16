"""What the network of ``clicknet`` is made of: convolutions, residual blocks, attention, resampling, weighted means."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class CellConv(nn.Conv2d):
    """A 1x1 convolution of all pixels of each cell (``pixel_unshuffle``), computed as one of the cell's size.

    The weights are those of the former, (outputs, inputs * side^2, 1, 1); the latter spares a copy of the maps.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs * side**2, outputs, 1, bias=False)
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.weight.reshape(self.out_channels, -1, self.side, self.side)
        return functional.conv2d(maps, weight, self.bias, stride=self.side)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a short cut."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)), inplace=True)


class Attention(nn.Module):
    """Pre-norm transformer block over all positions: a click reaches every part of its object.

    Keys and values are averaged over 2x2 positions, as in PVT and SegFormer, for a quarter of the cost.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        tokens = features.flatten(2).transpose(1, 2)
        pooled = functional.avg_pool2d(features, 2, ceil_mode=True).flatten(2).transpose(1, 2)
        query = self._heads(self.query(self.norm(tokens)), 1)[0]
        key, value = self._heads(self.key_value(self.norm(pooled)), 2)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, -1, channels))
        tokens = tokens + self.mlp(tokens)
        spread: Tensor = tokens.transpose(1, 2).reshape(batch, channels, height, width)
        return spread

    def _heads(self, tokens: Tensor, parts: int) -> Tensor:
        """(B, n, parts * C) to (parts, B, heads, n, C / heads)."""
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, parts, self.heads, -1).permute(2, 0, 3, 1, 4)


def enlarge(features: Tensor, like: Tensor) -> Tensor:
    """Bilinear resampling, centre to centre, to the size of another map."""
    return functional.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


def pool(maps: Tensor, like: Tensor) -> Tensor:
    """Averages over the cells of another map."""
    return functional.adaptive_avg_pool2d(maps, (like.shape[-2], like.shape[-1]))


def weighted_mean(features: Tensor, weights: Tensor) -> Tensor:
    """(N, C) mean of (N, C, h, w) with (N, 1, h, w) weights; zero where all weights are zero."""
    return (features * weights).sum(dim=(2, 3)) / (weights.sum(dim=(2, 3)) + 1e-6)
