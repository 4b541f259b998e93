"""Cards that cannot be used, several cards, and old ones: what a user is told."""

import pytest

DEMO = ",,".join(
    f"config.downstream_expert.{one}.corpus=demo" for one in ("datarc", "speaker_corpus")
)
COMMANDS = {
    "run": ["-d", "emotion_spknorm", "-u", "fbank", "-o", DEMO, "-p"],
    "predict": ["predict", "x", "y"],
    "audit": ["audit", "x"],
    "serve": ["serve", "x"],
}


@pytest.fixture
def told(server, tmp_path):
    """Runs a command line that has to end with one line; returns it."""

    def run(arguments, **how):
        if arguments[-1] == "-p":
            arguments = [*arguments, str(tmp_path / "x")]
        done = server.do("command", {"arguments": arguments}, **how)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr[-4000:]
        return done.stderr.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize("named", [False, True], ids=["no device", "cuda"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_driver_that_is_too_old_is_one_line(told, name, named):
    *arguments, last = COMMANDS[name]
    line = told([*arguments, *(["--device", "cuda"] if named else []), last], refusal=35)
    whose = "`--device cuda`" if named else "The GPU of this machine cannot be used"
    assert line.startswith(
        f"spknorm: {whose}: The NVIDIA driver on your system is too old (found version 13000)"
    )
    assert line.endswith(" Or use --device cpu.")


def test_the_doctor_says_that_the_driver_is_too_old(ask):
    status, detail = ask("doctor", refusal=35)
    assert status == "fail" and detail.endswith(" Or use --device cpu")
    assert detail.startswith("The NVIDIA driver on your system is too old")


def test_a_machine_without_a_card_computes_on_the_cpu_without_a_word(server):
    done = server.do("default", {"driver": False}, refusal=100)
    assert (done.stdout, done.stderr, done.returncode) == ('"cpu"\n', "", 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_card_without_kernels_is_one_line(told, name):
    line = told(COMMANDS[name], capability=70)
    assert line.startswith(
        "spknorm: `--device cuda`: this torch has no kernels for pretended card of sm_70 (sm_70), "
        "only for sm_"
    )
    assert line.endswith(": install a torch that was built for it, or use --device cpu.")


def test_export_is_the_cpus_and_asks_for_no_driver(server, tmp_path):
    arguments = ["export", str(tmp_path / "none")]
    done = server.do("command", {"arguments": arguments}, refusal=35)
    assert done.returncode == 2 and "driver" not in done.stderr
    assert "none" in done.stderr.strip().splitlines()[-1]


OR_CPU = "Or use --device cpu."
HIDDEN = "`--device cuda`: CUDA_VISIBLE_DEVICES is `{}`, which hides every GPU: unset it. "
LOWER = "Take a lower number, or use --device cpu."
NO_CARD = "The GPU of this machine cannot be used: CUDA_VISIBLE_DEVICES is `{}`, which names none "


@pytest.mark.parametrize("visible", ["", "-1", " "])
def test_cards_that_are_hidden_on_purpose_leave_the_cpu(ask, told, visible):
    assert ask("default", CUDA_VISIBLE_DEVICES=visible) == "cpu"
    status, detail = ask("doctor", CUDA_VISIBLE_DEVICES=visible)
    assert status == "warn" and detail.startswith("CPU only (CUDA_VISIBLE_DEVICES hides GPUs), ")
    line = told([*COMMANDS["predict"], "--device", "cuda"], CUDA_VISIBLE_DEVICES=visible)
    assert line == f"spknorm: {HIDDEN.format(visible)}{OR_CPU}"


@pytest.mark.parametrize("visible", ["7", "GPU-0a1b", "cuda:0"])
@pytest.mark.parametrize("name", COMMANDS)
def test_cards_that_are_not_there_are_named_as_asked_for(ask, told, name, visible):
    line = told(COMMANDS[name], CUDA_VISIBLE_DEVICES=visible)
    assert line == f"spknorm: {NO_CARD.format(visible)}that `nvidia-smi -L` lists. {OR_CPU}"
    assert ask("doctor", CUDA_VISIBLE_DEVICES=visible)[0] == "fail"


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ({"cards": 1}, ""),
        ({"cards": 2, "CUDA_VISIBLE_DEVICES": "1"},
         "; CUDA_VISIBLE_DEVICES is `1`, and renumbers them"),
    ],
)  # fmt: skip
def test_a_card_beyond_those_seen_is_one_line(told, how, end):
    line = told([*COMMANDS["predict"], "--device", "cuda:1"], **how)
    seen = f"spknorm: `--device cuda:1`: torch sees 1 GPU here, counted from 0{end}."
    assert line == f"{seen} {LOWER}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_eighth_of_two_cards_is_one_line_in_every_command(told, name):
    *arguments, last = COMMANDS[name]
    line = told([*arguments, "--device", "cuda:7", last], cards=2)
    seen = "spknorm: `--device cuda:7`: torch sees 2 GPUs here, counted from 0."
    assert line == f"{seen} {LOWER}"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"PRETENDED_BUSY": "1"}, "CUDA-capable device(s) is/are busy or unavailable."),
        ({"PRETENDED_OTHERS": "80000"}, "it has no memory left, which others hold."),
    ],
)
@pytest.mark.parametrize("cards", [1, 2])
def test_a_card_that_others_hold_is_one_line_that_names_a_free_one(told, trouble, reason, cards):
    line = told(COMMANDS["run"], cards=cards, **trouble)
    free = " GPU 1 has 80.0 GB free: --device cuda:1." if cards == 2 else ""
    assert line == f"spknorm: `--device cuda`: {reason}{free} Or wait, or use --device cpu."


