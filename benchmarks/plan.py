"""What `mm15 plan` predicts of runs beside what they took, calibrated on another run.

    python benchmarks/plan.py --calibration runs/quickstart/pretrain runs/quickstart/continual runs/quickstart/sft

Both the calibration and the runs are run folders (`mm15 train --out`, or the stages of a quickstart), of any recipes
on one
machine. Told are the median step without its wait for data, from the logs, and peak resident memory where the logs
have it: what
the calibration's process took beyond its plan is taken to be the same for the others (libraries, caches, the
allocator).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mm15.plan.calibrate import measured
from mm15.plan.hardware import cluster_of
from mm15.plan.planning import Plan, calibrated, model_of, plan_of
from mm15.plan.workload import workload_of_data


def plan_of_run(run: Path, calibration: Path) -> Plan:
    """The plan of a finished run's recipe on its data, with another run's speed."""
    told = measured(run)
    config = model_of(told.recipe, told.data)
    cluster = cluster_of(f"{told.recipe.ranks}xcpu")
    return plan_of(
        told.recipe, config, workload_of_data(told.recipe, config, told.data), cluster, calibrated(calibration)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    arguments = parser.parse_args()
    base = measured(arguments.calibration).memory
    if base:
        base -= plan_of_run(arguments.calibration, arguments.calibration).memory.total
    print(
        f"calibrated on {arguments.calibration.name}\n{'run':<14} {'what':<14} {'predicted':>10} {'measured':>10} "
        f"{'off by':>8}"
    )
    for run in arguments.runs:
        plan, told = plan_of_run(run, arguments.calibration), measured(run)
        rows = [("step, s", plan.step_seconds, float(np.median(told.seconds)))]
        if told.memory and base:
            rows.append(("peak, MiB", (base + plan.memory.total) / 2**20, told.memory / 2**20))
        for what, predicted, found in rows:
            print(f"{run.name:<14} {what:<14} {predicted:>10.3f} {found:>10.3f} {predicted / found - 1:>+8.1%}")


if __name__ == "__main__":
    main()
