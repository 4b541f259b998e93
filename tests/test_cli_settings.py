from pathlib import Path

import pytest
import yaml
from command_lines import REPOSITORY, prepared

pytestmark = pytest.mark.usefixtures("corpus_roots")


def test_a_task_and_an_upstream_are_enough():
    args, config = prepared("-d", "emotion_spknorm", "-u", "hubert_large_ll60k")
    assert args.mode == "train"
    assert args.upstream_trainable is True
    assert args.upstream_feature_selection == "last_hidden_state"
    assert args.expname == "emotion_spknorm-hubert_large_ll60k-TAP-fold1"
    assert args.expdir == f"result/downstream/{args.expname}"
    assert args.config == str(REPOSITORY / "downstream" / "emotion_spknorm" / "config.yaml")
    assert config == yaml.safe_load(Path(args.config).read_text())
    assert (args.seed, args.device) == (1337, None)


def test_frozen_turns_fine_tuning_off():
    snp = "config.downstream_expert.spknorm.strategy=SNP"
    args, _ = prepared(
        "-d", "emotion_spknorm", "-u", "hubert", "--frozen", "-v", "fold3", "-o", snp
    )
    assert args.upstream_trainable is False
    assert args.expname == "emotion_spknorm-hubert-SNP-frozen-fold3"


def test_an_argument_given_by_override_beats_the_default():
    override = "args.upstream_trainable=False,,args.upstream_feature_selection='hidden_states'"
    args, _ = prepared("-d", "emotion_spknorm", "-u", "hubert", "-o", override)
    assert args.upstream_trainable is False
    assert args.upstream_feature_selection == "hidden_states"


def test_a_layer_is_selected_from_all_hidden_states():
    args, _ = prepared("-d", "emotion_spknorm", "-u", "hubert", "-l", "4")
    assert args.upstream_feature_selection == "hidden_states"


def test_stock_tasks_keep_s3prl_s_defaults(iemocap_folds):
    args, config = prepared("-d", "emotion", "-u", "hubert", "-v", "fold2")
    assert args.upstream_trainable is False
    assert args.upstream_feature_selection == "hidden_states"
    assert args.expname == "emotion-hubert-fold2"
    data = config["downstream_expert"]["datarc"]
    assert (data["root"], data["meta_data"]) == (
        str(iemocap_folds),
        str(iemocap_folds / "meta_data"),
    )


def test_an_experiment_s_file_says_only_what_differs(tmp_path):
    (tmp_path / "x.yaml").write_text("downstream_expert: {spknorm: {strategy: SNP}}")
    args, config = prepared(
        "-d", "emotion_spknorm", "-u", "hubert", "-c", str(tmp_path / "x.yaml"), "--skip-bad"
    )
    own = yaml.safe_load((REPOSITORY / "downstream/emotion_spknorm/config.yaml").read_text())
    own["downstream_expert"]["spknorm"]["strategy"] = "SNP"
    own["downstream_expert"]["datarc"]["skip_bad"] = True
    assert config == own
    assert args.config == str(tmp_path / "x.yaml")


def test_a_stock_task_s_file_is_the_whole_configuration(tmp_path, iemocap_folds):
    (tmp_path / "x.yaml").write_text("runner: {total_steps: 3}")
    _, config = prepared("-d", "emotion", "-u", "hubert", "-c", str(tmp_path / "x.yaml"))
    assert set(config) == {"runner", "downstream_expert"}