@pytest.mark.parametrize(
    ("capability", "expected"),
    [(70, "fail"), (75, "ok"), (89, "ok"), (90, "ok"), (100, "ok"), (120, "ok"), (130, "fail")],
)
def test_the_doctor_knows_which_cards_have_kernels(ask, capability, expected):
    status, detail = ask("doctor", capability=capability)
    assert status == expected
    assert detail.startswith(f"pretended card of sm_{capability} (80 GB)")


@pytest.mark.parametrize(
    ("trouble", "cards", "expected"),
    [
        ({"PRETENDED_BUSY": "1"}, 1,
         ("fail", "(80 GB): `--device cuda`: CUDA-capable device(s) is/are busy or unavailable. Or "
          "wait, or use --device cpu")),
        ({"PRETENDED_OTHERS": "80000"}, 2,
         ("fail", ": `--device cuda`: it has no memory left, which others hold. GPU 1 has 80.0 GB "
          "free: --device cuda:1. Or wait, or use --device cpu")),
        ({"PRETENDED_OTHERS": "79000"}, 1,
         ("warn", "(80 GB, 1.0 GB free): others hold most of it. Wait, or expect smaller pieces of "
          "a batch")),
        ({"PRETENDED_OTHERS": "79000"}, 2,
         ("warn", ": others hold most of it. GPU 1 has 80.0 GB free: --device cuda:1")),
        ({"PRETENDED_OTHERS": "9000"}, 1, ("ok", "pretended card of sm_90 (80 GB)")),
        ({"PRETENDED_BUSY": "2"}, 2, ("ok", "(80 GB), pretended card of sm_90 (80 GB)")),
    ],
)  # fmt: skip
def test_the_doctor_says_what_others_hold_of_a_card(ask, trouble, cards, expected):
    status, detail = ask("doctor", cards=cards, **trouble)
    assert (status, detail.endswith(expected[1])) == (expected[0], True), detail


@pytest.mark.parametrize(
    ("first", "second", "status", "said"),
    [
        (
            90,
            "61",
            "warn",
            ": leave out cuda:1, since this torch has no kernels for pretended card",
        ),
        (61, "90", "fail", "install a torch that was built for it, or use --device cuda:1"),
        (61, "61", "fail", "install a torch that was built for it, or use --device cpu"),
        (90, "75", "ok", "pretended card of sm_90 (80 GB), pretended card of sm_75 (80 GB)"),
    ],
)
def test_an_old_card_beside_a_new_one_stops_nothing(ask, first, second, status, said):
    found = ask("doctor", cards=2, capability=first, PRETENDED_CAPABILITY_1=second)
    assert found[0] == status and said in found[1], found


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        ("bf16", 75,
         ["precision", "fail", "`config.runner.precision` is bf16, in which pretended card of "
          "sm_75 does not compute natively: choose auto, fp32 or fp16"]),
        ("auto", 75, ["precision", "ok", "fp32, by runner.precision auto"]),
        ("auto", 89, ["precision", "ok", "bf16, by runner.precision auto"]),
        ("fp16", 75, ["precision", "ok", "fp16"]),
    ],
)  # fmt: skip
def test_the_doctor_says_what_a_run_computes_in(ask, precision, capability, expected):
    assert ask("checked_precision", {"precision": precision}, capability=capability) == [expected]


def test_the_doctor_says_nothing_of_it_without_a_card(ask):
    hidden = ask("checked_precision", {"precision": "bf16"}, CUDA_VISIBLE_DEVICES="")
    assert hidden == []


def test_bf16_where_a_card_does_not_compute_in_it_is_one_line(ask):
    told = ask("precisions", {"asked": ["auto", "bf16", "fp32", "fp16"]}, capability=75)
    assert told == [
        "fp32",
        "`config.runner.precision` is bf16, in which pretended card of sm_75 does not compute "
        "natively: choose auto, fp32 or fp16.",
        "fp32",
        "fp16",
    ]
    assert ask("precisions", {"asked": ["auto", "bf16"]}, capability=90) == ["bf16", "bf16"]


def test_on_two_cards_a_run_keeps_to_its_own_and_to_its_own_random_numbers(ask):
    assert ask("second_card", cards=2) == {
        "allocated_on_the_first": 0,
        "done": 2,
        "generators_as_before": True,
    }


def test_steps_are_done_on_a_device_that_is_neither_a_cpu_nor_of_cuda(ask):
    found = ask("neither_cpu_nor_cuda")
    assert found == [[2, [], ["by products, on padded frames"]]] * 6  # steps, float64, attention


@pytest.mark.parametrize(
    "commands",
    [
        ["predict"],
        pytest.param(
            ["train", "train_frozen", "train_none", "train_dimensions", "audit", "leakage"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["predict", "all others"],
)
def test_nothing_makes_float64_on_the_device_which_apples_have_not(ask, commands):
    found = ask("in_float64", {"commands": commands})
    assert [*found][4:] == commands
    assert {what for made in found.values() for what in made} == set()


def test_compiled_layers_without_a_c_compiler_are_one_line(told, tmp_path):
    command = [*COMMANDS["run"][:-2], f"{DEMO},,config.upstream.compile=true", "-p"]
    assert told(command, PATH=str(tmp_path), CC="") == (
        "spknorm: `config.upstream.compile` needs a compiler (gcc or clang, or what CC names), and "
        "there is none here: install one, or set it to false."
    )
