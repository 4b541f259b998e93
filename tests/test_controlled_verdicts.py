import numpy as np
import pytest
from controlled_rows import rows_of, world_of

from spknorm.controlled import hypotheses, verdicts
from spknorm.controlled.folds import ModelRow


def test_a_world_in_which_the_paper_is_right_is_recognised():
    judged = {one.name: one.verdict for one in verdicts.judge(rows_of(world_of(tap=0.05)))}
    assert judged == dict.fromkeys([one.name for one in hypotheses.HYPOTHESES], "confirmed")


@pytest.mark.parametrize("family", ["frozen", "tuned", "default"])
def test_where_nothing_happens_a_family_is_wrong_once_in_twenty_at_most(family):
    level = np.array([0.4, 0.4, 0.3])
    names = [
        one.name for one in hypotheses.HYPOTHESES if one.family == family and one.bound is None
    ]
    wrong = 0
    for number in range(60):
        rows = rows_of(dict.fromkeys(world_of(), level), noise=0.02, number=number)
        words = {one.verdict for one in verdicts.judge(rows) if one.name in names}
        wrong += words != {"not shown"}
    assert wrong <= 7  # 3 expected; P(more than 7) = .01 at a rate of 5 %


def test_harm_is_called_refuted_and_an_equal_gain_everywhere_does_not_confirm_h3():
    harmful = world_of(gain_at_9=-0.1, tap=-0.1, tap_leakage=0.1, shuffled=0.05)
    judged = {one.name: one.verdict for one in verdicts.judge(rows_of(harmful))}
    assert {judged[name] for name in ("H2b", "H8a", "H8b", "H9b", "H11b")} == {"refuted"}
    assert {judged[name] for name in ("H4", "H8c", "H9c", "H10c", "H11c")} == {"not shown"}
    everywhere = rows_of(world_of(gain_at_9=0.1, gain_at_0=0.1))
    assert {one.name: one.verdict for one in verdicts.judge(everywhere)}["H3"] == "not shown"


def test_fine_tuning_that_loses_two_points_is_not_called_as_good_as_its_start():
    def words(tuned):
        judged = {one.name: one.verdict for one in verdicts.judge(rows_of(world_of(tuned=tuned)))}
        return judged["H7a"], judged["H7b"]

    assert words(-0.02) == ("not shown", "not shown")
    assert words(-0.005) == ("confirmed", "confirmed")


def test_each_family_has_a_correction_of_its_own():
    rows = rows_of(world_of(tap=0.005))
    alone = [row for row in rows if row.features != "hubert"]
    both, one = ({v.name: v.p_holm for v in verdicts.judge(of)} for of in (rows, alone))
    assert {name: both[name] for name in one} == one
    assert len(one) < len(both)


def test_intervals_and_p_values_are_those_of_a_paired_t_test():
    from scipy import stats

    rows = rows_of(world_of())
    (h2b,) = [one for one in verdicts.judge(rows) if one.name == "H2b"]

    def per_seed(variant):
        return [
            np.mean([row.unseen for row in rows if row[:4] == (*variant, 0.9) and row.seed == seed])
            for seed in range(100, 110)
        ]

    expected = stats.ttest_rel(per_seed(hypotheses.SNP), per_seed(hypotheses.NONE))
    assert h2b.p == pytest.approx(expected.pvalue)
    assert (h2b.low, h2b.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert h2b.p_holm >= h2b.p
    assert h2b.num_seeds == 10


def test_hypotheses_without_rows_are_left_out_and_three_seeds_judge_nothing():
    effects = {key: value for key, value in world_of().items() if key[0].features == "hubert"}
    names = [one.name for one in verdicts.judge(rows_of(effects))]
    assert names == ["H1", "H2a", "H2b", "H3", "H4", "H5a"]
    assert verdicts.judge(rows_of(effects, seeds=[100, 101, 102])) == []
    assert verdicts.judge([]) == []


def test_only_seeds_that_have_both_sides_count():
    effects = world_of()
    rows = [row for row in rows_of(effects) if not (row.method == "SNP" and row.seed in (100, 101))]
    counts = {one.name: one.num_seeds for one in verdicts.judge(rows)}
    assert (counts["H1"], counts["H2b"]) == (10, 8)


def test_the_regained_share_is_the_part_of_the_loss_that_comes_back():
    cells = verdicts.summarise(rows_of(world_of(), noise=0.0))
    shares = {cell.rho: cell.regained for cell in cells if cell.variant == hypotheses.SNP}
    assert shares[0.9] == pytest.approx(0.1 / 0.15)
    assert shares[0.0] is None


def test_a_cell_averages_folds_first_and_then_seeds():
    rows = [
        ModelRow("hubert", "none", "true", 0.9, seed, fold, value, value, 0.1, None)
        for seed, fold, value in [(0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.5)]
    ]
    (cell,) = verdicts.summarise(rows)
    assert cell.unseen == pytest.approx((0.3 + 0.5) / 2)
    assert cell.unseen_std == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert (cell.num_seeds, cell.num_models) == (2, 3)


@pytest.mark.parametrize(("num_seeds", "shown"), [(1, False), (2, False), (3, False), (4, True)])
def test_of_fewer_than_four_seeds_nothing_has_an_interval(num_seeds, shown):
    rows = rows_of(world_of(), seeds=range(100, 100 + num_seeds))
    cells, judged = verdicts.summarise(rows), verdicts.judge(rows)
    assert {(cell.low, cell.high) != (None, None) for cell in cells} == {shown}
    assert {(one.low, one.high) != (None, None) for one in judged} == ({True} if shown else set())
