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


def padded(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return (B, T, H) with zeros behind each of B tensors (T_i, H), and T_i, (B,)."""
    if features[0].device.type == "cpu":
        lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int32)
        return pad_sequence(list(features), batch_first=True), lengths
    return _padded_at_once(features)


def _padded_at_once(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths, flat = torch.tensor([len(frames) for frames in features]), torch.cat(list(features))
    number, longest = len(features), int(lengths.max())
    valid = torch.arange(longest) < lengths.unsqueeze(1)  # (B, T)
    rows, lengths = ship([valid.flatten().nonzero().squeeze(1), lengths], flat.device)
    if len(flat) < number * longest:
        flat = flat.new_zeros(number * longest, flat.shape[1]).index_copy_(0, rows, flat)
    return flat.view(number, longest, -1), lengths


def means(features: Sequence[Tensor]) -> Tensor:
    """Return the mean over time of each of B tensors (T_i, H), (B, H)."""
    if features[0].device.type == "cpu":
        return torch.stack([frames.mean(dim=0) for frames in features])
    return _means_at_once(features)


def _means_at_once(features: Sequence[Tensor]) -> Tensor:
    if len({len(frames) for frames in features}) == 1:
        return torch.stack(list(features)).mean(dim=1)
    together, lengths = _padded_at_once(features)
    return together.sum(dim=1) / lengths.unsqueeze(1)
