"""Means over time of utterances of different lengths: few kernels on a GPU, s3prl's bits elsewhere.

Used by `emotion_heads.py` and `model.py`.

Legend: B utterances of T_i frames, T the longest, H dimensions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from spknorm.batches.shipping import ship


class MeanPooling(nn.Module):
    """s3prl's MeanPooling, which reads every length from the device and pools one by one."""

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Pool (B, T, H) with lengths (B,) to (B, H)."""
        if features.device.type == "cpu":
            pooled = torch.stack(
                [frames[:size].mean(dim=0) for frames, size in zip(features, lengths, strict=True)]
            )
        else:
            pooled = mean_over_time(features, lengths)
        return pooled, torch.ones(len(pooled), dtype=torch.long)


def mean_over_time(features: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean (B, H) over the valid frames of (B, T, H) with lengths (B,)."""
    frames = torch.arange(features.shape[1], device=features.device)
    valid = (frames.unsqueeze(0) < lengths.unsqueeze(1)).unsqueeze(-1)
    return (features * valid).sum(dim=1) / lengths.unsqueeze(1)


def lengths_of(features: Sequence[Tensor]) -> Tensor:
    """Return T_i of B tensors (T_i, H), (B,), on their device."""
    lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int32)
    return ship([lengths], features[0].device)[0]


def padded(features: Sequence[Tensor]) -> Tensor:
    """Return (B, T, H) with zeros behind each of B tensors (T_i, H)."""
    if features[0].device.type == "cpu":
        return pad_sequence(list(features), batch_first=True)
    return _padded_at_once(features)


def _padded_at_once(features: Sequence[Tensor]) -> Tensor:
    lengths = [len(frames) for frames in features]
    longest, flat = max(lengths), torch.cat(list(features))
    if min(lengths) < longest:
        valid = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)  # (B, T)
        (rows,) = ship([valid.flatten().nonzero().squeeze(1)], flat.device)
        flat = flat.new_zeros(len(lengths) * longest, flat.shape[1]).index_copy_(0, rows, flat)
    return flat.view(len(lengths), longest, -1)


def means(features: Sequence[Tensor]) -> Tensor:
    """Return the mean over time of each of B tensors (T_i, H), (B, H)."""
    if features[0].device.type == "cpu":
        return torch.stack([frames.mean(dim=0) for frames in features])
    return _means_at_once(features)


def _means_at_once(features: Sequence[Tensor]) -> Tensor:
    together = _padded_at_once(features)
    if all(len(frames) == together.shape[1] for frames in features):
        return together.mean(dim=1)
    return together.sum(dim=1) / lengths_of(features).unsqueeze(1)
