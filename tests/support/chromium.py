"""A page in headless Chromium, driven over its debugging pipe, since MLflow's pages need real time."""

import base64
import json
import os
import shutil
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
OPTIONS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1600,1800", "--remote-debugging-pipe"),
    "--disable-features=IsolateSandboxedIframes",  # MLflow shows HTML in such a frame; else its text lies elsewhere
]
LOADED_IMAGES = "[...document.images].filter(image => image.complete && image.naturalWidth > 200).length"


class Page:
    def __init__(self, profile):
        """Chromium reads commands from its descriptor 3 and answers on 4."""
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        shell = [
            "bash",
            "-c",
            f'exec "$@" 3<&{read} 4>&{write}',
            "bash",
            CHROMIUM,
            *OPTIONS,
            f"--user-data-dir={profile}",
        ]
        self._process = subprocess.Popen(shell, pass_fds=(read, write), stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self._buffer, self._count, self._session = b"", 0, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def close(self):
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, address):
        self._call("Page.navigate", url="about:blank")  # the pages of one server differ after the # only
        self._call("Page.navigate", url=address)

    def text_with(self, *wanted, in_order=(), seconds=90):
        """The visible text, frames included, as soon as all of `wanted` is in it, `in_order` one after the other."""
        deadline = time.monotonic() + seconds
        while True:
            found = "\n".join(self._in_frames("document.body.innerText"))
            missing = [text for text in (*wanted, *in_order) if text not in found]
            places = [found.find(text) for text in in_order]
            if not missing and places == sorted(places):
                return found
            assert time.monotonic() < deadline, f"no {missing or f'order of {in_order}'} in {found}"
            time.sleep(0.5)

    def images(self, count, seconds=60):
        """Waits until so many pictures are drawn, icons apart."""
        deadline = time.monotonic() + seconds
        while (found := sum(self._in_frames(LOADED_IMAGES))) < count:
            assert time.monotonic() < deadline, f"{found} pictures instead of {count}"
            time.sleep(0.5)

    def click(self, text):
        """The innermost element with this text."""
        elements = "[...document.querySelectorAll('body *')].filter(item => item.innerText?.trim() === text)"
        self._in_frames(f"{{ const text = {json.dumps(text)}; {elements}.at(-1)?.click() }}")

    def pdf(self):
        """As it would be printed."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _in_frames(self, expression):
        """What it is in each frame that has answered."""
        trees, values = [self._call("Page.getFrameTree")["frameTree"]], []
        while trees:
            tree = trees.pop(0)
            trees += tree.get("childFrames", [])
            world = self._call("Page.createIsolatedWorld", frameId=tree["frame"]["id"])
            answer = self._call("Runtime.evaluate", expression=expression, contextId=world.get("executionContextId"))
            value = answer.get("result", {}).get("value")
            values += [] if value is None else [value]
        return values

    def _call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                self._buffer += os.read(self._in, 65536)
            answer, _, self._buffer = self._buffer.partition(b"\0")
            if json.loads(answer).get("id") == self._count:
                return json.loads(answer).get("result", {})


@pytest.fixture
def page(tmp_path):
    opened = Page(tmp_path / "profile")
    yield opened
    opened.close()
