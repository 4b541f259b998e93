"""A run is one record: what it leaves behind as files, each declared once, written and read.

    checked       JSON -> records, every error naming file and key
    result        result.json: what a finished run is
    metrics_log   metrics.jsonl and s3prl's prediction files: while it goes
    probes        probe.json: its leakage audit
    status        where a planned run stands; summary.json: that of a whole bench
    folder        all of these under one folder, and as a DataFrame of one row per run
    state         counters that ride in its checkpoints, and whether it may go on
    journal       all that it says while it goes; `instrument`: what it measures
    evaluation    predictions of dev and test; `outcome` writes what it ends with
    lost_steps    steps that were taken back; `signals`: those that end it
    resume/       its folder, and how it goes on there, or elsewhere (`fork`)
    trained       its model, loaded again: upstream, featurizer, gate and heads

Between `probe/` and `checkpoint.py`: the task and the trainer write, bench and report read.
"""

from spknorm.runs.folder import Run, Runs, frame, read

__all__ = ["Run", "Runs", "frame", "read"]
