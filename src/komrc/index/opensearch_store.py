"""The store for more than one machine: three indices of an OpenSearch cluster.

``NAME-passages`` is searched, by the terms of ``Passage.terms`` as they are and with the BM25 of the default
store; ``NAME-documents`` has the texts; ``NAME-state`` has the files and what a writer is doing.

OpenSearch has no transactions. A document's record is written in one step after its passages, and a search
leaves out passages whose document has no record with the same digest. So a document is found as a whole, old
or new, or not at all. A change of many documents is not atomic: after a kill some are stored, the others are
stored by the next run. What a writer is about to do is written first; the next writer cleans up after it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

from komrc.index.opensearch_client import Action, Cluster, delete_action, index_action
from komrc.index.passages import Passage
from komrc.index.store import K1, B, Change, CutDocument, FileState, Hit, StoredDocument, StoreInfo

_MOST_HITS = 10_000  # of one search; OpenSearch's default of index.max_result_window
_MOST_TERMS = 1_000  # of a question; OpenSearch's default bound is 1,024
_PAGE = 1_000  # records that are listed by one request
_LOOKED_UP = 500  # ids in one request

_STORED_ONLY = {"codec": "best_compression"}
PASSAGES: dict[str, Any] = {
    "settings": {
        "index": {
            "codec": "best_compression",
            "similarity": {"default": {"type": "BM25", "k1": K1, "b": B}},
        },
    },
    "mappings": {
        "dynamic": False,
        "_source": {"excludes": ["terms"]},
        "properties": {"terms": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"}},
    },
}
DOCUMENTS: dict[str, Any] = {
    "settings": {"index": _STORED_ONLY},
    "mappings": {
        "dynamic": False,
        "properties": {
            "key": {"type": "keyword"},
            "source": {"type": "keyword"},
            "characters": {"type": "long"},
            "passages": {"type": "integer"},
        },
    },
}
STATE: dict[str, Any] = {
    "mappings": {
        "dynamic": False,
        "properties": {"kind": {"type": "keyword"}, "source": {"type": "keyword"}},
    },
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Version:
    """A document as it was or will be: the ids of its passages follow from it."""

    key: str
    digest: str
    passages: int

    def passage_ids(self) -> Iterator[str]:
        return (f"{self.key}-{self.digest}-{number}" for number in range(self.passages))


class OpenSearchStore:
    """Implements ``WritableStore``. Several may write at the same time if they write different documents.

    Args:
        cluster: the connection; it is not closed.
        check: is called before each write; raises if this process may not write any more.
    """

    def __init__(self, cluster: Cluster, *, check: Callable[[], None] = lambda: None) -> None:
        self._cluster = cluster
        self._check = check
        self._pending = f"pending-{uuid.uuid4().hex}"
        name = cluster.address.name
        self.passages, self.texts, self.state = f"{name}-passages", f"{name}-documents", f"{name}-state"

    # --- reading -------------------------------------------------------------------------------------------

    def search(self, terms: Sequence[str], top_k: int) -> list[Hit]:
        """See ``Store``."""
        chosen = list(dict.fromkeys(terms))[:_MOST_TERMS]
        wanted = min(top_k, _MOST_HITS)
        while chosen:
            found = self._matching(chosen, wanted)
            records = self._records({hit["_source"]["key"] for hit in found}, ("digest",))
            hits = [
                Hit(_passage(hit), float(hit["_score"]))
                for hit in found
                if records.get(hit["_source"]["key"], {}).get("digest") == hit["_source"]["digest"]
            ]
            if len(hits) >= top_k or len(found) < wanted or wanted == _MOST_HITS:
                return hits[:top_k]
            wanted = min(_MOST_HITS, max(wanted + len(found) - len(hits), 2 * top_k))
        return []

    def _matching(self, terms: Sequence[str], size: int) -> list[dict[str, Any]]:
        body = {
            "size": size,
            "track_total_hits": False,
            "query": {"match": {"terms": {"query": " ".join(terms)}}},
        }
        reply = self._cluster.request(
            lambda client: client.search(
                index=self.passages,
                body=body,
                search_type="dfs_query_then_fetch",  # the statistics of all shards: scores as of one
                allow_partial_search_results=False,
            )
        )
        hits: list[dict[str, Any]] = reply["hits"]["hits"]
        return hits

    def document_text(self, document: str) -> str:
        """See ``Store``."""
        key = _key(document)
        return str(self._records([key], ("text",))[key]["text"])

    def info(self) -> StoreInfo:
        """See ``Store``. The number of files is approximate above 40,000."""
        body = {
            "size": 0,
            "track_total_hits": True,
            "aggs": {
                "files": {"cardinality": {"field": "source", "precision_threshold": 40_000}},
                "passages": {"sum": {"field": "passages"}},
                "characters": {"sum": {"field": "characters"}},
            },
        }
        reply = self._cluster.request(lambda client: client.search(index=self.texts, body=body))
        sizes = self._cluster.request(
            lambda client: client.indices.stats(index=[self.passages, self.texts, self.state], metric="store")
        )
        sums = {name: int(value["value"]) for name, value in reply["aggregations"].items()}
        return StoreInfo(
            files=sums["files"],
            documents=int(reply["hits"]["total"]["value"]),
            passages=sums["passages"],
            characters=sums["characters"],
            size=int(sizes["_all"]["total"]["store"]["size_in_bytes"]),
        )

    def documents(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """See ``WritableStore``."""
        keys = {_key(id_): id_ for id_ in ids}
        records = self._records(keys, ("source", "digest"))
        return {keys[key]: StoredDocument(row["source"], row["digest"]) for key, row in records.items()}

    def documents_of(self, source: str) -> Iterator[str]:
        """See ``WritableStore``."""
        query = {"term": {"source": source}}
        return (row["id"] for row in self._listed(self.texts, query, order="key", fields=["id"]))

    def states(self, sources: Sequence[str]) -> dict[str, FileState]:
        """See ``WritableStore``."""
        ids = {_file_id(source): source for source in sources}
        rows = self._found(self.state, ids, ("size", "modified"))
        return {
            ids[id_]: FileState(row["size"], row["modified"]) for id_, row in rows.items() if "size" in row
        }

    def sources(self) -> Iterator[str]:
        """See ``WritableStore``."""
        query = {"term": {"kind": "file"}}
        return (row["source"] for row in self._listed(self.state, query, order="source", fields=["source"]))

    def close(self) -> None:
        """See ``Store``; the connection is closed by who opened it."""

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, change: Change) -> None:
        """See ``WritableStore``."""
        self._check()
        keys = [_key(id_) for id_ in (*change.remove, *(document.id for document in change.add))]
        stored = self._versions(keys)
        new = [_version(document) for document in change.add]
        added = {version.key for version in new}
        self._note([*stored.values(), *new])
        self._cluster.bulk(self.passages, chain.from_iterable(map(_passage_actions, change.add)))
        if not added.isdisjoint(stored):  # the new passages are found from the moment the old ones are not
            self._refresh(self.passages)
        self._check()
        removed = (delete_action(key) for key in keys if key not in added)
        self._cluster.bulk(self.texts, chain(map(_record_action, change.add), removed))
        kept = {id_ for version in new for id_ in version.passage_ids()}
        old = (id_ for version in stored.values() for id_ in version.passage_ids() if id_ not in kept)
        self._cluster.bulk(self.passages, map(delete_action, old))
        self._cluster.bulk(self.state, _file_actions(change))
        self._refresh(self.passages, self.texts, self.state)
        self._cluster.bulk(self.state, [delete_action(self._pending)])

    def recover(self) -> None:
        """Delete the passages of writers that were stopped which belong to no document."""
        self._refresh(self.state)
        for row in list(self._listed(self.state, {"term": {"kind": "pending"}}, order="source", fields=None)):
            versions = [_Version(*values) for values in row["versions"]]
            stored = self._versions([version.key for version in versions])
            orphans = (version for version in versions if stored.get(version.key) != version)
            ids = (id_ for version in orphans for id_ in version.passage_ids())
            self._cluster.bulk(self.passages, map(delete_action, ids))
            self._cluster.bulk(self.state, [delete_action(row["source"])])
        self._refresh(self.passages, self.texts, self.state)

    def _note(self, versions: Sequence[_Version]) -> None:
        """Write down which passages may exist without a record until this change is complete."""
        rows = [[version.key, version.digest, version.passages] for version in versions]
        note = {"kind": "pending", "source": self._pending, "versions": rows}
        self._cluster.bulk(self.state, [index_action(self._pending, note)])

    def _refresh(self, *indices: str) -> None:
        self._cluster.request(lambda client: client.indices.refresh(index=list(indices)))

    # --- records -------------------------------------------------------------------------------------------

    def _versions(self, keys: Iterable[str]) -> dict[str, _Version]:
        records = self._records(keys, ("digest", "passages"))
        return {key: _Version(key, row["digest"], row["passages"]) for key, row in records.items()}

    def _records(self, keys: Iterable[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        return self._found(self.texts, keys, fields)

    def _found(self, index: str, ids: Iterable[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Those of the records that exist, by id; as they are now, also before a refresh."""
        rows: dict[str, dict[str, Any]] = {}
        for group in _groups(ids, _LOOKED_UP):
            rows |= self._found_at_once(index, group, fields)
        return rows

    def _found_at_once(self, index: str, ids: list[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        body = {"ids": ids}
        reply = self._cluster.request(
            lambda client: client.mget(index=index, body=body, _source_includes=list(fields))
        )
        return {item["_id"]: item["_source"] for item in reply["docs"] if item.get("found")}

    def _listed(
        self, index: str, query: dict[str, Any], *, order: str, fields: list[str] | None
    ) -> Iterator[dict[str, Any]]:
        """All records that match, in order of a field that is different for each."""
        body: dict[str, Any] = {"size": _PAGE, "query": query, "sort": [{order: "asc"}]}
        if fields is not None:
            body["_source"] = fields
        while True:
            reply = self._cluster.request(lambda client: client.search(index=index, body=body))
            hits = reply["hits"]["hits"]
            for hit in hits:
                yield hit["_source"]
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]


def _key(document: str) -> str:
    """The id of a document's record: ids of documents may be longer than OpenSearch allows."""
    return hashlib.blake2b(document.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _file_id(source: str) -> str:
    return f"file-{_key(source)}"


def _version(document: CutDocument) -> _Version:
    return _Version(_key(document.id), document.digest, len(document.passages))


def _record_action(document: CutDocument) -> Action:
    version = _version(document)
    return index_action(
        version.key,
        {
            "key": version.key,
            "id": document.id,
            "title": document.title,
            "source": document.source,
            "digest": version.digest,
            "characters": len(document.text),
            "passages": version.passages,
            "text": document.text,
        },
    )


def _passage_actions(document: CutDocument) -> Iterator[Action]:
    version = _version(document)
    for id_, passage in zip(version.passage_ids(), document.passages, strict=True):
        yield index_action(
            id_,
            {
                "key": version.key,
                "digest": version.digest,
                "document": document.id,
                "title": passage.title,
                "heading": passage.heading,
                "text": passage.text,
                "start": passage.start,
                "end": passage.end,
                "page": passage.page,
                "line": passage.line,
                "header": passage.header,
                "terms": " ".join(passage.terms()),
            },
        )


def _file_actions(change: Change) -> Iterator[Action]:
    for source in change.forget:
        yield delete_action(_file_id(source))
    for source, state in change.read.items():
        values = {"kind": "file", "source": source, "size": state.size, "modified": state.modified}
        yield index_action(_file_id(source), values)
    for source in {document.source for document in change.add} - set(change.read):
        yield index_action(_file_id(source), {"kind": "file", "source": source}, create=True)


def _passage(hit: dict[str, Any]) -> Passage:
    row = hit["_source"]
    number = hashlib.blake2b(hit["_id"].encode(), digest_size=8).digest()
    return Passage(
        id=int.from_bytes(number) >> 11,  # 53 bits, which are exact in JavaScript, too
        document=row["document"],
        title=row["title"],
        heading=row["heading"],
        text=row["text"],
        start=row["start"],
        end=row["end"],
        page=row["page"],
        line=row["line"],
        header=row["header"],
    )


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group
