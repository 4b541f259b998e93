"""What each family of upstreams can do here, as docs/s3prl.md shows it."""

from spknorm.upstreams import FAMILIES, Family

_HEADER = (
    "family", "s3prl's names", "hf:", "without padding", "frozen by default", "read back from",
    "emotion classifier", "ONNX",
)  # fmt: skip
_WORKS = (
    "All of these train under none, SNP and TAP, resume bit for bit, are audited and "
    "predicted with, frozen or not, with LoRA, frozen layers, layer decay or biases alone. "
    "What does not work:"
)
_LIMITS = (
    "Without padding means each utterance by itself. Where there is no kernel for it, "
    "utterances of one length go together and all others alone: correct, and slower on a "
    "GPU than one batch.",
    "SNP's gate is in none of transformers' classes, so with SNP there is no emotion "
    "classifier; `-u hf:FOLDER` applies it.",
    "SEW-D's classifier reads the last hidden state alone: its layers are half as long as "
    "its output.",
    "ONNX holds the packed families, with heads whose logits it gives at every length; s3prl's "
    "DeepModel is refused.",
    "LoRA on s3prl's families and on WavLM needs `upstream.packed`: their own attention "
    "reads weights past the adapters.",
    "Any other AutoModel that takes waveforms or log-mels and gives frames is trained, "
    "audited, predicted with and exported as `hf:`, without the classifier. Models whose "
    "vectors are no frames (the Audio Spectrogram Transformer) are refused.",
    "s3prl's own wrappers of transformers (`hf_hubert_custom`, `hf_wav2vec2_custom`) run as s3prl "
    "runs them, padded, and are exported for `-u hf:FOLDER`.",
    "distilHuBERT's heads are hidden states in s3prl, the last of them the last one, and its "
    "front end is trained at its own share of the gradient. transformers' HuBERT has its layers "
    "alone, so that a gate on a head is in `normalised.pt`, for `spknorm_distiller_local`.",
    "emotion2vec needs funasr, its own package: `pip install --no-deps funasr`, as "
    "scripts/setup.sh does it. The extra `spknorm[emotion2vec]` has two dozen packages of its "
    "other models, too, and an older omegaconf than constraints.txt names, so that pip takes it "
    "only without `-c constraints.txt`. `-k` names a folder with config.yaml and model.pt; "
    "without it the model is taken from a cache of the Hugging Face Hub or of ModelScope. Its "
    "queries, keys and values are one product, which is what LoRA adapts.",
    "All other upstreams of s3prl (`multires_hubert*`, `lighthubert*`, `fbank`, `mfcc`, "
    "`vggish`, ...) run as s3prl runs them, padded where they are fine-tuned, and are not "
    "exported: their layers are of several lengths or widths, or they are no transformers. "
    "`lighthubert*` has no last_hidden_state: `-s hidden_states`. Without weights (`fbank`, "
    "`mfcc`, ...) they take none and SNP; TAP has nothing to move.",
)


def matrix() -> str:
    """Return the table of families and what does not work, as Markdown."""
    rows = [_HEADER, *(_row(family) for family in FAMILIES)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    table = "\n".join([lines[0], "|" + " --- |" * len(_HEADER), *lines[1:]])
    limits = "\n".join(f"- {one}" for one in _LIMITS)
    return f"{table}\n\n{_WORKS}\n\n{limits}\n"


def _row(family: Family) -> tuple[str, ...]:
    return (
        family.title,
        family.names,
        f"`{family.model_type}`" if family.model_type else "-",
        "packed" if family.runs_packed else "one by one",
        family.frozen or "nothing",
        family.read_back,
        family.classifier,
        "yes" if family.runs_packed else "no",
    )
