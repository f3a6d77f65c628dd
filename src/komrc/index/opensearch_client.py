"""Requests to an OpenSearch cluster: the URL of an index, the login, repeated requests, errors.

Every request that is sent can be repeated: documents are written under ids that follow from their content.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from komrc.errors import KomrcError, StorageError, UsageError, require

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

USER, PASSWORD = "KOMRC_OPENSEARCH_USER", "KOMRC_OPENSEARCH_PASSWORD"
TOKEN, CA_FILE = "KOMRC_OPENSEARCH_TOKEN", "KOMRC_OPENSEARCH_CA_FILE"
TIMEOUT = 60.0  # seconds for one request
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds between the attempts of a writer
READING_PAUSES = (0.2, 1.0)  # and of a search
LEAST_VERSION = 2

_SCHEMES = {"opensearch": False, "opensearch+https": True}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK_ACTIONS, _CHUNK_BYTES = 1_000, 5_000_000  # of one bulk request; some services allow 10 MB
_TRANSIENT = (429, 502, 503, 504)

T = TypeVar("T")
Action = tuple[str, Mapping[str, Any] | None]  # the two lines of a bulk request


@dataclass(frozen=True, slots=True)
class Address:
    """``opensearch://HOST:PORT/NAME``, or ``opensearch+https://`` for TLS."""

    host: str
    port: int
    https: bool
    name: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises UsageError."""
        shape = "opensearch://HOST:PORT/NAME, or opensearch+https://HOST:PORT/NAME"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError("is no URL of an index", where="the index", fix=f"write {shape}") from None
        if parts.username is not None or parts.password is not None:
            raise UsageError(
                "the URL contains a login, which logs and process lists show",
                where=f"{parts.scheme}://{host}",
                fix=f"leave it out, and set {USER} and {PASSWORD}, or {TOKEN}",
            )
        if parts.scheme not in _SCHEMES or not host or parts.query or parts.fragment:
            raise UsageError("is no URL of an index", where=url, fix=f"write {shape}")
        name = parts.path.strip("/")
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name or 'nothing'} is no name of an index",
                where=url,
                fix=f"write {shape}; NAME has lower-case letters, digits, '-', '_' and '.'",
            )
        https = _SCHEMES[parts.scheme]
        return cls(host, port or (443 if https else 9200), https, name)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = next(scheme for scheme, https in _SCHEMES.items() if https == self.https)
        return f"{scheme}://{host}:{self.port}/{self.name}"


class Cluster:
    """The official client with a login from the environment, repeated requests and KoMRC's errors.

    Raises MissingPackageError without opensearch-py. Nothing is sent yet.
    """

    def __init__(self, address: Address, *, pauses: Sequence[float] | None = None) -> None:
        require("opensearchpy", extra="opensearch", purpose="an index in OpenSearch", where=str(address))
        self.address = address
        self._pauses = READING_PAUSES if pauses is None else pauses
        self._client = _client(address)

    def request(self, call: Callable[[OpenSearch], T]) -> T:
        """The result of a call of the client, which is repeated after a while if the cluster is overloaded or
        can't be reached. Raises UsageError, StorageError."""
        from opensearchpy import ConnectionError as Unreachable
        from opensearchpy import SSLError, TransportError

        for pause in (*self._pauses, None):
            try:
                return call(self._client)
            except TransportError as error:
                transient = isinstance(error, Unreachable) and not isinstance(error, SSLError)
                if pause is None or not (transient or error.status_code in _TRANSIENT):
                    raise _explained(error, self.address) from error
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def check_version(self) -> None:
        """Raises StorageError for another program or a version that is too old."""
        reply = self.request(lambda client: client.info())
        version = reply.get("version", {}) if isinstance(reply, dict) else {}
        number, product = str(version.get("number", "")), version.get("distribution", "another program")
        major = number.partition(".")[0]
        if product != "opensearch" or not major.isdigit() or int(major) < LEAST_VERSION:
            raise StorageError(
                f"is {product} {number}".rstrip(),
                where=str(self.address),
                fix=f"give the address of OpenSearch {LEAST_VERSION} or later",
            )

    def bulk(self, index: str, actions: Iterable[Action]) -> None:
        """Write and delete. Actions that the cluster rejects because it is busy are sent again. Deleting what
        does not exist and creating what exists are no errors. Raises StorageError."""
        for chunk in _chunks(actions):
            left = chunk
            for pause in (*self._pauses, None):
                left = self._bulk_once(index, left)
                if not left:
                    break
                if pause is None:
                    raise StorageError(
                        "is overloaded: it rejected documents many times",
                        where=str(self.address),
                        fix="run the same command again later: it continues; use fewer --actors",
                    )
                time.sleep(pause)

    def _bulk_once(self, index: str, lines: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Send a request; returns the actions to send again."""
        body = "\n".join(line for action in lines for line in action) + "\n"
        reply = self.request(lambda client: client.bulk(body=body, index=index))
        again = []
        for action, item in zip(lines, reply["items"], strict=True):
            ((kind, result),) = item.items()
            status = int(result["status"])
            if status in _TRANSIENT:
                again.append(action)
            elif status >= 300 and (kind, status) not in (("delete", 404), ("create", 409)):
                error = result.get("error") or {}
                raise StorageError(
                    f"did not accept a document ({error.get('type')}: {str(error.get('reason'))[:200]})",
                    where=str(self.address),
                    fix="check the settings of the cluster and free space on its disks",
                )
        return again

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def index_action(id_: str, document: Mapping[str, Any], *, create: bool = False) -> Action:
    """Write a document; ``create``: only if there is none with this id."""
    return _json({"create" if create else "index": {"_id": id_}}), document


def delete_action(id_: str) -> Action:
    """Delete a document."""
    return _json({"delete": {"_id": id_}}), None


def _chunks(actions: Iterable[Action]) -> Iterator[list[tuple[str, ...]]]:
    chunk: list[tuple[str, ...]] = []
    size = 0
    for head, document in actions:
        lines = (head,) if document is None else (head, _json(document))
        length = sum(len(line.encode()) + 1 for line in lines)
        if chunk and (len(chunk) >= _CHUNK_ACTIONS or size + length > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(lines)
        size += length
    if chunk:
        yield chunk


def _json(value: Any) -> str:
    """JSON in which half surrogate pairs are escapes: they are no UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _client(address: Address) -> OpenSearch:
    from opensearchpy import JSONSerializer, OpenSearch

    # The client logs a traceback for each request that fails. Without a handler it would be printed.
    logging.getLogger("opensearch").addHandler(logging.NullHandler())

    class Serializer(JSONSerializer):
        def dumps(self, data: Any) -> Any:
            return data if isinstance(data, str | bytes) else _json(data)

    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    options: dict[str, Any] = {}
    if user:
        options["http_auth"] = (user, password)
    elif token:
        options["headers"] = {"authorization": f"Bearer {token}"}
    if address.https and (ca_file := os.environ.get(CA_FILE)):
        if not os.access(ca_file, os.R_OK):
            raise UsageError("can't be read", where=f"{CA_FILE}={ca_file}", fix="name a file of certificates")
        options["ca_certs"] = ca_file
    return OpenSearch(
        [{"host": address.host, "port": address.port}],
        use_ssl=address.https,
        serializer=Serializer(),
        timeout=TIMEOUT,
        max_retries=0,  # `Cluster.request` repeats, with pauses
        http_compress=True,
        pool_maxsize=16,
        **options,
    )


def _explained(error: Any, address: Address) -> KomrcError:
    """The error of the client in KoMRC's words; the login is in none of them."""
    from opensearchpy import ConnectionError as Unreachable
    from opensearchpy import ConnectionTimeout, SSLError

    status, kind = error.status_code, str(error.error)
    if status == 404:
        return no_index(address)
    if isinstance(error, ConnectionTimeout):
        what, fix = f"gave no reply within {TIMEOUT:.0f} seconds", "check the load of the cluster"
    elif isinstance(error, SSLError):
        what = "its certificate is not trusted, or it has no TLS"
        fix = f"set {CA_FILE} to the file of its authority, or write opensearch:// for plain HTTP"
    elif isinstance(error, Unreachable):
        what = "can't be reached"
        fix = "check host, port and network; a cluster with TLS needs opensearch+https://"
    elif status == 401:
        what, fix = "refused the login", f"set {USER} and {PASSWORD}, or {TOKEN}, to a valid login"
    elif "cluster_block_exception" in kind:
        what, fix = "is read-only; a disk may be full", "free space on its disks"
    elif status == 403:
        what = "refused the request: the login has no permission for it"
        fix = f"allow it to read the indices {address.name}-*, and for building to create and write them"
    elif status in _TRANSIENT:
        what, fix = f"is overloaded or starting ({status})", "run the command again later"
    else:
        reason = error.info.get("error") if isinstance(error.info, dict) else None
        reason = reason.get("reason") if isinstance(reason, dict) else reason
        what, fix = f"failed ({status} {kind}: {str(reason)[:200]})", "see the log of the cluster"
    return StorageError(what, where=str(address), fix=fix)


def no_index(address: Address) -> UsageError:
    """The error for a name without an index."""
    return UsageError(
        "there is no such index", where=str(address), fix=f"komrc index PATH --output {address} builds one"
    )


@contextlib.contextmanager
def connected(address: Address, *, pauses: Sequence[float] | None = None) -> Iterator[Cluster]:
    """A cluster that is closed at the end."""
    with contextlib.closing(Cluster(address, pauses=pauses)) as cluster:
        yield cluster
