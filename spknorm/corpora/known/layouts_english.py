"""English corpora with coded file names, one row each; see layouts.py."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from spknorm.corpora.known.layout import (
    Layout,
    by_letter,
    by_parity,
    coded,
    numbered,
    of_crema_d,
    of_emov_db,
    of_enterface,
    of_tess,
    one_of,
)

_RAVDESS: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"(?:^|/)(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>\d\d)-(?P<intensity>"
        r"\d\d)-(?P<sentence>\d\d)-(?P<take>\d\d)-(?P<actor>\d\d)$",
        "language": "en",
        "licence": "CC BY-NC-SA 4.0; a commercial licence is sold",
        "source": "Zenodo 1188976",
        "id": "{modality}-{channel}-{emotion}-{intensity}-{sentence}-{take}-{actor}",
        "speaker": "{actor}",
        "sex": by_parity,
        "intensities": {"01": "normal", "02": "strong"},
    }
)
ENGLISH: Mapping[str, Layout] = MappingProxyType(
    {
        "ravdess": Layout(
            **_RAVDESS,
            title="RAVDESS (speech)",
            example="Actor_01/03-01-05-01-02-01-01.wav",
            words=coded(
                "01 neutral, 02 calm, 03 happy, 04 sad, 05 angry, 06 fearful, 07 disgust, "
                "08 surprised"
            ),
            counts=numbered(
                "96 neutral, 192 calm, 192 happy, 192 sad, 192 angry, 192 fearful, 192 disgust, "
                "192 surprised"
            ),
            num_speakers=24,
            wanted={"modality": "03", "channel": "01"},  # video files hold the same sound
        ),
        "ravdess_song": Layout(
            **_RAVDESS,
            title="RAVDESS (song)",
            example="Actor_01/03-02-05-01-02-01-01.wav",
            words=coded(
                "01 neutral, 02 calm, 03 happy, 04 sad, 05 angry, 06 fearful, 07 disgust, "
                "08 surprised"
            ),
            counts=numbered("184 calm, 184 happy, 184 sad, 184 angry, 184 fearful, 92 neutral"),
            num_speakers=23,
            wanted={"modality": "03", "channel": "02"},
        ),
        "crema_d": Layout(
            title="CREMA-D",
            pattern=r"(?:^|/)(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_"
            r"(?P<intensity>LO|MD|HI|XX?)$",
            example="AudioWAV/1001_DFA_ANG_XX.wav",
            # What the actor intended; what listeners perceived differs much.
            words=coded(
                "ANG anger, DIS disgust, FEA fear, HAP happiness, NEU neutral, SAD sadness"
            ),
            counts=numbered(
                "1271 anger, 1271 disgust, 1271 fear, 1271 happiness, 1271 sadness, 1087 neutral"
            ),
            num_speakers=91,
            language="en",
            licence="ODbL 1.0, contents DbCL 1.0",
            source="github.com/CheyneyComputerScience/CREMA-D (git-lfs)",
            id="{actor}_{sentence}_{emotion}_{intensity}",
            speaker="{actor}",
            sex_table=("VideoDemographics.csv", "ActorID", "Sex"),
            intensities={"LO": "low", "MD": "medium", "HI": "high"},
            damaged={"1076_MTI_SAD_XX": "no signal"},
            derive=of_crema_d,  # 1040_ITH_SAD_X was misnamed until 2022
        ),
        "tess": Layout(
            title="TESS",
            pattern=r"(?:^|/)(?P<speaker>OAF?|YAF)_(?P<sentence>[A-Za-z]+)_(?P<emotion>[A-Za-z]+)$",
            example="OAF_angry/OAF_back_angry.wav",
            words=coded("angry, disgust, fear, happy, neutral, sad, ps pleasant surprise"),
            counts=numbered(
                "400 angry, 400 disgust, 400 fear, 400 happy, 400 neutral, 400 sad, 400 "
                "pleasant surprise"
            ),
            num_speakers=2,
            language="en",
            licence="CC BY-NC-ND 4.0",
            source="University of Toronto, tspace 1807/24487",
            id="{speaker}_{sentence}_{emotion}",
            sex=lambda fields: "female",
            derive=of_tess,  # OA_bite_neutral lacks the F of its speaker
        ),
        "savee": Layout(
            title="SAVEE",
            pattern=r"(?:^|/)(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<number>\d\d)$",
            example="AudioData/DC/a01.wav",
            words=coded(
                "a anger, d disgust, f fear, h happiness, n neutral, sa sadness, su surprise"
            ),
            counts=numbered(
                "60 anger, 60 disgust, 60 fear, 60 happiness, 60 sadness, 60 surprise, 120 neutral"
            ),
            num_speakers=4,
            language="en",
            licence="research only, after registration",
            source="University of Surrey",
            id="{speaker}_{emotion}{number}",
            sentence="{emotion}{number}",
            sex=lambda fields: "male",
        ),
        "jl": Layout(
            title="JL-Corpus",
            pattern=r"(?:^|/)(?P<speaker>(?:fe)?male[12])_(?P<emotion>[a-z]+)_(?P<sentence>\d+[ab])_"
            r"(?P<take>\d)$",
            example="JL(wav+txt)/female1_angry_10a_1.wav",
            words=coded(
                "angry, sad, neutral, happy, excited, anxious, apologetic, assertive, "
                "concerned, encouraging"
            ),
            counts=numbered(
                "240 angry, 240 sad, 240 neutral, 240 happy, 240 excited, 240 anxious, 240 "
                "apologetic, 240 assertive, 240 concerned, 240 encouraging"
            ),
            num_speakers=4,
            language="en",
            licence="CC0 or ODC-By (sources disagree)",
            source="mirrors; every .wav has a .txt beside it",
            id="{speaker}_{emotion}_{sentence}_{take}",
            sex=by_letter,
        ),
        "enterface": Layout(
            title="eNTERFACE'05",
            containers=True,
            # The folder names the subject: subject 3's files are s_3_..., subject 11's s12_...
            pattern=r"(?:^|/)subject ?(?P<subject>\d+)/(?P<emotion>[A-Za-z]+)"
            r"(?:/sentence ?(?P<sentence>\d))?/[^/]+$",
            example="subject 1/anger/sentence 1/s1_an_1.wav",
            words=coded("anger, disgust, fear, happiness, sadness, surprise"),
            counts=numbered(
                "211 anger, 211 disgust, 211 fear, 211 sadness, 211 surprise, 208 happiness"
            ),
            num_speakers=None,  # 42 to 44, sources disagree
            language="en",
            licence="research",
            source="the workshop's pages",
            id="subject{subject}_{emotion}_{sentence}",
            speaker="{subject}",
            sentence="{emotion}{sentence}",
            damaged={
                f"subject6_{word}_0": "uncut"
                for word in ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
            },
            derive=of_enterface,
        ),
        "emov_db": Layout(
            title="EmoV-DB",
            pattern=r"(?:^|/)(?P<speaker>bea|jenie|josh|sam)[/_](?P<emotion>[A-Za-z]+)/[^/]*_"
            r"(?P<sentence>\d{4})$",
            example="bea/Angry/anger_1-28_0011.wav",
            words=coded("amused, angry, disgust, neutral, sleepy"),
            counts=numbered("1315 amused, 1267 angry, 1019 disgust, 1566 neutral, 1720 sleepy"),
            num_speakers=4,
            language="en",
            licence="non-commercial or CC BY 4.0 (sources disagree)",
            source="OpenSLR 115",
            id="{speaker}_{emotion}_{sentence}",
            sex=one_of("bea", "jenie"),
            derive=of_emov_db,
        ),
    }
)
