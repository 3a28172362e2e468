"""What `mm15 plan` predicts of runs beside what they took, each calibrated on each of the others.

    python benchmarks/plan.py runs/quickstart/pretrain runs/quickstart/continual runs/quickstart/sft

Runs are run folders (`mm15 train --out`, or the stages of a quickstart), of any recipes on one machine; their steps
are best taken while the machine does the same besides. Told are the median step without its wait for data, and peak
resident memory where the logs have it: what the calibration's process took beyond its plan is taken to be the same for
the others (libraries, caches, the allocator).
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
    cluster = cluster_of(f"{told.ranks}xcpu")
    return plan_of(
        told.recipe, config, workload_of_data(told.recipe, config, told.data), cluster, calibrated(calibration)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--calibration", type=Path, help="calibrate on this run alone")
    arguments = parser.parse_args()
    print(f"{'calibrated on':<14} {'run':<14} {'what':<10} {'predicted':>10} {'measured':>10} {'off by':>8}")
    speeds = []
    for calibration in [arguments.calibration] if arguments.calibration else arguments.runs:
        base = measured(calibration).memory
        own = plan_of_run(calibration, calibration)
        speeds.append(f"{calibration.name}: {own.rate}")
        for run in arguments.runs:
            if run == calibration:
                continue
            plan, told = plan_of_run(run, calibration), measured(run)
            rows = [("step, s", plan.step_seconds, float(np.median(told.seconds)))]
            if told.memory and base:
                peak = base - own.memory.total + plan.memory.total
                rows.append(("peak, MiB", peak / 2**20, told.memory / 2**20))
            for what, predicted, found in rows:
                names = f"{calibration.name:<14} {run.name:<14} {what:<10}"
                print(f"{names} {predicted:>10.3f} {found:>10.3f} {predicted / found - 1:>+8.1%}")
    print("\n".join(speeds))


if __name__ == "__main__":
    main()
