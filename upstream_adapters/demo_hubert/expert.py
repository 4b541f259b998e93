"""The demo's small HuBERT is run by s3prl's own HuBERT expert.

3 layers of 64 dimensions, one frame per 20 ms. How it was made: benchmarks/pretrain_demo_hubert.py.
"""

from s3prl.upstream.hubert.expert import UpstreamExpert

__all__ = ["UpstreamExpert"]
