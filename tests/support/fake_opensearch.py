"""The part of OpenSearch's REST API that KoMRC uses, on 127.0.0.1, for tests with the real client.

    with FakeOpenSearch() as cluster:
        Index.build([folder], f"{cluster.url}/documents")

Documents are found by searches after a refresh only, and by their ids at once, as in OpenSearch. Scores are
Lucene's BM25: idf of the whole index, lengths as Lucene stores them (4 significant bits). What a mapping or
request contains that is not implemented here is an error (400), so that no test passes by accident.

``failures`` are used up from the front, one a request: a status, ``"cut"`` (the connection ends without a
reply, the request was not carried out), ``"lost"`` (it was carried out) or None (no failure). A function in
``reject`` decides for each line of a bulk request whether it is rejected with 429. ``stop_after``: the number
of requests that are still answered. ``requests`` lists method and path.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KNOWN_FIELDS = {"text", "keyword", "long", "integer"}


class ApiError(Exception):
    def __init__(self, status: int, kind: str, reason: str = "") -> None:
        self.status, self.kind, self.reason = status, kind, reason


class FakeIndex:
    """One index: records by id, and what a refresh has made visible to searches."""

    def __init__(self, body: dict[str, Any]) -> None:
        mappings = body.get("mappings", {})
        index = body.get("settings", {}).get("index", {})
        similarity = index.pop("similarity", {}).get("default", {"type": "BM25", "k1": 1.2, "b": 0.75})
        require(not set(index) - {"codec"}, f"settings {sorted(index)}")
        require(set(mappings) <= {"dynamic", "_source", "properties"}, f"mappings {sorted(mappings)}")
        require(mappings.get("dynamic") is False, "dynamic mappings")
        require(similarity.pop("type") == "BM25", "another similarity")
        self.k1, self.b = similarity["k1"], similarity["b"]
        self.excluded = mappings.get("_source", {}).get("excludes", [])
        self.fields = mappings["properties"]
        for field in self.fields.values():
            require(field["type"] in KNOWN_FIELDS, f"type {field['type']}")
            if field["type"] == "text":
                require(field.get("analyzer") == "whitespace", "another analyzer")
        self.records: dict[str, dict[str, Any]] = {}  # id -> _source, _seq_no and the indexed text
        self.visible: dict[str, dict[str, Any]] = {}
        self.sequence = 0

    def put(self, id_: str, source: dict[str, Any]) -> dict[str, Any]:
        require(len(id_.encode()) <= 512, "an id of more than 512 bytes")
        kept = {name: value for name, value in source.items() if name not in self.excluded}
        record = {"_source": kept, "_seq_no": self.sequence, "_primary_term": 1, "indexed": source}
        self.sequence += 1
        self.records[id_] = record
        return record

    def refresh(self) -> None:
        self.visible = dict(self.records)

    def matching(self, query: dict[str, Any]) -> dict[str, float]:
        """The scores of the visible records that match, by id."""
        ((kind, value),) = query.items()
        ((field, wanted),) = value.items()
        if kind == "term":
            require(self.fields[field]["type"] == "keyword", "term of another type")
            return {id_: 1.0 for id_, row in self.visible.items() if row["indexed"].get(field) == wanted}
        require(kind == "match" and set(wanted) == {"query"}, f"query {kind}")
        terms = wanted["query"].split()
        if len(terms) > 1024:
            raise ApiError(400, "search_phase_execution_exception", "too_many_clauses")
        return self._bm25(field, terms)

    def _bm25(self, field: str, terms: list[str]) -> dict[str, float]:
        texts = {id_: Counter(row["indexed"][field].split()) for id_, row in self.visible.items()}
        mean = sum(text.total() for text in texts.values()) / max(1, len(texts))
        scores: Counter[str] = Counter()
        for term in terms:
            having = {id_: text[term] for id_, text in texts.items() if text[term]}
            idf = math.log1p((len(texts) - len(having) + 0.5) / (len(having) + 0.5))
            for id_, count in having.items():
                length = stored_length(texts[id_].total())
                norm = self.k1 * (1 - self.b + self.b * length / mean)
                scores[id_] += idf * count * (self.k1 + 1) / (count + norm)
        return dict(scores)


def stored_length(length: int) -> int:
    """A length after Lucene's SmallFloat.intToByte4 and back: exact below 40, then 4 significant bits."""
    free = 24  # values that intToByte4 keeps exactly, beside those of a float with 4 bits
    if length < free:
        return length
    rest = length - free
    shift = max(0, rest.bit_length() - 4)
    return free + (rest >> shift << shift)


