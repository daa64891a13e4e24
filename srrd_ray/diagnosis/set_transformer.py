"""A small set-Transformer over the cubes of a knee (Lee et al., ICML 2019): it does not ask for their order.

Cubes attend to each other, one learnt query gathers them, and a linear layer takes that to a logit. What is
known of the whole knee is one more member of the set. How long it learns is its only setting; it starts at
the share of the patients.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.core.hashing import seed_from
from srrd_ray.diagnosis.selection import Probability, Training, Values

EPOCHS: Final = (5, 15, 40)
"""The candidates: after how many steps over all knees learning stops."""
WIDTH, HEADS = 16, 2
RATE, DECAY = 5e-3, 0.3
NETWORKS: Final = 2
"""Networks of other starts whose probabilities are averaged."""


class _Standard(NamedTuple):
    """Mean and SD of the training knees' features and of their cubes."""

    values: tuple[Values, Values]
    cubes: tuple[Values, Values]


class _Inputs(NamedTuple):
    """Cubes (n, m, c), which of them are none (n, m), features (n, f)."""

    cubes: Tensor
    absent: Tensor
    values: Tensor


class _Attention(nn.Module):
    """Queries that gather keys by attention, then each by itself through two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, queries: Tensor, keys: Tensor, absent: Tensor) -> Tensor:
        """Return the queries (n, q, width) after they looked at the keys that are not `absent`."""
        gathered, _ = self.attention(queries, keys, keys, key_padding_mask=absent, need_weights=False)
        found = self.norm(queries + gathered)
        after: Tensor = found + self.layers(found)
        return after


class SetTransformer(nn.Module):
    """Logit of osteoarthritis (n,) of sets of cubes of `channels`, and of `features` of the whole knee."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, WIDTH)
        self.whole = nn.Linear(features, WIDTH) if features else None
        self.among, self.pool = _Attention(), _Attention()
        self.query = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.head = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, inputs: _Inputs) -> Tensor:
        """Return one logit a knee."""
        members, absent = self.embed(inputs.cubes), inputs.absent
        if self.whole is not None:
            members = torch.cat([members, self.whole(inputs.values)[:, None]], dim=1)
            absent = functional.pad(absent, (0, 1), value=False)
        members = self.among(members, members, absent)
        pooled = self.pool(self.query.expand(len(members), -1, -1), members, absent)
        logit: Tensor = self.head(pooled)[:, 0, 0]
        return logit


def set_transformer(data: Training, seed: int) -> Sequence[Probability]:
    """Return one model a number of epochs, the shortest first; each is the mean of some networks."""
    standard = _Standard(values=_moments(data.values), cubes=_moments(np.concatenate(data.cubes)))
    inputs, labels = _prepare(data, standard), torch.from_numpy(data.labels.astype(np.float32))
    trained = [_train(inputs, labels, seed_from(seed, "set", n)) for n in range(NETWORKS)]
    return [partial(_probability, networks, standard) for networks in zip(*trained, strict=True)]


def _train(inputs: _Inputs, labels: Tensor, seed: int) -> list[SetTransformer]:
    """Return a network as it was after each number of `EPOCHS`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SetTransformer(inputs.cubes.shape[2], inputs.values.shape[1])
    share = float(labels.mean())
    nn.init.constant_(network.head.bias, float(np.log(share / (1 - share))))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    kept = []
    for epoch in range(1, max(EPOCHS) + 1):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(network(inputs), labels).backward()
        optimizer.step()
        if epoch in EPOCHS:
            kept.append(copy.deepcopy(network).eval())
    return kept


@torch.no_grad()
def _probability(networks: Sequence[SetTransformer], standard: _Standard, knees: Training) -> Values:
    inputs = _prepare(knees, standard)
    mean = torch.stack([torch.sigmoid(network(inputs)) for network in networks]).mean(dim=0)
    return mean.double().numpy()


def _moments(rows: Values) -> tuple[Values, Values]:
    spread = rows.std(axis=0)
    return rows.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _prepare(data: Training, standard: _Standard) -> _Inputs:
    """Return the knees as tensors, their cubes filled up to the same number."""
    most = max(len(cubes) for cubes in data.cubes)
    mean, spread = standard.cubes
    filled = np.zeros((len(data.cubes), most, len(mean)), dtype=np.float32)
    absent = np.ones(filled.shape[:2], dtype=np.bool_)
    for row, cubes in enumerate(data.cubes):
        filled[row, : len(cubes)] = (cubes - mean) / spread
        absent[row, : len(cubes)] = False
    values = (data.values - standard.values[0]) / standard.values[1]
    return _Inputs(*(torch.from_numpy(array) for array in (filled, absent, values.astype(np.float32))))
