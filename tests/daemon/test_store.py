from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.moment import Moment
from chargerd.daemon import database, store, wal
from chargerd.daemon.database import StoreFailed, StoreTooNew
from chargerd.daemon.store import Batch, Session, Store
from chargerd.ocpp.outbox import START, Changes, Outbox, Row
from tests.daemon.stored import AT, SESSION, row


class PowerCut(Exception):
    pass


# ---- what is kept


def test_everything_comes_back(opened: Callable[..., Store]) -> None:
    first = opened()
    new = first.load(mono=1.0, wall=10.0, trusted=False)
    assert (new.state, new.rows, new.boot, new.doomed) == ({}, (), 1, frozenset())
    start = Row(
        id=new.next_row,
        queue="critical",
        tx=None,
        kind="security",
        facts={"név": ["\ud800", 1.5, None]},
        at=AT,
        offline=True,
        thin=True,
        payload={"type": "StartupOfTheDevice"},
        message_id="m1",
        attempts=2,
    )
    first.commit_now(Batch(state={"station": {"a": 1}}, outbox=Changes(put=(start,)), sessions=[SESSION]))
    first.close()
    again = opened().load(mono=2.0, wall=20.0, trusted=True)
    assert again.state == {"station": {"a": 1}} and again.versions == {"station": 1}
    assert again.rows == (start,)
    assert again.boot == 2
    assert again.boots == (Moment(1.0, 10.0, False, 1), Moment(2.0, 20.0, True, 2))
    assert again.next_row > start.id
    assert opened().sessions() == [SESSION]


def test_none_deletes_state(opened: Callable[..., Store]) -> None:
    first = opened()
    first.commit_now(Batch(state={"a": 1, "b": 2}))
    first.commit_now(Batch(state={"a": None, "never": None}))
    first.commit_now(Batch(state={"b": None}))
    first.commit_now(Batch(state={"b": 2}))
    assert opened().load(0.0, 0.0, False).state == {"b": 2}


def test_the_boot_row_is_corrected_when_the_clock_is_known(opened: Callable[..., Store]) -> None:
    first = opened()
    boot = first.load(mono=1.0, wall=0.0, trusted=False).boot
    known = Moment(mono=61.0, wall=1_700_000_060.0, trusted=True, boot=boot)
    first.commit_now(Batch(anchor=known))
    assert opened().load(mono=0.0, wall=0.0, trusted=False).boots[0] == known


