"""Cards that cannot be used, several cards, and old ones: what a user is told."""

import pytest

DOCTOR = """
from spknorm.doctor.machine import _check_device
check = _check_device()
print(check.status, check.detail)
"""
COMMAND = """
import sys
from spknorm.config import device
device._driver_is_there = lambda: True  # as where a card is plugged in
{task}
"""
RUN = """
from spknorm.cli import run_downstream
sections = ("datarc", "speaker_corpus")
demo = ",,".join(f"config.downstream_expert.{{one}}.corpus=demo" for one in sections)
run = ["-d", "emotion_spknorm", "-u", "fbank", "-o", demo, "-p", {folder!r}]
sys.exit(run_downstream(run))
"""
PREDICT = """
from spknorm.cli import main
sys.exit(main(["predict", "x", "y"]))
"""


@pytest.mark.parametrize("task", [RUN, PREDICT], ids=["run", "predict"])
def test_a_driver_that_is_too_old_is_one_line(start, tmp_path, task):
    code = COMMAND.format(task=task.format(folder=str(tmp_path / "x")))
    done = start("-c", code, refusal=35)
    assert done.returncode == 2
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith(
        "spknorm: The GPU of this machine cannot be used: The NVIDIA driver on your system is too "
        "old (found version 13000)"
    )
    assert told.endswith(" Or use --device cpu.")


def test_the_doctor_says_that_the_driver_is_too_old(start):
    done = start("-c", COMMAND.format(task=DOCTOR), refusal=35)
    assert done.stdout.startswith("fail The NVIDIA driver on your system is too old")
    assert done.stdout.endswith(" Or use --device cpu\n")


def test_a_machine_without_a_card_computes_on_the_cpu_without_a_word(start):
    code = "from spknorm.config.device import default_device; print(default_device())"
    done = start("-c", code, refusal=100)
    assert (done.stdout, done.returncode) == ("cpu\n", 0)


@pytest.mark.parametrize("task", [RUN, PREDICT], ids=["run", "predict"])
def test_a_card_without_kernels_is_one_line(start, tmp_path, task):
    done = start("-c", COMMAND.format(task=task.format(folder=str(tmp_path / "x"))), capability=70)
    assert done.returncode == 2
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith(
        "spknorm: `--device cuda`: this torch has no kernels for pretended card of sm_70 (sm_70), "
        "only for sm_"
    )
    assert told.endswith(": install a torch that was built for it, or use --device cpu.")


@pytest.mark.parametrize(
    ("capability", "status"), [(70, "fail"), (75, "ok"), (90, "ok"), (100, "ok")]
)
def test_the_doctor_knows_which_cards_have_kernels(start, capability, status):
    done = start("-c", DOCTOR, capability=capability)
    assert done.stdout.startswith(f"{status} pretended card of sm_{capability} (80 GB)")


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
