"""Corpora of other languages with coded file names, one row each; see layouts.py."""

from collections.abc import Mapping
from types import MappingProxyType

from spknorm.corpora.known.layout import (
    Layout,
    by_letter,
    by_other_parity,
    by_parity,
    coded,
    numbered,
    of_esd,
    one_of,
)

_ESD_MEN = {4, 5, 6, 8, 10, 11, 12, 13, 14, 20}
OTHERS: Mapping[str, Layout] = MappingProxyType(
    {
        "emodb": Layout(
            title="EmoDB",
            pattern=r"(?:^|/)(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z])$",
            example="wav/03a01Wa.wav",
            words=coded("W anger, L boredom, E disgust, A fear, F happiness, T sadness, N neutral"),
            counts=numbered(
                "127 anger, 81 boredom, 46 disgust, 69 fear, 71 happiness, 62 sadness, 79 neutral"
            ),
            num_speakers=10,
            language="de",
            licence="CC0 (version 1)",
            source="Technical University of Berlin",
            id="{speaker}{sentence}{emotion}{take}",
            sex=one_of("08", "09", "13", "14", "16"),
        ),
        "emovo": Layout(
            title="EMOVO",
            pattern=r"(?:^|/)(?P<emotion>[a-z]{3})-(?P<speaker>[fm][1-3])-(?P<sentence>[bdln]\d)$",
            example="f1/gio-f1-b1.wav",
            words=coded(
                "neu neutral, dis disgust, gio joy, pau fear, rab anger, sor surprise, tri sadness"
            ),
            counts=numbered(
                "84 neutral, 84 disgust, 84 joy, 84 fear, 84 anger, 84 surprise, 84 sadness"
            ),
            num_speakers=6,
            language="it",
            licence="not stated by its makers",
            source="Fondazione Ugo Bordoni",
            id="{emotion}-{speaker}-{sentence}",
            sex=by_letter,
        ),
        "esd": Layout(
            title="ESD",
            pattern=r"(?:(?:^|/)(?P<split>train|evaluation|test))?(?:^|/)(?P<speaker>\d{4})_"
            r"(?P<number>\d{6})$",
            example="0001/Angry/0001_000351.wav",
            words=coded("0 neutral, 1 angry, 2 happy, 3 sad, 4 surprise"),
            counts=numbered("7000 neutral, 7000 angry, 7000 happy, 7000 sad, 7000 surprise"),
            num_speakers=20,
            language="zh, en",
            licence="research only, after a form",
            source="its makers, after a form",
            id="{speaker}_{number}",
            sex=lambda fields: "male" if int(fields["speaker"]) in _ESD_MEN else "female",
            derive=of_esd,
        ),
        "cafe": Layout(
            title="CaFE",
            pattern=r"(?:^|/)(?P<actor>\d\d)-(?P<emotion>[A-Z])-(?P<intensity>[12])-(?P<sentence>[1-6])$",
            example="Colère/Faible/01-C-1-1.wav",
            words=coded("C anger, D disgust, J joy, N neutral, P fear, S surprise, T sadness"),
            counts=numbered(
                "144 anger, 144 disgust, 144 joy, 144 fear, 144 surprise, 144 sadness, 72 neutral"
            ),
            num_speakers=12,
            language="fr",
            licence="CC BY-NC-SA 4.0",
            source="Zenodo 1478765",
            id="{actor}-{emotion}-{intensity}-{sentence}",
            speaker="{actor}",
            sex=by_parity,
            intensities={"1": "weak", "2": "strong"},
        ),
        "aesdd": Layout(
            title="AESDD",
            pattern=r"(?:^|/)(?P<emotion>[a-z])(?P<number>\d\d) ?"
            r"\(0?(?P<speaker>[1-6])(?P<take>[a-z]?)\)$",
            example="anger/a03 (3).wav",
            words=coded("a anger, d disgust, f fear, h happiness, s sadness"),
            counts=numbered("121 anger, 122 disgust, 120 fear, 119 happiness, 122 sadness"),
            num_speakers=6,
            language="el",
            licence="free",
            source="Aristotle University of Thessaloniki",
            id="{emotion}{number}-{speaker}{take}",
            sentence="{emotion}{number}",
            damaged={"s05-3": "corrupt"},
        ),
        "subesco": Layout(
            title="SUBESCO",
            pattern=r"(?:^|/)(?P<sex>[FM])_(?P<number>\d\d)_(?P<name>[A-Za-z]+)_S_(?P<sentence>\d+)_"
            r"(?P<emotion>[A-Z]+)_(?P<take>\d)$",
            example="F_10_FAHMEE_S_6_FEAR_5.wav",
            words=coded(
                "ANGRY angry, DISGUST disgust, FEAR fear, HAPPY happy, NEUTRAL neutral, SAD "
                "sad, SURPRISE surprise"
            ),
            counts=numbered(
                "1000 angry, 1000 disgust, 1000 fear, 1000 happy, 1000 neutral, 1000 sad, 1000 "
                "surprise"
            ),
            num_speakers=20,
            language="bn",
            licence="CC BY 4.0",
            source="Zenodo",
            id="{sex}_{number}_{name}_S_{sentence}_{emotion}_{take}",
            speaker="{sex}_{number}",  # F_10 and M_10 are two people
            sex=by_letter,
        ),
        "shemo": Layout(
            title="ShEMO",
            pattern=r"(?:^|/)(?P<speaker>[FM]\d\d)(?P<emotion>[A-Z])(?P<number>\d\d)$",
            example="female/F24H24.wav",
            words=coded("A anger, H happiness, N neutral, S sadness, W surprise, F fear"),
            counts=numbered(
                "1034 anger, 198 happiness, 1018 neutral, 360 sadness, 199 surprise, 29 fear"
            ),  # of its revised list; as first released it has 3000
            other_total=3000,
            num_speakers=87,
            language="fa",
            licence="academic use",
            source="github.com/pariajm/sharif-emotional-speech-dataset",
            id="{speaker}{emotion}{number}",
            sentence="",
            sex=by_letter,
        ),
        "casia": Layout(
            title="CASIA",
            pattern=r"(?:^|/)(?P<speaker>liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/"
            r"(?P<emotion>[a-z]+)/(?P<sentence>\d{3})$",
            example="wangzhe/angry/201.wav",
            words=coded("angry, fear, happy, neutral, sad, surprise"),
            counts=numbered("200 angry, 200 fear, 200 happy, 200 neutral, 200 sad, 200 surprise"),
            num_speakers=4,
            language="zh",
            licence="not stated; the whole of 9600 utterances is sold",
            source="Chinese Academy of Sciences",
            id="{speaker}_{emotion}_{sentence}",
        ),
        "asvp_esd": Layout(
            title="ASVP-ESD (speech)",
            pattern=r"(?:^|/)(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>(?!17)\d\d)-"
            r"(?P<intensity>\d\d)-(?P<statement>\d\d)-(?P<actor>\d+)-(?P<rest>\d\d-\d\d[-\d]*)$",
            example="Audio/actor_02/03-01-05-01-01-02-02-01.wav",  # 17 is no emotion, and there
            words=coded(
                "01 boredom, 02 neutral, 03 happy, 04 sad, 05 angry, 06 fear, 07 disgust, "
                "08 surprise, 09 excited, 10 pleasure, 11 pain, 12 disappointment, 13 breath"
            ),
            counts=numbered("1314 neutral, 613 happy, 1064 angry, 551 sad"),
            total=5140,
            num_speakers=None,  # 131 numbers; recordings from the web, so that one may be several
            language="",
            licence="free",
            source="Zenodo 7132783",
            id="{modality}-{channel}-{emotion}-{intensity}-{statement}-{actor}-{rest}",
            speaker="{actor}",
            sentence="",
            sex=by_other_parity,
            intensities={"01": "normal", "02": "high"},
            wanted={"modality": "03", "channel": "01"},
        ),
    }
)