def require(condition: bool, what: str) -> None:
    if not condition:
        raise ApiError(400, "illegal_argument_exception", f"not in the fake: {what}")


class FakeOpenSearch:
    """Serves while the ``with`` block runs.

    Args:
        user: "name:password" or "Bearer token" that every request needs.
    """

    def __init__(self, *, user: str | None = None, version: str = "2.19.1") -> None:
        self.user = user
        self.version = {"number": version, "distribution": "opensearch"}
        self.indices: dict[str, FakeIndex] = {}
        self.failures: list[int | str | None] = []
        self.reject: Callable[[str], bool] = lambda _line: False
        self.read_only = False
        self.stop_after: int | None = None  # requests that are still answered; then every connection ends
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"opensearch://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeOpenSearch:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ids(self, index: str) -> set[str]:
        return set(self.indices[index].records)

    def next_failure(self) -> int | str | None:
        with self.lock:
            if self.stop_after is not None:
                self.stop_after -= 1
                return "cut" if self.stop_after < 0 else None
            return self.failures.pop(0) if self.failures else None

    # --- requests ------------------------------------------------------------------------------------------

    def reply(
        self, method: str, path: str, params: dict[str, str], body: bytes, login: str
    ) -> tuple[int, Any]:
        with self.lock:
            self.requests.append((method, path))
            try:
                if self.user is not None and login != self.user:
                    raise ApiError(401, "security_exception", "Unauthorized")
                return 200, self.carry_out(method, [*map(unquote, path.split("/")[1:])], params, body)
            except NotFound as error:
                return error.status, error.body
            except ApiError as error:
                details = {"type": error.kind, "reason": error.reason}
                return error.status, {"error": details, "status": error.status}

    def carry_out(self, method: str, parts: list[str], params: dict[str, str], body: bytes) -> Any:
        if parts == [""]:
            return {"version": self.version}
        names, action = parts[0].split(","), parts[1] if len(parts) > 1 else ""
        writes = action in ("_bulk", "_doc") and method in ("PUT", "POST", "DELETE")
        if self.read_only and (writes or (not action and method == "PUT")):
            raise ApiError(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/12/...]")
        if not action:
            return self.whole_index(method, names[0], body)
        for name in names:
            if name not in self.indices:
                raise ApiError(404, "index_not_found_exception", f"no such index [{name}]")
        index = self.indices[names[0]]
        if action == "_bulk":
            return self.bulk(index, body)
        if action == "_doc":
            return document(index, method, parts[2], params, body)
        value = json.loads(body or b"{}")
        if action == "_refresh":
            for name in names:
                self.indices[name].refresh()
            return {"_shards": {"failed": 0}}
        if action == "_mget":
            fields = params["_source_includes"].split(",")
            return {"docs": [shown(index, id_, fields) for id_ in value["ids"]]}
        if action == "_stats":
            size = sum(len(json.dumps(row)) for name in names for row in self.indices[name].records.values())
            return {"_all": {"total": {"store": {"size_in_bytes": size}}}}
        require(action == "_search", action)
        return search(index, value, params)

    def whole_index(self, method: str, name: str, body: bytes) -> Any:
        if method == "PUT":
            if name in self.indices:
                raise ApiError(400, "resource_already_exists_exception", f"index [{name}] already exists")
            self.indices[name] = FakeIndex(json.loads(body))
        elif name not in self.indices:
            raise ApiError(404, "index_not_found_exception", f"no such index [{name}]")
        elif method == "DELETE":
            del self.indices[name]
        return {"acknowledged": True}

    def bulk(self, index: FakeIndex, body: bytes) -> Any:
        items = []
        lines = iter(body.decode("utf-8").splitlines())  # strict: OpenSearch refuses what is no UTF-8
        for line in lines:
            ((kind, head),) = json.loads(line).items()
            source = None if kind == "delete" else json.loads(next(lines))
            id_, status = head["_id"], 200
            if self.reject(line):
                status = 429
            elif kind == "delete":
                status = 200 if index.records.pop(id_, None) else 404
            elif kind == "create" and id_ in index.records:
                status = 409
            else:
                status = 200 if id_ in index.records else 201
                index.put(id_, source)
            items.append({kind: {"_id": id_, "status": status}})
        return {"errors": any(status_of(item) >= 300 for item in items), "items": items}

    # --- HTTP ----------------------------------------------------------------------------------------------

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                failure = cluster.next_failure()
                parts = urlsplit(self.path)
                params = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if failure == "cut":
                    self.close_connection = True
                    return
                if isinstance(failure, int):
                    self.send(failure, {"error": {"type": "injected", "reason": ""}, "status": failure})
                    return
                status, value = cluster.reply(self.command, parts.path, params, body, self.login())
                if failure == "lost":
                    self.close_connection = True
                    return
                self.send(status, value)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

            def login(self) -> str:
                value = self.headers.get("authorization") or ""
                if value.startswith("Basic "):
                    return base64.b64decode(value[6:]).decode()
                return value

            def send(self, status: int, value: Any) -> None:
                data = json.dumps(value, ensure_ascii=True).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json; charset=UTF-8")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        return Handler


