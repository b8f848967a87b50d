"""A small Hub on 127.0.0.1: enough of the protocol for the real client to push, list and download.

    with HubServer() as hub:
        hub.account("hf_x", "ada")
        hub.fault("POST", r"/commit/", status=500, times=1)

Contents live in memory. A fault answers instead of the server, or drops the connection before, during or
after the request. Everything asked is kept in `requests`. As a script it serves until it is stopped:

    python tests/hub_server.py --fault "POST /commit/ lost" --fault "PUT /lfs/ 503"
"""

import argparse
import base64
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

SIGNATURE = "5ec4e7" * 8  # lets whoever has it write to the storage, so that it must not be shown
GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
REPO = r"(?P<repo>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


@dataclass(frozen=True)
class Content:
    """One file of a commit: its bytes, and whether it is in large-file storage."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob_id(self) -> str:
        data = self.data
        if self.lfs:
            data = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        """What the listing of a folder says about it."""
        large = {"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 130}} if self.lfs else {}
        return {"type": "file", "path": path, "size": len(self.data), "oid": self.blob_id, **large}

    def sibling(self, path: str) -> dict[str, Any]:
        """What the information about a model says about it."""
        large = (
            {"lfs": {"sha256": self.sha256, "size": len(self.data), "pointerSize": 130}} if self.lfs else {}
        )
        return {"rfilename": path, "size": len(self.data), "blobId": self.blob_id, **large}


@dataclass(frozen=True)
class Commit:
    """The whole tree after it, under a made-up but unique id."""

    oid: str
    summary: str
    files: dict[str, Content]


@dataclass
class Repo:
    """A repository with one branch, main."""

    private: bool = False
    commits: list[Commit] = field(default_factory=list)

    def commit(self, summary: str, files: dict[str, Content]) -> Commit:
        oid = hashlib.sha1(f"{len(self.commits)}{summary}{sorted(files)}".encode()).hexdigest()
        self.commits.append(Commit(oid, summary, files))
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.commits[-1]
        return next((c for c in self.commits if c.oid == revision), None)

    @property
    def files(self) -> dict[str, bytes]:
        return {path: content.data for path, content in self.commits[-1].files.items()}


@dataclass
class Fault:
    """What happens instead of, or around, the answer to some requests."""

    method: str
    path: str
    behaviour: str = "answer"  # or one of BEHAVIOURS
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "made to fail"}'
    times: int = 1
    call: Callable[[], None] | None = None  # just before the connection ends, or the request is carried out

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method == method and re.search(self.path, path) is not None


BEHAVIOURS = {
    "reset": "the connection ends before anything is done",
    "midway": "the connection ends while the request is still being sent",
    "lost": "the request is carried out, then the connection ends",
    "stall": "nothing comes for a minute, then the connection ends",
    "slow": "the answer comes late and in pieces",
    "trickle": "the answer comes a byte at a time, and never ends",
    "trickling head": "the same of its headers",
    "swell": "a few bytes come, which unpack to many",
    "short": "half of the answer comes, then the connection ends",
    "cut": "the answer has lost its second half, and nothing says so",
    "flip": "one bit of the answer is wrong",
    "call": "something else happens before the request is carried out",
}


class RefusedError(Exception):
    """An answer other than 200, with the headers by which the client knows what it means."""

    def __init__(self, status: int, message: str, code: str = "", **body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.body = {"error": message, **body}


class HubServer:
    """The server, its repositories and its accounts; a context manager."""

    def __init__(self, *, port: int = 0, part_size: int | None = None) -> None:
        self.part_size = part_size  # of large files; above it they are sent in parts
        self.parts: dict[tuple[str, int], bytes] = {}
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def account(
        self, token: str, name: str, *, role: str = "write", orgs: dict[str, str] | None = None
    ) -> None:
        """Let `token` in as `name`; `orgs` maps each organisation to the role in it."""
        self.accounts[token] = {
            "type": "user",
            "name": name,
            "orgs": [{"type": "org", "name": org, "roleInOrg": r} for org, r in (orgs or {}).items()],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
        }

    def fault(self, method: str, path: str, behaviour: str = "answer", **options: Any) -> Fault:
        """Spoil the next matching requests; the fault counts down its `times`."""
        self.faults.append(Fault(method, path, behaviour, **options))
        return self.faults[-1]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let every request wait meanwhile."""
        with self.lock:
            yield

    def add_repo(self, name: str, files: dict[str, bytes] | None = None, *, private: bool = False) -> Repo:
        """Make a repository the way the site does: a first commit with .gitattributes."""
        repo = self.repos[name] = Repo(private)
        repo.commit("initial commit", {".gitattributes": Content(GITATTRIBUTES)})
        if files:
            more = {path: Content(data, lfs=_is_large(path, data)) for path, data in files.items()}
            repo.commit("by hand", repo.commits[-1].files | more)
        return repo

    def asked(self, method: str, path: str) -> int:
        """How many requests of that kind came in."""
        return sum(m == method and re.search(path, p) is not None for m, p in self.requests)

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append((method, path))
            fault = next((f for f in self.faults if f.matches(method, path)), None)
            if fault:
                fault.times -= 1
            return fault


