"""emotion2vec, whose modules come from its own package, funasr: `-u emotion2vec -k FOLDER`.

- `package`: funasr's modules, without the rest of it.
- `files`: where a checkpoint is, and what is in it.
- `network`: the model, and its hidden states.
- `upstream`: the model under s3prl's contract of an upstream.
"""

NAMES = {
    "emotion2vec": "emotion2vec_base",
    "emotion2vec_base": "emotion2vec_base",
    "emotion2vec_base_finetuned": "emotion2vec_base_finetuned",
    "emotion2vec_plus_seed": "emotion2vec_plus_seed",
    "emotion2vec_plus_base": "emotion2vec_plus_base",
    "emotion2vec_plus_large": "emotion2vec_plus_large",
}
"""Upstreams as -u takes them, and what they are called on the hubs."""
CONFIG_FILE, WEIGHTS_FILE = "config.yaml", "model.pt"
