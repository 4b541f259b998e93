"""The rows of the emotion corpora whose labels are in tables, not in names.

A count of 0 says that the corpus has the word and that nothing is published, or for no release
alone.
"""

from spknorm.corpora.known.corpus import Corpus
from spknorm.corpora.known.layout import numbered

WITH_TABLES = (
    Corpus(
        name="meld",
        title="MELD",
        reader="spknorm.corpora.dialogues",
        variable="MELD_ROOT",
        counts=numbered(
            "6436 neutral, 2308 joy, 1636 surprise, 1607 anger, 1002 sadness, 361 disgust, 358 fear"
        ),
        num_speakers=304,
        num_utterances=13708,
        compared=False,
        language="en",
        licence="annotations GPL-3.0; television material",
        source="github.com/declare-lab/MELD",
        example="train_splits/dia0_utt0.mp4",
        protocols=("official",),
    ),
    Corpus(
        name="emorynlp",
        title="EmoryNLP",
        reader="spknorm.corpora.dialogues",
        variable="EMORYNLP_ROOT",
        counts=numbered(
            "3095 neutral, 2099 joyful, 1184 scared, 968 mad, 831 peaceful, 717 powerful, 595 sad"
        ),
        num_utterances=9489,
        compared=False,
        language="en",
        licence="annotations GPL-3.0; television material",
        source="github.com/declare-lab/MELD (data/emorynlp)",
        example="emorynlp_train_splits/sea1_ep1_sc1_utt1.mp4",
        protocols=("official",),
    ),
    Corpus(
        name="msp_improv",
        title="MSP-IMPROV",
        reader="spknorm.corpora.msp_improv",
        variable="MSP_IMPROV_ROOT",
        counts=numbered("3477 neutral, 2644 happy, 792 angry, 885 sad"),
        num_speakers=12,
        num_utterances=8438,
        language="en",
        licence="a signed academic licence",
        source="University of Texas at Dallas (MSP)",
        example="Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
        protocols=("emosuperb",),
        scale=(1.0, 5.0),
    ),
    Corpus(
        name="msp_podcast",
        title="MSP-Podcast",
        reader="spknorm.corpora.msp_podcast",
        variable="MSP_PODCAST_ROOT",
        counts=numbered(
            "0 neutral, 0 happy, 0 angry, 0 sad, 0 surprise, 0 fear, 0 disgust, 0 contempt, 0 other"
        ),
        language="en",
        licence="a signed licence",
        source="University of Texas at Dallas (MSP)",
        example="Audios/MSP-PODCAST_0001_0008.wav",
        protocols=("official",),
        scale=(1.0, 7.0),
        compared=False,
    ),
    Corpus(
        name="biic_podcast",
        title="BIIC-Podcast",
        reader="spknorm.corpora.msp_podcast",
        variable="BIIC_PODCAST_ROOT",
        counts=numbered(
            "0 neutral, 0 happy, 0 angry, 0 sad, 0 surprise, 0 fear, 0 disgust, 0 contempt, 0 other"
        ),
        language="zh",
        licence="a signed licence",
        source="its makers (BIIC lab)",
        example="Audios/BIIC-PODCAST_1000_0321_0003.wav",
        protocols=("official",),
        scale=(1.0, 7.0),
        compared=False,
    ),
    Corpus(
        name="emozionalmente",
        title="Emozionalmente",
        reader="spknorm.corpora.emozionalmente",
        variable="EMOZIONALMENTE_ROOT",
        counts=numbered(
            "986 neutrality, 986 joy, 986 anger, 986 sadness, 986 fear, 986 disgust, 986 surprise"
        ),
        num_speakers=431,
        num_utterances=6902,
        language="it",
        licence="CC BY 4.0",
        source="Zenodo 6569824",
        example="audio/1613840532900.wav",
        protocols=("audb",),
    ),
    Corpus(
        name="cameo",
        title="CAMEO (13 open corpora)",
        reader="spknorm.corpora.cameo",
        variable="CAMEO_ROOT",
        counts=numbered("0 neutral, 0 happiness, 0 anger, 0 sadness"),
        language="bn, de, en, es, fr, it, pl, ru",
        licence="of each corpus its own; non-commercial as a whole",
        source="Hugging Face amu-cai/CAMEO",
        example="data/crema_d-00000-of-00001.parquet",
        compared=False,
    ),
)
