"""Stock s3prl importable and runnable on today's torch, torchaudio and huggingface_hub.

`import spknorm.compat` is all that other code needs: it puts back at run time, only where it is
missing, what s3prl 0.4.18 expects of the libraries below it, and corrects s3prl's modules while
they are imported. Nothing on disk is changed. One file per library says what and why:

- `torch_and_torchaudio`: the CUDA check, audio back ends, safe globals
- `audio_files`: `torchaudio.load`, `info` and `save`
- `sox_effects`: the effects of `torchaudio.sox_effects` that need no sox
- `hugging_face`: names that left huggingface_hub
- `s3prl_modules`: s3prl's own modules, corrected through an import hook
- `stock_tasks`: what three of s3prl's tasks lack or do in the wrong place
- `expressions`: what stands in for `eval` there
"""

from spknorm.compat import s3prl_modules, torch_and_torchaudio
from spknorm.compat.s3prl_modules import DownloadError, last_download

__all__ = ["DownloadError", "apply", "last_download"]


def apply() -> None:
    """Put everything back, which importing this package has done; a second time changes nothing."""
    torch_and_torchaudio.apply()
    s3prl_modules.apply()


apply()