def status_of(item: dict[str, Any]) -> int:
    ((_, result),) = item.items()
    return int(result["status"])


def shown(index: FakeIndex, id_: str, fields: list[str] | None = None) -> dict[str, Any]:
    record = index.records.get(id_)
    if record is None:
        return {"_id": id_, "found": False}
    source = record["_source"]
    if fields is not None:
        source = {name: value for name, value in source.items() if name in fields}
    return {"_id": id_, "found": True, **record, "_source": source, "indexed": None}


def document(index: FakeIndex, method: str, id_: str, params: dict[str, str], body: bytes) -> Any:
    if method == "GET":
        reply = shown(index, id_)
        if not reply["found"]:
            raise NotFound(reply)
        return reply
    current = index.records.get(id_)
    if "if_seq_no" in params and (current is None or str(current["_seq_no"]) != params["if_seq_no"]):
        raise ApiError(409, "version_conflict_engine_exception")
    if params.get("op_type") == "create" and current is not None:
        raise ApiError(409, "version_conflict_engine_exception")
    if method == "DELETE":
        index.records.pop(id_, None)
        return {"result": "deleted"}
    record = index.put(id_, json.loads(body))
    return {"_id": id_, "_seq_no": record["_seq_no"], "_primary_term": 1, "result": "updated"}


class NotFound(ApiError):
    """A record that does not exist: status 404, and a body without an error, as OpenSearch sends it."""

    def __init__(self, body: Any) -> None:
        super().__init__(404, "")
        self.body = body


def search(index: FakeIndex, body: dict[str, Any], params: dict[str, str]) -> Any:
    known = {"size", "track_total_hits", "query", "sort", "_source", "search_after", "aggs"}
    require(set(body) <= known, f"search {sorted(body)}")
    require(set(params) <= {"search_type", "allow_partial_search_results"}, f"parameters {sorted(params)}")
    scores = index.matching(body["query"]) if "query" in body else dict.fromkeys(index.visible, 1.0)
    reply: dict[str, Any] = {"hits": {"total": {"value": len(scores), "relation": "eq"}}}
    if "aggs" in body:
        rows = [index.visible[id_]["indexed"] for id_ in scores]
        reply["aggregations"] = {name: aggregated(rows, value) for name, value in body["aggs"].items()}
    hits = [{"_id": id_, "_score": score} for id_, score in scores.items()]
    if "sort" in body:
        (((field, order),),) = (item.items() for item in body["sort"])
        require(order == "asc" and index.fields[field]["type"] == "keyword", "another order")
        for hit in hits:
            hit["sort"] = [index.visible[hit["_id"]]["indexed"][field]]
        hits.sort(key=lambda hit: hit["sort"])
        hits = [hit for hit in hits if hit["sort"] > body.get("search_after", [""])]
    else:
        hits.sort(key=lambda hit: -hit["_score"])
    if body["size"] > 10_000:
        raise ApiError(400, "illegal_argument_exception", "Result window is too large")
    hits = hits[: body["size"]]
    for hit in hits:
        source = index.visible[hit["_id"]]["_source"]
        hit["_source"] = {name: source[name] for name in body["_source"]} if "_source" in body else source
    reply["hits"]["hits"] = hits
    return reply


def aggregated(rows: list[dict[str, Any]], aggregation: dict[str, Any]) -> dict[str, float]:
    ((kind, options),) = aggregation.items()
    values = [row[options["field"]] for row in rows]
    require(kind in ("sum", "cardinality"), kind)
    return {"value": float(sum(values)) if kind == "sum" else len(set(values))}
