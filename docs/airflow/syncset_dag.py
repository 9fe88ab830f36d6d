"""Runs every pipeline of a syncset project, one task each.

Copy this file into the DAG folder. It needs Airflow 3 on the workers, with the program `syncset`
and the project folder, and takes its settings from the environment:

    SYNCSET_PROJECT      the project folder; required
    SYNCSET_BIN          the program; default: `syncset` from PATH
    SYNCSET_SCHEDULE     cron expression; default: every 15 minutes
    SYNCSET_RETRIES      how often a run that is worth retrying is tried again; default: 3
    SYNCSET_RETRY_DELAY  seconds before the first retry, longer before each further one;
                         default: 60

How a run ends and what its task becomes:

    0       success
    99      skipped: nothing had changed, or another run of the pipeline is under way
    9       up for retry: network, deadlock, time budget; the next try goes on where this ended
    others  failed at once: trying again would not help, somebody has to look
"""

import os
import shlex
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

PROJECT = Path(os.environ["SYNCSET_PROJECT"])
PROGRAM = os.environ.get("SYNCSET_BIN", "syncset")

WORTH_RETRYING = 9
NOTHING_DONE = 99
MEANINGS = {
    1: "failed",
    2: "the command line or the files are wrong; nothing was touched",
    3: "some tables failed, the others are done",
    5: "the selection or the target's schema changed and a person has to agree",
    7: "another run took over",
    8: "a guard stopped it",
    WORTH_RETRYING: "worth trying again",
}


class SyncsetOperator(BashOperator):
    """One run of one pipeline. Only what is worth retrying is left to Airflow's retries."""

    def __init__(self, *, pipeline: str, **kwargs) -> None:
        command = [
            PROGRAM,
            *("-C", str(PROJECT)),
            *("pipeline", "run", pipeline),
            *("--on-lock", "skip"),
            *("--skip-exit-code", str(NOTHING_DONE)),
        ]
        super().__init__(
            # `exec`, so that the program itself gets the signal when the task is stopped: it
            # finishes or rolls back what is under way.
            bash_command="exec " + shlex.join(command),
            skip_on_exit_code=NOTHING_DONE,
            append_env=True,
            do_xcom_push=False,
            **kwargs,
        )

    def execute(self, context):
        try:
            return super().execute(context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            process = self.subprocess_hook.sub_process
            code = process.returncode if process else None
            sentence = f"exit code {code}: {MEANINGS.get(code, 'stopped from outside')}"
            if code == WORTH_RETRYING:
                raise AirflowException(sentence) from error
            raise AirflowFailException(sentence) from error


with DAG(
    dag_id="syncset",
    description=f"Pipelines of {PROJECT}",
    schedule=os.environ.get("SYNCSET_SCHEDULE", "*/15 * * * *"),
    start_date=datetime(2025, 1, 1),
    # Missed runs need no catching up: a run brings everything since the last one.
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": int(os.environ.get("SYNCSET_RETRIES", "3")),
        "retry_delay": timedelta(seconds=int(os.environ.get("SYNCSET_RETRY_DELAY", "60"))),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
    },
    tags=["syncset"],
) as dag:
    # Airflow reads this file often, so it looks at the folder and starts no program.
    tasks = {
        file.stem: SyncsetOperator(task_id=file.stem, pipeline=file.stem)
        for file in sorted((PROJECT / "pipelines").glob("*.yaml"))
    }

    # Pipelines run beside each other. Where one needs another to be done first, say so:
    # tasks["crm_to_warehouse"] >> tasks["warehouse_to_reports"]
