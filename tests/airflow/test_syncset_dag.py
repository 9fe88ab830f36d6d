"""The DAG of docs/airflow, run by the real Airflow against real databases.

One `airflow dags test` runs a project with one pipeline for each way a run can end; the tests look
at what became of its tasks. `.ci/airflow` starts this file in an environment with Airflow and with
the program in SYNCSET_BIN.
"""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from glob import glob
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ["SYNCSET_BIN"]
AIRFLOW = str(Path(sys.executable).parent / "airflow")

RETRIES = 3
# Long enough that the link is mended before the tries are used up, on any machine.
RETRY_DELAY_SECONDS = 4
# What may take long is the first start of Airflow on a busy machine.
DEADLINE_SECONDS = 600

PROJECT = """\
version: 1
project: airflow
# The owner of the lease is stopped on purpose; it must not count as dead meanwhile.
lease: { expires: 1h }
connections:
  shop: { type: sqlite, path: shop.db }
  copy: { type: sqlite, path: copy.db }
  checked: { type: sqlite, path: checked.db }
  foreign: { type: sqlite, path: foreign.db }
  server: { type: postgres, url: "${SERVER_URL}" }
  mended: { type: postgres, url: "${MENDED_URL}" }
  closed: { type: postgres, url: "${CLOSED_URL}" }
"""

PIPELINES = {
    "loads": "source: shop\ntarget: copy\ntables: { orders: { to: first } }\n",
    "idle": "source: shop\ntarget: copy\ntables: { orders: { to: second } }\n",
    "partial": "source: shop\ntarget: checked\ntables: { orders: {}, customers: {} }\n",
    "wrong": "source: shop\ntarget: copy\ntabels: {}\n",
    "guarded": "source: shop\ntarget: foreign\ntables: { orders: {} }\n",
    "locked": "source: shop\ntarget: server\ntables: { orders: { to: public.held } }\n",
    "mended": "source: mended\ntarget: copy\ntables: { public.numbers: {} }\n",
    "closed": "source: closed\ntarget: copy\ntables: { public.numbers: {} }\n",
}