def test_boots_are_bounded(opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BOOTS_KEPT", 3)
    for _ in range(6):
        one = opened()
        boots = one.load(0.0, 0.0, False).boots
        one.close()
    assert [each.boot for each in boots] == [3, 4, 5, 6]


def test_dead_letters_leave_the_queue_doom_their_transaction_and_are_bounded(
    opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DEAD_MAX", 2)
    start = Row(id=1, queue="transactions", tx="t", kind=START, facts={}, at=AT)
    one = opened()
    one.commit_now(Batch(outbox=Changes(put=(start, row(2), row(3)))))
    one.commit_now(Batch(outbox=Changes(dead=(start, row(2)))))
    assert one.dead() == [start, row(2)]
    loaded = opened().load(0.0, 0.0, False)
    assert loaded.rows == (row(3),) and loaded.doomed == {"t"}
    one.commit_now(Batch(outbox=Changes(dead=(row(3),))))
    assert one.dead() == [row(2), row(3)]


def test_sessions_newest_first_by_limit_and_since(opened: Callable[..., Store]) -> None:
    one = opened()
    many = [
        Session(f"s{n}", None, "t", 100.0 * n, 100.0 * n + 50, False, None, None, "EVDisconnected") for n in range(5)
    ]
    one.commit_now(Batch(sessions=many))
    assert one.sessions(limit=2) == [many[4], many[3]]
    assert one.sessions(since=300.0) == [many[4], many[3]]


# ---- wear


def test_nothing_is_written_when_nothing_changed(opened: Callable[..., Store], path: Path) -> None:
    one = opened()
    one.commit_now(Batch(state={"a": {"x": 1}}))
    before = one.bytes_written
    assert before > 0
    one.commit_now(Batch(state={"a": {"x": 1}}))
    one.commit_now(Batch())
    assert one.bytes_written == before
    one.close()
    gates: list[str] = []
    later = opened(gate=gates.append)
    later.load(0.0, 0.0, False)
    gates.clear()
    later.commit_now(Batch(state={"a": {"x": 1}}))
    assert gates == []


def test_the_log_is_checkpointed_and_both_writings_are_counted(opened: Callable[..., Store], path: Path) -> None:
    one = opened()
    log = path.with_name(path.name + "-wal")
    largest = 0
    for n in range(400):
        before = one.bytes_written
        one.commit_now(Batch(state={"a": n}))
        assert one.bytes_written > before
        largest = max(largest, log.stat().st_size)
    assert largest < 2 * store.CHECKPOINT_FRAMES * (database.PAGE + wal.FRAME)
    assert one.bytes_written >= 400 * (database.PAGE + wal.FRAME)
    assert opened().load(0.0, 0.0, False).state == {"a": 399}


def test_what_is_put_by_waits_for_company(opened: Callable[..., Store]) -> None:
    gates: list[str] = []
    one = opened(gate=gates.append)
    one.load(0.0, 0.0, False)
    gates.clear()
    one.put_by(Batch(outbox=Changes(put=(row(1),))))
    one.put_by(Batch(outbox=Changes(put=(row(2),))))
    one.put_by(Batch(outbox=Changes(delete=(1,))))
    assert gates == []
    one.commit_now(Batch(state={"a": 1}))
    assert gates == ["before-commit", "after-commit"]
    one.put_by(Batch(outbox=Changes(put=(row(3),))))
    one.close()  # in order: nothing is lost
    assert [each.id for each in opened().load(0.0, 0.0, False).rows] == [2, 3]


def test_a_power_cut_takes_what_was_put_by_and_nothing_else(path: Path) -> None:
    one = Store.open(path, inline=True)
    one.commit_now(Batch(outbox=Changes(put=(row(1),))))
    one.put_by(Batch(outbox=Changes(put=(row(2),))))
    two = Store.open(path, inline=True)
    assert [each.id for each in two.load(0.0, 0.0, False).rows] == [1]
    two.close()


def test_a_body_that_grows_rewrites_one_page(opened: Callable[..., Store]) -> None:
    one = opened()
    for n in range(40):
        one.commit_now(Batch(state={f"key-{n}": "x" * 300}))
    before = one.bytes_written
    for n in range(20):
        one.commit_now(Batch(state={"key-3": "x" * (301 - n % 2)}))
    assert one.bytes_written - before == 20 * (database.PAGE + wal.FRAME)


def test_the_history_is_bounded(opened: Callable[..., Store]) -> None:
    one = opened(history=3)
    for n in range(5):
        one.commit_now(Batch(sessions=(replace(SESSION, uid=f"s{n}", started=1000.0 + n),)))
    assert [each.uid for each in one.sessions()] == ["s4", "s3", "s2"]


def test_the_index_of_the_log_is_no_file_and_other_processes_are_told_so(
    opened: Callable[..., Store], path: Path
) -> None:
    one = opened()
    one.commit_now(Batch(sessions=(SESSION,)))
    assert one.sessions() == [SESSION], "read by a connection of its own"
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}-wal"}
    program = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0.0).execute('SELECT * FROM session')"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    assert "database is locked" in said
    one.commit_now(Batch(state={"a": 1}))


# ---- the writer


async def test_batches_that_wait_together_share_a_commit_in_order(opened: Callable[..., Store]) -> None:
    busy, go = threading.Event(), threading.Event()
    commits: list[str] = []

    def gate(point: str) -> None:
        commits.append(point)
        busy.set()
        assert go.wait(10)

    one = opened(inline=False, gate=gate)
    first = one.submit(Batch(state={"n": 0}))
    await asyncio.to_thread(busy.wait, 10)
    rest = [one.submit(Batch(state={"n": n}, outbox=Changes(put=(row(n),)))) for n in range(1, 50)]
    unchanged = one.submit(Batch(state={"n": 49}))
    assert not first.done() and not unchanged.done()
    go.set()
    await asyncio.gather(first, *rest, unchanged)
    assert commits == ["before-commit", "after-commit"] * 2
    loaded = opened().load(0.0, 0.0, False)
    assert loaded.state == {"n": 49} and len(loaded.rows) == 49


async def test_close_writes_what_waits(opened: Callable[..., Store]) -> None:
    one = opened(inline=False)
    waiting = [one.submit(Batch(state={f"k{n}": n})) for n in range(20)]
    one.close()
    await asyncio.gather(*waiting)
    with pytest.raises(StoreFailed, match="closed"):
        await one.commit(Batch(state={"late": 1}))
    assert len(opened().load(0.0, 0.0, False).state) == 20


