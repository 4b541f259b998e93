"""The rows of the corpora that know who speaks and nothing of emotions."""

from spknorm.corpora.known.corpus import Corpus

SPEAKERS = (
    Corpus(
        name="voxceleb1", title="VoxCeleb1", reader="spknorm.corpora.voxceleb1",
        variable="VOXCELEB1_ROOT", roles=("speaker",), num_speakers=1251, language="many",
        licence="metadata CC BY 4.0; videos belong to their makers",
        source="University of Oxford (VGG)", example="dev/wav/id10001/1zcIwhmdeo4/00001.wav",
        takes=("meta_data",),
    ),
    Corpus(
        name="librispeech", title="LibriSpeech", reader="spknorm.corpora.librispeech",
        variable="LIBRISPEECH_ROOT", roles=("speaker",), num_speakers=2484, language="en",
        licence="CC BY 4.0", source="OpenSLR 12",
        example="train-clean-100/103/1240/103-1240-0000.flac",
    ),
)  # fmt: skip
