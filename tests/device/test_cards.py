"""Cards that cannot be used, several cards, and old ones: what a user is told."""

import pytest

DEMO = ",,".join(
    f"config.downstream_expert.{one}.corpus=demo" for one in ("datarc", "speaker_corpus")
)
COMMANDS = {
    "run": ["-d", "emotion_spknorm", "-u", "fbank", "-o", DEMO, "-p"],
    "predict": ["predict", "x", "y"],
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


@pytest.mark.parametrize("name", COMMANDS)
def test_a_driver_that_is_too_old_is_one_line(told, name):
    line = told(COMMANDS[name], refusal=35)
    assert line.startswith(
        "spknorm: The GPU of this machine cannot be used: The NVIDIA driver on your system is too "
        "old (found version 13000)"
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


@pytest.mark.parametrize(
    ("capability", "expected"), [(70, "fail"), (75, "ok"), (90, "ok"), (100, "ok")]
)
def test_the_doctor_knows_which_cards_have_kernels(ask, capability, expected):
    status, detail = ask("doctor", capability=capability)
    assert status == expected
    assert detail.startswith(f"pretended card of sm_{capability} (80 GB)")


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