async def test_a_waiter_that_gave_up_disturbs_nobody(opened: Callable[..., Store]) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    one = opened(inline=False)
    one.submit(Batch(state={"a": 1})).cancel()
    await one.commit(Batch(state={"b": 2}))
    assert complaints == []
    assert opened().load(0.0, 0.0, False).state == {"a": 1, "b": 2}


async def test_what_cannot_be_written_fails_for_its_sender_alone(opened: Callable[..., Store]) -> None:
    one = opened(inline=False)
    with pytest.raises(TypeError):
        await one.commit(Batch(state={"a": 1, "bad": object()}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        await one.commit(Batch(state={"a": 1, "bad": float("nan")}))
    with pytest.raises(UnicodeEncodeError):
        await one.commit(Batch(state={"a": 1}, outbox=Changes(put=(row(1, message_id="\ud800"),))))
    await one.commit(Batch(state={"a": 1}))
    assert opened().load(0.0, 0.0, False).state == {"a": 1}


async def test_an_error_of_the_program_ends_the_store(opened: Callable[..., Store]) -> None:
    def gate(point: str) -> None:
        raise PowerCut(point)

    one = opened(inline=False, gate=gate)
    with pytest.raises(PowerCut):
        await one.commit(Batch(state={"a": 1}))
    with pytest.raises(PowerCut):
        await one.commit(Batch(state={"a": 2}))


async def test_inline_commits_need_no_thread(opened: Callable[..., Store]) -> None:
    one = opened()
    threads = threading.active_count()
    await one.commit(Batch(state={"a": 1}))
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="inline=True"):
        opened(inline=False).commit_now(Batch())


# ---- a failing disk


def test_a_full_disk_costs_nothing_but_time(opened: Callable[..., Store]) -> None:
    one = opened()
    one.commit_now(Batch(state={"a": 1}, outbox=Changes(put=(row(1), row(2)))))
    pages = one._db.execute("PRAGMA page_count").fetchone()[0]
    one._db.execute(f"PRAGMA max_page_count = {pages}")
    big = "x" * 50_000
    with pytest.raises(StoreFailed, match="free space"):
        one.commit_now(Batch(state={"a": 2, "big": big}, outbox=Changes(put=(row(3),), delete=(1,))))
    assert one.failed and "full" in one.failed
    with pytest.raises(StoreFailed):
        one.commit_now(Batch(state={"a": 3}))
    assert opened().load(0.0, 0.0, False).state == {"a": 1}
    one._db.execute("PRAGMA max_page_count = 1000000")
    one.commit_now(Batch())
    assert one.failed is None
    loaded = opened().load(0.0, 0.0, False)
    assert loaded.state == {"a": 3, "big": big}
    assert loaded.rows == (row(2), row(3))


def test_a_disk_turned_read_only(opened: Callable[..., Store]) -> None:
    one = opened()
    one.commit_now(Batch(state={"a": 1}))
    one._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFailed, match="writable"):
        one.commit_now(Batch(state={"a": 2}))
    one._db.execute("PRAGMA query_only = OFF")
    one.commit_now(Batch(state={"b": 1}))
    assert opened().load(0.0, 0.0, False).state == {"a": 2, "b": 1}


async def test_the_writer_tries_again_by_itself(opened: Callable[..., Store]) -> None:
    tries = iter([True, True, True])
    written = threading.Event()

    def gate(point: str) -> None:
        if point == "before-commit" and next(tries, False):
            raise sqlite3.OperationalError("disk I/O error")
        if point == "after-commit":
            written.set()

    one = opened(inline=False, gate=gate, retry_after=0.01)
    with pytest.raises(StoreFailed, match="storage medium"):
        await one.commit(Batch(state={"a": 1}))
    assert await asyncio.to_thread(written.wait, 10)
    assert one.failed is None
    assert opened().load(0.0, 0.0, False).state == {"a": 1}


