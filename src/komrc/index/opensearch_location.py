"""An index in OpenSearch: its description, and the lock of its one writer, in ``NAME-state``."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from komrc.errors import KomrcError, StorageError
from komrc.index.bigrams import TERMS_VERSION
from komrc.index.folder import Sources
from komrc.index.opensearch_client import PAUSES, Address, Cluster, connected, index_action, no_index
from komrc.index.opensearch_store import DOCUMENTS, PASSAGES, STATE, OpenSearchStore
from komrc.index.store import Store, WritableStore

FORMAT = 1  # of the three indices; raise it when mappings or records change
RENEWED = 8.0  # seconds between two renewals of the lock
EXPIRED = 30.0  # seconds without a renewal after which its owner must have ended

_DESCRIPTION = "index"  # ids in NAME-state
_WRITER = "writer"


class OpenSearchLocation:
    """Implements ``Location``.

    Args:
        url: ``opensearch://HOST:PORT/NAME`` or ``opensearch+https://…``.

    Raises UsageError for another URL.
    """

    folder: Path | None = None

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        self.url: str | None = url

    def create(self) -> None:
        """See ``Location``."""
        with connected(self.address) as cluster:  # a wrong address is reported soon
            cluster.check_version()
        with connected(self.address, pauses=PAUSES) as cluster:
            name = self.address.name
            bodies = {f"{name}-passages": PASSAGES, f"{name}-documents": DOCUMENTS, f"{name}-state": STATE}
            for index, body in bodies.items():
                _create(cluster, index, body)
            # Last: an index without it is not complete.
            cluster.bulk(f"{name}-state", [index_action(_DESCRIPTION, _described(Sources()), create=True)])

    def sources(self) -> Sources:
        """See ``Location``."""
        with connected(self.address) as cluster:
            return _sources(cluster)

    def write_sources(self, sources: Sources) -> None:
        """See ``Location``."""
        with connected(self.address, pauses=PAUSES) as cluster:
            state = f"{self.address.name}-state"
            cluster.bulk(state, [index_action(_DESCRIPTION, _described(sources))])

    def open(self) -> Store:
        """See ``Location``."""
        cluster = Cluster(self.address)
        try:
            cluster.check_version()
            _sources(cluster)
        except BaseException:
            cluster.close()
            raise
        return _OpenedStore(cluster)

    @contextlib.contextmanager
    def writing(self) -> Iterator[WritableStore]:
        """See ``Location``."""
        with connected(self.address, pauses=PAUSES) as cluster, _WriterLock(cluster) as lock:
            store = OpenSearchStore(cluster, check=lock.check)
            store.recover()
            yield store

    @contextlib.contextmanager
    def writing_beside(self) -> Iterator[WritableStore]:
        """A further store that writes while the caller's ``writing`` has the lock, in any process."""
        with connected(self.address, pauses=PAUSES) as cluster:
            yield OpenSearchStore(cluster)


class _OpenedStore(OpenSearchStore):
    """A store that closes its connection."""

    def close(self) -> None:
        self._cluster.close()


class _WriterLock:
    """A record that its owner renews. Another process watches it for ``EXPIRED`` seconds before it takes it
    over, so no clocks are compared.

    Raises StorageError if another process renews it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._index = f"{cluster.address.name}-state"
        self._owner = uuid.uuid4().hex
        self._lost: KomrcError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="komrc-writer-lock")
        self._renewed = time.monotonic()

    def __enter__(self) -> _WriterLock:
        self._last = self._acquired()
        self._renewed = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._lost is None:
            with contextlib.suppress(KomrcError):
                self._cluster.request(
                    lambda client: client.delete(
                        index=self._index, id=_WRITER, ignore=[404, 409], **_expected(self._last)
                    )
                )

    def check(self) -> None:
        """Raises StorageError if another process may have taken the lock."""
        if self._lost is not None:
            raise self._lost
        if time.monotonic() - self._renewed > EXPIRED:
            raise StorageError(
                "the lock of the index could not be renewed in time",
                where=str(self._cluster.address),
                fix="run the same command again: it continues",
            )

    def _acquired(self) -> dict[str, Any]:
        watched: dict[str, Any] | None = None
        since = time.monotonic()
        while True:
            current = self._current()
            if current is None:
                written = self._written(op_type="create")
            elif current["_source"]["owner"] == self._owner:  # the reply to the first attempt was lost
                return current
            elif watched is None:
                watched, written = current, None
            elif _expected(watched) != _expected(current):
                raise self._busy()
            elif time.monotonic() - since > EXPIRED:
                written = self._written(**_expected(current))
            else:
                written = None
            if written is not None:
                return written
            time.sleep(RENEWED / 8)

    def _current(self) -> dict[str, Any] | None:
        reply: dict[str, Any] = self._cluster.request(
            lambda client: client.get(index=self._index, id=_WRITER, ignore=[404])
        )
        if reply.get("status") == 404:  # of the index; that of a record has no status
            raise no_index(self._cluster.address)
        return reply if reply.get("found") else None

    def _written(self, **condition: Any) -> dict[str, Any] | None:
        """The reply; None if another process was faster."""
        body = {"owner": self._owner}
        reply: dict[str, Any] = self._cluster.request(
            lambda client: client.index(index=self._index, id=_WRITER, body=body, ignore=[409], **condition)
        )
        return None if reply.get("status") == 409 else reply

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED):
            try:
                began = time.monotonic()
                written = self._written(**_expected(self._last))
                if written is None:
                    current = self._current()
                    if current is None or current["_source"]["owner"] != self._owner:
                        raise self._busy()
                    written = current
                self._last, self._renewed = written, began
            except KomrcError as error:
                self._lost = error
                return

    def _busy(self) -> StorageError:
        return StorageError(
            "another process is writing to this index",
            where=str(self._cluster.address),
            fix="wait until it has ended",
        )


def _expected(record: dict[str, Any]) -> dict[str, int]:
    return {"if_seq_no": record["_seq_no"], "if_primary_term": record["_primary_term"]}


def _create(cluster: Cluster, index: str, body: dict[str, Any]) -> None:
    if not cluster.request(lambda client: client.indices.exists(index=index)):
        # 400: another process, or the first attempt, was faster.
        reply = cluster.request(lambda client: client.indices.create(index=index, body=body, ignore=[400]))
        kind = reply.get("error", {}).get("type", "") if isinstance(reply, dict) else ""
        if kind and kind != "resource_already_exists_exception":
            raise StorageError(
                f"could not create {index} ({kind}: {str(reply['error'].get('reason'))[:200]})",
                where=str(cluster.address),
                fix="check the name and the index templates of the cluster",
            )


def _described(sources: Sources) -> dict[str, Any]:
    return {"format": FORMAT, "terms": TERMS_VERSION, **asdict(sources)}


def _sources(cluster: Cluster) -> Sources:
    """Raises UsageError if there is no index, StorageError for one of another format."""
    state = f"{cluster.address.name}-state"
    reply = cluster.request(lambda client: client.get(index=state, id=_DESCRIPTION, ignore=[404]))
    if not reply.get("found"):
        raise no_index(cluster.address)
    values = reply["_source"]
    version = values.get("format"), values.get("terms")
    if version != (FORMAT, TERMS_VERSION):
        raise StorageError(
            f"was written by another KoMRC (format {version[0]}.{version[1]}, this one reads "
            f"{FORMAT}.{TERMS_VERSION})",
            where=str(cluster.address),
            fix="use the same version, or index the documents again under another name",
        )
    return Sources(tuple(values["paths"]), tuple(values["left_out"]))