class Server:
    """A PostgreSQL server of its own, in `folder`."""

    def __init__(self, folder: Path):
        self.data = folder / "data"
        self.bin = self._find_bin()
        self.port = free_port()
        folder.mkdir()
        self.as_user = []
        if os.geteuid() == 0:
            # The server refuses to run as root.
            shutil.chown(folder, "postgres", "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._run("initdb", "-D", self.data, "-U", "sync", "--auth=trust", "--no-sync")
        options = f"-p {self.port} -h 127.0.0.1 -k {folder} -F"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", folder / "log", "-o", options, "start")

    @staticmethod
    def _find_bin() -> Path:
        given = os.environ.get("SYNCSET_TEST_PG_BIN")
        on_path = shutil.which("initdb")
        folders = [given] if given else sorted(glob("/usr/lib/postgresql/*/bin"))
        if on_path and not given:
            folders.append(str(Path(on_path).resolve().parent))
        for folder in reversed(folders):
            if (Path(folder) / "initdb").exists():
                return Path(folder)
        raise RuntimeError("no PostgreSQL server is installed")

    def _run(self, program: str, *arguments):
        command = [*self.as_user, self.bin / program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def url(self, port: int | None = None) -> str:
        return f"postgres://sync@127.0.0.1:{port or self.port}/postgres?sslmode=disable"

    def sql(self, statement: str) -> str:
        command = [self.bin / "psql", "-XAtq", self.url(), "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def session(self, statement: str) -> subprocess.Popen:
        return subprocess.Popen([self.bin / "psql", "-XAtq", self.url(), "-c", statement])

    def stop(self):
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")


class Link:
    """Passes connections on to a server, once it is open."""

    def __init__(self, to: int):
        self.to = to
        self.port = free_port()
        self.listener = None

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.to))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what: str, condition):
    """Waits for something that has to come; the deadline is for what never does."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting until {what}")
        time.sleep(0.1)


def sqlite(path: Path, script: str):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


class Lab:
    """The project, the databases, and one run of the DAG."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.project = folder / "project"
        self.home = folder / "airflow"
        self.server = Server(folder / "server")
        self.link = Link(self.server.port)
        self.environment = {
            **os.environ,
            "SERVER_URL": self.server.url(),
            "MENDED_URL": self.server.url(self.link.port),
            "CLOSED_URL": self.server.url(free_port()),
            "SYNCSET_PROJECT": str(self.project),
            "SYNCSET_RETRIES": str(RETRIES),
            "SYNCSET_RETRY_DELAY": str(RETRY_DELAY_SECONDS),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "docs" / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Nothing of the test is told to anybody.
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        self._make_project()
        self._make_databases()

    def _make_project(self):
        (self.project / "pipelines").mkdir(parents=True)
        (self.project / "syncset.yaml").write_text(PROJECT)
        for name, text in PIPELINES.items():
            path = self.project / "pipelines" / f"{name}.yaml"
            path.write_text("version: 1\n" + text)

    def _make_databases(self):
        sqlite(
            self.project / "shop.db",
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL);
            INSERT INTO orders VALUES (1, 10), (2, -20), (3, 30);
            CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
            INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob');
            """,
        )
        # Refuses one of the orders.
        sqlite(
            self.project / "checked.db",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL CHECK (total > 0))",
        )
        # Holds a row that no run has written.
        sqlite(
            self.project / "foreign.db",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL);"
            "INSERT INTO orders VALUES (7, 7)",
        )
        self.server.sql(
            "CREATE TABLE numbers (id int PRIMARY KEY); INSERT INTO numbers VALUES (1), (2);"
            "CREATE TABLE held (id bigint PRIMARY KEY, total bigint NOT NULL)"
        )

    def syncset(self, *arguments) -> subprocess.Popen:
        command = [PROGRAM, "-C", self.project, *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def lease_is_held(self, pipeline: str, table: str):
        """A run of the pipeline that has its lease and gets no further."""
        lock = f"LOCK TABLE {table} IN SHARE MODE"
        blocker = self.server.session(f"BEGIN; {lock}; SELECT pg_sleep(3600)")
        locks = f"SELECT 1 FROM pg_locks WHERE relation = '{table}'::regclass AND"
        wait_until("the table is locked", lambda: self.server.sql(f"{locks} granted"))
        owner = self.syncset("pipeline", "run", pipeline)
        try:
            # Whoever writes has the lease.
            wait_until("the run writes", lambda: self.server.sql(f"{locks} NOT granted"))
            owner.send_signal(signal.SIGSTOP)
            yield
        finally:
            owner.kill()
            owner.wait()
            blocker.kill()
            blocker.wait()

    def airflow(self, *arguments) -> subprocess.Popen:
        log = (self.folder / "airflow.log").open("a")
        command = [AIRFLOW, *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def tasks(self) -> dict[str, tuple[str, int]]:
        """State and number of tries by task."""
        connection = sqlite3.connect(self.home / "airflow.db", timeout=60)
        with contextlib.closing(connection):
            query = "SELECT task_id, state, try_number FROM task_instance"
            return {task: (state, tries) for task, state, tries in connection.execute(query)}

    def run_dag(self) -> int:
        assert self.airflow("db", "migrate").wait() == 0, self.log()
        process = self.airflow("dags", "test", "syncset")
        has_failed_once = lambda: (  # noqa: E731
            process.poll() is not None or self.tasks().get("mended", ("", 0))[0] == "up_for_retry"
        )
        wait_until("the first try without a link is over", has_failed_once)
        self.link.open()
        return process.wait()

    def log(self) -> str:
        return (self.folder / "airflow.log").read_text()

    def rows(self, database: str, table: str) -> int:
        connection = sqlite3.connect(self.project / database)
        with contextlib.closing(connection):
            return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


class DagOfSyncset(unittest.TestCase):
    lab: Lab
    tasks: dict[str, tuple[str, int]]

    @classmethod
    def setUpClass(cls):
        # The server's user has to get into the folder.
        folder = Path(tempfile.mkdtemp(prefix="syncset-airflow-"))
        folder.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.lab = lab = Lab(folder)
        cls.addClassCleanup(lab.server.stop)
        assert lab.syncset("pipeline", "run", "idle").wait() == 0
        with lab.lease_is_held("locked", "held"):
            cls.exit_code = lab.run_dag()
        cls.tasks = lab.tasks()

    def assert_task(self, name: str, state: str, tries: int):
        found = self.tasks.get(name)
        self.assertEqual(found, (state, tries), f"{name}\n{self.lab.log()}")

    def test_each_pipeline_is_a_task(self):
        self.assertEqual(set(self.tasks), set(PIPELINES), self.lab.log())

    def test_first_load_succeeds(self):
        self.assert_task("loads", "success", 1)
        self.assertEqual(self.lab.rows("copy.db", "first"), 3)

    def test_nothing_to_do_is_skipped(self):
        self.assert_task("idle", "skipped", 1)

    def test_partial_failure_fails_at_once_and_keeps_what_is_done(self):
        self.assert_task("partial", "failed", 1)
        self.assertEqual(self.lab.rows("checked.db", "customers"), 2)
        self.assertIn("exit code 3: some tables failed", self.lab.log())

    def test_wrong_file_fails_at_once(self):
        self.assert_task("wrong", "failed", 1)
        self.assertIn("did you mean `tables`?", self.lab.log())

    def test_guard_fails_at_once(self):
        self.assert_task("guarded", "failed", 1)
        self.assertEqual(self.lab.rows("foreign.db", "orders"), 1)

    def test_held_lease_is_skipped(self):
        self.assert_task("locked", "skipped", 1)

    def test_lost_link_is_retried_until_it_is_there(self):
        state, tries = self.tasks["mended"]
        self.assertEqual(state, "success", self.lab.log())
        self.assertGreater(tries, 1)
        self.assertEqual(self.lab.rows("copy.db", "numbers"), 2)

    def test_retries_end(self):
        self.assert_task("closed", "failed", RETRIES + 1)

    def test_failed_tasks_fail_the_run(self):
        self.assertNotEqual(self.exit_code, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