def _is_large(path: str, sample: bytes) -> bool:
    return path.endswith((".safetensors", ".parquet")) or b"\0" in sample


class _Handler(BaseHTTPRequestHandler):
    """One connection. Routes are tried in order; each gets the parts of its path by name."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer comes 40 ms late
    hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the tests look at `requests`."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        fault = self.hub.take_fault(self.command, url.path) or Fault("", "", "", call=None)
        if fault.behaviour == "midway":
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            return self._reset(fault)
        self.body = self._read_body()
        if fault.behaviour == "answer":
            return self._send(fault.status, fault.body, fault.headers)
        if fault.behaviour == "stall":
            self.hub.closing.wait(60)
        if fault.behaviour in ("reset", "stall"):
            return self._reset(fault)
        if fault.behaviour == "call" and fault.call:
            fault.call()
        status, body, headers = self._answer(url.path)
        return self._reset(fault) if fault.behaviour == "lost" else self._spoil(fault, status, body, headers)

    def _spoil(self, fault: Fault, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send an answer, with what the fault does to it on its way."""
        half = len(body) // 2
        if fault.behaviour == "slow":
            self._send(status, body, headers, pause=0.02)
        elif fault.behaviour == "short":
            self._send(status, body[:half], headers | {"Content-Length": str(len(body))})
            self._reset(fault)
        elif fault.behaviour == "flip":
            self._send(status, body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :], headers)
        elif fault.behaviour == "swell":
            packed = gzip.compress(body + b" " * 2_000_000)
            self._send(status, packed, headers | {"Content-Encoding": "gzip"})
        elif fault.behaviour.startswith("trickl"):
            head = f"HTTP/1.1 {status} OK\r\nContent-Length: 1000000\r\n\r\n"
            self._trickle(head if fault.behaviour == "trickle" else "HTTP/1.1 200 OK\r\nX-More: ")
        else:
            self._send(status, body[:half] if fault.behaviour == "cut" else body, headers)

    def _trickle(self, head: str) -> None:
        self.close_connection = True
        with suppress(ConnectionError):
            self.wfile.write(head.encode())
            while not self.hub.closing.wait(0.01):
                self.wfile.write(b" ")

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reset(self, fault: Fault) -> None:
        if fault.call:
            fault.call()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        if self.connection.fileno() != -1:
            super().finish()
        else:
            self.rfile.close()

    def _send(self, status: int, body: bytes, headers: dict[str, str], pause: float = 0.0) -> None:
        time.sleep(pause)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # whoever asked has gone
                for part in (body[: len(body) // 2], body[len(body) // 2 :]):
                    self.wfile.write(part)
                    time.sleep(pause)

    def _answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        for method, pattern, route in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                try:
                    with self.hub.lock:
                        answer = route(self, **{k: unquote(v or "") for k, v in found.groupdict().items()})
                except RefusedError as no:
                    return no.status, json.dumps(no.body).encode(), no.headers
                return answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode(), {})
        return 404, b'{"error": "no such route"}', {}

    @property
    def who(self) -> dict[str, Any] | None:
        return self.hub.accounts.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _may_write(self, namespace: str) -> None:
        if self.who is None:
            raise RefusedError(401, "Invalid username or password.")
        writable = {self.who["name"], *(o["name"] for o in self.who["orgs"] if o["roleInOrg"] != "read")}
        if namespace not in writable or self.who["auth"]["accessToken"]["role"] == "read":
            raise RefusedError(403, f"You don't have the rights to write under the namespace {namespace}")

    def _repo(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.who is None):
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return repo

    def _commit(self, name: str, revision: str) -> Commit:
        commit = self._repo(name).at(revision)
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def whoami(self) -> Any:
        if self.who is None:
            raise RefusedError(401, "Invalid username or password.")
        return self.who

    def create(self) -> Any:
        asked = json.loads(self.body)
        namespace = asked.get("organization") or (self.who or {}).get("name", "")
        self._may_write(namespace)
        name = f"{namespace}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repos:
            raise RefusedError(409, "You already created this model repo", url=url)
        self.hub.add_repo(name, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        return {"url": url, "name": name}

    def validate_yaml(self) -> Any:
        content = json.loads(self.body)["content"]
        if not content.startswith("---\n"):
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        return {"errors": [], "warnings": []}

    def preupload(self, repo: str, revision: str) -> Any:
        self._may_write(repo.split("/")[0])
        files = self._commit(repo, revision).files
        answers = []
        for asked in json.loads(self.body)["files"]:
            path, sample = asked["path"], base64.b64decode(asked["sample"])
            large, old = _is_large(path, sample), files.get(path)
            oid = {"oid": old.sha256 if old.lfs else old.blob_id} if old else {}
            answers.append(
                {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **oid}
            )
        return {"files": answers}

    def lfs_batch(self, repo: str) -> Any:
        self._may_write(repo.split("/")[0])
        objects = []
        for asked in json.loads(self.body)["objects"]:
            actions = {
                "upload": self._upload_action(**asked),
                "verify": {"href": f"{self.hub.url}/lfs-verify/{asked['oid']}"},
            }
            objects.append(asked if asked["oid"] in self.hub.blobs else {**asked, "actions": actions})
        return {"transfer": "basic", "objects": objects}

    def _upload_action(self, oid: str, size: int) -> dict[str, Any]:
        """Where to send a large file: in one request, or in parts and then a word that all are there."""
        part, url = self.hub.part_size, self.hub.url
        if part is None or size <= part:
            return {"href": f"{url}/lfs/{oid}?X-Amz-Signature={SIGNATURE}", "header": {}}
        header = {str(i + 1): f"{url}/lfs-part/{oid}/{i + 1}" for i in range(-(-size // part))}
        return {"href": f"{url}/lfs-complete/{oid}", "header": {"chunk_size": str(part), **header}}

    def lfs_part(self, oid: str, number: str) -> Any:
        self.hub.parts[oid, int(number)] = self.body
        return 200, b"", {"ETag": hashlib.md5(self.body).hexdigest()}

    def lfs_complete(self, oid: str) -> Any:
        numbers = [part["partNumber"] for part in json.loads(self.body)["parts"]]
        self.body = b"".join(self.hub.parts.get((oid, number), b"") for number in numbers)
        return self.lfs_put(oid)

    def lfs_put(self, oid: str) -> Any:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusedError(400, "sha256 differs")
        self.hub.blobs[oid] = self.body
        return {}

    def lfs_verify(self, oid: str) -> Any:
        if oid not in self.hub.blobs:
            raise RefusedError(404, "no such object")
        return {}

    def commit(self, repo: str, revision: str) -> Any:
        self._may_write(repo.split("/")[0])
        head = self._commit(repo, revision)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", head.oid) != head.oid:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for line in lines[1:]:
            self._apply(files, line["key"], line["value"])
        commit = self.hub.repos[repo].commit(header["summary"], files)
        return {"commitUrl": f"{self.hub.url}/{repo}/commit/{commit.oid}", "commitOid": commit.oid}

    def _apply(self, files: dict[str, Content], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = Content(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.hub.blobs:
                raise RefusedError(400, f"LFS object {value['oid']} was not uploaded")
            files[value["path"]] = Content(self.hub.blobs[value["oid"]], lfs=True)
        elif key == "deletedFile":
            del files[value["path"]]
        else:
            raise RefusedError(400, f"{key} is not known")

    def info(self, repo: str, revision: str = "main") -> Any:
        commit = self._commit(repo, revision)
        return {
            "id": repo,
            "sha": commit.oid,
            "private": self.hub.repos[repo].private,
            "tags": [],
            "siblings": [content.sibling(path) for path, content in sorted(commit.files.items())],
        }

    def tree(self, repo: str, revision: str, folder: str) -> Any:
        files = self._commit(repo, revision).files
        inside = {path: c for path, c in files.items() if path.startswith(f"{folder}/" if folder else "")}
        if folder and not inside:
            raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")
        depth = None if self.query.get("recursive") == ["true"] else folder.count("/") + bool(folder)
        return [
            c.entry(path) for path, c in sorted(inside.items()) if depth is None or path.count("/") == depth
        ]

    def paths_info(self, repo: str, revision: str) -> Any:
        if self.headers["Content-Type"].startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode())["paths"]
        files = self._commit(repo, revision).files
        return [files[path].entry(path) for path in paths if path in files]

    def refs(self, repo: str) -> Any:
        head = self._commit(repo, "main").oid
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
        return {"branches": [branch], "converts": [], "tags": []}

    def resolve(self, repo: str, revision: str, file: str) -> Any:
        commit = self._commit(repo, revision)
        content = commit.files.get(file)
        if content is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return 404, b"Entry not found", headers | {"X-Repo-Commit": commit.oid}
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes", "ETag": f'"{content.blob_id}"'}
        if content.lfs:
            headers |= {"X-Linked-Etag": f'"{content.sha256}"', "X-Linked-Size": str(len(content.data))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, content.data, headers
        start, stop = int(asked[1]), min(int(asked[2] or len(content.data)) + 1, len(content.data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content.data)}"
        return 206, content.data[start:stop], headers


ROUTES: list[tuple[tuple[str, ...], str, Callable[..., Any]]] = [
    (("GET",), "/api/whoami-v2", _Handler.whoami),
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate_yaml),
    (("POST",), f"/api/models/{REPO}/preupload/{REVISION}", _Handler.preupload),
    (("POST",), f"/{REPO}\\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    (("PUT",), "/lfs-part/(?P<oid>[0-9a-f]{64})/(?P<number>[0-9]+)", _Handler.lfs_part),
    (("POST",), "/lfs-complete/(?P<oid>[0-9a-f]{64})", _Handler.lfs_complete),
    (("POST",), "/lfs-verify/(?P<oid>[0-9a-f]{64})", _Handler.lfs_verify),
    (("POST",), f"/api/models/{REPO}/commit/{REVISION}", _Handler.commit),
    (("GET",), f"/api/models/{REPO}", _Handler.info),
    (("GET",), f"/api/models/{REPO}/revision/{REVISION}", _Handler.info),
    (("GET",), f"/api/models/{REPO}/tree/{REVISION}(?:/(?P<folder>.+))?", _Handler.tree),
    (("POST",), f"/api/models/{REPO}/paths-info/{REVISION}", _Handler.paths_info),
    (("GET",), f"/api/models/{REPO}/refs", _Handler.refs),
    (("GET", "HEAD"), f"/{REPO}/resolve/{REVISION}/(?P<file>.+)", _Handler.resolve),
]


def main() -> None:
    """Serve until stopped, and say how to point the client here."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="ada")
    parser.add_argument("--token", default="hf_" + "Ab3" * 12)
    parser.add_argument("--part_size", type=int, help="bytes above which large files go in parts")
    parser.add_argument(
        "--fault", action="append", default=[], metavar='"METHOD PATH BEHAVIOUR|STATUS [TIMES]"'
    )
    options = parser.parse_args()
    with HubServer(port=options.port, part_size=options.part_size) as hub:
        hub.account(options.token, options.user)
        for words in options.fault:
            method, path, what, times = [*words.split(), "1"][:4]
            status = {"status": int(what)} if what.isdigit() else {"behaviour": what}
            hub.fault(method, path, times=int(times), **status)
        print(f"export HF_ENDPOINT={hub.url} HF_TOKEN={options.token} HF_HUB_DISABLE_XET=1", flush=True)
        hub.thread.join()


if __name__ == "__main__":
    main()