def test_memory_is_bounded_while_the_disk_fails(opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MEMORY_MAX", 10)
    one = opened()
    one.commit_now(Batch(state={"old": 1}))
    one._db.execute("PRAGMA query_only = ON")
    for n in range(1, 30):
        with pytest.raises(StoreFailed):
            one.commit_now(Batch(state={"n": n, "old": None}, outbox=Changes(delete=(n,), dead=(row(1000 + n),))))
    with pytest.raises(StoreFailed):
        one.commit_now(Batch(outbox=Changes(put=(row(2000), row(2001)))))
    assert len(one._unwritten) == 10
    one._db.execute("PRAGMA query_only = OFF")
    one.commit_now(Batch())
    loaded = opened().load(0.0, 0.0, False)
    assert loaded.state == {"n": 29} and loaded.rows == (row(2000), row(2001))


def test_dead_letters_stay_bounded_through_a_failure(
    opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DEAD_MAX", 2)
    one = opened()
    one._db.execute("PRAGMA query_only = ON")
    for n in (1, 2, 3):
        with pytest.raises(StoreFailed):
            one.commit_now(Batch(outbox=Changes(dead=(row(n),))))
    one._db.execute("PRAGMA query_only = OFF")
    one.commit_now(Batch())
    assert one.dead() == [row(2), row(3)]


def test_a_boot_on_a_failing_disk_is_known_as_such(opened: Callable[..., Store]) -> None:
    one = opened()
    one._db.execute("PRAGMA query_only = ON")
    assert one.load(0.0, 0.0, False).boot == 1
    assert one.failed


def test_commits_reach_the_disk_before_they_return(opened: Callable[..., Store]) -> None:
    one = opened()
    assert one._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert one._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_place_that_cannot_be_opened_is_named_with_its_remedy(tmp_path: Path) -> None:
    for wrong in (tmp_path / "missing" / "chargerd.db", tmp_path):
        with pytest.raises(StoreFailed, match="create the directory") as caught:
            Store.open(wrong)
        assert str(wrong) in str(caught.value)


# ---- versions


def test_a_newer_schema_is_refused_untouched(opened: Callable[..., Store], path: Path) -> None:
    opened().close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(database.MIGRATIONS) + 1}")
    with pytest.raises(StoreTooNew, match="install the newer version"):
        opened()
    assert not list(path.parent.glob("*.corrupt-*"))


def test_state_of_a_newer_version_is_refused_and_of_an_older_one_named(opened: Callable[..., Store]) -> None:
    one = opened(state_version=2)
    one.commit_now(Batch(state={"station": 1}))
    one.close()
    with pytest.raises(StoreTooNew, match="state of version 2"):
        opened(state_version=1)
    assert opened(state_version=3).load(0.0, 0.0, False).versions == {"station": 2}


def test_a_migration_happens_wholly_or_not(
    opened: Callable[..., Store], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened()
    one.commit_now(Batch(state={"a": 1}))
    one.close()
    old = database.MIGRATIONS
    monkeypatch.setattr(database, "MIGRATIONS", (*old, ("ALTER TABLE session ADD COLUMN kwh REAL", "NONSENSE")))
    with pytest.raises(StoreFailed, match="NONSENSE"):
        opened()
    monkeypatch.setattr(database, "MIGRATIONS", old)
    assert opened().load(0.0, 0.0, False).state == {"a": 1}


# ---- power cuts


class Csms:
    """Keeps what arrived, by event number: the same number must be the same event."""

    def __init__(self) -> None:
        self.events: dict[int, Any] = {}

    def told(self, out: Row) -> None:
        assert self.events.setdefault(out.seq or 0, out.payload) == out.payload


def charge(one: Store, csms: Csms) -> None:
    """A session of five events as the daemon does it: persist, then send; picks up where the last life ended."""
    loaded = one.load(0.0, 0.0, False)
    done = loaded.state.get("events", 0)
    box = Outbox(loaded.rows, chronological=True, max_rows=100, doomed=loaded.doomed)
    for seq in range(done, 5):
        new = Row(loaded.next_row + seq, "transactions", "t", "update", {"seq": seq}, AT, seq=seq)
        one.commit_now(Batch(state={"events": seq + 1}, outbox=box.add([new], step=seq)))
        deliver(one, box, csms, f"boot {loaded.boot}")
    deliver(one, box, csms, f"boot {loaded.boot}")


def deliver(one: Store, box: Outbox, csms: Csms, life: str) -> None:
    while isinstance(item := box.next(0.0, True, True), Row):
        out, changes = box.frozen(item, item.payload or {"seq": item.seq, "rendered": life}, f"m{item.id}")
        one.commit_now(Batch(outbox=changes))
        csms.told(out)
        one.commit_now(Batch(outbox=box.answered(out)))


def test_power_cut_at_every_commit_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    cuts = 0
    for cut in range(1000):
        path, passed, csms = tmp_path / f"{cut}.db", 0, Csms()

        def gate(point: str, cut: int = cut) -> None:
            nonlocal passed
            passed += 1
            if passed == cut + 1:
                raise PowerCut(point)

        try:
            whole = Store.open(path, inline=True, gate=gate)
            charge(whole, csms)
        except PowerCut:
            cuts += 1
            again = Store.open(path, inline=True)
            charge(again, csms)
            again.close()
            assert sorted(csms.events) == [0, 1, 2, 3, 4]
        else:
            whole.close()
            break
    assert cuts == 2 * (1 + 5 * 3)


def test_a_log_torn_anywhere_gives_a_state_that_was(tmp_path: Path, path: Path) -> None:
    """The disk wrote only a part of the log: the database is one of those that were, with its rows."""
    one = Store.open(path, inline=True)
    for n in range(20):
        one.commit_now(Batch(state={"n": n}, outbox=Changes(put=(row(n + 1),))))
    image, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    one.close()
    seen = set()
    for torn in range(0, len(log), 977):
        copy = tmp_path / f"torn-{torn}.db"
        copy.write_bytes(image)
        copy.with_name(copy.name + "-wal").write_bytes(log[:torn])
        two = Store.open(copy, inline=True)
        assert two.lost is None
        loaded = two.load(0.0, 0.0, False)
        two.close()
        n = loaded.state.get("n", -1)
        assert len(loaded.rows) == n + 1
        seen.add(n)
    assert len(seen) > 10


# ---- old databases

DATABASES = Path(__file__).parent.parent / "databases"


@pytest.mark.parametrize("version", range(1, len(database.MIGRATIONS) + 1))
def test_every_old_database_opens(version: int, path: Path, opened: Callable[..., Store]) -> None:
    shutil.copy(DATABASES / f"v{version}.db", path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
    one = opened()
    assert one.lost is None
    loaded = one.load(mono=0.0, wall=0.0, trusted=False)
    assert loaded.state == {
        "station": {"outlets": [{"rank": 1, "transaction": "t-2"}]},
        "variables": {"heartbeat": 300},
    }
    assert loaded.versions == {"station": 1, "variables": 1}
    assert [(each.id, each.queue, each.tx, each.kind, each.seq) for each in loaded.rows] == [
        (4294967299, "transactions", "t-2", "start", 0),
        (4294967300, "transactions", "t-2", "update", 1),
        (4294967301, "critical", None, "security", None),
    ]
    frozen = loaded.rows[0]
    assert frozen.payload == {"connectorId": 1, "idTag": "04A2B3C4"} and frozen.message_id == "m-3"
    assert (frozen.attempts, frozen.offline, frozen.thin) == (1, True, False)
    assert loaded.rows[1].thin and loaded.rows[1].facts == {"wh": 1234.5}
    assert loaded.boots[0] == Moment(mono=12.5, wall=1_700_000_000.0, trusted=True, boot=1)
    assert loaded.boot == 2 and loaded.doomed == {"t-1"}
    assert [(each.id, each.kind) for each in one.dead()] == [(4294967297, "start"), (4294967298, "ended")]
    (session,) = one.sessions()
    assert session == Session(
        "t-1", 1, "04A2B3C4", 1_700_000_100.0, 1_700_003_700.0, True, 100.0, 11140.0, "Local", None
    )
    one.commit_now(Batch(state={"station": None}))
    assert opened().load(0.0, 0.0, False).state == {"variables": {"heartbeat": 300}}


@pytest.mark.parametrize(
    ("told", "rows"),
    [
        ({"t-1": {"id": 5}, "t-2": {"id": None}}, {"fold/t-1": {"id": 5}, "fold/t-2": {"id": None}}),
        ({"transactions": {"t-1": {"seq": 3}}, "events": 7}, {"fold/t-1": {"seq": 3}, "fold/events": 7}),
        ({}, {}),
    ],
)
def test_what_was_told_of_transactions_becomes_a_row_for_each(
    told: Any, rows: Any, path: Path, opened: Callable[..., Store]
) -> None:
    shutil.copy(DATABASES / "v1.db", path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM state")
        db.execute("INSERT INTO state VALUES ('fold', 1, ?)", (json.dumps(told),))
        db.commit()
    assert opened().load(0.0, 0.0, False).state == rows
