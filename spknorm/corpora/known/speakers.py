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
    Corpus(
        name="voxceleb2", title="VoxCeleb2", reader="spknorm.corpora.voxceleb2",
        variable="VOXCELEB2_ROOT", roles=("speaker",), num_speakers=6112,
        num_utterances=1128282, language="many",
        licence="metadata CC BY 4.0; videos belong to their makers",
        source="University of Oxford (VGG)", example="dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        compared=False,
    ),
    Corpus(
        name="vctk", title="VCTK", reader="spknorm.corpora.vctk", variable="VCTK_ROOT",
        roles=("speaker",), num_speakers=110, language="en", licence="CC BY 4.0",
        source="University of Edinburgh (CSTR)",
        example="wav48_silence_trimmed/p225/p225_001_mic1.flac",
    ),
    Corpus(
        name="common_voice", title="CommonVoice", reader="spknorm.corpora.common_voice",
        variable="COMMON_VOICE_ROOT", roles=("speaker",), language="many", licence="CC0",
        source="commonvoice.mozilla.org", example="en/clips/common_voice_en_1.mp3",
    ),
    Corpus(
        name="libritts", title="LibriTTS", reader="spknorm.corpora.librispeech",
        variable="LIBRITTS_ROOT", roles=("speaker",), num_speakers=2456, language="en",
        licence="CC BY 4.0", source="OpenSLR 60 (LibriTTS-R: 141)",
        example="train-clean-100/103/1241/103_1241_000000_000001.wav",
    ),
    Corpus(
        name="cn_celeb", title="CN-Celeb 1 and 2", reader="spknorm.corpora.cn_celeb",
        variable="CN_CELEB_ROOT", roles=("speaker",), num_speakers=3000, language="zh",
        licence="CC BY-SA (sources disagree)", source="OpenSLR 82",
        example="CN-Celeb_flac/data/id00000/singing-01-001.flac",
    ),
)  # fmt: skip
